//! The device: pure logic over any [`Port`], real ones in the task and fake ones in a test, so that `cargo test` tests it on the host.
//!
//! As generated it is the clock chip of a PC (Motorola MC146818A data sheet), of which it uses the periodic interrupt.

use core::ops::RangeInclusive;
use rt::keep::Cell;
use rt::port::Port;

/// Interrupts a second: a power of two in here. The chip could do 8192.
pub const RATES: RangeInclusive<u64> = 2..=1024;

/// Register A: the lower half selects the rate, the upper half the crystal's divider.
const A: u8 = 0x0A;
const DIVIDER_ON: u8 = 2 << 4;

/// Register B: which interrupts there are, and how the time is kept.
const B: u8 = 0x0B;
const PERIODIC: u8 = 1 << 6;
const ALARM_AND_UPDATE: u8 = 3 << 4;

/// Register C: why the chip interrupts, [`PERIODIC`] and others. To read it makes the chip let go of its line.
const C: u8 = 0x0C;

rt::kept! {
    /// What outlives the driver (`keep` in the manifest): its next life finds it as this one left it, after any instruction.
    pub struct Keep {
        interrupts: Cell<u64>,
        hz: Cell<u64>,
    }
}

/// The chip behind its ports.
pub struct Chip<P> {
    ports: P,
    keep: &'static Keep,
}

/// A rate that the chip does not have: see [`RATES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRate;

impl<P: Port> Chip<P> {
    /// Sets the chip up, at the rate of an earlier life, else at 2 Hz. `ports`: at offset 0 the index of a register, at offset 1 its content.
    pub fn start(ports: P, keep: &'static Keep) -> Chip<P> {
        if !keep.resume() || selection(keep.hz.get()).is_none() {
            keep.interrupts.put(0);
            keep.hz.put(*RATES.start());
        }
        let mut chip = Chip { ports, keep };
        // An earlier life may have died anywhere: the chip is set up from nothing, whatever that one had come to.
        chip.program();
        keep.set_ready(0);
        chip
    }

    /// Interrupts so far.
    pub fn interrupts(&self) -> u64 {
        self.keep.interrupts.get()
    }

    /// Interrupts a second.
    pub fn hz(&self) -> u64 {
        self.keep.hz.get()
    }

    /// Sets the rate.
    ///
    /// # Errors
    /// The chip does not have this rate: nothing changes.
    pub fn set_rate(&mut self, hz: u64) -> Result<(), BadRate> {
        selection(hz).ok_or(BadRate)?;
        // First what is kept: if the driver dies now, its next life programs the chip.
        self.keep.hz.put(hz);
        self.program();
        Ok(())
    }

    /// One go at the device after an interrupt: whether it had one to tell of. It has let go of its line then.
    ///
    /// If the driver dies between the chip's answer and the next line, this interrupt is not counted; docs/surviving.md in Enigma's tree shows what to
    /// do where that matters.
    pub fn service(&mut self) -> bool {
        let came = self.read(C) & PERIODIC != 0;
        if came {
            self.keep.interrupts.put(self.interrupts() + 1);
        }
        came
    }

    fn program(&mut self) {
        // `hz` is one that has a selection: that is looked at before it is kept, and when it is taken up.
        let select = selection(self.hz()).unwrap_or(0);
        self.write(A, DIVIDER_ON | select);
        let how = self.read(B) & !ALARM_AND_UPDATE;
        self.write(B, how | PERIODIC);
    }

    fn read(&mut self, register: u8) -> u8 {
        self.ports.write8(0, register);
        self.ports.read8(1)
    }

    fn write(&mut self, register: u8, value: u8) {
        self.ports.write8(0, register);
        self.ports.write8(1, value);
    }
}

/// What register A selects a rate by: 32,768 Hz are halved this many times, less one.
fn selection(hz: u64) -> Option<u8> {
    let good = RATES.contains(&hz) && hz.is_power_of_two();
    good.then(|| 16 - hz.trailing_zeros() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::keep::damage;
    use rt::port::FakePorts;

    #[test]
    fn rates_are_selected_as_the_data_sheet_has_them() {
        let cases = [(2, Some(15)), (64, Some(10)), (1024, Some(6)), (0, None), (1, None), (3, None), (2048, None)];
        for (hz, select) in cases {
            assert_eq!(selection(hz), select, "{hz} Hz");
        }
    }

    #[test]
    fn the_chip_is_set_up_with_its_periodic_interrupt_alone() {
        let mut ports = FakePorts::new();
        ports.push(1, 0x32);
        let chip = Chip::start(&mut ports, damage::memory(0));
        assert_eq!((chip.hz(), chip.interrupts()), (2, 0));
        assert_eq!(ports.writes, [(0, 0x0A), (1, 0x2F), (0, 0x0B), (0, 0x0B), (1, 0x42)]);
    }

    #[test]
    fn an_interrupt_counts_once_and_another_reason_does_not() {
        let mut ports = FakePorts::new();
        ports.push_all(1, [0x02, 0xC0, 0x00, 0xA0]);
        let mut chip = Chip::start(&mut ports, damage::memory(0));
        assert!(chip.service());
        assert!(!chip.service());
        assert!(!chip.service(), "the alarm's flag");
        assert_eq!(chip.interrupts(), 1);
    }

    #[test]
    fn a_rate_that_there_is_not_changes_nothing() {
        let mut ports = FakePorts::new();
        let mut chip = Chip::start(&mut ports, damage::memory(0));
        for hz in [0, 1, 100, 2048, u64::MAX] {
            assert_eq!(chip.set_rate(hz), Err(BadRate), "{hz} Hz");
        }
        assert_eq!(chip.hz(), 2);
    }
}
