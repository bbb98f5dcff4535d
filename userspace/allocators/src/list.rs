//! The linked-list heap: free memory holds its own records.

use crate::{Heap, Source, UNIT, in_units, padding};
use core::alloc::Layout;
use core::ptr::NonNull;

/// The record of a hole (a free stretch of memory), at its beginning.
#[derive(Clone, Copy)]
struct Hole {
    /// Length of the hole in bytes, this record included; a multiple of [`UNIT`].
    size: usize,
    /// The next hole, at a higher address and not adjacent to this one.
    next: Link,
}

type Link = Option<NonNull<Hole>>;

// Every remainder of a hole is a multiple of `UNIT`, so each is large enough and aligned for the
// record.
const _: () = assert!(size_of::<Hole>() == UNIT && align_of::<Hole>() <= UNIT);

/// A list of holes in the order of their addresses; an allocation takes the first one that fits.
///
/// Cost: allocating and freeing walk the list, so both grow with the number of holes. A freed block
/// is joined with adjacent holes, so no memory stays divided. Blocks are multiples of 16 bytes.
///
/// Fails if the free memory is in many small holes: their sum would suffice, but no hole does.
#[derive(Debug)]
pub struct LinkedList<S> {
    source: S,
    first: Link,
}

// SAFETY: the pointers are to memory that belongs to the heap, and not to a thread.
unsafe impl<S: Send> Send for LinkedList<S> {}

impl<S> LinkedList<S> {
    /// A heap that has taken no memory yet.
    pub const fn new(source: S) -> Self {
        Self { source, first: None }
    }

    /// Takes `size` bytes, a multiple of [`UNIT`], from the first hole that has room for them with
    /// this alignment.
    fn take(&mut self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let mut link: *mut Link = &raw mut self.first;
        // SAFETY: `link` is the list's head or the link of a hole, and nothing else touches either
        // meanwhile.
        while let Some(hole) = unsafe { *link } {
            // SAFETY: what is in the list is a hole, whose record is written and is nobody else's.
            let Hole { size: room, next } = unsafe { hole.read() };
            let front = padding(hole.addr().get(), align);
            if let Some(rest) = room.checked_sub(front).and_then(|room| room.checked_sub(size)) {
                // SAFETY: front, block and rest make up the hole; the parts are multiples of
                // `UNIT`, so each has room for a record.
                return Some(unsafe { cut(link, hole, next, [front, size, rest]) });
            }
            // SAFETY: the hole's record is valid; no reference to it is made.
            link = unsafe { &raw mut (*hole.as_ptr()).next };
        }
        None
    }

    /// Puts free memory into the list, joined with adjacent holes.
    ///
    /// # Safety
    /// The memory must belong to the heap and must not be used; its start and its size, which must
    /// not be 0, must be multiples of [`UNIT`].
    unsafe fn give(&mut self, start: NonNull<u8>, size: usize) {
        let (mut before, mut after): (Link, Link) = (None, self.first);
        while let Some(hole) = after.filter(|hole| hole.addr() < start.addr()) {
            before = after;
            // SAFETY: what is in the list is a hole.
            after = unsafe { (*hole.as_ptr()).next };
        }
        let mut new = Hole { size, next: after };
        if let Some(hole) = after.filter(|hole| start.addr().get() + size == hole.addr().get()) {
            // SAFETY: what is in the list is a hole.
            let right = unsafe { hole.read() };
            new = Hole { size: size + right.size, next: right.next };
        }
        let Some(left) = before else {
            // SAFETY: the stretch has room for the record, is aligned for it, and is ours.
            unsafe { start.cast::<Hole>().write(new) };
            self.first = Some(start.cast());
            return;
        };
        // SAFETY: what is in the list is a hole.
        let left_size = unsafe { (*left.as_ptr()).size };
        if left.addr().get() + left_size == start.addr().get() {
            // SAFETY: the left hole's record is ours; the joined stretch is of one region, as
            // `Source` promises.
            unsafe { left.write(Hole { size: left_size + new.size, next: new.next }) };
        } else {
            // SAFETY: the stretch has room for the record, is aligned for it, and is ours.
            unsafe { start.cast::<Hole>().write(new) };
            // SAFETY: the left hole's record is ours.
            unsafe { (*left.as_ptr()).next = Some(start.cast()) };
        }
    }

