//! The server side of protocols.

use super::client::Refuse;
use super::words::{Unpack, Words, to_words};
use super::{BAD_LEASE, BAD_REQUEST, BUSY, CANCELLED, Sender};
use crate::callers::{Callers, Ready};
use crate::driver::Answer;
use crate::ipc::{Pending, Request};
use abi::message::{Lease, ReplyToken};
use abi::{Status, TaskId};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::RangeBounds;

/// The sender of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The sending task, in its life.
    pub task: TaskId,
    /// The badge of the handle that the sender used.
    pub badge: u32,
    /// The number of the request, if its operation is numbered; otherwise 0.
    pub number: u64,
}

/// A call whose reply may be deferred.
#[derive(Debug)]
#[must_use = "the caller waits for the answer"]
pub struct Call<A, R> {
    /// The sender.
    pub from: Asker,
    pending: Pending,
    answer: PhantomData<fn(A, R)>,
}

/// The right to answer a call whose reply was deferred. If it is dropped, the call is answered with
/// [`CANCELLED`], so that no caller waits for ever.
#[derive(Debug)]
#[must_use = "the caller waits for the answer"]
pub struct Deferred<A, R> {
    /// `None` once the call is answered.
    pending: Option<Pending>,
    answer: PhantomData<fn(A, R)>,
}

impl<A, R> Drop for Deferred<A, R> {
    fn drop(&mut self) {
        // On the host a simulated death unwinds; a task that dies runs no destructors.
        #[cfg(not(target_os = "none"))]
        if std::thread::panicking() {
            return;
        }
        if let Some(pending) = self.pending.take() {
            // A caller that no longer waits needs no reply.
            let _ = pending.reply(CANCELLED, [0; 4]);
        }
    }
}

/// What a method returns for a call: an answer, or the proof that the reply is deferred.
#[derive(Debug)]
#[must_use = "the caller waits for the answer"]
pub struct Outcome<A, R> {
    now: Answer,
    answer: PhantomData<fn(A, R)>,
}

#[inline(always)]
fn encoded<A: Words, R: Refuse>(result: Result<A, R>) -> Answer {
    match result {
        Ok(answer) => Answer::ok(to_words(&answer)),
        Err(refusal) => refusal.encode(),
    }
}

impl<A: Words, R: Refuse> Call<A, R> {
    /// Defers the reply: returns the right to answer later, and what the method must return.
    pub fn defer(self) -> (Deferred<A, R>, Outcome<A, R>) {
        let deferred = Deferred { pending: Some(self.pending), answer: PhantomData };
        (deferred, Outcome { now: Answer::Deferred, answer: PhantomData })
    }
}

impl<A: Words, R: Refuse> Deferred<A, R> {
    /// Whether the caller still waits.
    pub fn is_awaited(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.lease_len(0) != Err(Status::StaleReply))
    }

    /// Answers the call.
    ///
    /// # Errors
    /// [`Status::StaleReply`] if the caller no longer waits.
    pub fn answer(mut self, result: Result<A, R>) -> Result<(), Status> {
        match (self.pending.take(), encoded(result)) {
            (Some(pending), Answer::Reply(label, words)) => pending.reply(label, words),
            _ => Ok(()),
        }
    }
}

impl<A: Words, R: Refuse> From<Result<A, R>> for Outcome<A, R> {
    #[inline(always)]
    fn from(result: Result<A, R>) -> Self {
        Outcome { now: encoded(result), answer: PhantomData }
    }
}

/// A type that a server's method may return.
pub trait Respond {
    /// The answer for the driver's loop.
    fn respond(self) -> Answer;
}

impl<A: Words, R: Refuse> Respond for Result<A, R> {
    #[inline(always)]
    fn respond(self) -> Answer {
        encoded(self)
    }
}

impl<A, R> Respond for Outcome<A, R> {
    #[inline(always)]
    fn respond(self) -> Answer {
        self.now
    }
}

/// A type by which a method may take the sender: [`Asker`], or a [`Call`].
pub trait FromCall {
    /// Makes it from a request and its number.
    fn from_call(request: &Request, number: u64) -> Self;
}

impl FromCall for Asker {
    #[inline(always)]
    fn from_call(request: &Request, number: u64) -> Self {
        let Sender { task, badge } = request.sender;
        Asker { task, badge, number }
    }
}

impl<A, R> FromCall for Call<A, R> {
    #[inline(always)]
    fn from_call(request: &Request, number: u64) -> Self {
        Call { from: Asker::from_call(request, number), pending: request.pending(), answer: PhantomData }
    }
}

