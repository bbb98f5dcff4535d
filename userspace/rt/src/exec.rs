//! An executor: futures in a task, on one thread, without polling.
//!
//! ```ignore
//! rt::entry!(main);
//! fn main() {
//!     rt::exec::run(|exec| async move {
//!         loop {
//!             let asked = exec.request().await;
//!             exec.spawn(answer(exec.clone(), asked)).detach();
//!         }
//!     })
//! }
//! ```
//!
//! [`Exec`] is how futures get at the outside: [`Exec::sleep_ms`], [`Exec::bits`] (notifications), [`Exec::interrupt`], [`Exec::request`]
//! (what others ask), [`Exec::call`] (what is asked of others), [`Exec::spawn`]. When nothing is ready the thread blocks in the one wait of
//! the task, for bits of its notification, and for requests where somebody awaits one: requests that nobody awaits stay in
//! the kernel, so that a server is asked for no more than it takes.
//!
//! **Dropping is cancelling**, at any await point. A sleep takes its deadline away; bits and requests that came and were not taken go to whoever
//! asks next; an [`ReceivedRequest`] that is dropped is answered with [`OUTCOME_CANCELLED`]; a dropped [`Task`] drops its future; a dropped call
//! that has not begun is not made. A call that has begun goes on without the one who dropped it: it owns the memory that it lends
//! ([`Lend`]), so that is freed when the kernel has taken the leases back, and not before. Nothing borrowed is ever lent.
//!
//! All futures of an executor are polled on the thread that runs it; wakers may be used on any. A future that never waits keeps
//! requests out, and heartbeats unanswered.

mod calls;
mod combine;
mod kernel;
mod pending_call;
mod pool;
mod state;
#[cfg(test)]
mod tests;
mod waits;

pub use calls::{CallFuture, Called, Job, Lend};
pub use combine::{Either, Elapsed, join, join_all, select, timeout, yield_now};
pub use kernel::{MAX_CALLS, run, run_with, start};
pub use pending_call::PendingCall;
pub use state::{Exec, Platform, Task};
pub use waits::{Bits, NextRequest, OUTCOME_CANCELLED, ReceivedRequest, Sleep};
