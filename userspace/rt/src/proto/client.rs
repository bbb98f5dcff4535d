//! What a client is made of.

use super::{BAD_REQUEST, Words, from_words};
use crate::driver::Answer;
use crate::exec::{Exec, Lend};
use crate::ipc::{CallError, Endpoint, Handle, Loan, Reply};
use abi::Status;
use abi::message::{Header, Lease};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

/// What a client does when the server died over a request.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How often it asks at most; `u32::MAX`: as often as it takes.
    pub tries: u32,
    /// The request carries a number by which the server's next life knows it again.
    pub numbered: bool,
}

impl Policy {
    /// Whether it asks again, after this many tries of which the server died over each.
    pub const fn asks_again(self, tried: u32) -> bool {
        self.tries == u32::MAX || tried < self.tries
    }
}

/// Draws the numbers of an operation: one sequence for all clients of a task, since servers tell clients apart by task.
#[derive(Debug, Default)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// From 1 on: 0 is no number.
    pub const fn new() -> Numbers {
        Numbers(AtomicU64::new(0))
    }

    /// The next one.
    pub fn draw(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Makes a call, and again while the server dies over it, as the policy says.
///
/// # Errors
/// See [`CallError`]; `Died` only where the last try ended so.
#[inline(always)]
pub fn call<const N: usize>(
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
    loans: &mut [Loan<'_>; N],
    handle: Option<Handle>,
    policy: Policy,
) -> Result<Reply, CallError> {
    // Known where this is inlined, as is most of what follows.
    if N == 0 && handle.is_none() {
        return repeat(policy, || endpoint.call(label, words));
    }
    let header = handle.map_or(Header::new(label), |handle| Header::new(label).with_handle(handle.kind));
    let transfer = handle.map_or(0, Handle::pack);
    let mut leases = [Lease::default(); N];
    for (lease, loan) in leases.iter_mut().zip(loans.iter_mut()) {
        *lease = loan.lease().ok_or(CallError::Failed(Status::BadArgument))?;
    }
    // SAFETY: the leases were made from borrows that `loans` holds until this returns, for the same access.
    unsafe { call_lending(endpoint, header, words, &leases, transfer, policy) }
}

/// # Safety
/// As of [`Endpoint::call_leased`].
unsafe fn call_lending(
    endpoint: Endpoint,
    header: Header,
    words: [u64; 4],
    leases: &[Lease],
    transfer: u64,
    policy: Policy,
) -> Result<Reply, CallError> {
    // SAFETY: as the caller's.
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

/// A request that is ready to be asked, with memory of its own: what futures ask.
#[derive(Debug)]
#[must_use = "it is asked by `Ask::of`, or by a `PendingCall`"]
pub struct Ask<A, R> {
    /// What is asked.
    pub label: u16,
    /// The data words.
    pub words: [u64; 4],
    /// The memory lent.
    pub lent: Vec<Lend>,
    /// The handle passed along.
    pub handle: Option<Handle>,
    /// What to do when the server dies over it.
    pub policy: Policy,
    /// The answer says how much of the memory was filled.
    filled: bool,
    answer: PhantomData<fn() -> (A, R)>,
}

impl<A: Words, R: Refuse> Ask<A, R> {
    /// A request.
    pub fn new(label: u16, words: [u64; 4], lent: Vec<Lend>, handle: Option<Handle>, policy: Policy) -> Self {
        Ask { label, words, lent, handle, policy, filled: false, answer: PhantomData }
    }

    /// The answer of this request says how much of the memory was filled: never more than there is.
    pub fn filling(self) -> Self {
        Ask { filled: true, ..self }
    }

    fn clamp(&self, answer: A) -> A {
        let room = |lend: &Lend| if let Lend::Write(bytes) = lend { bytes.len() } else { 0 };
        if self.filled { answer.at_most(self.lent.iter().map(room).sum()) } else { answer }
    }

    /// Asks this server, and waits for the answer; returns the memory that was lent as well.
    ///
    /// # Errors
    /// The call failed, or the server refuses.
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

/// Why a request was refused, as a protocol's enum says it.
pub trait Refuse: Sized {
    /// Outcome and words.
    fn encode(self) -> Answer;
    /// The inverse.
    fn decode(outcome: u16, words: [u64; 4]) -> Self;
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure<R> {
    /// The call failed.
    Call(CallError),
    /// The server refused.
    Refused(R),
}

/// What a call came to.
///
/// # Errors
/// The call failed; or the server refused, or answered with what is no answer.
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
