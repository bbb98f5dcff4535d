//! What the measurements of throughput write, and how they are timed.

use alloc::vec::Vec;
use rt::println;
use rt::time::ticks;

/// Characters of a line, the line feed included.
pub const LINE: usize = 80;
/// Lines that are written to the screen, most of which make it scroll.
pub const LINES: usize = 200;
/// Characters that are sent on the serial line.
pub const SENT: usize = 32 * 1024;
/// Bytes of each write of these.
pub const CHUNK: usize = 1024;
/// Characters that are written one at a time.
pub const ECHOED: usize = 1600;
/// How often the whole screen is painted, and with what in turn, so that each cell changes.
pub const REPAINTS: usize = 20;
/// See [`REPAINTS`].
pub const GLYPHS: [u8; 2] = *b"xo";

/// Lines of printable characters, no two alike one below the other.
pub fn text(len: usize) -> Vec<u8> {
    let letter = |i: usize| b' ' + ((i % LINE + i / LINE) % 95) as u8;
    (0..len).map(|i| if i % LINE == LINE - 1 { b'\n' } else { letter(i) }).collect()
}

/// Measures time, and how much of it nobody ran.
pub struct Clock {
    ticks: u64,
    idle: u64,
}

impl Clock {
    /// From now on.
    pub fn start() -> Clock {
        let idle = idle();
        Clock { idle, ticks: ticks() }
    }

    /// Ticks since then in which somebody ran.
    pub fn instructions(&self) -> u64 {
        let elapsed = ticks() - self.ticks;
        elapsed.saturating_sub(idle() - self.idle)
    }

    /// Prints what `count` characters took: instructions, and ticks in all.
    pub fn print(self, name: &str, count: usize) {
        let elapsed = ticks() - self.ticks;
        println!("flow {name} {count} {} {elapsed}", elapsed.saturating_sub(idle() - self.idle));
    }
}

/// Ticks since boot in which nobody ran: a nanosecond is a tick where a tick is an instruction.
fn idle() -> u64 {
    rt::task::system_info().map_or(0, |info| info.idle_ns)
}
