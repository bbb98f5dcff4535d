//! The kernel's logic without hardware: what each operation does to tasks, threads and kernel
//! objects.
//!
//! Everything here is a function of [`System`], so it is tested on the host. There is no port
//! access, no page table and no `unsafe`: the kernel around this crate saves registers into
//! [`thread::TrapFrame`], accesses user memory and switches address spaces.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]
#![cfg_attr(test, deny(unsafe_code))]
// No input of a task may lead to a panic. Where a panic is unavoidable in the source, an `allow`
// with a reason stands beside it. A test (xtask, `system::d20_..`) searches the finished kernel for
// the texts of panics that the compiler inserts.
#![cfg_attr(
    not(test),
    deny(
        clippy::allow_attributes_without_reason,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::mem_forget,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![warn(missing_docs)]

extern crate alloc;

/// Returns from the function with an error whose text is formatted from the arguments, unless the
/// condition holds.
#[cfg(any(test, feature = "verify"))]
macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($what)*));
        }
    };
}

/// Appends a value to a list if its capacity allows, as nothing is allocated after boot. Returns
/// false, and drops the value, if the list is full.
#[inline(always)]
fn push<T>(list: &mut alloc::vec::Vec<T>, value: T) -> bool {
    let room = list.len() < list.capacity();
    if room {
        list.push(value);
    }
    room
}

mod account;
pub mod acpi;
pub mod addr;
pub mod archive;
pub mod arena;
pub mod clock;
pub mod deadline;
pub mod endpoint;
pub mod frames;
pub mod handles;
pub mod image;
pub mod layout;
pub mod lines;
pub mod log;
pub mod mappings;
pub mod memory;
pub mod notify;
pub mod number;
pub mod period;
pub mod queue;
pub mod ram;
pub mod row;
pub mod sched;
pub mod step;
pub mod system;
pub mod task;
pub mod thread;
pub mod timer;

pub use row::{Row, RowSet};
pub use system::System;

#[cfg(test)]
extern crate self as kernel_core;
#[cfg(test)]
mod tests;
