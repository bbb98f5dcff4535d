//! Requests that are done exactly once.

use super::{Cell, Kept, mix};
use abi::TaskId;

/// The number of bits of a request's number that are kept; the other bits of the word are the
/// client's generation.
const NUMBER_BITS: u32 = u64::BITS - TaskId::GENERATION_BITS;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

fn key(task: TaskId, number: u64) -> u64 {
    (task.generation as u64) << NUMBER_BITS | number & NUMBER
}

/// For each client, the number of its last request that was done.
#[repr(transparent)]
pub struct LastDone<const CLIENTS: usize>([Cell<u64>; CLIENTS]);

impl<const CLIENTS: usize> LastDone<CLIENTS> {
    /// Whether this request is done. A client repeats only its last request, so no other number is
    /// done, whatever the memory holds. Number 0 is never done.
    pub fn is_done(&self, task: TaskId, number: u64) -> bool {
        number & NUMBER != 0 && self.0.get(task.index as usize).is_some_and(|last| last.get() == key(task, number))
    }

    /// Notes that the request is done.
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
    /// Nothing: this life or an earlier one has done it.
    Done,
    /// Everything from this step on.
    From(u32),
}

/// A request that was begun and not ended: see [`Journal::unfinished`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// The client.
    pub task: TaskId,
    /// The number of the request: its lower 64 - [`TaskId::GENERATION_BITS`] bits.
    pub number: u64,
    /// The number of steps that are done.
    pub progress: u32,
}

/// Numbered requests that are done in steps, one request at a time. Something else counts the
/// steps, such as the head of a ring. A promise records which request is being done and the count
/// at its start, so its progress needs no store of its own. One store marks it as done.
#[repr(C)]
pub struct Journal<const CLIENTS: usize> {
    /// The client of the promised request, as [`TaskId::to_u32`]; 0 if none is promised.
    task: Cell<u32>,
    pub(super) start: Cell<u32>,
    number: Cell<u64>,
    done: LastDone<CLIENTS>,
    aside: [Aside; CLIENTS],
}

/// The progress of a request that a death interrupted, and that another request has overtaken.
#[repr(C)]
struct Aside {
    /// The client's generation and the request's number, as in [`LastDone`]; 0 for none.
    key: Cell<u64>,
    progress: Cell<u32>,
    reserved: Cell<u32>,
}

impl<const CLIENTS: usize> Journal<CLIENTS> {
    /// Begins a request, or continues one that a death interrupted. `count` is the present count of
    /// steps. A request with number 0 is always done from the start.
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
            // The entry is that of an older request, which its client has given up.
            aside.key.put(0);
        }
        self.number.put(number);
        self.start.put(count.wrapping_sub(progress));
        self.task.put(task.to_u32());
        Begin::From(progress)
    }

    /// The requests that are begun and not ended, with the number of steps done of each: the
    /// promised one first, then those that a death interrupted and others have overtaken. `count`
    /// is the present count of steps. A request stays unfinished if its client does not repeat it,
    /// as when it has died; then [`Journal::abandon`] cancels the promised one.
    pub fn unfinished(&self, count: u32) -> impl Iterator<Item = Unfinished> + '_ {
        let promised = Some(self.task.get()).filter(|task| *task != 0).map(|task| Unfinished {
            task: TaskId::from_u32(task),
            number: self.number.get(),
            progress: count.wrapping_sub(self.start.get()),
        });
        let aside = self.aside.iter().zip(0..).filter_map(|(aside, index)| {
            let (key, progress) = (aside.key.get(), aside.progress.get());
            let task = TaskId { index, generation: (key >> NUMBER_BITS) as u32 };
            let number = key & NUMBER;
            (key != 0 && !self.done.is_done(task, number)).then_some(Unfinished { task, number, progress })
        });
        let first = promised.map(|promised| promised.task);
        promised.into_iter().chain(aside.filter(move |aside| Some(aside.task) != first))
    }

    /// Marks the request as done, after all its steps.
    pub fn end(&self, task: TaskId, number: u64) {
        self.done.set(task, number);
        self.task.put(0);
    }

    /// Cancels the promise, as its client has died or was refused.
    pub fn abandon(&self) {
        self.task.put(0);
    }

    /// Saves the progress of the promised request, before other steps increase the count. Not if
    /// `asking` itself is its client and asks for another request: a client has given up a request
    /// that it does not repeat.
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

// SAFETY: it consists of cells and arrays of cells, in C's layout.
unsafe impl<const CLIENTS: usize> Kept for Journal<CLIENTS> {
    const SHAPE: u64 = mix(4, CLIENTS as u64);
    fn clear(&self) {
        self.task.put(0);
        self.done.clear();
        self.aside.iter().for_each(|aside| aside.key.put(0));
    }
}
