//! I/O ports: the [`Port`] trait, for which device logic is written, and [`IoPorts`], which
//! accesses hardware.

#[cfg(not(target_os = "none"))]
pub use crate::fake::FakePorts;
use abi::manifest::GrantKind;
use core::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// A range of I/O ports, accessed by offsets from its first port. Device logic that is generic over
/// it works with [`IoPorts`] in a task and with [`crate::fake::FakePorts`] in a test.
///
/// ```
/// use rt::port::{FakePorts, Port};
///
/// /// Registers behind a port that selects one (offset 0) and one that holds it (offset 1).
/// struct Indexed<P>(P);
///
/// impl<P: Port> Indexed<P> {
///     fn read(&mut self, register: u8) -> u8 {
///         self.0.write8(0, register);
///         self.0.read8(1)
///     }
/// }
///
/// let mut ports = FakePorts::new();
/// ports.push(1, 0x59);
/// assert_eq!(Indexed(&mut ports).read(0x0a), 0x59);
/// assert_eq!(ports.writes, [(0, 0x0a)]);
/// ```
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

    /// Copies a byte from a port to a cell. With [`IoPorts`] this is one instruction: if the task
    /// dies before it, the byte is still in the device; if it dies after it, the byte is in memory.
    fn read8_into(&mut self, offset: u16, cell: &AtomicU8) {
        cell.store(self.read8(offset), Ordering::Release);
    }
    /// Copies a word of two bytes from a port to a cell: see [`Port::read8_into`].
    fn read16_into(&mut self, offset: u16, cell: &AtomicU16) {
        cell.store(self.read16(offset), Ordering::Release);
    }
    /// Fills `to` with bytes from one port (`rep insb`).
    fn read8_block(&mut self, offset: u16, to: &mut [u8]) {
        for byte in to {
            *byte = self.read8(offset);
        }
    }
    /// Writes all bytes of `from` to one port (`rep outsb`).
    fn write8_block(&mut self, offset: u16, from: &[u8]) {
        for byte in from {
            self.write8(offset, *byte);
        }
    }
    /// Fills `to` with words of two bytes from one port (`rep insw`).
    fn read16_block(&mut self, offset: u16, to: &mut [u16]) {
        for word in to {
            *word = self.read16(offset);
        }
    }
    /// Writes all words of two bytes of `from` to one port (`rep outsw`).
    fn write16_block(&mut self, offset: u16, from: &[u16]) {
        for word in from {
            self.write16(offset, *word);
        }
    }
    /// Fills `to` with words of two bytes from one port, each with its low byte first (`rep insw`),
    /// such as the 512 bytes of a sector. If the length is odd, the upper byte of the last word is
    /// dropped.
    fn read16_bytes(&mut self, offset: u16, to: &mut [u8]) {
        for bytes in to.chunks_mut(2) {
            bytes.iter_mut().zip(self.read16(offset).to_le_bytes()).for_each(|(to, from)| *to = from);
        }
    }
    /// Writes all bytes of `from` to one port as words of two bytes, each with its low byte first
    /// (`rep outsw`). If the length is odd, the upper byte of the last word is 0.
    fn write16_bytes(&mut self, offset: u16, from: &[u8]) {
        for bytes in from.chunks(2) {
            let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u16::from(*byte));
            self.write16(offset, word);
        }
    }
    /// Fills `to` with words of four bytes from one port (`rep insd`).
    fn read32_block(&mut self, offset: u16, to: &mut [u32]) {
        for word in to {
            *word = self.read32(offset);
        }
    }
    /// Writes all words of four bytes of `from` to one port (`rep outsd`).
    fn write32_block(&mut self, offset: u16, from: &[u32]) {
        for word in from {
            self.write32(offset, *word);
        }
    }
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
    fn read8_into(&mut self, offset: u16, cell: &AtomicU8) {
        (**self).read8_into(offset, cell);
    }
    fn read16_into(&mut self, offset: u16, cell: &AtomicU16) {
        (**self).read16_into(offset, cell);
    }
    fn read8_block(&mut self, offset: u16, to: &mut [u8]) {
        (**self).read8_block(offset, to);
    }
    fn write8_block(&mut self, offset: u16, from: &[u8]) {
        (**self).write8_block(offset, from);
    }
    fn read16_block(&mut self, offset: u16, to: &mut [u16]) {
        (**self).read16_block(offset, to);
    }
    fn write16_block(&mut self, offset: u16, from: &[u16]) {
        (**self).write16_block(offset, from);
    }
    fn read16_bytes(&mut self, offset: u16, to: &mut [u8]) {
        (**self).read16_bytes(offset, to);
    }
    fn write16_bytes(&mut self, offset: u16, from: &[u8]) {
        (**self).write16_bytes(offset, from);
    }
    fn read32_block(&mut self, offset: u16, to: &mut [u32]) {
        (**self).read32_block(offset, to);
    }
    fn write32_block(&mut self, offset: u16, from: &[u32]) {
        (**self).write32_block(offset, from);
    }
}

