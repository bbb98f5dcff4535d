//! The kernel's log port 0xE9: QEMU's debug console; elsewhere nothing listens, and writing is harmless.

use super::ports;
use x86_64::instructions::port::PortWriteOnly;

/// Writes bytes to the port.
pub fn write(bytes: &[u8]) {
    ports::count(bytes.len() as u64);
    let mut port = PortWriteOnly::<u8>::new(0xe9);
    for &byte in bytes {
        // SAFETY: no device of a PC decodes port 0xE9 but QEMU's debug console, which only stores the byte.
        unsafe { port.write(byte) };
    }
}
