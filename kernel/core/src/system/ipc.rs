//! Calls, replies and leases.
//!
//! A call moves a thread through `Sending` (queued at the endpoint) and `Replying` (received, not
//! answered) back to ready. All data of a queued call is in the caller's own thread: its registers
//! and its leases. So a queue needs no memory, and a reply token is only a name for a thread in a
//! certain call.

use crate::addr::UserAddr;
use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::handles::{Handle, Object};
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::row::Row;
use crate::system::System;
use crate::system::direct::{next_call, thread_of};
use crate::system::release::IN_THE_WAY;
use crate::task::Task;
use crate::thread::{EndpointCache, Lookup, State, Thread, ThreadIndex, TrapFrame};
use abi::Status;
use abi::message::{Header, Kinds, LISTENERS, Lease, MAX_LEASES, ReplyToken, Rights, Sender, pack_transfer};

/// The parts of a sender's frame that belong to a message, to avoid copying the whole frame.
#[derive(Clone, Copy)]
struct Sent {
    header: Header,
    words: [u64; 4],
    /// The number of the handle that is sent, and in the upper 32 bits the rights that the copy
    /// keeps.
    handle: u64,
}

impl Sent {
    #[inline(always)]
    fn of(frame: &TrapFrame) -> Sent {
        Sent { header: Header(frame.rsi), words: frame.words(), handle: frame.r10 }
    }

    /// The number of the handle that is sent, and the rights that the copy keeps.
    #[inline(always)]
    const fn given(self) -> (HandleNumber, u64) {
        (HandleNumber::from_register(self.handle & 0xffff_ffff), self.handle >> 32)
    }
}

impl System {
    /// `call`: the thread calls an endpoint. Its message is in its frame; `leases` were read from
    /// its memory. On success the thread is blocked. Errors: BadHandle, WrongKind, NoRights,
    /// BadArgument, CallOrder, PeerGone, HandleRefused.
    pub fn call(&mut self, thread: ThreadIndex, leases: &[Lease]) -> Result<(), Status> {
        let frame = &self.threads.at(thread).ok_or(Status::BadHandle)?.frame;
        let (number, header) = (frame.handle(), Header(frame.rsi));
        if header.0 & !Header::CALL_MASK != 0 || header.leases() != leases.len() || leases.len() > MAX_LEASES {
            return Err(Status::BadArgument);
        }
        let (id, sender) = self.cache_to_call(thread, number)?;
        self.check_transfer(thread, header)?;
        self.check_taken(id, header)?;
        let endpoint = self.endpoints.get_mut(id).ok_or(Status::BadHandle)?;
        let t = self.threads.at_mut(thread).ok_or(Status::BadHandle)?;
        t.token = next_call(t.token).unwrap_or(ReplyToken::new(thread.number(), 1));
        t.sender = sender;
        t.last_sent = [u32::from(header.label()), number.to_u32()];
        if let Some(slots) = t.leases.get_mut(..leases.len()) {
            slots.copy_from_slice(leases);
        }
        // Threads of a dead server receive nothing.
        let served = self.releasing == 0 || self.tasks.at(endpoint.owner).is_some_and(Task::is_alive);
        match if served { endpoint.receivers.pop(&mut self.threads) } else { None } {
            Some(receiver) => {
                let server = self.row_of(receiver)?;
                self.deliver(thread, receiver, id, true);
                self.block(thread, State::Replying(server));
                self.make_ready(receiver);
            }
            None => {
                self.block(thread, State::Sending(id.index()));
                if let Some(e) = self.endpoints.get_mut(id) {
                    e.senders.push(&mut self.threads, thread);
                }
            }
        }
        Ok(())
    }

    /// `send`: delivers the thread's message if a receiver waits. Errors: BadHandle, WrongKind,
    /// NoRights, BadArgument, PeerGone, HandleRefused, WouldBlock (no receiver waits).
    pub fn send(&mut self, thread: ThreadIndex) -> Result<(), Status> {
        let frame = &self.threads.at(thread).ok_or(Status::BadHandle)?.frame;
        let (number, header) = (frame.handle(), Header(frame.rsi));
        if header.0 & !Header::SEND_MASK != 0 {
            return Err(Status::BadArgument);
        }
        let (id, badge) = self.endpoint_handle(thread, number, Rights::CALL)?;
        self.check_transfer(thread, header)?;
        self.check_taken(id, header)?;
        let endpoint = self.endpoints.get_mut(id).ok_or(Status::BadHandle)?;
        let alive = self.releasing == 0 || self.tasks.at(endpoint.owner).is_some_and(Task::is_alive);
        if !alive && !endpoint.permanent {
            return Err(Status::BadHandle);
        }
        let Some(receiver) = (if alive { endpoint.receivers.pop(&mut self.threads) } else { None }) else {
            return Err(if self.is_open(id) { Status::WouldBlock } else { Status::PeerGone });
        };
        if let Some(t) = self.threads.at_mut(thread) {
            t.sender = Sender { task: t.id, badge }.to_u64();
            t.last_sent = [u32::from(header.label()), number.to_u32()];
        }
        self.deliver(thread, receiver, id, false);
        self.make_ready(receiver);
        Ok(())
    }

