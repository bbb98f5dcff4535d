//! Values from senders to receivers, in order, a bounded number of them under way.

use super::{Acquire, Closed, Semaphore, block_on};
use crate::lock::Mutex;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};

/// Makes a channel with room for `capacity` values, 1 at least. The room is allocated now, so that sending allocates none.
///
/// A sender waits while the channel is full: whoever produces faster than others consume is slowed down. Both sides can be cloned;
/// each value goes to one receiver.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1);
    let shared = Arc::new(Shared {
        queue: Mutex::new(VecDeque::with_capacity(capacity)),
        room: Semaphore::new(capacity),
        items: Semaphore::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender(shared.clone()), Receiver(shared))
}

struct Shared<T> {
    queue: Mutex<VecDeque<T>>,
    /// A permit for each value that there is room for, and one for each value that is there.
    room: Semaphore,
    items: Semaphore,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    /// Puts a value where there is room for it.
    fn put(&self, value: T) {
        self.queue.lock().push_back(value);
        self.items.release();
    }

    /// Takes a value that is there.
    fn take(&self) -> Option<T> {
        let value = self.queue.lock().pop_front();
        self.room.release();
        value
    }

    fn is_deaf(&self) -> bool {
        self.receivers.load(Ordering::SeqCst) == 0
    }
}

/// All receivers are gone; here is the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendError<T>(pub T);

/// Why a value was not sent; here it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrySendError<T> {
    /// There is no room, or others wait for it.
    Full(T),
    /// All receivers are gone.
    Closed(T),
}

/// Why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// None is there, or it is for those who wait.
    Empty,
    /// None is there, and all senders are gone.
    Closed,
}

/// The side that sends. When the last one is dropped, receivers get what is there, and then [`Closed`].
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends, where there is room now.
    ///
    /// # Errors
    /// With the value: see [`TrySendError`].
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.0.is_deaf() {
            return Err(TrySendError::Closed(value));
        }
        match self.0.room.try_acquire() {
            Some(permit) => {
                permit.forget();
                self.0.put(value);
                Ok(())
            }
            None => Err(TrySendError::Full(value)),
        }
    }

    /// Sends as soon as there is room, as a future. Cancelled, it has sent nothing, and the value is dropped.
    ///
    /// # Errors
    /// With the value, where all receivers are gone.
    pub async fn send_async(&self, value: T) -> Result<(), SendError<T>> {
        let permit = self.0.room.acquire().await;
        match permit {
            Ok(permit) if !self.0.is_deaf() => {
                permit.forget();
                self.0.put(value);
                Ok(())
            }
            _ => Err(SendError(value)),
        }
    }

    /// Blocks the thread until there is room, and sends.
    ///
    /// # Errors
    /// With the value, where all receivers are gone.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
            Err(TrySendError::Full(value)) => block_on(self.send_async(value)),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::SeqCst);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.items.close();
        }
    }
}

/// The side that receives. When the last one is dropped, senders get their values back, and values under way are dropped.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next value, if it is there.
    ///
    /// # Errors
    /// See [`TryRecvError`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let closed = self.0.senders.load(Ordering::SeqCst) == 0;
        match self.0.items.try_acquire() {
            Some(permit) => {
                permit.forget();
                self.0.take().ok_or(TryRecvError::Empty)
            }
            None if closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Waits for the next value, as a future. Cancelled, it has taken none.
    pub fn recv_async(&self) -> Recv<'_, T> {
        Recv { shared: &self.0, acquire: self.0.items.acquire() }
    }

    /// Blocks the thread until the next value is there.
    ///
    /// # Errors
    /// [`Closed`], where none is there and all senders are gone.
    pub fn recv(&self) -> Result<T, Closed> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(Closed),
            Err(TryRecvError::Empty) => block_on(self.recv_async()),
        }
    }

    /// How many wait on either side, and turns that were given and not taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> [[usize; 2]; 2] {
        [self.0.room.held(), self.0.items.held()]
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.0.receivers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.room.close();
            let left = core::mem::take(&mut *self.0.queue.lock());
            drop(left);
        }
    }
}

/// See [`Receiver::recv_async`].
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, T> {
    shared: &'a Shared<T>,
    acquire: Acquire<'a>,
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, Closed>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.acquire).poll(context) {
            Poll::Ready(Ok(permit)) => {
                permit.forget();
                Poll::Ready(self.shared.take().ok_or(Closed))
            }
            Poll::Ready(Err(closed)) => Poll::Ready(Err(closed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

macro_rules! plain_debug {
    ($($name:ident)*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

plain_debug! { Sender Receiver }

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}
