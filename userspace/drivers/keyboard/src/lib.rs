//! The keyboard's protocol, and [`Events`], which a read brings. Events are for one reader: with several, each gets some of them.
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
    /// The driver, as a client sees it. Every key press comes in exactly once, even if the driver dies meanwhile.
    pub protocol keyboard;

    refusals {}

    /// Takes the events that wait, [`KeyEvent::LEN`] bytes each, as many as fit; with `wait`, at least one. How many events came. See
    /// [`Client::events`].
    [2 numbered later] fn read(wait: bool, events: &mut [u8]) -> usize;

    /// Has `bits` set in a notification (which the caller may GRANT) whenever there are events, and at once where some wait. Replaces the
    /// task's last one. Holds until the driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    [3 idempotent] fn subscribe(bits: u64) passing notification: Notification[SIGNAL];

    /// Chooses a layout, which outlives the driver.
    [4 idempotent] fn set_layout(layout: Layout);

    /// The layout, and how many events were lost since the first boot because nobody read.
    [5 idempotent] fn layout() -> LayoutInfo;

    /// Takes events from a position on, as many as fit. What lies before the position is dropped: a reader that keeps the position up to which it has
    /// taken events, in memory that outlives it, gets each exactly once, whoever of the two dies. Where nothing lies at that position, it begins with
    /// what there is. See [`Client::events_from`].
    [6 idempotent] fn read_from(position: u32, events: &mut [u8]) -> Run;
}

rt::words! {
    /// What [`Client::layout`] tells.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LayoutInfo {
        /// The layout.
        pub layout: Layout,
        /// Events lost.
        pub lost: u64,
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

impl Events {
    /// How many of the events that the read took have been given by the iterator so far.
    pub fn taken(&self) -> u32 {
        self.next as u32
    }

    /// How many the read took.
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
            // A code that is none comes from a driver with other ideas; it means nothing here.
            if let Some(event) = raw.map(u64::from_le_bytes).and_then(KeyEvent::from_u64) {
                return Some(event);
            }
        }
        None
    }
}

impl Client {
    /// Takes the events from a position on, or the first 32 of them; returns the position of the first, and the events.
    ///
    /// # Errors
    /// The driver will not come back, or refuses.
    pub fn events_from(&self, position: u32) -> Result<(u32, Events), Error> {
        let mut events = Events { bytes: [0; _], next: 0, count: 0 };
        let run = self.read_from(position, &mut events.bytes)?;
        events.count = (run.count as usize).min(MOST);
        Ok((run.first, events))
    }

    /// Takes the events that wait, or the first 32 of them; with `wait`, at least one.
    ///
    /// # Errors
    /// The driver will not come back, or refuses.
    pub fn events(&self, wait: bool) -> Result<Events, Error> {
        let mut events = Events { bytes: [0; _], next: 0, count: 0 };
        events.count = self.read(wait, &mut events.bytes)?.min(MOST);
        Ok(events)
    }
}
