//! What outlives the driver: bytes not yet sent, bytes not yet read, and how far each client's last write got.
//!
//! The memory is zero at first boot and is handed to every later life as the last one left it, after any instruction. So:
//!
//! - Everything is an atomic cell and every store is ordered. No step needs more than one store to take effect: the data is
//!   written first, where nobody looks, and one last store makes it count. Repeating a step that was cut short does no harm.
//! - Positions count bytes since the first boot and wrap; a place in a ring is the position modulo the ring's size, so no
//!   position that is read back can lead outside a ring. [`Keep::is_sound`] checks that they fit together.
//!
//! Which bytes went through the hardware when a life ended is found out in [`crate::device`].

use abi::TaskId;
use abi::task::MAX_TASKS;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, compiler_fence};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Bytes that can wait to be sent.
pub const TX_SIZE: u32 = 8192;

/// Slots for bytes that wait to be read; one of them is always empty.
pub const RX_SIZE: u32 = 2048;

/// Set once the UART is set up; changes with the layout of [`Keep`].
const VERSION: u32 = 0x5e71_0200;

/// Bits of the state word that are flags, and those in which they are repeated upside down.
const FLAGS: u32 = 0xf;
const FLAGS_CHECK: u32 = 0xf0;

/// Flag in the state word: a 16-bit port access reaches two registers of the UART (see [`crate::device`]).
pub const WIDE: u32 = 1;

/// Bits of a sequence number that are kept; the rest of the word is the client's generation.
const SEQUENCE_MASK: u64 = (1 << 41) - 1;

/// The kept state. All fields are private: the methods are the only steps there are.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Keep {
    state: AtomicU32,
    tx_head: AtomicU32,
    tx_tail: AtomicU32,
    rx_head: AtomicU32,
    rx_given: AtomicU32,
    rx_tail: AtomicU32,
    job_task: AtomicU32,
    job_start: AtomicU32,
    job_sequence: AtomicU64,
    last_read: AtomicU64,
    done: [AtomicU64; MAX_TASKS],
    partial: [Partial; MAX_TASKS],
    tx: [AtomicU8; TX_SIZE as usize],
    rx: [AtomicU16; RX_SIZE as usize],
}

/// A write that was cut off by the driver's death, and overtaken by another one.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct Partial {
    /// As in `done`; 0 for none.
    key: AtomicU64,
    /// Bytes of it that are in the transmit ring or sent.
    progress: AtomicU32,
    reserved: AtomicU32,
}

const _: () = assert!(TX_SIZE.is_power_of_two() && RX_SIZE.is_power_of_two());
const _: () = assert!(size_of::<Keep>() <= 4 * abi::PAGE_SIZE);

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

cells!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

fn tx_index(position: u32) -> usize {
    (position % TX_SIZE) as usize
}

fn rx_index(position: u32) -> usize {
    (position % RX_SIZE) as usize
}

fn key(task: TaskId, sequence: u64) -> u64 {
    (task.generation as u64) << 41 | sequence & SEQUENCE_MASK
}

/// Whether this is the state word of a driver that was set up, with any flags: the first word of the memory.
pub fn is_state(word: u32) -> bool {
    word & !(FLAGS | FLAGS_CHECK) == VERSION && (word & FLAGS_CHECK) >> 4 == !word & FLAGS
}

/// What is left to do of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// Nothing: an earlier life, or this one, has done it.
    Done,
    /// Everything from this byte on.
    From(u32),
}

