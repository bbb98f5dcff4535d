//! Plans of when a driver under test dies.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The steps before which a driver's lives end, one of each life.
///
/// A step is a store to kept memory, an access to a device, a system call, or an answer.
#[derive(Clone, Debug)]
pub struct Deaths(Rc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<u64>,
    begun: Cell<usize>,
    happened: Cell<usize>,
}

impl Deaths {
    /// No death.
    pub fn none() -> Deaths {
        Deaths::before(&[])
    }

    /// The first life ends before its step number `steps[0]`, counted from 0, the second before its
    /// step number `steps[1]`, and so on; the life after the last one does not end.
    pub fn before(steps: &[u64]) -> Deaths {
        Deaths(Rc::new(Plan { steps: steps.to_vec(), ..Plan::default() }))
    }

    /// The number of deaths that have happened.
    pub fn count(&self) -> usize {
        self.0.happened.get()
    }

    /// The step before which the life that now begins ends, if any.
    pub(super) fn next(&self) -> Option<u64> {
        let number = self.0.begun.replace(self.0.begun.get() + 1);
        self.0.steps.get(number).copied()
    }

    /// Counts a death.
    pub(super) fn happened(&self) {
        self.0.happened.set(self.0.happened.get() + 1);
    }
}

/// Runs `trial` with deaths before these steps, and returns the number of deaths that happened. If
/// it fails, prints the plan.
fn tried(steps: &[u64], trial: &mut impl FnMut(&Deaths)) -> usize {
    let deaths = Deaths::before(steps);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| trial(&deaths))) {
        std::eprintln!(
            "this was with {} deaths of the driver, planned before the steps {steps:?} of its lives",
            deaths.count()
        );
        resume_unwind(payload);
    }
    deaths.count()
}

/// Runs a trial without a death, then with a death before each step of the driver in turn, until a
/// trial ends before that step. Each trial starts a [`Harness`](super::Harness) with the given
/// deaths, and makes its own assertions. Returns the number of steps.
///
/// # Panics
/// If a trial does, after printing which step it was.
pub fn every_death(trial: impl FnMut(&Deaths)) -> u64 {
    every_nth_death(1, trial)
}

/// Does what [`every_death`] does, but only before each `stride`th step, for drivers with thousands
/// of steps.
///
/// # Panics
/// If a trial does, after printing which step it was.
pub fn every_nth_death(stride: usize, mut trial: impl FnMut(&Deaths)) -> u64 {
    tried(&[], &mut trial);
    (0..).step_by(stride.max(1)).find(|&step| tried(&[step], &mut trial) == 0).unwrap_or(u64::MAX)
}

/// Runs a trial with two deaths: before each `stride`th step of the first life, and before each of
/// the first `second` steps of the next.
///
/// # Panics
/// If a trial does, after printing which steps they were.
pub fn every_two_deaths(stride: usize, second: u64, mut trial: impl FnMut(&Deaths)) {
    for first in (0..).step_by(stride.max(1)) {
        for then in 0..second {
            match tried(&[first, then], &mut trial) {
                0 => return,
                // The second life reached the end of the trial before its death.
                1 => break,
                _ => {}
            }
        }
    }
}
