//! Physical frames: the free ones, and chains of frames of one owner.
//!
//! This is a buddy system (Knuth, The Art of Computer Programming, vol. 1, section 2.5) over a
//! table with a [`Link`] for each frame, so that free memory itself is never read or written.
//! Taking or freeing a frame takes a few steps, at most one per block size. The same table links
//! the frames of one owner into a [`Chain`]: a task is freed by popping its chain, in steps of any
//! size, without walking its page tables.

use crate::addr::PhysAddr;
use core::ops::Range;

/// A frame of physical memory, by its number: its physical address divided by [`abi::PAGE_SIZE`].
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Frame(u32);

impl Frame {
    /// The frame of this number.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Frame(number)
    }

    /// The number of the frame.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The first physical address of the frame.
    #[inline(always)]
    pub const fn address(self) -> PhysAddr {
        PhysAddr::new(self.0 as u64 * abi::PAGE_SIZE as u64)
    }

    /// The frame `frames` further on.
    pub(crate) const fn plus(self, frames: u32) -> Frame {
        Frame(self.0 + frames)
    }
}

impl core::fmt::Display for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A frame that was just taken and that nobody else uses yet. It cannot be copied, so its holder
/// may write to all of the frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Fresh(Frame);

impl Fresh {
    /// The frame at position `place` of a run of contiguous frames from `first` on, each of which
    /// the caller makes a `Fresh` of only once.
    pub(crate) const fn of_run(first: Frame, place: u32) -> Fresh {
        Fresh(first.plus(place))
    }

    /// The frame itself. From now on others may use it.
    #[inline(always)]
    pub const fn frame(self) -> Frame {
        self.0
    }

    /// The first physical address of the frame.
    #[inline(always)]
    pub const fn address(&self) -> PhysAddr {
        self.0.address()
    }
}

const END: u32 = u32::MAX;
/// The number of block sizes, which are 2^0 to 2^(ORDERS - 1) frames: 4 KiB to 4 GiB.
const ORDERS: usize = 21;

/// The entry of a frame in the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// [`USED`]; the order plus one at the first frame of a free block; 0 elsewhere in a free
    /// block, and for frames that cannot be taken.
    state: u32,
    /// The next frame in the list of free blocks of this size, or in the chain.
    next: u32,
    /// The previous frame in the list of free blocks of this size.
    prev: u32,
}

const USED: u32 = u32::MAX;

/// The frames of one owner, linked through the table.
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
    /// The number of frames.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no frame.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first frame.
    pub fn first(&self) -> Option<Frame> {
        (self.len != 0).then_some(Frame(self.head))
    }
}

/// The table of all frames of the machine.
pub struct Frames {
    links: &'static mut [Link],
    /// The first free block of each size; [`END`] if there is none.
    heads: [u32; ORDERS],
    /// The end of the last range that was added.
    added: u64,
    free: u64,
    total: u64,
    /// How often two blocks were joined to one, which counts the steps of freeing.
    joins: u32,
}

impl Frames {
    /// A table over `links`, for the frames from number 0 on, none of which is free yet.
    pub fn new(links: &'static mut [Link]) -> Self {
        links.fill(Link::default());
        Frames { links, heads: [END; ORDERS], added: 0, free: 0, total: 0, joins: 0 }
    }

    /// Makes the frames in a range of numbers free. Ranges must be in ascending order: frames below
    /// the end of an earlier range, or beyond the table, are left out.
    pub fn add(&mut self, range: Range<u64>) {
        let end = range.end.min(self.links.len() as u64);
        let start = range.start.max(self.added);
        if start < end {
            self.added = end;
            self.total += end - start;
            self.give(start as u32, end as u32);
        }
    }

    /// Makes one frame free that was in no range. Returns false if it was, or lies beyond the
    /// table.
    pub fn adopt(&mut self, frame: u64) -> bool {
        let unknown = |link: &&Link| link.state == 0;
        let Ok(frame) = u32::try_from(frame) else { return false };
        if self.links.get(frame as usize).filter(unknown).is_none() || self.is_free(Frame(frame)) {
            return false;
        }
        self.total += 1;
        self.give(frame, frame + 1);
        true
    }

    /// Frees contiguous frames that are in no chain, in blocks as large as their alignment allows.
    fn give(&mut self, mut start: u32, end: u32) {
        self.free += u64::from(end - start);
        while start < end {
            let order = start.trailing_zeros().min((end - start).ilog2()).min(ORDERS as u32 - 1);
            self.insert(start, order as usize);
            start += 1 << order;
        }
    }

    /// Adds a block to the free ones, after joining it with its buddy as long as that is free.
    fn insert(&mut self, mut block: u32, mut order: usize) {
        while order + 1 < ORDERS {
            let buddy = block ^ 1 << order;
            if self.links.get(buddy as usize).is_none_or(|b| b.state != order as u32 + 1) {
                break;
            }
            self.unlink(buddy, order);
            block &= !(1 << order);
            order += 1;
            self.joins = self.joins.wrapping_add(1);
        }
        self.push(block, order);
    }

    /// The entry of a frame that was added to the table.
    #[expect(clippy::indexing_slicing, reason = "frames that were added lie in the table")]
    #[inline(always)]
    fn link(&mut self, frame: u32) -> &mut Link {
        &mut self.links[frame as usize]
    }

