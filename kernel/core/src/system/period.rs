//! The beginning of a new period: see [`super::sched`].

use crate::queue::NIL;
use crate::row::Row;
use crate::sched::{BACKGROUND, RETURNING};
use crate::system::System;

impl System {
    /// Begins a new period when the last one is over: gives tasks their slices and returns their
    /// waiting threads to their priorities, `most` at this interrupt.
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
