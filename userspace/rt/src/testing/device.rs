//! What is granted to a driver under test: ports, memory of devices, interrupt lines.

use super::kernel;
use crate::port::Port;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

/// A device behind memory: each access of the driver's by a [`Mapping`](crate::memory::Mapping)'s reads and writes comes to it.
pub trait Device {
    /// A read of `width` bytes (1, 2, 4 or 8) at this offset from the range's beginning.
    fn read(&mut self, offset: usize, width: usize) -> u64;
    /// A write of `width` bytes.
    fn write(&mut self, offset: usize, width: usize, value: u64);
}

/// A [`Device`] that is memory, as a text screen is; clones are the same memory, so that a test sees what the driver has written.
#[derive(Clone, Debug)]
pub struct Ram(Rc<RefCell<Vec<u8>>>);

impl Ram {
    /// `len` zeroed bytes.
    pub fn new(len: usize) -> Ram {
        Ram(Rc::new(RefCell::new(vec![0; len])))
    }

    /// What is in it now.
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

/// Ports, and the device behind them.
pub struct PortRange {
    pub name: String,
    pub base: u16,
    pub len: u16,
    pub device: Rc<RefCell<dyn Port>>,
}

/// An interrupt line at an edge-triggered controller.
pub struct Line {
    pub name: String,
    level: Rc<dyn Fn() -> bool>,
    high: bool,
    /// It rose, has not fallen since, and the driver was not told.
    rose: bool,
    open: bool,
}

impl Line {
    pub fn new(name: &str, level: Rc<dyn Fn() -> bool>) -> Line {
        Line { name: String::from(name), level, high: false, rose: false, open: false }
    }

    /// A life begins: the line is open, and what rose before was for the life before.
    pub fn open_at_birth(&mut self) {
        (self.open, self.rose) = (true, false);
    }

    /// The level is this now; true where the driver is to be told.
    fn is(&mut self, high: bool) -> bool {
        self.rose = high && (self.rose || !self.high);
        self.high = high;
        self.fires()
    }

    /// The driver acknowledges: the line is open again; true where it fires at once.
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

/// Looks at all interrupt lines: a device may have moved one.
pub fn sample_lines() {
    let levels: Vec<_> =
        kernel::with(|kernel| kernel.lines.iter().map(|line| line.level.clone()).collect()).unwrap_or_default();
    for (number, level) in levels.iter().enumerate() {
        // Not while the kernel is borrowed: the level is the test's to say.
        let high = level();
        kernel::with(|kernel| {
            let fires = kernel.lines.get_mut(number).is_some_and(|line| line.is(high));
            kernel.bits |= u64::from(fires) << number;
        });
    }
}
