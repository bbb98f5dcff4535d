//! The log port 0xE9, which is QEMU's debug console. On other machines writing to it has no effect.

use super::ports;
use x86_64::instructions::port::PortWriteOnly;

/// Writes bytes to the port.
pub fn write(bytes: &[u8]) {
    ports::count(bytes.len() as u64);
    let mut port = PortWriteOnly::<u8>::new(0xe9);
    for &byte in bytes {
        // SAFETY: only QEMU's debug console decodes port 0xE9 on a PC, and it only stores the byte.
        unsafe { port.write(byte) };
    }
}
