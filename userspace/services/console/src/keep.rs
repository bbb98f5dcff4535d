//! What outlives the console.
//!
//! Whatever one byte from the serial line, or one event of the keyboard, changes (the line, the keys typed ahead, the position up to which the
//! device has been read) counts by one store: before it, the next life reads that byte again; after it, never.

use crate::editor::{Draft, MAX_LINE};
use crate::history::MAX_BYTES;
use crate::input::SerialDecoder;
use crate::typed::{MOST_AHEAD, TypeAhead};
use abi::task::TaskId;
use alloc::string::String;
use core::ops::Range;
use rt::keep::{Blob, Cell, Double, MAX_TASKS};

/// Flag of a write's number: all of it is done.
const FINISHED: u32 = 1 << 31;

/// Places for keys typed ahead: those of before stay until those of after count, also where all of them get new numbers.
const PLACES: usize = 2 * MOST_AHEAD;

rt::kept! {
    /// How far the last write of a task has come.
    part struct Writer {
        /// [`TaskId::to_u32`]; 0 for none.
        client: Cell<u32>,
        /// The lower 31 bits of its number, and [`FINISHED`].
        number: Cell<u32>,
        screen: Cell<u32>,
        serial: Cell<u32>,
    }
}

rt::kept! {
    /// An [`Input`].
    part struct KeptInput {
        /// The numbers of the keys typed ahead: the first, and the one behind the last.
        first: Cell<u64>,
        end: Cell<u64>,
        decoder: [Cell<u64>; 3],
        /// By [`Source`](crate::typed::Source).
        positions: [Cell<u32>; 2],
        skipping: Cell<u32>,
        cursor: Cell<u32>,
        /// [`CUT`], [`MISSED`].
        flags: Cell<u32>,
        /// 0, or the number of an [`Ending`].
        ending: Cell<u32>,
        /// Who was given the line that has ended: [`TaskId::to_u32`], and the number of the request.
        reader: Cell<u32>,
        request: Cell<u32>,
        line: Blob<MAX_LINE>,
    }
}

/// Flag: characters of the line were left out.
const CUT: u32 = 1;
/// Flag: see [`Input::missed`].
const MISSED: u32 = 2;

rt::kept! {
    /// The kept state.
    pub struct Keep {
        positions: [Cell<u64>; MAX_TASKS],
        writers: [Double<Writer>; MAX_TASKS],
        input: Double<KeptInput>,
        history: Double<Blob<MAX_BYTES>>,
        /// The code of the key of number N is at place N modulo their number.
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
    /// By Ctrl-D, with nothing in it.
    EndOfInput = 3,
}

impl Ending {
    fn from_u32(number: u32) -> Option<Ending> {
        [Ending::Line, Ending::Interrupted, Ending::EndOfInput].into_iter().find(|ending| *ending as u32 == number)
    }
}

/// All that keys change.
#[derive(Default, Debug)]
pub struct Input {
    /// The line being typed, or the one that has ended.
    pub draft: Draft,
    /// How it ended, where it has and its reader's answer has not shown to have arrived.
    pub ending: Option<Ending>,
    /// Who was given it: a task, and the number of its request.
    pub given: Option<(TaskId, u32)>,
    /// The keys typed ahead.
    pub typed: TypeAhead,
    /// The position up to which the devices have been read, by [`Source`](crate::typed::Source).
    pub positions: [u32; 2],
    /// The sequence that the serial line has begun.
    pub decoder: SerialDecoder,
    /// Ctrl-C came that nobody was told of: who wants to know has not subscribed again.
    pub missed: bool,
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

impl Keep {
    /// How far the logs were printed.
    pub fn positions(&self) -> [u64; MAX_TASKS] {
        self.positions.each_ref().map(Cell::get)
    }

    /// Remembers how far the logs are printed.
    pub fn set_positions(&self, positions: &[u64; MAX_TASKS]) {
        for (place, position) in self.positions.iter().zip(positions) {
            place.put(*position);
        }
    }

    /// What the keys have led to.
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

    /// Remembers it, all at once.
    pub fn set_input(&self, input: &Input) {
        let (old, new) = (self.input.current().numbers(), input.typed.numbers());
        if new.end.saturating_sub(old.start) > PLACES as u64 {
            // Places of what counts now would be used again. [`Keep::is_far`] says so before it comes to this.
            let none = TypeAhead::from_codes(new.start..new.start, core::iter::empty(), input.typed.skipping());
            self.put(input, &none);
        }
        self.put(input, &input.typed);
    }

    /// Whether it is time for [`Keep::set_input`], before more keys come.
    pub fn is_far(&self, typed: &TypeAhead) -> bool {
        typed.numbers().end.saturating_sub(self.input.current().first.get()) > MOST_AHEAD as u64
    }

    fn put(&self, input: &Input, typed: &TypeAhead) {
        let (old, new) = (self.input.current().numbers(), typed.numbers());
        let from = old.end.max(new.start);
        // Those before are there: a number stands for the same key for ever.
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

    /// Where the key of this number is.
    fn place(&self, number: u64) -> &Cell<u32> {
        &self.keys[(number % PLACES as u64) as usize]
    }

    /// The history, as [`crate::history::History::text`] gives it.
    pub fn history(&self) -> String {
        self.history.current().text()
    }

    /// Remembers the history.
    pub fn set_history(&self, text: &str) {
        self.history.spare().set(text.as_bytes());
        self.history.turn();
    }

    /// What is known of the last write of this client.
    pub fn writer(&self, client: TaskId) -> Option<Progress> {
        let writer = self.writers.get(client.index as usize)?.current();
        (client.generation != 0 && writer.client.get() == client.to_u32()).then(|| Progress {
            number: (writer.number.get() & !FINISHED).into(),
            screen: writer.screen.get(),
            serial: writer.serial.get(),
            finished: writer.number.get() & FINISHED != 0,
        })
    }

    /// Remembers how far the write of a client has come. A later life of the same task takes the place of the one before.
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
    /// The numbers of the keys typed ahead; none where what stands there makes no sense.
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
