//! Where the heaps that are measured get their memory: pages of an arena, as the kernel would give them, but counted.

use abi::PAGE_SIZE;
use allocators::Source;
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Room in the arena in bytes.
pub const ROOM: usize = 8 << 20;

static BASE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Pages that the heap under measurement has taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Gives the arena to the next heap, whole. Those before it must not be used any more.
///
/// # Errors
/// When there is no memory for it.
pub fn reset() -> Result<(), &'static str> {
    TAKEN.store(0, Ordering::Relaxed);
    if BASE.load(Ordering::Relaxed).is_null() {
        let layout = Layout::from_size_align(ROOM, PAGE_SIZE).map_err(|_| "no layout")?;
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc::alloc::alloc(layout) };
        if base.is_null() {
            return Err("no memory for the arena");
        }
        BASE.store(base, Ordering::Relaxed);
    }
    Ok(())
}

/// Bytes that the heap under measurement has taken.
pub fn taken() -> usize {
    TAKEN.load(Ordering::Relaxed) * PAGE_SIZE
}

/// The source: as few pages as will do, so that what is taken is what the heap needs.
#[derive(Debug)]
pub struct Arena;

// SAFETY: the arena is never freed, each of its pages is given once to the heap under measurement, and the pieces lie one behind the other.
unsafe impl Source for Arena {
    #[cold]
    fn more(&mut self, bytes: usize) -> Option<NonNull<[u8]>> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        let before = TAKEN.load(Ordering::Relaxed);
        let after = before.checked_add(pages).filter(|after| *after <= ROOM / PAGE_SIZE)?;
        TAKEN.store(after, Ordering::Relaxed);
        // SAFETY: the check above says that the piece lies in the arena.
        let start = NonNull::new(unsafe { BASE.load(Ordering::Relaxed).add(before * PAGE_SIZE) })?;
        Some(NonNull::slice_from_raw_parts(start, pages * PAGE_SIZE))
    }
}
