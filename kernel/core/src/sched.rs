//! Preemptive scheduling by priority, with a budget that keeps a spinning thread from starving less important ones.
//!
//! In each period a thread may use a budget of processor time at its own priority. When that is used up, it goes on at the background
//! level, below all priorities, where such threads take turns, until its period is over.

use crate::clock::Clock;
use crate::queue::{NIL, Queue};
use crate::release::IN_THE_WAY;
use crate::system::System;
use crate::task::Task;
use crate::thread::State;
use abi::task::{LEVELS, TaskState};

/// The level below all priorities.
pub const BACKGROUND: u8 = LEVELS as u8;

/// A level at which nobody ever is, below all others: so that the search for the best level always ends.
const NOBODY: u8 = 63;

/// Processor time that a task may use at its priorities in one period, in nanoseconds, where there are few tasks. Also the time slice.
pub const SLICE_NS: u64 = 10_000_000;
/// The same where there are many.
pub const LEAST_SLICE_NS: u64 = 4_000_000;

/// Length of a period in nanoseconds, where there are few tasks.
pub const PERIOD_NS: u64 = 100_000_000;

/// By how much a budget is exceeded at the most, because budgets are looked at when the timer ticks, in nanoseconds.
const TICK_NS: u64 = 1_000_000;

/// Slice and period for so many tasks, in nanoseconds. All slices together, each exceeded by a tick, leave a tenth of the period: so even if
/// all other tasks are more important and spin, every task gets its slice, and what is at the background level goes on too.
pub fn shares(tasks: usize) -> (u64, u64) {
    let tasks = (tasks as u64).max(1);
    let slice = (PERIOD_NS * 8 / 10 / tasks).clamp(LEAST_SLICE_NS, SLICE_NS);
    (slice, (tasks * (slice + TICK_NS) * 10 / 9).max(PERIOD_NS))
}

/// How many of those that wait longest in the background are looked at in one tick.
const REFILLS: usize = 64;

/// How many timers set their bits in one tick; the tasks that have some which are due take turns.
pub const EXPIRES: usize = 4;

/// Ready queues and who runs.
///
/// [`crate::fast`] reads and writes some of it.
#[derive(Debug)]
pub struct Scheduler {
    /// The running thread; [`NIL`] while the processor idles.
    pub(crate) current: u16,
    pub(crate) ready: [Queue; LEVELS + 1],
    /// A bit for each level at which somebody is ready, and [`NOBODY`].
    pub(crate) levels: u64,
    pub(crate) resched: bool,
    pub(crate) charged_to: u64,
    slice: u64,
    period: u64,
}

impl Scheduler {
    /// Nobody is ready. There will be so many tasks.
    pub fn new(clock: &Clock, tasks: usize) -> Self {
        let (slice, period) = shares(tasks);
        Scheduler {
            current: NIL,
            ready: [Queue::default(); LEVELS + 1],
            levels: 1 << NOBODY,
            resched: true,
            charged_to: clock.base,
            slice: clock.span_cycles(slice),
            period: clock.span_cycles(period),
        }
    }

    /// The queue of a level.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn queue(&self, level: u8) -> Queue {
        self.ready[level as usize]
    }

    /// Whether somebody is said to be ready at a level.
    #[cfg(any(test, feature = "verify"))]
    pub(crate) fn says_ready(&self, level: u8) -> bool {
        self.levels & 1 << level != 0
    }

    /// The running thread.
    #[inline]
    pub fn current(&self) -> Option<u16> {
        (self.current != NIL).then_some(self.current)
    }

    /// The most important level at which somebody is ready; [`NOBODY`] where nobody is.
    #[inline]
    pub(crate) fn best(&self) -> u8 {
        self.levels.trailing_zeros() as u8
    }
}

impl System {
    /// Charges the time since the last charge to whoever used it.
    #[inline]
    pub fn charge(&mut self) {
        let spent = self.now.saturating_sub(self.sched.charged_to);
        self.sched.charged_to = self.now;
        match self.threads.at_mut(self.sched.current) {
            Some(t) => {
                t.used += spent;
                t.cpu += spent;
            }
            None => self.counters.idle += spent,
        }
    }

    /// Makes a thread ready, which must be in no queue and not running. Where nobody runs and nobody ready is as important, it runs at once,
    /// as [`System::schedule`] would have it.
    pub fn make_ready(&mut self, index: u16) {
        let (now, period) = (self.now, self.sched.period);
        let Some(t) = self.threads.at_mut(index) else { return };
        t.state = State::Ready;
        if now >= t.refill_at {
            t.used = 0;
            t.refill_at = now + period;
            t.effective = t.priority;
        } else if t.used >= t.budget {
            self.make_ready_spent(index);
            return;
        }
        let level = t.effective;
        let alive = self.releasing == 0 || self.tasks.get(t.task as usize).is_some_and(Task::is_alive);
        if self.sched.current == NIL && level < self.sched.levels.trailing_zeros() as u8 && alive {
            t.state = State::Running;
            self.charge();
            self.sched.current = index;
            self.sched.resched = false;
            self.counters.switches += 1;
            return;
        }
        self.line_up(index, level);
    }

