//! The FADT (ACPI 6.5, section 5.2.9): power, reset, the PM timer, and what the machine has of a
//! PC.

use super::platform::{BootArch, Platform, Pm1Control, PmTimer, PowerOff, Register, Reset, port};
use super::{half, long, word};
use crate::addr::PhysAddr;

/// The bytes up to the end of the last field that is used.
pub(super) const LEN: usize = 256;

/// The first revision whose fields of ACPI 2.0 are valid; the table of ACPI 1.0 has revision 1 and
/// other bytes there.
const SECOND: u8 = 2;
/// Bits of the flags (table 5.10).
const TIMER_IS_32_BITS: u32 = 1 << 8;
const HAS_RESET: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;

/// The values that mean off, for the registers PM1a and PM1b: the package `_S5_` of the AML.
pub(super) type SleepTypes = (u8, u8);

/// A FADT. The bytes that the firmware's has not are 0.
#[derive(Clone, Copy)]
pub(super) struct Fadt(pub [u8; LEN]);

impl Fadt {
    /// The addresses at which the DSDT may be, the more likely one first.
    pub fn dsdt(&self) -> [Option<PhysAddr>; 2] {
        let narrow = u64::from(word(&self.0, 40));
        let wide = if self.is_second() { long(&self.0, 140) } else { 0 };
        let address = |number| Some(PhysAddr::new(number)).filter(|_| number != 0);
        if wide == narrow { [address(narrow), None] } else { [address(wide), address(narrow)] }
    }

    /// Whether `_S5_` is of use: if not, the AML need not be read.
    pub fn can_power_off(&self) -> bool {
        self.power_off((0, 0)).is_some()
    }

    /// How the machine is switched off, given the content of `_S5_`.
    pub fn power_off(&self, (a, b): SleepTypes) -> Option<PowerOff> {
        if self.flag(HARDWARE_REDUCED) {
            return Some(PowerOff::SleepControl { register: self.register(244, 1)?, sleep_type: a });
        }
        if self.byte(89) < 2 {
            return None;
        }
        let first = self.ports(64, 172, 2)?;
        let second = self.ports(68, 184, 2).filter(|second| *second != first);
        Some(PowerOff::Pm1 {
            a: Pm1Control { port: first, sleep_type: a },
            b: second.map(|port| Pm1Control { port, sleep_type: b }),
        })
    }

    /// Notes everything but how the machine is switched off.
    pub fn note(&self, platform: &mut Platform) {
        // A timer of another length than four bytes is none.
        if !self.flag(HARDWARE_REDUCED) && self.byte(91) == 4 {
            let is_32_bits = self.flag(TIMER_IS_32_BITS);
            platform.pm_timer = self.ports(76, 208, 4).map(|port| PmTimer { port, is_32_bits });
        }
        if self.flag(HAS_RESET) {
            let port = self.register(116, 1).and_then(Register::port);
            platform.reset = port.map(|port| Reset { port, value: self.byte(128) });
        }
        let bits = half(&self.0, 109);
        platform.boot_arch = self.is_second().then_some(BootArch {
            has_legacy_devices: bits & 1 << 0 != 0,
            has_i8042: bits & 1 << 1 != 0,
            no_vga: bits & 1 << 2 != 0,
            no_msi: bits & 1 << 3 != 0,
            no_rtc: bits & 1 << 5 != 0,
        });
    }

    fn is_second(&self) -> bool {
        self.byte(8) >= SECOND
    }

    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn flag(&self, flag: u32) -> bool {
        word(&self.0, 112) & flag != 0
    }

    /// The register of `len` bytes behind the Generic Address Structure at an offset.
    fn register(&self, at: usize, len: u64) -> Option<Register> {
        Register::of(self.0.get(at..)?, len).filter(|_| self.is_second())
    }

    /// The first of `len` ports: of the wide field at one offset if it is valid, else of the 32-bit
    /// field at the other.
    fn ports(&self, narrow: usize, wide: usize, len: u64) -> Option<u16> {
        let wide = self.register(wide, len).and_then(Register::port);
        wide.or_else(|| port(word(&self.0, narrow).into(), len))
    }
}
