//! The only door to user memory. Nothing here dereferences a user's address: each page is looked up in the task's page tables, with
//! the rights that the task itself has, and reached through the direct map where it is RAM; every byte is copied once. A device's registers
//! that a task has mapped are no memory for the kernel: reading them can have effects, and nothing says what lies behind them.

use crate::arch::paging::{Access, Found, TABLE_SPAN, user_page, user_table};
use abi::task::USER_END;
use abi::{PAGE_SIZE, Status};
use core::arch::asm;
use kernel_core::addr::TableRoot;
use zerocopy::IntoBytes;

/// Which side of a copy could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The memory that is read.
    From,
    /// The memory that is written.
    To,
}

/// A task's memory, as far as it has been looked up.
struct Place {
    root: TableRoot,
    access: Access,
    /// The lowest page table for the page that was looked up last; none before the first.
    table: Found,
    /// What is looked up next.
    addr: u64,
    /// What was looked up and is not copied yet: where it is in the kernel's map, and how many bytes.
    here: usize,
    left: usize,
}

impl Place {
    #[inline(always)]
    fn new(root: TableRoot, addr: u64, access: Access) -> Self {
        Place { root, access, table: Found::NONE, addr, here: 0, left: 0 }
    }

    /// Looks the next page up where nothing is left, at most `len` bytes of it. `None`: the task has none there, or may not do that.
    #[inline(always)]
    fn look(&mut self, len: usize) -> Option<()> {
        if self.left != 0 {
            return Some(());
        }
        let table = match self.table.get() {
            Some(table) if self.addr & (TABLE_SPAN - 1) != 0 && self.addr < USER_END => table,
            _ => {
                let table = user_table(self.root, self.addr, self.access)?;
                self.table = Found::table(table);
                table
            }
        };
        let room = PAGE_SIZE - (self.addr as usize & (PAGE_SIZE - 1));
        let count = if len < room { len } else { room };
        let at = user_page(table, self.addr, self.access)?;
        (self.here, self.left) = (at.pointer().expose_provenance(), count);
        // No wrap: an address of a task is far below the end of all addresses.
        self.addr += count as u64;
        Some(())
    }

    #[inline(always)]
    fn go(&mut self, count: usize) {
        self.here += count;
        self.left -= count;
    }
}

/// Copies as `memmove` does, at its best for what does not overlap.
///
/// # Safety
/// Both must be `count` bytes that may be read, or written.
#[inline(always)]
unsafe fn copy_bytes(from: usize, to: usize, count: usize) {
    if to.wrapping_sub(from) < count {
        // SAFETY: by this function's contract. Downwards, the last bytes one by one, then eight at a time: where the target begins within the
        // source, no byte is written before it is read. The direction flag is clear again afterwards.
        unsafe {
            asm!(
                "std",
                "rep movsb",
                "mov rcx, {words}",
                "sub rsi, 7",
                "sub rdi, 7",
                "rep movsq",
                "cld",
                words = in(reg) count / 8,
                inout("rcx") count & 7 => _,
                inout("rsi") from + count - 1 => _,
                inout("rdi") to + count - 1 => _,
                options(nostack),
            );
        }
        return;
    }
    // SAFETY: by this function's contract: where the target does not begin within the source, no byte is written before it is read.
    unsafe { copy_upwards(from, to, count) }
}

