//! The object on which a thread waits: a notification of its own, made when it is first needed. It
//! is not the task's permanent one, whose bits belong to the thread that serves it.
//!
//! On the host a condition variable replaces it, so that locks and channels are tested there with
//! real threads.

use crate::thread::PLACES;

/// The parker of each thread, on which it waits for a lock.
static PARKERS: [Parker; PLACES] = [const { Parker::new() }; PLACES];

/// The parker of the thread at this place.
pub(crate) fn of(place: usize) -> Option<&'static Parker> {
    PARKERS.get(place)
}

#[cfg(target_os = "none")]
mod imp {
    use crate::notify::Notification;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// The number that stands for no notification; the kernel's handle numbers are smaller.
    const NONE: u32 = u32::MAX;

    /// A parker, which any thread can unpark and one thread waits on.
    #[derive(Debug)]
    pub(crate) struct Parker(AtomicU32);

    impl Parker {
        pub(crate) const fn new() -> Parker {
            Parker(AtomicU32::new(NONE))
        }

        /// Prepares it to be unparked; returns false if the task's quota has no room for a
        /// notification. Only the waiting thread may call this.
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

        /// Ends the wait of its thread. Does nothing if it was never prepared, as no thread waits
        /// then.
        pub(crate) fn unpark(&self) {
            let handle = self.0.load(Ordering::SeqCst);
            if handle != NONE {
                // The notification belongs to this task, so signalling it succeeds.
                let _ = Notification(handle).signal(1);
            }
        }

        /// Waits until it is unparked; several unparks before a wait count as one.
        pub(crate) fn wait(&self) {
            Notification(self.0.load(Ordering::SeqCst)).wait(1);
        }

        /// Closes the notification. No thread may unpark it or wait any more.
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
        /// How often this thread has waited or unparked, each of which would be a system call.
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }

    #[cfg(test)]
    pub(crate) fn calls() -> usize {
        CALLS.get()
    }

    fn count() {
        // A thread that is ending has no counter any more.
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    }

    /// A parker like the one on the target: one bit, which `unpark` sets, and `wait` waits for and
    /// takes.
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