    /// `recv`: takes notification bits or a queued call, or blocks the thread. Returns false if
    /// dead callers at the front of the queue used up the step: the caller then calls again.
    /// Errors: BadHandle, WrongKind, NoRights, Busy (too many threads wait for bits).
    pub fn recv(&mut self, thread: ThreadIndex, number: HandleNumber, mask: u64) -> Result<bool, Status> {
        let id = self.cache_to_receive(thread, number)?;
        let endpoint = self.endpoints.get_mut(id).ok_or(Status::BadHandle)?;
        if let Some(bound) = endpoint.bound
            && self.notifications.get(bound).is_some_and(|n| n.word & mask != 0)
        {
            self.deliver_bits(bound, thread, mask);
            return Ok(true);
        }
        if self.releasing != 0 && !self.clear_senders(id) {
            return Ok(false);
        }
        let endpoint = self.endpoints.get_mut(id).ok_or(Status::BadHandle)?;
        match endpoint.senders.pop(&mut self.threads) {
            Some(sender) => {
                let server = self.row_of(thread)?;
                self.deliver(sender, thread, id, true);
                if let Some(t) = self.threads.at_mut(sender) {
                    t.state = State::Replying(server);
                }
            }
            None => {
                let receivers = endpoint.receivers;
                let behind = if mask == 0 { None } else { self.behind_listeners(receivers)? };
                if let Some(t) = self.threads.at_mut(thread) {
                    t.mask = mask;
                }
                self.block(thread, State::Receiving(id.index()));
                if let Some(e) = self.endpoints.get_mut(id) {
                    match behind {
                        Some(next) => e.receivers.insert(&mut self.threads, thread, next),
                        None => e.receivers.push(&mut self.threads, thread),
                    }
                }
            }
        }
        Ok(true)
    }

    /// Removes dead callers from the front of an endpoint's queue. Returns false if some may be
    /// left.
    #[cold]
    fn clear_senders(&mut self, id: Id<Endpoint>) -> bool {
        for _ in 0..IN_THE_WAY {
            match self.endpoints.get(id).and_then(|e| e.senders.front()) {
                Some(sender) if self.is_dead(sender) => self.thread_remove(sender),
                _ => return true,
            }
        }
        false
    }

    /// The first receiver that waits for no bits. A receiver that waits for bits is queued before
    /// it, so that a signal examines no others. Errors: Busy (as many threads wait for bits as
    /// may).
    fn behind_listeners(&self, receivers: Queue) -> Result<Option<ThreadIndex>, Status> {
        let mut next = receivers.front();
        for _ in 0..LISTENERS {
            match next.and_then(|index| self.threads.at(index)) {
                Some(t) if t.mask != 0 => next = next.and_then(|index| receivers.next(&self.threads, index)),
                _ => return Ok(next),
            }
        }
        Err(Status::Busy)
    }

    /// `reply`: answers a caller with the message in the thread's frame. Errors: StaleReply,
    /// BadArgument, BadHandle, WrongKind, NoRights.
    pub fn reply(&mut self, thread: ThreadIndex, token: ReplyToken) -> Result<(), Status> {
        let sent = Sent::of(&self.threads.at(thread).ok_or(Status::BadHandle)?.frame);
        if sent.header.0 & !Header::SEND_MASK != 0 {
            return Err(Status::BadArgument);
        }
        self.check_transfer(thread, sent.header)?;
        let wants = Header(self.waiting(self.row_of(thread)?, token)?.frame.rsi).wants();
        let caller = thread_of(token);
        self.transmit(thread, sent, caller, Kinds::of(wants));
        self.make_ready(caller);
        Ok(())
    }

    /// The thread that a reply token names, if it waits for a reply by the task in this row.
    /// Errors: StaleReply.
    #[inline]
    fn waiting(&self, row: Row, token: ReplyToken) -> Result<&Thread, Status> {
        match self.threads.at(thread_of(token)) {
            Some(t) if token != ReplyToken::NONE && t.token == token && t.state.is_replying(row) => {
                if self.releasing == 0 || self.is_alive(t.task) { Ok(t) } else { Err(Status::StaleReply) }
            }
            _ => Err(Status::StaleReply),
        }
    }

