//! How long slices, turns and periods of processor time are: see [`crate::system::sched`].

/// Processor time in nanoseconds that a task may use at its priorities in one period, where there
/// are few tasks.
pub const SLICE_NS: u64 = 10_000_000;
/// The least processor time in nanoseconds that a task may use at its priorities in one period,
/// however many tasks there are.
pub const LEAST_SLICE_NS: u64 = 4_000_000;

/// Length in nanoseconds of a task's turn at the background level.
pub const TURN_NS: u64 = 4_000_000;

/// Length of a period in nanoseconds, where there are few tasks.
pub const PERIOD_NS: u64 = 100_000_000;

/// The most by which a slice or turn is exceeded, in nanoseconds: a running thread's time is
/// checked at timer ticks, which are so far apart.
pub const TICK_NS: u64 = 1_000_000;

/// Slice and period for `tasks` tasks, in nanoseconds. All slices together, each exceeded by a
/// tick, take nine tenths of the period. So every task gets its slice even if all others are more
/// important and spin, and threads at the background level run, too.
pub fn shares(tasks: usize) -> (u64, u64) {
    let tasks = (tasks as u64).max(1);
    let slice = (PERIOD_NS * 8 / 10 / tasks).clamp(LEAST_SLICE_NS, SLICE_NS);
    (slice, (tasks * (slice + TICK_NS) * 10 / 9).max(PERIOD_NS))
}