    /// The same for a thread that has had its share: waiting at each tick, when budgets are looked at, does not stretch a budget.
    #[cold]
    fn make_ready_spent(&mut self, index: u16) {
        self.watch_crowd(index);
        let Some(t) = self.threads.at_mut(index) else { return };
        t.used = 0;
        t.effective = BACKGROUND;
        self.line_up(index, BACKGROUND);
    }

    fn line_up(&mut self, index: u16, level: u8) {
        self.enqueue(index, level);
        match self.threads.at(self.sched.current) {
            Some(c) if c.effective <= level => {}
            _ => self.sched.resched = true,
        }
    }

    /// Cycles of processor time of a row, over all lives.
    pub fn cpu(&self, row: u16) -> u64 {
        let past = self.tasks.get(row as usize).map_or(0, |t| t.cpu);
        past + self.threads.iter().filter(|(_, t)| t.task == row).map(|(_, t)| t.cpu).sum::<u64>()
    }

    /// Gives each thread of a task its share of the budget, which is the task's.
    pub(crate) fn share_budget(&mut self, row: u16) {
        let Some(task) = self.tasks.get(row as usize).filter(|t| t.state == TaskState::Running) else { return };
        let budget = self.sched.slice / u64::from(task.threads.max(1));
        if task.threads == 1
            && let Some(only) = task.first_thread.and_then(|id| self.threads.get_mut(id))
        {
            only.budget = budget;
            return;
        }
        self.threads.iter_mut().filter(|t| t.task == row).for_each(|t| t.budget = budget);
    }

    fn enqueue(&mut self, index: u16, level: u8) {
        if let Some(queue) = self.sched.ready.get_mut(level as usize) {
            queue.push(&mut self.threads, index);
            self.sched.levels |= 1 << level;
        }
    }

    fn dequeue(&mut self, index: u16, level: u8) {
        if let Some(queue) = self.sched.ready.get_mut(level as usize) {
            queue.remove(&mut self.threads, index);
            if queue.is_empty() {
                self.sched.levels &= !(1 << level);
            }
        }
    }

    /// Blocks the running thread in `state`.
    pub(crate) fn block(&mut self, thread: u16, state: State) {
        if self.sched.current == thread {
            self.charge();
            self.sched.current = NIL;
            self.sched.resched = true;
        }
        if let Some(t) = self.threads.at_mut(thread) {
            t.state = state;
        }
    }

    /// Takes a thread out of the scheduler, whether it runs or is ready.
    pub(crate) fn unschedule(&mut self, index: u16) {
        let Some(t) = self.threads.at(index) else { return };
        match t.state {
            State::Running => self.block(index, State::Ready),
            State::Ready => {
                let level = t.effective;
                self.dequeue(index, level);
            }
            _ => {}
        }
    }

    /// Puts the running thread behind the others of its level.
    pub fn yield_now(&mut self) {
        self.charge();
        let index = core::mem::replace(&mut self.sched.current, NIL);
        if index != NIL {
            self.make_ready(index);
            self.sched.resched = true;
        }
    }

    /// Gives a thread another priority. The caller has checked the ceiling.
    pub fn set_priority(&mut self, index: u16, priority: u8) {
        let Some(t) = self.threads.at_mut(index) else { return };
        t.priority = priority;
        if t.effective == BACKGROUND {
            return;
        }
        match t.state {
            State::Ready => {
                let old = t.effective;
                self.dequeue(index, old);
                if let Some(t) = self.threads.at_mut(index) {
                    t.effective = priority;
                }
                self.enqueue(index, priority);
            }
            _ => t.effective = priority,
        }
        self.sched.resched = true;
    }

    /// Who is to run next.
    #[inline]
    fn first_ready(&self) -> Option<u16> {
        self.sched.ready.get(self.sched.best() as usize)?.front()
    }

    /// Whether the scheduler has not come to an end, because so many dead threads were in the way: it is to be asked again, and interrupts may be
    /// let in before.
    pub fn undecided(&self) -> bool {
        self.sched.resched
    }

