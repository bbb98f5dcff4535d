//! The state that outlives the driver, and the sessions of its clients.
//!
//! The driver can be killed between any two instructions. What it leaves in the kept memory must then be either the state before a
//! piece of text or the state after it, and must say which. So there are two slots: the one in use is never written. A piece is
//! applied to a working copy; what changed goes to the other slot, together with how far each client's text has come; then one
//! aligned word makes that slot the one in use. A client whose write was cut short by the death repeats it with the same number,
//! and the next life goes on behind the last piece that the word had made count.
//!
//! Layout, little endian: word 0 version, word 1 number of the slot in use, then from [`HEAD`] the two slots. A slot is the
//! terminal's state ([`Screen::encode`]), one record per task, the cells. All zero means: first boot. Everything read is
//! checked or cannot be wrong.

use crate::screen::{ALL_ROWS, CELLS, COLS, ROWS, STATE_LEN, Screen};
use crate::stream::{PENDING_MAX, Pending, Stream};
use abi::TaskId;
use abi::task::MAX_TASKS;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use zerocopy::FromBytes;

/// Bytes that the driver needs: `keep` in `system.toml` (four pages).
pub const KEEP_LEN: usize = HEAD + 2 * SLOT;

/// First word; changes with the layout.
pub const VERSION: u32 = u32::from_le_bytes(*b"vga1");
const VERSION_AT: usize = 0;
const IN_USE_AT: usize = 4;
const HEAD: usize = 64;
const RECORD: usize = 64;
const RECORDS_AT: usize = STATE_LEN;
const CELLS_AT: usize = RECORDS_AT + MAX_TASKS * RECORD;
const SLOT: usize = CELLS_AT + CELLS * 2;

const _: () = assert!(KEEP_LEN == 4 * abi::PAGE_SIZE && HEAD.is_multiple_of(4) && SLOT.is_multiple_of(4));

/// Memory in which stores take effect in the order in which they are made, as far as the next life can see.
pub trait Store {
    /// All of it.
    fn bytes(&self) -> &[u8];
    /// Copies `bytes` to `offset`, in any order.
    fn write(&mut self, offset: usize, bytes: &[u8]);
    /// Stores one aligned word, after all earlier writes and before all later ones.
    fn publish(&mut self, offset: usize, word: u32);
}

/// Mapped memory.
impl Store for &mut [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn publish(&mut self, offset: usize, word: u32) {
        if let Some(place) = self.get_mut(offset..offset + 4)
            && let Ok(place) = AtomicU32::mut_from_bytes(place)
        {
            // The next life runs on the same processor or starts after a kernel entry: release order is all that is needed, and
            // the swap keeps later stores behind it.
            place.swap(word, Ordering::AcqRel);
        }
    }
}

/// How far a task's writes have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Record {
    /// [`TaskId::to_u32`]; another life of the task starts afresh.
    task: u32,
    /// The last number that was begun.
    sequence: u64,
    /// Bytes of that write that are on the screen.
    progress: u32,
    /// The whole write is.
    finished: bool,
    /// The unfinished sequence at the end of the task's text.
    pending: Pending,
}

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let mut out = [0; RECORD];
        let pending = self.pending.bytes();
        out[0..4].copy_from_slice(&self.task.to_le_bytes());
        out[4] = self.finished.into();
        out[5] = pending.len() as u8;
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..20].copy_from_slice(&self.progress.to_le_bytes());
        out[20..20 + pending.len()].copy_from_slice(pending);
        out
    }

    fn decode(bytes: &[u8; RECORD]) -> Record {
        let pending = bytes.get(20..20 + usize::from(bytes[5])).unwrap_or_default();
        Record {
            task: word(bytes, 0),
            sequence: u64::from(word(bytes, 8)) | u64::from(word(bytes, 12)) << 32,
            progress: word(bytes, 16),
            finished: bytes[4] == 1,
            pending: *Stream::resume(pending).pending(),
        }
    }
}

const _: () = assert!(20 + PENDING_MAX == RECORD);

/// The word at `offset`, 0 past the end.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b))
}

/// What a numbered write finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// All of it is on the screen already.
    Done,
    /// This many of its bytes are.
    From(usize),
}

/// The terminal with its clients, and its double in the kept memory.
pub struct Session<S> {
    store: S,
    in_use: usize,
    screen: Screen,
    /// One per row of the task table.
    records: Vec<Record>,
    /// The parser of the client that wrote last.
    stream: Stream,
    stream_of: usize,
    /// Rows and records in which the slot not in use is behind the one in use.
    behind: Changes,
    unpainted: u32,
}

#[derive(Clone, Copy, Default)]
struct Changes {
    rows: u32,
    records: u64,
}