    /// The first free block of a size.
    #[expect(
        clippy::indexing_slicing,
        reason = "orders are below `ORDERS`: `insert` joins no further, and `take` only halves"
    )]
    #[inline(always)]
    fn head(&mut self, order: usize) -> &mut u32 {
        &mut self.heads[order]
    }

    fn push(&mut self, block: u32, order: usize) {
        let next = core::mem::replace(self.head(order), block);
        *self.link(block) = Link { state: order as u32 + 1, next, prev: END };
        if let Some(next) = self.links.get_mut(next as usize) {
            next.prev = block;
        }
    }

    fn unlink(&mut self, block: u32, order: usize) {
        let Link { next, prev, .. } = core::mem::take(self.link(block));
        match self.links.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => *self.head(order) = next,
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.prev = prev;
        }
    }

    /// Takes a block of 2^`order` frames from the smallest free block that is large enough; the
    /// remainder stays free.
    fn take(&mut self, order: usize) -> Option<u32> {
        let (mut from, &block) = self.heads.iter().enumerate().skip(order).find(|&(_, &head)| head != END)?;
        self.unlink(block, from);
        while from > order {
            from -= 1;
            self.push(block + (1 << from), from);
        }
        self.free -= 1 << order;
        Some(block)
    }

    /// The number of free frames.
    pub fn free(&self) -> u64 {
        self.free
    }

    /// The number of frames ever made free by [`Frames::add`] and [`Frames::adopt`].
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes a frame and appends it to a chain. Its contents are undefined. `None` if no frame is
    /// free.
    pub fn alloc(&mut self, chain: &mut Chain) -> Option<Fresh> {
        let frame = self.take(0)?;
        self.append(chain, frame);
        Some(Fresh(Frame(frame)))
    }

    /// Takes `count` contiguous frames and appends them to a chain, in order. Returns the first;
    /// `None` for a count of 0, or if there are not enough contiguous frames.
    pub fn alloc_contiguous(&mut self, chain: &mut Chain, count: u32) -> Option<Frame> {
        if count == 0 {
            return None;
        }
        let size = count.checked_next_power_of_two()?;
        let first = self.take(size.ilog2() as usize)?;
        // The part of the power of two that is not needed is freed at once.
        self.give(first + count, first + size);
        for frame in first..first + count {
            self.append(chain, frame);
        }
        Some(Frame(first))
    }

    fn append(&mut self, chain: &mut Chain, frame: u32) {
        *self.link(frame) = Link { state: USED, next: END, prev: END };
        match self.links.get_mut(chain.tail as usize) {
            Some(tail) if chain.len != 0 => tail.next = frame,
            _ => chain.head = frame,
        }
        chain.tail = frame;
        chain.len += 1;
    }

    /// Frees frames from the front of a chain, in about `steps` steps: one for each frame, and one
    /// for each join of two blocks. Returns the number of frames.
    pub fn free_some(&mut self, chain: &mut Chain, steps: u32) -> u32 {
        let (before, mut left) = (chain.len, steps);
        while left > 0 {
            let joins = self.joins;
            if self.free_first(chain).is_none() {
                break;
            }
            left = left.saturating_sub(1 + self.joins.wrapping_sub(joins));
        }
        before - chain.len
    }

    /// Frees the first frame of a chain; `None` if the chain is empty.
    pub fn free_first(&mut self, chain: &mut Chain) -> Option<Frame> {
        let Frame(frame) = chain.first()?;
        let link = self.links.get_mut(frame as usize)?;
        let next = link.next;
        if link.state != USED {
            // Only a defect in the kernel leads to a chain with a frame that is not in use: forget
            // the chain and free nothing.
            *chain = Chain::default();
            return None;
        }
        link.state = 0;
        chain.head = next;
        chain.len -= 1;
        if chain.len == 0 {
            *chain = Chain::default();
        }
        self.free += 1;
        self.insert(frame, 0);
        Some(Frame(frame))
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
        self.link(to.tail).next = from.head;
        to.tail = from.tail;
        to.len += from.len;
    }

    /// The frame that follows this one in its chain.
    pub fn next(&self, frame: Frame) -> Option<Frame> {
        let link = self.links.get(frame.0 as usize).filter(|link| link.state == USED)?;
        (link.next != END).then_some(Frame(link.next))
    }

    /// The frames of a chain, in order.
    pub fn iter<'a>(&'a self, chain: &Chain) -> impl Iterator<Item = Frame> + 'a {
        let mut next = chain.head;
        let mut left = chain.len;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let frame = next;
            next = self.links.get(frame as usize)?.next;
            Some(Frame(frame))
        })
    }

    /// The table, for use with other frames.
    #[cfg(test)]
    pub(crate) fn into_table(self) -> &'static mut [Link] {
        self.links
    }

    /// Whether a frame is free, which is so if a free block of any size contains it.
    pub fn is_free(&self, frame: Frame) -> bool {
        let Frame(frame) = frame;
        let begins =
            |order: usize, block: u32| self.links.get(block as usize).is_some_and(|l| l.state == order as u32 + 1);
        (frame as usize) < self.links.len() && (0..ORDERS).any(|order| begins(order, frame >> order << order))
    }
}
