//! The keyboard's protocol, and the stub by which clients speak it.
//!
//! Clients number their reads; the driver keeps the number, and the events given for it, where its death does not reach them, so the stub
//! can ask again after [`CallError::Died`] and every key press comes in exactly once. Events are for one reader: with several, each gets
//! some of them.
#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod decode;
pub mod device;
mod event;
pub mod keep;
mod layout;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod model;
pub mod ports;
#[cfg(test)]
mod same_on_qemu;
#[cfg(test)]
mod tests;

pub use event::{Key, KeyEvent, Mods, SPECIAL, Special};
pub use layout::Layout;

use core::sync::atomic::{AtomicU32, Ordering};
use rt::ipc::{CallError, Endpoint, Loan, Reply};
use rt::notify::Notification;

/// Operations.
pub mod label {
    /// Lease 0 (writable): room for events, [`super::KeyEvent::LEN`] bytes each. Word 0: 1 to wait until there is one. Word 1: the
    /// number of this read, 0 for none. Answer: word 0: how many.
    pub const READ: u16 = 2;
    /// Handle (SIGNAL) of a notification; word 0: the bits to set in it whenever there are events. Replaces the task's last one.
    pub const SUBSCRIBE: u16 = 3;
    /// Word 0: number of a [`super::Layout`].
    pub const SET_LAYOUT: u16 = 4;
    /// Answer: word 0: number of the [`super::Layout`]; word 1: events lost since the first boot because nobody read.
    pub const GET_LAYOUT: u16 = 5;
}

/// Outcomes other than 0, which is success.
pub mod outcome {
    /// The lease is missing or cannot be reached.
    pub const BAD_LEASE: u16 = 1;
    /// Another read of the same task waits already.
    pub const BUSY: u16 = 2;
    /// There is no layout of this number.
    pub const NO_LAYOUT: u16 = 3;
    /// The notification is missing.
    pub const NOT_SUBSCRIBED: u16 = 4;
    /// The driver does not know the operation.
    pub const BAD_REQUEST: u16 = 0xffff;
}

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
    /// The call failed; never [`CallError::Died`], after which the stub asks again.
    Call(CallError),
    /// The driver refused: see [`outcome`].
    Refused(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Call(error) => write!(f, "{error}"),
            Error::Refused(outcome::BAD_LEASE) => f.write_str("the memory lent cannot be reached"),
            Error::Refused(outcome::BUSY) => f.write_str("another read waits already"),
            Error::Refused(outcome::NO_LAYOUT) => f.write_str("there is no such layout"),
            Error::Refused(outcome::NOT_SUBSCRIBED) => f.write_str("not subscribed"),
            Error::Refused(label) => write!(f, "the request was refused ({label})"),
        }
    }
}

/// Events that one read takes at most.
const MOST: usize = 32;

/// Events taken by a read, in order.
#[derive(Clone, Debug)]
pub struct Events {
    bytes: [u8; MOST * KeyEvent::LEN],
    next: usize,
    count: usize,
}

impl Iterator for Events {
    type Item = KeyEvent;

    fn next(&mut self) -> Option<KeyEvent> {
        while self.next < self.count {
            let (events, _) = self.bytes.as_chunks::<{ KeyEvent::LEN }>();
            let raw = events.get(self.next).copied();
            self.next += 1;
            // A code that is none comes from a driver with other ideas; it means nothing here.
            if let Some(event) = raw.map(u64::from_le_bytes).and_then(KeyEvent::from_u64) {
                return Some(event);
            }
        }
        None
    }
}

/// The task's read numbers: one sequence for all its [`Client`]s, since the driver tells clients apart by task.
static READS: AtomicU32 = AtomicU32::new(0);

/// The driver, as a client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

impl Client {
    /// Speaks to the driver behind `endpoint`, such as `Endpoint::peer("keyboard")`.
    pub const fn new(endpoint: Endpoint) -> Self {
        Client { endpoint }
    }

    /// Takes the events that wait, or the first 32 of them; with `wait`, at least one. Exactly once, even if the driver
    /// dies meanwhile.
    ///
    /// # Errors
    /// The driver will not come back, or refuses (see [`outcome`]).
    pub fn read(&self, wait: bool) -> Result<Events, Error> {
        // 0 means "no number".
        let sequence = READS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        let mut events = Events { bytes: [0; _], next: 0, count: 0 };
        let reply = self.repeat(|| {
            let words = [wait as u64, sequence as u64, 0, 0];
            self.endpoint.call_with(label::READ, words, &mut [Loan::Write(&mut events.bytes)])
        })?;
        events.count = (reply.words[0] as usize).min(MOST);
        Ok(events)
    }

    /// Has `bits` set in `notification` whenever there are events, and at once where some
    /// wait. Holds until the driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    ///
    /// # Errors
    /// The call failed, or the driver refuses (see [`outcome`]).
    pub fn subscribe(&self, notification: Notification, bits: u64) -> Result<(), Error> {
        self.repeat(|| self.endpoint.subscribe(label::SUBSCRIBE, notification, bits))?;
        Ok(())
    }

    /// Chooses a layout, which outlives the driver.
    ///
    /// # Errors
    /// The driver will not come back.
    pub fn set_layout(&self, layout: Layout) -> Result<(), Error> {
        self.repeat(|| self.endpoint.call(label::SET_LAYOUT, [layout as u64, 0, 0, 0]))?;
        Ok(())
    }

    /// The layout.
    ///
    /// # Errors
    /// The driver will not come back, or knows more layouts than this crate.
    pub fn layout(&self) -> Result<Layout, Error> {
        let reply = self.repeat(|| self.endpoint.call(label::GET_LAYOUT, [0; 4]))?;
        let number = u32::try_from(reply.words[0]).ok();
        number.and_then(Layout::from_u32).ok_or(Error::Refused(outcome::NO_LAYOUT))
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
