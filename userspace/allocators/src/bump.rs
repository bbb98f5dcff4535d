//! The bump heap: a pointer that moves up with each allocation.

use crate::{Heap, Source, in_units, padding};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

/// A pointer that moves up with each allocation, and returns to the start when nothing is allocated
/// any more.
///
/// Cost: an addition to allocate, a subtraction to free. The block allocated last can also be
/// freed, grown and shrunk by itself, so a single `Vec` grows without copies, and a stack of
/// temporaries takes no more than its largest size.
///
/// Fails if blocks are not freed in reverse order: a single allocated block keeps the memory of all
/// blocks allocated before and after it. If the source's pieces are not adjacent, the rest of one
/// is lost when the next begins, and only the last piece is available again in the end. For
/// programs that allocate at the start, or in phases.
#[derive(Debug)]
pub struct Bump<S> {
    source: S,
    /// Start of the piece in use (`next`: its first unused byte; `end`: its end), which may be
    /// several adjacent pieces of the source.
    start: *mut u8,
    next: *mut u8,
    end: *mut u8,
    /// How many blocks are allocated and not freed.
    live: usize,
}

// SAFETY: the pointers are to memory that belongs to the heap, and not to a thread.
unsafe impl<S: Send> Send for Bump<S> {}

impl<S> Bump<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self { source, start: null_mut(), next: null_mut(), end: null_mut(), live: 0 }
    }

    /// Moves the pointer past a block, if the piece has room for it.
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

// SAFETY: `next` only moves over bytes that it hands out, and back over bytes that nobody has; see
// each step.
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
            // It is the last block of this piece: a block at the end of an older piece is below
            // this one's start.
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