/// Ports that `system.toml` grants to this task. An access beyond them panics with the location in
/// the source; without this check the processor would raise #GP (Intel SDM vol. 1, section 20.5.2).
///
/// ```toml
/// ports = { cmos = { base = 0x70, len = 2 } }
/// ```
/// ```no_run
/// use rt::port::{IoPorts, Port};
///
/// let mut cmos = IoPorts::named("cmos").expect("ports called `cmos` in the task table");
/// cmos.write8(0, 0x0a);
/// let status = cmos.read8(1);
/// # let _: u8 = status;
/// ```
#[derive(Debug)]
pub struct IoPorts {
    base: u16,
    len: u16,
}

impl IoPorts {
    /// All ports of the range that `system.toml` grants by this name. `None` on the host, unless a
    /// [`Harness`](crate::testing::Harness) grants them.
    pub fn named(name: &str) -> Option<IoPorts> {
        let entry = crate::entry_named(GrantKind::Ports, name)?;
        Some(IoPorts { base: u16::try_from(entry.base).ok()?, len: u16::try_from(entry.len).unwrap_or(u16::MAX) })
    }

    /// The number of the first port, for messages.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// The number of ports, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a range has at least one port")]
    pub fn len(&self) -> u16 {
        self.len
    }

    /// `len` ports from number `base` on; `None` if no granted range contains them all. `None` on
    /// the host, unless a [`Harness`](crate::testing::Harness) grants them.
    pub fn granted(base: u16, len: u16) -> Option<IoPorts> {
        let first = base as u64;
        let end = first + len as u64;
        let held = len > 0
            && crate::entries().iter().any(|entry| {
                entry.kind == GrantKind::Ports as u32
                    && entry.base <= first
                    && end <= entry.base.saturating_add(entry.len)
            });
        held.then_some(IoPorts { base, len })
    }

