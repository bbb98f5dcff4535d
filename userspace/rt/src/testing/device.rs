//! The hardware of a driver under test: ports, device memory, interrupt lines.

use super::kernel;
use crate::port::Port;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

/// A device behind memory, which gets each access that the driver makes by the reads and writes of
/// a [`Mapping`](crate::memory::Mapping).
pub trait Device {
    /// Returns the value of a read of `width` bytes (1, 2, 4 or 8) at this offset in the range.
    fn read(&mut self, offset: usize, width: usize) -> u64;
    /// Handles a write of `width` bytes (1, 2, 4 or 8) at this offset in the range.
    fn write(&mut self, offset: usize, width: usize, value: u64);
}

/// A [`Device`] that is plain memory, like a text screen. Clones share the memory, so a test can
/// read what the driver has written.
#[derive(Clone, Debug)]
pub struct Ram(Rc<RefCell<Vec<u8>>>);

impl Ram {
    /// Memory of `len` zeroed bytes.
    pub fn new(len: usize) -> Ram {
        Ram(Rc::new(RefCell::new(vec![0; len])))
    }

    /// A copy of the present contents.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Device for Ram {
    fn read(&mut self, offset: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(self.0.borrow().iter().skip(offset).take(width)).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(bytes)
    }
    fn write(&mut self, offset: usize, width: usize, value: u64) {
        self.0
            .borrow_mut()
            .iter_mut()
            .skip(offset)
            .take(width)
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }
}

/// A range of ports, and the device behind it.
pub struct PortRange {
    pub name: String,
    pub base: u16,
    pub len: u16,
    pub device: Rc<RefCell<dyn Port>>,
}

/// Returns the level of a line, and how often it has risen; always the same number if the device
/// does not count that.
type Level = Rc<dyn Fn() -> (bool, u32)>;

/// An interrupt line at an edge-triggered controller.
pub struct Line {
    pub name: String,
    level: Level,
    high: bool,
    /// The number of rises at the last sample.
    rises: u32,
    /// Whether the line rose, has not fallen since, and the driver was not notified.
    rose: bool,
    open: bool,
}

impl Line {
    pub fn new(name: &str, level: Level) -> Line {
        Line { name: String::from(name), level, high: false, rises: 0, rose: false, open: false }
    }

    /// Unmasks the line for a new life. An earlier rise was for the earlier life.
    pub fn open_at_birth(&mut self) {
        (self.open, self.rose) = (true, false);
    }

    /// Sets the present level and number of rises; returns true if the driver is to be notified.
    fn is(&mut self, high: bool, rises: u32) -> bool {
        self.rose = high && (self.rose || !self.high || rises != self.rises);
        (self.high, self.rises) = (high, rises);
        self.fires()
    }

    /// Unmasks the line, as the driver acknowledges; returns true if it interrupts at once.
    pub fn ack(&mut self) -> bool {
        self.open = true;
        self.fires()
    }

    fn fires(&mut self) -> bool {
        let fires = self.open && self.rose;
        if fires {
            (self.open, self.rose) = (false, false);
        }
        fires
    }
}

/// Samples all interrupt lines, as a device may have changed one. Returns whether the driver is to
/// be notified of any.
pub fn sample_lines() -> bool {
    let levels: Vec<_> =
        kernel::with(|kernel| kernel.lines.iter().map(|line| line.level.clone()).collect()).unwrap_or_default();
    let mut fired = false;
    for (number, level) in levels.iter().enumerate() {
        // The kernel must not be borrowed meanwhile, as the level is the test's code.
        let (high, rises) = level();
        kernel::with(|kernel| {
            let fires = kernel.lines.get_mut(number).is_some_and(|line| line.is(high, rises));
            kernel.bits |= u64::from(fires) << number;
            fired |= fires;
        });
    }
    fired
}
