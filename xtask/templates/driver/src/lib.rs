//! The `{{name}}` driver's protocol: the labels of its requests, and [`Client`], which asks them.
//!
//! Client and server share this file, so that they cannot drift apart. In the shell: `call {{name}} 1`.
#![no_std]
#![forbid(unsafe_code)]

pub mod device;

use rt::ipc::{CallError, Endpoint, Reply};

/// What a client can ask. The answer's label is 0 for "done", or an [`outcome`].
pub mod label {
    /// Says how many ticks there were and how long each takes. Answer: ticks, milliseconds.
    pub const READ: u16 = 1;
    /// Sets how long a tick takes. Word 0: milliseconds, within [`crate::device::PERIODS`].
    pub const SET_PERIOD: u16 = 2;
    /// Waits for the next tick. Answer: ticks.
    pub const WAIT: u16 = 3;
}

/// Why a request was not done.
pub mod outcome {
    /// The period is not within [`crate::device::PERIODS`].
    pub const BAD_PERIOD: u16 = 1;
    /// Too many clients wait already.
    pub const TOO_MANY: u16 = 2;
}

/// Why a client got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The call did not come through.
    Call(CallError),
    /// The driver refused: an [`outcome`], or [`rt::OUTCOME_BAD_REQUEST`].
    Refused(u16),
}

/// The driver, as a client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub Endpoint);

impl Client {
    /// The driver, if this task may call it.
    pub fn connect() -> Option<Client> {
        Endpoint::peer("{{name}}").map(Client)
    }

    /// Ticks so far, and milliseconds for each.
    ///
    /// # Errors
    /// When the call does not come through.
    pub fn read(self) -> Result<(u64, u64), Error> {
        let [ticks, period, ..] = self.ask(label::READ, 0)?;
        Ok((ticks, period))
    }

    /// Sets how many milliseconds a tick takes.
    ///
    /// # Errors
    /// [`outcome::BAD_PERIOD`]; or the call does not come through.
    pub fn set_period(self, ms: u64) -> Result<(), Error> {
        self.ask(label::SET_PERIOD, ms).map(|_| ())
    }

    /// Waits for the next tick and returns how many there were.
    ///
    /// # Errors
    /// [`outcome::TOO_MANY`]; or the call does not come through.
    pub fn wait(self) -> Result<u64, Error> {
        let [ticks, ..] = self.ask(label::WAIT, 0)?;
        Ok(ticks)
    }

    fn ask(self, label: u16, word: u64) -> Result<[u64; 4], Error> {
        match self.0.call(label, [word, 0, 0, 0]) {
            Ok(Reply { label: 0, words, .. }) => Ok(words),
            Ok(refusal) => Err(Error::Refused(refusal.label)),
            Err(error) => Err(Error::Call(error)),
        }
    }
}
