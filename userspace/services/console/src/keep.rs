//! The state that outlives the console.
//!
//! All changes by one byte from the serial line, or by one event of the keyboard (the line, the
//! keys typed ahead, the position up to which the device has been read) are committed by one store:
//! before it, the next life reads that byte again; after it, never.

use crate::editor::{Draft, MAX_LINE};
use crate::history::MAX_BYTES;
use crate::input::SerialDecoder;
use crate::typed::{MOST_AHEAD, TypeAhead};
use abi::task::TaskId;
use alloc::string::String;
use core::ops::Range;
use rt::keep::{Blob, Cell, Double, MAX_TASKS};

/// Flag of a write's number: the whole write is done.
const FINISHED: u32 = 1 << 31;

/// Places for keys typed ahead: the previous keys stay in their places until the new ones are
/// committed, even if all get new numbers.
const PLACES: usize = 2 * MOST_AHEAD;

rt::kept! {
    /// A task's progress with its last write.
    part struct Writer {
        /// [`TaskId::to_u32`] of the task; 0 for none.
        client: Cell<u32>,
        /// The lower 31 bits of the write's number, and [`FINISHED`].
        number: Cell<u32>,
        screen: Cell<u32>,
        serial: Cell<u32>,
    }
}

rt::kept! {
    /// The kept form of an [`Input`].
    part struct KeptInput {
        /// The range of the numbers of the keys typed ahead: the first, and one after the last.
        first: Cell<u64>,
        end: Cell<u64>,
        decoder: [Cell<u64>; 3],
        /// Positions up to which the devices were read, by [`Source`](crate::typed::Source).
        positions: [Cell<u32>; 2],
        skipping: Cell<u32>,
        cursor: Cell<u32>,
        /// [`CUT`] and [`MISSED`].
        flags: Cell<u32>,
        /// 0, or the number of an [`Ending`].
        ending: Cell<u32>,
        /// The reader to which the ended line was given: [`TaskId::to_u32`], and the number of its
        /// request.
        reader: Cell<u32>,
        request: Cell<u32>,
        line: Blob<MAX_LINE>,
    }
}

/// Flag: characters of the line were left out.
const CUT: u32 = 1;
/// Flag: Ctrl-C has not been reported yet, see [`Input::missed`].
const MISSED: u32 = 2;

rt::kept! {
    /// The kept state.
    pub struct Keep {
        positions: [Cell<u64>; MAX_TASKS],
        writers: [Double<Writer>; MAX_TASKS],
        input: Double<KeptInput>,
        history: Double<Blob<MAX_BYTES>>,
        /// Codes of the keys typed ahead: the key with number N is at N modulo the number of
        /// places.
        keys: [Cell<u32>; PLACES],
    }
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By Enter.
    Line = 1,
    /// By Ctrl-C.
    Interrupted = 2,
    /// By Ctrl-D on an empty line.
    EndOfInput = 3,
}

impl Ending {
    fn from_u32(number: u32) -> Option<Ending> {
        [Ending::Line, Ending::Interrupted, Ending::EndOfInput].into_iter().find(|ending| *ending as u32 == number)
    }
}

/// The state that keys change.
#[derive(Default, Debug)]
pub struct Input {
    /// The line being typed, or the one that has ended.
    pub draft: Draft,
    /// How the line ended, if it has ended and it is not known whether the answer arrived at its
    /// reader.
    pub ending: Option<Ending>,
    /// The reader to which the ended line was given: a task, and the number of its request.
    pub given: Option<(TaskId, u32)>,
    /// The keys typed ahead.
    pub typed: TypeAhead,
    /// The positions up to which the devices have been read, by [`Source`](crate::typed::Source).
    pub positions: [u32; 2],
    /// The decoder of the serial line, with its unfinished sequence.
    pub decoder: SerialDecoder,
    /// Whether Ctrl-C came and was reported to no task, because the subscriber has not subscribed
    /// again.
    pub missed: bool,
}

/// A client's progress with a numbered write.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// The number of the write.
    pub number: u64,
    /// Bytes of the text that the screen has.
    pub screen: u32,
    /// Bytes of the text that the serial line has.
    pub serial: u32,
    /// Whether the whole write is done.
    pub finished: bool,
}

impl Keep {
    /// The positions up to which the logs were printed, by task.
    pub fn positions(&self) -> [u64; MAX_TASKS] {
        self.positions.each_ref().map(Cell::get)
    }

    /// Stores the positions up to which the logs were printed, by task.
    pub fn set_positions(&self, positions: &[u64; MAX_TASKS]) {
        for (place, position) in self.positions.iter().zip(positions) {
            place.put(*position);
        }
    }

