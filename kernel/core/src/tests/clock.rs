//! [`Clock`].

use crate::clock::Clock;
use proptest::prelude::*;

#[test]
fn begins_at_its_base() {
    let clock = Clock::new(1_000, 1_000_000_000);
    assert_eq!([0, 1_000, 1_001, 2_000].map(|c| clock.ns(c)), [0, 0, 1, 1_000]);
}

#[test]
fn a_frequency_of_nothing_is_taken_for_a_megahertz() {
    assert_eq!(Clock::new(0, 0), Clock::new(0, 1_000_000));
    assert_eq!(Clock::new(0, 0).span_ns(3), 3_000);
    assert_eq!(Clock { base: 0, mult: 0 }.span_cycles(u64::MAX), u64::MAX);
}

proptest! {
    #[test]
    fn counts_as_long_division_does(hertz in 1_000_000u64..10_000_000_000, cycles in 0u64..1 << 50) {
        let clock = Clock::new(0, hertz);
        let exact = u128::from(cycles) * 1_000_000_000 / u128::from(hertz);
        let got = u128::from(clock.span_ns(cycles));
        // The factor has 32 bits behind the point, and is cut.
        prop_assert!(got <= exact && exact - got <= 1 + (u128::from(cycles) >> 32) + 1, "{} for {}", got, exact);
    }

    #[test]
    fn goes_there_and_back(hertz in 1_000_000u64..10_000_000_000, ns in 0u64..1 << 50) {
        let clock = Clock::new(5, hertz);
        let back = clock.span_ns(clock.span_cycles(ns));
        prop_assert!(back <= ns && ns - back <= 1_001, "{} for {}", back, ns);
    }
}

proptest! {
    /// A time in cycles is the first at which the clock has come to the time in nanoseconds.
    #[test]
    fn cycles_at_is_the_first_that_is_late_enough(base in 0..1_u64 << 40, hertz in 1_000_000..10_000_000_000_u64, ns in 0..1_u64 << 60) {
        let clock = Clock::new(base, hertz);
        let at = clock.cycles_at(ns);
        prop_assert!(at == u64::MAX || clock.ns(at) >= ns);
        prop_assert!(at <= base || clock.ns(at - 1) < ns);
    }
}
