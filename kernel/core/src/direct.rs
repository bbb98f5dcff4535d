//! What happens most often, done at once where nothing is in the way: without the queues of the scheduler, and without a second look at what is
//! known. Each operation here looks first, and changes something only where it does what the general one ([`System::call`], [`System::reply`] and
//! [`System::recv`], [`System::signal`], [`System::interrupt`], [`System::yield_now`], [`System::tick`], each followed by
//! [`System::schedule`]) would do. Otherwise it returns false, and nothing has changed but that whoever runs has been charged for the time up to now,
//! which the general one would do first.
//!
//! [`System::direct_call`] and [`System::direct_reply`] exist twice: in a kernel without the feature `plain` assembly does the same, with the message in
//! the processor's registers (`kernel/src/arch/message.rs`). What stands here is what that must do, step by step; a test runs both, and the
//! general path, in many states.
//!
//! What they rely on ([`crate::check`] has each as a rule):
//!
//! - A [`EndpointCache`] is good while its task has closed no handle since, and the endpoint is of the same generation.
//! - A queue holds threads that are there. A dead task's account is withheld, so that none of its threads seems to have something left.
//! - A thread that waits runs on the slice of its task's account, at its priority, or on the turn, at the background level.
//! - A thread alone in a queue is not linked to any other, nor is one that is in none: the running one.
//! - Nobody waits for bits that are set, and an endpoint knows those of the notification that is bound to it.
//! - Who waits for a message or for an answer came by a system call: it can be left to by `sysret`, at an address below the end of user space.
//! - While a thread runs nobody ready is more important; while none runs nobody is ready.

use crate::account::Account;
use crate::arena::Id;
use crate::notify::Notification;
use crate::queue::Queue;
use crate::row::Row;
use crate::sched::{BACKGROUND, RETURNING, Scheduler};
use crate::system::System;
use crate::task::Task;
use crate::thread::{EndpointCache, NotificationCache, State, Thread};
use abi::Status;
use abi::message::{Header, MAX_LEASES, ReplyToken, bits};
use abi::task::MAX_TASKS;

/// The highest header that is only a label: no leases, no handle, no wish.
pub const LABEL: u64 = 0xffff;

/// The highest header that names leases besides, and nothing else.
pub const LEASES: u64 = Header::new(u16::MAX).with_leases(MAX_LEASES).0;

/// The name of the next call.
#[inline(always)]
pub(crate) fn next_call(token: ReplyToken) -> Option<ReplyToken> {
    token.0.checked_add(1 << 16).map(ReplyToken)
}

impl Scheduler {
    /// A row's account. There are as many as rows can be: the compiler sees that there is one.
    #[inline(always)]
    fn account_of(&self, row: Row) -> Option<&Account> {
        self.accounts.get(row.index() % MAX_TASKS)
    }

    /// Whether a thread that waits has something left to run on.
    #[inline(always)]
    fn has_left(&self, t: &Thread) -> bool {
        self.account_of(t.task).is_some_and(|account| account.has_left(t.effective == BACKGROUND))
    }

    /// Whether a thread that waits may run at once in place of one that stops: something is left for it, and nobody ready is as important.
    #[inline(always)]
    fn may_follow(&self, t: &Thread) -> bool {
        self.has_left(t) && t.effective < self.best()
    }

    /// Whether a cached lookup of a thread of this row is of this handle, and good as far as the task goes.
    #[inline(always)]
    fn leads(&self, row: Row, cache: &EndpointCache, handle: u64) -> bool {
        cache.handle == handle && self.account_of(row).is_some_and(|a| a.closed() == cache.closed)
    }

    /// Whether a thread of this row knows by this handle to which notification it leads, and whether that holds as far as the task goes.
    #[inline(always)]
    pub(crate) fn is_of(&self, row: Row, cache: &NotificationCache, handle: u64) -> bool {
        cache.handle == handle && self.account_of(row).is_some_and(|a| a.closed() == cache.closed)
    }
}

