//! Channels: queues of a bounded number of values from senders to receivers.

use super::{Acquire, Closed, Semaphore, block_on};
use crate::lock::Mutex;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};

/// Makes a channel with room for `capacity` values, at least 1. The room is allocated now, so that
/// sending allocates nothing.
///
/// A sender waits while the channel is full, so a fast producer is slowed down. Both sides can be
/// cloned; each value goes to one receiver.
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
    /// One permit for each value that has room, and one for each value in the queue.
    room: Semaphore,
    items: Semaphore,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    /// Appends a value, for which there must be room.
    fn put(&self, value: T) {
        self.queue.lock().push_back(value);
        self.items.release();
    }

    /// Removes the first value, which must exist.
    fn take(&self) -> Option<T> {
        let value = self.queue.lock().pop_front();
        self.room.release();
        value
    }

    fn is_deaf(&self) -> bool {
        self.receivers.load(Ordering::SeqCst) == 0
    }
}

/// All receivers are dropped; the value is returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendError<T>(pub T);

/// The reason why a value was not sent; the value is returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// All receivers are dropped.
    Closed(T),
}

/// The reason why there is no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// The channel is empty, or its values are granted to waiting receivers.
    Empty,
    /// The channel is empty, and all senders are dropped.
    Closed,
}

/// The sending side. When the last sender is dropped, receivers get the remaining values, and then
/// [`Closed`].
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// See [`TrySendError`]; the value is returned.
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

    /// Sends a value as soon as there is room, as a future. If it is cancelled, nothing is sent,
    /// and the value is dropped.
    ///
    /// # Errors
    /// All receivers are dropped; the value is returned.
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

    /// Blocks the thread until there is room, and sends a value.
    ///
    /// # Errors
    /// All receivers are dropped; the value is returned.
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

/// The receiving side. When the last receiver is dropped, senders get their values back, and values
/// in the queue are dropped.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next value, if there is one now.
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

    /// Waits for the next value, as a future. If it is cancelled, none is taken.
    pub fn recv_async(&self) -> Recv<'_, T> {
        Recv { shared: &self.0, acquire: self.0.items.acquire() }
    }

    /// Blocks the thread until there is a value, and returns it.
    ///
    /// # Errors
    /// [`Closed`] if the channel is empty, and all senders are dropped.
    pub fn recv(&self) -> Result<T, Closed> {
        match self.try_recv() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(Closed),
            Err(TryRecvError::Empty) => block_on(self.recv_async()),
        }
    }

    /// For room and for values: the number of waiters, and of turns that were granted and not
    /// taken.
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

/// The future of [`Receiver::recv_async`].
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
