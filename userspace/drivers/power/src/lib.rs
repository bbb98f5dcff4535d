//! The power driver's protocol. A task that has the endpoint may send these requests; `system.toml`
//! says which tasks have it.
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
    /// The power driver's requests. A machine that is off does not answer, so every answer is a
    /// refusal.
    pub protocol power;

    refusals {
        /// This many registers were tried, and none worked.
        StillRunning(ways: u64) = 1 "the machine is still running, after {ways} ways to change that",
    }

    // After three tries there is no reason to expect that another one works.
    /// Powers the machine off.
    [1 idempotent(3)] fn shutdown() -> Infallible;

    /// Resets the machine.
    [2 idempotent(3)] fn reboot() -> Infallible;
}
