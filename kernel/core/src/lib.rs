//! The kernel's logic without hardware: what each operation does to tasks, threads and the objects between them.
//!
//! Everything here is a function of [`System`], so it is tested on the host. There is no port, no page table, and no `unsafe`: the kernel around it saves registers into [`thread::TrapFrame`], reaches user memory, and switches address spaces.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]
#![cfg_attr(test, deny(unsafe_code))]
#![warn(missing_docs)]

extern crate alloc;

/// Leaves the function with an error that says what is wrong.
#[cfg(any(test, feature = "verify"))]
macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($what)*));
        }
    };
}

/// Puts a value at the end of a list where it has room: nothing here takes memory after the boot. False where it has none.
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
#[cfg(any(test, feature = "verify"))]
pub mod check;
pub mod clock;
pub mod debug;
pub mod direct;
pub mod frames;
pub mod grants;
pub mod handles;
pub mod image;
pub mod ipc;
pub mod layout;
pub mod lifecycle;
pub mod log;
pub mod mappings;
pub mod memory;
pub mod notify;
pub mod queue;
pub mod ram;
pub mod release;
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
