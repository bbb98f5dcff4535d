//! The console: keyboard and serial line in, screen and serial line out, joined into one session with a line editor.
//!
//! Here are its protocol and the stub by which clients speak it, and its logic, which knows no device and runs on the host.
//!
//! | request | asks | answer |
//! |---|---|---|
//! | [`label::WRITE`] | lease 0 (READ) UTF-8 text; word 0 the number of this write, rising from 1, or 0 for none | word 0 bytes printed, on screen and serial line |
//! | [`label::READ_LINE`] | lease 0 (READ) prompt, lease 1 (WRITE) room for the line | once there is a line: word 0 how many bytes of it were written, word 1 its length |
//! | [`label::SET_COMPLETIONS`] | lease 0 (READ) what Tab offers, one `command` or `command argument` a line | - |
//! | [`label::CLEAR`] | - | - |
//! | [`label::SET_COLOR`] | words 0 and 1 foreground and background, 0 to 15 as VGA numbers them | - |
//! | [`label::FLUSH`] | - | once the serial line has sent everything printed so far; STALLED where it sends nothing for two seconds |
//! | [`label::CANCEL`] | - | -; the READ_LINE of this task is answered with CANCELLED, what was typed is there for the next one |
//! | [`label::SUBSCRIBE_INTERRUPT`] | a notification (SIGNAL), word 0 bits | -; the bits are set on Ctrl-C while nobody reads a line |
//!
//! The answer's label is 0 where that was done, otherwise one of [`outcome`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod complete;
pub mod editor;
pub mod history;
pub mod input;
pub mod io;
pub mod keep;
pub mod key;
pub mod logs;
pub mod outbox;
pub mod session;
#[cfg(test)]
pub(crate) mod terminal;
pub mod text;
pub mod typed;

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::ipc::{CallError, Endpoint, Loan, Reply};
use rt::notify::Notification;
use rt::sync::Mutex;

/// Requests.
pub mod label {
    /// Prints text. A number that was finished already is only acknowledged; one that was begun goes on.
    pub const WRITE: u16 = 1;
    /// Lets a person edit a line. One task at a time.
    pub const READ_LINE: u16 = 2;
    /// Replaces the list of completions.
    pub const SET_COMPLETIONS: u16 = 3;
    /// Clears the display.
    pub const CLEAR: u16 = 4;
    /// Sets the colours of text to come.
    pub const SET_COLOR: u16 = 5;
    /// Names who is told of Ctrl-C while nobody reads. Replaces the one before.
    pub const SUBSCRIBE_INTERRUPT: u16 = 6;
    /// Waits until everything printed is on screen and line.
    pub const FLUSH: u16 = 7;
    /// Ends the READ_LINE of this task.
    pub const CANCEL: u16 = 8;
    /// Lease 0 (write): a line for each display that does not show what it is given, and why. Reply: word 0 bytes.
    pub const TROUBLE: u16 = 9;
}

/// Outcomes other than 0, which is success.
pub mod outcome {
    /// READ_LINE: the person gave the line up with Ctrl-C.
    pub const INTERRUPTED: u16 = 1;
    /// READ_LINE: Ctrl-D on an empty line.
    pub const END_OF_INPUT: u16 = 2;
    /// READ_LINE: another task reads a line.
    pub const BUSY: u16 = 3;
    /// The memory lent is missing, too large, or cannot be reached.
    pub const BAD_LEASE: u16 = 4;
    /// READ_LINE: the task gave it up.
    pub const CANCELLED: u16 = 5;
    /// FLUSH: the serial line sends nothing. What was printed is sent if it does again.
    pub const STALLED: u16 = 6;
    /// No such request, or not in this form.
    pub const BAD_REQUEST: u16 = rt::OUTCOME_BAD_REQUEST;
}

/// Most bytes of a list of completions.
pub const MAX_COMPLETIONS: usize = 16 * 1024;

/// Why a request was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The call failed. `Died` comes only after many tries, each of which the console died over.
    Call(CallError),
    /// The console refused: see [`outcome`].
    Refused(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Call(error) => error.fmt(f),
            Error::Refused(outcome::BUSY) => f.write_str("another task reads a line"),
            Error::Refused(outcome::STALLED) => f.write_str("the serial line sends nothing"),
            Error::Refused(outcome::BAD_LEASE) => f.write_str("the memory lent to the console cannot be reached"),
            Error::Refused(label) => write!(f, "the console refused the request ({label})"),
        }
    }
}

impl core::error::Error for Error {}

/// What a person entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    EndOfInput,
}

/// The number of this task's last write. The console counts by task, so all clients of a task share it.
static LAST: AtomicU64 = AtomicU64::new(0);

fn next_write() -> u64 {
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The console, as a client sees it; [`io::AsyncClient`] is for futures. All requests survive its death: they are asked again, writes with their number,
/// so that text appears once.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// Told again to a console that died while it read a line, as is who wants to know of Ctrl-C.
    completions: String,
    interrupt: Mutex<Option<(Notification, u64)>>,
    /// What of a line was not read yet, for those to whom it is a stream.
    unread: Vec<u8>,
}