    /// A lease of the caller that a token names and that waits for `server`'s reply: the lending
    /// thread, and the address and length that remain from `offset` on. Errors: StaleReply,
    /// LeaseBounds (no such lease, no such access, offset beyond the end), LeaseFault (the address
    /// overflows).
    #[inline]
    pub fn lease(
        &self,
        server: &Thread,
        token: ReplyToken,
        number: u64,
        offset: u64,
        access: u32,
    ) -> Result<(&Thread, UserAddr, u64), Status> {
        let caller = self.waiting(server.task, token)?;
        let lease = Self::lease_of(caller, number)?;
        let left = u64::from(lease.len).checked_sub(offset).ok_or(Status::LeaseBounds)?;
        if lease.access & access != access {
            return Err(Status::LeaseBounds);
        }
        let addr = UserAddr::new(lease.addr).checked_plus(offset).ok_or(Status::LeaseFault)?;
        Ok((caller, addr, left))
    }

    /// The length in bytes and the access of a lease of the caller that a token names. Errors:
    /// StaleReply, LeaseBounds.
    pub fn lease_info(&self, thread: ThreadIndex, token: ReplyToken, number: u64) -> Result<(u32, u32), Status> {
        let lease = Self::lease_of(self.waiting(self.row_of(thread)?, token)?, number)?;
        Ok((lease.len, lease.access))
    }

    #[inline]
    fn lease_of(caller: &Thread, number: u64) -> Result<Lease, Status> {
        let count = Header(caller.frame.rsi).leases() as u64;
        caller.leases.get(number as usize).filter(|_| number < count).copied().ok_or(Status::LeaseBounds)
    }

    /// Whether an endpoint is served, or will be by the next life of its owner.
    pub(crate) fn is_open(&self, id: Id<Endpoint>) -> bool {
        let Some(e) = self.endpoints.get(id) else { return false };
        let alive = |t: &Task| t.is_alive() || e.permanent && t.expected;
        self.tasks.at(e.owner).is_some_and(alive)
    }

    /// Looks up a handle for `call` and caches the result. Returns the endpoint and the sender
    /// value that it is told. Errors: BadHandle, WrongKind, NoRights, CallOrder, PeerGone.
    pub(crate) fn cache_to_call(
        &mut self,
        thread: ThreadIndex,
        number: HandleNumber,
    ) -> Result<(Id<Endpoint>, u64), Status> {
        let (id, badge) = self.endpoint_handle(thread, number, Rights::CALL)?;
        self.check_order(thread, id)?;
        let t = self.threads.at_mut(thread).ok_or(Status::BadHandle)?;
        let found = Lookup::of(number, self.sched.accounts.get(t.task.index()), id);
        let tells = Sender { task: t.id, badge }.to_u64();
        t.calls = EndpointCache { found, tells, waits: State::Sending(id.index()) };
        Ok((id, tells))
    }

    /// Looks up a handle for `recv` and caches the result. Errors: BadHandle, WrongKind, NoRights.
    pub(crate) fn cache_to_receive(
        &mut self,
        thread: ThreadIndex,
        number: HandleNumber,
    ) -> Result<Id<Endpoint>, Status> {
        let (id, _) = self.endpoint_handle(thread, number, Rights::RECV)?;
        self.endpoints.get_mut(id).ok_or(Status::BadHandle)?.served = true;
        let t = self.threads.at_mut(thread).ok_or(Status::BadHandle)?;
        let found = Lookup::of(number, self.sched.accounts.get(t.task.index()), id);
        t.receives = EndpointCache { found, tells: 0, waits: State::Receiving(id.index()) };
        Ok(id)
    }

    /// Checks that a call goes to a more important task or stays within the task, which excludes
    /// cycles of callers. Errors: BadHandle, CallOrder, PeerGone.
    pub(crate) fn check_order(&self, thread: ThreadIndex, id: Id<Endpoint>) -> Result<(), Status> {
        let row = self.row_of(thread)?;
        let there = self.endpoints.get(id).filter(|e| self.exists(e.owner, e.permanent));
        let owner = there.ok_or(Status::BadHandle)?.owner;
        let caller = self.task(row)?;
        let server = self.task(owner)?;
        if owner != row && !caller.may_call(server) {
            return Err(Status::CallOrder);
        }
        if self.is_open(id) { Ok(()) } else { Err(Status::PeerGone) }
    }

