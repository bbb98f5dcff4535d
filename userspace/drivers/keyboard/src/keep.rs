//! What outlives the driver: events nobody has read, the layout, the keys held, and the byte being worked on.
//!
//! The memory is zero at first boot and is handed to every later life as the last one left it, after any instruction. So every
//! store is ordered, and whatever one scan code changes (the events it makes, the keys held, the fact that it is done) counts by
//! one store, of [`Keep::work`]: before it, the code is worked on again; after it, never.
//!
//! Positions count events since the first boot and wrap; a place in the ring is the position modulo its size, so no position that
//! is read back can lead outside it.

use crate::decode::{STATE_BITS, State};
use crate::event::KeyEvent;
use crate::layout::Layout;
use abi::TaskId;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, compiler_fence};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Events that can wait to be read.
pub const RING: u32 = 256;

/// Set once the controller is set up; changes with the layout of [`Keep`].
pub const VERSION: u32 = 0x6b62_0002;

/// Bit of the work word that says which of the two raw slots is the next one. Below it the decoder's state, and below that the ring's head.
const SLOT_SHIFT: u32 = 32 + STATE_BITS;

/// The kept state. All fields are private: the methods are the only steps there are.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Keep {
    state: AtomicU32,
    layout: AtomicU32,
    work: AtomicU64,
    last_read: AtomicU64,
    given: AtomicU32,
    tail: AtomicU32,
    lost: AtomicU32,
    raw: [AtomicU8; 2],
    config: AtomicU8,
    reserved: AtomicU8,
    events: [AtomicU64; RING as usize],
}

const _: () = assert!(RING.is_power_of_two() && size_of::<Keep>() <= abi::PAGE_SIZE);

/// A cell of the kept state.
trait Cell<T> {
    fn get(&self) -> T;
    /// The fences keep the compiler from moving the store across a port access, which it may take for unrelated.
    fn put(&self, value: T);
}

macro_rules! cells {
    ($($atomic:ty: $value:ty),*) => {$(
        impl Cell<$value> for $atomic {
            fn get(&self) -> $value {
                self.load(Ordering::Acquire)
            }

            fn put(&self, value: $value) {
                #[cfg(test)]
                crate::model::fuse::tick();
                compiler_fence(Ordering::SeqCst);
                self.store(value, Ordering::Release);
                compiler_fence(Ordering::SeqCst);
            }
        }
    )*};
}

cells!(AtomicU8: u8, AtomicU32: u32, AtomicU64: u64);

fn index(position: u32) -> usize {
    (position % RING) as usize
}

