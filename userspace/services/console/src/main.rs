//! The console as a task: devices and log rings on one side, clients on the other, the session between them.
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
use clients::read_all;
use console::complete::Completions;
use console::editor::COLUMNS;
use console::history::History;
use console::input::SerialDecoder;
use console::keep::Keep;
use console::key::Key;
use console::logs::{Logs, Pace, Rings, TURN_BYTES};
use console::session::Session;
use console::text::truncated;
use console::typed::Source;
use console::{MAX_COMPLETIONS, label, outcome};
use devices::{Devices, Input, bits as device};
use rt::archive::Archive;
use rt::ipc::{Kinds, Pending, Request};
use rt::memory::Memory;
use rt::notify::Notification;
use rt::println;
use rt::time::Timer;
use rt::{Answer, Driver};

rt::driver!(Console);

/// It is time for the next look at the logs. Other bits: [`devices::bits`].
const LOG_TIMER_BIT: u32 = 34;
/// An escape sequence on the serial line has gone without its end for long enough.
const SEQUENCE_BIT: u32 = 36;

/// Most turns at the logs before a client's text: more than the largest ring holds.
const CATCH_UP: usize = 2 * abi::task::LOG_BURST as usize / TURN_BYTES;

/// Bytes of a client's text printed at once.
const PIECE: usize = 1024;

struct Console {
    devices: Devices,
    session: Session,
    logs: Logs,
    archive: Option<Archive>,
    keep: Keep<'static>,
    decoder: SerialDecoder,
    sequence_timer: Option<Timer>,
    /// The line that a dead life was reading, or a reader that has died, until somebody reads again.
    left_over: String,
    /// That line was finished with Enter, and reached nobody.
    entered: bool,
    /// It was said that the serial line waits; once more when all that was typed ahead is done.
    said: bool,
    reader: Option<Reader>,
    interrupt: Option<(Notification, u64)>,
    log_timer: Option<Timer>,
    pace: Pace,
    /// What the devices are to print next.
    out: String,
}

/// Who waits for a line.
struct Reader {
    task: TaskId,
    pending: Pending,
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
        // The reports of deaths come from the one with control.
        self.0.get(index).is_some_and(|task| task.flags & TaskRecord::CONTROL != 0)
    }

    fn read(&mut self, index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
        let (len, next) = rt::task::log_read(index, position, buf)?;
        Ok((len, next.saturating_sub(len as u64)))
    }
}

impl Driver for Console {
    const TAKES: Kinds = Kinds::NOTIFICATION;

    fn init() -> Self {
        // Without memory that outlives it the console works all the same, and forgets when it dies.
        let (memory, _) = Memory::kept(console::keep::SIZE);
        let (keep, resumed) = Keep::open(memory).expect("the memory is as large as the state");
        let mut session = if resumed { Session::resumed() } else { Session::default() };
        session.editor.history = History::from_text(keep.history());
        session.typed = keep.typed();
        let mut console = Console {
            devices: Devices::peers(),
            session,
            logs: Logs::new(keep.positions()),
            archive: Archive::map(),
            decoder: SerialDecoder::default(),
            sequence_timer: Timer::new(SEQUENCE_BIT).ok(),
            left_over: keep.line(),
            entered: false,
            said: false,
            keep,
            reader: None,
            interrupt: None,
            log_timer: Timer::new(LOG_TIMER_BIT).ok(),
            pace: Pace::default(),
            out: String::new(),
        };
        if !resumed {
            let banner = banner(console.archive.as_ref().map_or(&[], Archive::tasks));
            console.session.print(&banner, &mut console.out);
        }
        console.look_at_logs(false);
        console.flush();
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
        if notified & 1 << SEQUENCE_BIT != 0 {
            self.end_sequence();
        }
        let timer = notified & 1 << LOG_TIMER_BIT != 0;
        if timer || (notified & bits::LOG != 0 && !self.pace.is_paused()) {
            self.look_at_logs(notified & bits::LOG != 0);
            self.flush();
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::WRITE => {
                self.catch_up();
                self.write(request)
            }
            label::READ_LINE => {
                self.catch_up();
                self.read_line(request)
            }
            label::SET_COMPLETIONS => match read_all(request, 0, MAX_COMPLETIONS) {
                Ok(list) => {
                    self.session.editor.completions = Completions::parse(&list);
                    Answer::ok([0; 4])
                }
                Err(answer) => answer,
            },
            label::CLEAR => {
                self.session.clear(&mut self.out);
                self.flush();
                Answer::ok([0; 4])
            }
            label::SET_COLOR => {
                let [foreground, background, ..] = request.words;
                if foreground > 15 || background > 15 {
                    return Answer::bad_request();
                }
                self.devices.set_color(foreground as u8, background as u8);
                Answer::ok([0; 4])
            }
            label::FLUSH => {
                // What the tasks have said up to now is part of it.
                self.print_logs();
                if self.devices.flush() { Answer::ok([0; 4]) } else { Answer::refuse(outcome::STALLED) }
            }
            label::CANCEL => {
                self.cancel(request.task());
                Answer::ok([0; 4])
            }
            label::TROUBLE => {
                let trouble = self.devices.trouble();
                match request.lease_len(0).and_then(|room| request.write(0, 0, truncated(&trouble, room).as_bytes())) {
                    Ok(written) => Answer::ok([written as u64, 0, 0, 0]),
                    Err(_) => Answer::refuse(outcome::BAD_LEASE),
                }
            }
            label::SUBSCRIBE_INTERRUPT => {
                let Some(handle) = request.handle else {
                    return Answer::bad_request();
                };
                self.set_interrupt(Some((Notification(handle.number), request.words[0])));
                Answer::ok([0; 4])
            }
            _ => Answer::bad_request(),
        }
    }