    /// The state that the keys led to.
    pub fn input(&self) -> Input {
        let kept = self.input.current();
        let (numbers, flags) = (kept.numbers(), kept.flags.get());
        let codes = numbers.clone().map(|number| self.place(number).get());
        let given = (kept.reader.get(), kept.request.get());
        Input {
            draft: Draft {
                text: kept.line.text(),
                cursor: Some(kept.cursor.get()).filter(|at| *at != u32::MAX).map_or(usize::MAX, |at| at as usize),
                is_cut: flags & CUT != 0,
            },
            ending: Ending::from_u32(kept.ending.get()),
            given: (given.0 != 0).then(|| (TaskId::from_u32(given.0), given.1)),
            typed: TypeAhead::from_codes(numbers, codes, kept.skipping.get()),
            positions: kept.positions.each_ref().map(Cell::get),
            decoder: SerialDecoder::from_words(kept.decoder.each_ref().map(Cell::get)),
            missed: flags & MISSED != 0,
        }
    }

    /// Stores the state that the keys led to, at once.
    pub fn set_input(&self, input: &Input) {
        let (old, new) = (self.input.current().numbers(), input.typed.numbers());
        if new.end.saturating_sub(old.start) > PLACES as u64 {
            // Places of keys that count now would be used again. [`Keep::is_far`] prevents this.
            let none = TypeAhead::from_codes(new.start..new.start, core::iter::empty(), input.typed.skipping());
            self.put(input, &none);
        }
        self.put(input, &input.typed);
    }

    /// Whether [`Keep::set_input`] must be called before more keys come.
    pub fn is_far(&self, typed: &TypeAhead) -> bool {
        typed.numbers().end.saturating_sub(self.input.current().first.get()) > MOST_AHEAD as u64
    }

    fn put(&self, input: &Input, typed: &TypeAhead) {
        let (old, new) = (self.input.current().numbers(), typed.numbers());
        let from = old.end.max(new.start);
        // The keys before are stored already: a number stands for the same key for ever.
        for (number, code) in (from..new.end).zip(typed.codes_from(from)) {
            self.place(number).put(code);
        }
        let kept = self.input.spare();
        kept.first.put(new.start);
        kept.end.put(new.end);
        for (place, word) in kept.decoder.iter().zip(input.decoder.to_words()) {
            place.put(word);
        }
        for (place, position) in kept.positions.iter().zip(input.positions) {
            place.put(position);
        }
        kept.skipping.put(typed.skipping());
        kept.cursor.put(u32::try_from(input.draft.cursor).unwrap_or(u32::MAX));
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        kept.flags.put(flag(input.draft.is_cut, CUT) | flag(input.missed, MISSED));
        kept.ending.put(input.ending.map_or(0, |ending| ending as u32));
        let (reader, request) = input.given.map_or((0, 0), |(task, request)| (task.to_u32(), request));
        kept.reader.put(reader);
        kept.request.put(request);
        kept.line.set(input.draft.text.as_bytes());
        self.input.turn();
    }

    /// The place of the key with this number.
    fn place(&self, number: u64) -> &Cell<u32> {
        &self.keys[(number % PLACES as u64) as usize]
    }

    /// The history, as [`crate::history::History::text`] gives it.
    pub fn history(&self) -> String {
        self.history.current().text()
    }

    /// Stores the history.
    pub fn set_history(&self, text: &str) {
        self.history.spare().set(text.as_bytes());
        self.history.turn();
    }

    /// The progress of this client's last write.
    pub fn writer(&self, client: TaskId) -> Option<Progress> {
        let writer = self.writers.get(client.index as usize)?.current();
        (client.generation != 0 && writer.client.get() == client.to_u32()).then(|| Progress {
            number: (writer.number.get() & !FINISHED).into(),
            screen: writer.screen.get(),
            serial: writer.serial.get(),
            finished: writer.number.get() & FINISHED != 0,
        })
    }

    /// Stores the progress of a client's write. A later life of the same task replaces the earlier
    /// one.
    pub fn set_writer(&self, client: TaskId, progress: Progress) {
        let Some(writer) = self.writers.get(client.index as usize) else { return };
        let spare = writer.spare();
        spare.client.put(client.to_u32());
        spare.number.put(progress.number as u32 & !FINISHED | if progress.finished { FINISHED } else { 0 });
        spare.screen.put(progress.screen);
        spare.serial.put(progress.serial);
        writer.turn();
    }
}

impl KeptInput {
    /// The range of the numbers of the keys typed ahead; empty if the stored one is not valid.
    fn numbers(&self) -> Range<u64> {
        let (first, end) = (self.first.get(), self.end.get());
        let sound = end < 1 << 60 && end.checked_sub(first).is_some_and(|count| count <= MOST_AHEAD as u64);
        match sound {
            true => first..end,
            false if first < 1 << 60 => first..first,
            false => 0..0,
        }
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
