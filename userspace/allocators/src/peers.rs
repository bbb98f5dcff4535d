//! Allocators from crates.io with the same interface, for comparison: talc, buddy_system_allocator,
//! linked_list_allocator.

use crate::{Heap, Source, in_units};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;
use talc::base::binning::Binning;
use talc::base::{CHUNK_UNIT, Talc as Base};
use talc::{DefaultBinning, min_first_heap_size};

/// talc: free memory in bins by size, found by a bitmap; adjacent free memory is joined.
#[derive(Debug)]
pub struct Talc<S: Source>(Base<Growing<S>, DefaultBinning>);

/// A [`Source`] with the interface that talc needs.
struct Growing<S> {
    source: S,
    /// End of talc's last heap, once there is one.
    end: Option<NonNull<u8>>,
}

impl<S> fmt::Debug for Growing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("end", &self.end).finish_non_exhaustive()
    }
}

// SAFETY: the pointers are to memory that belongs to the heap, and not to a thread.
unsafe impl<S: Source + Send> Send for Talc<S> {}

impl<S: Source> Talc<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self(Base::new(Growing { source, end: None }))
    }
}

// SAFETY: `acquire` touches the allocator only through `talc`.
unsafe impl<S: Source> talc::source::Source for Growing<S> {
    #[cold]
    fn acquire<B: Binning>(talc: &mut Base<Self, B>, layout: Layout) -> Result<(), ()> {
        // The block, its tags, and the slack that its alignment may cost; in the first heap also
        // talc's tables.
        let tables = if talc.source.end.is_none() { min_first_heap_size::<DefaultBinning>() } else { 0 };
        let need = layout.size().checked_add(4 * CHUNK_UNIT + layout.align() + tables).and_then(in_units).ok_or(())?;
        let piece = talc.source.source.more(need).ok_or(())?;
        let start = piece.cast::<u8>();
        talc.source.end = match talc.source.end {
            Some(end) if end == start => {
                // SAFETY: one past the piece, which continues the heap.
                let new_end = unsafe { end.as_ptr().add(piece.len()) };
                // SAFETY: what lies between is fresh, and of the region that the heap is of.
                Some(unsafe { talc.extend(end, new_end) })
            }
            // SAFETY: the piece is fresh.
            _ => unsafe { talc.claim(start.as_ptr(), piece.len()) },
        };
        if talc.source.end.is_some() { Ok(()) } else { Err(()) }
    }
}

// SAFETY: talc promises of its blocks what `Heap` does.
unsafe impl<S: Source> Heap for Talc<S> {
    #[inline]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: layouts have a size of at least 1.
        unsafe { self.0.allocate(layout) }
    }

    #[inline]
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { self.0.deallocate(block.as_ptr(), layout) }
    }

    #[inline]
    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        // SAFETY: as the caller vouches.
        unsafe { self.0.try_realloc_in_place(block.as_ptr(), layout, new_size) }
    }
}

/// Number of block sizes of the buddy system: up to 2^39 bytes.
const ORDERS: usize = 40;

/// buddy_system_allocator: blocks are powers of two, halved to allocate, joined with their other
/// half when freed.
pub struct Buddy<S> {
    heap: buddy_system_allocator::Heap<ORDERS>,
    source: S,
}

impl<S> fmt::Debug for Buddy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buddy").field("heap", &self.heap).finish_non_exhaustive()
    }
}

impl<S> Buddy<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self { heap: buddy_system_allocator::Heap::new(), source }
    }
}

impl<S: Source> Buddy<S> {
    #[cold]
    fn grow(&mut self, need: usize) -> Option<()> {
        let piece = self.source.more(need)?;
        let start = piece.cast::<u8>().as_ptr().expose_provenance();
        // SAFETY: the piece is fresh; its addresses are exposed, as the crate makes pointers of
        // numbers.
        unsafe { self.heap.add_to_heap(start, start + piece.len()) };
        Some(())
    }
}

// SAFETY: the crate promises of its blocks what `Heap` does.
unsafe impl<S: Source> Heap for Buddy<S> {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // Beyond half of its largest size the crate's arithmetic overflows.
        let size = layout.size().max(layout.align());
        if size > 1 << (ORDERS - 2) {
            return None;
        }
        let size = size.next_power_of_two().max(crate::UNIT);
        if let Ok(block) = self.heap.alloc(layout) {
            return Some(block);
        }
        self.grow(size)?;
        if let Ok(block) = self.heap.alloc(layout) {
            return Some(block);
        }
        // The piece was not aligned to its size: twice as much has an aligned half.
        self.grow(2 * size)?;
        self.heap.alloc(layout).ok()
    }

    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { self.heap.dealloc(block, layout) }
    }
}

/// linked_list_allocator: works like [`crate::LinkedList`]. It has a single region, so the source's
/// pieces must be adjacent.
pub struct List<S> {
    heap: linked_list_allocator::Heap,
    source: S,
}

impl<S> fmt::Debug for List<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("size", &self.heap.size()).finish_non_exhaustive()
    }
}

impl<S> List<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self { heap: linked_list_allocator::Heap::empty(), source }
    }
}

impl<S: Source> List<S> {
    #[cold]
    fn grow(&mut self, layout: Layout) -> Option<()> {
        // Three words for records that alignment may split off.
        let need = in_units(layout.size().checked_add(layout.align())?.checked_add(64)?)?;
        let piece = self.source.more(need)?;
        let start = piece.cast::<u8>().as_ptr();
        if self.heap.size() == 0 {
            // SAFETY: the piece is fresh, and the heap has none yet.
            unsafe { self.heap.init(start, piece.len()) };
        } else if start == self.heap.top() {
            // SAFETY: the piece is fresh and continues the region.
            unsafe { self.heap.extend(piece.len()) };
        } else {
            return None;
        }
        Some(())
    }
}

// SAFETY: the crate promises of its blocks what `Heap` does.
unsafe impl<S: Source> Heap for List<S> {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // Sizes near the end of the address space overflow the crate's arithmetic.
        if layout.size().max(layout.align()) > isize::MAX as usize / 2 {
            return None;
        }
        // The crate cannot be asked before it has memory.
        if self.heap.size() > 0
            && let Ok(block) = self.heap.allocate_first_fit(layout)
        {
            return Some(block);
        }
        self.grow(layout)?;
        self.heap.allocate_first_fit(layout).ok()
    }

    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { self.heap.deallocate(block, layout) }
    }
}