/// Copies eight bytes at a time, then the rest, upwards.
///
/// # Safety
/// Both must be `count` bytes that may be read, or written, and the target must not begin within the source.
#[inline(always)]
unsafe fn copy_upwards(from: usize, to: usize, count: usize) {
    // SAFETY: by this function's contract; the direction flag is clear in Rust code.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) count & 7,
            inout("rcx") count / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies between a task's memory, whose pages must allow `access`, and `len` bytes of the kernel's own.
///
/// # Safety
/// They must be the caller's to write, or to read where `write` says that the task's memory is written.
unsafe fn exchange(
    root: TableRoot,
    addr: u64,
    mut own: usize,
    mut len: usize,
    access: Access,
    write: bool,
) -> Result<(), Status> {
    let mut place = Place::new(root, addr, access);
    while len != 0 {
        place.look(len).ok_or(Status::BadAddress)?;
        let (here, count) = (place.here, place.left);
        let (from, to) = if write { (own, here) } else { (here, own) };
        // SAFETY: one is `count` bytes within one frame of RAM in the direct map; tasks do not run meanwhile (one core, interrupts off).
        // The other is the caller's, by this function's contract, and never a frame of a task.
        unsafe { copy_bytes(from, to, count) };
        place.left = 0;
        own += count;
        len -= count;
    }
    Ok(())
}

/// Copies a task's bytes into the kernel. Errors: BadAddress; `into` may be partly filled then.
pub fn read(root: TableRoot, addr: u64, into: &mut [u8]) -> Result<(), Status> {
    // SAFETY: `into` is borrowed for writing.
    unsafe { exchange(root, addr, into.as_mut_ptr().expose_provenance(), into.len(), Access::READ, false) }
}

/// Copies a task's bytes into the kernel where all of them lie in one page; nothing is read and false returned where they do not, or cannot be read.
#[inline(always)]
pub fn read_in_page(root: TableRoot, addr: u64, into: &mut [u8]) -> bool {
    let mut place = Place::new(root, addr, Access::READ);
    if place.look(into.len()).is_none() || place.left != into.len() {
        return false;
    }
    // SAFETY: as in `exchange`; `into` is borrowed for writing, and is no frame of a task.
    unsafe { copy_upwards(place.here, into.as_mut_ptr().expose_provenance(), into.len()) };
    true
}

/// Reads a task's memory here and there: what is near to what was read last is found at once.
pub struct Reader {
    place: Place,
    /// The part of the address space, [`TABLE_SPAN`] bytes long, that the place's page table is for; `u64::MAX` where it has none.
    span: u64,
}

impl Reader {
    /// Of this address space.
    #[must_use]
    pub fn new(root: TableRoot) -> Self {
        Reader { place: Place::new(root, 0, Access::READ), span: u64::MAX }
    }

    /// Copies as many bytes as can be read in one piece; returns how many.
    pub fn some(&mut self, addr: u64, into: &mut [u8]) -> usize {
        self.place.addr = addr;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            self.place.left = 0;
            let span = self.place.addr / TABLE_SPAN;
            if span != self.span {
                self.place.table = Found::NONE;
            }
            self.span = u64::MAX;
            if self.place.look(rest.len()).is_none() {
                break;
            }
            self.span = span;
            let count = self.place.left;
            // SAFETY: as in `exchange`; `rest` is borrowed for writing and at least as long.
            unsafe { copy_bytes(self.place.here, rest.as_mut_ptr().expose_provenance(), count) };
            done += count;
        }
        done
    }

    /// Two words at an address that is a multiple of eight.
    pub fn pair(&mut self, addr: u64) -> Option<[u64; 2]> {
        let mut words = [0; 2];
        (self.some(addr, words.as_mut_bytes()) == size_of_val(&words)).then_some(words)
    }
}

/// Copies bytes of the kernel to a task. Errors: BadAddress; part may be written then.
pub fn write(root: TableRoot, addr: u64, from: &[u8]) -> Result<(), Status> {
    // SAFETY: `from` is borrowed for reading.
    unsafe { exchange(root, addr, from.as_ptr().expose_provenance(), from.len(), Access::WRITE, true) }
}

/// Copies bytes of the kernel to a task where all of them lie in one page; nothing is written and false returned where they do not, or may not be written.
#[inline(always)]
pub fn write_in_page(root: TableRoot, addr: u64, from: &[u8]) -> bool {
    let mut place = Place::new(root, addr, Access::WRITE);
    if place.look(from.len()).is_none() || place.left != from.len() {
        return false;
    }
    // SAFETY: as in `exchange`; `from` is borrowed for reading.
    unsafe { copy_bytes(from.as_ptr().expose_provenance(), place.here, from.len()) };
    true
}

/// Copies bytes to a task, also to pages of its own that the task itself may not write: for its debugger. Errors: BadAddress (not even read).
///
/// The target's frame belongs to its task alone, and what the processor has cached of its code it looks up again: stores are seen by later
/// fetches (Intel SDM vol. 3A, section 12.6), and the way back to ring 3 serialises.
pub fn poke(root: TableRoot, addr: u64, from: &[u8]) -> Result<(), Status> {
    // SAFETY: `from` is borrowed for reading.
    unsafe { exchange(root, addr, from.as_ptr().expose_provenance(), from.len(), Access::READ, true) }
}

/// Copies from one task to another, or within one. The error names the side that could not be reached; part may be copied then.
#[inline(always)]
pub fn copy(from_root: TableRoot, from: u64, to_root: TableRoot, to: u64, mut len: usize) -> Result<(), Side> {
    let mut source = Place::new(from_root, from, Access::READ);
    let mut target = Place::new(to_root, to, Access::WRITE);
    while len != 0 {
        source.look(len).ok_or(Side::From)?;
        target.look(len).ok_or(Side::To)?;
        let count = if source.left < target.left { source.left } else { target.left };
        // SAFETY: both are `count` bytes within one frame of RAM in the direct map; tasks do not run meanwhile.
        unsafe { copy_bytes(source.here, target.here, count) };
        source.go(count);
        target.go(count);
        len -= count;
    }
    Ok(())
}
