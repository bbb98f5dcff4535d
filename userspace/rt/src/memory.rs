//! Memory objects, and their mappings in the task's address space.

use crate::lock::Mutex;
use crate::syscall;
use abi::info::Entry;
use abi::manifest::GrantKind;
use abi::{PAGE_SIZE, Status};
use alloc::vec;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// The handle of a memory object: frames, or a physical range. It is a plain number, and dropping
/// it closes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory(pub u32);

/// The result of [`Memory::info`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryInfo {
    /// The size in pages of [`PAGE_SIZE`] bytes.
    pub pages: usize,
    /// The physical address of the first byte, if the object is known to be contiguous.
    pub physical: Option<u64>,
}

impl Memory {
    /// Makes an object of `pages` zeroed frames, 1 to 256, which are charged to the task.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::MemoryCreate`].
    pub fn create(pages: usize) -> Result<Memory, Status> {
        syscall::memory_create(pages, false).map(Memory)
    }

    /// Makes an object of `pages` zeroed and physically contiguous frames, 1 to 256, which are
    /// charged to the task.
    ///
    /// # Errors
    /// The errors of [`Memory::create`].
    pub fn create_contiguous(pages: usize) -> Result<Memory, Status> {
        syscall::memory_create(pages, true).map(Memory)
    }

    /// The physical range that `system.toml` grants by this name.
    pub fn range(name: &str) -> Option<Memory> {
        crate::entry_named(GrantKind::Range, name).map(handle)
    }

    /// The kept memory, which outlives the task: zero in the first life, and in later lives as the
    /// last one left it.
    pub fn keep() -> Option<Memory> {
        crate::entry_of(GrantKind::Keep).map(handle)
    }

    /// The kept memory, mapped for the rest of the task's life, if it has at least `len` bytes;
    /// otherwise zeroed memory that does not outlive the task. The flag tells whether it is kept
    /// memory. It is aligned to 8 bytes.
    pub fn kept(len: usize) -> (&'static mut [u8], bool) {
        let mapped = Memory::keep().and_then(|memory| memory.map(true).ok()).filter(|mapping| mapping.len() >= len);
        match mapped {
            Some(mapping) => (mapping.leak(), true),
            None => (vec![0_u64; len.div_ceil(8)].leak().as_mut_bytes(), false),
        }
    }

    /// The boot archive, which is read-only: [`crate::archive::Archive::map`] reads it.
    pub fn archive() -> Option<Memory> {
        crate::entry_of(GrantKind::Archive).map(handle)
    }

    /// The size and the physical address.
    ///
    /// # Errors
    /// [`Status::BadHandle`], [`Status::WrongKind`].
    pub fn info(self) -> Result<MemoryInfo, Status> {
        let (pages, physical) = syscall::memory_info(self.0)?;
        Ok(MemoryInfo { pages, physical: Some(physical).filter(|&address| address != u64::MAX) })
    }

    /// Maps the whole object at an address that the kernel chooses, never executable. A handle can
    /// have only one mapping at a time, so that a slice of it has one owner.
    ///
    /// # Errors
    /// [`Status::Busy`] if this handle is mapped already, and those of [`abi::Syscall::MemoryMap`].
    pub fn map(self, writable: bool) -> Result<Mapping, Status> {
        let pages = self.info()?.pages;
        let mut mapped = MAPPED.lock();
        if mapped.contains(&self.0) {
            return Err(Status::Busy);
        }
        mapped.try_reserve(1).map_err(|_| Status::OutOfMemory)?;
        // SAFETY: the list of mapped handles shows that this is the only mapping of the handle.
        let address = unsafe { syscall::memory_map(self.0, 0, writable) }?;
        mapped.push(self.0);
        Ok(Mapping { memory: self, address: address as *mut u8, len: pages.saturating_mul(PAGE_SIZE), writable })
    }
}

fn handle(entry: &Entry) -> Memory {
    Memory(entry.handle)
}

