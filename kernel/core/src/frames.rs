//! Physical frames: who is free, and chains of those that belong together.
//!
//! `buddy_system_allocator` finds free frames, but accepts a double free silently. So a table with one word per frame stands before it: it
//! says whether a frame is free, and links the frames of one owner into a [`Chain`]. Freeing a task is then popping a chain, in
//! steps as small as one likes, without walking its page tables.

use buddy_system_allocator::FrameAllocator;
use core::ops::Range;

/// A frame's number: its physical address divided by [`abi::PAGE_SIZE`].
pub type Frame = u32;

const END: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
const RESERVED: u32 = u32::MAX - 2;

/// Frames of one owner, linked through the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Chain { head: END, tail: END, len: 0 }
    }
}

impl Chain {
    /// How many frames.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first frame.
    pub fn first(&self) -> Option<Frame> {
        (self.len != 0).then_some(self.head)
    }
}

/// All frames of the machine.
pub struct Frames {
    links: &'static mut [u32],
    buddy: FrameAllocator<33>,
    free: u64,
    total: u64,
}

impl Frames {
    /// A table over `links`, one word for each frame from 0 on; all are reserved.
    pub fn new(links: &'static mut [u32]) -> Self {
        links.fill(RESERVED);
        Frames { links, buddy: FrameAllocator::new(), free: 0, total: 0 }
    }

    /// Makes reserved frames free. Frames beyond the table, or not reserved, are left out.
    pub fn add(&mut self, range: Range<u64>) {
        let end = range.end.min(self.links.len() as u64);
        let mut start = range.start;
        while start < end {
            let Some(from) = (start..end).find(|&f| self.links[f as usize] == RESERVED) else { return };
            let to = (from..end).find(|&f| self.links[f as usize] != RESERVED).unwrap_or(end);
            self.links[from as usize..to as usize].fill(FREE);
            self.buddy.add_frame(from as usize, to as usize);
            self.free += to - from;
            self.total += to - from;
            start = to;
        }
    }

    /// Frames free now.
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Frames ever made free by [`Frames::add`].
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes a frame and puts it at the end of a chain. Its contents are what they were.
    pub fn alloc(&mut self, chain: &mut Chain) -> Option<Frame> {
        let frame = self.buddy.alloc(1)? as u32;
        self.free -= 1;
        self.append(chain, frame);
        Some(frame)
    }

    /// Takes `count` adjacent frames and puts them at the end of a chain, in order. Returns the first; `None` for a count of 0, or
    /// where there are not so many side by side.
    pub fn alloc_contiguous(&mut self, chain: &mut Chain, count: u32) -> Option<Frame> {
        if count == 0 {
            return None;
        }
        // The buddy system rounds to a power of two: what is over goes back at once.
        let size = count.checked_next_power_of_two()?;
        let first = self.buddy.alloc(size as usize)? as u32;
        for frame in first + count..first + size {
            self.buddy.dealloc(frame as usize, 1);
        }
        self.free -= u64::from(count);
        for frame in first..first + count {
            self.append(chain, frame);
        }
        Some(first)
    }

    fn append(&mut self, chain: &mut Chain, frame: Frame) {
        self.links[frame as usize] = END;
        match self.links.get_mut(chain.tail as usize) {
            Some(tail) if chain.len != 0 => *tail = frame,
            _ => chain.head = frame,
        }
        chain.tail = frame;
        chain.len += 1;
    }

    /// Frees a chain's first frame; `None` for an empty chain.
    pub fn free_first(&mut self, chain: &mut Chain) -> Option<Frame> {
        let frame = chain.first()?;
        let next = self.links[frame as usize];
        if next == FREE || next == RESERVED {
            // A chain that names a frame which is not in use would be the kernel's own mistake: forget the chain, free nothing.
            *chain = Chain::default();
            return None;
        }
        chain.head = next;
        chain.len -= 1;
        if chain.len == 0 {
            chain.tail = END;
            chain.head = END;
        }
        self.links[frame as usize] = FREE;
        self.buddy.dealloc(frame as usize, 1);
        self.free += 1;
        Some(frame)
    }

    /// Moves all frames of `from` to the end of `to`.
    pub fn join(&mut self, to: &mut Chain, from: &mut Chain) {
        let from = core::mem::take(from);
        if from.is_empty() {
            return;
        }
        if to.is_empty() {
            *to = from;
            return;
        }
        self.links[to.tail as usize] = from.head;
        to.tail = from.tail;
        to.len += from.len;
    }

    /// The frame behind this one in its chain.
    pub fn next(&self, frame: Frame) -> Option<Frame> {
        self.links.get(frame as usize).copied().filter(|&next| (next as usize) < self.links.len())
    }

    /// The frames of a chain, in order.
    pub fn iter<'a>(&'a self, chain: &Chain) -> impl Iterator<Item = Frame> + 'a {
        let mut next = chain.head;
        let mut left = chain.len;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let frame = next;
            next = *self.links.get(frame as usize)?;
            Some(frame)
        })
    }

    /// Gives the table back, to be used for other frames.
    #[cfg(test)]
    pub(crate) fn into_table(self) -> &'static mut [u32] {
        self.links
    }

    /// Whether a frame is free.
    pub fn is_free(&self, frame: Frame) -> bool {
        self.links.get(frame as usize) == Some(&FREE)
    }
}