    /// The number of the port at `offset`. Panics if `width` ports do not fit there.
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

/// Defines `in` and `out` of one width (Intel SDM vol. 2A, IN and OUT).
macro_rules! width {
    ($read:ident, $write:ident, $type:ty, $register:tt, $width:literal) => {
        #[inline]
        #[track_caller]
        fn $read(&mut self, offset: u16) -> $type {
            let port = self.at(offset, $width);
            #[cfg(target_os = "none")]
            {
                let value: $type;
                // SAFETY: the port is granted to this task and belongs to a device, not to Rust's
                // memory; the grant limits what the device does.
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
            // SAFETY: the port is granted to this task and belongs to a device, not to Rust's
            // memory; the grant limits what the device does.
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

/// Defines `ins` of one element to a cell (Intel SDM vol. 2A, INS).
#[cfg(target_os = "none")]
macro_rules! into_cell {
    ($name:ident, $instruction:literal, $cell:ty, $width:literal) => {
        #[inline]
        #[track_caller]
        fn $name(&mut self, offset: u16, cell: &$cell) {
            let port = self.at(offset, $width);
            // SAFETY: the port is granted to this task and belongs to a device. The instruction
            // stores to `rdi`, which is the address of a live, aligned cell that may be shared. The
            // direction flag is clear, as always in Rust.
            unsafe {
                core::arch::asm!(
                    $instruction,
                    in("dx") port,
                    inout("rdi") cell.as_ptr() => _,
                    options(nostack, preserves_flags),
                );
            }
        }
    };
}

/// Defines `rep ins` and `rep outs` of one width (Intel SDM vol. 2A, INS and OUTS; vol. 2B, REP).
#[cfg(target_os = "none")]
macro_rules! block {
    ($read:ident, $write:ident, $type:ty, $ins:literal, $outs:literal, $width:literal) => {
        #[inline]
        #[track_caller]
        fn $read(&mut self, offset: u16, to: &mut [$type]) {
            let port = self.at(offset, $width);
            // SAFETY: the port is granted to this task and belongs to a device. The instruction
            // stores as many elements as `to` has, which is borrowed for writing. The direction
            // flag is clear, as always in Rust.
            unsafe {
                core::arch::asm!(
                    $ins,
                    in("dx") port,
                    inout("rdi") to.as_mut_ptr() => _,
                    inout("rcx") to.len() => _,
                    options(nostack, preserves_flags),
                );
            }
        }

        #[inline]
        #[track_caller]
        fn $write(&mut self, offset: u16, from: &[$type]) {
            let port = self.at(offset, $width);
            // SAFETY: the port is granted to this task; the instruction only reads as many elements
            // as `from` has.
            unsafe {
                core::arch::asm!(
                    $outs,
                    in("dx") port,
                    inout("rsi") from.as_ptr() => _,
                    inout("rcx") from.len() => _,
                    options(nostack, preserves_flags, readonly),
                );
            }
        }
    };
}

impl Port for IoPorts {
    width!(read8, write8, u8, "al", 1);
    width!(read16, write16, u16, "ax", 2);
    width!(read32, write32, u32, "eax", 4);
    #[cfg(target_os = "none")]
    into_cell!(read8_into, "insb", AtomicU8, 1);
    #[cfg(target_os = "none")]
    into_cell!(read16_into, "insw", AtomicU16, 2);
    #[cfg(target_os = "none")]
    block!(read8_block, write8_block, u8, "rep insb", "rep outsb", 1);
    #[cfg(target_os = "none")]
    block!(read16_block, write16_block, u16, "rep insw", "rep outsw", 2);
    #[cfg(target_os = "none")]
    #[track_caller]
    fn read16_bytes(&mut self, offset: u16, to: &mut [u8]) {
        let port = self.at(offset, 2);
        let (pairs, last) = to.as_chunks_mut::<2>();
        // SAFETY: the port is granted to this task and belongs to a device. The instruction stores
        // two bytes for each pair, which are borrowed for writing; it needs no alignment. The
        // direction flag is clear, as always in Rust.
        unsafe {
            core::arch::asm!(
                "rep insw",
                in("dx") port,
                inout("rdi") pairs.as_mut_ptr() => _,
                inout("rcx") pairs.len() => _,
                options(nostack, preserves_flags),
            );
        }
        if let [byte] = last {
            *byte = self.read16(offset) as u8;
        }
    }
    #[cfg(target_os = "none")]
    #[track_caller]
    fn write16_bytes(&mut self, offset: u16, from: &[u8]) {
        let port = self.at(offset, 2);
        let (pairs, last) = from.as_chunks::<2>();
        // SAFETY: the port is granted to this task; the instruction only reads two bytes for each
        // pair, and needs no alignment.
        unsafe {
            core::arch::asm!(
                "rep outsw",
                in("dx") port,
                inout("rsi") pairs.as_ptr() => _,
                inout("rcx") pairs.len() => _,
                options(nostack, preserves_flags, readonly),
            );
        }
        if let [byte] = last {
            self.write16(offset, (*byte).into());
        }
    }
    #[cfg(target_os = "none")]
    block!(read32_block, write32_block, u32, "rep insd", "rep outsd", 4);
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
