//! What outlives the console: the layout of its `keep` memory. Every value read from it is checked, because the life
//! that wrote it may have ended in the middle of a write.

use crate::editor::MAX_LINE;
use crate::history::MAX_BYTES;
use crate::typed::{MOST_AHEAD, TypeAhead};
use abi::task::{MAX_TASKS, TaskId};
use alloc::string::String;
use core::ops::Range;

/// First word of memory in this layout; the last byte counts layouts.
const MAGIC: u64 = u64::from_le_bytes(*b"console\x03");

const POSITIONS: usize = 16;
const WRITERS: usize = POSITIONS + 8 * MAX_TASKS;
const LINE: usize = WRITERS + WRITER_COUNT * WRITER_SIZE;
const HISTORY: usize = LINE + 8 + MAX_LINE.next_multiple_of(8);

/// The numbers of the keys typed ahead (the first, and the one behind the last), then a ring: the key of number N is at place N modulo its length.
const TYPED: usize = HISTORY + 8 + MAX_BYTES;
const RING: usize = TYPED + 16;

/// Bytes that this layout needs.
pub const SIZE: usize = RING + 4 * MOST_AHEAD;

/// Clients whose writes are told apart; the one that wrote longest ago makes room.
pub const WRITER_COUNT: usize = 8;
const WRITER_SIZE: usize = 32;

const _: () = assert!(SIZE <= 84 * 1024 && TYPED.is_multiple_of(8));

/// The memory.
#[derive(Debug)]
pub struct Keep<'a> {
    bytes: &'a mut [u8],
}

/// How far a numbered write of a client has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// The number of the write.
    pub number: u64,
    /// Bytes of its text that the screen has.
    pub screen: u32,
    /// Bytes of its text that the serial line has.
    pub serial: u32,
    /// All is done.
    pub finished: bool,
}

