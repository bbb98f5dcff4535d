//! The timer, which interrupts once at a time for which it is armed, given as a value of the
//! time-stamp counter.

use super::pit;
use kernel_core::clock::Clock;
use kernel_core::deadline::NEVER;
use kernel_core::lines::Line;

/// The interrupt line of the timer.
pub const LINE: Line = Line::new(0);

/// The timer of a machine.
pub struct Timer {
    /// Counts of the timer's clock per cycle of the time-stamp counter, times 2^32.
    per_cycle: u64,
}

impl Timer {
    /// Initialises the timer, disarmed. `clock` tells the frequency of the time-stamp counter.
    pub fn new(clock: &Clock) -> Self {
        pit::start();
        Timer { per_cycle: (pit::HERTZ << 32) / clock.span_cycles(1_000_000_000).max(1) }
    }

    /// Arms the timer for `at` instead of any earlier or later time, or disarms it for [`NEVER`].
    /// It interrupts at `at`, or at once if that is past. If `at` is further away than the timer
    /// can count, it interrupts before; then it is to be armed again. `now` is the value of the
    /// time-stamp counter.
    pub fn arm(&mut self, at: u64, now: u64) {
        // Channel 0 cannot be disarmed; it interrupts once more.
        if at == NEVER {
            return;
        }
        let counts = (u128::from(at.saturating_sub(now)) * u128::from(self.per_cycle)) >> 32;
        pit::count_down(u16::try_from(counts + 1).unwrap_or(u16::MAX));
    }
}
