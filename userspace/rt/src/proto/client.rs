//! The client side of protocols.

use super::{BAD_REQUEST, Words, from_words};
use crate::driver::Answer;
use crate::exec::{Exec, Lend};
use crate::ipc::{CallError, Endpoint, Handle, Loan, Reply};
use abi::Status;
use abi::message::{Header, Lease};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

/// What a client does when the server dies over a request.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The most tries of a request; `u32::MAX` for any number.
    pub tries: u32,
    /// Whether the request has a number by which the server's next life recognises it.
    pub numbered: bool,
}

impl Policy {
    /// Whether the request is repeated after `tried` tries over each of which the server died.
    pub const fn asks_again(self, tried: u32) -> bool {
        self.tries == u32::MAX || tried < self.tries
    }
}

/// Generates the numbers of an operation's requests: one sequence for all clients of a task, since
/// servers distinguish clients by task.
#[derive(Debug, Default)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// A sequence that starts at 1; 0 is not a number of a request.
    pub const fn new() -> Numbers {
        Numbers(AtomicU64::new(0))
    }

    /// The next number.
    pub fn draw(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Makes a call, and repeats it while the server dies over it, as the policy says.
///
/// # Errors
/// See [`CallError`]; `Died` only if the server died over the last try, too.
#[inline(always)]
pub fn call<const N: usize>(
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
    loans: &mut [Loan<'_>; N],
    handle: Option<Handle>,
    policy: Policy,
) -> Result<Reply, CallError> {
    // Both are known where this is inlined, as is most of what follows.
    if N == 0 && handle.is_none() {
        return repeat(policy, || endpoint.call(label, words));
    }
    let header = handle.map_or(Header::new(label), |handle| Header::new(label).with_handle(handle.kind));
    let transfer = handle.map_or(0, Handle::pack);
    let mut leases = [Lease::default(); N];
    for (lease, loan) in leases.iter_mut().zip(loans.iter_mut()) {
        *lease = loan.lease().ok_or(CallError::Failed(Status::BadArgument))?;
    }
    // SAFETY: the leases were made from borrows that `loans` holds until this returns, for the same
    // access.
    unsafe { call_lending(endpoint, header, words, &leases, transfer, policy) }
}

/// # Safety
/// The errors of [`Endpoint::call_leased`].
unsafe fn call_lending(
    endpoint: Endpoint,
    header: Header,
    words: [u64; 4],
    leases: &[Lease],
    transfer: u64,
    policy: Policy,
) -> Result<Reply, CallError> {
    // SAFETY: the caller's promise is the same.
    repeat(policy, || unsafe { endpoint.call_leased(header, words, leases, transfer) })
}

#[inline(always)]
fn repeat<T>(policy: Policy, mut ask: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    let mut tried = 1_u32;
    loop {
        match ask() {
            Err(CallError::Died { .. }) if policy.asks_again(tried) => tried = tried.saturating_add(1),
            result => return result,
        }
    }
}

/// A request that is ready to be made and owns the memory that it lends, for futures.
#[derive(Debug)]
#[must_use = "it is asked by `Ask::of`, or by a `PendingCall`"]
pub struct Ask<A, R> {
    /// The label.
    pub label: u16,
    /// The data words.
    pub words: [u64; 4],
    /// The memory that is lent.
    pub lent: Vec<Lend>,
    /// The handle that is sent.
    pub handle: Option<Handle>,
    /// What to do when the server dies over the request.
    pub policy: Policy,
    /// Whether the answer is the number of bytes of the memory that were filled.
    filled: bool,
    answer: PhantomData<fn() -> (A, R)>,
}

impl<A: Words, R: Refuse> Ask<A, R> {
    /// A request with this label and these arguments.
    pub fn new(label: u16, words: [u64; 4], lent: Vec<Lend>, handle: Option<Handle>, policy: Policy) -> Self {
        Ask { label, words, lent, handle, policy, filled: false, answer: PhantomData }
    }

    /// Marks the answer as the number of bytes of the memory that were filled; it is limited to the
    /// size of the memory.
    pub fn filling(self) -> Self {
        Ask { filled: true, ..self }
    }

    fn clamp(&self, answer: A) -> A {
        let room = |lend: &Lend| if let Lend::Write(bytes) = lend { bytes.len() } else { 0 };
        if self.filled { answer.at_most(self.lent.iter().map(room).sum()) } else { answer }
    }

    /// Makes the request to this server, and waits for the answer. Also returns the memory that was
    /// lent.
    ///
    /// # Errors
    /// The call failed, or the server refused the request.
    pub async fn of(mut self, exec: &Exec, endpoint: Endpoint) -> (Result<A, Failure<R>>, Vec<Lend>) {
        let mut tried = 1_u32;
        loop {
            let called = exec.call_passing(endpoint, self.label, self.words, self.lent, self.handle).await;
            self.lent = called.lent;
            match called.reply {
                Err(CallError::Died { .. }) if self.policy.asks_again(tried) => tried = tried.saturating_add(1),
                reply => return (answer(reply).map(|answer: A| self.clamp(answer)), self.lent),
            }
        }
    }
}

/// The reasons for which a server refuses a request: the enum that a protocol declares.
pub trait Refuse: Sized {
    /// The reply with this refusal: outcome and words.
    fn encode(self) -> Answer;
    /// The refusal in a reply, the inverse of `encode`.
    fn decode(outcome: u16, words: [u64; 4]) -> Self;
}

/// The reason why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure<R> {
    /// The call failed.
    Call(CallError),
    /// The server refused the request.
    Refused(R),
}

/// The answer in a reply.
///
/// # Errors
/// The call failed, the server refused the request, or the reply is not a valid answer.
#[inline]
pub fn answer<A: Words, R: Refuse>(reply: Result<Reply, CallError>) -> Result<A, Failure<R>> {
    match reply {
        Ok(Reply { label: 0, words, .. }) => {
            from_words(words).ok_or_else(|| Failure::Refused(R::decode(BAD_REQUEST, [0; 4])))
        }
        Ok(Reply { label, words, .. }) => Err(Failure::Refused(R::decode(label, words))),
        Err(error) => Err(Failure::Call(error)),
    }
}
