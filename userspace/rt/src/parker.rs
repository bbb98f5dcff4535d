//! What a thread waits on: a notification of its own, made when it is first needed. Not the task's own one, whose bits belong to whoever
//! serves it.
//!
//! On the host a condition variable stands in, so that locks and channels are tested there between real threads.

use crate::thread::PLACES;

/// What each thread waits on for a lock.
static PARKERS: [Parker; PLACES] = [const { Parker::new() }; PLACES];

/// That of the thread at this place.
pub(crate) fn of(place: usize) -> Option<&'static Parker> {
    PARKERS.get(place)
}

#[cfg(target_os = "none")]
mod imp {
    use crate::notify::Notification;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// No notification yet. The kernel's handle numbers are small.
    const NONE: u32 = u32::MAX;

    /// Unparked by any thread, waited on by one.
    #[derive(Debug)]
    pub(crate) struct Parker(AtomicU32);

    impl Parker {
        pub(crate) const fn new() -> Parker {
            Parker(AtomicU32::new(NONE))
        }

        /// Makes it ready to be unparked; false where the task's quota has no room. Only the thread that waits for it calls this.
        pub(crate) fn prepare(&self) -> bool {
            if self.0.load(Ordering::SeqCst) != NONE {
                return true;
            }
            match Notification::create() {
                Ok(Notification(handle)) => {
                    self.0.store(handle, Ordering::SeqCst);
                    true
                }
                Err(_) => false,
            }
        }

        /// Nothing where it was never prepared: nobody waits then.
        pub(crate) fn unpark(&self) {
            let handle = self.0.load(Ordering::SeqCst);
            if handle != NONE {
                // The notification is the task's own, so it can be signalled.
                let _ = Notification(handle).signal(1);
            }
        }

        /// Waits until it is unparked, once for one time or several.
        pub(crate) fn wait(&self) {
            Notification(self.0.load(Ordering::SeqCst)).wait(1);
        }

        /// Gives the notification up. Nobody may unpark it or wait any more.
        pub(crate) fn close(&self) {
            let handle = self.0.swap(NONE, Ordering::SeqCst);
            if handle != NONE {
                let _ = crate::ipc::close(handle);
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
mod imp {
    use core::cell::Cell;
    use std::sync::{Condvar, Mutex, PoisonError};

    std::thread_local! {
        /// How often this thread has waited, and unparked: each would be a system call.
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }

    #[cfg(test)]
    pub(crate) fn calls() -> usize {
        CALLS.get()
    }

    fn count() {
        // A thread that ends has no counter any more.
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    }

    /// As on the target: one bit, set by `unpark`, waited for and taken by `wait`.
    #[derive(Debug)]
    pub(crate) struct Parker {
        set: Mutex<bool>,
        changed: Condvar,
    }

    impl Parker {
        pub(crate) const fn new() -> Parker {
            Parker { set: Mutex::new(false), changed: Condvar::new() }
        }

        pub(crate) fn prepare(&self) -> bool {
            true
        }

        pub(crate) fn unpark(&self) {
            count();
            *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_one();
        }

        pub(crate) fn wait(&self) {
            count();
            let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
            while !*set {
                set = self.changed.wait(set).unwrap_or_else(PoisonError::into_inner);
            }
            *set = false;
        }

        pub(crate) fn close(&self) {
            *self.set.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

pub(crate) use imp::Parker;
#[cfg(all(test, not(target_os = "none")))]
pub(crate) use imp::calls;
