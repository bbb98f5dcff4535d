//! What each task has left of its processor time.
//!
//! An account belongs to a row of the task table over all its lives: threads that come and go, and lives that end and begin, go on with what
//! is left. Whatever a thread of the task uses is taken from it, at every change of the running thread and at every tick.

use crate::queue::{NIL, Queue};
use crate::row::Row;

/// What a thread runs on: which account, and of that the slice or the turn. It is where that is in the table of accounts, in bytes, for
/// the assembly, which reads and writes [`Left`] there.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    /// The slice of a row, or its turn at the background level.
    #[inline(always)]
    pub(crate) const fn of(row: Row, is_turn: bool) -> Self {
        let part = if is_turn { core::mem::offset_of!(Account, turn) } else { core::mem::offset_of!(Account, slice) };
        Budget(row.number() as u32 * size_of::<Account>() as u32 + part as u32)
    }
}

/// What is left of a slice or of a turn; beside it what the assembly compares at the same time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// In cycles. Below 0: by how much it was exceeded.
    pub(crate) cycles: i64,
    /// How many handles the task has ever closed: by that a [`EndpointCache`](crate::thread::EndpointCache) is known to be old. The same beside slice and turn.
    pub(crate) closed: u64,
}

/// A task's processor time, in cycles, and which of its threads wait for it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Account {
    /// Of this period's slice, for its threads at their priorities.
    slice: Left,
    /// Of its turn at the background level.
    turn: Left,
    /// All that was ever put into the two: what is not left has been used.
    given: i64,
    /// Whether the task is dead: then nothing is left, so that none of its threads, which may still be in queues, is handed the core.
    withheld: bool,
    /// What was left of the slice then, for the next life.
    kept: i64,
    /// The one of its threads that waits in a queue of the scheduler for the task's turn, or to go back to its priority; [`NIL`] where none waits.
    pub(crate) waiting: u16,
    /// Its further threads that wait so. Empty where [`Account::waiting`] is none.
    pub(crate) parked: Queue,
}

impl Account {
    /// One with a whole slice, of which nobody waits.
    pub(crate) const fn new(slice: i64) -> Self {
        Account {
            slice: Left { cycles: slice, closed: 0 },
            turn: Left { cycles: 0, closed: 0 },
            given: slice,
            withheld: false,
            kept: 0,
            waiting: NIL,
            parked: Queue::NOBODY,
        }
    }

    /// Cycles used at all.
    pub(crate) fn used(&self) -> u64 {
        self.given.wrapping_sub(self.slice.cycles).wrapping_sub(self.turn.cycles) as u64
    }

    /// How many handles the task has ever closed.
    #[inline(always)]
    pub(crate) fn closed(&self) -> u64 {
        self.slice.closed
    }

    /// The task has closed a handle.
    pub(crate) fn note_closed(&mut self) {
        self.slice.closed += 1;
        self.turn.closed += 1;
    }

    /// The task is dead: nothing is left until [`Account::give_back`].
    pub(crate) fn withhold(&mut self) {
        self.withheld = true;
        self.kept = self.slice.cycles.max(0);
        let turn = self.turn.cycles.max(0);
        self.slice.cycles -= self.kept;
        self.turn.cycles -= turn;
        self.given = self.given.wrapping_sub(self.kept).wrapping_sub(turn);
    }

    /// The next life begins, with what the last one left.
    pub(crate) fn give_back(&mut self) {
        self.withheld = false;
        let kept = core::mem::take(&mut self.kept);
        self.slice.cycles += kept;
        self.given = self.given.wrapping_add(kept);
    }

    /// Whether its threads run at their priorities.
    #[inline(always)]
    pub(crate) fn has_slice(&self) -> bool {
        self.slice.cycles > 0
    }

    /// Whether its turn at the background level is not over.
    #[inline(always)]
    pub(crate) fn has_turn(&self) -> bool {
        self.turn.cycles > 0
    }

    /// Whether something is left of the turn, or of the slice.
    #[inline(always)]
    pub(crate) fn has_left(&self, of_turn: bool) -> bool {
        if of_turn { self.has_turn() } else { self.has_slice() }
    }

    /// Takes what a thread has used, from the turn or from the slice.
    #[inline(always)]
    pub(crate) fn charge(&mut self, of_turn: bool, cycles: u64) {
        let left = if of_turn { &mut self.turn.cycles } else { &mut self.slice.cycles };
        *left = left.wrapping_sub_unsigned(cycles);
    }

    /// A new period begins: a whole slice, less what the last one was exceeded by. The turn at the background level is over.
    pub(crate) fn refill(&mut self, slice: i64) {
        Self::fill(&mut self.slice.cycles, &mut self.given, slice);
        Self::fill(&mut self.turn.cycles, &mut self.given, 0);
        if self.withheld {
            self.withhold();
        }
    }

    /// A whole turn, less what the last one, which is over, was exceeded by.
    pub(crate) fn next_turn(&mut self, turn: i64) {
        if !self.withheld {
            Self::fill(&mut self.turn.cycles, &mut self.given, turn);
        }
    }

    /// Whoever exceeds what it has does so by a tick. A machine that stood still for longer takes at most half of the next from whoever ran.
    fn fill(left: &mut i64, given: &mut i64, whole: i64) {
        let filled = whole.saturating_add((*left).min(0)).max(whole / 2);
        *given = given.wrapping_add(filled).wrapping_sub(*left);
        *left = filled;
    }

    /// What must be true of it between any two operations, where no slice is longer than `slice` and no turn than `turn`.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn check(&self, slice: i64, turn: i64, dead: bool, alive: bool) -> Result<(), alloc::string::String> {
        ensure!(self.slice.cycles <= slice && self.turn.cycles <= turn, "more is left than there was: {self:?}");
        ensure!(!(self.has_slice() && self.has_turn()), "there is a turn before the slice is used up: {self:?}");
        ensure!(self.slice.closed == self.turn.closed, "the numbers of closed handles differ: {self:?}");
        ensure!(!dead || self.withheld, "a dead task has an account: {self:?}");
        ensure!(!alive || !self.withheld, "a live task has none: {self:?}");
        ensure!(!self.withheld || !self.has_slice() && !self.has_turn(), "something is left for the dead: {self:?}");
        ensure!(self.withheld || self.kept == 0, "something is kept from the living: {self:?}");
        ensure!(self.parked.is_empty() || self.waiting != NIL, "threads are parked behind nobody: {self:?}");
        Ok(())
    }
}
