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
    /// The steps of the first life, once it has ended.
    first: Cell<Option<u64>>,
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

    /// Notes that a life has ended, after so many steps.
    pub(super) fn ended(&self, steps: u64) {
        if self.0.first.get().is_none() {
            self.0.first.set(Some(steps));
        }
    }

    /// Counts a death.
    pub(super) fn happened(&self) {
        self.0.happened.set(self.0.happened.get() + 1);
    }
}

/// Runs `trial` with deaths before these steps, and returns them as they were at its end. If it
/// fails, prints the plan.
fn tried(steps: &[u64], trial: &mut impl FnMut(&Deaths)) -> Deaths {
    let deaths = Deaths::before(steps);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| trial(&deaths))) {
        std::eprintln!(
            "this was with {} deaths of the driver, planned before the steps {steps:?} of its lives",
            deaths.count()
        );
        resume_unwind(payload);
    }
    deaths
}

/// Runs a trial without a death, then with a death before each step of the driver in turn, until a
/// trial ends before that step. Each trial starts a [`Harness`](super::Harness) with the given
/// deaths, and makes its own assertions. Returns the number of steps, which is that of the trials
/// with a death.
///
/// # Panics
/// If a trial does, after printing which step it was.
pub fn every_death(trial: impl FnMut(&Deaths)) -> u64 {
    every_nth_death(1, trial).deaths
}

/// What [`every_nth_death`] has tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The number of trials in which the driver died: those before the steps 0, `stride`,
    /// 2 * `stride` and so on.
    pub deaths: u64,
    /// The number of steps of the driver's first life in the trial without a death: as many deaths
    /// as [`every_death`] would try.
    pub steps: u64,
}

/// Does what [`every_death`] does, but only before each `stride`th step, for drivers with thousands
/// of steps. With a stride above 1 it misses the steps between; a stride that is prime to the
/// number of steps of one request meets different steps of each.
///
/// # Panics
/// If a trial does, after printing which step it was.
pub fn every_nth_death(stride: usize, mut trial: impl FnMut(&Deaths)) -> Tried {
    let steps = tried(&[], &mut trial).0.first.get().unwrap_or(0);
    let mut deaths = 0;
    for step in (0..).step_by(stride.max(1)) {
        if tried(&[step], &mut trial).count() == 0 {
            break;
        }
        deaths += 1;
    }
    Tried { deaths, steps }
}

/// Runs a trial with two deaths: before each `stride`th step of the first life, and before each of
/// the first `second` steps of the next. So the trial is run up to `second` times for each of those
/// steps; a stride of 13 and 60 second steps are usually quick enough.
///
/// # Panics
/// If a trial does, after printing which steps they were.
pub fn every_two_deaths(stride: usize, second: u64, mut trial: impl FnMut(&Deaths)) {
    for first in (0..).step_by(stride.max(1)) {
        for then in 0..second {
            match tried(&[first, then], &mut trial).count() {
                0 => return,
                // The second life reached the end of the trial before its death.
                1 => break,
                _ => {}
            }
        }
    }
}
