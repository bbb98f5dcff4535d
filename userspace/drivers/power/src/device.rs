//! The registers that power a machine off or reset it, and the order in which they are tried.
//!
//! Sources: ACPI specification 6.5, section 4.8.3.2.1 (PM1 control register: SLP_TYP in bits 10 to
//! 12, SLP_EN bit 13); Intel 82371AB (PIIX4) data sheet, section 7.2 (PMCNTRL, offset 4 from the
//! power management base); Intel I/O Controller Hub 9 data sheet, sections 13.8.3.3 (PM1_CNT) and
//! 13.7.5 (RST_CNT, port 0xcf9).
//!
//! The address of the power management block is the firmware's choice, and its ACPI tables say
//! which SLP_TYP means S5. This driver knows the choices for the machines for which it is made,
//! QEMU's `pc` and `q35`, on which SLP_TYP 0 is S5.

use alloc::vec::Vec;
use rt::port::Port;

/// PM1a control register where SeaBIOS (both machines) and OVMF (`q35`) put the power management
/// block: at 0x600.
pub const PM1A_CONTROL: u16 = 0x604;

/// PM1a control register where OVMF on `pc`, and Bochs and QEMU before 2.0, put it: at 0xb000.
pub const PM1A_CONTROL_OLD: u16 = 0xb004;

/// Width of a PM1 control register in ports.
pub const PM1_CONTROL_LEN: u16 = 2;

/// Reset control register of the PIIX3 and of the ICH9.
pub const RESET_CONTROL: u16 = 0xcf9;

/// The value for power-off: SLP_EN with SLP_TYP 0.
const SLEEP_S5: u16 = 1 << 13;

/// Bit of RST_CNT: a full reset is requested by a change of the processor reset bit from 0 to 1,
/// with the system reset bit set before.
const SYSTEM_RESET: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;

/// Milliseconds until a register counts as without effect.
pub const PATIENCE_MS: u64 = 100;

/// The ports that were granted to the driver.
pub struct Power<P> {
    /// The PM1 control registers, the likeliest first.
    pub controls: Vec<P>,
    /// The reset control register.
    pub reset: Option<P>,
}

impl<P: Port> Power<P> {
    /// Powers the machine off: writes one register after the other, and waits after each. Returns
    /// the number of tries, if the machine is still running.
    pub fn shutdown(&mut self, mut wait: impl FnMut()) -> u64 {
        for control in &mut self.controls {
            control.write16(0, SLEEP_S5);
            wait();
        }
        self.controls.len() as u64
    }

    /// Resets the machine, and waits. Returns the number of tries, if the machine is still running.
    pub fn reboot(&mut self, mut wait: impl FnMut()) -> u64 {
        let Some(reset) = &mut self.reset else {
            return 0;
        };
        reset.write8(0, SYSTEM_RESET);
        reset.write8(0, SYSTEM_RESET | RESET_CPU);
        wait();
        1
    }
}
