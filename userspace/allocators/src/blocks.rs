//! The heap of fixed-size blocks: a list of free blocks for each of a few sizes.

use crate::{Heap, LinkedList, Source, UNIT};
use core::alloc::Layout;
use core::ptr::NonNull;

/// How many sizes of blocks there are: 16, then each power of two and the middle between two, up to
/// 2048 bytes.
const CLASSES: usize = 15;

/// Size of the largest block, in bytes.
const LARGEST: usize = 2048;

/// Blocks are cut from runs of about this many bytes.
const RUN: usize = 256;

/// A free block, whose first word is the link to the next one.
#[derive(Clone, Copy)]
struct Free {
    next: Link,
}

type Link = Option<NonNull<Free>>;

/// Lists of free blocks of fixed sizes; allocations of more than 2 KiB, or aligned to more than 16
/// bytes, go to a [`LinkedList`].
///
/// Cost: a few instructions to allocate and to free, whatever happened before; sometimes a run of
/// new blocks, which costs as much as an allocation from the list, as do large blocks. Above 32
/// bytes, a block is at most a third larger than the allocation.
///
/// Fails if a program changes the sizes that it uses: a block of one size is never used for
/// another, nor joined with its neighbour, so memory that was once full of small blocks never holds
/// a large one again.
#[derive(Debug)]
pub struct FixedBlocks<S> {
    free: [Link; CLASSES],
    rest: LinkedList<S>,
}

// SAFETY: the pointers are to memory that belongs to the heap, and not to a thread.
unsafe impl<S: Send> Send for FixedBlocks<S> {}

impl<S> FixedBlocks<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self { free: [None; CLASSES], rest: LinkedList::new(source) }
    }
}

/// The list for a layout, and the size of its blocks; `None` if the layout has no fixed size.
#[inline]
fn class(layout: Layout) -> Option<(usize, usize)> {
    let size = layout.size();
    if layout.align() > UNIT || size > LARGEST {
        return None;
    }
    if size <= UNIT {
        return Some((0, UNIT));
    }
    // 2^order < size <= 2^(order + 1), and order >= 4. Half-way blocks are multiples of 16 from 48
    // on.
    let order = (size - 1).ilog2() as usize;
    let half = 3 << (order - 1);
    if order > 4 && size <= half { Some((2 * order - 7, half)) } else { Some((2 * order - 6, 2 << order)) }
}

impl<S: Source> FixedBlocks<S> {
    /// Cuts a run of blocks, returns one, and puts the others into the list; cuts a single block if
    /// there is no more room.
    #[cold]
    fn refill(&mut self, list: usize, size: usize) -> Option<NonNull<u8>> {
        let count = (RUN / size).max(1);
        let (run, count) = match self.rest.get(count * size, UNIT) {
            Some(run) => (run, count),
            None => (self.rest.get(size, UNIT)?, 1),
        };
        for at in (1..count).rev() {
            // SAFETY: the run has `count` blocks, of which this is one.
            let block = unsafe { run.add(at * size) };
            // SAFETY: the block was just cut and is not used.
            unsafe { self.put(list, block) };
        }
        Some(run)
    }

    /// Puts a block into its list.
    ///
    /// # Safety
    /// The block must have the list's size, and must not be used.
    #[inline]
    unsafe fn put(&mut self, list: usize, block: NonNull<u8>) {
        if let Some(head) = self.free.get_mut(list) {
            let block = block.cast::<Free>();
            // SAFETY: blocks are at least 16 bytes, aligned to as many, and the caller gives this
            // one up.
            unsafe { block.write(Free { next: *head }) };
            *head = Some(block);
        }
    }
}

// SAFETY: a block is either in its list or out, and as large and as aligned as its class says.
unsafe impl<S: Source> Heap for FixedBlocks<S> {
    #[inline]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let Some((list, size)) = class(layout) else { return self.rest.allocate(layout) };
        let head = self.free.get_mut(list)?;
        let Some(block) = *head else { return self.refill(list, size) };
        // SAFETY: what is in the list is a free block, whose first word `put` has written.
        *head = unsafe { block.read() }.next;
        Some(block.cast())
    }

    #[inline]
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        match class(layout) {
            // SAFETY: the layout is that of the allocation, so the class is too; the caller gives
            // the block up.
            Some((list, _)) => unsafe { self.put(list, block) },
            // SAFETY: as above, and the block came from there.
            None => unsafe { self.rest.deallocate(block, layout) },
        }
    }

    #[inline]
    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        // SAFETY: the caller vouches that the new size, rounded up to the alignment, does not
        // overflow.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class(layout), class(new)) {
            (Some((old, _)), Some((new, _))) => old == new,
            // SAFETY: the caller vouches for the block, which came from there and stays there.
            (None, None) => unsafe { self.rest.resize(block, layout, new_size) },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_fit_and_waste_little() {
        let mut seen = [0; CLASSES];
        for size in 1..=LARGEST {
            let (list, block) = class(Layout::from_size_align(size, 8).expect("a layout")).expect("a class");
            assert!(block >= size && block.is_multiple_of(UNIT), "{size}: {block}");
            assert!(size <= 32 || block - size < block / 3, "{size} in {block}");
            assert!(seen[list] == 0 || seen[list] == block, "list {list} has blocks of {} and {block}", seen[list]);
            seen[list] = block;
        }
        let large = |size, align| class(Layout::from_size_align(size, align).expect("a layout"));
        assert_eq!((large(LARGEST + 1, 8), large(8, 32)), (None, None));
    }
}
