//! The VGA text driver as a task.
//!
//! Authority: the ports `vga` (0x3c0 to 0x3df) and `dispi` (0x1ce to 0x1d0), the physical ranges
//! `font` (0xa0000, 64 KiB) and `text` (0xb8000, 32 KiB), four pages of memory that outlive it.

use crate::device::{Adapter, Trouble, Window};
use crate::keep::{Begin, Keep, Session};
use crate::mode::{DISPI_LEN, VGA_LEN};
use crate::screen::{COLS, ROWS};
use crate::turns::{Job, Turns};
use crate::{Call, Color, Info, Outcome, Refusal, Server, Sight};
use abi::TaskId;
use alloc::vec;
use rt::memory::{Mapping, Memory};
use rt::port::IoPorts;
use rt::proto::{Asker, Deferred, In, Out};
use rt::time::{Timer, now_ns};
use rt::{Bit, Driver, Status, println};

/// Most bytes that are applied and committed to the kept memory at once.
const PIECE: usize = 512;

/// How long a write continues before other clients get their turn, in nanoseconds.
const TURN_NS: u64 = 2_000_000;

/// The timer's notification bit for the next turn of the waiting writes. Time passes between two
/// turns so that requests are received: notifications are delivered before messages.
const TURN: Bit = Bit::new(32);

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
    deferred: Deferred<usize, Refusal>,
    task: TaskId,
    number: u64,
    text: In,
    /// Bytes of the write that are on the screen, as far as this life knows.
    at: Option<usize>,
}

impl Job for Write {
    fn task(&self) -> TaskId {
        self.task
    }
}

/// The driver's state.
pub struct Vga {
    session: Session,
    /// The adapter; if none shows text, only the session is kept.
    adapter: Result<Adapter<IoPorts, Mapped>, Trouble>,
    turns: Turns<Write>,
    timer: Timer,
}

impl Driver for Vga {
    fn init() -> Self {
        let (mut session, restored) = Session::open(rt::keep::open::<Keep>());
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
        let timer = match Timer::new(TURN) {
            Ok(timer) => timer,
            Err(status) => panic!("no timer: {status}"),
        };
        Vga { session, adapter, turns: Turns::default(), timer }
    }

    fn notified(&mut self, bits: u64) {
        if !TURN.is_in(bits) {
            return;
        }
        if let Some(job) = self.turns.take() {
            self.turn(job);
        }
        self.wake();
    }
}

impl Server for Vga {
    fn write(&mut self, call: Call<usize>, text: In) -> Outcome<usize> {
        if self.turns.is_full() {
            return Err(Refusal::Busy).into();
        }
        let (task, number) = (call.from.task, call.from.number);
        let (deferred, outcome) = call.defer();
        let job = Write { deferred, task, number, text, at: None };
        if self.turns.is_empty() {
            self.turn(job);
        } else if let Err(job) = self.turns.add(job) {
            // The caller may have died, and then takes no answer.
            let _ = job.deferred.answer(Err(Refusal::Busy));
        }
        self.wake();
        outcome
    }

    fn clear(&mut self, _: Asker) -> Result<(), Refusal> {
        self.session.change(|screen| screen.clear());
        self.paint();
        Ok(())
    }

    fn set_color(&mut self, _: Asker, foreground: Color, background: Color) -> Result<(), Refusal> {
        self.session.change(|screen| screen.set_color(foreground as u8, background as u8));
        Ok(())
    }

    fn info(&mut self, _: Asker) -> Result<Info, Refusal> {
        let (cursor_col, cursor_row) = self.session.screen().cursor();
        Ok(Info { cols: COLS, rows: ROWS, cursor_col, cursor_row })
    }

    fn read_cells(&mut self, _: Asker, cells: Out) -> Result<usize, Refusal> {
        let mut bytes = vec![0; COLS * ROWS * 2];
        for (place, cell) in bytes.chunks_exact_mut(2).zip(self.session.screen().cells()) {
            place.copy_from_slice(&cell.to_le_bytes());
        }
        bytes.truncate(cells.len() as usize);
        cells.write_all(0, &bytes).map_err(|_| Refusal::BadLease)?;
        Ok(bytes.len())
    }

    fn sight(&mut self, _: Asker) -> Result<Sight, Refusal> {
        Ok(self.adapter.as_ref().err().copied().into())
    }
}

impl Vga {
    /// Continues a write for one turn; answers when it is done, and queues it again otherwise.
    fn turn(&mut self, mut job: Write) {
        let deadline = now_ns().saturating_add(TURN_NS);
        let done = loop {
            match self.piece(&mut job) {
                Ok(None) if now_ns() >= deadline => break None,
                Ok(None) => {}
                Ok(Some(len)) => break Some(Ok(len)),
                Err(_) => break Some(Err(Refusal::BadLease)),
            }
        };
        self.paint();
        match done {
            // The caller may have died meanwhile, and then takes no answer.
            Some(result) => _ = job.deferred.answer(result),
            None => self.turns.again(job),
        }
    }

    /// Applies one piece; returns the length of the whole write if that was the last.
    fn piece(&mut self, job: &mut Write) -> Result<Option<usize>, Status> {
        let len = job.text.len() as usize;
        let at = match job.at {
            Some(at) => at,
            None => match self.session.begin(job.task, job.number) {
                Begin::Done => return Ok(Some(len)),
                Begin::From(at) => at.min(len),
            },
        };
        let mut buffer = [0; PIECE];
        let count = job.text.read(at, &mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        let last = count == 0 || at + count >= len;
        self.session.feed(job.task, job.number, at, bytes, last);
        job.at = Some(at + count);
        Ok(last.then_some(len))
    }

    fn paint(&mut self) {
        let rows = self.session.take_unpainted();
        if let Ok(adapter) = &mut self.adapter {
            adapter.paint(self.session.screen(), rows);
        }
    }

    /// Sets the timer for the next turn, if a write waits.
    fn wake(&self) {
        if !self.turns.is_empty() {
            self.timer.arm_at(now_ns());
        }
    }
}

/// The adapter, in text mode with the screen off, or why nothing can be shown.
fn adapter() -> Result<Adapter<IoPorts, Mapped>, Trouble> {
    let named = |name, len| IoPorts::named(name).filter(|ports| ports.len() >= len).ok_or(Trouble::Absent);
    let (ports, mut dispi) = (named("vga", VGA_LEN)?, named("dispi", DISPI_LEN)?);
    let window = |name| Memory::range(name).and_then(|range| range.map(true).ok()).map(Mapped).ok_or(Trouble::Absent);
    let (mut font, text) = (window("font")?, window("text")?);
    let mut adapter = Adapter::set_up(ports, &mut dispi, &mut font, text);
    adapter.trouble().map_or(Ok(adapter), Err)
}
