//! The bump heap: a pointer that moves up.

use crate::{Heap, Source, in_units, padding};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

/// A pointer that moves up with each allocation, and comes back to the start when nothing is allocated any more.
///
/// Cost: an addition to allocate, a subtraction to free. The block allocated last can also be freed, grown and shrunk by itself, so a
/// single `Vec` grows without copies, and a stack of temporaries takes no more than its deepest moment.
///
/// Fails where freeing does not come in reverse order: a single block that lives keeps all that was ever allocated before and
/// after it. Where the source's pieces do not touch each other, what was left of one is lost when the next begins, and what comes back in
/// the end is the last piece alone. For programs that allocate at the start, or in phases.
#[derive(Debug)]
pub struct Bump<S> {
    source: S,
    /// The piece in use, and the first byte of it that was not handed out; all of one region.
    start: *mut u8,
    next: *mut u8,
    end: *mut u8,
    /// Blocks allocated and not freed.
    live: usize,
}

// SAFETY: the pointers are to memory that belongs to the heap, and not to a thread.
unsafe impl<S: Send> Send for Bump<S> {}

impl<S> Bump<S> {
    /// A heap that has taken nothing yet.
    pub const fn new(source: S) -> Self {
        Self { source, start: null_mut(), next: null_mut(), end: null_mut(), live: 0 }
    }

    /// Moves the pointer over a block, where the piece has room for it.
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let pad = padding(self.next.addr(), layout.align());
        let room = (self.end.addr() - self.next.addr()).checked_sub(pad)?;
        if layout.size() > room {
            return None;
        }
        // SAFETY: by the check above, block and padding lie before `end`, in the piece.
        let block = unsafe { self.next.add(pad) };
        // SAFETY: as above.
        self.next = unsafe { block.add(layout.size()) };
        NonNull::new(block)
    }
}

impl<S: Source> Bump<S> {
    #[cold]
    fn grow(&mut self, layout: Layout) -> Option<()> {
        let need = in_units(layout.size().checked_add(layout.align())?)?;
        let piece = self.source.more(need)?;
        let start = piece.cast::<u8>().as_ptr();
        if start != self.end {
            (self.start, self.next, self.end) = (start, start, start);
        }
        // SAFETY: that is the end of the piece.
        self.end = unsafe { self.end.add(piece.len()) };
        Some(())
    }
}

// SAFETY: `next` only moves over bytes that it hands out, and back over bytes that nobody has; see each step.
unsafe impl<S: Source> Heap for Bump<S> {
    #[inline]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = match self.take(layout) {
            Some(block) => block,
            None => {
                self.grow(layout)?;
                self.take(layout)?
            }
        };
        self.live += 1;
        Some(block)
    }

    #[inline]
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        self.live -= 1;
        if self.live == 0 {
            self.next = self.start;
        } else if block.addr().get() + layout.size() == self.next.addr() && block.as_ptr() >= self.start {
            // It is the last block of this piece: what ends where an older piece did lies below this one's start.
            self.next = block.as_ptr();
        }
    }

    #[inline]
    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        let last = block.addr().get() + layout.size() == self.next.addr() && block.as_ptr() >= self.start;
        if !last {
            return new_size <= layout.size();
        }
        if new_size > self.end.addr() - block.addr().get() {
            return false;
        }
        // SAFETY: the check above says that this is within the piece.
        self.next = unsafe { block.as_ptr().add(new_size) };
        true
    }
}
