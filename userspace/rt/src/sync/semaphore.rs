//! So many at a time.

use super::block_on;
use crate::lock::Mutex;
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// It was closed: no permit will come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed")
    }
}

impl core::error::Error for Closed {}

/// A number of permits. Who finds none waits; those who wait get them in the order in which they came, and nobody overtakes them.
///
/// Waiting takes a few words of the heap.
pub struct Semaphore(Mutex<State>);

struct State {
    permits: usize,
    closed: bool,
    /// For names of waiters.
    last: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Waiters that were given a permit and have not been polled since.
    granted: BTreeSet<u64>,
}

impl Semaphore {
    /// A semaphore with so many permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore(Mutex::new(State {
            permits,
            closed: false,
            last: 0,
            waiting: BTreeMap::new(),
            granted: BTreeSet::new(),
        }))
    }

    /// A permit, if there is one and nobody waits for it.
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

    /// Blocks the thread until there is a permit.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn acquire_blocking(&self) -> Result<Permit<'_>, Closed> {
        match self.try_acquire() {
            Some(permit) => Ok(permit),
            None => block_on(self.acquire()),
        }
    }

    /// One more permit: for the one who has waited longest, if somebody waits.
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

    /// No permit will come any more: who waits is told. Permits that are left can still be had.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = true;
            core::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Permits that can be had at once.
    pub fn permits(&self) -> usize {
        self.0.lock().permits
    }

    /// How many wait, and how many of those who did have been given a permit that they have not taken.
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

/// A permit. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit<'a>(&'a Semaphore);

impl Permit<'_> {
    /// Takes the permit away for good; [`Semaphore::release`] makes another.
    pub fn forget(self) {
        core::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// See [`Semaphore::acquire`].
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
        // A permit that is free while somebody waits cannot be: it would have been given to that one.
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
            // It was given and not taken: the next one's.
            self.semaphore.release();
        }
    }
}
