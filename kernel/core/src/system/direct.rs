//! Fast paths: the most frequent operations, done at once where no special case applies, without
//! the queues of the scheduler and without repeating lookups. Each operation here first checks its
//! conditions, and changes state only where the general one ([`System::call`], [`System::reply`]
//! and [`System::recv`], [`System::signal`], [`System::interrupt`], [`System::yield_now`], each
//! followed by [`System::schedule`]) would do exactly the same, and the timer need not be armed.
//! Otherwise it returns false, and nothing has changed except that the running thread has been
//! charged for its time up to now, which the general operation would do first.
//!
//! [`System::direct_call`] and [`System::direct_reply`] exist twice: in a kernel without the
//! feature `plain`, assembly does the same with the message in the processor's registers
//! (`kernel/src/arch/message.rs`). The Rust here is the specification of that assembly; a test runs
//! both, and the general path, in many states.
//!
//! The fast paths rely on these rules, each of which `check.rs` verifies:
//!
//! - A cached [`EndpointCache`](crate::thread::EndpointCache) is valid while its task has closed no
//!   handle since, and the endpoint has the same name.
//! - A queue holds only threads that exist. A dead task's account is withheld, so none of its
//!   threads has processor time left.
//! - A blocked thread is charged to the slice of its task's account, at its priority, or to the
//!   turn, at the background level.
//! - A thread that is alone in a queue is linked to no other; neither is one that is in no queue,
//!   such as the running thread.
//! - No thread waits for bits that are set, and an endpoint's copy of its notification's word is
//!   current.
//! - A thread that waits for a message or an answer entered the kernel by a system call, so it may
//!   be resumed by `sysret`, at an address below the end of user space.
//! - While a thread runs, no ready thread is more important; while none runs, none is ready.

use crate::account::Account;
use crate::arena::Id;
use crate::lines::Line;
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::row::Row;
use crate::sched::{BACKGROUND, RETURNING, Scheduler};
use crate::system::System;
use crate::task::Task;
use crate::thread::{Lookup, State, Thread, ThreadIndex};
use abi::Status;
use abi::message::{Header, MAX_LEASES, ReplyToken, bits};
use abi::task::MAX_TASKS;

/// The highest header that has only a label: no leases, no handle, no handle wanted in the reply.
pub const LABEL: u64 = 0xffff;

/// The highest header that has a label and leases, and nothing else.
pub const LEASES: u64 = Header::new(u16::MAX).with_leases(MAX_LEASES).0;

/// The token of the call after the one with this token; `None` after the last.
#[inline(always)]
pub(crate) fn next_call(token: ReplyToken) -> Option<ReplyToken> {
    token.0.checked_add(1 << 16).map(ReplyToken)
}

/// The thread that made the call with this token.
#[inline(always)]
pub(crate) const fn thread_of(token: ReplyToken) -> ThreadIndex {
    ThreadIndex::new(token.thread())
}

impl Scheduler {
    /// The account of a row. The remainder shows the compiler that the index is in range.
    #[inline(always)]
    fn account_of(&self, row: Row) -> Option<&Account> {
        self.accounts.get(row.index() % MAX_TASKS)
    }

    /// Whether a thread's task has processor time left, at the thread's level, at least until the
    /// timer interrupts: so it need not be armed for the thread. The running thread must have been
    /// charged.
    #[inline(always)]
    pub(crate) fn has_left(&self, t: &Thread) -> bool {
        t.budget.left(&self.accounts) >= self.deadline.at.wrapping_sub(self.charged_to) as i64
    }

    /// Whether a blocked thread may run at once in place of the running one, which stops: its task
    /// has processor time left, and no ready thread is as important.
    #[inline(always)]
    fn may_follow(&self, t: &Thread) -> bool {
        self.has_left(t) && t.effective < self.best()
    }

