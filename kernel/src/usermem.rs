//! The only door to user memory. Nothing here dereferences a user's address: each page is looked up in the task's page tables, with
//! the rights that the task itself has, and reached through the direct map; every byte is copied once.

use crate::arch::paging::{direct, translate_user};
use abi::{PAGE_SIZE, Status};

/// Which side of a copy could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The memory that is read.
    From,
    /// The memory that is written.
    To,
}

/// Bytes from `addr` to the end of its page, at most `len`.
fn in_page(addr: u64, len: usize) -> usize {
    len.min(PAGE_SIZE - (addr as usize & (PAGE_SIZE - 1)))
}

fn reach(root: u64, addr: u64, len: usize, write: bool) -> Option<*mut u8> {
    let phys = translate_user(root, addr, write)?;
    direct(phys, len as u64)
}

/// Copies a task's bytes into the kernel. Errors: BadAddress; `into` may be partly filled then.
pub fn read(root: u64, addr: u64, into: &mut [u8]) -> Result<(), Status> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|r| !r.is_empty()) {
        let at = addr.checked_add(done as u64).ok_or(Status::BadAddress)?;
        let count = in_page(at, rest.len());
        let from = reach(root, at, count, false).ok_or(Status::BadAddress)?;
        // SAFETY: `from` is `count` bytes within one frame of RAM in the direct map, `rest` is at least that long, and the kernel's own
        // buffers are never frames of a task. Tasks do not run meanwhile (one core, interrupts off).
        unsafe { core::ptr::copy_nonoverlapping(from, rest.as_mut_ptr(), count) };
        done += count;
    }
    Ok(())
}

/// Copies bytes of the kernel to a task. Errors: BadAddress; part may be written then.
pub fn write(root: u64, addr: u64, from: &[u8]) -> Result<(), Status> {
    let mut done = 0;
    while let Some(rest) = from.get(done..).filter(|r| !r.is_empty()) {
        let at = addr.checked_add(done as u64).ok_or(Status::BadAddress)?;
        let count = in_page(at, rest.len());
        let to = reach(root, at, count, true).ok_or(Status::BadAddress)?;
        // SAFETY: as in `read`, the other way round; the task itself may write this page.
        unsafe { core::ptr::copy_nonoverlapping(rest.as_ptr(), to, count) };
        done += count;
    }
    Ok(())
}

/// Copies to a page of a task's own that the task itself may not write: for its debugger. The bytes lie within one page of the target.
/// The error names the side that could not be reached.
pub fn poke(from_root: u64, from: u64, to_root: u64, to: u64, len: usize) -> Result<(), Side> {
    let mut done = 0;
    while done < len {
        let source = from.checked_add(done as u64).ok_or(Side::From)?;
        let target = to.checked_add(done as u64).ok_or(Side::To)?;
        let count = in_page(target, in_page(source, len - done));
        let source = reach(from_root, source, count, false).ok_or(Side::From)?;
        let target = reach(to_root, target, count, false).ok_or(Side::To)?;
        // SAFETY: as in `copy`. The target's frame belongs to its task alone, and what the processor has cached of its code it
        // looks up again: stores are seen by later fetches (Intel SDM vol. 3A, section 12.6), and the way back to ring 3 serialises.
        unsafe { core::ptr::copy(source, target, count) };
        done += count;
    }
    Ok(())
}

/// Copies from one task to another, or within one. The error names the side that could not be reached; part may be copied then.
pub fn copy(from_root: u64, from: u64, to_root: u64, to: u64, len: usize) -> Result<(), Side> {
    let mut done = 0;
    while done < len {
        let source = from.checked_add(done as u64).ok_or(Side::From)?;
        let target = to.checked_add(done as u64).ok_or(Side::To)?;
        let count = in_page(target, in_page(source, len - done));
        let source = reach(from_root, source, count, false).ok_or(Side::From)?;
        let target = reach(to_root, target, count, true).ok_or(Side::To)?;
        // SAFETY: both lie within one frame of RAM in the direct map for `count` bytes; they may be the same frame, so `copy`.
        unsafe { core::ptr::copy(source, target, count) };
        done += count;
    }
    Ok(())
}
