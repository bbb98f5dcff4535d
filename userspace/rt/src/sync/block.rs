//! A thread that waits for one future.

use crate::parker::Parker;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

/// Polls the future on this thread until it is done; in between the thread waits on a notification, which it makes when it first has to.
/// Where the task's quota has no room for one, it lets other threads run instead and looks again.
///
/// Futures of [`crate::exec`] want their executor and are not for this; those of [`crate::sync`] are.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waiter = Arc::new(Waiter { woken: AtomicBool::new(false), parker: Parker::new() });
    let waker = Waker::from(waiter.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        waiter.wait();
    }
}

/// Who waits: what a waker of its future wakes.
struct Waiter {
    woken: AtomicBool,
    parker: Parker,
}

impl Waiter {
    fn wait(&self) {
        // Prepared first, looked at then: whoever wakes after that look finds it ready to be unparked.
        let prepared = self.parker.prepare();
        while !self.woken.swap(false, Ordering::SeqCst) {
            if prepared {
                self.parker.wait();
            } else {
                crate::syscall::yield_now();
            }
        }
    }
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.parker.unpark();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // The last waker is gone with it.
        self.parker.close();
    }
}
