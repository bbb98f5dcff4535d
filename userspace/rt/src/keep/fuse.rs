//! Ends a life before any chosen store to kept memory, or port access of a model that calls [`tick`]. On the host alone.

use alloc::boxed::Box;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

std::thread_local!(static LEFT: Cell<Option<u64>> = const { Cell::new(None) });

/// What a blown fuse panics with.
#[derive(Debug)]
pub struct Blown;

/// The life ends before its step number `steps`; `None`: it does not.
pub fn set(steps: Option<u64>) {
    LEFT.set(steps);
}

/// One step.
pub fn tick() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            resume_unwind(Box::new(Blown));
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// Runs `life` until its end or until the fuse blows; says whether it came to its end.
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
