//! The VGA text driver as a task.
//!
//! Authority: ports 0x3c0 to 0x3df and 0x1ce to 0x1d0, the physical ranges `font` (0xa0000, 64 KiB) and `text` (0xb8000, 32 KiB),
//! four pages of memory that outlive it.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::TaskId;
use alloc::vec;
use driver_vga::device::{Adapter, Trouble, Window};
use driver_vga::keep::{Begin, KEEP_LEN, Session};
use driver_vga::mode::{DISPI_BASE, DISPI_LEN, VGA_BASE, VGA_LEN};
use driver_vga::screen::{COLS, ROWS};
use driver_vga::turns::{Job, Turns};
use driver_vga::{OUTCOME_BUSY, label};
use rt::ipc::{Pending, Request};
use rt::memory::{Mapping, Memory};
use rt::port::IoPorts;
use rt::time::{Timer, now_ns};
use rt::{Answer, Driver, OUTCOME_BAD_REQUEST, Status, println};

/// Bytes that are applied, and made to outlive the driver, in one go.
const PIECE: usize = 512;

/// How long a write goes on before others get their turn, in nanoseconds.
const TURN_NS: u64 = 2_000_000;

/// The bit of the timer that gives the waiting writes their turns. Time passes between two turns so that requests come through:
/// notifications go before messages.
const TURN_BIT: u32 = 32;

/// Video memory, mapped.
struct Mapped(Mapping);

impl Window for Mapped {
    fn write(&mut self, offset: usize, value: u16) {
        self.0.write_u16(offset, value);
    }

    fn read(&mut self, offset: usize) -> u16 {
        self.0.read_u16(offset)
    }
}

/// A write that waits for its next turn.
struct Write {
    pending: Pending,
    task: TaskId,
    sequence: u64,
    /// Bytes of it that are on the screen, as far as this life knows.
    at: Option<usize>,
}

impl Job for Write {
    fn task(&self) -> TaskId {
        self.task
    }
}

struct Vga {
    session: Session<&'static mut [u8]>,
    /// Where there is none that shows text, only the session is kept.
    adapter: Result<Adapter<IoPorts, Mapped>, Trouble>,
    turns: Turns<Write>,
    timer: Timer,
}

rt::driver!(Vga);

impl Driver for Vga {
    fn init() -> Self {
        let (memory, kept) = Memory::kept(KEEP_LEN);
        if !kept {
            println!("no memory that outlives the driver: the screen will not");
        }
        let Some((mut session, restored)) = Session::open(memory) else { unreachable!("{KEEP_LEN} bytes are enough") };
        let mut adapter = adapter();
        let rows = session.take_unpainted();
        if let Ok(adapter) = &mut adapter {
            adapter.paint(session.screen(), rows);
            adapter.screen_on();
        }
        let what = if restored { "screen restored" } else { "new screen" };
        match &adapter {
            Ok(_) => println!("{COLS}x{ROWS} text, {what}"),
            Err(trouble) => println!("{trouble}; {what}, for nobody to see"),
        }
        let timer = match Timer::new(TURN_BIT) {
            Ok(timer) => timer,
            Err(status) => panic!("no timer: {status}"),
        };
        Vga { session, adapter, turns: Turns::default(), timer }
    }

