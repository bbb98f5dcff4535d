//! Conversion from processor cycles to nanoseconds and back, without a division where it is
//! frequent.

/// A clock that counts cycles of the time-stamp counter (Intel SDM vol. 3B, section 18.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The value of the counter at time 0.
    pub base: u64,
    /// Nanoseconds per cycle, times 2^32.
    pub mult: u64,
}

impl Clock {
    /// A clock with this frequency in hertz (at least 1 MHz is assumed) that starts at `base`
    /// cycles.
    pub fn new(base: u64, hertz: u64) -> Self {
        let hertz = u128::from(hertz.max(1_000_000));
        Clock { base, mult: ((1_000_000_000u128 << 32) / hertz) as u64 }
    }

    /// Nanoseconds since the base; 0 for a value before it.
    #[inline]
    pub fn ns(&self, cycles: u64) -> u64 {
        self.span_ns(cycles.saturating_sub(self.base))
    }

    /// The length of `cycles` cycles in nanoseconds.
    #[inline]
    pub fn span_ns(&self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.mult)) >> 32) as u64
    }

    /// The first value of the counter at which [`Clock::ns`] is at least `ns`, or a very late one.
    pub fn cycles_at(&self, ns: u64) -> u64 {
        let exact = (u128::from(ns) << 32).div_ceil(u128::from(self.mult.max(1)));
        u64::try_from(exact).map_or(u64::MAX, |cycles| self.base.saturating_add(cycles))
    }

    /// The length of `ns` nanoseconds in cycles.
    pub fn span_cycles(&self, ns: u64) -> u64 {
        ((u128::from(ns) << 32) / u128::from(self.mult.max(1))).min(u128::from(u64::MAX)) as u64
    }
}
