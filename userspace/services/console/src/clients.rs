//! What the console does for its clients: prints their text, and gives each line to whoever reads one.

use crate::{Console, PIECE, Reader};
use abi::TaskId;
use alloc::string::String;
use alloc::vec;
use console::editor::MAX_PROMPT;
use console::keep::Progress;
use console::outcome;
use console::session::Event;
use console::text::{piece, truncated};
use rt::Answer;
use rt::ipc::Request;
use rt::notify::Notification;
use rt::println;

impl Console {
    /// Prints a client's text, piece by piece, remembering how far each device has it.
    pub fn write(&mut self, request: &Request) -> Answer {
        let Ok(total) = request.lease_len(0) else {
            return Answer::refuse(outcome::BAD_LEASE);
        };
        let (client, number) = (request.task(), request.words[0]);
        let mut progress = Progress { number, ..Progress::default() };
        if number != 0
            && let Some(before) = self.keep.writer(client)
            && before.number == number
        {
            progress = before;
        }
        let mut at = progress.screen.min(progress.serial) as usize;
        let mut bytes = [0; PIECE];
        let mut answer = Answer::ok([total as u64, 0, 0, 0]);
        if progress.finished || at >= total {
            return answer;
        }
        self.session.print_begin(&mut self.out);
        while at < total {
            let read = match request.read(0, at, &mut bytes) {
                Ok(read) if read > 0 => read,
                _ => {
                    answer = Answer::Reply(outcome::BAD_LEASE, [at as u64, 0, 0, 0]);
                    break;
                }
            };
            let (text, used) = piece(bytes.get(..read).unwrap_or_default(), at + read >= total);
            at += used;
            self.session.print_part(&text, &mut self.out);
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
            self.flush();
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

    /// Tells whom it concerns, after the display shows it.
    pub fn deliver(&mut self, event: Event) {
        self.flush();
        if event == Event::Signal {
            if let Some((notification, bits)) = self.interrupt
                && notification.signal(bits).is_err()
            {
                self.set_interrupt(None);
            }
            return;
        }
        self.keep.set_line("");
        self.keep.set_typed(&self.session.typed);
        let Some(Reader { pending, .. }) = self.reader.take() else {
            return;
        };
        let mut entered = None;
        let (label, [written, whole]) = match event {
            Event::Line(line) => {
                self.keep.set_history(&self.session.editor.history.text());
                let room = pending.lease_len(1).unwrap_or(0);
                let written = pending.write(1, 0, truncated(&line, room).as_bytes());
                let whole = line.len();
                entered = Some(line);
                match written {
                    Ok(len) => (0, [len, whole]),
                    Err(_) => (outcome::BAD_LEASE, [0; 2]),
                }
            }
            Event::Interrupted => (outcome::INTERRUPTED, [0; 2]),
            Event::EndOfInput | Event::Signal => (outcome::END_OF_INPUT, [0; 2]),
        };
        // A reader that has died meanwhile needs no answer, but its next life wants the line.
        let answered = pending.reply(label, [written as u64, whole as u64, 0, 0]).is_ok();
        if let Some(line) = entered.filter(|_| !answered) {
            self.keep.set_line(&line);
            (self.left_over, self.entered) = (line, true);
        }
    }

    pub fn read_line(&mut self, request: &Request) -> Answer {
        let prompt = match read_all(request, 0, 4 * MAX_PROMPT) {
            Ok(prompt) => prompt,
            Err(answer) => return answer,
        };
        if request.lease_len(1).is_err() {
            return Answer::refuse(outcome::BAD_LEASE);
        }
        if let Some(reader) = &self.reader {
            // One that has died leaves its place; so does a former life of the same task.
            let lives = reader.pending.lease_len(1).is_ok();
            if lives && reader.task.index != request.task().index {
                return Answer::refuse(outcome::BUSY);
            }
        }
        if self.session.is_reading() {
            // Half a line that was typed for one that has died.
            self.left_over = self.session.editor.text();
        }
        self.reader = Some(Reader { task: request.task(), pending: request.pending() });
        let text = core::mem::take(&mut self.left_over);
        let entered = core::mem::take(&mut self.entered);
        let event = self.session.read_line(&prompt, &text, entered, &mut self.out);
        let lost = self.session.typed.take_lost();
        if lost > 0 {
            println!("{lost} keys that were typed ahead are left out: there was no room for their lines");
        }
        self.flush();
        match event {
            Some(event) => self.deliver(event),
            None => self.save(),
        }
        self.ask();
        Answer::Later
    }
    /// Gives up the line that this task reads. What was typed is the beginning of the next one.
    pub fn cancel(&mut self, task: TaskId) {
        if let Some(Reader { pending, .. }) = self.reader.take_if(|reader| reader.task == task) {
            self.left_over = self.session.editor.text();
            self.session.stop(&mut self.out);
            self.flush();
            // As in `deliver`.
            let _ = pending.reply(outcome::CANCELLED, [0; 4]);
        }
    }

    pub fn set_interrupt(&mut self, interrupt: Option<(Notification, u64)>) {
        if let Some((old, _)) = core::mem::replace(&mut self.interrupt, interrupt) {
            // A handle that cannot be closed is no longer one.
            let _ = rt::ipc::close(old.0);
        }
    }
}

/// The text in a lease of at most `most` bytes.
pub fn read_all(request: &Request, lease: usize, most: usize) -> Result<String, Answer> {
    const BAD: Answer = Answer::refuse(outcome::BAD_LEASE);
    let len = request.lease_len(lease).map_err(|_| BAD)?;
    if len > most {
        return Err(BAD);
    }
    let mut bytes = vec![0; len];
    let read = request.read(lease, 0, &mut bytes).map_err(|_| BAD)?;
    bytes.truncate(read);
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
