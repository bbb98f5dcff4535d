//! The ACPI PM timer, a counter behind a port (ACPI 6.5, section 4.8.3.3).

use super::tsc::Counter;
use kernel_core::acpi::platform;
use x86_64::instructions::port::Port;

/// The counter.
pub struct PmTimer {
    port: Port<u32>,
    mask: u64,
}

impl PmTimer {
    /// The one that the firmware's tables name.
    #[unsafe(link_section = "boot_text")]
    pub fn new(found: platform::PmTimer) -> Self {
        let mask = if found.is_32_bits { 0xffff_ffff } else { 0xff_ffff };
        PmTimer { port: Port::new(found.port), mask }
    }
}

impl Counter for PmTimer {
    fn hertz(&self) -> u64 {
        3_579_545
    }

    fn mask(&self) -> u64 {
        self.mask
    }

    fn read(&mut self) -> u64 {
        // SAFETY: reads a counter, which changes nothing.
        u64::from(unsafe { self.port.read() }) & self.mask
    }
}
