//! The i8042's ports as the hardware has them.

use crate::device::{CONTROL, DATA, DataPort};
#[cfg(target_os = "none")]
use core::sync::atomic::AtomicU8;
use rt::port::{IoPorts, Port};

/// The data port.
#[derive(Debug)]
pub struct Data(IoPorts);

impl Data {
    /// Data port and control port, or `None` where the task has no right to them.
    pub fn and_control() -> Option<(Self, IoPorts)> {
        Some((Data(IoPorts::granted(DATA, 1)?), IoPorts::granted(CONTROL, 1)?))
    }
}

impl Port for Data {
    fn read8(&mut self, offset: u16) -> u8 {
        self.0.read8(offset)
    }
    fn write8(&mut self, offset: u16, value: u8) {
        self.0.write8(offset, value);
    }
    fn read16(&mut self, offset: u16) -> u16 {
        self.0.read16(offset)
    }
    fn write16(&mut self, offset: u16, value: u16) {
        self.0.write16(offset, value);
    }
    fn read32(&mut self, offset: u16) -> u32 {
        self.0.read32(offset)
    }
    fn write32(&mut self, offset: u16, value: u32) {
        self.0.write32(offset, value);
    }
}

impl DataPort for Data {
    /// One `insb`: a death before it leaves the byte in the controller, one after it has the byte in memory (Intel SDM vol. 2A, INS).
    #[cfg(target_os = "none")]
    fn take(&mut self, slot: &AtomicU8) {
        // SAFETY: the port is granted and belongs to the controller. The instruction stores one byte at `rdi`, which is a live cell
        // made for shared change, and the task has one thread. The direction flag is clear on entry, as always in Rust.
        unsafe {
            core::arch::asm!(
                "insb",
                in("dx") DATA,
                inout("rdi") slot.as_ptr() => _,
                options(nostack, preserves_flags),
            );
        }
    }
}