    /// Whether a lookup by a thread of this row is of this handle, and no handle has been closed
    /// since.
    #[inline(always)]
    pub(crate) fn is_valid(&self, row: Row, found: &Lookup, handle: HandleNumber) -> bool {
        found.handle == handle && self.account_of(row).is_some_and(|a| a.closed() == found.closed)
    }
}

impl System {
    /// `call` without leases or a handle, at whose endpoint exactly one thread waits, which then
    /// runs at once.
    pub fn direct_call(&mut self) -> bool {
        self.running().is_some_and(|me| me.frame.rsi <= LABEL) && self.call_one()
    }

    /// `call` without a handle, whose leases are in the running thread's record already. The
    /// receiver runs at once, as in [`System::direct_call`]; if none waits, the call is queued and
    /// a ready thread runs.
    pub fn direct_call_lending(&mut self) -> bool {
        self.running().is_some_and(|me| me.frame.rsi <= LEASES) && (self.call_one() || self.call_queued())
    }

    #[inline(always)]
    fn call_one(&mut self) -> bool {
        self.charge_short();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.handle(), me.frame.rsi, me.frame.words(), me.calls);
        if !sched.is_valid(me.task, &cache.found, number) {
            return false;
        }
        let Some(endpoint) = endpoints.get_mut(cache.endpoint()) else { return false };
        let Some(receiver) = endpoint.receivers.only() else { return false };
        let Some(token) = next_call(me.token) else { return false };
        let Some([me, next]) = threads.pair_mut(current, receiver).filter(|[_, next]| sched.may_follow(next)) else {
            return false;
        };
        let label = Header(header).label().into();
        (me.token, me.state, me.last_sent) = (token, next.awaited, [label, number.to_u32()]);
        (next.state, next.last_received) = (State::Running, [label, cache.tells as u32]);
        next.frame.receive(cache.tells, header, words, token.0, 0);
        endpoint.receivers = Queue::NOBODY;
        sched.current = receiver;
        self.counters.switches += 1;
        true
    }

    /// `reply_recv` without a handle: the answered thread runs at once, and this one waits for its
    /// next message. The endpoint's queues are empty, and no bit of the mask is set.
    pub fn direct_reply(&mut self) -> bool {
        if self.running().is_none_or(|me| me.frame.rsi > LABEL) {
            return false;
        }
        self.charge_short();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.handle(), me.frame.rsi, me.frame.words(), me.receives);
        let (token, mask, awaited, alone) = (ReplyToken(me.frame.r8), me.frame.r9, me.awaited, me.alone);
        if !sched.is_valid(me.task, &cache.found, number) {
            return false;
        }
        let Some(endpoint) = endpoints.get_mut(cache.endpoint()) else { return false };
        if !endpoint.receivers.is_empty() || !endpoint.senders.is_empty() || endpoint.bits & mask != 0 {
            return false;
        }
        let waits = |[_, t]: &[&mut Thread; 2]| t.token == token && t.state == awaited && sched.may_follow(t);
        let Some([me, next]) = threads.pair_mut(current, thread_of(token)).filter(waits) else { return false };
        (me.mask, me.state) = (mask, cache.waits);
        next.state = State::Running;
        next.frame.receive(0, header, words, 0, 0);
        endpoint.receivers = alone;
        sched.current = thread_of(token);
        self.counters.switches += 1;
        true
    }

    /// `call` without a handle, at whose endpoint no thread waits: the call is queued, and a ready
    /// thread runs.
    fn call_queued(&mut self) -> bool {
        let System { threads, endpoints, sched, tasks, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, cache) = (me.frame.handle(), me.frame.rsi, me.calls);
        let best = sched.best();
        let there = self.releasing == 0 && best < RETURNING && sched.is_valid(me.task, &cache.found, number);
        let Some(endpoint) = endpoints.get_mut(cache.endpoint()).filter(|_| there) else { return false };
        let served = tasks.at(endpoint.owner).is_some_and(Task::is_alive);
        let Some(token) = next_call(me.token).filter(|_| served && endpoint.receivers.is_empty()) else { return false };
        let Some(ready) = sched.ready.get(usize::from(best)).and_then(Queue::front) else { return false };
        if !threads.at(ready).is_some_and(|next| sched.has_left(next)) {
            return false;
        }
        if let Some(me) = threads.at_mut(current) {
            (me.token, me.sender, me.state) = (token, cache.tells, cache.waits);
            me.last_sent = [Header(header).label().into(), number.to_u32()];
        }
        endpoint.senders.push(threads, current);
        self.dequeue(ready, best);
        self.hand_over(ready);
        true
    }

    /// `reply_recv` without a handle, while another call is queued, which is received at once. If
    /// the answered thread is more important than this one, it runs at once, and this one is the
    /// next of its level; otherwise the answered thread becomes ready.
    pub fn direct_reply_queued(&mut self) -> bool {
        self.charge();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.handle(), me.frame.rsi, me.frame.words(), me.receives);
        let (token, mask, awaited, level) = (ReplyToken(me.frame.r8), me.frame.r9, me.awaited, me.effective);
        if header > LABEL || self.releasing != 0 || !sched.is_valid(me.task, &cache.found, number) {
            return false;
        }
        let Some(endpoint) = endpoints.get_mut(cache.endpoint()) else { return false };
        let Some(first) = endpoint.senders.front().filter(|_| endpoint.bits & mask == 0) else { return false };
        let Some(sender) = threads.at(first).filter(|s| !Header(s.frame.rsi).has_handle()) else { return false };
        let (tells, sent, request, call) = (sender.sender, sender.frame.rsi, sender.frame.words(), sender.token.0);
        let client = thread_of(token);
        let waits = |t: &&mut Thread| t.token == token && t.state == awaited && sched.has_left(t);
        let Some(answered) = threads.at_mut(client).filter(waits) else { return false };
        answered.frame.receive(0, header, words, 0, 0);
        let runs = answered.effective < level;
        endpoint.senders.remove(threads, first);
        if let Some(sender) = threads.at_mut(first) {
            sender.state = awaited;
        }
        if let Some(me) = threads.at_mut(current) {
            me.frame.receive(tells, sent, request, call, 0);
            me.last_received = [Header(sent).label().into(), tells as u32];
        }
        if runs {
            self.preempt(client)
        } else {
            self.make_ready(client)
        }
        true
    }

    /// `signal` by the running thread, where no thread waits for the bits, or one that is more
    /// important than the running one and then runs at once.
    pub fn direct_signal(&mut self) -> bool {
        let Some(me) = self.threads.at(self.sched.current) else { return false };
        let (current, number, set, cache) = (self.sched.current, me.frame.handle(), me.frame.rsi, me.signals);
        let may = set & cache.never == 0 && self.sched.is_valid(me.task, &cache.found, number);
        let done = may && self.ring(cache.to(), set);
        if done && let Some(me) = self.threads.at_mut(current) {
            me.frame.rax = Status::Ok as u64;
        }
        done
    }

    /// The interrupt of a line while a thread runs, where no thread waits for its bits, or one that
    /// is more important than the running one and then runs at once.
    pub fn direct_interrupt(&mut self, line: Line) -> bool {
        let Some(owner) = self.lines.owner(line) else { return false };
        let Some(task) = self.tasks.at(owner.row) else { return false };
        if (task.lose | bits::HEARTBEAT) & owner.bits != 0 {
            return false;
        }
        task.notification.is_some_and(|id| self.ring(id, owner.bits))
    }

    /// Sets bits of a notification where no thread waits there, or exactly one, in `wait` or
    /// `recv`, that is more important than the running thread; then no other thread may be ready at
    /// the running thread's level.
    #[inline(always)]
    fn ring(&mut self, id: Id<Notification>, set: u64) -> bool {
        let System { threads, endpoints, notifications, sched, .. } = self;
        if self.releasing != 0 {
            return false;
        }
        let Some(n) = notifications.get_mut(id) else { return false };
        let word = n.word | set;
        let waiter = n.waiter;
        let Some(e) = n.bound_to.and_then(|e| endpoints.get_mut(e)) else {
            if !waiter.is_empty() {
                return false;
            }
            n.word = word;
            return true;
        };
        let queue = if waiter.is_empty() { e.receivers } else { waiter };
        if queue.is_empty() {
            (n.word, e.bits) = (word, word);
            return true;
        }
        // Exactly one thread waits: in `wait` or in `recv`, not one in each.
        if queue.head != queue.tail || !waiter.is_empty() && !e.receivers.is_empty() {
            return false;
        }
        let Some([me, t]) = threads.pair_mut(sched.current, queue.head) else { return false };
        let level = me.effective;
        // Charge the running thread first: both threads may belong to the same account.
        let spent = self.now.wrapping_sub(sched.charged_to);
        sched.charged_to = self.now;
        if let Some(account) = sched.accounts.get_mut(me.task.index() % MAX_TASKS) {
            account.charge(level == BACKGROUND, spent);
        }
        let taken = word & t.mask;
        if t.effective >= level || taken == 0 || taken & bits::HEARTBEAT != 0 || !sched.has_left(t) {
            return false;
        }
        let Some(ready) = sched.ready.get_mut(usize::from(level)) else { return false };
        if !ready.is_empty() {
            return false;
        }
        *ready = me.alone;
        sched.levels |= 1 << level;
        me.state = State::Ready;
        t.state = State::Running;
        sched.current = queue.head;
        let left = word & !t.mask;
        (n.word, e.bits) = (left, left);
        if waiter.is_empty() {
            e.receivers = Queue::NOBODY;
            t.frame.receive(0, Header::NOTIFICATION, [taken, 0, 0, 0], 0, 0);
        } else {
            n.waiter = Queue::NOBODY;
            (t.frame.rax, t.frame.rdx) = (Status::Ok as u64, taken);
        }
        self.counters.switches += 1;
        true
    }

    /// Makes `next` run in place of the running thread, which becomes the first of its level.
    #[inline(always)]
    fn preempt(&mut self, next: ThreadIndex) {
        let current = self.sched.current;
        if let Some(me) = self.threads.at_mut(current) {
            me.state = State::Ready;
            let level = me.effective;
            self.enqueue(current, level, true);
        }
        self.hand_over(next);
    }

    /// Makes `next` run in place of the thread that has run.
    #[inline(always)]
    fn hand_over(&mut self, next: ThreadIndex) {
        if let Some(t) = self.threads.at_mut(next) {
            t.state = State::Running;
        }
        self.sched.current = next;
        self.counters.switches += 1;
    }

    /// `yield` where at most one other thread is ready at the same level.
    pub fn direct_yield(&mut self) -> bool {
        self.charge();
        let System { threads, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let level = me.effective;
        if level >= RETURNING || self.releasing != 0 || !sched.account_of(me.task).is_some_and(Account::has_slice) {
            return false;
        }
        let Some(next) = sched.ready.get(usize::from(level)).and_then(Queue::only) else {
            let alone = sched.ready.get(usize::from(level)).is_some_and(Queue::is_empty);
            if alone && let Some(me) = threads.at_mut(current) {
                me.frame.rax = Status::Ok as u64;
            }
            return alone;
        };
        let Some([me, t]) = threads.pair_mut(current, next).filter(|[_, t]| sched.has_left(t)) else { return false };
        if let Some(ready) = sched.ready.get_mut(usize::from(level)) {
            *ready = me.alone;
        }
        me.frame.rax = Status::Ok as u64;
        me.state = State::Ready;
        t.state = State::Running;
        sched.current = next;
        self.counters.switches += 1;
        true
    }
}