/// Memory that the caller lends for reading until its call is answered.
#[derive(Clone, Copy, Debug)]
pub struct In(Lent);

/// Memory that the caller lends for writing until its call is answered.
#[derive(Clone, Copy, Debug)]
pub struct Out(Lent);

#[derive(Clone, Copy, Debug)]
struct Lent {
    token: ReplyToken,
    lease: usize,
    len: u32,
}

impl In {
    /// The number of bytes lent.
    pub fn len(&self) -> u32 {
        self.0.len
    }

    /// Whether no byte is lent.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Copies from `offset` on, until `buffer` is full or the memory ends; returns the number of
    /// bytes.
    ///
    /// # Errors
    /// The errors of [`Pending::read`].
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Status> {
        crate::ipc::read(self.0.token, self.0.lease, offset, buffer)
    }

    /// A copy of all bytes. Its size is within the bounds that the operation declares.
    ///
    /// # Errors
    /// The errors of [`Pending::read`].
    pub fn to_vec(&self) -> Result<Vec<u8>, Status> {
        let mut bytes = vec![0; self.0.len as usize];
        let read = self.read(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The bytes as text; `None` if they are not UTF-8, or cannot be read.
    pub fn text(&self) -> Option<String> {
        String::from_utf8(self.to_vec().ok()?).ok()
    }
}

impl Out {
    /// The number of bytes lent.
    pub fn len(&self) -> u32 {
        self.0.len
    }

    /// Whether no byte is lent.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Whether the memory is still lent, which is until the caller no longer waits.
    pub fn is_lent(&self) -> bool {
        crate::ipc::lease_info(self.0.token, self.0.lease).is_ok()
    }

    /// Copies all of `bytes` to the memory from `offset` on.
    ///
    /// # Errors
    /// The errors of [`Pending::write_all`].
    pub fn write_all(&self, offset: usize, bytes: &[u8]) -> Result<(), Status> {
        Pending { token: self.0.token }.write_all(self.0.lease, offset, bytes)
    }
}

/// Decodes the arguments of a request, and refuses those that are not as declared.
#[derive(Debug)]
pub struct Args<'a> {
    request: &'a Request,
    words: Unpack,
    leases: usize,
}

impl<'a> Args<'a> {
    /// Begins with a request, which must have this number of leases.
    ///
    /// # Errors
    /// [`BAD_REQUEST`] if it has another number of leases.
    #[inline(always)]
    pub fn new(request: &'a Request, leases: usize) -> Result<Self, u16> {
        if request.leases != leases {
            return Err(BAD_REQUEST);
        }
        Ok(Args { request, words: Unpack::new(request.words), leases: 0 })
    }

    /// The next value; each argument begins a new word.
    ///
    /// # Errors
    /// [`BAD_REQUEST`] if it is not a valid value of the type.
    #[inline(always)]
    pub fn word<T: Words>(&mut self) -> Result<T, u16> {
        self.words.whole();
        T::unpack(&mut self.words).ok_or(BAD_REQUEST)
    }

    #[inline(always)]
    fn lent(&mut self, access: u32, bounds: impl RangeBounds<usize>) -> Result<Lent, u16> {
        let lease = self.leases;
        self.leases += 1;
        lent(self.request.token, lease, access, bounds)
    }

    /// The next lease, for reading.
    ///
    /// # Errors
    /// [`BAD_LEASE`] if it is not readable, or its length is out of bounds.
    #[inline(always)]
    pub fn lent_in(&mut self, bounds: impl RangeBounds<usize>) -> Result<In, u16> {
        self.lent(Lease::READ, bounds).map(In)
    }

