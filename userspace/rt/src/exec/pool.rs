//! The threads that make calls: one for each call at the same time, up to a limit; further calls
//! wait.

use super::calls::Job;
use crate::ipc::CallError;
use crate::lock::Mutex;
use crate::notify::Notification;
use crate::thread::{self, JoinHandle};
use abi::Status;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The size of the stack of such a thread in pages.
const STACK: usize = 3;

/// The bit that tells a thread to look for a call.
const LOOK: u64 = 1;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The notifications of threads without a call.
    idle: Vec<Notification>,
    stop: bool,
}

/// The threads. Dropping the pool waits until the calls that have begun have ended.
pub struct Pool {
    limit: usize,
    /// Calls that were submitted and not yet given to a thread.
    fresh: VecDeque<Job>,
    state: Arc<Mutex<State>>,
    threads: Vec<(JoinHandle, Notification)>,
}

impl Pool {
    /// A pool of at most `limit` threads, at first none.
    pub fn new(limit: usize) -> Pool {
        Pool { limit, fresh: VecDeque::new(), state: Arc::default(), threads: Vec::new() }
    }

    /// Accepts a call, which is made after the next [`Pool::start`].
    pub fn submit(&mut self, job: Job) {
        self.fresh.push_back(job);
    }

    /// The only call, if no other is being made, and the task has no threads besides its first one,
    /// which must be the calling thread, and those of the pool. So the first thread can make the
    /// call itself: the supervisor sees it wait for a reply, and expects no other sign of life
    /// meanwhile.
    pub fn alone(&mut self) -> Option<Job> {
        if self.fresh.len() != 1 || !thread::is_first() || thread::spawned() != self.threads.len() {
            return None;
        }
        let state = self.state.lock();
        let idle = state.jobs.is_empty() && state.idle.len() == self.threads.len();
        if idle { self.fresh.pop_front() } else { None }
    }

    /// Starts the submitted calls, each on an idle thread, else on a new one, else on the first
    /// that becomes idle. If no thread can be made at all, they fail.
    pub fn start(&mut self) {
        while let Some(job) = self.fresh.pop_front() {
            if let Err(status) = self.hand_out(job) {
                let jobs = core::mem::take(&mut self.state.lock().jobs);
                jobs.into_iter().for_each(|job| job.finish(Err(CallError::Failed(status))));
            }
        }
    }

    fn hand_out(&mut self, job: Job) -> Result<(), Status> {
        let idle = {
            let mut state = self.state.lock();
            state.jobs.push_back(job);
            state.idle.pop()
        };
        if let Some(idle) = idle {
            return idle.signal(LOOK);
        }
        if self.threads.len() < self.limit
            && let Err(status) = self.grow()
        {
            if self.threads.is_empty() {
                return Err(status);
            }
            // There is no room for more threads, so this becomes the limit.
            self.limit = self.threads.len();
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Status> {
        let wake = Notification::create()?;
        let state = self.state.clone();
        let thread = thread::spawn(move || work(&state, wake), STACK, crate::info().priority as u8);
        match thread {
            Ok(thread) => {
                self.threads.push((thread, wake));
                Ok(())
            }
            Err(status) => {
                let _ = crate::ipc::close(wake.0);
                Err(status)
            }
        }
    }

    /// Drops abandoned calls that have not begun.
    pub fn drop_abandoned(&mut self) {
        self.fresh.retain(|job| !job.is_abandoned());
        let mut state = self.state.lock();
        let (gone, kept) = core::mem::take(&mut state.jobs).into_iter().partition(Job::is_abandoned);
        state.jobs = kept;
        drop(state);
        let gone: VecDeque<Job> = gone;
        drop(gone);
    }
}

/// The code of a thread: makes calls until it is told to stop.
fn work(state: &Mutex<State>, wake: Notification) {
    loop {
        let next = {
            let mut state = state.lock();
            if state.stop {
                return;
            }
            let next = state.jobs.pop_front();
            if next.is_none() {
                state.idle.push(wake);
            }
            next
        };
        match next {
            Some(job) => job.perform(),
            None => drop(wake.wait(LOOK)),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.state.lock().stop = true;
        for (thread, wake) in self.threads.drain(..) {
            let _ = wake.signal(LOOK);
            thread.join();
            let _ = crate::ipc::close(wake.0);
        }
    }
}
