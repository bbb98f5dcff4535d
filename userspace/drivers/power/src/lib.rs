//! The power driver's protocol. Whoever has the endpoint may ask: who that is, `system.toml` says.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod device;
pub mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;

use core::convert::Infallible;

rt::protocol! {
    /// The driver, as a client sees it. There is no answer from a machine that is off, so every answer is a refusal.
    pub protocol power;

    refusals {
        /// So many ways were tried, and none worked.
        StillRunning(ways: u64) = 1 "the machine is still running, after {ways} ways to change that",
    }

    // A machine that outlives three tries has no wish to stop.
    /// Turns the machine off.
    [1 idempotent(3)] fn shutdown() -> Infallible;

    /// Starts the machine anew.
    [2 idempotent(3)] fn reboot() -> Infallible;
}
