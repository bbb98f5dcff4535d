//! COM1 as the hardware has it.

use crate::device::{PORTS, UartPort};
#[cfg(target_os = "none")]
use core::sync::atomic::AtomicU16;
use rt::port::{IoPorts, Port};

/// First port of COM1, by a convention as old as the IBM PC.
pub const COM1: u16 = 0x3f8;

/// The ports of COM1.
#[derive(Debug)]
pub struct Com1(IoPorts);

impl Com1 {
    /// The ports, or `None` where the task has no right to them.
    pub fn granted() -> Option<Self> {
        IoPorts::granted(COM1, PORTS).map(Com1)
    }
}

impl Port for Com1 {
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

impl UartPort for Com1 {
    /// One `insw`: a death before it leaves the byte in the UART, one after it has the byte in memory (Intel SDM vol. 2A, INS).
    #[cfg(target_os = "none")]
    fn take(&mut self, offset: u16, slot: &AtomicU16) {
        assert!(offset < PORTS - 1, "port offset {offset:#x} is beyond COM1");
        // SAFETY: both ports are granted and belong to the UART. The instruction stores two bytes at `rdi`, which is a live, aligned
        // cell made for shared change, and the task has one thread. The direction flag is clear on entry, as always in Rust.
        unsafe {
            core::arch::asm!(
                "insw",
                in("dx") COM1 + offset,
                inout("rdi") slot.as_ptr() => _,
                options(nostack, preserves_flags),
            );
        }
    }
}
