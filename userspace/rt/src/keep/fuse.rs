//! Simulates a death before any chosen store to kept memory, or before a port access of a model
//! that calls [`tick`]. Only on the host.

use alloc::boxed::Box;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

std::thread_local! {
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static PASSED: Cell<u64> = const { Cell::new(0) };
}

/// The payload of the panic that simulates a death.
#[derive(Debug)]
pub struct Blown;

/// Makes the life end before its step number `steps`; never if `None`.
pub fn set(steps: Option<u64>) {
    LEFT.set(steps);
    PASSED.set(0);
}

/// The number of steps since the last [`set`].
pub fn passed() -> u64 {
    PASSED.get()
}

/// Counts one step, and ends the life if it is the chosen one.
pub fn tick() {
    PASSED.set(PASSED.get() + 1);
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            resume_unwind(Box::new(Blown));
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// Runs `work` as two steps, one before it and one after it, however many stores it makes. For
/// stores of which a next life finds the same state whichever of them was the last, as before a
/// stamp is set.
pub fn whole<T>(work: impl FnOnce() -> T) -> T {
    tick();
    let (left, passed) = (LEFT.take(), PASSED.get());
    let result = work();
    LEFT.set(left);
    PASSED.set(passed);
    tick();
    result
}

/// Counts a step at the store number `index` of `count` to memory that is not valid yet: at the
/// first, the middle and the last one, so that a large value has as many steps as a small one.
pub fn tick_at(index: usize, count: usize) {
    if index == 0 || index == count / 2 || index + 1 == count {
        tick();
    }
}

/// Runs `life` until its end, or until it dies before step number `steps`. Returns whether it
/// reached its end.
pub fn live(steps: Option<u64>, life: impl FnOnce()) -> bool {
    set(steps);
    let outcome = catch_unwind(AssertUnwindSafe(life));
    set(None);
    match outcome {
        Ok(()) => true,
        Err(payload) if payload.is::<Blown>() => false,
        Err(payload) => resume_unwind(payload),
    }
}