    /// Takes `size` bytes from the hole that begins at `start`, if there is one and it is large
    /// enough.
    fn take_at(&mut self, start: NonNull<u8>, size: usize) -> bool {
        let mut link: *mut Link = &raw mut self.first;
        // SAFETY: as in `take`.
        while let Some(hole) = unsafe { *link }.filter(|hole| hole.addr() <= start.addr()) {
            // SAFETY: what is in the list is a hole.
            let Hole { size: room, next } = unsafe { hole.read() };
            if hole.addr() == start.addr() {
                let Some(rest) = room.checked_sub(size) else { return false };
                // SAFETY: block and rest make up the hole, both multiples of `UNIT`.
                unsafe { cut(link, hole, next, [0, size, rest]) };
                return true;
            }
            // SAFETY: the hole's record is valid; no reference to it is made.
            link = unsafe { &raw mut (*hole.as_ptr()).next };
        }
        false
    }
}

/// Takes the middle of a hole's three parts out of the list; returns it.
///
/// # Safety
/// `link` must point to the link to the hole, and `next` must be the link after it; the parts must
/// be multiples of [`UNIT`] and make up the hole.
unsafe fn cut(link: *mut Link, hole: NonNull<Hole>, next: Link, [front, size, rest]: [usize; 3]) -> NonNull<u8> {
    // SAFETY: the front is part of the hole, and so is the block behind it.
    let block = unsafe { hole.cast::<u8>().add(front) };
    let mut after = next;
    if rest > 0 {
        // SAFETY: the rest is part of the hole too.
        let tail = unsafe { block.add(size) }.cast::<Hole>();
        // SAFETY: it has room for the record, is aligned for it, and nobody uses it.
        unsafe { tail.write(Hole { size: rest, next }) };
        after = Some(tail);
    }
    if front > 0 {
        // SAFETY: the front has room for the record and stays a hole.
        unsafe { hole.write(Hole { size: front, next: after }) };
    } else {
        // SAFETY: the caller vouches for the link.
        unsafe { *link = after };
    }
    block
}

impl<S: Source> LinkedList<S> {
    /// Takes `size` bytes like [`LinkedList::take`], with more memory from the source if necessary.
    pub(crate) fn get(&mut self, size: usize, align: usize) -> Option<NonNull<u8>> {
        self.take(size, align).or_else(|| self.grow(size, align))
    }

    #[cold]
    fn grow(&mut self, size: usize, align: usize) -> Option<NonNull<u8>> {
        // Pieces begin at multiples of `UNIT`: no padding up to that.
        let need = size.checked_add(align.saturating_sub(UNIT))?;
        let piece = self.source.more(need)?;
        // SAFETY: the piece is fresh and as `Source` promises.
        unsafe { self.give(piece.cast(), piece.len()) };
        self.take(size, align)
    }
}

// SAFETY: blocks are cut out of holes, and what is in the list is nobody's but the list's.
unsafe impl<S: Source> Heap for LinkedList<S> {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.get(in_units(layout.size())?, layout.align())
    }

    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        // The block was allocated, so its size in units is a number; otherwise the block would only
        // be lost.
        if let Some(size) = in_units(layout.size()) {
            // SAFETY: that is what was cut out for the block, and the caller gives it up.
            unsafe { self.give(block, size) };
        }
    }

    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        let (Some(old), Some(new)) = (in_units(layout.size()), in_units(new_size)) else { return false };
        if new > old {
            // SAFETY: that is the end of the block, at most one past its region.
            return self.take_at(unsafe { block.add(old) }, new - old);
        }
        if new < old {
            // SAFETY: the end of the block is used no more, says the caller.
            unsafe { self.give(block.add(new), old - new) };
        }
        true
    }
}
