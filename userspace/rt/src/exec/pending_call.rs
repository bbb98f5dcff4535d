//! A call that outlives the futures that wait for it.

use super::calls::{CallFuture, Called, Lend};
use super::state::Exec;
use crate::ipc::{CallError, Endpoint, Handle};
use crate::proto::{Ask, Policy};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

/// How often [`PendingCall::cancel`] asks the server, a millisecond apart.
const TRIES: usize = 1_000;

/// Room for one call. While the server dies over it, it is asked again, as the policy of its request says. Whoever waits for its end may be
/// cancelled: the call stays under way, and the next one to wait has what it came to. So a client that keeps one is cancel-safe: what a
/// server took or gave is never lost with a future.
#[derive(Debug)]
pub struct PendingCall {
    exec: Exec,
    call: Option<CallFuture>,
    /// What is asked.
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
    handle: Option<Handle>,
    policy: Policy,
    tried: u32,
}

/// Of a request that may be repeated as often as it takes.
const REPEATED: Policy = Policy { tries: u32::MAX, numbered: false };

impl PendingCall {
    /// To this server, without a call.
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

    /// Whether no call is under way, nor any whose end nobody has seen.
    pub fn is_free(&self) -> bool {
        self.call.is_none()
    }

    /// Has a call made from now on, as [`Exec::call_with`], of a request that may be repeated. One that is there already is abandoned: see
    /// [`PendingCall::ended`].
    pub fn begin(&mut self, label: u16, words: [u64; 4], lent: Vec<Lend>) {
        (self.label, self.words, self.handle) = (label, words, None);
        (self.policy, self.tried) = (REPEATED, 0);
        self.make(lent);
    }

    /// Has a protocol's request made from now on, as [`PendingCall::begin`]. It is repeated as its operation's declaration says.
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

    /// Waits for the end of the call; `None` at once where there is none. Cancelled, it has changed nothing.
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

    /// Ends the call from outside a future, which a `drop` may have to: where it is with the server, a request of this label, answered with outcome 0,
    /// has the server answer it, and the thread waits for that. Returns what the call came to, where it came to anything.
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
            // The thread that makes it has not come so far, or has not come back.
            crate::time::sleep_ms(1);
        }
        None
    }
}
