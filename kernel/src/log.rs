//! The kernel's log, which goes to port 0xE9 and to a ring that `dmesg` reads. Lines of tasks are
//! written to the port here as well, each tagged with its task's name, so that no task can forge
//! another's.

use crate::arch::debugcon;
use abi::Name;
use abi::task::{LOG_TAG, MOST_PORTS, log_cost};
use core::fmt::{self, Write};
use kernel_core::Row;
use kernel_core::log::{Ring, fitting};
use kernel_core::step::Show;
use kernel_core::task::Task;
use kernel_core::task::Tasks;
use spin::Mutex;

struct Log {
    ring: Option<Ring>,
    /// The last writer to the port (a row, or `KERNEL`), and whether its line is still open.
    writer: Row,
    open: bool,
    /// A task's text that is being copied from its ring to the port. No other text comes in
    /// between: another writer first shows the rest of this one.
    showing: Option<(Row, Show)>,
}

const KERNEL: Row = Row::new(u16::MAX);

static LOG: Mutex<Log> = Mutex::new(Log { ring: None, writer: KERNEL, open: false, showing: None });

/// Starts keeping lines in the ring; earlier ones went to the port only.
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
    // The panic report must get out even if the panic occurred while the log was locked.
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

    /// Copies some of a task's text from its ring to the port, each line with its tag. Returns true
    /// when all of it is shown.
    fn show(&mut self, row: Row, task: &Task, show: &mut Show) -> bool {
        self.turn_to(row);
        let mut buffer = [0; MOST_PORTS as usize];
        let left = show.end.saturating_sub(show.start).min(MOST_PORTS) as usize;
        let (count, start) = task.log().read(show.start, buffer.get_mut(..left).unwrap_or_default());
        // Text that has been overwritten in the ring since is not shown.
        let count = count.min(show.end.saturating_sub(start) as usize);
        let name = tag(&task.record().name);
        // One byte less, as another writer's line may just have been ended.
        let (count, _) =
            fitting(buffer.get(..count).unwrap_or_default(), name.len() + LOG_TAG, self.open, MOST_PORTS as usize - 1);
        for piece in buffer.get(..count).unwrap_or_default().split_inclusive(|&b| b == b'\n') {
            if !self.open {
                debugcon::write(b"[");
                debugcon::write(name);
                debugcon::write(b"] ");
            }
            for &byte in piece {
                // Control characters could make a line look like another's, and non-ASCII text has
                // more of them than can be checked here.
                let plain = matches!(byte, b'\n' | b'\t' | b' '..=b'~');
                debugcon::write(&[if plain { byte } else { b'?' }]);
            }
            self.open = piece.last() != Some(&b'\n');
        }
        show.start = start + count as u64;
        show.start >= show.end
    }
}

/// The bytes of a name for a tag. It does not use [`abi::name_str`], whose code is freed after the
/// boot.
fn tag(name: &Name) -> &[u8] {
    let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    name.get(..len).unwrap_or_default()
}

/// The number of bytes that a task's text takes on the port, tags included.
pub fn cost(row: Row, name: &Name, text: &[u8]) -> usize {
    let log = LOG.lock();
    let goes_on = log.showing.is_none() && log.open && log.writer == row;
    let name = tag(name).len();
    log_cost(name, text) as usize - if goes_on { name + LOG_TAG } else { 0 }
}

/// Does one step of showing a task's text on the port, or another task's text that comes first.
/// Returns whose text it was, and true when the task's own is shown.
pub fn show(tasks: &Tasks, row: Row, mine: &mut Show) -> (Row, bool) {
    let mut log = LOG.lock();
    let (owner, mut show) = match log.showing {
        Some(showing) => showing,
        None if mine.begun => return (row, true),
        None => (row, *mine),
    };
    let is_mine = (owner, show.end) == (row, mine.end);
    // Another writer has already shown the rest of this text, and continues with its own.
    if mine.begun && !is_mine {
        return (row, true);
    }
    mine.begun = is_mine;
    let done = tasks.get(owner).ok().is_none_or(|task| log.show(owner, task, &mut show));
    log.showing = (!done).then_some((owner, show));
    (owner, done && is_mine)
}

/// Reads the kernel's log ring: see [`Ring::read`].
pub fn read(position: u64, into: &mut [u8]) -> (usize, u64) {
    LOG.lock().ring.as_ref().map_or((0, 0), |r| r.read(position, into))
}