impl Client {
    /// A client of the console behind `endpoint`.
    pub const fn new(endpoint: Endpoint) -> Client {
        Client { endpoint, completions: String::new(), interrupt: Mutex::new(None), unread: Vec::new() }
    }

    /// The peer `console`, where `system.toml` lets this task call it.
    pub fn peer() -> Option<Client> {
        Endpoint::peer("console").map(Client::new)
    }

    /// Prints text on screen and serial line, and returns when both have it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&self, text: &str) -> Result<(), Error> {
        self.write_bytes(text.as_bytes())
    }

    fn write_bytes(&self, text: &[u8]) -> Result<(), Error> {
        if text.is_empty() {
            return Ok(());
        }
        self.ask(label::WRITE, [next_write(), 0, 0, 0], &mut [Loan::Read(text)]).map(drop)
    }

    /// Lets a person edit a line after `prompt`, and waits for it. Should the console die meanwhile, its next life goes on
    /// with what was typed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_line(&self, prompt: &str) -> Result<Line, Error> {
        let mut line = [0; editor::MAX_LINE];
        loop {
            let mut loans = [Loan::Read(prompt.as_bytes()), Loan::Write(&mut line)];
            match self.endpoint.call_with(label::READ_LINE, [0; 4], &mut loans) {
                Ok(Reply { label: 0, words: [len, ..], .. }) => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX).min(line.len());
                    let text = line.get(..len).unwrap_or_default();
                    return Ok(Line::Text(String::from_utf8_lossy(text).into_owned()));
                }
                Ok(Reply { label: outcome::INTERRUPTED, .. }) => return Ok(Line::Interrupted),
                Ok(Reply { label: outcome::END_OF_INPUT, .. }) => return Ok(Line::EndOfInput),
                Ok(Reply { label, .. }) => return Err(Error::Refused(label)),
                // It has forgotten them with its life.
                Err(CallError::Died { .. }) => {
                    self.send_completions()?;
                    let interrupt = *self.interrupt.lock();
                    if let Some((notification, bits)) = interrupt {
                        self.subscribe_interrupt(notification, bits)?;
                    }
                }
                Err(error) => return Err(Error::Call(error)),
            }
        }
    }

    /// Sets what Tab offers: one `command` or `command argument` a line, at most [`MAX_COMPLETIONS`] bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_completions(&mut self, list: String) -> Result<(), Error> {
        self.completions = list;
        self.send_completions()
    }

    fn send_completions(&self) -> Result<(), Error> {
        let mut loans = [Loan::Read(self.completions.as_bytes())];
        self.ask(label::SET_COMPLETIONS, [0; 4], &mut loans).map(drop)
    }

    /// Clears the display.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn clear(&self) -> Result<(), Error> {
        self.ask(label::CLEAR, [0; 4], &mut []).map(drop)
    }

    /// Sets the colours of text to come, 0 to 15 each as VGA numbers them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_color(&self, foreground: u8, background: u8) -> Result<(), Error> {
        let words = [foreground.into(), background.into(), 0, 0];
        self.ask(label::SET_COLOR, words, &mut []).map(drop)
    }

    /// Has `bits` set in `notification` on Ctrl-C while nobody reads a line: the console can set no others. Holds until the console's death,
    /// and beyond it where this client was reading a line.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn subscribe_interrupt(&self, notification: Notification, bits: u64) -> Result<(), Error> {
        loop {
            match self.endpoint.subscribe(label::SUBSCRIBE_INTERRUPT, notification, bits) {
                Ok(reply) if reply.label == 0 => {
                    *self.interrupt.lock() = Some((notification, bits));
                    return Ok(());
                }
                Ok(reply) => return Err(Error::Refused(reply.label)),
                Err(CallError::Died { .. }) => {}
                Err(error) => return Err(Error::Call(error)),
            }
        }
    }

    /// Waits until everything printed so far is on the screen and has left the serial line.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn flush(&self) -> Result<(), Error> {
        self.ask(label::FLUSH, [0; 4], &mut []).map(drop)
    }

    /// A line for each display that does not show what it is given, and why; empty where all do.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn trouble(&self) -> Result<String, Error> {
        let mut text = [0; 512];
        let [len, ..] = self.ask(label::TROUBLE, [0; 4], &mut [Loan::Write(&mut text)])?.words;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(text.len());
        Ok(String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned())
    }

    fn ask(&self, label: u16, words: [u64; 4], loans: &mut [Loan<'_>]) -> Result<Reply, Error> {
        match self.endpoint.call_retrying(label, words, loans) {
            Ok(reply) if reply.label == 0 => Ok(reply),
            Ok(reply) => Err(Error::Refused(reply.label)),
            Err(error) => Err(Error::Call(error)),
        }
    }
}
