//! The runtime that every task of Enigma links: entry point, system calls, messages, heap, panic,
//! `print!`.
//!
//! A task is a binary with [`entry!`] or, for a driver, [`driver!`]:
//!
//! ```ignore
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! rt::entry!(run);
//! fn run() {
//!     rt::println!("hello from {}", rt::name());
//! }
//! ```
//!
//! A task finds its authority by name in its information page:
//! [`Endpoint::peer`](ipc::Endpoint::peer), [`Irq::named`](irq::Irq::named),
//! [`IoPorts::named`](port::IoPorts::named), [`Memory::range`](memory::Memory::range). It can name
//! nothing else.
//!
//! | a driver begins with | for |
//! |---|---|
//! | [`Driver`], [`driver!`] | the task: callbacks, and the loop that calls them |
//! | [`protocol!`], [`words!`], [`proto`] | the requests that clients can make |
//! | [`keep`], [`kept!`] | the state that outlives it |
//! | [`port`], [`memory`], [`irq`] | access to its device |
//! | [`time`], [`notify`] | timers, and notification bits |
//! | [`callers`], [`proto::Queue`] | deferred replies |
//! | [`ipc`], [`exec`] | calling other tasks, and waiting for several things at once |
//! | [`testing`], [`fake`] | its tests on the host |
//!
//! The crate also compiles on the host, so that protocols and device logic can be tested there:
//! system calls return [`Status::BadSyscall`], time stands still unless [`time::set_host_clock`]
//! changes it, and [`fake::FakePorts`] replaces hardware. [`testing`] simulates the kernel for a
//! whole driver.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

pub use abi;
pub use abi::Status;
use abi::TaskId;
use abi::info::{Entry, TaskInfo};
use abi::manifest::GrantKind;

pub mod archive;
pub mod callers;
pub mod driver;
pub mod entry;
pub mod exec;
#[cfg(not(target_os = "none"))]
pub mod fake;
pub mod heap;
pub mod ipc;
pub mod irq;
pub mod keep;
pub mod memory;
pub mod notify;
pub mod port;
pub mod print;
pub mod proto;
pub mod sync;
pub mod syscall;
pub mod task;
#[cfg(not(target_os = "none"))]
pub mod testing;
pub mod thread;
pub mod time;
#[cfg(feature = "uart")]
pub mod uart;

mod lock;
mod panic;
mod parker;
#[cfg(feature = "trace")]
mod trace;

/// Used by the expansion of [`protocol!`].
#[doc(hidden)]
pub mod __alloc {
    pub use alloc::vec;
}

pub use driver::{Answer, Driver, OUTCOME_BAD_REQUEST, serve};
pub use notify::Bit;

/// The information page, which tells the task who it is.
#[inline(always)]
pub fn info() -> &'static TaskInfo {
    #[cfg(target_os = "none")]
    {
        // SAFETY: the kernel maps this page, filled in and read-only, for the whole life of the
        // task; every bit pattern is a valid `TaskInfo`, and the address is page-aligned.
        unsafe { &*(abi::task::INFO_ADDR as *const TaskInfo) }
    }
    #[cfg(not(target_os = "none"))]
    {
        testing::kernel::info().unwrap_or(&HOST_INFO)
    }
}

/// The information page on the host where no [`testing::Harness`] runs: that of a task without any
/// authority.
#[cfg(not(target_os = "none"))]
pub(crate) fn host_info() -> &'static TaskInfo {
    &HOST_INFO
}

/// The value that [`host_info`] returns.
#[cfg(not(target_os = "none"))]
static HOST_INFO: TaskInfo = TaskInfo {
    magic: abi::info::INFO_MAGIC,
    abi_hash: abi::ABI_HASH,
    task: TaskId { index: 0, generation: 1 }.to_u32(),
    priority: 0,
    name: *b"host\0\0\0\0\0\0\0\0\0\0\0\0",
    tsc_base: 0,
    tsc_mult: 0,
    arg_len: 0,
    entry_count: 0,
    arg: [0; abi::info::ARG_LEN],
    entries: [Entry { name: [0; abi::NAME_LEN], kind: 0, handle: 0, base: 0, len: 0 }; abi::info::MAX_ENTRIES],
};

/// The argument that `task_spawn` passed, up to the first byte that is not UTF-8.
pub fn arg() -> &'static str {
    let info = info();
    let bytes = info.arg.get(..info.arg_len as usize).unwrap_or(&info.arg);
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes.get(..error.valid_up_to()).and_then(|good| core::str::from_utf8(good).ok()).unwrap_or(""),
    }
}

/// The task's name in the task table.
pub fn name() -> &'static str {
    abi::name_str(&info().name)
}

/// The identifier of the task in this life.
pub fn me() -> TaskId {
    TaskId::from_u32(info().task)
}

/// Ends the task with all its threads. No destructor runs.
pub fn exit(code: i32) -> ! {
    syscall::exit(code)
}

/// The task's authority, by name.
pub fn entries() -> &'static [Entry] {
    let info = info();
    info.entries.get(..info.entry_count as usize).unwrap_or(&info.entries)
}

/// The first entry of this kind with this name.
pub(crate) fn entry_named(kind: GrantKind, name: &str) -> Option<&'static Entry> {
    // A comparison byte by byte: `==` would link `memcmp`, for names of a few letters.
    let is = |entry: &&Entry| abi::name_str(&entry.name).bytes().eq(name.bytes());
    entries().iter().filter(|entry| entry.kind == kind as u32).find(is)
}

/// The first entry of this kind.
pub(crate) fn entry_of(kind: GrantKind) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.kind == kind as u32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_is_a_task_without_authority() {
        assert_eq!(crate::name(), "host");
        assert_eq!(crate::arg(), "");
        assert_eq!(crate::me().generation, 1);
        assert!(crate::entries().is_empty());
        assert!(crate::ipc::Endpoint::peer("console").is_none());
        assert!(crate::irq::Irq::named("rx").is_none());
        assert!(crate::port::IoPorts::granted(0x3f8, 8).is_none());
        assert!(crate::archive::Archive::map().is_none());
        assert_eq!(crate::task::status(0).err(), Some(crate::Status::NoRights));
    }
}