impl<'a> Keep<'a> {
    /// Takes the memory over; says whether a console lived before. `None` where it is smaller than [`SIZE`].
    pub fn open(bytes: &'a mut [u8]) -> Option<(Keep<'a>, bool)> {
        let bytes = bytes.get_mut(..SIZE)?;
        let mut keep = Keep { bytes };
        let resumed = keep.u64(0) == MAGIC;
        if !resumed {
            keep.bytes.fill(0);
            keep.set_u64(0, MAGIC);
        }
        Some((keep, resumed))
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        if let Some(bytes) = self.bytes.get_mut(at..at + 8) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// A text with its length before it; empty where either makes no sense.
    fn text(&self, at: usize, room: usize) -> &str {
        let len = usize::try_from(self.u64(at)).unwrap_or(usize::MAX);
        let bytes = if len <= room { self.bytes.get(at + 8..at + 8 + len) } else { None };
        core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    fn set_text(&mut self, at: usize, room: usize, text: &str) {
        // A life that ends in between leaves an empty text, not a mixed one.
        self.set_u64(at, 0);
        if text.len() > room {
            return;
        }
        if let Some(bytes) = self.bytes.get_mut(at + 8..at + 8 + text.len()) {
            bytes.copy_from_slice(text.as_bytes());
            self.set_u64(at, text.len() as u64);
        }
    }

    /// How far the logs were printed.
    pub fn positions(&self) -> [u64; MAX_TASKS] {
        core::array::from_fn(|index| self.u64(POSITIONS + 8 * index))
    }

    /// Remembers how far the logs are printed.
    pub fn set_positions(&mut self, positions: &[u64; MAX_TASKS]) {
        for (index, position) in positions.iter().enumerate() {
            self.set_u64(POSITIONS + 8 * index, *position);
        }
    }

    /// The line that was being typed.
    pub fn line(&self) -> String {
        String::from(self.text(LINE, MAX_LINE))
    }

    /// Remembers the line being typed.
    pub fn set_line(&mut self, line: &str) {
        self.set_text(LINE, MAX_LINE, line);
    }

    /// The history, as [`crate::history::History::text`] gives it.
    pub fn history(&self) -> &str {
        self.text(HISTORY, MAX_BYTES)
    }

    /// Remembers the history.
    pub fn set_history(&mut self, text: &str) {
        self.set_text(HISTORY, MAX_BYTES, text);
    }

    /// The keys typed ahead.
    pub fn typed(&self) -> TypeAhead {
        let numbers = self.typed_numbers();
        let codes = numbers.clone().map_while(|number| {
            let at = place(number);
            Some(u32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
        });
        TypeAhead::from_codes(numbers, codes)
    }

    /// Their numbers; none where a life ended while it began anew, or what stands there makes no sense.
    fn typed_numbers(&self) -> Range<u64> {
        let (first, end) = (self.u64(TYPED), self.u64(TYPED + 8));
        let sound = end < 1 << 60 && end.checked_sub(first).is_some_and(|count| count <= MOST_AHEAD as u64);
        match sound {
            true => first..end,
            false if first < 1 << 60 => first..first,
            false => 0..0,
        }
    }

    /// Remembers the keys typed ahead. Written is only what is new, and what was there stays valid until that is done: a life may end anywhere.
    pub fn set_typed(&mut self, typed: &TypeAhead) {
        let (old, new) = (self.typed_numbers(), typed.numbers());
        let from = old.end.max(new.start);
        // First, because the places of those that are gone are used again. If all are gone there is none until the end is written.
        self.set_u64(TYPED, new.start);
        for (number, code) in (from..new.end).zip(typed.codes_from(from)) {
            let at = place(number);
            if let Some(bytes) = self.bytes.get_mut(at..at + 4) {
                bytes.copy_from_slice(&code.to_le_bytes());
            }
        }
        self.set_u64(TYPED + 8, new.end);
    }

    /// What is known of the last write of this client.
    pub fn writer(&self, client: TaskId) -> Option<Progress> {
        let at = (0..WRITER_COUNT).map(slot).find(|at| self.owner(*at) == Some(client))?;
        let offsets = self.u64(at + 16);
        Some(Progress {
            number: self.u64(at + 8),
            screen: offsets as u32,
            serial: (offsets >> 32) as u32,
            finished: self.u64(at + 24) & 1 != 0,
        })
    }

    /// Remembers how far the write of a client has come.
    pub fn set_writer(&mut self, client: TaskId, progress: Progress) {
        let newest = (0..WRITER_COUNT).map(|i| self.u64(slot(i) + 24) >> 1).max().unwrap_or(0);
        let own = (0..WRITER_COUNT).map(slot).find(|at| self.owner(*at) == Some(client));
        let oldest = || (0..WRITER_COUNT).map(slot).min_by_key(|at| self.u64(at + 24) >> 1);
        // A later life of the same task takes the slot of the one before.
        let earlier =
            || (0..WRITER_COUNT).map(slot).find(|at| self.owner(*at).is_some_and(|owner| owner.index == client.index));
        let Some(at) = own.or_else(earlier).or_else(oldest) else {
            return;
        };
        if self.owner(at) != Some(client) {
            self.set_u64(at, 0);
        }
        self.set_u64(at + 8, progress.number);
        self.set_u64(at + 16, u64::from(progress.serial) << 32 | u64::from(progress.screen));
        let stamp = (newest + 1) & (u64::MAX >> 1);
        self.set_u64(at + 24, stamp << 1 | u64::from(progress.finished));
        self.set_u64(at, 1 << 32 | u64::from(client.to_u32()));
    }

    fn owner(&self, at: usize) -> Option<TaskId> {
        let raw = self.u64(at);
        (raw >> 32 == 1).then(|| TaskId::from_u32(raw as u32))
    }
}

/// Where the key of this number is.
fn place(number: u64) -> usize {
    RING + 4 * (number % MOST_AHEAD as u64) as usize
}

fn slot(index: usize) -> usize {
    WRITERS + index * WRITER_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::typed::Source;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn id(index: u16, generation: u32) -> TaskId {
        TaskId { index, generation }
    }

    fn typed_text(text: &str) -> TypeAhead {
        let mut typed = TypeAhead::default();
        text.chars().filter_map(Key::from_char).for_each(|key| typed.push(Source::Serial, key));
        typed
    }

    fn done(number: u64) -> Progress {
        Progress { number, screen: 5, serial: 4, finished: true }
    }

    #[test]
    fn the_first_life_finds_nothing_and_the_second_everything() {
        let mut memory = vec![0; SIZE];
        let (mut keep, resumed) = Keep::open(&mut memory).unwrap();
        assert!(!resumed);
        assert_eq!((keep.line().as_str(), keep.history()), ("", ""));
        assert_eq!(keep.positions(), [0; MAX_TASKS]);
        keep.set_line("half a línea");
        keep.set_history("one\ntwo\n");
        keep.set_typed(&typed_text("ahead\n"));
        keep.set_positions(&core::array::from_fn(|i| i as u64 * 3));
        keep.set_writer(id(4, 2), done(9));
        let (keep, resumed) = Keep::open(&mut memory).unwrap();
        assert!(resumed);
        assert_eq!((keep.line().as_str(), keep.history()), ("half a línea", "one\ntwo\n"));
        assert_eq!(keep.positions()[63], 189);
        assert!(keep.typed().codes_from(0).eq(typed_text("ahead\n").codes_from(0)));
        assert_eq!(keep.writer(id(4, 2)), Some(done(9)));
        assert_eq!(keep.writer(id(4, 3)), None, "another life is another client");
        assert_eq!(keep.writer(id(0, 0)), None);
    }

    #[test]
    fn rubbish_of_another_layout_is_wiped() {
        let mut memory = vec![0xa5; SIZE];
        let (keep, resumed) = Keep::open(&mut memory).unwrap();
        assert!(!resumed);
        assert_eq!(keep.positions(), [0; MAX_TASKS]);
        assert!(Keep::open(&mut [0; 100]).is_none());
    }

    #[test]
    fn writers_make_room_for_one_another() {
        let mut memory = vec![0; SIZE];
        let (mut keep, _) = Keep::open(&mut memory).unwrap();
        for index in 0..WRITER_COUNT as u16 {
            keep.set_writer(id(index, 1), done(1));
        }
        keep.set_writer(id(0, 1), done(2));
        keep.set_writer(id(99, 1), done(1));
        assert_eq!(keep.writer(id(1, 1)), None, "the one that wrote longest ago");
        assert_eq!(keep.writer(id(0, 1)), Some(done(2)));
        keep.set_writer(id(0, 2), done(1));
        assert_eq!(keep.writer(id(0, 1)), None);
        assert_eq!(keep.writer(id(2, 1)), Some(done(1)));
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let mut memory = vec![0; SIZE];
        let (mut keep, _) = Keep::open(&mut memory).unwrap();
        keep.set_history("x\n");
        keep.set_history(&"y".repeat(MAX_BYTES + 1));
        assert_eq!(keep.history(), "");
        keep.set_line(&"z".repeat(MAX_LINE));
        assert_eq!(keep.line().len(), MAX_LINE);
    }

    proptest! {
        /// Each life of a console types, takes and forgets keys, and the next one has what was left.
        #[test]
        fn keys_typed_ahead_outlive_any_number_of_lives(
            lives in prop::collection::vec(prop::collection::vec((0..5_u8, any::<bool>(), 0..900_usize), 0..8), 1..6),
        ) {
            let mut memory = vec![0; SIZE];
            let codes = |memory: &mut Vec<u8>| Keep::open(memory).unwrap().0.typed().codes_from(0).collect::<Vec<_>>();
            for steps in lives {
                let mut typed = Keep::open(&mut memory).unwrap().0.typed();
                for (what, serial, count) in steps {
                    let (before, numbers) = (memory.clone(), typed.numbers());
                    let old = codes(&mut memory);
                    let source = if serial { Source::Serial } else { Source::Keyboard };
                    match what {
                        0 => typed.clear(source),
                        1 => (0..count).for_each(|_| _ = typed.pop()),
                        _ => (0..count * 8).for_each(|n| {
                            typed.push(source, if n % 97 == 96 { Key::Enter } else { Key::Char('x') });
                        }),
                    }
                    Keep::open(&mut memory).unwrap().0.set_typed(&typed);
                    prop_assert_eq!(codes(&mut memory), typed.codes_from(0).collect::<Vec<_>>());
                    // A life that ended before the last word of this was written leaves the keys that are not gone.
                    let mut broken_off = memory.clone();
                    broken_off[TYPED + 8..TYPED + 16].copy_from_slice(&before[TYPED + 8..TYPED + 16]);
                    let gone = usize::try_from(typed.numbers().start - numbers.start).unwrap();
                    prop_assert_eq!(codes(&mut broken_off), old.get(gone..).unwrap_or_default());
                }
            }
        }

        #[test]
        fn any_memory_is_read_without_harm(mut memory in prop::collection::vec(any::<u8>(), SIZE)) {
            memory[..8].copy_from_slice(&MAGIC.to_le_bytes());
            let (mut keep, resumed) = Keep::open(&mut memory).unwrap();
            prop_assert!(resumed);
            prop_assert!(keep.line().len() <= MAX_LINE);
            prop_assert!(keep.history().len() <= MAX_BYTES);
            prop_assert!(keep.typed().len() <= MOST_AHEAD);
            for index in 0..70 {
                keep.writer(id(index, 1));
            }
            keep.set_writer(id(3, 3), done(7));
            prop_assert_eq!(keep.writer(id(3, 3)), Some(done(7)));
            keep.set_line("fine");
            prop_assert_eq!(keep.line(), "fine");
        }
    }
}