    /// `endpoint_takes`: sets the kinds of handles that requests may bring to an endpoint. Errors:
    /// BadHandle, WrongKind, NoRights, BadArgument.
    pub fn endpoint_takes(&mut self, thread: ThreadIndex, number: HandleNumber, kinds: u64) -> Result<(), Status> {
        let (id, _) = self.endpoint_handle(thread, number, Rights::RECV)?;
        let kinds = u8::try_from(kinds).ok().and_then(Kinds::from_bits).ok_or(Status::BadArgument)?;
        let endpoint = self.endpoints.get_mut(id).ok_or(Status::BadHandle)?;
        (endpoint.takes, endpoint.served) = (kinds, true);
        Ok(())
    }

    /// Checks the handle that a message is to bring, before anything is changed. Errors: BadHandle,
    /// WrongKind, NoRights.
    fn check_transfer(&self, thread: ThreadIndex, header: Header) -> Result<(), Status> {
        if header.has_handle() {
            let t = self.threads.at(thread).ok_or(Status::BadHandle)?;
            let (number, rights) = Sent::of(&t.frame).given();
            let handle = self.handle_derive(t.task, number, rights)?;
            if header.handle() != Some(handle.object.kind()) {
                return Err(Status::WrongKind);
            }
        }
        Ok(())
    }

    /// Checks that an endpoint takes the handle that a message brings, if any. Errors:
    /// HandleRefused.
    fn check_taken(&self, id: Id<Endpoint>, header: Header) -> Result<(), Status> {
        let refused = |e: &Endpoint| e.served && !e.takes.contains(Kinds::of(header.handle()));
        if header.has_handle() && self.endpoints.get(id).is_none_or(refused) {
            return Err(Status::HandleRefused);
        }
        Ok(())
    }

    /// Completes the `recv` of `receiver` at an endpoint with the message of `sender`.
    fn deliver(&mut self, sender: ThreadIndex, receiver: ThreadIndex, at: Id<Endpoint>, call: bool) {
        let Some(s) = self.threads.at(sender) else { return };
        let (sent, from) = (Sent::of(&s.frame), s.sender);
        let token = if call { s.token } else { ReplyToken::NONE };
        let takes = self.endpoints.get(at).map_or(Kinds::empty(), |e| e.takes);
        self.transmit(sender, sent, receiver, takes);
        if let Some(r) = self.threads.at_mut(receiver) {
            r.frame.rdi = from;
            r.frame.r8 = token.0;
            r.last_received = [u32::from(sent.header.label()), from as u32];
        }
    }

    /// Copies header, words and handle of a message from thread `from` into the frame of thread
    /// `to`, whose system call returns them. `takes` are the kinds of handles that `to` accepts.
    fn transmit(&mut self, from: ThreadIndex, sent: Sent, to: ThreadIndex, takes: Kinds) {
        let mut header = sent.header.0 & Header::CALL_MASK;
        let mut arrived = 0;
        if Header(header).has_handle() {
            match self.transfer(from, sent, to, takes) {
                Ok(handle) => arrived = handle,
                Err(Status::HandleRefused) => header = header & !Header::HANDLE | Header::HANDLE_REFUSED,
                Err(_) => header = header & !Header::HANDLE | Header::HANDLE_LOST,
            }
        }
        if let Some(t) = self.threads.at_mut(to) {
            t.frame.receive(0, header, sent.words, 0, arrived);
        }
    }

    /// Gives the receiving thread's task a copy of a handle, and returns the number packed with its
    /// rights. Errors: HandleRefused, and those for a handle or object that has changed since the
    /// message was sent, or for a full table of handles.
    #[cold]
    fn transfer(&mut self, from: ThreadIndex, sent: Sent, to: ThreadIndex, takes: Kinds) -> Result<u64, Status> {
        let kind = sent.header.handle();
        if !takes.contains(Kinds::of(kind)) || Kinds::of(kind).is_empty() {
            return Err(Status::HandleRefused);
        }
        let (from_row, to_row) = (self.row_of(from)?, self.row_of(to)?);
        let (number, rights) = sent.given();
        let mut copy: Handle = self.handle_derive(from_row, number, rights)?;
        if kind != Some(copy.object.kind()) {
            return Err(Status::WrongKind);
        }
        // Only its own task may wait on a permanent notification: another would take its
        // heartbeats, and would keep waiting across its lives.
        if let Object::Notification(id) = copy.object
            && from_row != to_row
            && self.notifications.get(id).is_some_and(|n| n.permanent)
        {
            copy.rights -= Rights::WAIT;
        }
        Ok(pack_transfer(self.handle_insert(to_row, copy)?.to_u32(), copy.rights))
    }
}
