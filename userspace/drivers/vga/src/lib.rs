//! The VGA text driver: its protocol, the client's stub, and its logic, which runs on the host too.
//!
//! A screen is 80 by 25 cells of 16 colours. Text is UTF-8 with the escape sequences of ECMA-48 as terminals know them; what code page
//! 437 cannot show becomes a box with a question mark. The screen survives the driver: see [`keep`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod color;
pub mod cp437;
pub mod device;
pub mod font;
pub mod keep;
pub mod mode;
pub mod screen;
mod sgr;
pub mod stream;
pub mod turns;

pub use color::Color;
pub use device::Trouble;
pub use font::FONT;

use core::sync::atomic::{AtomicU64, Ordering};
use rt::Status;
use rt::ipc::{CallError, Endpoint, Loan, Reply};

/// The requests, as labels.
pub mod label {
    /// Lease 0 (read): text. Word 0: number of this write, rising from 1 within the client's life, or 0 for none. Reply when all of it
    /// is on the screen: word 0 bytes. A number that was finished already is only acknowledged; one that was begun goes on where
    /// the dead life stopped.
    pub const WRITE: u16 = 1;
    /// Erases the screen; the cursor goes home.
    pub const CLEAR: u16 = 2;
    /// Words 0 and 1: foreground and background, each 0 to 15 as in [`crate::Color`]. Also what "reset" leads to from now on.
    pub const SET_COLOR: u16 = 3;
    /// Reply: columns, rows, cursor column, cursor row.
    pub const INFO: u16 = 4;
    /// Lease 0 (write): two bytes per cell, row by row, glyph (code page 437) and attribute. Reply: word 0 bytes, then columns and rows.
    pub const READ_CELLS: u16 = 5;
    /// Reply: words 0 to 2: why nothing can be seen, as [`crate::device::Trouble::words`] has it.
    pub const TROUBLE: u16 = 6;
}

/// Outcome: too many writes wait already.
pub const OUTCOME_BUSY: u16 = 1;

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The call failed. `Died` comes only after many tries, each of which the driver died over.
    Call(CallError),
    /// The driver answered with this outcome: [`OUTCOME_BUSY`], or [`rt::OUTCOME_BAD_REQUEST`].
    Refused(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Call(error) => error.fmt(f),
            Error::Refused(OUTCOME_BUSY) => f.write_str("too many writes wait for the screen"),
            Error::Refused(outcome) => {
                write!(f, "the screen driver refused the request ({outcome:#x})")
            }
        }
    }
}

impl core::error::Error for Error {}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Error::Call(error)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Call(status.into())
    }
}

/// Where the screen and its cursor are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// Columns of the screen.
    pub cols: usize,
    /// Rows of the screen.
    pub rows: usize,
    /// Column of the cursor, from 0.
    pub cursor_col: usize,
    /// Row of the cursor, from 0.
    pub cursor_row: usize,
}

/// The number of this task's last write. The driver counts by task, so all clients of a task share it.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A client of the driver. One thread of a task writes at a time.
///
/// All requests survive the driver's death: they are asked again, writes with their number, so that text appears once.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    sequence: u64,
}

impl Client {
    /// A client of the driver behind `endpoint`.
    pub const fn new(endpoint: Endpoint) -> Client {
        Client { endpoint, sequence: 0 }
    }

    /// The peer `vga`, where `system.toml` lets this task call it.
    pub fn peer() -> Option<Client> {
        Endpoint::peer("vga").map(Client::new)
    }

    /// The number of this client's last write; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Writes text, and returns when it is on the screen.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&mut self, text: impl AsRef<[u8]>) -> Result<(), Error> {
        let text = text.as_ref();
        if text.is_empty() {
            return Ok(());
        }
        self.sequence = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.ask(label::WRITE, [self.sequence, 0, 0, 0], &mut [Loan::Read(text)]).map(drop)
    }

    /// Erases the screen; the cursor goes home.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn clear(&self) -> Result<(), Error> {
        self.ask(label::CLEAR, [0; 4], &mut []).map(drop)
    }

    /// Sets the colours of text to come, also for after a "reset" sequence.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_color(&self, fg: Color, bg: Color) -> Result<(), Error> {
        self.ask(label::SET_COLOR, [fg as u64, bg as u64, 0, 0], &mut []).map(drop)
    }

    /// Where the screen and its cursor are.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn info(&self) -> Result<Info, Error> {
        let reply = self.ask(label::INFO, [0; 4], &mut [])?;
        let [cols, rows, cursor_col, cursor_row] = reply.words.map(|w| w as usize);
        Ok(Info { cols, rows, cursor_col, cursor_row })
    }

    /// Why nothing can be seen, if that is so.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn trouble(&self) -> Result<Option<Trouble>, Error> {
        let [kind, offset, cells, _] = self.ask(label::TROUBLE, [0; 4], &mut [])?.words;
        Ok(Trouble::from_words([kind, offset, cells]))
    }

    /// Copies the cells, as many as fit: see [`label::READ_CELLS`]. Returns the bytes copied.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_cells(&self, cells: &mut [u8]) -> Result<usize, Error> {
        let [bytes, ..] = self.ask(label::READ_CELLS, [0; 4], &mut [Loan::Write(cells)])?.words;
        Ok(bytes as usize)
    }

    fn ask(&self, label: u16, words: [u64; 4], loans: &mut [Loan<'_>]) -> Result<Reply, Error> {
        let reply = self.endpoint.call_retrying(label, words, loans)?;
        if reply.label == 0 { Ok(reply) } else { Err(Error::Refused(reply.label)) }
    }
}

impl core::fmt::Write for Client {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.write(text).map_err(|_| core::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_goes_through_a_message() {
        let none = Trouble::NoText { offset: 0xf9e, written: 0xa5c3, read: 0xffff };
        for trouble in [None, Some(Trouble::Absent), Some(none)] {
            assert_eq!(Trouble::from_words(Trouble::words(trouble)), trouble);
        }
    }

    #[test]
    fn writes_of_a_task_never_share_a_number() {
        let (mut a, mut b) = (Client::new(Endpoint(90)), Client::new(Endpoint(90)));
        assert!(a.write("").is_ok());
        assert_eq!(a.sequence(), 0);
        // There is no kernel here to call, but the numbers are drawn.
        assert_eq!(a.write("x"), Err(Error::Call(CallError::Failed(Status::BadSyscall))));
        let first = a.sequence();
        assert!(b.write("y").is_err());
        assert!(a.write("z").is_err());
        assert!(0 < first && first < b.sequence() && b.sequence() < a.sequence());
    }
}
