//! Quotas of frames on a machine that has fewer.

use super::{frames, record};
use crate::System;
use crate::clock::Clock;

/// A system of tasks with these quotas and kept frames, on a machine with so many frames besides the reserve.
fn system(there: usize, tasks: &[(u32, u32)]) -> System {
    let records: Vec<_> = tasks
        .iter()
        .map(|&(quota, keep)| {
            let mut r = record("task", 1, &[]);
            (r.frame_quota, r.keep_frames) = (quota, keep);
            r
        })
        .collect();
    System::new(&records, frames(there + 256), Clock::new(0, super::HERTZ))
}

fn limits(s: &System) -> Vec<u32> {
    s.tasks.iter().map(|t| t.frames.limit()).collect()
}

#[test]
fn quotas_that_fit_stay() {
    let mut s = system(100, &[(50, 10), (40, 0)]);
    assert_eq!(s.fit_quotas(), None);
    assert_eq!(limits(&s), [50, 40]);
}

#[test]
fn only_the_largest_are_lowered_and_all_together_fit() {
    let mut s = system(100, &[(20, 4), (1_000_000, 0), (30, 0), (500, 10)]);
    assert_eq!(s.fit_quotas(), Some(25), "24 + 25 + 25 + 25 are there, 24 + 26 + 26 + 26 are not");
    assert_eq!(limits(&s), [20, 25, 25, 15]);
}

#[test]
fn one_that_keeps_too_much_cannot_start_and_harms_nobody() {
    let mut s = system(100, &[(20, 0), (10, 100_000), (20, 4)]);
    assert_eq!(s.fit_quotas(), Some(56));
    assert_eq!(limits(&s), [20, 0, 20]);
}

#[test]
fn no_memory_at_all_is_no_quota() {
    let mut s = system(0, &[(20, 0), (20, 0)]);
    assert_eq!(s.fit_quotas(), Some(0));
    assert_eq!(limits(&s), [0, 0]);
}