    fn takes_handle(label: u16) -> bool {
        label == label::SUBSCRIBE_INTERRUPT
    }
}

impl Console {
    /// Prints what has gathered.
    fn flush(&mut self) {
        if !self.out.is_empty() {
            // What was taken from the devices is safe before anything is waited for.
            self.save();
            self.devices.screen(&self.out);
            self.devices.line(&self.out);
            self.out.clear();
        }
    }

    /// Prints what the tasks have logged, a bounded piece of it, and has itself called again where that was not all; `told` where somebody has
    /// written something. Returns whether there is more that may be printed now.
    fn look_at_logs(&mut self, told: bool) -> bool {
        let Some(archive) = &self.archive else { return false };
        let mut lines = String::new();
        let before = *self.logs.positions();
        let more = self.logs.turn(&mut TaskRings(archive.tasks()), rt::time::now_ns(), &mut lines);
        self.keep.set_positions(self.logs.positions());
        self.session.print_apart(&lines, &mut self.out);
        let had_work = told || before != *self.logs.positions();
        let again = self.pace.after_turn(rt::time::now_ns(), had_work, more);
        match (again, &self.log_timer) {
            (Some(deadline), Some(timer)) => timer.arm_at(deadline),
            // Without a timer there is no pause, and what is left waits for the next line.
            (Some(_), None) => self.pace = Pace::default(),
            (None, _) => {}
        }
        more && !lines.is_empty()
    }

    /// Prints all that the tasks have logged up to now, but for what a flood goes on with meanwhile.
    fn print_logs(&mut self) {
        for _ in 0..CATCH_UP {
            let more = self.look_at_logs(false);
            self.flush();
            if !more {
                break;
            }
        }
    }

    /// Prints the logs that wait for the timer: what a client does next comes after what happened before.
    fn catch_up(&mut self) {
        if self.pace.is_paused() {
            self.print_logs();
        }
    }

    /// Remembers what was typed.
    fn save(&mut self) {
        if self.session.is_reading() {
            self.keep.set_line(&self.session.editor.text());
        }
        self.keep.set_typed(&self.session.typed);
    }

    /// Takes what was typed, and has the devices read on where more is wanted.
    fn take_input(&mut self) {
        let keys = self.devices.keyboard.as_ref().map(Input::take).unwrap_or_default();
        for key in keys {
            self.key(Source::Keyboard, key);
        }
        let bytes = self.devices.serial.as_ref().map(Input::take).unwrap_or_default();
        let mut keys = Vec::new();
        for byte in bytes {
            self.decoder.feed(byte, |key| keys.push(key));
        }
        for key in keys {
            self.key(Source::Serial, key);
        }
        self.flush();
        self.save();
        if let (Some(patience), Some(timer)) = (self.decoder.patience(), &self.sequence_timer) {
            timer.arm_at(rt::time::now_ns().saturating_add(patience));
        }
        self.ask();
    }

    /// Has the devices read on where more is wanted; says so where it is not.
    fn ask(&mut self) {
        if let Some(keyboard) = &self.devices.keyboard {
            keyboard.ask();
        }
        self.said &= !self.session.typed.is_empty();
        if let Some(serial) = &self.devices.serial {
            if self.session.takes(Source::Serial) {
                serial.ask();
            } else if !core::mem::replace(&mut self.said, true) {
                println!(
                    "{} keys wait for the program that runs; the serial line waits with the rest",
                    self.session.typed.len()
                );
            }
        }
    }

    fn key(&mut self, source: Source, key: Key) {
        if let Some(event) = self.session.key(source, key, &mut self.out) {
            self.deliver(event);
        }
    }

    /// Ends the sequence that the serial line has begun, if nothing has come since.
    fn end_sequence(&mut self) {
        let waits = self.devices.serial.as_ref().is_some_and(Input::has_items) || !self.session.takes(Source::Serial);
        if waits {
            // The rest may be among what is not read yet.
            return self.take_input();
        }
        let mut keys = Vec::new();
        let lost = self.decoder.pause(|key| keys.push(key));
        if lost > 2 {
            println!("the serial line began a control sequence and did not end it: {lost} bytes are left out");
        }
        for key in keys {
            self.key(Source::Serial, key);
        }
        self.flush();
        self.save();
    }
}

/// What the console says once, at boot.
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