impl Keep {
    /// The state in the given memory, or `None` where that is too small or not aligned to 8 bytes.
    pub fn open(memory: &'static mut [u8]) -> Option<&'static Keep> {
        let (keep, _) = Keep::mut_from_prefix(memory).ok()?;
        Some(keep)
    }

    /// Whether an earlier life has left a state to go on from: set up, and with positions that fit together.
    pub fn is_sound(&self) -> bool {
        let (head, given, tail) = (self.rx_head.get(), self.rx_given.get(), self.rx_tail.get());
        let unread = head.wrapping_sub(tail);
        is_state(self.state.get()) && self.tx_len() <= TX_SIZE && unread < RX_SIZE && given.wrapping_sub(tail) <= unread
    }

    /// Forgets everything: before the first set-up, or where the state makes no sense.
    pub fn clear(&self) {
        self.state.put(0);
        for cell in [&self.tx_head, &self.tx_tail, &self.rx_head, &self.rx_given, &self.rx_tail] {
            cell.put(0);
        }
        self.job_task.put(0);
        self.last_read.put(0);
        for cell in &self.done {
            cell.put(0);
        }
        for partial in &self.partial {
            partial.key.put(0);
        }
        for slot in &self.rx {
            slot.put(0);
        }
    }

    /// Says that the UART is set up: from here on a next life goes on instead of starting over. `flags` is [`WIDE`] or 0.
    pub fn set_ready(&self, flags: u32) {
        self.state.put(VERSION | flags & FLAGS | (!flags & FLAGS) << 4);
    }

    /// The flags given to [`Keep::set_ready`].
    pub fn flags(&self) -> u32 {
        self.state.get() & FLAGS
    }

    // ---- Transmit ring ----

    /// Bytes that wait to be sent.
    pub fn tx_len(&self) -> u32 {
        self.tx_head.get().wrapping_sub(self.tx_tail.get())
    }

    /// Bytes that fit into the transmit ring.
    pub fn tx_room(&self) -> u32 {
        TX_SIZE.saturating_sub(self.tx_len())
    }

    /// Position of the next byte to send: how many were sent.
    pub fn tx_sent(&self) -> u32 {
        self.tx_tail.get()
    }

    /// Position after the last byte accepted.
    pub fn tx_accepted(&self) -> u32 {
        self.tx_head.get()
    }

    /// The next byte to send.
    pub fn tx_next(&self) -> Option<u8> {
        if self.tx_len() == 0 {
            return None;
        }
        self.tx.get(tx_index(self.tx_tail.get())).map(Cell::get)
    }

    /// Counts the next byte as sent.
    pub fn tx_advance(&self) {
        if self.tx_len() > 0 {
            self.tx_tail.put(self.tx_tail.get().wrapping_add(1));
        }
    }

    /// Appends what fits of `bytes` and returns how many that is. One store makes them count, for the ring and for the
    /// write that they belong to.
    pub fn tx_push(&self, bytes: &[u8]) -> usize {
        let head = self.tx_head.get();
        let count = bytes.len().min(self.tx_room() as usize);
        for (byte, position) in bytes.iter().take(count).zip(0..) {
            if let Some(cell) = self.tx.get(tx_index(head.wrapping_add(position))) {
                cell.put(*byte);
            }
        }
        self.tx_head.put(head.wrapping_add(count as u32));
        count
    }

    // ---- Writes, exactly once ----

    /// Begins a write, or takes up one that the driver's death cut off. `sequence` 0 is a write without a number: it is
    /// done from the start whenever it is asked for.
    ///
    /// While a numbered write runs, its progress is not stored anywhere: it is how far the transmit ring has grown since.
    pub fn begin_write(&self, task: TaskId, sequence: u64) -> Begin {
        let sequence = sequence & SEQUENCE_MASK;
        let rows = self.done.get(task.index as usize).zip(self.partial.get(task.index as usize));
        let Some((done, partial)) = rows.filter(|_| sequence != 0) else {
            self.suspend_write(task);
            return Begin::From(0);
        };
        let asked = key(task, sequence);
        // A client repeats its last write and none before that, so no other number can be done already, whatever the memory says.
        if done.get() == asked {
            return Begin::Done;
        }
        let head = self.tx_head.get();
        if self.job_task.get() == task.to_u32() && self.job_sequence.get() == sequence {
            return Begin::From(head.wrapping_sub(self.job_start.get()));
        }
        self.suspend_write(task);
        let progress = if partial.key.get() == asked { partial.progress.get() } else { 0 };
        if progress == 0 {
            // An older one, which its client has given up.
            partial.key.put(0);
        }
        self.job_sequence.put(sequence);
        self.job_start.put(head.wrapping_sub(progress));
        self.job_task.put(task.to_u32());
        Begin::From(progress)
    }

    /// Ends a write of which all bytes are in the transmit ring.
    pub fn end_write(&self, task: TaskId, sequence: u64) {
        if sequence & SEQUENCE_MASK != 0
            && let Some(done) = self.done.get(task.index as usize)
        {
            done.put(key(task, sequence));
        }
        self.job_task.put(0);
    }

    /// Ends the running write where it is: its client is gone, or lent no memory.
    pub fn drop_write(&self) {
        self.job_task.put(0);
    }

    /// Puts the running write aside, with its progress, before the ring grows by other bytes. Not one of `asking`, the task that begins
    /// another: what a client does not repeat, it has given up.
    fn suspend_write(&self, asking: TaskId) {
        let job = self.job_task.get();
        if job == 0 {
            return;
        }
        let task = TaskId::from_u32(job);
        if let Some(partial) = self.partial.get(task.index as usize).filter(|_| task != asking) {
            partial.key.put(0);
            partial.progress.put(self.tx_head.get().wrapping_sub(self.job_start.get()));
            partial.key.put(key(task, self.job_sequence.get()));
        }
        self.job_task.put(0);
    }

    // ---- Receive ring ----

    /// Bytes that fit into the receive ring.
    pub fn rx_room(&self) -> u32 {
        (RX_SIZE - 1).saturating_sub(self.rx_head.get().wrapping_sub(self.rx_tail.get()))
    }

    /// Bytes that nobody was given yet.
    pub fn rx_len(&self) -> u32 {
        self.rx_head.get().wrapping_sub(self.rx_given.get())
    }

    /// The empty slot for the next byte. It is zero; whoever fills it stores the byte with any bit of the upper half set.
    pub fn rx_slot(&self) -> &AtomicU16 {
        &self.rx[rx_index(self.rx_head.get())]
    }

    /// Appends the byte in [`Keep::rx_slot`], if there is one. Returns whether there was.
    pub fn rx_accept(&self) -> bool {
        if self.rx_slot().get() == 0 || self.rx_room() == 0 {
            return false;
        }
        let next = self.rx_head.get().wrapping_add(1);
        self.rx[rx_index(next)].put(0);
        self.rx_head.put(next);
        true
    }

    // ---- Reads, exactly once ----

    /// Gives up to `capacity` bytes to a reader, through `give` (offset, bytes), and returns how many.
    ///
    /// What is given stays in the ring until a read with another number shows that the answer arrived. A read with the same
    /// number as the last one is the repetition of one whose answer was lost with the driver: it is given the same bytes, and
    /// whatever came after them. So a reader that numbers its reads neither loses nor doubles a byte.
    pub fn read<E>(
        &self,
        task: TaskId,
        sequence: u32,
        capacity: usize,
        mut give: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let reader = (task.to_u32() as u64) << 32 | sequence as u64;
        if sequence == 0 || self.last_read.get() != reader {
            self.rx_tail.put(self.rx_given.get());
            self.last_read.put(reader);
        }
        let tail = self.rx_tail.get();
        let count = (self.rx_head.get().wrapping_sub(tail) as usize).min(capacity);
        let mut done = 0;
        while done < count {
            let mut chunk = [0; 256];
            let wanted = chunk.len().min(count - done);
            for (byte, offset) in chunk.iter_mut().take(wanted).zip(done as u32..) {
                *byte = self.rx[rx_index(tail.wrapping_add(offset))].get() as u8;
            }
            give(done, &chunk[..wanted])?;
            done += wanted;
        }
        self.rx_given.put(tail.wrapping_add(count as u32));
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

    /// Puts a valid state word before arbitrary positions.
    #[cfg(test)]
    pub fn scramble(&self, positions: &[u32]) {
        let cells = [&self.tx_head, &self.tx_tail, &self.rx_head, &self.rx_given, &self.rx_tail, &self.job_start];
        for (cell, position) in cells.into_iter().zip(positions) {
            cell.put(*position);
        }
        self.set_ready(WIDE);
    }
}
