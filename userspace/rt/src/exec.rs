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
//! Futures access the outside through [`Exec`]: [`Exec::sleep_ms`], [`Exec::bits`] (notifications),
//! [`Exec::interrupt`], [`Exec::request`] (requests of other tasks), [`Exec::call`] (calls of other
//! tasks), [`Exec::spawn`]. When no future is ready, the thread blocks in one wait: for bits of the
//! task's notification, and for requests if a future awaits one. Requests that no future awaits
//! stay queued in the kernel, so a server receives no more than it can handle.
//!
//! **Dropping a future cancels it**, at any await point. A sleep's deadline is removed; bits and
//! requests that have arrived and were not taken go to the next future that asks; a dropped
//! [`ReceivedRequest`] is answered with [`OUTCOME_CANCELLED`]; a dropped [`Task`] drops its future;
//! a dropped call that has not begun is not made. A call that has begun continues without the
//! future: it owns the memory that it lends ([`Lend`]), which is freed only after the kernel has
//! ended the leases. Borrowed memory is never lent.
//!
//! All futures of an executor are polled on the thread that runs it; wakers may be used on any
//! thread. A future that never waits delays requests and heartbeats.

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