impl Keep {
    /// The state in the given memory, or `None` where that is too small or not aligned to 8 bytes.
    pub fn open(memory: &'static mut [u8]) -> Option<&'static Keep> {
        let (keep, _) = Keep::mut_from_prefix(memory).ok()?;
        Some(keep)
    }

    /// Whether an earlier life has left a state to go on from.
    pub fn is_sound(&self) -> bool {
        let tail = self.tail.get();
        let unread = self.head().wrapping_sub(tail);
        self.state.get() == VERSION && unread <= RING && self.given.get().wrapping_sub(tail) <= unread
    }

    /// Forgets everything: before the first set-up, or where the state makes no sense.
    pub fn clear(&self) {
        self.state.put(0);
        for cell in [&self.layout, &self.given, &self.tail, &self.lost] {
            cell.put(0);
        }
        self.work.put(0);
        self.last_read.put(0);
        for slot in &self.raw {
            slot.put(0);
        }
    }

    /// Says that the controller is set up: from here on a next life goes on instead of starting over.
    pub fn set_ready(&self) {
        self.state.put(VERSION);
    }

    /// The controller's configuration, as the set-up made it.
    pub fn config(&self) -> u8 {
        self.config.get()
    }

    /// Keeps the controller's configuration.
    pub fn set_config(&self, config: u8) {
        self.config.put(config);
    }

    /// The layout chosen last.
    pub fn layout(&self) -> Layout {
        Layout::from_u32(self.layout.get()).unwrap_or_default()
    }

    /// Chooses a layout.
    pub fn set_layout(&self, layout: Layout) {
        self.layout.put(layout as u32);
    }

    /// The decoder's state after the last scan code that is done.
    pub fn decoder(&self) -> State {
        State::from_bits((self.work.get() >> 32) as u32)
    }

    /// Events lost because nobody read.
    pub fn lost(&self) -> u32 {
        self.lost.get()
    }

    /// Events that nobody was given yet.
    pub fn unread(&self) -> u32 {
        self.head().wrapping_sub(self.given.get())
    }

    /// Events that there is room for.
    pub fn room(&self) -> usize {
        RING.saturating_sub(self.head().wrapping_sub(self.tail.get())) as usize
    }

    fn head(&self) -> u32 {
        self.work.get() as u32
    }

    fn slot(&self) -> usize {
        (self.work.get() >> SLOT_SHIFT & 1) as usize
    }

    /// The slot for the next byte from the keyboard. It is zero, which is no scan code, until it is filled.
    pub fn raw_slot(&self) -> &AtomicU8 {
        &self.raw[self.slot()]
    }

    /// The byte that is to be worked on.
    pub fn raw(&self) -> Option<u8> {
        Some(self.raw_slot().get()).filter(|byte| *byte != 0)
    }

    /// The byte in [`Keep::raw_slot`] is done: it has made these events and led to this state. Returns whether there are new events.
    pub fn commit(&self, events: impl IntoIterator<Item = KeyEvent>, state: State) -> bool {
        let head = self.head();
        let mut end = head;
        for event in events {
            if end.wrapping_sub(self.tail.get()) < RING {
                self.events[index(end)].put(event.to_u64());
                end = end.wrapping_add(1);
            } else {
                self.lost.put(self.lost.get().saturating_add(1));
            }
        }
        let next = 1 - self.slot();
        self.raw[next].put(0);
        self.work.put((next as u64) << SLOT_SHIFT | (state.bits() as u64) << 32 | end as u64);
        end != head
    }

    /// Gives up to `capacity` events to a reader, through `give` (number of the first, bytes), and returns how many.
    ///
    /// What is given stays in the ring until a read with another number shows that the answer arrived. A read with the same
    /// number as the last one is the repetition of one whose answer was lost with the driver: it is given the same events, and
    /// whatever came after them. So a reader that numbers its reads neither loses nor doubles an event.
    pub fn read<E>(
        &self,
        task: TaskId,
        sequence: u32,
        capacity: usize,
        mut give: impl FnMut(usize, &[u8; KeyEvent::LEN]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let reader = (task.to_u32() as u64) << 32 | sequence as u64;
        if sequence == 0 || self.last_read.get() != reader {
            self.tail.put(self.given.get());
            self.last_read.put(reader);
        }
        let tail = self.tail.get();
        let count = (self.head().wrapping_sub(tail) as usize).min(capacity);
        for number in 0..count as u32 {
            let event = self.events[index(tail.wrapping_add(number))].get();
            give(number as usize, &event.to_le_bytes())?;
        }
        self.given.put(tail.wrapping_add(count as u32));
        Ok(count)
    }

    /// Changes one bit of the memory.
    #[cfg(test)]
    pub fn flip(&self, bit: usize) {
        assert!(bit / 8 < size_of::<Keep>());
        // SAFETY: the byte lies in this value, of which every field is made of atomics, so that it may change behind a shared reference.
        let byte = unsafe { &*(&raw const *self).cast::<AtomicU8>().add(bit / 8) };
        byte.fetch_xor(1 << (bit % 8), Ordering::Relaxed);
    }

    /// Puts a valid state word before arbitrary contents.
    #[cfg(test)]
    pub fn scramble(&self, words: &[u64]) {
        for (cell, word) in [&self.work, &self.last_read].into_iter().zip(words) {
            cell.put(*word);
        }
        for (cell, word) in [&self.layout, &self.given, &self.tail].into_iter().zip(words.iter().skip(2)) {
            cell.put(*word as u32);
        }
        self.set_ready();
    }
}
