//! The state that outlives the driver, and the sessions of its clients.
//!
//! The driver can be killed between any two instructions. What it leaves in the kept memory must then be either the state before a
//! piece of text or the state after it, and must say which. So there are two slots: the one in use is never written. A piece is
//! applied to a working copy; what changed goes to the other slot, together with how far each client's text has come; then one
//! aligned word makes that slot the one in use. A client whose write was cut short by the death repeats it with the same number,
//! and the next life goes on behind the last piece that the word had made count.
//!
//! A slot is the terminal's state ([`Screen::encode`]), one record per task, the cells. Everything read is checked or cannot be wrong.

use crate::screen::{ALL_ROWS, COLS, ROWS, STATE_LEN, Screen};
use crate::stream::{PENDING_MAX, Pending, Stream};
use abi::TaskId;
use alloc::vec;
use alloc::vec::Vec;
use rt::keep::{Bytes, Double, MAX_TASKS};

const RECORD: usize = 64;
const ROW: usize = COLS * 2;

rt::kept! {
    /// One of the two.
    part struct Slot {
        state: Bytes<STATE_LEN>,
        records: [Bytes<RECORD>; MAX_TASKS],
        rows: [Bytes<ROW>; ROWS],
    }
}

rt::kept! {
    /// What outlives the driver: `keep` in `system.toml`.
    pub struct Keep {
        slots: Double<Slot>,
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
pub struct Session {
    keep: &'static Keep,
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
    records: Records,
}

/// Records of tasks that have changed.
#[derive(Clone, Copy, Default)]
enum Records {
    #[default]
    None,
    One(usize),
    All,
}

impl Records {
    fn hold(self, slot: usize) -> bool {
        match self {
            Records::None => false,
            Records::One(changed) => changed == slot,
            Records::All => true,
        }
    }
}

impl Session {
    /// Takes up what an earlier life left, or begins. Says whether there was one.
    pub fn open(keep: &'static Keep) -> (Session, bool) {
        let restored = keep.resume();
        let (screen, records) = if restored {
            read_slot(keep.slots.current())
        } else {
            (Screen::default(), vec![Record::default(); MAX_TASKS])
        };
        let stream = Stream::resume(records[0].pending.bytes());
        let everything = Changes { rows: ALL_ROWS, records: Records::All };
        let mut session =
            Session { keep, screen, records, stream, stream_of: 0, behind: everything, unpainted: ALL_ROWS };
        if !restored {
            session.commit(everything.records);
            keep.set_ready(0);
        }
        (session, restored)
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
        self.commit(Records::One(slot));
    }

    /// Changes the terminal by other means than text. Doing it twice must be as good as once.
    pub fn change(&mut self, how: impl FnOnce(&mut Screen)) {
        how(&mut self.screen);
        self.commit(Records::None);
    }

    /// Brings the other slot up to date and makes it the one in use.
    fn commit(&mut self, records: Records) {
        let changes = Changes { rows: self.screen.take_dirty(), records };
        self.unpainted |= changes.rows;
        let rows = changes.rows | self.behind.rows;
        let slot = self.keep.slots.spare();
        slot.state.put(&self.screen.encode());
        for (i, (place, record)) in slot.records.iter().zip(&self.records).enumerate() {
            if changes.records.hold(i) || self.behind.records.hold(i) {
                place.put(&record.encode());
            }
        }
        for (row, place) in slot.rows.iter().enumerate().filter(|(row, _)| rows & 1 << row != 0) {
            let mut bytes = [0; ROW];
            for (place, cell) in bytes.chunks_exact_mut(2).zip(self.screen.row(row)) {
                place.copy_from_slice(&cell.to_le_bytes());
            }
            place.put(&bytes);
        }
        self.keep.slots.turn();
        self.behind = changes;
    }
}

/// A task's row; the kernel names no task beyond the table.
fn slot_of(task: TaskId) -> usize {
    usize::from(task.index) % MAX_TASKS
}

fn read_slot(slot: &Slot) -> (Screen, Vec<Record>) {
    let cells = slot.rows.iter().flat_map(|row| {
        let row = row.get();
        core::array::from_fn::<u16, COLS, _>(|col| u16::from_le_bytes([row[2 * col], row[2 * col + 1]]))
    });
    let records = slot.records.iter().map(|record| Record::decode(&record.get())).collect();
    (Screen::decode(&slot.state.get(), cells.collect()), records)
}

#[cfg(test)]
mod tests;