impl<S: Store> Session<S> {
    /// Takes up what an earlier life left, or begins. Says whether there was one. `None` where the store is shorter than [`KEEP_LEN`].
    pub fn open(store: S) -> Option<(Session<S>, bool)> {
        if store.bytes().len() < KEEP_LEN {
            return None;
        }
        let bytes = store.bytes();
        let in_use = (word(bytes, IN_USE_AT) & 1) as usize;
        let restored = word(bytes, VERSION_AT) == VERSION;
        let (screen, records) =
            if restored { read_slot(bytes, in_use) } else { (Screen::default(), vec![Record::default(); MAX_TASKS]) };
        let stream = Stream::resume(records[0].pending.bytes());
        let everything = Changes { rows: ALL_ROWS, records: u64::MAX };
        let mut session =
            Session { store, in_use, screen, records, stream, stream_of: 0, behind: everything, unpainted: ALL_ROWS };
        if !restored {
            session.commit(everything.records);
            // The slots hold nothing before this word says so.
            session.store.publish(VERSION_AT, VERSION);
        }
        Some((session, restored))
    }

    /// The terminal.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Rows that changed since the last time this was asked; all of them at first.
    pub fn take_unpainted(&mut self) -> u32 {
        core::mem::take(&mut self.unpainted)
    }

    /// Where a task's write begins. A number again means the same text again; a client repeats its last write and none before that, so
    /// any other number is a new one, whatever the memory says. 0 is no number: from the start.
    pub fn begin(&self, task: TaskId, sequence: u64) -> Begin {
        let record = self.records[slot_of(task)];
        if sequence == 0 || record.task != task.to_u32() || sequence != record.sequence {
            Begin::From(0)
        } else if record.finished {
            Begin::Done
        } else {
            Begin::From(record.progress as usize)
        }
    }

    /// Applies a piece of a task's write: its bytes from offset `at` on, `last` where none follow. Then it counts.
    pub fn feed(&mut self, task: TaskId, sequence: u64, at: usize, bytes: &[u8], last: bool) {
        let slot = slot_of(task);
        let record = &mut self.records[slot];
        if record.task != task.to_u32() {
            *record = Record { task: task.to_u32(), ..Record::default() };
            self.stream_of = MAX_TASKS;
        }
        if self.stream_of != slot {
            self.stream = Stream::resume(record.pending.bytes());
            self.stream_of = slot;
        }
        self.stream.feed(&mut self.screen, bytes);
        record.pending = *self.stream.pending();
        if sequence != 0 {
            record.sequence = sequence;
            record.progress = u32::try_from(at + bytes.len()).unwrap_or(u32::MAX);
            record.finished = last;
        }
        self.commit(1 << slot);
    }

    /// Changes the terminal by other means than text. Doing it twice must be as good as once.
    pub fn change(&mut self, how: impl FnOnce(&mut Screen)) {
        how(&mut self.screen);
        self.commit(0);
    }

    /// Brings the other slot up to date and makes it the one in use.
    fn commit(&mut self, records: u64) {
        let changes = Changes { rows: self.screen.take_dirty(), records };
        self.unpainted |= changes.rows;
        let rows = changes.rows | self.behind.rows;
        let records = changes.records | self.behind.records;
        let other = 1 - self.in_use;
        let base = HEAD + other * SLOT;
        self.store.write(base, &self.screen.encode());
        for (i, record) in self.records.iter().enumerate().filter(|(i, _)| records & 1 << i != 0) {
            self.store.write(base + RECORDS_AT + i * RECORD, &record.encode());
        }
        for row in (0..ROWS).filter(|row| rows & 1 << row != 0) {
            let mut bytes = [0; COLS * 2];
            for (place, cell) in bytes.chunks_exact_mut(2).zip(self.screen.row(row)) {
                place.copy_from_slice(&cell.to_le_bytes());
            }
            self.store.write(base + CELLS_AT + row * COLS * 2, &bytes);
        }
        self.store.publish(IN_USE_AT, other as u32);
        self.in_use = other;
        self.behind = changes;
    }
}

/// A task's row; the kernel names no task beyond the table.
fn slot_of(task: TaskId) -> usize {
    usize::from(task.index) % MAX_TASKS
}

fn read_slot(bytes: &[u8], slot: usize) -> (Screen, Vec<Record>) {
    let at = |offset: usize| bytes.get(HEAD + slot * SLOT + offset..).unwrap_or_default();
    let state = at(0).first_chunk().copied().unwrap_or([0; STATE_LEN]);
    let cells = at(CELLS_AT).chunks_exact(2).take(CELLS);
    let cells = cells.map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8).collect();
    let record = |i| at(RECORDS_AT + i * RECORD).first_chunk().map_or(Record::default(), Record::decode);
    let records = (0..MAX_TASKS).map(record).collect();
    (Screen::decode(&state, cells), records)
}

#[cfg(test)]
mod tests;
