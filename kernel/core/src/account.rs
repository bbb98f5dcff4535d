//! The processor time that each task has left.
//!
//! An account belongs to a row of the task table over all its lives, so a new thread or a new life
//! continues with what is left. What a thread of the task uses is charged at every change of the
//! running thread and at every interrupt of the timer.

use crate::queue::{NIL, Queue};
use crate::row::Row;
use crate::thread::ThreadIndex;
use abi::task::MAX_TASKS;

/// The part of an account that a thread is charged to: the slice or the turn of its task's row. It
/// is held as the byte offset of that [`Left`] in the table of accounts, because the assembly reads
/// and writes the table by it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    /// The budget that is the slice of a row or, where `is_turn`, its turn at the background level.
    #[inline(always)]
    pub(crate) const fn of(row: Row, is_turn: bool) -> Self {
        let part = if is_turn { core::mem::offset_of!(Account, turn) } else { core::mem::offset_of!(Account, slice) };
        Budget(row.number() as u32 * size_of::<Account>() as u32 + part as u32)
    }

    /// The cycles that are left of it. A negative value is the number of cycles by which it was
    /// exceeded.
    #[inline(always)]
    pub(crate) fn left(self, accounts: &[Account; MAX_TASKS]) -> i64 {
        let (row, part) = (self.0 as usize / size_of::<Account>(), self.0 as usize & TURN);
        // The remainder shows the compiler that the index is in range.
        let Some(account) = accounts.get(row % MAX_TASKS) else { return 0 };
        if part == TURN { account.turn.cycles } else { account.slice.cycles }
    }
}

/// The bit of a [`Budget`] that only a turn has.
const TURN: usize = core::mem::offset_of!(Account, turn);
const _: () =
    assert!(core::mem::offset_of!(Account, slice) == 0 && TURN == 16 && size_of::<Account>().is_multiple_of(32));

/// What is left of a slice or of a turn, beside a count that the assembly compares at the same
/// time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Cycles left. A negative value is the number of cycles by which the slice or turn was
    /// exceeded.
    pub(crate) cycles: i64,
    /// How many handles the task has ever closed, by which an
    /// [`EndpointCache`](crate::thread::EndpointCache) is known to be stale. Slice and turn hold
    /// equal copies.
    pub(crate) closed: u64,
}

/// A task's processor time in cycles, and the threads of the task that wait for some.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Account {
    /// What is left of this period's slice, for the task's threads at their priorities.
    slice: Left,
    /// What is left of the task's turn at the background level.
    turn: Left,
    /// All cycles ever put into slice and turn. What is not left of them has been used.
    given: i64,
    /// Whether the task is dead. Then nothing is left, so that none of its threads, which may still
    /// be queued, is run.
    withheld: bool,
    /// Cycles of the slice that were left when the task died, for the next life.
    kept: i64,
    /// The thread of the task that waits in a queue of the scheduler, for the task's turn or for
    /// its return to its priority; [`NIL`] if none waits.
    pub(crate) waiting: ThreadIndex,
    /// Further threads of the task that wait for processor time. Empty while [`Account::waiting`]
    /// is [`NIL`].
    pub(crate) parked: Queue,
}

impl Account {
    /// An account with a whole slice of `slice` cycles, for which no thread waits.
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

    /// Cycles that the task has used since boot, over all lives.
    pub(crate) fn used(&self) -> u64 {
        self.given.wrapping_sub(self.slice.cycles).wrapping_sub(self.turn.cycles) as u64
    }

    /// How many handles the task has ever closed.
    #[inline(always)]
    pub(crate) fn closed(&self) -> u64 {
        self.slice.closed
    }

    /// Counts a handle that the task has closed.
    pub(crate) fn note_closed(&mut self) {
        self.slice.closed += 1;
        self.turn.closed += 1;
    }

    /// Takes away what is left, as the task is dead. [`Account::give_back`] undoes it.
    pub(crate) fn withhold(&mut self) {
        self.withheld = true;
        self.kept = self.slice.cycles.max(0);
        let turn = self.turn.cycles.max(0);
        self.slice.cycles -= self.kept;
        self.turn.cycles -= turn;
        self.given = self.given.wrapping_sub(self.kept).wrapping_sub(turn);
    }

    /// Gives the next life what the last one had left of its slice.
    pub(crate) fn give_back(&mut self) {
        self.withheld = false;
        let kept = core::mem::take(&mut self.kept);
        self.slice.cycles += kept;
        self.given = self.given.wrapping_add(kept);
    }

    /// Whether something is left of the slice, so that the task's threads run at their priorities.
    #[inline(always)]
    pub(crate) fn has_slice(&self) -> bool {
        self.slice.cycles > 0
    }

    /// Whether something is left of the task's turn at the background level.
    #[inline(always)]
    pub(crate) fn has_turn(&self) -> bool {
        self.turn.cycles > 0
    }

    /// Charges the cycles that a thread has used to the turn (where `of_turn`) or to the slice.
    #[inline(always)]
    pub(crate) fn charge(&mut self, of_turn: bool, cycles: u64) {
        let left = if of_turn { &mut self.turn.cycles } else { &mut self.slice.cycles };
        *left = left.wrapping_sub_unsigned(cycles);
    }

    /// Begins a new period: a whole slice of `slice` cycles, less those by which the last one was
    /// exceeded. The turn at the background level ends.
    pub(crate) fn refill(&mut self, slice: i64) {
        Self::fill(&mut self.slice.cycles, &mut self.given, slice);
        Self::fill(&mut self.turn.cycles, &mut self.given, 0);
        if self.withheld {
            self.withhold();
        }
    }

    /// Begins a turn of `turn` cycles at the background level, less those by which the last turn
    /// was exceeded. Does nothing for a dead task.
    pub(crate) fn next_turn(&mut self, turn: i64) {
        if !self.withheld {
            Self::fill(&mut self.turn.cycles, &mut self.given, turn);
        }
    }

    /// Fills up `left` to `whole` cycles, less those by which it was exceeded. Usually a task
    /// exceeds its budget by at most [`OVERRUN_NS`](crate::period::OVERRUN_NS). Where the machine
    /// stood still for longer, at most half of the new budget is deducted.
    fn fill(left: &mut i64, given: &mut i64, whole: i64) {
        let filled = whole.saturating_add((*left).min(0)).max(whole / 2);
        *given = given.wrapping_add(filled).wrapping_sub(*left);
        *left = filled;
    }

    /// Checks what must hold between any two operations, given that no slice is longer than `slice`
    /// cycles and no turn longer than `turn`.
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
