//! The console's task: connects devices and log rings with clients through the session.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod clients;
mod devices;

use abi::manifest::TaskRecord;
use abi::message::bits;
use abi::{Status, TaskId, name_str};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use console::Refusal;
use console::complete::Completions;
use console::editor::{COLUMNS, Draft};
use console::history::History;
use console::input::SerialDecoder;
use console::keep::{Ending, Input as Typed, Keep};
use console::key::Key;
use console::logs::{Logs, Pace, Rings, TURN_BYTES};
use console::protocol::{Call, Entered, Outcome, Server};
use console::session::Session;
use console::text::truncated;
use console::typed::Source;
use devices::{Devices, Input, bits as device};
use rt::archive::Archive;
use rt::notify::Notification;
use rt::println;
use rt::proto::{Asker, Deferred, In, Out, Owned};
use rt::time::Timer;
use rt::{Bit, Driver};

rt::driver!(Console, serves console::protocol);

/// Notification bit of the timer for the next turn at the logs. Other bits: [`devices::bits`].
const LOG_TIMER: Bit = Bit::new(34);
/// Notification bit of the timer that ends an unfinished escape sequence on the serial line.
const SEQUENCE: Bit = Bit::new(36);

/// Most turns at the logs before a client's text: more than the largest ring holds.
const CATCH_UP: usize = 2 * abi::task::LOG_BURST as usize / TURN_BYTES;

/// Most bytes of a client's text that are printed at once.
const PIECE: usize = 1024;

struct Console {
    devices: Devices,
    session: Session,
    logs: Logs,
    archive: Option<Archive>,
    keep: &'static Keep,
    decoder: SerialDecoder,
    sequence_timer: Option<Timer>,
    /// The line that a dead life, or a reader that has died, was reading, until the next read.
    left_over: Draft,
    /// How that line ended, if it has ended, and the reader to which it was given: it is not known
    /// whether it has arrived.
    ending: Option<Ending>,
    given: Option<(TaskId, u32)>,
    /// The positions up to which the devices have been read, by [`Source`].
    positions: [u32; 2],
    /// Whether a Ctrl-C came that was reported to no task.
    missed: bool,
    /// Whether the log has said that the serial line waits; cleared when all keys typed ahead are
    /// used.
    said: bool,
    reader: Option<Reader>,
    interrupt: Option<(Owned<Notification>, u64)>,
    log_timer: Option<Timer>,
    pace: Pace,
    /// Text that the devices are to print next.
    out: String,
}

/// A request that waits for a line.
struct Reader {
    task: TaskId,
    number: u32,
    deferred: Deferred<Entered, Refusal>,
    line: Out,
}

/// The log rings of the tasks in the table.
struct TaskRings<'a>(&'a [TaskRecord]);

impl Rings for TaskRings<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("?", |task| name_str(&task.name))
    }

    fn is_trusted(&self, index: usize) -> bool {
        // The task with the right of control prints the reports of deaths.
        self.0.get(index).is_some_and(|task| task.flags & TaskRecord::CONTROL != 0)
    }

    fn read(&mut self, index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
        let (len, next) = rt::task::log_read(index, position, buf)?;
        Ok((len, next.saturating_sub(len as u64)))
    }
}

impl Driver for Console {
    fn init() -> Self {
        let keep = rt::keep::open::<Keep>();
        let resumed = keep.resume();
        if !resumed {
            keep.set_ready(0);
        }
        let mut session = if resumed { Session::resumed() } else { Session::default() };
        session.editor.history = History::from_text(&keep.history());
        let Typed { draft, ending, given, typed, positions, decoder, missed } = keep.input();
        session.typed = typed;
        let mut console = Console {
            devices: Devices::peers(),
            session,
            logs: Logs::new(keep.positions()),
            archive: Archive::map(),
            decoder,
            sequence_timer: Timer::new(SEQUENCE).ok(),
            left_over: draft,
            ending,
            given,
            positions,
            missed,
            said: false,
            keep,
            reader: None,
            interrupt: None,
            log_timer: Timer::new(LOG_TIMER).ok(),
            pace: Pace::default(),
            out: String::new(),
        };
        if !resumed {
            let banner = banner(console.archive.as_ref().map_or(&[], Archive::tasks));
            console.session.print(&banner, &mut console.out);
        }
        console.look_at_logs(false);
        console.put_out();
        console.take_input();
        console
    }