    /// The next lease, for writing.
    ///
    /// # Errors
    /// [`BAD_LEASE`] if it is not writable, or its length is out of bounds.
    #[inline(always)]
    pub fn lent_out(&mut self, bounds: impl RangeBounds<usize>) -> Result<Out, u16> {
        self.lent(Lease::WRITE, bounds).map(Out)
    }
}

/// A lease of a request. It does not take `Args`, so that the arguments can stay in registers.
fn lent(token: ReplyToken, lease: usize, access: u32, bounds: impl RangeBounds<usize>) -> Result<Lent, u16> {
    match crate::ipc::lease_info(token, lease) {
        Ok((len, granted)) if granted & access == access && bounds.contains(&len) => {
            Ok(Lent { token, lease, len: u32::try_from(len).map_err(|_| BAD_LEASE)? })
        }
        _ => Err(BAD_LEASE),
    }
}

/// Calls of one operation that wait for deferred replies, in the order of their arrival: a typed
/// form of [`Callers`], by default with one call of each task. [`protocol!`](crate::protocol)
/// declares a `Queue` with the protocol's refusals.
///
/// ```
/// use rt::proto::Asker;
/// use rt::testing::Harness;
/// use rt::{Bit, Driver};
///
/// mod bell {
///     rt::protocol! {
///         /// A bell.
///         pub protocol bell;
///         refusals {}
///         /// Waits until the bell rings; how often it has.
///         [1 idempotent later] fn wait() -> u64;
///         /// Rings it.
///         [2 once] fn ring();
///     }
/// }
///
/// #[derive(Default)]
/// struct Bell { rung: u64, waiting: bell::Queue<(), u64> }
///
/// impl Driver for Bell {
///     fn init() -> Self { Bell::default() }
/// }
///
/// impl bell::Server for Bell {
///     fn wait(&mut self, call: bell::Call<u64>) -> bell::Outcome<u64> {
///         // Nothing to answer yet: it waits.
///         self.waiting.ask(call, (), |_, ()| None)
///     }
///     fn ring(&mut self, _: Asker) -> Result<(), bell::Refusal> {
///         self.rung += 1;
///         self.waiting.serve(|_, ()| Some(Ok(self.rung)));
///         Ok(())
///     }
/// }
///
/// let driver = Harness::new("bell").start::<rt::proto::Served<Bell, bell::Protocol>>();
/// let asked = driver.ask(0, bell::label::wait, [0; 4], Vec::new());
/// bell::Client::new(driver.client(1)).ring()?;
/// assert!(driver.answer(asked).is_some(), "it has rung");
/// # Ok::<(), bell::Error>(())
/// ```
#[derive(Debug)]
pub struct Queue<W, A, R> {
    callers: Callers<W>,
    answer: PhantomData<fn(A, R)>,
}

impl<W, A, R> Default for Queue<W, A, R> {
    fn default() -> Self {
        Queue::several(1)
    }
}

impl<W, A, R> Queue<W, A, R> {
    /// Allows up to `most` waiting calls of each task: see [`Callers::several`].
    pub fn several(most: usize) -> Self {
        Queue { callers: Callers::several(most), answer: PhantomData }
    }
}

fn ready<A: Words, R: Refuse>(result: Option<Result<A, R>>) -> Option<Ready> {
    match encoded(result?) {
        Answer::Reply(label, words) => Some((label, words)),
        _ => None,
    }
}

impl<W, A: Words, R: Refuse> Queue<W, A, R> {
    /// Whether no call waits.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Answers a call at once if `serve` returns an answer; otherwise the reply is deferred until
    /// [`Queue::serve`]. See [`Callers::ask`].
    pub fn ask(
        &mut self,
        call: Call<A, R>,
        what: W,
        serve: impl FnOnce(TaskId, &mut W) -> Option<Result<A, R>>,
    ) -> Outcome<A, R> {
        let Call { from, pending, .. } = call;
        let now = self.callers.ask_of(from.task, pending, what, BUSY, |own| ready(serve(own.task, &mut own.what)));
        Outcome { now, answer: PhantomData }
    }

    /// Does what [`Queue::ask`] does, for calls that are served in the order of their arrival: a
    /// call waits behind all that wait already.
    pub fn ask_in_turn(
        &mut self,
        call: Call<A, R>,
        what: W,
        serve: impl FnOnce(TaskId, &mut W) -> Option<Result<A, R>>,
    ) -> Outcome<A, R> {
        let first = self.is_empty();
        self.ask(call, what, |task, what| if first { serve(task, what) } else { None })
    }

    /// Answers the waiting calls in their order, up to the first for which `serve` returns no
    /// answer yet.
    ///
    /// A client that has died is not told to the server, so its call waits like the others, until
    /// its answer, which goes nowhere, or until the client's next life asks. `serve` is called for
    /// it, too: `In::read` and `Out::write_all` fail then with [`Status::StaleReply`], and an answer
    /// of any kind removes the call. Where serving takes something away (elements of a ring, a
    /// turn at a device), ask [`Out::is_lent`] before.
    pub fn serve(&mut self, mut serve: impl FnMut(TaskId, &mut W) -> Option<Result<A, R>>) {
        self.callers.serve(|own| ready(serve(own.task, &mut own.what)));
    }

    /// Answers the task's longest-waiting call with `result`, if there is one.
    pub fn end(&mut self, task: TaskId, result: Result<A, R>) {
        if let Some(own) = self.callers.take(task) {
            let _ = Deferred { pending: Some(own.pending), answer: PhantomData }.answer(result);
        }
    }
}
