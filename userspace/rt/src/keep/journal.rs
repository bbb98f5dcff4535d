//! Requests done exactly once.

use super::{Cell, Kept, mix};
use abi::TaskId;

/// Bits of a request's number that are kept; the rest of the word is the client's generation.
const NUMBER_BITS: u32 = u64::BITS - TaskId::GENERATION_BITS;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

fn key(task: TaskId, number: u64) -> u64 {
    (task.generation as u64) << NUMBER_BITS | number & NUMBER
}

/// The number of the last request that was done, of each client.
#[repr(transparent)]
pub struct LastDone<const CLIENTS: usize>([Cell<u64>; CLIENTS]);

impl<const CLIENTS: usize> LastDone<CLIENTS> {
    /// Whether this request is done. A client repeats its last request and none before that, so no other number can be, whatever the
    /// memory says. Number 0 is none.
    pub fn is_done(&self, task: TaskId, number: u64) -> bool {
        number & NUMBER != 0 && self.0.get(task.index as usize).is_some_and(|last| last.get() == key(task, number))
    }

    /// It is done.
    pub fn set(&self, task: TaskId, number: u64) {
        if number & NUMBER != 0
            && let Some(last) = self.0.get(task.index as usize)
        {
            last.put(key(task, number));
        }
    }
}

// SAFETY: it is an array of cells.
unsafe impl<const CLIENTS: usize> Kept for LastDone<CLIENTS> {
    const SHAPE: u64 = mix(3, CLIENTS as u64);
    fn clear(&self) {
        self.0.iter().for_each(Cell::clear);
    }
}

/// What is left to do of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// Nothing: an earlier life, or this one, has done it.
    Done,
    /// Everything from this step on.
    From(u32),
}

/// Numbered requests, of which one at a time is being done, in steps that something else counts: the head of a ring, say. A promise says
/// which request that is, and where the count stood; so how far it came needs no store of its own. Done is one store.
#[repr(C)]
pub struct Journal<const CLIENTS: usize> {
    /// The promise: whose, or 0.
    task: Cell<u32>,
    pub(super) start: Cell<u32>,
    number: Cell<u64>,
    done: LastDone<CLIENTS>,
    aside: [Aside; CLIENTS],
}

/// A request that was cut off by a death, and overtaken by another one.
#[repr(C)]
struct Aside {
    /// As in [`LastDone`]; 0 for none.
    key: Cell<u64>,
    progress: Cell<u32>,
    reserved: Cell<u32>,
}

impl<const CLIENTS: usize> Journal<CLIENTS> {
    /// Promises a request, or takes up one that a death cut off. `count` is where the steps stand. A request without a number is done from
    /// the start whenever it is asked for.
    pub fn begin(&self, task: TaskId, number: u64, count: u32) -> Begin {
        let number = number & NUMBER;
        let Some(aside) = self.aside.get(task.index as usize).filter(|_| number != 0) else {
            self.put_aside(task, count);
            return Begin::From(0);
        };
        if self.done.is_done(task, number) {
            return Begin::Done;
        }
        if self.task.get() == task.to_u32() && self.number.get() == number {
            return Begin::From(count.wrapping_sub(self.start.get()));
        }
        self.put_aside(task, count);
        let progress = if aside.key.get() == key(task, number) { aside.progress.get() } else { 0 };
        if progress == 0 {
            // An older one, which its client has given up.
            aside.key.put(0);
        }
        self.number.put(number);
        self.start.put(count.wrapping_sub(progress));
        self.task.put(task.to_u32());
        Begin::From(progress)
    }

    /// All steps of the request are done.
    pub fn end(&self, task: TaskId, number: u64) {
        self.done.set(task, number);
        self.task.put(0);
    }

    /// Takes the promise back: its client is gone, or refused.
    pub fn abandon(&self) {
        self.task.put(0);
    }

    /// Puts the promise aside, with its progress, before the count grows by other steps. Not one of `asking`, who asks for another: what a
    /// client does not repeat, it has given up.
    fn put_aside(&self, asking: TaskId, count: u32) {
        let promised = self.task.get();
        if promised == 0 {
            return;
        }
        let task = TaskId::from_u32(promised);
        if let Some(aside) = self.aside.get(task.index as usize).filter(|_| task != asking) {
            aside.key.put(0);
            aside.progress.put(count.wrapping_sub(self.start.get()));
            aside.key.put(key(task, self.number.get()));
        }
        self.task.put(0);
    }
}

// SAFETY: it is made of cells and of arrays of cells, in C's layout.
unsafe impl<const CLIENTS: usize> Kept for Journal<CLIENTS> {
    const SHAPE: u64 = mix(4, CLIENTS as u64);
    fn clear(&self) {
        self.task.put(0);
        self.done.clear();
        self.aside.iter().for_each(|aside| aside.key.put(0));
    }
}
