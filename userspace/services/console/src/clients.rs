//! The console's services for its clients: printing text, and reading lines.

use crate::{Console, PIECE, Reader};
use abi::TaskId;
use console::Refusal;
use console::editor::Draft;
use console::keep::{Ending, Progress};
use console::protocol::{Call, Entered, Outcome};
use console::session::Event;
use console::text::{piece, truncated};
use rt::println;
use rt::proto::{Asker, In, Out};

impl Console {
    /// Prints a client's text piece by piece, and stores its progress for each device.
    pub fn print(&mut self, from: Asker, text: In) -> Result<usize, Refusal> {
        let total = text.len() as usize;
        // The number as it is kept: the upper bits are not needed to recognise a repetition.
        let (client, number) = (from.task, from.number & u64::from(u32::MAX >> 1));
        let mut progress = Progress { number, ..Progress::default() };
        if number != 0
            && let Some(before) = self.keep.writer(client)
            && before.number == number
        {
            progress = before;
        }
        let mut at = progress.screen.min(progress.serial) as usize;
        let mut bytes = [0; PIECE];
        let mut answer = Ok(total);
        if progress.finished || at >= total {
            return answer;
        }
        self.session.print_begin(&mut self.out);
        while at < total {
            let read = match text.read(at, &mut bytes) {
                Ok(read) if read > 0 => read,
                _ => {
                    answer = Err(Refusal::BadLease);
                    break;
                }
            };
            let (part, used) = piece(bytes.get(..read).unwrap_or_default(), at + read >= total);
            at += used;
            self.session.print_part(&part, &mut self.out);
            if at >= total {
                self.session.print_end(&mut self.out);
            }
            if (progress.screen as usize) < at {
                self.devices.screen(&self.out);
                progress.screen = at as u32;
                self.remember(client, progress);
            }
            if (progress.serial as usize) < at {
                self.devices.line(&self.out);
                progress.serial = at as u32;
                self.remember(client, progress);
            }
            self.out.clear();
        }
        if at < total {
            self.session.print_end(&mut self.out);
            self.put_out();
        }
        progress.finished = true;
        self.remember(client, progress);
        answer
    }

    fn remember(&mut self, client: TaskId, progress: Progress) {
        if progress.number != 0 {
            self.keep.set_writer(client, progress);
        }
    }

    /// Reports an event to the reader or the subscriber, after the display shows it. The state is
    /// stored before, so a report may be repeated, but only to a client that can tell the
    /// repetition.
    pub fn deliver(&mut self, event: Event) {
        let ending = match event {
            Event::Signal => {
                self.missed = true;
                self.put_out();
                return self.interrupt();
            }
            Event::Line(line) => {
                self.keep.set_history(&self.session.editor.history.text());
                self.left_over = line.as_str().into();
                Ending::Line
            }
            Event::Interrupted => Ending::Interrupted,
            Event::EndOfInput => Ending::EndOfInput,
        };
        self.ending = Some(ending);
        self.given = self.reader.as_ref().map(|reader| (reader.task, reader.number));
        self.save();
        self.put_out();
        if let Some(reader) = self.reader.take() {
            self.answer(reader);
        }
    }

    /// Reports Ctrl-C to the subscriber; if there is none, the next task that subscribes gets it.
    pub fn interrupt(&mut self) {
        if let Some((notification, bits)) = &self.interrupt {
            match notification.signal(*bits) {
                Ok(()) => self.missed = false,
                Err(_) => self.interrupt = None,
            }
        }
    }

    /// Gives the reader the line that has ended. If the reader has died meanwhile, the line is kept
    /// for its next life.
    fn answer(&mut self, Reader { deferred, line: room, .. }: Reader) {
        let line = self.left_over.text.as_str();
        let answer = match self.ending {
            Some(Ending::Line) => {
                let fits = truncated(line, room.len() as usize).as_bytes();
                let answer = Entered { written: fits.len(), length: line.len() };
                room.write_all(0, fits).map(|()| answer).map_err(|_| Refusal::BadLease)
            }
            Some(Ending::Interrupted) => Err(Refusal::Interrupted),
            Some(Ending::EndOfInput) | None => Err(Refusal::EndOfInput),
        };
        self.given = None;
        if deferred.answer(answer).is_ok() {
            self.ended();
        }
        self.save();
    }

    /// The line that has ended has arrived at its reader.
    fn ended(&mut self) {
        (self.left_over, self.ending, self.given) = (Draft::default(), None, None);
    }

    /// Ends the reading of a line by this task. The typed text becomes the beginning of the next
    /// line.
    pub fn give_up_line(&mut self, task: TaskId) {
        if let Some(Reader { deferred, .. }) = self.reader.take_if(|reader| reader.task == task) {
            self.left_over = self.session.editor.draft();
            self.session.stop(&mut self.out);
            self.put_out();
            // A reader that has died takes no answer.
            let _ = deferred.answer(Err(Refusal::Cancelled));
        }
    }

    /// Begins to read a line for this caller.
    pub fn begin_line(&mut self, call: Call<Entered>, number: u32, prompt: &str, line: Out) -> Outcome<Entered> {
        let task = call.from.task;
        // A dead reader does not count; neither does a former life of the same task.
        let others = |reader: &Reader| reader.task.index != task.index && reader.deferred.is_awaited();
        if self.reader.as_ref().is_some_and(others) {
            return Err(Refusal::Taken).into();
        }
        if self.session.is_reading() {
            // The unfinished line of a reader that has died.
            self.left_over = self.session.editor.draft();
        }
        let (deferred, outcome) = call.defer();
        let reader = Reader { task, number, deferred, line };
        match (self.ending, self.given) {
            // It asks for the next line, so it has the last one.
            (Some(_), Some((before, last))) if before == task && last != number && last != 0 => self.ended(),
            (Some(_), Some((before, last))) if before == task && last == number => {
                self.answer(reader);
                return outcome;
            }
            (Some(Ending::Interrupted | Ending::EndOfInput), _) => self.ended(),
            _ => {}
        }
        self.reader = Some(reader);
        let draft = core::mem::take(&mut self.left_over);
        let entered = self.ending.take().is_some();
        self.given = None;
        let event = self.session.read_line(prompt, &draft, entered, &mut self.out);
        let lost = self.session.typed.take_lost();
        if lost > 0 {
            println!("{lost} keys that were typed ahead are left out: there was no room for their lines");
        }
        match event {
            Some(event) => self.deliver(event),
            None => {
                self.put_out();
                self.save();
            }
        }
        self.ask();
        outcome
    }
}
