//! From processor cycles to nanoseconds and back, without division on the hot path.

/// A clock that counts cycles (the time-stamp counter, Intel SDM vol. 3B, section 18.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The count at which time began.
    pub base: u64,
    /// Nanoseconds per cycle, times 2^32.
    pub mult: u64,
}

impl Clock {
    /// A clock of this frequency in hertz; below 1 MHz it is taken for 1 MHz.
    pub fn new(base: u64, hertz: u64) -> Self {
        let hertz = u128::from(hertz.max(1_000_000));
        Clock { base, mult: ((1_000_000_000u128 << 32) / hertz) as u64 }
    }

    /// Nanoseconds since the base; 0 for a count before it.
    #[inline]
    pub fn ns(&self, cycles: u64) -> u64 {
        self.span_ns(cycles.saturating_sub(self.base))
    }

    /// The length of so many cycles in nanoseconds.
    #[inline]
    pub fn span_ns(&self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.mult)) >> 32) as u64
    }

    /// So many nanoseconds in cycles.
    pub fn span_cycles(&self, ns: u64) -> u64 {
        ((u128::from(ns) << 32) / u128::from(self.mult.max(1))).min(u128::from(u64::MAX)) as u64
    }
}
