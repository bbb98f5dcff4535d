//! What is served: pure logic, without system calls, so that `cargo test` tests it on the host.
//!
//! As generated it is [`Ticker`], a device without hardware.

use core::ops::RangeInclusive;
use rt::keep::Cell;

/// How many milliseconds a tick may take.
pub const PERIODS: RangeInclusive<u64> = 10..=60_000;

const NS_PER_MS: u64 = 1_000_000;

rt::kept! {
    /// What outlives the driver (`keep` in the manifest): its next life finds it as this one left it, after any instruction.
    pub struct Keep {
        ticks: Cell<u64>,
        period_ms: Cell<u64>,
    }
}

/// Counts ticks of a period that can be set. Times are nanoseconds since boot.
pub struct Ticker {
    keep: &'static Keep,
    next: u64,
}

/// A period outside [`PERIODS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPeriod;

impl Ticker {
    /// Goes on at `now` where an earlier life ended; else starts with one tick a second.
    pub fn start(now: u64, keep: &'static Keep) -> Ticker {
        let sound = |ms: &u64| PERIODS.contains(ms);
        if !keep.resume() || !sound(&keep.period_ms.get()) {
            keep.ticks.put(0);
            keep.period_ms.put(1000);
            keep.set_ready(0);
        }
        Ticker { next: now + keep.period_ms.get() * NS_PER_MS, keep }
    }

    /// Ticks so far.
    pub fn ticks(&self) -> u64 {
        self.keep.ticks.get()
    }

    /// Milliseconds for each tick.
    pub fn period_ms(&self) -> u64 {
        self.keep.period_ms.get()
    }

    /// When the next tick is due.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Sets the period; the next tick comes one such period after `now`.
    ///
    /// # Errors
    /// The period is not within [`PERIODS`]: nothing changes.
    pub fn set_period(&mut self, now: u64, ms: u64) -> Result<(), BadPeriod> {
        if !PERIODS.contains(&ms) {
            return Err(BadPeriod);
        }
        self.keep.period_ms.put(ms);
        self.next = now + ms * NS_PER_MS;
        Ok(())
    }

    /// Counts the ticks that were due by `now`, and returns how many. A late call loses none.
    pub fn advance(&mut self, now: u64) -> u64 {
        if now < self.next {
            return 0;
        }
        let period = self.period_ms() * NS_PER_MS;
        let due = (now - self.next) / period + 1;
        self.next += due * period;
        self.keep.ticks.put(self.ticks() + due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::keep::{damage, fuse};

    const MS: u64 = NS_PER_MS;

    fn ticker(now: u64) -> Ticker {
        Ticker::start(now, damage::memory(0))
    }

    #[test]
    fn ticks_come_when_they_are_due() {
        let mut ticker = ticker(5 * MS);
        assert_eq!(ticker.advance(1004 * MS), 0);
        assert_eq!(ticker.advance(1005 * MS), 1);
        assert_eq!(ticker.advance(1005 * MS), 0, "a tick counts once");
        assert_eq!(ticker.next(), 2005 * MS);
    }

    #[test]
    fn a_late_call_loses_no_tick_and_no_time() {
        let mut ticker = ticker(0);
        assert_eq!(ticker.advance(3500 * MS), 3);
        assert_eq!((ticker.ticks(), ticker.next()), (3, 4000 * MS));
    }

    #[test]
    fn a_new_period_begins_now() {
        let mut ticker = ticker(0);
        assert_eq!(ticker.set_period(100 * MS, 20), Ok(()));
        assert_eq!((ticker.period_ms(), ticker.next()), (20, 120 * MS));
        assert_eq!(ticker.advance(160 * MS), 3);
    }

    #[test]
    fn a_period_out_of_range_changes_nothing() {
        let mut ticker = ticker(0);
        let before = (ticker.period_ms(), ticker.next(), ticker.ticks());
        for ms in [0, 9, 60_001, u64::MAX] {
            assert_eq!(ticker.set_period(7, ms), Err(BadPeriod), "{ms}");
        }
        assert_eq!((ticker.period_ms(), ticker.next(), ticker.ticks()), before);
    }

    /// A life may end before any store to kept memory: [`fuse`] does that, as often as there are stores.
    #[test]
    fn a_death_at_any_store_loses_no_tick_that_was_counted() {
        for steps in 0.. {
            let keep = damage::memory(0);
            let mut counted = 0;
            let whole = fuse::live(Some(steps), || {
                let mut ticker = Ticker::start(0, keep);
                for second in 1..=3 {
                    ticker.advance(second * 1000 * MS);
                    counted = ticker.ticks();
                }
            });
            assert!(Ticker::start(0, keep).ticks() >= counted, "died before store {steps}");
            if whole {
                break;
            }
        }
    }
}
