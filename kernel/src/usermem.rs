//! All access to user memory. Nothing here dereferences a user's address: each page is looked up in
//! the task's page tables, with the rights that the task itself has, and accessed through the
//! direct map if it is RAM; every byte is copied once. Registers of a device that a task has mapped
//! are not accessed, as reading them may have effects.

use crate::arch::paging::{Access, Found, TABLE_SPAN, user_page, user_table};
use abi::{PAGE_SIZE, Status};
use core::arch::asm;
use kernel_core::addr::{TableRoot, UserAddr};
use zerocopy::IntoBytes;

/// The side of a copy that could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The memory that is copied from.
    From,
    /// The memory that is copied to.
    To,
}

/// A position in a task's memory, and what has been looked up there.
struct Place {
    root: TableRoot,
    access: Access,
    /// The lowest-level page table of the page that was looked up last, if any.
    table: Found,
    /// The address that is looked up next.
    addr: UserAddr,
    /// The bytes that were looked up and not copied yet: their address in the direct map, and their
    /// number.
    here: usize,
    left: usize,
}

impl Place {
    #[inline(always)]
    fn new(root: TableRoot, addr: UserAddr, access: Access) -> Self {
        Place { root, access, table: Found::NONE, addr, here: 0, left: 0 }
    }

    /// Looks up the next page, or at most `len` bytes of it, if all looked-up bytes are copied.
    /// `None` if the task has no page there, or lacks the access.
    #[inline(always)]
    fn look(&mut self, len: usize) -> Option<()> {
        if self.left != 0 {
            return Some(());
        }
        let table = match self.table.get() {
            Some(table) if !self.addr.is_aligned(TABLE_SPAN) && self.addr.is_user() => table,
            _ => {
                let table = user_table(self.root, self.addr, self.access)?;
                self.table = Found::table(table);
                table
            }
        };
        let room = PAGE_SIZE - self.addr.offset_in_page() as usize;
        let count = if len < room { len } else { room };
        let at = user_page(table, self.addr, self.access)?;
        (self.here, self.left) = (at.pointer().expose_provenance(), count);
        // The sum cannot overflow, since user addresses are far below 2^64.
        self.addr = self.addr.plus(count as u64);
        Some(())
    }

    #[inline(always)]
    fn go(&mut self, count: usize) {
        self.here += count;
        self.left -= count;
    }
}

/// Copies as `memmove` does, fastest if the areas do not overlap.
///
/// # Safety
/// `from` and `to` must be the addresses of `count` bytes that may be read and written,
/// respectively.
#[inline(always)]
unsafe fn copy_bytes(from: usize, to: usize, count: usize) {
    if to.wrapping_sub(from) < count {
        // SAFETY: by this function's contract. It copies downwards, first the last bytes singly,
        // then eight at a time: if the target begins within the source, no byte is overwritten
        // before it is read. The direction flag is clear again afterwards.
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
    // SAFETY: by this function's contract. The target does not begin within the source, so no byte
    // is overwritten before it is read.
    unsafe { copy_upwards(from, to, count) }
}

/// Copies upwards, eight bytes at a time, then the rest.
///
/// # Safety
/// `from` and `to` must be the addresses of `count` bytes that may be read and written,
/// respectively, and the target must not begin within the source.
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

/// Copies `len` bytes between address `addr` of a task, whose pages must allow `access`, and
/// address `own` of the kernel: to the task if `write` is true, else from it.
///
/// # Safety
/// The bytes at `own` must belong to the caller, to be read if `write` is true, else to be written.
unsafe fn exchange(
    root: TableRoot,
    addr: UserAddr,
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
        // SAFETY: one side is `count` bytes in one frame of RAM in the direct map; no task runs
        // meanwhile (one core, interrupts off). The other belongs to the caller, by this function's
        // contract, and is never a frame of a task.
        unsafe { copy_bytes(from, to, count) };
        place.left = 0;
        own += count;
        len -= count;
    }
    Ok(())
}

/// Copies bytes of a task into the kernel. Errors: BadAddress; `into` may then be partly filled.
pub fn read(root: TableRoot, addr: UserAddr, into: &mut [u8]) -> Result<(), Status> {
    // SAFETY: `into` is borrowed for writing.
    unsafe { exchange(root, addr, into.as_mut_ptr().expose_provenance(), into.len(), Access::READ, false) }
}

