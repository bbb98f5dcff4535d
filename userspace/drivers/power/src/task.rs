//! The power driver's task: two requests, three registers.

use crate::device::{PATIENCE_MS, PM1_CONTROL_LEN, Power};
use crate::{Refusal, Server};
use core::convert::Infallible;
use rt::Driver;
use rt::port::IoPorts;
use rt::proto::Asker;

/// The driver's state.
pub struct Service {
    power: Power<IoPorts>,
}

impl Driver for Service {
    fn init() -> Self {
        let ports = |name, len| IoPorts::named(name).filter(|ports| ports.len() >= len);
        let power = Power {
            controls: ["pm1a", "pm1a-old"].into_iter().filter_map(|name| ports(name, PM1_CONTROL_LEN)).collect(),
            reset: ports("reset", 1),
        };
        Service { power }
    }
}

impl Server for Service {
    fn shutdown(&mut self, _: Asker) -> Result<Infallible, Refusal> {
        Err(Refusal::StillRunning(self.power.shutdown(|| rt::time::sleep_ms(PATIENCE_MS))))
    }

    fn reboot(&mut self, _: Asker) -> Result<Infallible, Refusal> {
        Err(Refusal::StillRunning(self.power.reboot(|| rt::time::sleep_ms(PATIENCE_MS))))
    }
}
