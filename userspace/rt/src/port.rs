//! I/O ports: the [`Port`] trait that device logic is written against, and [`IoPorts`], which is the hardware.

#[cfg(not(target_os = "none"))]
pub use crate::fake::FakePorts;
use abi::info::EntryKind;

/// A range of I/O ports; offsets count from its first. Device logic takes this, so that it runs over [`IoPorts`] in a task and
/// over [`crate::fake::FakePorts`] in a test.
pub trait Port {
    /// Reads a byte.
    fn read8(&mut self, offset: u16) -> u8;
    /// Writes a byte.
    fn write8(&mut self, offset: u16, value: u8);
    /// Reads a word of two bytes.
    fn read16(&mut self, offset: u16) -> u16;
    /// Writes a word of two bytes.
    fn write16(&mut self, offset: u16, value: u16);
    /// Reads a word of four bytes.
    fn read32(&mut self, offset: u16) -> u32;
    /// Writes a word of four bytes.
    fn write32(&mut self, offset: u16, value: u32);
}

impl<P: Port + ?Sized> Port for &mut P {
    fn read8(&mut self, offset: u16) -> u8 {
        (**self).read8(offset)
    }
    fn write8(&mut self, offset: u16, value: u8) {
        (**self).write8(offset, value);
    }
    fn read16(&mut self, offset: u16) -> u16 {
        (**self).read16(offset)
    }
    fn write16(&mut self, offset: u16, value: u16) {
        (**self).write16(offset, value);
    }
    fn read32(&mut self, offset: u16) -> u32 {
        (**self).read32(offset)
    }
    fn write32(&mut self, offset: u16, value: u32) {
        (**self).write32(offset, value);
    }
}

/// Ports that `system.toml` grants to this task. An access beyond them panics with its place in the source; without the check
/// the processor would raise #GP all the same (Intel SDM vol. 1, section 20.5.2).
#[derive(Debug)]
pub struct IoPorts {
    base: u16,
    len: u16,
}

impl IoPorts {
    /// `len` ports from `base` on, or `None` where no granted range holds them all. On the host `None`, unless a
    /// [`Harness`](crate::testing::Harness) grants them.
    pub fn granted(base: u16, len: u16) -> Option<IoPorts> {
        let first = base as u64;
        let end = first + len as u64;
        let held = len > 0
            && crate::entries().iter().any(|entry| {
                entry.kind == EntryKind::Ports as u32
                    && entry.base <= first
                    && end <= entry.base.saturating_add(entry.len)
            });
        held.then_some(IoPorts { base, len })
    }

    /// The port at `offset`, if `width` ports fit there.
    #[inline]
    #[track_caller]
    fn at(&self, offset: u16, width: u32) -> u16 {
        if offset as u32 + width > self.len as u32 {
            beyond(self, offset);
        }
        self.base.wrapping_add(offset)
    }
}

#[cold]
#[track_caller]
fn beyond(ports: &IoPorts, offset: u16) -> ! {
    panic!("port offset {offset:#x} is beyond the range {:#x}+{:#x}", ports.base, ports.len)
}

/// `in` and `out` of one width (Intel SDM vol. 2A, IN and OUT).
macro_rules! width {
    ($read:ident, $write:ident, $type:ty, $register:tt, $width:literal) => {
        #[inline]
        #[track_caller]
        fn $read(&mut self, offset: u16) -> $type {
            let port = self.at(offset, $width);
            #[cfg(target_os = "none")]
            {
                let value: $type;
                // SAFETY: the port is granted to this task and belongs to a device, not to Rust's memory; what the device
                // does is confined to what the grant allows it.
                unsafe {
                    core::arch::asm!(
                        concat!("in ", $register, ", dx"),
                        in("dx") port,
                        out($register) value,
                        options(nostack, preserves_flags),
                    );
                }
                value
            }
            #[cfg(not(target_os = "none"))]
            crate::testing::kernel::at_port(port, |device, offset| device.$read(offset))
        }

        #[inline]
        #[track_caller]
        fn $write(&mut self, offset: u16, value: $type) {
            let port = self.at(offset, $width);
            #[cfg(target_os = "none")]
            // SAFETY: as for reading.
            unsafe {
                core::arch::asm!(
                    concat!("out dx, ", $register),
                    in("dx") port,
                    in($register) value,
                    options(nostack, preserves_flags),
                );
            }
            #[cfg(not(target_os = "none"))]
            crate::testing::kernel::at_port(port, |device, offset| device.$write(offset, value));
        }
    };
}

impl Port for IoPorts {
    width!(read8, write8, u8, "al", 1);
    width!(read16, write16, u16, "ax", 2);
    width!(read32, write32, u32, "eax", 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_it_ends() {
        let ports = IoPorts { base: 0x3f8, len: 8 };
        assert_eq!(ports.at(0, 1), 0x3f8);
        assert_eq!(ports.at(7, 1), 0x3ff);
        assert_eq!(ports.at(4, 4), 0x3fc);
    }

    #[test]
    #[should_panic(expected = "port offset 0x7 is beyond the range 0x3f8+0x8")]
    fn a_wide_access_must_fit() {
        let _ = IoPorts { base: 0x3f8, len: 8 }.at(7, 2);
    }

    #[test]
    #[should_panic(expected = "beyond the range")]
    fn an_offset_near_the_top_does_not_wrap() {
        let _ = IoPorts { base: 0x3f8, len: 8 }.at(u16::MAX, 4);
    }
}
