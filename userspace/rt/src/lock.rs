//! A lock for what the threads of a task share: it spins, and lets others run between two tries.

use allocators::lock_api::{self, GuardSend};
use core::sync::atomic::{AtomicBool, Ordering};

/// The raw lock.
#[derive(Debug)]
pub struct YieldLock(AtomicBool);

// SAFETY: only the thread whose exchange turned `false` into `true` holds the lock, until it stores `false`.
unsafe impl lock_api::RawMutex for YieldLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the initial value, as the trait wants it")]
    const INIT: YieldLock = YieldLock(AtomicBool::new(false));
    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        while !self.try_lock() {
            // The holder may have the same priority, so spinning alone would never let it finish. A holder of lower
            // priority than the spinner would starve: threads that share data have one priority.
            crate::syscall::yield_now();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A value behind such a lock.
pub type Mutex<T> = lock_api::Mutex<YieldLock, T>;
