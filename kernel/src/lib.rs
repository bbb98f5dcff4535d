//! The ring-0 kernel. `main.rs` is the kernel itself; every file in `tests/` is a kernel of its own that shows one property.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod arch;
pub mod boot;
pub mod debug;
pub mod heap;
pub mod kernel;
pub mod latency;
pub mod lease;
pub mod loader;
pub mod log;
pub mod panic;
pub mod start;
pub mod step;
pub mod syscall;
pub mod testing;
pub mod trap;
pub mod usermem;
#[cfg(feature = "verify")]
pub mod verify;

pub use start::{BOOT_CONFIG, boot_stack_holds};
