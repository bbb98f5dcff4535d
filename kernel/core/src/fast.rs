//! The fast paths of `call` and `reply_recv`: words alone, and the one that waits runs at once.
//!
//! They look first and change something only where everything holds that lets the general path ([`System::call`],
//! [`System::reply`], [`System::recv`], [`System::schedule`]) do just that: nothing lent, no handle on its way, one partner waits, and
//! nobody ready is as important as it is. Then they do the same to the state, without queues in between. A test compares both in
//! many states of a small system, and another tries each check.

use crate::handles::Object;
use crate::queue::{Link, Queue};
use crate::sched::Turn;
use crate::system::System;
use crate::thread::{State, Thread};
use abi::Status;
use abi::message::{ReplyToken, Rights, Sender};
use abi::task::TaskState;

/// A header that is only a label: no leases, no handle.
const LABEL: u64 = 0xffff;

impl System {
    /// `call` by the running thread. Returns the thread that runs now, the server's; `None`: nothing has changed, the general path
    /// decides.
    #[inline]
    pub fn fast_call(&mut self, thread: u16) -> Option<u16> {
        let System { tasks, threads, endpoints, sched, counters, calls, now, .. } = self;
        let t = threads.at(thread)?;
        let row = t.task;
        let task = tasks.get(row as usize)?;
        let handle = task.handles.get(t.frame.rdi).ok()?;
        let Object::Endpoint(id) = handle.object else { return None };
        let endpoint = endpoints.get_mut(id)?;
        let (owner, receiver) = (endpoint.owner, endpoint.receivers.only()?);
        let server = tasks.get(owner as usize)?;
        if t.frame.rsi & !LABEL != 0
            || !handle.rights.contains(Rights::CALL)
            || owner != row && !task.may_call(server)
            || server.state != TaskState::Running
        {
            return None;
        }
        let (t, r) = threads.pair_mut(thread, receiver)?;
        let turn = sched.turn(*now, r, server.threads)?;

        let from = task.id(row);
        *calls = (*calls + 1) & 0xffff_ffff_ffff;
        t.call = *calls;
        t.badge = handle.badge;
        t.last_sent = [t.frame.rsi as u32, t.frame.rdi as u32];
        t.state = State::Replying(owner);
        endpoint.receivers = Queue::default();
        r.link = Link::UNLINKED;
        r.frame.rdi = Sender { task: from, badge: handle.badge }.to_u64();
        r.frame.r12 = ReplyToken::new(thread, *calls).0;
        r.last_received = [t.frame.rsi as u32, from.to_u32()];
        arrive(t, r, turn);
        let spent = sched.hand_over(*now, t, receiver);
        counters.switches += 1;
        tasks.get_mut(row as usize)?.cpu += spent;
        Some(receiver)
    }

    /// `reply_recv` by the running thread. Returns the thread that runs now, the caller that it answered, while it waits in `recv`
    /// itself; `None`: nothing has changed, the general path decides.
    #[inline]
    pub fn fast_reply_recv(&mut self, thread: u16) -> Option<u16> {
        let System { tasks, threads, endpoints, notifications, sched, counters, now, .. } = self;
        let t = threads.at(thread)?;
        let (row, token, mask) = (t.task, ReplyToken(t.frame.r12), t.frame.r14);
        let handle = tasks.get(row as usize)?.handles.get(t.frame.rdi).ok()?;
        let Object::Endpoint(id) = handle.object else { return None };
        let endpoint = endpoints.get_mut(id)?;
        if t.frame.rsi & !LABEL != 0
            || !handle.rights.contains(Rights::RECV)
            || !endpoint.senders.is_empty()
            || !endpoint.receivers.is_empty()
            || endpoint.bound.and_then(|n| notifications.get(n)).is_some_and(|n| n.word & mask != 0)
        {
            return None;
        }
        let caller = token.thread();
        let (t, c) = threads.pair_mut(thread, caller)?;
        if token == ReplyToken::NONE || c.call != token.call() || c.state != State::Replying(row) {
            return None;
        }
        let turn = sched.turn(*now, c, tasks.get(c.task as usize)?.threads)?;

        t.mask = mask;
        t.state = State::Receiving(id);
        endpoint.receivers = Queue::of(thread);
        t.link = Link::UNLINKED;
        arrive(t, c, turn);
        let spent = sched.hand_over(*now, t, caller);
        counters.switches += 1;
        tasks.get_mut(row as usize)?.cpu += spent;
        Some(caller)
    }
}

/// Ends a blocked thread's system call with the label and the words of another, and gives it its turn.
#[inline]
fn arrive(from: &Thread, to: &mut Thread, turn: Turn) {
    to.frame.rax = Status::Ok as u64;
    to.frame.rsi = from.frame.rsi;
    to.frame.set_words(from.frame.words());
    to.frame.r13 = 0;
    to.state = State::Running;
    (to.used, to.refill_at, to.effective) = (turn.used, turn.refill_at, turn.effective);
}
