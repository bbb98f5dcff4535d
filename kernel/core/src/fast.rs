//! The fast paths of `call` and `reply_recv`: words alone, and the one that waits runs at once.
//!
//! They look first and change something only where everything holds that lets the general path ([`System::call`],
//! [`System::reply`], [`System::recv`], [`System::schedule`]) do just that: nothing lent, no handle on its way, one partner waits, its
//! budget is neither used up nor due to be filled, and nobody ready is as important as it is. Then they do the same to the
//! state, without queues in between. A test compares both in many states of a small system, and another tries each check.
//!
//! What a handle leads to is looked up once and kept as the thread's [`Route`], until the epoch of the system ends: with every handle that
//! is closed, every death, and every change of what an endpoint is bound to.
//!
//! Label and words never pass through memory: the entry stub moves them from the registers of the one to those of the other.

use crate::arena::Arena;
use crate::queue::{Link, Queue};
use crate::system::System;
use crate::task::Task;
use crate::thread::{FloatState, Route, State, Thread};
use abi::message::{ReplyToken, Rights, Sender};

/// A header that is only a label: no leases, no handle.
const LABEL: u64 = 0xffff;

/// Who runs now, and what the core may want for it.
pub struct Next<'a> {
    /// Its index.
    pub index: u16,
    /// The thread.
    pub thread: &'a Thread,
    /// The task table, for what is seldom wanted of its task.
    pub tasks: &'a [Task],
    /// The same of floating-point registers.
    pub floats: &'a mut Arena<FloatState>,
}

impl System {
    /// `call` by the running thread, by the handle `number`. Returns the thread that runs now, the server's; label and
    /// words are still to be given to it. `None`: nothing has changed, the general path decides.
    #[inline(always)]
    pub fn fast_call(&mut self, number: u64, header: u64) -> Option<Next<'_>> {
        let current = self.sched.current?;
        let route = match self.threads.at(current)?.calls {
            Some(route) if route.handle == number && route.epoch == self.epoch => route,
            _ => self.find_call(current, number)?,
        };
        let System { tasks, threads, floats, endpoints, sched, counters, calls, now, .. } = self;
        let endpoint = endpoints.at_mut(route.endpoint.index())?;
        let receiver = endpoint.receivers.only()?;
        let (t, r) = threads.pair_mut(current, receiver)?;
        if header > LABEL || !sched.is_next(*now, r) {
            return None;
        }
        *calls = (*calls + 1) & 0xffff_ffff_ffff;
        t.call = *calls;
        t.badge = route.badge;
        t.last_sent = [header as u32, number as u32];
        t.state = State::Replying(r.task);
        endpoint.receivers = Queue::default();
        r.link = Link::UNLINKED;
        r.frame.rdi = Sender { task: t.id, badge: route.badge }.to_u64();
        r.frame.r12 = ReplyToken::new(current, *calls).0;
        r.last_received = [header as u32, t.id.to_u32()];
        r.state = State::Running;
        sched.hand_over(*now, t, receiver);
        counters.switches += 1;
        Some(Next { index: receiver, thread: r, tasks, floats })
    }

    /// `reply_recv` by the running thread, at the endpoint `number`. Returns the thread that runs now, the caller that is answered,
    /// while the running thread waits in `recv`; label and words are still to be given. `None`: nothing has changed, the
    /// general path decides.
    #[inline(always)]
    pub fn fast_reply_recv(&mut self, number: u64, header: u64, token: u64, mask: u64) -> Option<Next<'_>> {
        let current = self.sched.current?;
        let route = match self.threads.at(current)?.receives {
            Some(route) if route.handle == number && route.epoch == self.epoch => route,
            _ => self.find_receive(current, number)?,
        };
        let System { tasks, threads, floats, endpoints, notifications, sched, counters, now, .. } = self;
        let endpoint = endpoints.at_mut(route.endpoint.index())?;
        let token = ReplyToken(token);
        let (t, c) = threads.pair_mut(current, token.thread())?;
        if header > LABEL
            || !endpoint.senders.is_empty()
            || !endpoint.receivers.is_empty()
            || route.bound.and_then(|n| notifications.at(n)).is_some_and(|n| n.word & mask != 0)
            || token == ReplyToken::NONE
            || c.call != token.call()
            || !matches!(c.state, State::Replying(row) if row == t.task)
            || !sched.is_next(*now, c)
        {
            return None;
        }
        t.mask = mask;
        t.state = State::Receiving(route.endpoint);
        endpoint.receivers = Queue::of(current);
        t.link = Link::UNLINKED;
        c.state = State::Running;
        sched.hand_over(*now, t, token.thread());
        counters.switches += 1;
        Some(Next { index: token.thread(), thread: c, tasks, floats })
    }

    /// Looks up a handle to call by, as the general path does. `None`: it would refuse.
    #[cold]
    fn find_call(&mut self, thread: u16, number: u64) -> Option<Route> {
        let (endpoint, badge) = self.endpoint_handle(thread, number, Rights::CALL).ok()?;
        self.check_order(thread, endpoint).ok()?;
        let route = Route { epoch: self.epoch, handle: number, endpoint, badge, bound: None };
        self.threads.at_mut(thread)?.calls = Some(route);
        Some(route)
    }

    /// Looks up a handle to receive by, as the general path does. `None`: it would refuse.
    #[cold]
    fn find_receive(&mut self, thread: u16, number: u64) -> Option<Route> {
        let Ok((endpoint, badge)) = self.endpoint_handle(thread, number, Rights::RECV) else { return None };
        let bound = self.endpoints.get(endpoint)?.bound.map(|n| n.index());
        let route = Route { epoch: self.epoch, handle: number, endpoint, badge, bound };
        self.threads.at_mut(thread)?.receives = Some(route);
        Some(route)
    }
}
