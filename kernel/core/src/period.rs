//! How long slices, turns and periods of processor time are: see [`crate::system::sched`].

/// Processor time in nanoseconds that a task may use at its priorities in one period, where there
/// are few tasks.
pub const SLICE_NS: u64 = 10_000_000;
/// The least processor time in nanoseconds that a task may use at its priorities in one period,
/// however many tasks there are.
pub const LEAST_SLICE_NS: u64 = 4_000_000;

const _: () = assert!(LEAST_SLICE_NS <= SLICE_NS);

/// Length in nanoseconds of a task's turn at the background level.
pub const TURN_NS: u64 = 4_000_000;

/// Length of a period in nanoseconds, where there are few tasks.
pub const PERIOD_NS: u64 = 100_000_000;

/// The least time in nanoseconds between two interrupts of the timer, so that tasks with many
/// timers cannot take the processor's time by interrupts. A timer that becomes due sooner after
/// the last one sets its bits later by at most as much.
pub const SPACING_NS: u64 = 100_000;

/// The most by which a slice or turn is exceeded, in nanoseconds: the timer interrupts at its end,
/// or [`SPACING_NS`] after its last interrupt; the rest is for stretches with interrupts off.
pub const OVERRUN_NS: u64 = 2 * SPACING_NS;

/// Slice and period for `tasks` tasks, in nanoseconds. All slices together, each exceeded by
/// [`OVERRUN_NS`], take nine tenths of the period. So every task gets its slice even if all others
/// are more important and spin, and threads at the background level run, too.
pub fn shares(tasks: usize) -> (u64, u64) {
    let tasks = (tasks as u64).max(1);
    let slice = (PERIOD_NS * 8 / 10 / tasks).clamp(LEAST_SLICE_NS, SLICE_NS);
    (slice, (tasks * (slice + OVERRUN_NS) * 10 / 9).max(PERIOD_NS))
}
