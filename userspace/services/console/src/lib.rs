//! The console: keyboard and serial line in, screen and serial line out, joined into one session
//! with a line editor.
//!
//! This crate has its protocol ([`protocol`]), the client's side of it, and its logic, which is
//! independent of devices and runs on the host.
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
pub mod protocol;
pub mod session;
#[cfg(test)]
pub(crate) mod terminal;
pub mod text;
pub mod typed;

/// English names of the display's 16 colours, in the order of their numbers.
pub use driver_vga::color::NAMES as COLORS;
pub use protocol::{Error, Refusal, label};

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use rt::ipc::{CallError, Endpoint};
use rt::notify::Notification;
use rt::sync::Mutex;

/// Most bytes of a list of completions.
pub const MAX_COMPLETIONS: usize = 16 * 1024;

/// The result of reading a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    EndOfInput,
}

/// The number of this task's last request for a line. The console tells by it whether the previous
/// line has arrived; it distinguishes clients by task.
static READS: AtomicU32 = AtomicU32::new(0);

fn next_read() -> u32 {
    // 0 means no number.
    READS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// The console's client for tasks that read lines; [`io::AsyncClient`] is for futures,
/// [`protocol::Client`] has the bare requests. All requests survive the console's death: they are
/// repeated, writes with their number, so that text appears once.
#[derive(Debug)]
pub struct Client {
    console: protocol::Client,
    /// The completions, which are set again if the console died while it read a line, as is the
    /// subscription to Ctrl-C.
    completions: String,
    interrupt: Mutex<Option<(Notification, u64)>>,
    /// The unread rest of a line, for the stream traits.
    unread: Vec<u8>,
}

impl Client {
    /// A client of the console behind `endpoint`.
    pub const fn new(endpoint: Endpoint) -> Client {
        let console = protocol::Client::new(endpoint);
        Client { console, completions: String::new(), interrupt: Mutex::new(None), unread: Vec::new() }
    }

    /// A client of the peer `console`, if `system.toml` lets this task call it.
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
        if text.is_empty() { Ok(()) } else { self.console.write(text).map(drop) }
    }

    /// Lets a person edit a line after `prompt`, and waits for it. If the console dies meanwhile,
    /// its next life continues with the typed text. Each line is returned once, whenever the
    /// console dies.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_line(&self, prompt: &str) -> Result<Line, Error> {
        let mut line = [0; editor::MAX_LINE];
        let number = next_read();
        loop {
            match self.console.read_line(number, prompt.as_bytes(), &mut line) {
                Ok(entered) => {
                    let text = line.get(..entered.written).unwrap_or(&line);
                    return Ok(Line::Text(String::from_utf8_lossy(text).into_owned()));
                }
                Err(Error::Refused(Refusal::Interrupted)) => return Ok(Line::Interrupted),
                Err(Error::Refused(Refusal::EndOfInput)) => return Ok(Line::EndOfInput),
                // The console's next life does not have them.
                Err(Error::Call(CallError::Died { .. })) => {
                    self.send_completions()?;
                    let interrupt = *self.interrupt.lock();
                    if let Some((notification, bits)) = interrupt {
                        self.subscribe_interrupt(notification, bits)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the words that Tab completes: one `command` or `command argument` a line, at most
    /// [`MAX_COMPLETIONS`] bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_completions(&mut self, list: String) -> Result<(), Error> {
        self.completions = list;
        self.send_completions()
    }

    fn send_completions(&self) -> Result<(), Error> {
        self.console.set_completions(self.completions.as_bytes())
    }

    /// Clears the display.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn clear(&self) -> Result<(), Error> {
        self.console.clear()
    }

    /// Sets the colours of future text, 0 to 15 each as VGA numbers them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_color(&self, foreground: u8, background: u8) -> Result<(), Error> {
        self.console.set_color(foreground, background)
    }

    /// Has `bits` set in `notification` on Ctrl-C while no task reads a line; the console can set
    /// no other bits. Ends with the console's death, unless this client was reading a line then. A
    /// Ctrl-C that came between that death and this call is reported now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn subscribe_interrupt(&self, notification: Notification, bits: u64) -> Result<(), Error> {
        self.console.subscribe_interrupt(bits, notification)?;
        *self.interrupt.lock() = Some((notification, bits));
        Ok(())
    }

    /// A line of text for each display whose output cannot be seen, with the reason; empty if there
    /// is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn trouble(&self) -> Result<String, Error> {
        let mut text = [0; 512];
        let len = self.console.trouble(&mut text)?;
        Ok(String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned())
    }

    /// Waits until everything printed so far is on the screen and has left the serial line.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn flush(&self) -> Result<(), Error> {
        self.console.flush()
    }
}