/// Copies bytes of a task into the kernel if all lie in one page that the task can read. Otherwise
/// nothing is copied, and false is returned.
#[inline(always)]
pub fn read_in_page(root: TableRoot, addr: UserAddr, into: &mut [u8]) -> bool {
    let mut place = Place::new(root, addr, Access::READ);
    if place.look(into.len()).is_none() || place.left != into.len() {
        return false;
    }
    // SAFETY: the source was looked up as in `exchange`; `into` is borrowed for writing, and is not
    // in a frame of a task.
    unsafe { copy_upwards(place.here, into.as_mut_ptr().expose_provenance(), into.len()) };
    true
}

/// Reads a task's memory at arbitrary addresses, and keeps the last page table, so that accesses
/// close to each other are fast.
pub struct Reader {
    place: Place,
    /// The number of the [`TABLE_SPAN`]-sized part of the address space to which the kept page
    /// table belongs; `u64::MAX` if none is kept.
    span: u64,
}

impl Reader {
    /// A reader of this address space.
    #[must_use]
    pub fn new(root: TableRoot) -> Self {
        Reader { place: Place::new(root, UserAddr::new(0), Access::READ), span: u64::MAX }
    }

    /// Copies bytes from `addr` on until one cannot be read; returns the number of bytes copied.
    pub fn some(&mut self, addr: UserAddr, into: &mut [u8]) -> usize {
        self.place.addr = addr;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            self.place.left = 0;
            let span = self.place.addr.number() / TABLE_SPAN;
            if span != self.span {
                self.place.table = Found::NONE;
            }
            self.span = u64::MAX;
            if self.place.look(rest.len()).is_none() {
                break;
            }
            self.span = span;
            let count = self.place.left;
            // SAFETY: the source was looked up as in `exchange`; `rest` is borrowed for writing and
            // at least as long.
            unsafe { copy_bytes(self.place.here, rest.as_mut_ptr().expose_provenance(), count) };
            done += count;
        }
        done
    }

    /// The two words at `addr`; `None` if they cannot be read.
    pub fn pair(&mut self, addr: UserAddr) -> Option<[u64; 2]> {
        let mut words = [0; 2];
        (self.some(addr, words.as_mut_bytes()) == size_of_val(&words)).then_some(words)
    }
}

/// Copies bytes of the kernel to a task. Errors: BadAddress; a part may then be written.
pub fn write(root: TableRoot, addr: UserAddr, from: &[u8]) -> Result<(), Status> {
    // SAFETY: `from` is borrowed for reading.
    unsafe { exchange(root, addr, from.as_ptr().expose_provenance(), from.len(), Access::WRITE, true) }
}

/// Copies bytes of the kernel to a task if all lie in one page that the task can write. Otherwise
/// nothing is copied, and false is returned.
#[inline(always)]
pub fn write_in_page(root: TableRoot, addr: UserAddr, from: &[u8]) -> bool {
    let mut place = Place::new(root, addr, Access::WRITE);
    if place.look(from.len()).is_none() || place.left != from.len() {
        return false;
    }
    // SAFETY: the target was looked up as in `exchange`; `from` is borrowed for reading.
    unsafe { copy_bytes(from.as_ptr().expose_provenance(), place.here, from.len()) };
    true
}

/// Copies bytes to a task for its debugger, even to pages that are read-only for the task. Errors:
/// BadAddress (the task cannot read a page); a part may then be written.
///
/// The caller ensures that the frames belong to that task alone. Stores to code take effect: later
/// instruction fetches see them (Intel SDM vol. 3A, section 12.6), and the return to ring 3 is a
/// serialising instruction.
pub fn poke(root: TableRoot, addr: UserAddr, from: &[u8]) -> Result<(), Status> {
    // SAFETY: `from` is borrowed for reading.
    unsafe { exchange(root, addr, from.as_ptr().expose_provenance(), from.len(), Access::READ, true) }
}

/// Copies from one task to another, or within one. The error names the side that could not be
/// accessed; a part may then be copied.
#[inline(always)]
pub fn copy(
    from_root: TableRoot,
    from: UserAddr,
    to_root: TableRoot,
    to: UserAddr,
    mut len: usize,
) -> Result<(), Side> {
    let mut source = Place::new(from_root, from, Access::READ);
    let mut target = Place::new(to_root, to, Access::WRITE);
    while len != 0 {
        source.look(len).ok_or(Side::From)?;
        target.look(len).ok_or(Side::To)?;
        let count = if source.left < target.left { source.left } else { target.left };
        // SAFETY: both are `count` bytes within one frame of RAM in the direct map; tasks do not
        // run meanwhile.
        unsafe { copy_bytes(source.here, target.here, count) };
        source.go(count);
        target.go(count);
        len -= count;
    }
    Ok(())
}
