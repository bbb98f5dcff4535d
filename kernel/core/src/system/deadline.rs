//! What the timer is armed for. It interrupts only when something is due: a timer of a task, the
//! end of the running thread's slice or turn, the end of the period. While no thread runs, only
//! timers of tasks are: so an idle machine takes no interrupt that no task asked for.
//!
//! The timer is armed where the kernel leaves to a thread by the general path, and only if it is
//! not armed for an earlier time already: an interrupt that comes too early does nothing but arm it
//! again. The fast paths do not arm it. They switch only to a thread whose slice or turn lasts
//! beyond the time for which it is armed, and leave others to the general path.

use crate::deadline::NEVER;
use crate::sched::Scheduler;
use crate::system::System;
use crate::thread::Thread;

/// The deadline of no timer that is not due anyway: see [`Deadline::first_ns`].
const UNKNOWN: u64 = 0;

impl Scheduler {
    /// Whether the timer is armed well for a thread to run: it interrupts before its slice or turn
    /// ends, and before the first timer is due, whose deadline is given. The end of the period
    /// changes only at an interrupt of the timer, which is not armed then.
    #[inline(always)]
    pub(crate) fn is_armed(&self, thread: &Thread, first_ns: u64) -> bool {
        self.has_left(thread) && first_ns == self.deadline.first_ns
    }
}

impl System {
    /// The time in cycles for which the timer is to be armed before the running thread runs; `None`
    /// if it is armed well, as wherever [`Scheduler::is_armed`] says so.
    #[cold]
    #[must_use]
    pub fn arm(&mut self) -> Option<u64> {
        let ends = self.threads.at(self.sched.current).map_or(NEVER, |t| self.slice_end(t));
        let due = ends.min(self.sched.look_at).min(self.first_timer());
        let deadline = &mut self.sched.deadline;
        let at = due.max(deadline.earliest);
        if due >= deadline.at || at >= deadline.at {
            return None;
        }
        deadline.at = at;
        Some(at)
    }

    /// The time in cycles for which the timer is to be armed before the processor halts, as no
    /// thread is ready: [`NEVER`] if it is to be disarmed; `None` if it is armed well.
    #[must_use]
    pub fn arm_idle(&mut self) -> Option<u64> {
        let due = self.first_timer().min(NEVER);
        let deadline = &mut self.sched.deadline;
        let at = if due == NEVER { NEVER } else { due.max(deadline.earliest) };
        // The end of the period is not considered: it is when a thread runs again.
        deadline.first_ns = UNKNOWN;
        if at == deadline.at {
            return None;
        }
        deadline.at = at;
        Some(at)
    }

    /// Handles an interrupt of the timer, which is not armed any more.
    pub fn timer_interrupt(&mut self) {
        let deadline = &mut self.sched.deadline;
        deadline.at = NEVER;
        deadline.earliest = self.now.saturating_add(deadline.spacing);
        self.tick();
    }

    /// When the slice or the turn that a thread is charged to ends, if the thread runs on, in
    /// cycles.
    fn slice_end(&self, thread: &Thread) -> u64 {
        self.sched.charged_to.saturating_add_signed(thread.budget.left(&self.sched.accounts))
    }

    /// The deadline of the first timer of a task in cycles.
    #[inline]
    fn first_timer(&mut self) -> u64 {
        let first = self.timers.first;
        if first != self.sched.deadline.first_ns || first == UNKNOWN {
            self.sched.deadline.first_ns = first;
            self.sched.deadline.first = self.clock.cycles_at(first);
        }
        self.sched.deadline.first
    }
}
