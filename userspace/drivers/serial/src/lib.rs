//! The serial line's protocol, and the stub by which clients speak it.
//!
//! Clients number their writes and reads; the driver keeps the numbers where its death does not reach them, so the stub can ask again
//! after [`CallError::Died`] and every byte goes out, or comes in, exactly once. The numbers are per client task: one thread of a task
//! writes, and one reads (it may be another one). Bytes are for one reader: with several, each gets some of them.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod device;
pub mod io;
pub mod keep;
#[cfg(test)]
mod model;
pub mod ports;
#[cfg(test)]
mod same_on_qemu;
#[cfg(test)]
mod tests;
pub mod writes;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use device::Errors;
use rt::ipc::{CallError, Endpoint, Loan, Reply};
use rt::notify::Notification;

/// Operations.
pub mod label {
    /// Lease 0 (readable): bytes to send. Word 0: the number of this write, 0 for none. Answered when all of them are in the
    /// driver's transmit ring; word 0: how many.
    pub const WRITE: u16 = 1;
    /// Lease 0 (writable): room for bytes. Word 0: 1 to wait until there is one. Word 1: the number of this read, 0 for none.
    /// Answer: word 0: how many.
    pub const READ: u16 = 2;
    /// Handle (SIGNAL) of a notification; word 0: the bits to set in it whenever bytes come in. Replaces the task's last one.
    pub const SUBSCRIBE: u16 = 3;
    /// Answer: see [`super::Info::from_words`].
    pub const INFO: u16 = 4;
    /// Answered when everything accepted before it has left the UART.
    pub const FLUSH: u16 = 5;
    /// Has the read of this task that waits answered now, without bytes.
    pub const CANCEL: u16 = 6;
}

/// Outcomes other than 0, which is success.
pub mod outcome {
    /// The lease is missing or cannot be reached.
    pub const BAD_LEASE: u16 = 1;
    /// Too many requests wait already, or one of the same kind from this task does.
    pub const BUSY: u16 = 2;
    /// No UART answers at the ports.
    pub const NO_DEVICE: u16 = 3;
    /// The notification is missing, or too many tasks have subscribed.
    pub const NOT_SUBSCRIBED: u16 = 4;
    /// The driver does not know the operation.
    pub const BAD_REQUEST: u16 = 0xffff;
}

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
    /// The call failed; never [`CallError::Died`] from [`Client::write`] and [`Client::read`], which ask again.
    Call(CallError),
    /// The driver refused: see [`outcome`].
    Refused(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Call(error) => write!(f, "{error}"),
            Error::Refused(outcome::BAD_LEASE) => f.write_str("the memory lent cannot be reached"),
            Error::Refused(outcome::BUSY) => f.write_str("too many requests wait already"),
            Error::Refused(outcome::NO_DEVICE) => f.write_str("no UART answers"),
            Error::Refused(outcome::NOT_SUBSCRIBED) => f.write_str("not subscribed"),
            Error::Refused(label) => write!(f, "the request was refused ({label})"),
        }
    }
}

impl core::error::Error for Error {}

/// State of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Info {
    /// Bytes that came in and were given to nobody yet.
    pub unread: u32,
    /// Bytes that wait to be sent.
    pub unsent: u32,
    /// Bytes sent since the first boot, modulo 2^32.
    pub sent: u32,
    /// Errors since the driver's start.
    pub errors: Errors,
    /// A UART answers.
    pub present: bool,
    /// The driver went on from an earlier life.
    pub restarted: bool,
    /// A death of the driver at any instant neither doubles nor loses a byte.
    pub exact: bool,
}

impl Info {
    /// As the answer to [`label::INFO`]: unread and unsent; errors as four 16-bit counters; sent and three flags.
    pub fn to_words(self) -> [u64; 4] {
        let Errors { overruns, parity, framing, breaks } = self.errors;
        let errors = (overruns as u64) | (parity as u64) << 16 | (framing as u64) << 32 | (breaks as u64) << 48;
        let flags = self.present as u64 | (self.restarted as u64) << 1 | (self.exact as u64) << 2;
        [self.unread as u64, self.unsent as u64, errors, flags << 32 | self.sent as u64]
    }

