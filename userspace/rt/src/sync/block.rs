//! A thread that waits for one future.

use crate::bell::Bell;
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
    let parker = Arc::new(Parker { woken: AtomicBool::new(false), bell: Bell::new() });
    let waker = Waker::from(parker.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        parker.park();
    }
}

struct Parker {
    woken: AtomicBool,
    bell: Bell,
}

impl Parker {
    fn park(&self) {
        // First the bell, then the look: whoever wakes after that look finds the bell and rings it.
        let prepared = self.bell.prepare();
        while !self.woken.swap(false, Ordering::SeqCst) {
            if prepared {
                self.bell.wait();
            } else {
                crate::syscall::yield_now();
            }
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

impl Drop for Parker {
    fn drop(&mut self) {
        // The last waker is gone with it.
        self.bell.close();
    }
}
