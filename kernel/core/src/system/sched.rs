//! Preemptive scheduling by priority, with a slice of processor time for each task in each period,
//! so that a spinning task cannot starve less important ones.
//!
//! Periods are the same for all tasks. Within its slice, a task's threads run at their priorities.
//! When the slice is used up, they continue at the background level, below all priorities, until
//! the period is over. At that level tasks take turns, however many threads they have.
//!
//! A task may have a thousand threads, so none of this is done to all of them at once. A ready
//! thread whose task has nothing left is found when it would run, and is parked then
//! ([`System::park`]): of each task one thread waits in a queue of the scheduler, and the others
//! wait behind it. When their task has a new slice, they return to their priorities, a few at each
//! interrupt of the timer, by turns of the tasks.

use crate::account::{Account, Budget};
use crate::queue::NIL;
use crate::row::Row;
use crate::sched::{BACKGROUND, EXPIRES, NOBODY, PARKED, RETURNING, STEPS};
use crate::system::System;
use crate::system::release::IN_THE_WAY;
use crate::task::Task;
use crate::thread::{State, Thread, ThreadIndex};

/// Sets a thread's level and budget according to its task's account.
#[inline(always)]
pub(crate) fn place(t: &mut Thread, account: &Account) {
    let in_background = !account.has_slice();
    t.effective = if in_background { BACKGROUND } else { t.priority };
    t.budget = Budget::of(t.task, in_background);
}

impl System {
    /// Makes a thread ready that is in no queue and not running. If no thread runs and no ready
    /// thread is as important, it runs at once, as [`System::schedule`] would decide.
    pub fn make_ready(&mut self, index: ThreadIndex) {
        // The running thread may have used up the account that this thread would run on.
        self.charge();
        let Some(t) = self.threads.at_mut(index) else { return };
        let Some(account) = self.sched.accounts.get_mut(t.task.index()) else { return };
        place(t, account);
        let level = t.effective;
        let alive = self.releasing == 0 || self.tasks.at(t.task).is_some_and(Task::is_alive);
        if self.sched.current == NIL
            && level < self.sched.levels.trailing_zeros() as u8
            && (account.has_slice() || account.has_turn())
            && alive
        {
            t.state = State::Running;
            self.sched.current = index;
            self.sched.resched = false;
            self.counters.switches += 1;
            return;
        }
        t.state = State::Ready;
        if level == BACKGROUND { self.park(index) } else { self.enqueue_ready(index, level) }
    }

    /// Parks a ready thread that is in no queue and whose task has used up its slice, until the
    /// task's turn or its next slice.
    #[cold]
    fn park(&mut self, index: ThreadIndex) {
        let Some(t) = self.threads.at_mut(index) else { return };
        let Some(account) = self.sched.accounts.get_mut(t.task.index()) else { return };
        if account.waiting != NIL {
            t.effective = PARKED;
            account.parked.push(&mut self.threads, index);
            return;
        }
        t.effective = BACKGROUND;
        let row = t.task;
        account.waiting = index;
        self.enqueue_ready(index, BACKGROUND);
        // If another thread of the task runs, the task's turn continues.
        if self.running().is_none_or(|running| running.task != row) {
            self.renew_turn(row);
        }
    }

    /// If a task's turn is over, begins its next one, for which it queues behind all other tasks.
    fn renew_turn(&mut self, row: Row) {
        let turn = self.sched.turn;
        let Some(account) = self.account(row).filter(|a| !a.has_turn()) else { return };
        account.next_turn(turn);
        let waiting = account.waiting;
        if self.threads.at(waiting).is_some_and(|t| t.effective == BACKGROUND) {
            self.dequeue(waiting, BACKGROUND);
            self.enqueue(waiting, BACKGROUND, false);
        }
    }

    /// Replaces the thread that waited on behalf of its task by the next parked one, in the queue
    /// of `level`: at its front where `first`, as the task's turn goes on.
    fn next_waits(&mut self, row: Row, level: u8, first: bool) {
        let Some(account) = self.sched.accounts.get_mut(row.index()) else { return };
        account.waiting = NIL;
        let Some(next) = account.parked.pop(&mut self.threads) else { return };
        account.waiting = next;
        if let Some(t) = self.threads.at_mut(next) {
            t.effective = level;
        }
        self.enqueue(next, level, first);
    }

