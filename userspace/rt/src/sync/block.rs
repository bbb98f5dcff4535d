//! Blocking a thread on one future.

use crate::parker::Parker;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

/// Polls the future on this thread until it is ready. In between the thread waits on a
/// notification, which is made when it is first needed. If the task's quota has no room for one,
/// the thread yields and polls again.
///
/// This is for the futures of [`crate::sync`]; those of [`crate::exec`] need their executor.
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

/// The state of a waiting thread, which the future's waker refers to.
struct Waiter {
    woken: AtomicBool,
    parker: Parker,
}

impl Waiter {
    fn wait(&self) {
        // Prepare first, then check: a waker that comes after the check can already unpark.
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
        // No waker is left.
        self.parker.close();
    }
}
