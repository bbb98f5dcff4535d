//! A call that outlives the futures that wait for it.

use super::calls::{CallFuture, Called, Lend};
use super::state::Exec;
use crate::ipc::{CallError, Endpoint, Handle};
use crate::proto::{Ask, Policy};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

/// The most attempts of [`PendingCall::cancel`], a millisecond apart.
const TRIES: usize = 1_000;

/// Holds one call. If the server dies over it, it is repeated as its policy says. A future that
/// waits for its end may be cancelled: the call continues, and the next future to wait gets the
/// result. So a client that keeps one is cancel-safe: nothing that a server took or gave is lost
/// with a future.
#[derive(Debug)]
pub struct PendingCall {
    exec: Exec,
    call: Option<CallFuture>,
    /// The server, and the arguments of the call.
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
    handle: Option<Handle>,
    policy: Policy,
    tried: u32,
}

/// The policy of a request that may be repeated any number of times.
const REPEATED: Policy = Policy { tries: u32::MAX, numbered: false };

impl PendingCall {
    /// A holder for calls of this server, without a call.
    pub fn new(exec: &Exec, endpoint: Endpoint) -> PendingCall {
        PendingCall {
            exec: exec.clone(),
            call: None,
            endpoint,
            label: 0,
            words: [0; 4],
            handle: None,
            policy: REPEATED,
            tried: 0,
        }
    }

    /// Whether there is no call, neither in progress nor ended without its result being taken.
    pub fn is_free(&self) -> bool {
        self.call.is_none()
    }

    /// Begins a call like [`Exec::call_with`], of a request that may be repeated. An earlier call
    /// is abandoned, unless [`PendingCall::ended`] has returned its result.
    pub fn begin(&mut self, label: u16, words: [u64; 4], lent: Vec<Lend>) {
        (self.label, self.words, self.handle) = (label, words, None);
        (self.policy, self.tried) = (REPEATED, 0);
        self.make(lent);
    }

    /// Begins the call of a protocol's request. It is repeated as its operation declares. An
    /// earlier call is abandoned.
    pub fn ask<A, R>(&mut self, ask: Ask<A, R>) {
        (self.label, self.words, self.handle) = (ask.label, ask.words, ask.handle);
        (self.policy, self.tried) = (ask.policy, 0);
        self.make(ask.lent);
    }

    fn make(&mut self, lent: Vec<Lend>) {
        self.tried = self.tried.saturating_add(1);
        let call = self.exec.call_passing(self.endpoint, self.label, self.words, lent, self.handle);
        self.call.insert(call).begin();
    }

    /// Waits for the end of the call and returns its result; returns `None` at once if there is no
    /// call. If this is cancelled, the call continues.
    pub async fn ended(&mut self) -> Option<Called> {
        poll_fn(|context| {
            while let Some(call) = &mut self.call {
                let Poll::Ready(called) = Pin::new(call).poll(context) else { return Poll::Pending };
                self.call = None;
                match called.reply {
                    Err(CallError::Died { .. }) if self.policy.asks_again(self.tried) => self.make(called.lent),
                    _ => return Poll::Ready(Some(called)),
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    /// Ends the call without a future, such as in a `drop`. If the server has received it, a
    /// request with this label, which the server must answer with outcome 0, makes the server
    /// answer the call, and the thread waits for that. Returns the result of the call, if it has
    /// one.
    pub fn cancel(&mut self, label: u16) -> Option<Called> {
        let mut call = self.call.take()?;
        for _ in 0..TRIES {
            if let Ok(end) = call.end() {
                return end;
            }
            match self.endpoint.call(label, [0; 4]) {
                Ok(reply) if reply.label == 0 => {}
                Err(CallError::Died { .. }) => {}
                _ => return None,
            }
            if let Ok(end) = call.end() {
                return end;
            }
            // The thread that makes the call has not sent it yet, or has not returned from it.
            crate::time::sleep_ms(1);
        }
        None
    }
}
