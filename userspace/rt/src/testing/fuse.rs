//! Ends a driver's life before any chosen step of it.

use alloc::boxed::Box;
use core::cell::Cell;
use std::panic::resume_unwind;

std::thread_local!(static LEFT: Cell<Option<u64>> = const { Cell::new(None) });

/// What a life that ends here panics with.
#[derive(Debug)]
pub struct Blown;

/// The life ends before its step of this number, counted from 0; `None`: it does not.
pub fn set(steps: Option<u64>) {
    LEFT.set(steps);
}

/// One step: a store to kept memory, an access to a device, or a system call.
///
/// # Panics
/// With [`Blown`], where the life ends here.
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
