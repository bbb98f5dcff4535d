//! The time at which the timer interrupts: the state of [`crate::system::deadline`].

use crate::clock::Clock;
use crate::period::SPACING_NS;

/// A time that never comes, in cycles. It is the largest for which a difference to the present is
/// right as a signed number, which the assembly computes.
pub const NEVER: u64 = i64::MAX as u64;

/// When the timer interrupts next, and what that depends on.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// When the timer is armed to interrupt, in cycles; [`NEVER`] while it is not armed.
    pub(crate) at: u64,
    /// The earliest time at which it may interrupt, in cycles: [`SPACING_NS`] after its last
    /// interrupt.
    pub(crate) earliest: u64,
    /// [`SPACING_NS`] in cycles.
    pub(crate) spacing: u64,
    /// The deadline of the first timer in nanoseconds for which the timer was armed last, and for
    /// which `first` was computed; 0 if the timer is to be armed anew before a thread runs.
    pub(crate) first_ns: u64,
    /// The deadline of the first timer in cycles, or a time that never comes.
    pub(crate) first: u64,
}

impl Deadline {
    /// That of a timer that is not armed, at time 0 of the clock.
    pub(crate) fn new(clock: &Clock) -> Self {
        let spacing = clock.span_cycles(SPACING_NS);
        Deadline { at: NEVER, earliest: clock.base, spacing, first_ns: u64::MAX, first: NEVER }
    }
}
