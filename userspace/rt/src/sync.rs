//! What threads and futures of a task wait for each other with.
//!
//! | | for | waiting |
//! |---|---|---|
//! | [`Mutex`] | threads; never held over an `await` | blocks the thread, on a notification; hand-over in turn; allocates nothing |
//! | [`AsyncMutex`] | futures, and threads beside them; may be held over an `await` | in the order in which they came |
//! | [`Semaphore`] | so many at a time | in the order in which they came |
//! | [`channel`] | values from senders to receivers, a bounded number under way | senders where it is full, receivers where it is empty |
//!
//! Nobody in the way, none of them makes a system call. What can wait comes in three kinds: `try_` does not wait, `async` waits as a future,
//! and the plain one blocks the thread ([`block_on`]). The thread that runs an executor, or a driver's loop, is not to block: everything else
//! in it would stand still meanwhile, its signs of life included.
//!
//! **Dropping a future of these is cancelling it**: it leaves the queue, and a turn that it was given already goes to the next one. A value is
//! sent, or taken, in the very moment in which the future is ready, so a cancelled one has sent or taken nothing.

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
