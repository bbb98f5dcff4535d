//! A mutex for futures.

use super::{Semaphore, block_on};
use allocators::lock_api::{self, GuardSend, RawMutex};
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A raw lock made of a semaphore with one permit.
#[derive(Debug)]
struct Turnstile(Semaphore);

// SAFETY: the semaphore has one permit: the holder of the lock has it, and unlocking gives it back.
unsafe impl RawMutex for Turnstile {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value, as the trait wants it")]
    const INIT: Turnstile = Turnstile(Semaphore::new(1));
    type GuardMarker = GuardSend;

    fn lock(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.0.acquire_blocking() {
            permit.forget();
        }
    }

    fn try_lock(&self) -> bool {
        self.0.try_acquire().map(super::Permit::forget).is_some()
    }

    unsafe fn unlock(&self) {
        self.0.release();
    }
}

/// A value that one future or thread has at a time, in the order of arrival. It may be held over an
/// `await`.
pub struct AsyncMutex<T>(lock_api::Mutex<Turnstile, T>);

/// Access to the value, until this is dropped.
#[must_use = "dropping it gives the value back"]
pub struct AsyncMutexGuard<'a, T>(lock_api::MutexGuard<'a, Turnstile, T>);

impl<T> Deref for AsyncMutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for AsyncMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for AsyncMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> AsyncMutex<T> {
    /// A mutex with this value.
    pub const fn new(value: T) -> AsyncMutex<T> {
        AsyncMutex(lock_api::Mutex::new(value))
    }

    /// Waits for the value, as a future.
    pub async fn lock(&self) -> AsyncMutexGuard<'_, T> {
        // SAFETY: of the raw lock only the semaphore is used, to wait for the permit of its holder.
        let turnstile = unsafe { self.0.raw() };
        if let Ok(permit) = turnstile.0.acquire().await {
            permit.forget();
        }
        // SAFETY: this future has the permit and so the lock. The semaphore is private and never
        // closed, so there was one.
        AsyncMutexGuard(unsafe { self.0.make_guard_unchecked() })
    }

    /// The value, if no one else has it.
    pub fn try_lock(&self) -> Option<AsyncMutexGuard<'_, T>> {
        self.0.try_lock().map(AsyncMutexGuard)
    }

    /// Blocks the thread until the value is available.
    pub fn lock_blocking(&self) -> AsyncMutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => block_on(self.lock()),
        }
    }

    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> fmt::Debug for AsyncMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMutex").finish_non_exhaustive()
    }
}
