//! A call that outlives the futures that wait for it.

use super::calls::{CallFuture, Called, Lend};
use super::state::Exec;
use crate::ipc::{CallError, Endpoint};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

/// How often [`Standing::cancel`] asks the server, a millisecond apart.
const TRIES: usize = 1_000;

/// Room for one call, of a request that may be repeated: while the server dies over it, it is asked again. Whoever waits for its end may be cancelled: the call stays under way, and the next one to wait has what it came to. So a
/// client that keeps one is cancel-safe: what a server took or gave is never lost with a future.
#[derive(Debug)]
pub struct Standing {
    exec: Exec,
    call: Option<CallFuture>,
    /// What is asked.
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
}

impl Standing {
    /// To this server, without a call.
    pub fn new(exec: &Exec, endpoint: Endpoint) -> Standing {
        Standing { exec: exec.clone(), call: None, endpoint, label: 0, words: [0; 4] }
    }

    /// Whether no call is under way, nor any whose end nobody has seen.
    pub fn is_free(&self) -> bool {
        self.call.is_none()
    }

    /// Has a call made from now on, as [`Exec::call_with`]. One that is there already is abandoned: see [`Standing::ended`].
    pub fn begin(&mut self, label: u16, words: [u64; 4], lent: Vec<Lend>) {
        (self.label, self.words) = (label, words);
        self.call.insert(self.exec.call_with(self.endpoint, label, words, lent)).begin();
    }

    /// Waits for the end of the call; `None` at once where there is none. Cancelled, it has changed nothing.
    pub async fn ended(&mut self) -> Option<Called> {
        poll_fn(|context| {
            while let Some(call) = &mut self.call {
                let Poll::Ready(called) = Pin::new(call).poll(context) else { return Poll::Pending };
                self.call = None;
                let Err(CallError::Died { .. }) = called.reply else { return Poll::Ready(Some(called)) };
                self.begin(self.label, self.words, called.lent);
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
