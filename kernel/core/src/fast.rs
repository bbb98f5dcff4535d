//! The fast paths of `call` and `reply_recv`: words alone, and the one that waits runs at once.
//!
//! They look first and change something only where everything holds that lets the general path ([`System::call`],
//! [`System::reply`], [`System::recv`], [`System::schedule`]) do just that: nothing lent, no handle on its way, the partner waits, and
//! nobody ready is as important as it is. Then they do the same to the state, without queues in between; a test compares both in every state
//! that the search over short sequences reaches.

use crate::handles::Object;
use crate::sched::BACKGROUND;
use crate::system::{Endpoint, System};
use crate::thread::{Frame, State, Thread};
use abi::Status;
use abi::message::{ReplyToken, Rights, Sender};
use abi::task::TaskState;

/// A header that is only a label: no leases, no handle.
const LABEL: u64 = 0xffff;

/// How a thread that was blocked comes to its turn: the budget that it has now.
struct Turn {
    used: u64,
    refill_at: u64,
    effective: u8,
}

impl System {
    /// `call` by the running thread. `true`: it is done, and the server runs. `false`: nothing has changed, the general path decides.
    #[inline]
    pub fn fast_call(&mut self, thread: u16) -> bool {
        self.try_call(thread).is_some()
    }

    #[inline]
    fn try_call(&mut self, thread: u16) -> Option<()> {
        let t = self.threads.at(thread)?;
        let (row, number, header, words) = (t.task, t.frame.rdi, t.frame.rsi, t.frame.words());
        let task = self.tasks.get(row as usize)?;
        let handle = task.handles.get(number).ok()?;
        let Object::Endpoint(id) = handle.object else { return None };
        let endpoint = self.endpoints.get(id)?;
        let receiver = endpoint.receivers.front()?;
        let owner = endpoint.owner;
        let server = self.tasks.get(owner as usize)?;
        if header & !LABEL != 0
            || !handle.rights.contains(Rights::CALL)
            || owner != row && !task.may_call(server)
            || server.state != TaskState::Running
        {
            return None;
        }
        let turn = self.turn(receiver)?;
        let from = Sender { task: task.id(row), badge: handle.badge };

        self.charge();
        self.calls = (self.calls + 1) & 0xffff_ffff_ffff;
        let call = self.calls;
        let t = self.threads.at_mut(thread)?;
        t.call = call;
        t.badge = handle.badge;
        t.last_sent = [header as u32, number as u32];
        t.state = State::Replying(owner);
        self.endpoints.get_mut(id)?.receivers.pop(&mut self.threads);
        let r = self.threads.at_mut(receiver)?;
        r.frame.rdi = from.to_u64();
        r.frame.r12 = ReplyToken::new(thread, call).0;
        r.last_received = [header as u32, from.task.to_u32()];
        arrive(r, header, words, turn);
        self.run(receiver);
        Some(())
    }

    /// `reply_recv` by the running thread. `true`: it waits in `recv`, and the caller that it answered runs. `false`: nothing has
    /// changed, the general path decides.
    #[inline]
    pub fn fast_reply_recv(&mut self, thread: u16) -> bool {
        self.try_reply_recv(thread).is_some()
    }

    #[inline]
    fn try_reply_recv(&mut self, thread: u16) -> Option<()> {
        let t = self.threads.at(thread)?;
        let Frame { rdi: number, rsi: header, r12: token, r14: mask, .. } = t.frame;
        let (row, words) = (t.task, t.frame.words());
        let handle = self.tasks.get(row as usize)?.handles.get(number).ok()?;
        let Object::Endpoint(id) = handle.object else { return None };
        let endpoint = self.endpoints.get(id)?;
        let caller = self.caller(thread, ReplyToken(token)).ok()?;
        if header & !LABEL != 0
            || !handle.rights.contains(Rights::RECV)
            || !endpoint.senders.is_empty()
            || self.pending(endpoint, mask)
        {
            return None;
        }
        let turn = self.turn(caller)?;

        self.charge();
        let t = self.threads.at_mut(thread)?;
        t.mask = mask;
        t.state = State::Receiving(id);
        self.endpoints.get_mut(id)?.receivers.push(&mut self.threads, thread);
        arrive(self.threads.at_mut(caller)?, header, words, turn);
        self.run(caller);
        Some(())
    }

    /// Whether a `recv` with this mask would return bits of the bound notification.
    #[inline]
    fn pending(&self, endpoint: &Endpoint, mask: u64) -> bool {
        endpoint.bound.and_then(|n| self.notifications.get(n)).is_some_and(|n| n.word & mask != 0)
    }

    /// The turn of a blocked thread, if it would run before everyone who is ready.
    #[inline]
    fn turn(&self, index: u16) -> Option<Turn> {
        let t = self.threads.at(index)?;
        let turn = if self.now >= t.refill_at {
            Turn { used: 0, refill_at: self.now + self.sched.period(), effective: t.priority }
        } else if t.used >= self.slice_of(index) {
            Turn { used: 0, refill_at: t.refill_at, effective: BACKGROUND }
        } else {
            Turn { used: t.used, refill_at: t.refill_at, effective: t.effective }
        };
        self.sched.best().is_none_or(|best| turn.effective < best).then_some(turn)
    }

    /// Makes a thread that was blocked the running one, as [`System::schedule`] does.
    #[inline]
    fn run(&mut self, index: u16) {
        self.sched.hand_over(index);
        self.counters.switches += 1;
    }
}

/// Ends a blocked thread's system call with a message of words, and gives it the core.
#[inline]
fn arrive(t: &mut Thread, header: u64, words: [u64; 4], turn: Turn) {
    t.frame.rax = Status::Ok as u64;
    t.frame.rsi = header;
    t.frame.set_words(words);
    t.frame.r13 = 0;
    t.state = State::Running;
    (t.used, t.refill_at, t.effective) = (turn.used, turn.refill_at, turn.effective);
}
