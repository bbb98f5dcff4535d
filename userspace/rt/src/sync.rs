//! Synchronisation between threads and futures of a task.
//!
//! | | for | waiting |
//! |---|---|---|
//! | [`Mutex`] | threads; never held over an `await` | blocks the thread on a notification; waiters get it in turn; allocates nothing |
//! | [`AsyncMutex`] | futures, and threads beside them; may be held over an `await` | in the order of arrival |
//! | [`Semaphore`] | a limited number of users at a time | in the order of arrival |
//! | [`channel`] | values from senders to receivers, with a bounded queue | senders if it is full, receivers if it is empty |
//!
//! Without contention none of them makes a system call. Operations that may wait have three forms:
//! `try_` does not wait, `async` waits as a future, and the plain form blocks the thread
//! ([`block_on`]). The thread that runs an executor or a driver's loop should not block, since
//! everything else in it, including its heartbeat, would stop.
//!
//! **Dropping one of these futures cancels it**: it leaves the queue, and if it was granted its
//! turn already, the next waiter gets it. A value is sent or taken only in the moment in which the
//! future becomes ready, so a cancelled future has sent or taken nothing.

mod block;
mod channel;
mod mutex;
mod semaphore;
#[cfg(test)]
mod tests;

pub use crate::lock::{Mutex, ThreadLock};
pub use allocators::lock_api::MutexGuard;
pub use block::block_on;
pub use channel::{Receiver, Recv, SendError, Sender, TryRecvError, TrySendError, channel};
pub use mutex::{AsyncMutex, AsyncMutexGuard};
pub use semaphore::{Acquire, Closed, Permit, Semaphore};
