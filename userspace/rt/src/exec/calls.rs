//! Outgoing calls as futures. A call blocks a thread, so another thread makes it, where this one has anything else to wait for: see `pool.rs`.

use super::state::Exec;
use crate::ipc::{CallError, Endpoint, Handle, Loan, Reply};
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Memory that a call lends: the call owns it until it returns.
#[derive(Debug, PartialEq, Eq)]
pub enum Lend {
    /// The server may read it.
    Read(Vec<u8>),
    /// The server may write it.
    Write(Vec<u8>),
    /// The server may do both.
    Both(Vec<u8>),
}

impl Lend {
    /// The memory.
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

/// What a call came to, and the memory that was lent.
#[derive(Debug)]
pub struct Called {
    /// The reply.
    pub reply: Result<Reply, CallError>,
    /// In the order in which it was lent.
    pub lent: Vec<Lend>,
}

/// Where the caller's side stands.
enum Progress {
    /// For the waker's owner, if it was polled; told whether a thread has begun to make the call.
    Waiting(Option<Waker>, bool),
    Done(Called),
    /// The future was dropped.
    Abandoned,
}

type Shared = Arc<Mutex<Progress>>;

/// A call to be made.
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

    /// What is asked.
    pub fn label(&self) -> u16 {
        self.label
    }

    /// The data words.
    pub fn words(&self) -> [u64; 4] {
        self.words
    }

    /// The handle passed along.
    pub fn handle(&self) -> Option<Handle> {
        self.handle
    }

    /// The memory lent.
    pub fn lent(&mut self) -> &mut [Lend] {
        &mut self.lent
    }

    /// Says that it is being made from now on; false where nobody wants it any more.
    pub fn begin(&self) -> bool {
        match &mut *self.progress.lock() {
            Progress::Waiting(_, begun) => {
                *begun = true;
                true
            }
            _ => false,
        }
    }

    /// Whether nobody wants it any more.
    pub fn is_abandoned(&self) -> bool {
        matches!(*self.progress.lock(), Progress::Abandoned)
    }

    /// Makes the call, on the thread that runs this, and tells the future. One that nobody wants is not made.
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

    /// Tells the future what it came to. Where nobody wants to know, what came is given up.
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
            // It is the task's own handle now, so closing it cannot fail in a way that matters.
            let _ = crate::ipc::close(handle.number);
        }
    }
}

/// See [`Exec::call`]. The call is made when this is first polled.
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
    /// Has the call made, if it is not under way yet.
    pub(super) fn begin(&mut self) {
        if let Some(job) = self.job.take() {
            self.exec.submit(job);
        }
    }

    /// What it came to, if it has ended. Else, and where no thread has begun it, it is abandoned, and that is the end: `Ok(None)`. The
    /// error says that it is being made.
    pub(super) fn end(&mut self) -> Result<Option<Called>, ()> {
        let mut progress = self.progress.lock();
        if matches!(*progress, Progress::Waiting(_, true)) {
            return Err(());
        }
        match core::mem::replace(&mut *progress, Progress::Abandoned) {
            Progress::Done(called) => Ok(Some(called)),
            _ => {
                drop(progress);
                self.exec.tidy();
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
            // It was ready before; nobody is left to say anything.
            Progress::Abandoned => {}
        }
        Poll::Pending
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        let before = core::mem::replace(&mut *self.progress.lock(), Progress::Abandoned);
        match before {
            Progress::Waiting(..) if self.job.is_none() => self.exec.tidy(),
            Progress::Done(Called { reply: Ok(Reply { handle: Some(handle), .. }), .. }) => {
                // As in `Job::finish`.
                let _ = crate::ipc::close(handle.number);
            }
            _ => {}
        }
    }
}
