//! The ready queues, the levels, and the running thread: the state of [`crate::system::sched`].

use crate::account::Account;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::period::{TURN_NS, shares};
use crate::queue::{NIL, Queue};
use crate::thread::ThreadIndex;
use abi::task::{LEVELS, MAX_TASKS};

/// The level of threads that are about to return to their priorities, because their tasks have a
/// new slice.
pub const RETURNING: u8 = LEVELS as u8;

/// The level below all priorities. Its queue holds the thread whose turn it is, and one thread of
/// each other task that waits for its turn.
pub const BACKGROUND: u8 = RETURNING + 1;

/// The level of further threads that wait for their task's turn or return: they are in the task's
/// own queue, not in one of the scheduler.
pub const PARKED: u8 = BACKGROUND + 1;

/// A level below all others that never has a thread, so that the search for the best level always
/// ends.
pub(crate) const NOBODY: u8 = 63;

/// The most threads that are examined before interrupts are let in while none has been found to
/// run.
pub const SEARCHED: usize = 32;

/// The most threads or tasks that are moved at one interrupt of the timer, and half as many where
/// timers are due.
pub(crate) const STEPS: usize = 32;

/// The most timers that set their bits at one interrupt, and half as many where tasks get new
/// slices. Tasks with timers that are due take turns.
pub const EXPIRES: usize = 4;

/// The ready queues, the accounts, and the running thread.
#[derive(Debug)]
pub struct Scheduler {
    /// The running thread; [`NIL`] while the processor idles.
    pub(crate) current: ThreadIndex,
    pub(crate) ready: [Queue; PARKED as usize],
    /// A bit for each level at which a thread is ready, and the bit of [`NOBODY`].
    pub(crate) levels: u64,
    pub(crate) resched: bool,
    pub(crate) charged_to: u64,
    /// The account of each row. The array has an entry for every possible row, so that offsets in
    /// it are constants.
    pub(crate) accounts: [Account; MAX_TASKS],
    /// The number of rows.
    pub(crate) rows: usize,
    /// When the timer must interrupt for the accounts, in cycles, while a thread runs: at the end
    /// of the period, or at once (0) while slices are filled and threads return.
    pub(crate) look_at: u64,
    /// When the timer interrupts: see [`crate::system::deadline`].
    pub(crate) deadline: Deadline,
    /// The end of the period, in cycles.
    pub(crate) period_end: u64,
    /// The first row that has not got its slice of this period yet.
    pub(crate) next_row: usize,
    pub(crate) slice: i64,
    pub(crate) turn: i64,
    pub(crate) period: u64,
}

impl Scheduler {
    /// A scheduler for `tasks` tasks without a ready thread.
    pub fn new(clock: &Clock, tasks: usize) -> Self {
        let (slice, period) = shares(tasks);
        let cycles = |ns: u64| i64::try_from(clock.span_cycles(ns)).unwrap_or(i64::MAX);
        let (slice, period) = (cycles(slice), clock.span_cycles(period));
        let period_end = clock.base.saturating_add(period);
        let mut sched = Scheduler {
            current: NIL,
            ready: [Queue::NOBODY; PARKED as usize],
            levels: 1 << NOBODY,
            resched: true,
            charged_to: clock.base,
            accounts: [const { Account::new(0) }; MAX_TASKS],
            rows: tasks,
            look_at: period_end,
            deadline: Deadline::new(clock),
            period_end,
            next_row: tasks,
            slice,
            turn: cycles(TURN_NS),
            period,
        };
        sched.accounts.iter_mut().take(tasks).for_each(|account| *account = Account::new(slice));
        sched
    }

    /// The ready queue of a level.
    #[cfg(any(test, feature = "verify"))]
    #[expect(clippy::indexing_slicing, reason = "only tests and checks ask, for levels that there are")]
    pub(crate) fn queue(&self, level: u8) -> Queue {
        self.ready[level as usize]
    }

    /// Whether the bit set of levels has this level.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn says_ready(&self, level: u8) -> bool {
        self.levels & 1 << level != 0
    }

    /// The index of the running thread.
    #[inline]
    pub fn current(&self) -> Option<ThreadIndex> {
        (self.current != NIL).then_some(self.current)
    }

    /// The most important level at which a thread is ready; [`NOBODY`] if none is.
    #[inline]
    pub(crate) fn best(&self) -> u8 {
        self.levels.trailing_zeros() as u8
    }

    /// The first thread of a level.
    pub(crate) fn front(&self, level: u8) -> Option<ThreadIndex> {
        self.ready.get(usize::from(level))?.front()
    }
}