/// The handles that are mapped.
static MAPPED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A mapping of a memory object, which is unmapped on drop.
///
/// The slices are for memory that only this task writes. Memory that a device or another task
/// writes at the same time (video memory, shared rings) is accessed through the volatile accessors,
/// whose offsets count bytes.
///
/// ```toml
/// ranges = [{ name = "text", base = 0xB8000, len = 0x8000 }]
/// ```
/// ```no_run
/// use rt::memory::Memory;
///
/// let range = Memory::range("text").expect("a range called `text` in the task table");
/// let mut text = range.map(true)?;
/// text.write_u16(2 * 80, 0x0741);
/// assert_eq!(text.read_u16(2 * 80), 0x0741);
/// # Ok::<(), rt::Status>(())
/// ```
#[derive(Debug)]
pub struct Mapping {
    memory: Memory,
    address: *mut u8,
    len: usize,
    writable: bool,
}

// SAFETY: a mapping belongs to the task, not to a thread, and shared references only read.
unsafe impl Send for Mapping {}
// SAFETY: a mapping belongs to the task, not to a thread, and shared references only read.
unsafe impl Sync for Mapping {}

macro_rules! accessors {
    ($($read:ident $write:ident $type:ty;)*) => {$(
        /// Reads a number at `offset`, by one volatile access.
        ///
        /// # Panics
        /// If the offset is beyond the mapping, or not a multiple of the width.
        #[inline]
        #[track_caller]
        pub fn $read(&self, offset: usize) -> $type {
            let cell = self.cell(offset, size_of::<$type>()).cast::<$type>();
            #[cfg(not(target_os = "none"))]
            if let Some((device, offset)) = crate::testing::kernel::at_address(cell.addr() as u64) {
                let value = device.borrow_mut().read(offset, size_of::<$type>()) as $type;
                crate::testing::kernel::device_was_reached();
                return value;
            }
            // SAFETY: `cell` has checked that the whole number lies in the mapping, which is
            // readable, and is aligned.
            unsafe { cell.read_volatile() }
        }

        /// Writes a number to `offset`, by one volatile access.
        ///
        /// # Panics
        /// If the offset is beyond the mapping or not a multiple of the width, or the mapping is
        /// read-only.
        #[inline]
        #[track_caller]
        pub fn $write(&mut self, offset: usize, value: $type) {
            self.check_writable();
            let cell = self.cell(offset, size_of::<$type>()).cast::<$type>();
            #[cfg(not(target_os = "none"))]
            if let Some((device, offset)) = crate::testing::kernel::at_address(cell.addr() as u64) {
                device.borrow_mut().write(offset, size_of::<$type>(), value.into());
                crate::testing::kernel::device_was_reached();
                return;
            }
            // SAFETY: `cell` has checked that the whole number lies in the mapping and is aligned;
            // the mapping is writable and exclusively borrowed.
            unsafe { cell.write_volatile(value) }
        }
    )*};
}

impl Mapping {
    /// The address of the first byte, page-aligned.
    pub fn addr(&self) -> usize {
        self.address as usize
    }

