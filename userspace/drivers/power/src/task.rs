//! The power driver: two requests, three registers.

use crate::device::{PATIENCE_MS, PM1_CONTROL_LEN, PM1A_CONTROL, PM1A_CONTROL_OLD, Power, RESET_CONTROL};
use crate::{Refusal, Server};
use core::convert::Infallible;
use rt::Driver;
use rt::port::IoPorts;
use rt::proto::Asker;

/// The driver.
pub struct Service {
    power: Power<IoPorts>,
}

impl Driver for Service {
    fn init() -> Self {
        let ports = |name, base, len| IoPorts::named(name).or_else(|| IoPorts::granted(base, len));
        let controls = [("pm1a", PM1A_CONTROL), ("pm1a-old", PM1A_CONTROL_OLD)];
        let power = Power {
            controls: controls.into_iter().filter_map(|(name, base)| ports(name, base, PM1_CONTROL_LEN)).collect(),
            reset: ports("reset", RESET_CONTROL, 1),
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