    /// Decides who runs now. `None`: nobody is ready, the processor may halt; or [`System::undecided`].
    #[must_use]
    pub fn schedule(&mut self) -> Option<u16> {
        if !self.sched.resched {
            return self.sched.current();
        }
        self.sched.resched = false;
        let best = self.sched.best();
        if let Some(index) = self.sched.current() {
            let level = self.threads.at(index).map_or(BACKGROUND, |t| t.effective);
            if best >= level {
                return Some(index);
            }
            // Preempted: it keeps its turn.
            self.charge();
            if let Some(t) = self.threads.at_mut(index) {
                t.state = State::Ready;
            }
            self.sched.current = NIL;
            if let Some(queue) = self.sched.ready.get_mut(level as usize) {
                queue.push_front(&mut self.threads, index);
                self.sched.levels |= 1 << level;
            }
        }
        let mut next = self.first_ready()?;
        if self.releasing != 0 {
            for _ in 0..IN_THE_WAY {
                if !self.is_dead(next) {
                    break;
                }
                self.thread_remove(next);
                next = self.first_ready()?;
            }
            if self.is_dead(next) {
                self.sched.resched = true;
                return None;
            }
        }
        self.unschedule(next);
        self.charge();
        if let Some(t) = self.threads.at_mut(next) {
            t.state = State::Running;
        }
        self.sched.current = next;
        self.counters.switches += 1;
        Some(next)
    }

    /// What a timer tick does: timers, budgets, turns.
    pub fn tick(&mut self) {
        self.charge();
        let now_ns = self.clock.ns(self.now);
        for _ in 0..EXPIRES {
            let Some((notification, bits)) = self.timers.expire(now_ns) else { break };
            self.signal(notification, bits);
        }
        let (now, period) = (self.now, self.sched.period);
        self.refill_background();
        let Some(index) = self.sched.current() else { return };
        self.watch_crowd(index);
        if self.sched.current != index {
            return;
        }
        let Some(t) = self.threads.at_mut(index) else { return };
        if now >= t.refill_at {
            t.used = 0;
            t.refill_at = now + period;
            t.effective = t.priority;
        } else if t.used >= t.budget {
            t.used = 0;
            t.effective = BACKGROUND;
            t.state = State::Ready;
            self.sched.current = NIL;
            self.enqueue(index, BACKGROUND);
        }
        self.sched.resched = true;
    }

    /// Gives those in the background whose period is over the next one. More than one at a time: a task with many threads there must not keep
    /// the others from their turn. And not without bound: this is done at every tick.
    fn refill_background(&mut self) {
        let Some(queue) = self.sched.ready.get(BACKGROUND as usize).copied() else { return };
        let mut next = queue.front();
        for _ in 0..REFILLS {
            let Some(index) = next else { return };
            next = queue.next(&self.threads, index);
            if self.threads.at(index).is_some_and(|t| self.now >= t.refill_at) {
                self.dequeue(index, BACKGROUND);
                self.make_ready(index);
            }
        }
    }

    /// Before a thread that has had its share is put into the background: adds what it had to what the others of its task had so. Where that is
    /// the task's budget, they all go: their shares are less than a tick where there are many, and each of them would have a tick all the same.
    fn watch_crowd(&mut self, index: u16) {
        let (now, slice, period) = (self.now, self.sched.slice, self.sched.period);
        let Some(t) = self.threads.at(index).filter(|t| t.effective != BACKGROUND) else { return };
        if now >= t.refill_at || t.used < t.budget {
            return;
        }
        let (row, used) = (t.task, t.used);
        let Some(task) = self.tasks.get_mut(row as usize).filter(|t| t.threads > 1) else { return };
        if now >= task.crowd.1 {
            task.crowd = (0, now + period);
        }
        task.crowd.0 += used;
        if task.crowd.0 >= slice {
            let until = task.crowd.1;
            self.crowd_out(row, until, index);
        }
    }

    /// Until when a task's threads have had its budget, if they have.
    pub(crate) fn crowded(&self, row: u16) -> Option<u64> {
        let (had, until) = self.tasks.get(row as usize)?.crowd;
        (had >= self.sched.slice && self.now < until).then_some(until)
    }

    /// Puts every thread of a task into the background until its next period. `unqueued` is in no queue, unless it runs.
    fn crowd_out(&mut self, row: u16, until: u64, unqueued: u16) {
        for index in 0..self.threads.capacity() as u16 {
            let Some(t) = self.threads.at_mut(index).filter(|t| t.task == row) else { continue };
            let level = core::mem::replace(&mut t.effective, BACKGROUND);
            (t.used, t.refill_at) = (0, until);
            match t.state {
                State::Running if self.sched.current == index => {
                    t.state = State::Ready;
                    self.sched.current = NIL;
                    self.sched.resched = true;
                    self.enqueue(index, BACKGROUND);
                }
                State::Ready if index != unqueued => {
                    self.dequeue(index, level);
                    self.enqueue(index, BACKGROUND);
                }
                _ => {}
            }
        }
    }
}
