//! The HPET (IA-PC HPET Specification 1.0a), whose main counter serves to measure the frequency of
//! the time-stamp counter. Its timers are turned off.

use super::paging::{self, KernelFlags};
use super::{controller::apic, tsc::Counter};
use core::ops::RangeInclusive;
use kernel_core::addr::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// The page at which the registers are mapped, behind those of the I/O APICs.
const PAGE: u64 = apic::REGISTERS + (1 << 20);

/// Registers by their offsets (section 2.3.1).
const CAPABILITIES: u64 = 0;
const CONFIGURATION: u64 = 0x10;
const MAIN_COUNTER: u64 = 0xf0;
const TIMER_CONFIGURATION: u64 = 0x100;
const TIMER_SIZE: u64 = 0x20;

/// Of the capabilities: the main counter has 64 bits.
const WIDE: u64 = 1 << 13;
/// Of the configuration: the main counter counts; timers replace the 8254 and the real-time clock.
const ENABLED: u64 = 1 << 0;
const REPLACES: u64 = 1 << 1;
/// Of a timer's configuration: it interrupts; by a write to memory.
const INTERRUPTS: u64 = 1 << 2;
const WRITES: u64 = 1 << 14;

/// The period of the main counter in femtoseconds: at most 100 ns, and not less than 0.1 ns.
const PERIODS: RangeInclusive<u64> = 100_000..=100_000_000;
const FEMTOSECONDS: u64 = 1_000_000_000_000_000;

/// The HPET.
pub struct Hpet {
    registers: u64,
    hertz: u64,
    mask: u64,
}

impl Hpet {
    /// The one at this physical address, with its timers turned off; `None` if there is none.
    /// `frames` provides page tables.
    #[unsafe(link_section = "boot_text")]
    pub fn new(at: PhysAddr, frames: &mut impl FrameAllocator<Size4KiB>) -> Option<Self> {
        // SAFETY: nothing else lies at this address, and the registers are the kernel's alone: no
        // task gets a range that reaches them.
        unsafe {
            paging::map_kernel(PAGE, at.rounded_down(), KernelFlags::DEVICE, &mut || paging::take_zeroed(frames));
        }
        let mut hpet = Hpet { registers: PAGE + at.offset_in_page(), hertz: 0, mask: u64::MAX };
        let capabilities = hpet.read_register(CAPABILITIES);
        let period = Some(capabilities >> 32).filter(|period| PERIODS.contains(period))?;
        hpet.hertz = FEMTOSECONDS.checked_div(period)?;
        if capabilities & WIDE == 0 {
            hpet.mask = 0xffff_ffff;
        }
        let last = capabilities >> 8 & 0x1f;
        for timer in 0..=last {
            let register = TIMER_CONFIGURATION + timer * TIMER_SIZE;
            let value = hpet.read_register(register);
            hpet.write_register(register, value & !(INTERRUPTS | WRITES));
        }
        let value = hpet.read_register(CONFIGURATION);
        hpet.write_register(CONFIGURATION, value & !(ENABLED | REPLACES));
        Some(hpet)
    }

    fn read_register(&self, register: u64) -> u64 {
        // SAFETY: `new` has mapped the registers.
        unsafe { ((self.registers + register) as *const u64).read_volatile() }
    }

    fn write_register(&mut self, register: u64, value: u64) {
        // SAFETY: `new` has mapped the registers, which are the kernel's alone.
        unsafe { ((self.registers + register) as *mut u64).write_volatile(value) }
    }

    fn enable(&mut self, enabled: bool) {
        let value = self.read_register(CONFIGURATION) & !ENABLED;
        self.write_register(CONFIGURATION, if enabled { value | ENABLED } else { value });
    }
}

impl Counter for Hpet {
    fn hertz(&self) -> u64 {
        self.hertz
    }

    fn mask(&self) -> u64 {
        self.mask
    }

    fn start(&mut self) {
        self.enable(true);
    }

    fn read(&mut self) -> u64 {
        self.read_register(MAIN_COUNTER) & self.mask
    }

    fn stop(&mut self) {
        self.enable(false);
    }
}