    /// The length in bytes, a multiple of the page size.
    #[allow(clippy::len_without_is_empty, reason = "a mapping has at least one page")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory object that is mapped.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The bytes of the mapping.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` readable bytes are mapped until drop; an exclusive borrow of them is one of
        // the mapping.
        unsafe { core::slice::from_raw_parts(self.address, self.len) }
    }

    /// The bytes of the mapping, mutable.
    ///
    /// # Panics
    /// If the mapping is read-only.
    #[track_caller]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.check_writable();
        // SAFETY: `len` writable bytes are mapped once, until drop; the mapping is borrowed
        // exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.address, self.len) }
    }

    /// The bytes of the mapping, mutable, for the rest of the task's life.
    ///
    /// # Panics
    /// If the mapping is read-only.
    #[track_caller]
    pub fn leak(self) -> &'static mut [u8] {
        self.check_writable();
        let mapping = core::mem::ManuallyDrop::new(self);
        // SAFETY: `len` writable bytes are mapped once; the mapping is never dropped, and its
        // handle never mapped again.
        unsafe { core::slice::from_raw_parts_mut(mapping.address, mapping.len) }
    }

    /// The bytes of the mapping, for the rest of the task's life.
    pub fn leak_shared(self) -> &'static [u8] {
        let mapping = core::mem::ManuallyDrop::new(self);
        // SAFETY: `len` readable bytes are mapped; the mapping is never dropped.
        unsafe { core::slice::from_raw_parts(mapping.address, mapping.len) }
    }

    accessors! {
        read_u8 write_u8 u8;
        read_u16 write_u16 u16;
        read_u32 write_u32 u32;
        read_u64 write_u64 u64;
    }

    #[inline]
    #[track_caller]
    fn check_writable(&self) {
        assert!(self.writable, "the mapping is read-only");
    }

    /// The address of the number of `width` bytes at `offset`. Panics if it is not aligned, or
    /// beyond the mapping.
    #[inline]
    #[track_caller]
    fn cell(&self, offset: usize, width: usize) -> *mut u8 {
        if !offset.is_multiple_of(width) || self.len.checked_sub(width).is_none_or(|last| offset > last) {
            bad_cell(offset, width, self.len);
        }
        self.address.wrapping_add(offset)
    }
}

#[cold]
#[track_caller]
fn bad_cell(offset: usize, width: usize, len: usize) -> ! {
    panic!("no cell of {width} bytes at offset {offset:#x} of a mapping of {len:#x} bytes")
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut mapped = MAPPED.lock();
        // SAFETY: slices of the mapping borrow it, so none is left.
        if unsafe { syscall::memory_unmap(self.address as u64) }.is_ok() {
            mapped.retain(|&handle| handle != self.memory.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;

    /// A mapping of ordinary memory; dropping it fails to unmap and does no harm.
    fn mapping(writable: bool) -> Mapping {
        let cells = Box::leak(Box::new([0x1122_3344_5566_7788_u64; 4]));
        Mapping { memory: Memory(99), address: cells.as_mut_ptr().cast(), len: 32, writable }
    }

    #[test]
    fn cells_are_read_and_written_in_place() {
        let mut mapping = mapping(true);
        assert_eq!(mapping.read_u16(2), 0x5566);
        mapping.write_u8(31, 0xab);
        assert_eq!(mapping.read_u64(24), 0xab22_3344_5566_7788);
        mapping.write_u32(0, 1);
        assert_eq!(mapping.as_slice().get(..5), Some(&[1, 0, 0, 0, 0x44][..]));
        mapping.as_mut_slice().fill(0);
        assert_eq!(mapping.read_u64(8), 0);
        assert_eq!(mapping.leak().len(), 32);
    }

    #[test]
    #[should_panic(expected = "no cell of 2 bytes at offset 0x20")]
    fn a_cell_past_the_end_is_refused() {
        mapping(true).read_u16(32);
    }

    #[test]
    #[should_panic(expected = "no cell of 4 bytes at offset 0x2")]
    fn a_crooked_cell_is_refused() {
        mapping(true).read_u32(2);
    }

    #[test]
    #[should_panic(expected = "no cell")]
    fn an_offset_near_the_top_does_not_wrap() {
        mapping(true).read_u8(usize::MAX);
    }

    #[test]
    #[should_panic(expected = "read-only")]
    fn a_read_only_mapping_is_not_written() {
        mapping(false).write_u8(0, 1);
    }

    #[test]
    fn there_is_no_memory_on_the_host() {
        assert_eq!(Memory::create(1), Err(Status::BadSyscall));
        assert_eq!(Memory(3).map(true).err(), Some(Status::BadSyscall));
        assert_eq!((Memory::range("text"), Memory::keep(), Memory::archive()), (None, None, None));
        let (memory, kept) = Memory::kept(13);
        assert_eq!((memory.len(), memory.as_ptr() as usize % 8, kept), (16, 0, false));
        assert!(memory.iter().all(|&byte| byte == 0));
    }
}
