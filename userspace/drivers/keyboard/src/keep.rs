//! The state that outlives the driver: unread events, the layout, the held keys, and the byte being
//! worked on.
//!
//! All changes by one scan code (its events, the held keys, the fact that it is done) are committed
//! by one store, that of the inbox's head: before it, the next life works on the code again; after
//! it, never.

use crate::decode::{STATE_BITS, State};
use crate::event::KeyEvent;
use crate::layout::Layout;
use abi::TaskId;
use core::sync::atomic::AtomicU8;
use rt::keep::{Cell, Inbox, Run};

/// Slots for events; one of them is always empty.
pub const RING: u32 = 256;

/// Bit of the inbox's state that tells which of the two raw slots is the next one. The bits below
/// it are the decoder's state.
const SLOT_SHIFT: u32 = STATE_BITS;

rt::kept! {
    /// The kept state.
    pub struct Keep {
        layout: Cell<u32>,
        lost: Cell<u32>,
        config: Cell<u32>,
        raw: [Cell<u8>; 2],
        events: Inbox<u64, { RING as usize }>,
    }
}

const _: () = assert!(STATE_BITS < 32);

impl Keep {
    /// The controller's configuration byte, as the set-up made it.
    pub fn config(&self) -> u8 {
        self.config.get() as u8
    }

    /// Keeps the controller's configuration byte.
    pub fn set_config(&self, config: u8) {
        self.config.put(config.into());
    }

    /// The layout that was chosen last.
    pub fn layout(&self) -> Layout {
        Layout::from_u32(self.layout.get()).unwrap_or_default()
    }

    /// Chooses a layout.
    pub fn set_layout(&self, layout: Layout) {
        self.layout.put(layout as u32);
    }

    /// The decoder's state after the last scan code that is done.
    pub fn decoder(&self) -> State {
        State::from_bits(self.events.ring().state())
    }

    /// How many events were lost because the buffer was full.
    pub fn lost(&self) -> u32 {
        self.lost.get()
    }

    /// How many events have been given to no reader yet.
    pub fn unread(&self) -> u32 {
        self.events.unread()
    }

    /// For how many more events there is room.
    pub fn room(&self) -> usize {
        self.events.ring().room() as usize
    }

    fn slot(&self) -> usize {
        (self.events.ring().state() >> SLOT_SHIFT & 1) as usize
    }

    /// The slot for the next byte from the keyboard. It is zero, which is no scan code, until it is
    /// filled.
    pub fn raw_slot(&self) -> &AtomicU8 {
        self.raw[self.slot()].atomic()
    }

    /// The byte in [`Keep::raw_slot`], if there is one.
    pub fn raw(&self) -> Option<u8> {
        Some(self.raw[self.slot()].get()).filter(|byte| *byte != 0)
    }

    /// Commits the byte in [`Keep::raw_slot`] as done: it has made these events and led to this
    /// state. Returns whether there are new events.
    pub fn commit(&self, events: impl IntoIterator<Item = KeyEvent>, state: State) -> bool {
        let ring = self.events.ring();
        let head = ring.head();
        let mut end = head;
        for event in events {
            if end.wrapping_sub(ring.tail()) < RING {
                ring.cell(end).put(event.to_u64());
                end = end.wrapping_add(1);
            } else {
                self.lost.put(self.lost.get().saturating_add(1));
            }
        }
        let next = 1 - self.slot();
        self.raw[next].put(0);
        ring.publish(end, (next as u32) << SLOT_SHIFT | state.bits());
        end != head
    }

    /// Gives up to `capacity` events to a reader, through `give` (number of the first, bytes), and
    /// returns how many: see [`Inbox::read`].
    ///
    /// # Errors
    /// Any error of `give`.
    pub fn read<E>(
        &self,
        task: TaskId,
        number: u64,
        capacity: usize,
        give: impl FnMut(usize, &[u8; KeyEvent::LEN]) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.events.read(task, number, capacity, as_bytes(give))
    }

    /// Gives up to `capacity` events from a position on: see [`Inbox::read_from`].
    ///
    /// # Errors
    /// Any error of `give`.
    pub fn read_from<E>(
        &self,
        position: u32,
        capacity: usize,
        give: impl FnMut(usize, &[u8; KeyEvent::LEN]) -> Result<(), E>,
    ) -> Result<Run, E> {
        self.events.read_from(position, capacity, as_bytes(give))
    }

    /// Whether there is nothing to read: everything was taken, and the reader has confirmed that.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Marks arbitrary contents as valid.
    #[cfg(test)]
    pub fn scramble(&self, words: &[u64]) {
        let [work, given, tail, layout, ..] = *words else { panic!("four words") };
        self.events.scramble(work as u32, given as u32, tail as u32);
        self.events.ring().publish(work as u32, (work >> 32) as u32);
        self.layout.put(layout as u32);
        self.set_ready(0);
    }
}

/// Makes a function that takes events as words out of `give`, which takes each event as bytes.
fn as_bytes<E>(
    mut give: impl FnMut(usize, &[u8; KeyEvent::LEN]) -> Result<(), E>,
) -> impl FnMut(usize, &[u64]) -> Result<(), E> {
    move |first, part| (first..).zip(part).try_for_each(|(number, event)| give(number, &event.to_le_bytes()))
}
