//! Time since boot in nanoseconds, timers, and sleeping.

use crate::lock::Mutex;
use crate::notify::{BitNumber, Notification};
use crate::syscall;
use abi::Status;
use abi::message::bits;

/// Nanoseconds in a millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// Nanoseconds since boot, read without a system call. On the host: the time that
/// [`set_host_clock`] set, at first 0.
#[inline]
pub fn now_ns() -> u64 {
    #[cfg(target_os = "none")]
    {
        let info = crate::info();
        scale(rdtsc(), info.tsc_base, info.tsc_mult)
    }
    #[cfg(not(target_os = "none"))]
    {
        crate::testing::kernel::now().unwrap_or_else(|| HOST_CLOCK.load(core::sync::atomic::Ordering::Relaxed))
    }
}

/// The time-stamp counter, which never goes back and has a frequency of its own; for differences.
/// On the host this is [`now_ns`].
#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_os = "none")]
    {
        rdtsc()
    }
    #[cfg(not(target_os = "none"))]
    {
        now_ns()
    }
}

#[cfg(not(target_os = "none"))]
static HOST_CLOCK: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Sets the time that [`now_ns`] returns on the host, for tests. The whole process has one clock,
/// and each thread on which a [`Harness`](crate::testing::Harness) runs has its own.
#[cfg(not(target_os = "none"))]
pub fn set_host_clock(ns: u64) {
    if !crate::testing::kernel::set_now(ns) {
        HOST_CLOCK.store(ns, core::sync::atomic::Ordering::Relaxed);
    }
}

/// The time-stamp counter (Intel SDM vol. 2B, RDTSC).
#[cfg(target_os = "none")]
#[inline]
fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter into two registers; the kernel leaves CR4.TSD clear.
    unsafe { core::arch::asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    (high as u64) << 32 | low as u64
}

/// Converts counter ticks since `base` to nanoseconds, at `mult / 2^32` nanoseconds per tick.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host has a clock of its own"))]
#[inline]
fn scale(ticks: u64, base: u64, mult: u64) -> u64 {
    let product = ticks.saturating_sub(base) as u128 * mult as u128;
    (product >> 32) as u64
}

/// The time `ms` milliseconds after `now`, at most [`u64::MAX`].
fn after_ms(now: u64, ms: u64) -> u64 {
    now.saturating_add(ms.saturating_mul(NS_PER_MS))
}

/// A timer, which sets a bit of a notification once at its deadline. It is closed on drop.
///
/// ```no_run
/// use rt::time::{Timer, now_ns};
/// use rt::Bit;
/// const TICK: Bit = Bit::new(32);
///
/// let timer = Timer::new(TICK)?;
/// timer.arm_in_ms(20);
/// // In `notified`, when `TICK.is_in(bits)`: the timer has fired, and is armed again.
/// timer.arm_at(now_ns() + 20_000_000);
/// # Ok::<(), rt::Status>(())
/// ```
#[derive(Debug)]
pub struct Timer {
    handle: u32,
}

impl Timer {
    /// A timer that sets this [`Bit`](crate::Bit) (or the bit with this number) of the task's
    /// permanent notification; usually one of [`bits::FREE_MASK`].
    ///
    /// # Errors
    /// [`Status::BadArgument`] (bit above 59), [`Status::QuotaObjects`], [`Status::QuotaHandles`].
    pub fn new(bit: impl BitNumber) -> Result<Timer, Status> {
        Timer::on(Notification::own(), bit)
    }

    /// A timer that sets a bit of any notification that the task may signal.
    ///
    /// # Errors
    /// The errors of [`Timer::new`], and [`Status::NoRights`].
    pub fn on(notification: Notification, bit: impl BitNumber) -> Result<Timer, Status> {
        syscall::timer_create(notification.0, bit.number()).map(|handle| Timer { handle })
    }

    /// Arms the timer for a deadline in nanoseconds since boot. If that has passed, it expires at
    /// the next tick.
    pub fn arm_at(&self, ns: u64) {
        self.expect(syscall::timer_arm(self.handle, ns));
    }

