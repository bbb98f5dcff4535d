//! The power driver: two requests, three registers.
#![cfg_attr(target_os = "none", no_std, no_main)]

use driver_power::device::{PATIENCE_MS, PM1_CONTROL_LEN, PM1A_CONTROL, PM1A_CONTROL_OLD, Power, RESET_CONTROL};
use driver_power::{label, outcome};
use rt::ipc::Request;
use rt::port::IoPorts;
use rt::{Answer, Driver};

rt::driver!(Service);

struct Service {
    power: Power<IoPorts>,
}

impl Driver for Service {
    fn init() -> Self {
        let controls = [PM1A_CONTROL, PM1A_CONTROL_OLD];
        let power = Power {
            controls: controls.into_iter().filter_map(|base| IoPorts::granted(base, PM1_CONTROL_LEN)).collect(),
            reset: IoPorts::granted(RESET_CONTROL, 1),
        };
        Service { power }
    }

    fn request(&mut self, request: &Request) -> Answer {
        let wait = || rt::time::sleep_ms(PATIENCE_MS);
        let ways = match request.label {
            label::SHUTDOWN => self.power.shutdown(wait),
            label::REBOOT => self.power.reboot(wait),
            _ => return Answer::bad_request(),
        };
        Answer::Reply(outcome::STILL_RUNNING, [ways, 0, 0, 0])
    }
}
