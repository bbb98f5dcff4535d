//! How long slices, turns and periods of processor time are, and the beginning of a new period: see
//! [`crate::sched`].

use crate::queue::NIL;
use crate::row::Row;
use crate::sched::{BACKGROUND, RETURNING};
use crate::system::System;

/// Processor time in nanoseconds that a task may use at its priorities in one period, where there
/// are few tasks.
pub const SLICE_NS: u64 = 10_000_000;
/// The least processor time in nanoseconds that a task may use at its priorities in one period,
/// however many tasks there are.
pub const LEAST_SLICE_NS: u64 = 4_000_000;

/// Length in nanoseconds of a task's turn at the background level.
pub const TURN_NS: u64 = 4_000_000;

/// Length of a period in nanoseconds, where there are few tasks.
pub const PERIOD_NS: u64 = 100_000_000;

/// The most by which a slice or turn is exceeded, in nanoseconds: a running thread's time is
/// checked at timer ticks, which are so far apart.
pub const TICK_NS: u64 = 1_000_000;

/// Slice and period for `tasks` tasks, in nanoseconds. All slices together, each exceeded by a
/// tick, take nine tenths of the period. So every task gets its slice even if all others are more
/// important and spin, and threads at the background level run, too.
pub fn shares(tasks: usize) -> (u64, u64) {
    let tasks = (tasks as u64).max(1);
    let slice = (PERIOD_NS * 8 / 10 / tasks).clamp(LEAST_SLICE_NS, SLICE_NS);
    (slice, (tasks * (slice + TICK_NS) * 10 / 9).max(PERIOD_NS))
}

impl System {
    /// Begins a new period when the last one is over: gives tasks their slices and returns their
    /// waiting threads to their priorities, `most` at this tick.
    #[cold]
    pub(crate) fn fill_slices(&mut self, most: usize) {
        let end = self.sched.period_end;
        if self.now >= end {
            // If the machine stood still for longer than a period, the missed periods are skipped.
            let next = end.saturating_add(self.sched.period);
            self.sched.period_end = if next > self.now { next } else { self.now.saturating_add(self.sched.period) };
            self.sched.next_row = 0;
        }
        self.sched.look_at = 0;
        for _ in 0..most {
            let row = self.sched.next_row;
            if row < self.sched.rows {
                self.sched.next_row += 1;
                self.fill_slice(Row::new(row as u16));
            } else if let Some(index) = self.sched.front(RETURNING) {
                self.has_turn(index, RETURNING);
            } else {
                self.sched.look_at = self.sched.period_end;
                return;
            }
        }
    }

    /// Gives a task its slice, and returns the first of its waiting threads to its priority.
    fn fill_slice(&mut self, row: Row) {
        let slice = self.sched.slice;
        let Some(account) = self.account(row) else { return };
        account.refill(slice);
        let waiting = account.waiting;
        if waiting != NIL {
            self.bring_back(waiting);
        }
        // Also a thread of the task that was preempted during its turn.
        if let Some(first) = self.sched.front(BACKGROUND)
            && self.row_of(first) == Ok(row)
        {
            self.bring_back(first);
        }
    }
}
