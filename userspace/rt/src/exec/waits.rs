//! What futures of the executor wait for: time, bits, requests. Each adds itself to the waiters
//! when it is polled, and removes itself when it is dropped.

use super::state::Exec;
use crate::ipc::{Handle, Request};
use crate::syscall;
use abi::Status;
use abi::message::{Header, ReplyToken};
use core::mem;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The outcome of a request whose handler was cancelled.
pub const OUTCOME_CANCELLED: u16 = 0xfffe;

/// The future of [`Exec::sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    pub(super) exec: Exec,
    pub(super) deadline: u64,
    pub(super) name: Option<u64>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let exec = self.exec.clone();
        if exec.now_ns() >= self.deadline {
            return Poll::Ready(());
        }
        let mut state = exec.state();
        let name = *self.name.get_or_insert_with(|| state.name());
        state.timers.insert((self.deadline, name), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.exec.state().timers.remove(&(self.deadline, name));
        }
    }
}

/// The future of [`Exec::bits`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Bits {
    pub(super) exec: Exec,
    pub(super) mask: u64,
    pub(super) name: Option<u64>,
}

impl Future for Bits {
    type Output = u64;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let exec = self.exec.clone();
        let mut state = exec.state();
        let taken = state.bits & self.mask;
        if taken != 0 {
            state.bits &= !taken;
            return Poll::Ready(taken);
        }
        let name = *self.name.get_or_insert_with(|| state.name());
        state.bit_waiters.enter(name, (self.mask, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Bits {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.exec.state().bit_waiters.leave(name);
        }
    }
}

/// The future of [`Exec::request`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct NextRequest {
    pub(super) exec: Exec,
    pub(super) name: Option<u64>,
}

impl Future for NextRequest {
    type Output = ReceivedRequest;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ReceivedRequest> {
        let exec = self.exec.clone();
        let mut state = exec.state();
        if let Some(request) = state.requests.pop_front() {
            return Poll::Ready(ReceivedRequest::from(request));
        }
        let name = *self.name.get_or_insert_with(|| state.name());
        state.request_waiters.enter(name, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for NextRequest {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.exec.state().request_waiters.leave(name);
        }
    }
}

/// A request that is to be answered at some time. If it is dropped, it is answered with
/// [`OUTCOME_CANCELLED`], and a handle that it brought and that was not taken is closed.
#[derive(Debug)]
#[must_use = "dropping it refuses the request"]
pub struct ReceivedRequest(Request);

impl From<Request> for ReceivedRequest {
    fn from(request: Request) -> ReceivedRequest {
        ReceivedRequest(request)
    }
}

impl Deref for ReceivedRequest {
    type Target = Request;
    fn deref(&self) -> &Request {
        &self.0
    }
}

impl ReceivedRequest {
    /// Answers the request.
    ///
    /// # Errors
    /// [`Status::StaleReply`] if the caller no longer waits.
    pub fn answer(mut self, label: u16, words: [u64; 4]) -> Result<(), Status> {
        let token = mem::replace(&mut self.0.token, ReplyToken::NONE);
        syscall::reply(token, Header::new(label), words, 0)
    }

    /// Takes the handle that the request brought, which then belongs to the caller of this.
    pub fn take_handle(&mut self) -> Option<Handle> {
        self.0.handle.take()
    }
}

impl Drop for ReceivedRequest {
    fn drop(&mut self) {
        if self.0.token != ReplyToken::NONE {
            // A caller that no longer waits needs no reply.
            let _ = syscall::reply(self.0.token, Header::new(OUTCOME_CANCELLED), [0; 4], 0);
        }
        if let Some(handle) = self.0.handle {
            let _ = syscall::handle_close(handle.number);
        }
    }
}