    /// Removes a ready thread from its queue. If it waited on behalf of its task, the next parked
    /// thread of the task takes its place, at the level `successor`.
    fn leave(&mut self, index: ThreadIndex, successor: u8, first: bool) {
        let Some(t) = self.threads.at(index) else { return };
        let (row, level) = (t.task, t.effective);
        if level != PARKED {
            self.dequeue(index, level);
            if self.account(row).is_some_and(|a| a.waiting == index) {
                self.next_waits(row, successor, first);
            }
        } else if let Some(account) = self.sched.accounts.get_mut(row.index()) {
            account.parked.remove(&mut self.threads, index);
        }
    }

    /// Returns a thread, whose task has a new slice, to its priority.
    pub(crate) fn bring_back(&mut self, index: ThreadIndex) {
        self.leave(index, RETURNING, false);
        let Some(t) = self.threads.at_mut(index) else { return };
        let Some(account) = self.sched.accounts.get_mut(t.task.index()) else { return };
        place(t, account);
        let level = t.effective;
        self.enqueue_ready(index, level);
    }

    /// Puts a ready thread at the end of a level's queue. If it is more important than the running
    /// one, the next [`System::schedule`] decides anew.
    fn enqueue_ready(&mut self, index: ThreadIndex, level: u8) {
        self.enqueue(index, level, false);
        match self.threads.at(self.sched.current) {
            Some(c) if c.effective <= level => {}
            _ => self.sched.resched = true,
        }
    }

    pub(crate) fn enqueue(&mut self, index: ThreadIndex, level: u8, first: bool) {
        if let Some(queue) = self.sched.ready.get_mut(level as usize) {
            if first {
                queue.push_front(&mut self.threads, index)
            } else {
                queue.push(&mut self.threads, index)
            }
            self.sched.levels |= 1 << level;
        }
    }

    pub(crate) fn dequeue(&mut self, index: ThreadIndex, level: u8) {
        if let Some(queue) = self.sched.ready.get_mut(level as usize) {
            queue.remove(&mut self.threads, index);
            if queue.is_empty() {
                self.sched.levels &= !(1 << level);
            }
        }
    }

    /// Blocks a thread in `state`. If it is running, no thread runs afterwards.
    pub(crate) fn block(&mut self, thread: ThreadIndex, state: State) {
        if self.sched.current == thread {
            self.charge();
            self.sched.current = NIL;
            self.sched.resched = true;
        }
        if let Some(t) = self.threads.at_mut(thread) {
            t.state = state;
        }
    }

    /// Removes a running or ready thread from the scheduler.
    pub(crate) fn unschedule(&mut self, index: ThreadIndex) {
        let Some(t) = self.threads.at(index) else { return };
        match t.state {
            State::Running => self.block(index, State::Ready),
            State::Ready => {
                let level = t.effective;
                self.leave(index, level, false);
            }
            _ => {}
        }
    }

    /// Puts the running thread behind the other threads of its level.
    pub fn yield_now(&mut self) {
        self.charge();
        let index = core::mem::replace(&mut self.sched.current, NIL);
        if index != NIL {
            self.make_ready(index);
            self.sched.resched = true;
        }
    }

    /// Sets a thread's priority, which takes effect while its task has a slice. The caller has
    /// checked the task's limit.
    pub fn set_priority(&mut self, index: ThreadIndex, priority: u8) {
        let Some(t) = self.threads.at_mut(index) else { return };
        t.priority = priority;
        let old = t.effective;
        if old >= RETURNING {
            return;
        }
        t.effective = priority;
        if t.state == State::Ready {
            self.dequeue(index, old);
            self.enqueue(index, priority, false);
        }
        self.sched.resched = true;
    }

    /// Decides which thread runs now, and examines at most `most` for that. `None` means that none
    /// is ready and the processor may halt, or, if [`System::undecided`], that the caller must let
    /// interrupts in and then call this again.
    #[must_use]
    #[inline(always)]
    pub fn schedule(&mut self, most: usize) -> Option<ThreadIndex> {
        if self.sched.resched { self.choose(most) } else { self.sched.current() }
    }