    /// The inverse of [`Info::to_words`].
    pub fn from_words(words: [u64; 4]) -> Self {
        let [unread, unsent, errors, rest] = words;
        let counter = |shift: u32| (errors >> shift) as u16;
        let flag = |bit: u32| rest >> bit & 1 == 1;
        Info {
            unread: unread as u32,
            unsent: unsent as u32,
            sent: rest as u32,
            errors: Errors { overruns: counter(0), parity: counter(16), framing: counter(32), breaks: counter(48) },
            present: flag(32),
            restarted: flag(33),
            exact: flag(34),
        }
    }
}

/// The task's write and read numbers: one sequence for all its [`Client`]s, since the driver tells clients apart by task.
static WRITES: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU32 = AtomicU32::new(0);

fn next_write() -> u64 {
    WRITES.fetch_add(1, Ordering::Relaxed) + 1
}

/// Never 0, which means "no number".
fn next_read() -> u32 {
    READS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// The driver, as a client sees it. [`io::AsyncClient`] is for futures.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

impl Client {
    /// Speaks to the driver behind `endpoint`, such as `Endpoint::peer("serial")`.
    pub const fn new(endpoint: Endpoint) -> Self {
        Client { endpoint }
    }

    /// Sends all of `bytes`: returns when the driver has them, which may be before they are on the line. Exactly once,
    /// even if the driver dies meanwhile.
    ///
    /// # Errors
    /// The driver will not come back, or refuses (see [`outcome`]).
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        let sequence = next_write();
        let reply =
            self.repeat(|| self.endpoint.call_with(label::WRITE, [sequence, 0, 0, 0], &mut [Loan::Read(bytes)]))?;
        Ok(reply.words[0] as usize)
    }

    /// Takes bytes that came in, at most as many as fit into `buffer`; with `wait`, at least one. Exactly once, even if the
    /// driver dies meanwhile.
    ///
    /// # Errors
    /// The driver will not come back, or refuses (see [`outcome`]).
    pub fn read(&self, buffer: &mut [u8], wait: bool) -> Result<usize, Error> {
        let sequence = next_read();
        let room = buffer.len();
        let reply = self.repeat(|| {
            let words = [wait as u64, sequence as u64, 0, 0];
            self.endpoint.call_with(label::READ, words, &mut [Loan::Write(&mut *buffer)])
        })?;
        Ok((reply.words[0] as usize).min(room))
    }

    /// Has `bits` set in `notification` whenever bytes come in, and at once where some wait.
    /// Holds until the driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    ///
    /// # Errors
    /// The call failed, or the driver refuses (see [`outcome`]).
    pub fn subscribe(&self, notification: Notification, bits: u64) -> Result<(), Error> {
        self.repeat(|| self.endpoint.subscribe(label::SUBSCRIBE, notification, bits))?;
        Ok(())
    }

    /// Asks for the state of the line.
    ///
    /// # Errors
    /// The driver will not come back.
    pub fn info(&self) -> Result<Info, Error> {
        let reply = self.repeat(|| self.endpoint.call(label::INFO, [0; 4]))?;
        Ok(Info::from_words(reply.words))
    }

    /// Waits until everything that the driver has accepted so far has left the UART.
    ///
    /// # Errors
    /// The driver will not come back, or too many wait already.
    pub fn flush(&self) -> Result<(), Error> {
        self.repeat(|| self.endpoint.call(label::FLUSH, [0; 4]))?;
        Ok(())
    }

    /// Asks again as long as the driver dies over it: everything in this protocol may be repeated.
    fn repeat(&self, mut call: impl FnMut() -> Result<Reply, CallError>) -> Result<Reply, Error> {
        loop {
            match call() {
                Ok(reply) if reply.label == 0 => return Ok(reply),
                Ok(reply) => return Err(Error::Refused(reply.label)),
                Err(CallError::Died { .. }) => {}
                Err(error) => return Err(Error::Call(error)),
            }
        }
    }
}