    fn notified(&mut self, notified: u64) {
        if notified & bits::PEER != 0 {
            self.devices.renew();
        }
        if notified & device::INPUT != 0 {
            self.take_input();
        }
        if SEQUENCE.is_in(notified) {
            self.end_sequence();
        }
        let timer = LOG_TIMER.is_in(notified);
        if timer || (notified & bits::LOG != 0 && !self.pace.is_paused()) {
            self.look_at_logs(notified & bits::LOG != 0);
            self.put_out();
        }
    }
}

impl Server for Console {
    fn write(&mut self, from: Asker, text: In) -> Result<usize, Refusal> {
        self.catch_up();
        self.print(from, text)
    }

    fn read_line(&mut self, call: Call<Entered>, number: u32, prompt: In, line: Out) -> Outcome<Entered> {
        self.catch_up();
        match lent_text(prompt) {
            Ok(prompt) => self.begin_line(call, number, &prompt, line),
            Err(refusal) => Err(refusal).into(),
        }
    }

    fn set_completions(&mut self, _: Asker, list: In) -> Result<(), Refusal> {
        self.session.editor.completions = Completions::parse(&lent_text(list)?);
        Ok(())
    }

    fn clear(&mut self, _: Asker) -> Result<(), Refusal> {
        self.session.clear(&mut self.out);
        self.put_out();
        Ok(())
    }

    fn set_color(&mut self, _: Asker, foreground: u8, background: u8) -> Result<(), Refusal> {
        if foreground > 15 || background > 15 {
            return Err(Refusal::BadRequest);
        }
        self.devices.set_color(foreground, background);
        Ok(())
    }

    fn subscribe_interrupt(&mut self, _: Asker, bits: u64, told: Owned<Notification>) -> Result<(), Refusal> {
        self.interrupt = Some((told, bits));
        if self.missed {
            self.interrupt();
            self.save();
        }
        Ok(())
    }

    fn flush(&mut self, _: Asker) -> Result<(), Refusal> {
        // The text that tasks have logged up to now is part of it.
        self.print_logs();
        if self.devices.flush() { Ok(()) } else { Err(Refusal::Stalled) }
    }

    fn cancel(&mut self, from: Asker) -> Result<(), Refusal> {
        self.give_up_line(from.task);
        Ok(())
    }

    fn trouble(&mut self, _: Asker, text: Out) -> Result<usize, Refusal> {
        let trouble = self.devices.trouble();
        let fits = truncated(&trouble, text.len() as usize).as_bytes();
        text.write_all(0, fits).map_err(|_| Refusal::BadLease)?;
        Ok(fits.len())
    }
}

impl Console {
    /// Prints the collected text.
    fn put_out(&mut self) {
        if !self.out.is_empty() {
            // Input that was taken from the devices is stored before anything is waited for.
            self.save();
            self.devices.screen(&self.out);
            self.devices.line(&self.out);
            self.out.clear();
        }
    }

    /// Prints a bounded piece of the tasks' new log text, and sets the timer if that was not all;
    /// `told` if a notification said that there is new text. Returns whether there is more that may
    /// be printed now.
    fn look_at_logs(&mut self, told: bool) -> bool {
        let Some(archive) = &self.archive else { return false };
        let mut lines = String::new();
        let before = *self.logs.positions();
        let more = self.logs.turn(&mut TaskRings(archive.tasks()), rt::time::now_ns(), &mut lines);
        self.keep.set_positions(self.logs.positions());
        self.session.print_apart(&lines, &mut self.out);
        // A part of a line prints nothing, but counts as work.
        let had_work = told || before != *self.logs.positions();
        let again = self.pace.after_turn(rt::time::now_ns(), had_work, more);
        match (again, &self.log_timer) {
            (Some(deadline), Some(timer)) => timer.arm_at(deadline),
            // Without a timer there is no pause, and the rest waits for the next line.
            (Some(_), None) => self.pace = Pace::default(),
            (None, _) => {}
        }
        more && !lines.is_empty()
    }

    /// Prints all text that the tasks have logged up to now, except the text of a task beyond its
    /// rate.
    fn print_logs(&mut self) {
        for _ in 0..CATCH_UP {
            let more = self.look_at_logs(false);
            self.put_out();
            if !more {
                break;
            }
        }
    }

