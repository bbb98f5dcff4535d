//! The ring-0 kernel. `main.rs` is the real kernel; every file in `tests/` is a test kernel of its
//! own.
#![no_std]
// Only the modules below with an `expect(unsafe_code)` have unsafe code. kernel-core's root
// explains the other lints, and clippy.toml says what else needs a reason.
#![deny(unsafe_code)]
#![deny(
    clippy::allow_attributes_without_reason,
    clippy::disallowed_methods,
    clippy::disallowed_types,
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
)]
#![warn(missing_docs)]

extern crate alloc;

#[expect(unsafe_code, reason = "instructions, ports and page tables of the machine")]
pub mod arch;
#[expect(unsafe_code, reason = "hands out frames before the first task runs")]
pub mod boot;
#[expect(unsafe_code, reason = "a port of the task that is debugged, which was checked to be its own")]
pub mod debug;
#[expect(unsafe_code, reason = "says what the entry stubs rely on")]
pub mod entries;
#[expect(unsafe_code, reason = "memory for the allocator, before the first task runs")]
#[expect(
    clippy::disallowed_types,
    reason = "its lock is let go of before each allocation returns, and no other is taken under it"
)]
pub mod heap;
#[expect(
    clippy::disallowed_types,
    reason = "the lock of the state: its guard goes by value to `next`, which lets go of it before it leaves"
)]
pub mod kernel;
pub mod latency;
pub mod lease;
#[expect(unsafe_code, reason = "fills fresh frames, by their physical addresses, before their task runs")]
pub mod loader;
#[expect(
    clippy::disallowed_types,
    reason = "its lock is let go of before each line is written, and no other is taken under it"
)]
pub mod log;
pub mod memory;
#[expect(unsafe_code, reason = "after the last task has run: reads the stack, and stops the machine")]
pub mod panic;
#[expect(unsafe_code, reason = "before the first task runs")]
pub mod start;
pub mod step;
pub mod syscall;
#[allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::mem_forget,
    clippy::panic,
    reason = "only test kernels link it"
)]
pub mod testing;
pub mod trap;
#[expect(unsafe_code, reason = "the one door to user memory")]
pub mod usermem;
#[cfg(feature = "verify")]
#[expect(
    clippy::disallowed_types,
    clippy::panic,
    reason = "only a kernel that checks itself and stops where something is wrong has it"
)]
pub mod verify;

pub use start::{BOOT_CONFIG, boot_stack_holds};