    fn notified(&mut self, bits: u64) {
        if bits & 1 << TURN_BIT == 0 {
            return;
        }
        if let Some(job) = self.turns.take() {
            self.turn(job);
        }
        self.wake();
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::WRITE => self.write(request),
            label::CLEAR => {
                self.session.change(|screen| screen.clear());
                self.paint();
                Answer::ok([0; 4])
            }
            label::SET_COLOR => {
                let [fg, bg, ..] = request.words;
                if fg > 15 || bg > 15 {
                    return Answer::bad_request();
                }
                self.session.change(|screen| screen.set_color(fg as u8, bg as u8));
                Answer::ok([0; 4])
            }
            label::INFO => {
                let (col, row) = self.session.screen().cursor();
                Answer::ok([COLS as u64, ROWS as u64, col as u64, row as u64])
            }
            label::TROUBLE => {
                let [kind, offset, cells] = Trouble::words(self.adapter.as_ref().err().copied());
                Answer::ok([kind, offset, cells, 0])
            }
            label::READ_CELLS => {
                let mut bytes = vec![0; COLS * ROWS * 2];
                for (place, cell) in bytes.chunks_exact_mut(2).zip(self.session.screen().cells()) {
                    place.copy_from_slice(&cell.to_le_bytes());
                }
                match request.write(0, 0, &bytes) {
                    Ok(count) => Answer::ok([count as u64, COLS as u64, ROWS as u64, 0]),
                    Err(_) => Answer::bad_request(),
                }
            }
            _ => Answer::bad_request(),
        }
    }
}

impl Vga {
    fn write(&mut self, request: &Request) -> Answer {
        if self.turns.is_full() {
            return Answer::refuse(OUTCOME_BUSY);
        }
        let [sequence, ..] = request.words;
        let job = Write { pending: request.pending(), task: request.sender.task, sequence, at: None };
        if self.turns.is_empty() {
            self.turn(job);
        } else if self.turns.add(job).is_err() {
            return Answer::refuse(OUTCOME_BUSY);
        }
        self.wake();
        Answer::Later
    }

    /// Goes on with a write for one turn; answers when it is done, queues it again when it is not.
    fn turn(&mut self, mut job: Write) {
        let deadline = now_ns().saturating_add(TURN_NS);
        let done = loop {
            match self.piece(&mut job) {
                Ok(None) if now_ns() >= deadline => break None,
                Ok(None) => {}
                Ok(Some(len)) => break Some((0, len)),
                Err(_) => break Some((OUTCOME_BAD_REQUEST, 0)),
            }
        };
        self.paint();
        match done {
            // The caller may be gone by now: then nobody waits for this.
            Some((outcome, len)) => _ = job.pending.reply(outcome, [len as u64, 0, 0, 0]),
            None => self.turns.again(job),
        }
    }

    /// Applies one piece. `Some` length of the whole write where that was the last.
    fn piece(&mut self, job: &mut Write) -> Result<Option<usize>, Status> {
        let len = job.pending.lease_len(0)?;
        let at = match job.at {
            Some(at) => at,
            None => match self.session.begin(job.task, job.sequence) {
                Begin::Done => return Ok(Some(len)),
                Begin::From(at) => at.min(len),
            },
        };
        let mut buffer = [0; PIECE];
        let count = job.pending.read(0, at, &mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let last = count == 0 || at + count >= len;
        self.session.feed(job.task, job.sequence, at, bytes, last);
        job.at = Some(at + count);
        Ok(last.then_some(len))
    }

    fn paint(&mut self) {
        let rows = self.session.take_unpainted();
        if let Ok(adapter) = &mut self.adapter {
            adapter.paint(self.session.screen(), rows);
        }
    }

    /// Has the next turn come at the next tick, if somebody waits for it.
    fn wake(&self) {
        if !self.turns.is_empty() {
            self.timer.arm_at(now_ns());
        }
    }
}

/// The adapter, in text mode and still dark, or why nothing can be shown.
fn adapter() -> Result<Adapter<IoPorts, Mapped>, Trouble> {
    let ports = IoPorts::granted(VGA_BASE, VGA_LEN).ok_or(Trouble::Absent)?;
    let mut dispi = IoPorts::granted(DISPI_BASE, DISPI_LEN).ok_or(Trouble::Absent)?;
    let window = |name| Memory::range(name).and_then(|range| range.map(true).ok()).map(Mapped).ok_or(Trouble::Absent);
    let (mut font, text) = (window("font")?, window("text")?);
    let mut adapter = Adapter::set_up(ports, &mut dispi, &mut font, text);
    adapter.trouble().map_or(Ok(adapter), Err)
}