    /// Prints the log text that waits for the timer, so that it comes before the effect of a
    /// client's next request.
    fn catch_up(&mut self) {
        if self.pace.is_paused() {
            self.print_logs();
        }
    }

    /// Stores the state that the keys so far have led to.
    fn save(&mut self) {
        let draft = if self.session.is_reading() { self.session.editor.draft() } else { self.left_over.clone() };
        let typed = core::mem::take(&mut self.session.typed);
        let input = Typed {
            draft,
            ending: self.ending,
            given: self.given,
            typed,
            positions: self.positions,
            decoder: self.decoder.clone(),
            missed: self.missed,
        };
        self.keep.set_input(&input);
        self.session.typed = input.typed;
    }

    /// Takes the input, and requests more if wanted. A byte, or an event, is committed with the
    /// effects of all its keys: only the last of these keys can cause a report to a client.
    fn take_input(&mut self) {
        let keys = self.devices.keyboard.as_ref().map(Input::take).unwrap_or_default();
        for (position, key) in keys {
            self.positions[Source::Keyboard as usize] = position;
            self.keys(Source::Keyboard, key);
        }
        let bytes = self.devices.serial.as_ref().map(Input::take).unwrap_or_default();
        let mut keys = Vec::new();
        for (position, byte) in bytes {
            self.positions[Source::Serial as usize] = position;
            self.decoder.feed(byte, |key| keys.push(key));
            self.keys(Source::Serial, keys.drain(..));
        }
        self.put_out();
        self.save();
        if let (Some(patience), Some(timer)) = (self.decoder.patience(), &self.sequence_timer) {
            timer.arm_at(rt::time::now_ns().saturating_add(patience));
        }
        self.ask();
    }

    /// Requests more input if wanted; logs if the serial line has to wait.
    fn ask(&mut self) {
        if let Some(keyboard) = &self.devices.keyboard {
            keyboard.ask(self.positions[Source::Keyboard as usize]);
        }
        self.said &= !self.session.typed.is_empty();
        if let Some(serial) = &self.devices.serial {
            if self.session.takes(Source::Serial) {
                serial.ask(self.positions[Source::Serial as usize]);
            } else if !core::mem::replace(&mut self.said, true) {
                println!(
                    "{} keys wait for the program that runs; the serial line waits with the rest",
                    self.session.typed.len()
                );
            }
        }
    }

    /// Takes the keys of one byte or event.
    fn keys(&mut self, source: Source, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Some(event) = self.session.key(source, key, &mut self.out) {
                self.deliver(event);
            }
        }
        if self.keep.is_far(&self.session.typed) {
            self.save();
        }
    }

    /// Ends an unfinished sequence on the serial line, if nothing has come since.
    fn end_sequence(&mut self) {
        let waits = self.devices.serial.as_ref().is_some_and(Input::has_items) || !self.session.takes(Source::Serial);
        if waits {
            // The rest may be in the unread input.
            return self.take_input();
        }
        let mut keys = Vec::new();
        let lost = self.decoder.pause(|key| keys.push(key));
        if lost > 2 {
            println!("the serial line began a control sequence and did not end it: {lost} bytes are left out");
        }
        self.keys(Source::Serial, keys);
        self.put_out();
        self.save();
    }
}

/// The text that was lent.
fn lent_text(text: In) -> Result<String, Refusal> {
    let bytes = text.to_vec().map_err(|_| Refusal::BadLease)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The console's text at boot.
fn banner(tasks: &[TaskRecord]) -> String {
    let mut text =
        format!("Enigma {}: a microkernel for x86_64 in which a driver is just a crate\n", env!("CARGO_PKG_VERSION"));
    let started = tasks.iter().filter(|task| task.flags & TaskRecord::START != 0);
    let mut row = String::from("In ring 3:");
    let mut any = false;
    for name in started.map(|task| name_str(&task.name)) {
        any = true;
        if row.len() + 1 + name.len() > COLUMNS {
            text.push_str(&row);
            row = String::from("\n          ");
        }
        row.push(' ');
        row.push_str(name);
    }
    if any {
        text.push_str(&row);
        text.push_str("\n`help` lists the commands.\n\n");
    } else {
        text.push_str("The task table cannot be read: what tasks print is not shown.\n");
    }
    text
}
