//! A semaphore for threads and futures.

use super::block_on;
use crate::lock::Mutex;
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// The semaphore was closed: no more permits are released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed")
    }
}

impl core::error::Error for Closed {}

/// A semaphore: a number of permits. Waiters get permits in the order of arrival, and none is
/// overtaken.
///
/// Waiting allocates a few words.
pub struct Semaphore(Mutex<State>);

struct State {
    permits: usize,
    closed: bool,
    /// The last number used to name a waiter.
    last: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Waiters that were granted a permit and have not been polled since.
    granted: BTreeSet<u64>,
}

impl Semaphore {
    /// A semaphore with this many permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore(Mutex::new(State {
            permits,
            closed: false,
            last: 0,
            waiting: BTreeMap::new(),
            granted: BTreeSet::new(),
        }))
    }

    /// A permit, if one is available.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut state = self.0.lock();
        if state.permits == 0 {
            return None;
        }
        state.permits -= 1;
        Some(Permit(self))
    }

    /// Waits for a permit, as a future.
    pub fn acquire(&self) -> Acquire<'_> {
        Acquire { semaphore: self, name: None }
    }

    /// Blocks the thread until a permit is available.
    ///
    /// # Errors
    /// [`Closed`] if the semaphore is closed and has no permit.
    pub fn acquire_blocking(&self) -> Result<Permit<'_>, Closed> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => block_on(self.acquire()),
        }
    }

    /// Adds a permit, which is granted to the longest-waiting waiter if there is one.
    pub fn release(&self) {
        let mut state = self.0.lock();
        let Some((name, waker)) = state.waiting.pop_first() else {
            state.permits = state.permits.saturating_add(1);
            return;
        };
        state.granted.insert(name);
        drop(state);
        waker.wake();
    }

    /// Closes the semaphore: waiters get [`Closed`], and permits that are left remain available.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = true;
            core::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// The number of permits that are available at once.
    pub fn permits(&self) -> usize {
        self.0.lock().permits
    }

    /// The number of waiters, and of waiters that were granted a permit and have not taken it.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 2] {
        let state = self.0.lock();
        [state.waiting.len(), state.granted.len()]
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").finish_non_exhaustive()
    }
}

/// A permit, which is given back on drop.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit<'a>(&'a Semaphore);

impl Permit<'_> {
    /// Removes the permit for good; [`Semaphore::release`] adds another.
    pub fn forget(self) {
        core::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The future of [`Semaphore::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    name: Option<u64>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<Permit<'a>, Closed>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let semaphore = self.semaphore;
        let mut state = semaphore.0.lock();
        // No permit is free while a waiter exists: it would have been granted to the waiter.
        let granted = self.name.is_some_and(|name| state.granted.remove(&name));
        if granted || state.permits > 0 {
            if !granted {
                state.permits -= 1;
                let waker = self.name.and_then(|name| state.waiting.remove(&name));
                drop(state);
                drop(waker);
            }
            self.name = None;
            return Poll::Ready(Ok(Permit(semaphore)));
        }
        if state.closed {
            self.name = None;
            return Poll::Ready(Err(Closed));
        }
        let name = match self.name {
            Some(name) => name,
            None => {
                state.last += 1;
                state.last
            }
        };
        let before = state.waiting.insert(name, context.waker().clone());
        drop(state);
        drop(before);
        self.name = Some(name);
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(name) = self.name else { return };
        let mut state = self.semaphore.0.lock();
        let waker = state.waiting.remove(&name);
        let granted = state.granted.remove(&name);
        drop(state);
        drop(waker);
        if granted {
            // The permit was granted and not taken, so the next waiter gets it.
            self.semaphore.release();
        }
    }
}
