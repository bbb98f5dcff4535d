//! The keyboard's protocol, and [`Events`], the result of a read. Only one client should read: with
//! several, each gets some of the events.
#![no_std]
#![forbid(unsafe_code)]
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
#[cfg(test)]
mod same_on_qemu;
pub mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;

pub use event::{Key, KeyEvent, Mods, SPECIAL, Special};
pub use layout::Layout;

use rt::keep::Run;
use rt::notify::Notification;

rt::protocol! {
    /// The keyboard driver's requests. Every key press is delivered exactly once, even if the
    /// driver dies meanwhile.
    pub protocol keyboard;

    refusals {}

    /// Takes as many waiting events as fit, [`KeyEvent::LEN`] bytes each; with `wait`, waits for at
    /// least one. Returns the number of events. See [`Client::events`].
    [2 numbered later] fn read(wait: bool, events: &mut [u8]) -> usize;

    /// Subscribes: `bits` are set in a notification (which the caller may GRANT) whenever there are
    /// events, and at once if some wait. Replaces the task's previous subscription. Ends with the
    /// driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    [3 idempotent] fn subscribe(bits: u64) passing notification: Notification[SIGNAL];

    /// Chooses a layout, which is kept over the driver's death.
    [4 idempotent] fn set_layout(layout: Layout);

    /// The layout, and the number of events that were lost since the first boot because nobody read
    /// them.
    [5 idempotent] fn layout() -> LayoutInfo;

    /// Takes as many events as fit from a position on. The events before the position are dropped:
    /// a reader that keeps the position up to which it has taken events, in memory that outlives
    /// it, gets each exactly once, whichever of reader and driver dies. If there is no event at
    /// that position, begins with the oldest event. See [`Client::events_from`].
    [6 idempotent] fn read_from(position: u32, events: &mut [u8]) -> Run;
}

rt::words! {
    /// The result of [`Client::layout`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LayoutInfo {
        /// The layout in use.
        pub layout: Layout,
        /// How many events were lost since the first boot.
        pub lost: u64,
    }
}

/// Most events of one read.
const MOST: usize = 32;

/// The events of one read, in order.
#[derive(Clone, Debug)]
pub struct Events {
    bytes: [u8; MOST * KeyEvent::LEN],
    next: usize,
    count: usize,
}

impl Events {
    /// How many of the read's events the iterator has given so far.
    pub fn taken(&self) -> u32 {
        self.next as u32
    }

    /// How many events the read took.
    pub fn total(&self) -> usize {
        self.count
    }
}

impl Iterator for Events {
    type Item = KeyEvent;

    fn next(&mut self) -> Option<KeyEvent> {
        while self.next < self.count {
            let (events, _) = self.bytes.as_chunks::<{ KeyEvent::LEN }>();
            let raw = events.get(self.next).copied();
            self.next += 1;
            // An invalid code is skipped; it may come from a driver of another version.
            if let Some(event) = raw.map(u64::from_le_bytes).and_then(KeyEvent::from_u64) {
                return Some(event);
            }
        }
        None
    }
}

impl Client {
    /// Takes at most 32 events from a position on; returns the position of the first, and the
    /// events.
    ///
    /// # Errors
    /// If the driver does not come back, or refuses.
    pub fn events_from(&self, position: u32) -> Result<(u32, Events), Error> {
        let mut events = Events { bytes: [0; _], next: 0, count: 0 };
        let run = self.read_from(position, &mut events.bytes)?;
        events.count = (run.count as usize).min(MOST);
        Ok((run.first, events))
    }

    /// Takes at most 32 of the waiting events; with `wait`, waits for at least one.
    ///
    /// # Errors
    /// If the driver does not come back, or refuses.
    pub fn events(&self, wait: bool) -> Result<Events, Error> {
        let mut events = Events { bytes: [0; _], next: 0, count: 0 };
        events.count = self.read(wait, &mut events.bytes)?.min(MOST);
        Ok(events)
    }
}
