//! Outgoing calls as futures. A call blocks a thread, so another thread makes it, unless the
//! executor's thread has nothing else to wait for: see `pool.rs`.

use super::state::Exec;
use crate::ipc::{CallError, Endpoint, Handle, Loan, Reply};
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Memory that a call lends and owns until it returns.
#[derive(Debug, PartialEq, Eq)]
pub enum Lend {
    /// The server may read the memory.
    Read(Vec<u8>),
    /// The server may write to the memory.
    Write(Vec<u8>),
    /// The server may read the memory and write to it.
    Both(Vec<u8>),
}

impl Lend {
    /// The memory itself.
    pub fn into_inner(self) -> Vec<u8> {
        match self {
            Lend::Read(bytes) | Lend::Write(bytes) | Lend::Both(bytes) => bytes,
        }
    }

    fn loan(&mut self) -> Loan<'_> {
        match self {
            Lend::Read(bytes) => Loan::Read(bytes),
            Lend::Write(bytes) => Loan::Write(bytes),
            Lend::Both(bytes) => Loan::Both(bytes),
        }
    }
}

/// The result of a call, and the memory that was lent.
#[derive(Debug)]
pub struct Called {
    /// The reply, or the error.
    pub reply: Result<Reply, CallError>,
    /// The memory, in the order in which it was lent.
    pub lent: Vec<Lend>,
}

/// The progress of a call, shared by its future and its thread.
enum Progress {
    /// The future waits, with a waker if it was polled; the flag tells whether a thread has begun
    /// to make the call.
    Waiting(Option<Waker>, bool),
    Done(Called),
    /// The future was dropped.
    Abandoned,
}

type Shared = Arc<Mutex<Progress>>;

/// A call that is to be made.
pub struct Job {
    endpoint: Endpoint,
    label: u16,
    words: [u64; 4],
    lent: Vec<Lend>,
    handle: Option<Handle>,
    progress: Shared,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("endpoint", &self.endpoint).field("label", &self.label).finish_non_exhaustive()
    }
}

impl Job {
    pub(super) fn new(endpoint: Endpoint, label: u16, words: [u64; 4], lent: Vec<Lend>, handle: Option<Handle>) -> Job {
        Job { endpoint, label, words, lent, handle, progress: Arc::new(Mutex::new(Progress::Waiting(None, false))) }
    }

    /// The label.
    pub fn label(&self) -> u16 {
        self.label
    }

    /// The data words.
    pub fn words(&self) -> [u64; 4] {
        self.words
    }

    /// The handle that is sent.
    pub fn handle(&self) -> Option<Handle> {
        self.handle
    }

    /// The memory that is lent.
    pub fn lent(&mut self) -> &mut [Lend] {
        &mut self.lent
    }

    /// Marks the call as begun; returns false if it was abandoned.
    pub fn begin(&self) -> bool {
        match &mut *self.progress.lock() {
            Progress::Waiting(_, begun) => {
                *begun = true;
                true
            }
            _ => false,
        }
    }

    /// Whether the call was abandoned: its future was dropped.
    pub fn is_abandoned(&self) -> bool {
        matches!(*self.progress.lock(), Progress::Abandoned)
    }

    /// Makes the call on the present thread, and passes the result to the future. An abandoned call
    /// is not made.
    pub fn perform(mut self) {
        if !self.begin() {
            return;
        }
        let reply = if self.lent.is_empty() && self.handle.is_none() {
            self.endpoint.call(self.label, self.words)
        } else {
            let mut loans: Vec<Loan<'_>> = self.lent.iter_mut().map(Lend::loan).collect();
            match self.handle {
                None => self.endpoint.call_with(self.label, self.words, &mut loans),
                Some(handle) => self.endpoint.call_handle(self.label, self.words, &mut loans, handle),
            }
        };
        self.finish(reply);
    }

    /// Passes the result to the future. If the call was abandoned, a handle in the reply is closed.
    pub fn finish(self, reply: Result<Reply, CallError>) {
        let mut progress = self.progress.lock();
        if let Progress::Waiting(waker, _) = &mut *progress {
            let waker = waker.take();
            *progress = Progress::Done(Called { reply, lent: self.lent });
            drop(progress);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else if let Ok(Reply { handle: Some(handle), .. }) = reply {
            // The task owns the handle now, so closing it cannot fail in a way that matters.
            let _ = crate::ipc::close(handle.number);
        }
    }
}

/// The future of [`Exec::call`]. The call is made when it is first polled.
#[must_use = "futures do nothing unless awaited"]
pub struct CallFuture {
    exec: Exec,
    job: Option<Job>,
    progress: Shared,
}

impl fmt::Debug for CallFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").field("begun", &self.job.is_none()).finish_non_exhaustive()
    }
}

impl CallFuture {
    pub(super) fn new(exec: Exec, job: Job) -> CallFuture {
        CallFuture { exec, progress: job.progress.clone(), job: Some(job) }
    }
}

impl CallFuture {
    /// Submits the call, unless that was done before.
    pub(super) fn begin(&mut self) {
        if let Some(job) = self.job.take() {
            self.exec.submit(job);
        }
    }

    /// Ends the wait: returns the result if the call has ended, and otherwise abandons it if no
    /// thread has begun it (`Ok(None)`). The error means that a thread is making the call.
    pub(super) fn end(&mut self) -> Result<Option<Called>, ()> {
        let mut progress = self.progress.lock();
        if matches!(*progress, Progress::Waiting(_, true)) {
            return Err(());
        }
        match core::mem::replace(&mut *progress, Progress::Abandoned) {
            Progress::Done(called) => Ok(Some(called)),
            _ => {
                drop(progress);
                self.exec.drop_abandoned();
                Ok(None)
            }
        }
    }
}

impl Future for CallFuture {
    type Output = Called;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Called> {
        self.begin();
        let mut progress = self.progress.lock();
        match core::mem::replace(&mut *progress, Progress::Abandoned) {
            Progress::Done(called) => return Poll::Ready(called),
            Progress::Waiting(_, begun) => *progress = Progress::Waiting(Some(context.waker().clone()), begun),
            // It was ready before, and has no other result.
            Progress::Abandoned => {}
        }
        Poll::Pending
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        let before = core::mem::replace(&mut *self.progress.lock(), Progress::Abandoned);
        match before {
            Progress::Waiting(..) if self.job.is_none() => self.exec.drop_abandoned(),
            Progress::Done(Called { reply: Ok(Reply { handle: Some(handle), .. }), .. }) => {
                // The task owns the handle now, so closing it cannot fail in a way that matters.
                let _ = crate::ipc::close(handle.number);
            }
            _ => {}
        }
    }
}
