//! The kernel's own log: to port 0xE9, and to a ring that `dmesg` reads. Tasks' lines pass through here to the port as well, each
//! line tagged with its task, so that no task can forge another's.

use crate::arch::debugcon;
use abi::Name;
use core::fmt::{self, Write};
use kernel_core::log::Ring;
use spin::Mutex;

struct Log {
    ring: Option<Ring>,
    /// Who wrote to the port last (a row, or `KERNEL`), and whether that line is still open.
    writer: u16,
    open: bool,
}

const KERNEL: u16 = u16::MAX;

static LOG: Mutex<Log> = Mutex::new(Log { ring: None, writer: KERNEL, open: false });

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
    fn turn_to(&mut self, writer: u16) {
        if self.open && self.writer != writer {
            debugcon::write(b"\n");
            self.open = false;
        }
        self.writer = writer;
    }
}

/// Copies a task's text to the port, line by line with its tag.
pub fn task_text(row: u16, name: &Name, text: &[u8]) {
    let mut log = LOG.lock();
    log.turn_to(row);
    for piece in text.split_inclusive(|&b| b == b'\n') {
        if !log.open {
            debugcon::write(b"[");
            name.iter().take_while(|&&byte| byte != 0).for_each(|&byte| debugcon::write(&[byte]));
            debugcon::write(b"] ");
        }
        for &byte in piece {
            // What a terminal would obey could make one line look like another; beyond ASCII there is more of that than can be told here.
            let plain = matches!(byte, b'\n' | b'\t' | b' '..=b'~');
            debugcon::write(&[if plain { byte } else { b'?' }]);
        }
        log.open = piece.last() != Some(&b'\n');
    }
}

/// Reads the kernel's ring: see [`Ring::read`].
pub fn read(position: u64, into: &mut [u8]) -> (usize, u64) {
    LOG.lock().ring.as_ref().map_or((0, 0), |r| r.read(position, into))
}
