//! What a thread waits on: a notification of its own, made when it is first needed. Not the task's own one, whose bits belong to whoever
//! serves it.
//!
//! On the host a condition variable stands in, so that locks and channels are tested there between real threads.

use crate::thread::PLACES;

/// The bell that each thread's locks ring.
static BELLS: [Bell; PLACES] = [const { Bell::new() }; PLACES];

/// The bell of the thread at this place.
pub(crate) fn of(place: usize) -> Option<&'static Bell> {
    BELLS.get(place)
}

#[cfg(target_os = "none")]
mod imp {
    use crate::notify::Notification;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// No notification yet. The kernel's handle numbers are small.
    const NONE: u32 = u32::MAX;

    /// Rung from any thread, waited for by one.
    #[derive(Debug)]
    pub(crate) struct Bell(AtomicU32);

    impl Bell {
        pub(crate) const fn new() -> Bell {
            Bell(AtomicU32::new(NONE))
        }

        /// Makes it ready to be rung; false where the task's quota has no room. Only the thread that waits for it calls this.
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
        pub(crate) fn ring(&self) {
            let handle = self.0.load(Ordering::SeqCst);
            if handle != NONE {
                // The notification is the task's own, so it can be signalled.
                let _ = Notification(handle).signal(1);
            }
        }

        /// Waits until it is rung, once for one ring or several.
        pub(crate) fn wait(&self) {
            Notification(self.0.load(Ordering::SeqCst)).wait(1);
        }

        /// Gives the notification up. Nobody may ring or wait any more.
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
        /// How often this thread has waited, and rung: each would be a system call.
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

    /// As on the target: one bit, set by `ring`, waited for and taken by `wait`.
    #[derive(Debug)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(crate) const fn new() -> Bell {
            Bell { rung: Mutex::new(false), changed: Condvar::new() }
        }

        pub(crate) fn prepare(&self) -> bool {
            true
        }

        pub(crate) fn ring(&self) {
            count();
            *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.changed.notify_one();
        }

        pub(crate) fn wait(&self) {
            count();
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            while !*rung {
                rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
            }
            *rung = false;
        }

        pub(crate) fn close(&self) {
            *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

pub(crate) use imp::Bell;
#[cfg(all(test, not(target_os = "none")))]
pub(crate) use imp::calls;
