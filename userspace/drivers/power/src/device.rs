//! The registers that switch a machine off, and the order in which they are tried.
//!
//! Sources: ACPI specification 6.5, section 4.8.3.2.1 (PM1 control register: SLP_TYP in bits 10 to 12, SLP_EN bit 13); Intel 82371AB
//! (PIIX4) data sheet, section 7.2 (PMCNTRL, offset 4 from the power management base); Intel I/O Controller Hub 9 data sheet,
//! sections 13.8.3.3 (PM1_CNT) and 13.7.5 (RST_CNT, port 0xcf9).
//!
//! Where the power management block lies is the firmware's choice, and which SLP_TYP means S5 is in its ACPI tables. This driver knows
//! the choices of the machines it is made for, QEMU's `pc` and `q35`, on which SLP_TYP 0 is S5.

use alloc::vec::Vec;
use rt::port::Port;

/// PM1a control register where SeaBIOS (both machines) and OVMF (`q35`) put the power management block: at 0x600.
pub const PM1A_CONTROL: u16 = 0x604;

/// PM1a control register where OVMF on `pc`, and Bochs and QEMU before 2.0, put it: at 0xb000.
pub const PM1A_CONTROL_OLD: u16 = 0xb004;

/// Width of a PM1 control register in ports.
pub const PM1_CONTROL_LEN: u16 = 2;

/// Reset control register of the PIIX3 and of the ICH9.
pub const RESET_CONTROL: u16 = 0xcf9;

/// SLP_EN with SLP_TYP 0.
const SLEEP_S5: u16 = 1 << 13;

/// RST_CNT: a full reset is asked for by the step from 0 to 1 of the processor reset bit, with the system reset bit set before.
const SYSTEM_RESET: u8 = 1 << 1;
const RESET_CPU: u8 = 1 << 2;

/// Milliseconds that the machine is given to obey.
pub const PATIENCE_MS: u64 = 100;

/// The ports that were granted.
pub struct Power<P> {
    /// Those of the PM1 control registers, the likeliest first.
    pub controls: Vec<P>,
    /// That of the reset control register.
    pub reset: Option<P>,
}

impl<P: Port> Power<P> {
    /// Turns the machine off by one way after the other, and waits after each. Returns how many there were, if the machine is still there to.
    pub fn shutdown(&mut self, mut wait: impl FnMut()) -> u64 {
        for control in &mut self.controls {
            control.write16(0, SLEEP_S5);
            wait();
        }
        self.controls.len() as u64
    }

    /// Starts the machine anew, and waits. Returns how many ways there were, if the machine is still there to.
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