impl System {
    /// A call without a handle, at whose endpoint one thread waits, which runs at once.
    pub fn direct_call(&mut self) -> bool {
        self.running().is_some_and(|me| me.frame.rsi <= LABEL) && self.call_one()
    }

    /// The same where what is lent is in the running thread's record already, and where nobody waits: then the call is queued, and whoever is
    /// ready runs.
    pub fn direct_call_lending(&mut self) -> bool {
        self.running().is_some_and(|me| me.frame.rsi <= LEASES) && (self.call_one() || self.call_queued())
    }

    #[inline(always)]
    fn call_one(&mut self) -> bool {
        self.charge_short();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.rdi, me.frame.rsi, me.frame.words(), me.calls);
        if !sched.leads(me.task, &cache, number) {
            return false;
        }
        let Some(endpoint) = cache.endpoint().and_then(|id| endpoints.get_mut(id)) else { return false };
        let Some(receiver) = endpoint.receivers.only() else { return false };
        let Some(token) = next_call(me.token) else { return false };
        let Some([me, next]) = threads.pair_mut(current, receiver).filter(|[_, next]| sched.may_follow(next)) else {
            return false;
        };
        let label = Header(header).label().into();
        (me.token, me.state, me.last_sent) = (token, next.awaited, [label, number as u32]);
        (next.state, next.last_received) = (State::Running, [label, cache.tells as u32]);
        next.frame.receive(cache.tells, header, words, token.0, 0);
        endpoint.receivers = Queue::NOBODY;
        sched.current = receiver;
        self.counters.switches += 1;
        true
    }

    /// An answer without a handle to a thread that runs at once, while this one waits for the next message: nobody is in the endpoint's queues,
    /// and none of the bits is set.
    pub fn direct_reply(&mut self) -> bool {
        if self.running().is_none_or(|me| me.frame.rsi > LABEL) {
            return false;
        }
        self.charge_short();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.rdi, me.frame.rsi, me.frame.words(), me.receives);
        let (token, mask, awaited, alone) = (ReplyToken(me.frame.r8), me.frame.r9, me.awaited, me.alone);
        if !sched.leads(me.task, &cache, number) {
            return false;
        }
        let Some(endpoint) = cache.endpoint().and_then(|id| endpoints.get_mut(id)) else { return false };
        if !endpoint.receivers.is_empty() || !endpoint.senders.is_empty() || endpoint.bits & mask != 0 {
            return false;
        }
        let waits = |[_, t]: &[&mut Thread; 2]| t.token == token && t.state == awaited && sched.may_follow(t);
        let Some([me, next]) = threads.pair_mut(current, token.thread()).filter(waits) else { return false };
        (me.mask, me.state) = (mask, cache.waits);
        next.state = State::Running;
        next.frame.receive(0, header, words, 0, 0);
        endpoint.receivers = alone;
        sched.current = token.thread();
        self.counters.switches += 1;
        true
    }

    /// A call without a handle at an endpoint where nobody waits: it is queued, and whoever is ready runs.
    fn call_queued(&mut self) -> bool {
        let System { threads, endpoints, sched, tasks, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, cache) = (me.frame.rdi, me.frame.rsi, me.calls);
        let best = sched.best();
        let there = self.releasing == 0 && best < RETURNING && sched.leads(me.task, &cache, number);
        let Some(endpoint) = cache.endpoint().filter(|_| there).and_then(|id| endpoints.get_mut(id)) else {
            return false;
        };
        let served = tasks.at(endpoint.owner).is_some_and(Task::is_alive);
        let Some(token) = next_call(me.token).filter(|_| served && endpoint.receivers.is_empty()) else { return false };
        let Some(ready) = sched.ready.get(usize::from(best)).and_then(Queue::front) else { return false };
        if !threads.at(ready).is_some_and(|next| sched.has_left(next)) {
            return false;
        }
        if let Some(me) = threads.at_mut(current) {
            (me.token, me.sender, me.state) = (token, cache.tells, cache.waits);
            me.last_sent = [Header(header).label().into(), number as u32];
        }
        endpoint.senders.push(threads, current);
        self.dequeue(ready, best);
        self.hand_over(ready);
        true
    }

    /// An answer without a handle where another call is queued, which is received: the one that is answered runs at once where it is more important
    /// than this thread, which goes on after it; else it is ready.
    pub fn direct_reply_queued(&mut self) -> bool {
        self.charge();
        let System { threads, endpoints, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let (number, header, words, cache) = (me.frame.rdi, me.frame.rsi, me.frame.words(), me.receives);
        let (token, mask, awaited, level) = (ReplyToken(me.frame.r8), me.frame.r9, me.awaited, me.effective);
        if header > LABEL || self.releasing != 0 || !sched.leads(me.task, &cache, number) {
            return false;
        }
        let Some(endpoint) = cache.endpoint().and_then(|id| endpoints.get_mut(id)) else { return false };
        let Some(first) = endpoint.senders.front().filter(|_| endpoint.bits & mask == 0) else { return false };
        let Some(sender) = threads.at(first).filter(|s| !Header(s.frame.rsi).has_handle()) else { return false };
        let (tells, sent, request, call) = (sender.sender, sender.frame.rsi, sender.frame.words(), sender.token.0);
        let client = token.thread();
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

    /// `signal` by the running thread, where nobody waits for the bits, or one who is more important and runs at once.
    pub fn direct_signal(&mut self) -> bool {
        let Some(me) = self.threads.at(self.sched.current) else { return false };
        let (current, number, set, cache) = (self.sched.current, me.frame.rdi, me.frame.rsi, me.signals);
        let may = set & cache.never == 0 && self.sched.is_of(me.task, &cache, number);
        let done = may && self.ring(cache.to(), set);
        if done && let Some(me) = self.threads.at_mut(current) {
            me.frame.rax = Status::Ok as u64;
        }
        done
    }

    /// The interrupt of a line while a thread runs: as [`System::direct_signal`].
    pub fn direct_interrupt(&mut self, line: u8) -> bool {
        let Some(owner) = self.lines.owner(line) else { return false };
        let Some(task) = self.tasks.at(owner.row) else { return false };
        if (task.lose | bits::HEARTBEAT) & owner.bits != 0 {
            return false;
        }
        task.notification.is_some_and(|id| self.ring(id, owner.bits))
    }

    /// Sets bits where nobody waits for any, or where one does, by `wait` or `recv`, who is more important than the running thread, of whose level
    /// nobody is ready.
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
        // One waits, and not for both.
        if queue.head != queue.tail || !waiter.is_empty() && !e.receivers.is_empty() {
            return false;
        }
        let Some([me, t]) = threads.pair_mut(sched.current, queue.head) else { return false };
        let level = me.effective;
        // Whoever runs is charged before the other is looked at: the account may be that of both.
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

    /// A thread runs in place of the running one, which is less important and keeps its turn.
    #[inline(always)]
    fn preempt(&mut self, next: u16) {
        let current = self.sched.current;
        if let Some(me) = self.threads.at_mut(current) {
            me.state = State::Ready;
            let level = me.effective;
            self.enqueue(current, level, true);
        }
        self.hand_over(next);
    }

    /// A thread runs in place of the running one.
    #[inline(always)]
    fn hand_over(&mut self, next: u16) {
        if let Some(t) = self.threads.at_mut(next) {
            t.state = State::Running;
        }
        self.sched.current = next;
        self.counters.switches += 1;
    }

    /// `yield` to the one other thread of the same level, or to nobody.
    pub fn direct_yield(&mut self) -> bool {
        self.charge();
        let System { threads, sched, .. } = self;
        let current = sched.current;
        let Some(me) = threads.at(current) else { return false };
        let level = me.effective;
        if level >= RETURNING || self.releasing != 0 || !sched.has_left(me) {
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

    /// A tick while a thread runs, at which no timer is due and the period goes on, and after which the thread does.
    pub fn direct_tick(&mut self) -> bool {
        if self.clock.ns(self.now) >= self.timers.first || self.now >= self.sched.look_at {
            return false;
        }
        self.charge();
        self.running().is_some_and(|me| self.sched.has_left(me))
    }
}
