//! What each task has left of its processor time.
//!
//! An account belongs to a row of the task table over all its lives: threads that come and go, and lives that end and begin, go on with what
//! is left. Whatever a thread of the task uses is taken from it, at every change of the running thread and at every tick, in the general path and
//! in [`crate::fast`].

use crate::queue::{NIL, Queue};

/// What there is for a thread that waits for its task's processor time.
static NOTHING: i64 = 0;

/// The address of the cycles that a thread runs on: what is left of its task's slice or turn, or nothing. [`crate::fast`] takes from them.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget(u64);

impl Budget {
    /// None: the thread does not run before it gets one.
    pub(crate) fn nothing() -> Self {
        Budget(&raw const NOTHING as u64)
    }

    fn of(left: &i64) -> Self {
        Budget(&raw const *left as u64)
    }
}

impl core::fmt::Debug for Budget {
    /// Nothing: the thread's level says which it is.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Budget")
    }
}

/// A task's processor time, in cycles, and which of its threads wait for it. The scheduler holds it where it never moves.
#[derive(Debug)]
pub(crate) struct Account {
    /// Left of this period's slice, for its threads at their priorities. Below 0: by how much the slice was exceeded.
    slice: i64,
    /// Left of its turn at the background level; as above.
    turn: i64,
    /// All that was ever put into the two: what is not left has been used.
    given: i64,
    /// The one of its threads that waits in a queue of the scheduler for the task's turn, or to go back to its priority; [`NIL`] where none waits.
    pub(crate) waiting: u16,
    /// Its further threads that wait so. Empty where [`Account::waiting`] is none.
    pub(crate) parked: Queue,
}

impl Account {
    /// One with a whole slice, of which nobody waits.
    pub(crate) fn new(slice: i64) -> Self {
        Account { slice, turn: 0, given: slice, waiting: NIL, parked: Queue::NOBODY }
    }

    /// Cycles used at all.
    pub(crate) fn used(&self) -> u64 {
        self.given.wrapping_sub(self.slice).wrapping_sub(self.turn) as u64
    }

    /// Whether its threads run at their priorities.
    #[inline(always)]
    pub(crate) fn has_slice(&self) -> bool {
        self.slice > 0
    }

    /// Whether its turn at the background level is not over.
    #[inline(always)]
    pub(crate) fn has_turn(&self) -> bool {
        self.turn > 0
    }

    /// What is left of the slice, for a thread to run on.
    #[inline(always)]
    pub(crate) fn slice(&self) -> Budget {
        Budget::of(&self.slice)
    }

    /// What is left of the turn, for a thread to run on.
    #[inline(always)]
    pub(crate) fn turn(&self) -> Budget {
        Budget::of(&self.turn)
    }

    /// Takes what a thread has used, from the turn or from the slice.
    #[inline(always)]
    pub(crate) fn charge(&mut self, of_turn: bool, cycles: u64) {
        let left = if of_turn { &mut self.turn } else { &mut self.slice };
        *left = left.wrapping_sub_unsigned(cycles);
    }

    /// A new period begins: a whole slice, less what the last one was exceeded by. The turn at the background level is over.
    pub(crate) fn refill(&mut self, slice: i64) {
        Self::fill(&mut self.slice, &mut self.given, slice);
        Self::fill(&mut self.turn, &mut self.given, 0);
    }

    /// A whole turn, less what the last one, which is over, was exceeded by.
    pub(crate) fn next_turn(&mut self, turn: i64) {
        Self::fill(&mut self.turn, &mut self.given, turn);
    }

    /// Whoever exceeds what it has does so by a tick. A machine that stood still for longer takes at most half of the next from whoever ran.
    fn fill(left: &mut i64, given: &mut i64, whole: i64) {
        let filled = whole.saturating_add((*left).min(0)).max(whole / 2);
        *given = given.wrapping_add(filled).wrapping_sub(*left);
        *left = filled;
    }

    /// What must be true of it between any two operations, where no slice is longer than `slice` and no turn than `turn`.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn check(&self, slice: i64, turn: i64) -> Result<(), alloc::string::String> {
        ensure!(self.slice <= slice && self.turn <= turn, "more is left than there was: {self:?}");
        ensure!(!(self.has_slice() && self.has_turn()), "there is a turn before the slice is used up: {self:?}");
        ensure!(self.parked.is_empty() || self.waiting != NIL, "threads are parked behind nobody: {self:?}");
        Ok(())
    }
}
