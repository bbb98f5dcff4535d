//! First-in, first-out queues of threads, linked through the threads themselves: they need no
//! memory, and removal from the middle takes constant time. A thread is in at most one queue.

use crate::arena::Arena;
use crate::thread::{Thread, ThreadIndex};

/// The index that stands for no thread: no arena has so many slots.
pub const NIL: ThreadIndex = ThreadIndex::new(u16::MAX);

/// The neighbours of a thread in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    next: ThreadIndex,
    prev: ThreadIndex,
}

impl Link {
    /// The link of a thread that is in no queue.
    pub const UNLINKED: Link = Link { next: NIL, prev: NIL };
}

/// A queue: the indices of its first and its last thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(crate) head: ThreadIndex,
    pub(crate) tail: ThreadIndex,
}

impl Default for Queue {
    fn default() -> Self {
        Self::NOBODY
    }
}

impl Queue {
    /// A queue without a thread. Its two ends differ, as equal ends mean that exactly one thread is
    /// queued.
    pub(crate) const NOBODY: Queue = Queue { head: NIL, tail: ThreadIndex::new(0) };

    /// Whether the queue has no thread.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// The first thread, which has waited longest.
    #[inline]
    pub fn front(&self) -> Option<ThreadIndex> {
        (self.head != NIL).then_some(self.head)
    }

    /// The thread in a queue of exactly one; `None` if there are none or more.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<ThreadIndex> {
        (self.head == self.tail).then_some(self.head)
    }

    /// A queue of one thread, which must be in no queue.
    pub(crate) const fn of(index: ThreadIndex) -> Self {
        Queue { head: index, tail: index }
    }

    /// Puts a thread, which must be in no queue, at the end.
    pub fn push(&mut self, threads: &mut Arena<Thread>, index: ThreadIndex) {
        if self.is_empty() {
            *self = Queue::of(index);
            return;
        }
        if let Some(t) = threads.at_mut(index) {
            t.link = Link { next: NIL, prev: self.tail };
        }
        if let Some(tail) = threads.at_mut(self.tail) {
            tail.link.next = index;
        }
        self.tail = index;
    }

    /// Puts a thread, which must be in no queue, at the front.
    pub fn push_front(&mut self, threads: &mut Arena<Thread>, index: ThreadIndex) {
        if self.is_empty() {
            *self = Queue::of(index);
            return;
        }
        if let Some(t) = threads.at_mut(index) {
            t.link = Link { next: self.head, prev: NIL };
        }
        if let Some(head) = threads.at_mut(self.head) {
            head.link.prev = index;
        }
        self.head = index;
    }

    /// Puts a thread, which must be in no queue, before one that is in this queue.
    pub fn insert(&mut self, threads: &mut Arena<Thread>, index: ThreadIndex, before: ThreadIndex) {
        let prev = match threads.at_mut(before) {
            Some(t) => core::mem::replace(&mut t.link.prev, index),
            None => return,
        };
        if let Some(t) = threads.at_mut(index) {
            t.link = Link { next: before, prev };
        }
        match threads.at_mut(prev) {
            Some(p) if prev != NIL => p.link.next = index,
            _ => self.head = index,
        }
    }

    /// Removes the first thread, which has waited longest, and returns it.
    pub fn pop(&mut self, threads: &mut Arena<Thread>) -> Option<ThreadIndex> {
        let index = self.front()?;
        self.remove(threads, index);
        Some(index)
    }

    /// Removes a thread, which must be in this queue.
    pub fn remove(&mut self, threads: &mut Arena<Thread>, index: ThreadIndex) {
        if self.head == self.tail {
            *self = Queue::NOBODY;
            return;
        }
        let Some(t) = threads.at_mut(index) else { return };
        let Link { next, prev } = core::mem::replace(&mut t.link, Link::UNLINKED);
        match threads.at_mut(prev) {
            Some(p) if prev != NIL => p.link.next = next,
            _ => self.head = next,
        }
        match threads.at_mut(next) {
            Some(n) if next != NIL => n.link.prev = prev,
            _ => self.tail = prev,
        }
    }

    /// The threads from the last to the first, by the backward links.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn backwards(&self, threads: &Arena<Thread>) -> alloc::vec::Vec<ThreadIndex> {
        let prev = |&index: &ThreadIndex| threads.at(index).map(|t| t.link.prev).filter(|&p| p != NIL);
        core::iter::successors((!self.is_empty()).then_some(self.tail), prev).take(threads.capacity() + 1).collect()
    }

    /// The thread that follows this one.
    pub fn next(&self, threads: &Arena<Thread>, index: ThreadIndex) -> Option<ThreadIndex> {
        threads.at(index).map(|t| t.link.next).filter(|&n| n != NIL)
    }
}
