//! The power driver's protocol, and the stub by which clients speak it.
//!
//! Whoever has the endpoint may ask: who that is, `system.toml` says.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod device;
#[cfg(test)]
mod tests;

use rt::ipc::{CallError, Endpoint};

/// Operations. There is no answer from a machine that is off, so every answer is an [`outcome`].
pub mod label {
    /// Turns the machine off.
    pub const SHUTDOWN: u16 = 1;
    /// Starts the machine anew.
    pub const REBOOT: u16 = 2;
}

/// Outcomes. There is none that means success.
pub mod outcome {
    /// Every way was tried; the machine is still running. Word 0: how many ways there were.
    pub const STILL_RUNNING: u16 = 1;
    /// The driver does not know the operation.
    pub const BAD_REQUEST: u16 = 0xffff;
}

/// Why the machine is still running.
#[derive(Debug)]
pub enum Error {
    /// The call failed.
    Call(CallError),
    /// This many ways were tried, and none worked.
    StillRunning {
        /// How many.
        ways: u64,
    },
    /// The driver refused.
    Refused(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Call(error) => write!(f, "{error}"),
            Error::StillRunning { ways } => write!(f, "the machine is still running, after {ways} ways to change that"),
            Error::Refused(label) => write!(f, "the request was refused ({label})"),
        }
    }
}

/// How often a request over which the driver died is repeated: a machine that outlives this many tries has no wish to stop.
const TRIES: usize = 3;

/// The driver, as a client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

impl Client {
    /// Speaks to the driver behind `endpoint`, such as `Endpoint::peer("power")`.
    pub const fn new(endpoint: Endpoint) -> Self {
        Client { endpoint }
    }

    /// Turns the machine off. Returns only where that fails, and then says why.
    pub fn shutdown(&self) -> Error {
        self.ask(label::SHUTDOWN)
    }

    /// Starts the machine anew. Returns only where that fails, and then says why.
    pub fn reboot(&self) -> Error {
        self.ask(label::REBOOT)
    }

    fn ask(&self, label: u16) -> Error {
        let mut tries = 1;
        loop {
            match self.endpoint.call(label, [0; 4]) {
                Ok(reply) if reply.label == outcome::STILL_RUNNING => {
                    return Error::StillRunning { ways: reply.words[0] };
                }
                Ok(reply) => return Error::Refused(reply.label),
                // Asking twice for the same end does no harm.
                Err(CallError::Died { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Error::Call(error),
            }
        }
    }
}