    fn choose(&mut self, most: usize) -> Option<ThreadIndex> {
        if let Some(index) = self.sched.current() {
            let level = self.threads.at(index).map_or(NOBODY, |t| t.effective);
            if self.sched.best() >= level {
                self.sched.resched = false;
                return Some(index);
            }
            // A preempted thread stays the first of its level.
            self.charge();
            if let Some(t) = self.threads.at_mut(index) {
                t.state = State::Ready;
            }
            self.sched.current = NIL;
            self.enqueue(index, level, true);
        } else {
            self.charge();
        }
        for _ in 0..if self.releasing == 0 { most } else { most.min(IN_THE_WAY) } {
            let best = self.sched.best();
            let Some(index) = self.sched.front(best) else {
                self.sched.resched = false;
                return None;
            };
            if self.is_dead(index) {
                self.thread_remove(index);
                continue;
            }
            if self.runs(index, best) {
                self.sched.current = index;
                self.sched.resched = false;
                self.counters.switches += 1;
                return Some(index);
            }
        }
        None
    }

    /// Whether [`System::schedule`] has not found a thread to run yet, because it met too many that
    /// are dead or have nothing left.
    pub fn undecided(&self) -> bool {
        self.sched.resched && self.sched.current == NIL
    }

    /// Removes the first thread of a level from its queue if it may run now, and makes it the
    /// running one; otherwise moves it where it belongs. Returns whether it runs.
    #[inline(always)]
    fn runs(&mut self, index: ThreadIndex, level: u8) -> bool {
        if level >= RETURNING {
            return self.has_turn(index, level);
        }
        self.dequeue(index, level);
        let Some(t) = self.threads.at_mut(index) else { return false };
        if self.sched.accounts.get(t.task.index()).is_some_and(Account::has_slice) {
            t.state = State::Running;
            return true;
        }
        self.park(index);
        false
    }

    /// Does for the levels below all priorities what [`System::runs`] does: returns whether the
    /// thread runs, or moves it where it belongs.
    pub(crate) fn has_turn(&mut self, index: ThreadIndex, level: u8) -> bool {
        let Some(row) = self.threads.at(index).map(|t| t.task) else { return false };
        let Some(account) = self.sched.accounts.get(row.index()) else { return false };
        if account.has_slice() {
            self.bring_back(index);
            return false;
        }
        if level == BACKGROUND && account.has_turn() {
            self.leave(index, BACKGROUND, true);
            let Some(t) = self.threads.at_mut(index) else { return false };
            t.state = State::Running;
            if let Some(account) = self.sched.accounts.get_mut(row.index()) {
                place(t, account);
            }
            return true;
        }
        if level == BACKGROUND && account.waiting == index {
            self.renew_turn(row);
            return false;
        }
        // The slice was used up before the thread returned to its priority, or its turn was over
        // when it was preempted.
        self.dequeue(index, level);
        if let Some(account) = self.account(row).filter(|a| a.waiting == index) {
            account.waiting = NIL;
        }
        self.park(index);
        false
    }

    /// Does what is due: timers, slices, turns.
    pub fn tick(&mut self) {
        self.charge();
        let now_ns = self.clock.ns(self.now);
        let fills = self.now >= self.sched.look_at;
        let mut expired = false;
        for _ in 0..if fills { EXPIRES / 2 } else { EXPIRES } {
            let Some((notification, bits)) = self.timers.expire(now_ns) else { break };
            self.signal(notification, bits);
            expired = true;
        }
        if fills {
            self.fill_slices(if expired { STEPS / 2 } else { STEPS });
        }
        let Some(t) = self.threads.at_mut(self.sched.current) else { return };
        let Some(account) = self.sched.accounts.get_mut(t.task.index()) else { return };
        self.sched.resched = true;
        let at_priority = t.effective != BACKGROUND;
        if account.has_slice() {
            place(t, account);
        } else if at_priority || !account.has_turn() {
            t.state = State::Ready;
            let row = t.task;
            let index = core::mem::replace(&mut self.sched.current, NIL);
            self.park(index);
            self.renew_turn(row);
        }
    }
}
