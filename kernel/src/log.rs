//! The kernel's own log: to port 0xE9, and to a ring that `dmesg` reads. Tasks' lines pass through here to the port as well, each
//! line tagged with its task, so that no task can forge another's.

use crate::arch::debugcon;
use abi::Name;
use abi::task::MOST_PORTS;
use core::fmt::{self, Write};
use kernel_core::Row;
use kernel_core::log::{Ring, fitting};
use kernel_core::row::Tasks;
use kernel_core::step::Show;
use kernel_core::task::Task;
use spin::Mutex;

struct Log {
    ring: Option<Ring>,
    /// Who wrote to the port last (a row, or `KERNEL`), and whether that line is still open.
    writer: Row,
    open: bool,
    /// A task's text that is on its way from its ring to the port. Nobody else's comes in between: who has some shows the rest of this first.
    showing: Option<(Row, Show)>,
}

const KERNEL: Row = Row::new(u16::MAX);

static LOG: Mutex<Log> = Mutex::new(Log { ring: None, writer: KERNEL, open: false, showing: None });

/// Starts keeping lines in the ring; before, they go to the port alone.
pub fn init() {
    LOG.lock().ring = Some(Ring::default());
}

/// Writes a line to the kernel's log.
#[macro_export]
macro_rules! klog {
    ($($arg:tt)*) => { $crate::log::line(format_args!($($arg)*)) };
}

/// Writes a line to the kernel's log; use `klog!`.
pub fn line(text: fmt::Arguments<'_>) {
    // The panic report must get through even where the panic came from in here.
    let Some(mut log) = LOG.try_lock() else {
        let _ = writeln!(Port, "{text}");
        return;
    };
    log.turn_to(KERNEL);
    let _ = writeln!(log, "{text}");
}

struct Port;

impl Write for Port {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        debugcon::write(s.as_bytes());
        Ok(())
    }
}

impl Write for Log {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        debugcon::write(s.as_bytes());
        if let Some(ring) = &mut self.ring {
            ring.write(s.as_bytes());
        }
        Ok(())
    }
}

impl Log {
    fn turn_to(&mut self, writer: Row) {
        if self.open && self.writer != writer {
            debugcon::write(b"\n");
            self.open = false;
        }
        self.writer = writer;
    }

    /// Copies some of a task's text from its ring to the port, line by line with its tag. True when all of it is there.
    fn show(&mut self, row: Row, task: &Task, show: &mut Show) -> bool {
        self.turn_to(row);
        let mut buffer = [0; MOST_PORTS as usize];
        let left = show.end.saturating_sub(show.start).min(MOST_PORTS) as usize;
        let (count, start) = task.log().read(show.start, buffer.get_mut(..left).unwrap_or_default());
        // What it has written over since then is lost here.
        let count = count.min(show.end.saturating_sub(start) as usize);
        let name = tag(&task.record().name);
        // One less: another's line may have been ended.
        let (count, _) =
            fitting(buffer.get(..count).unwrap_or_default(), name.len() + TAG, self.open, MOST_PORTS as usize - 1);
        for piece in buffer.get(..count).unwrap_or_default().split_inclusive(|&b| b == b'\n') {
            if !self.open {
                debugcon::write(b"[");
                debugcon::write(name);
                debugcon::write(b"] ");
            }
            for &byte in piece {
                // What a terminal would obey could make one line look like another; beyond ASCII there is more of that than can be told here.
                let plain = matches!(byte, b'\n' | b'\t' | b' '..=b'~');
                debugcon::write(&[if plain { byte } else { b'?' }]);
            }
            self.open = piece.last() != Some(&b'\n');
        }
        show.start = start + count as u64;
        show.start >= show.end
    }
}

/// The name in a tag. Not by [`abi::name_str`]: what that needs is gone after the boot.
fn tag(name: &Name) -> &[u8] {
    let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    name.get(..len).unwrap_or_default()
}

/// What a tag is longer than its name.
const TAG: usize = 3;

/// How many bytes a task's text is on the port.
pub fn cost(row: Row, name: &Name, text: &[u8]) -> usize {
    let log = LOG.lock();
    let goes_on = log.showing.is_none() && log.open && log.writer == row;
    let lines = text.iter().filter(|&&byte| byte == b'\n').count() + usize::from(text.last() != Some(&b'\n'));
    text.len() + (tag(name).len() + TAG) * (lines - usize::from(goes_on))
}

/// Does one step of showing what a task of this row has written, or of another's text before it. True when it is shown.
pub fn show(tasks: &Tasks, row: Row, mine: &mut Show) -> bool {
    let mut log = LOG.lock();
    let (owner, mut show) = match log.showing {
        Some(showing) => showing,
        None if mine.begun => return true,
        None => (row, *mine),
    };
    let is_mine = (owner, show.end) == (row, mine.end);
    // Somebody else has shown mine, and goes on with what follows.
    if mine.begun && !is_mine {
        return true;
    }
    mine.begun = is_mine;
    let done = tasks.get(owner).ok().is_none_or(|task| log.show(owner, task, &mut show));
    log.showing = (!done).then_some((owner, show));
    done && is_mine
}

/// Reads the kernel's ring: see [`Ring::read`].
pub fn read(position: u64, into: &mut [u8]) -> (usize, u64) {
    LOG.lock().ring.as_ref().map_or((0, 0), |r| r.read(position, into))
}
