//! The state that outlives the driver, and the sessions of its clients.
//!
//! The driver can be killed between any two instructions. The kept memory must then hold either the
//! state before a piece of text or the state after it, and must tell which. So there are two slots:
//! the one in use is never written. A piece is applied to a working copy; the changes are written
//! to the other slot, together with each client's progress; then one aligned word makes that slot
//! the one in use. A client whose write was cut short by the death repeats it with the same number,
//! and the next life continues after the last piece that was committed by the word.
//!
//! A slot is the terminal's state ([`Screen::encode`]), one record per task, and the cells. Values
//! that are read are checked, or valid whatever the bytes are.

use crate::screen::{ALL_ROWS, COLS, ROWS, STATE_LEN, Screen};
use crate::stream::{PENDING_MAX, Pending, Stream};
use abi::TaskId;
use alloc::vec;
use alloc::vec::Vec;
use rt::keep::{Bytes, Double, MAX_TASKS};

const RECORD: usize = 64;
const ROW: usize = COLS * 2;

rt::kept! {
    /// One of the two slots: a state of the terminal and of its clients.
    part struct Slot {
        state: Bytes<STATE_LEN>,
        records: [Bytes<RECORD>; MAX_TASKS],
        rows: [Bytes<ROW>; ROWS],
    }
}

rt::kept! {
    /// The state that outlives the driver: `keep` in `system.toml`.
    pub struct Keep {
        slots: Double<Slot>,
    }
}

/// A task's progress with its writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Record {
    /// [`TaskId::to_u32`] of the task; a later life of the same task begins with a new record.
    task: u32,
    /// Number of the last write that was begun.
    sequence: u64,
    /// Bytes of that write that are on the screen.
    progress: u32,
    /// Whether the whole write is on the screen.
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

/// The 32-bit word at `offset`; 0 past the end.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b))
}

/// Where a numbered write is to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// The whole write is on the screen already.
    Done,
    /// This many bytes of the write are on the screen already.
    From(usize),
}

/// The terminal and its clients' records, with their copy in the kept memory.
pub struct Session {
    keep: &'static Keep,
    screen: Screen,
    /// The record of each task, one per row of the task table.
    records: Vec<Record>,
    /// The parser of the client that wrote last.
    stream: Stream,
    stream_of: usize,
    /// Rows and records that are older in the slot not in use than in the one in use.
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
    /// Continues with the state that an earlier life left, or with a new one. The flag tells
    /// whether there was an earlier life.
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

    /// The terminal's state.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Takes the set of rows that changed since the previous call, one bit each; at first, all
    /// rows.
    pub fn take_unpainted(&mut self) -> u32 {
        core::mem::take(&mut self.unpainted)
    }

    /// Where a task's write begins. A repeated number means the same text again: a client repeats
    /// its last write only, so any other number is a new write, whatever the memory has. 0 is not a
    /// number: such a write begins with its first byte.
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

    /// Applies a piece of a task's write and commits it: its bytes from offset `at` on; `last` if
    /// no more follow.
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

    /// Changes the terminal other than by text, and commits that. `how` may be applied twice, which
    /// must have the same result as once.
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

/// The row of a task in the task table; the kernel gives no number beyond the table.
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