    /// Arms the timer for a deadline `ms` milliseconds from now.
    pub fn arm_in_ms(&self, ms: u64) {
        self.arm_at(after_ms(now_ns(), ms));
    }

    /// Disarms the timer. A bit that it has set already stays set.
    pub fn disarm(&self) {
        self.expect(syscall::timer_disarm(self.handle));
    }

    fn expect(&self, result: Result<(), Status>) {
        if let Err(status) = result {
            // The timer owns the handle, which exists as long as the timer does.
            panic!("timer {}: {status}", self.handle);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // If the handle cannot be closed, nothing can be done about it.
        let _ = syscall::handle_close(self.handle);
    }
}

/// The runtime's own timer, made when it is first needed. The thread that sleeps with it holds the
/// lock.
static SLEEP: Mutex<Option<Timer>> = Mutex::new(None);

/// Sleeps for at least `ms` milliseconds. Other bits of the task's notification stay set,
/// heartbeats included, so a task that sleeps longer than its heartbeat allows counts as hung. On
/// the host the clock is advanced instead.
///
/// # Panics
/// If the task's quota has no room for a timer.
pub fn sleep_ms(ms: u64) {
    #[cfg(target_os = "none")]
    sleep_until(after_ms(now_ns(), ms));
    #[cfg(not(target_os = "none"))]
    set_host_clock(after_ms(now_ns(), ms));
}

/// Sleeps until `deadline`, in nanoseconds since boot: see [`sleep_ms`].
///
/// # Panics
/// If the task's quota has no room for a timer.
pub fn sleep_until(deadline: u64) {
    if let Err(status) = sleep_on_own(deadline).or_else(|_| sleep_on_new(deadline)) {
        panic!("cannot sleep: {status}");
    }
}

/// Sleeps on the task's permanent notification; Busy if another thread uses it. Only the first
/// thread may do so: another one would be in the way of the thread that serves it.
fn sleep_on_own(deadline: u64) -> Result<(), Status> {
    if !crate::thread::is_first() {
        return Err(Status::Busy);
    }
    let mut slot = SLEEP.try_lock().ok_or(Status::Busy)?;
    let timer = match &*slot {
        Some(timer) => timer,
        None => slot.insert(Timer::new(bits::RUNTIME.trailing_zeros())?),
    };
    sleep_with(timer, Notification::own(), bits::RUNTIME, deadline)
}

/// Sleeps on a notification and a timer made for this sleep.
fn sleep_on_new(deadline: u64) -> Result<(), Status> {
    let notification = Notification::create()?;
    let result = Timer::on(notification, 0).and_then(|timer| sleep_with(&timer, notification, 1, deadline));
    let closed = crate::ipc::close(notification.0);
    result.and(closed)
}

/// Arms the timer and waits until the deadline has passed; a bit left from before only causes
/// another iteration.
fn sleep_with(timer: &Timer, notification: Notification, mask: u64, deadline: u64) -> Result<(), Status> {
    while now_ns() < deadline {
        timer.arm_at(deadline);
        notification.try_wait(mask)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_scale_without_overflow() {
        // 1 GHz: one nanosecond to the tick.
        assert_eq!(scale(1_000, 400, 1 << 32), 600);
        // 2.5 GHz: 0.4 ns to the tick.
        let mult = (1_u64 << 32) * 2 / 5;
        assert_eq!(scale(2_500_000_000, 0, mult), 999_999_999);
        // A hundred years of them still fit.
        let years = 2_500_000_000_u64 * 86_400 * 365 * 100;
        let seconds = scale(years, 0, mult) / 1_000_000_000;
        assert!((3_153_599_999..=3_153_600_000).contains(&seconds), "{seconds}");
        // A counter that is behind its base reads as the beginning, not as the far future.
        assert_eq!(scale(5, 10, u64::MAX), 0);
    }

    #[test]
    fn deadlines_saturate() {
        assert_eq!(after_ms(5, 2), 2_000_005);
        assert_eq!(after_ms(5, u64::MAX), u64::MAX);
        assert_eq!(after_ms(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn the_host_clock_moves_when_told() {
        set_host_clock(7);
        sleep_ms(3);
        assert_eq!(now_ns(), 3_000_007);
    }
}
