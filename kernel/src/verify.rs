//! Additions of a kernel built with the feature `verify`: it checks its own state on request, and
//! keeps a checksum of all system calls. `userspace/lab/syscall-fuzz` runs on it.

use crate::arch::paging;
use crate::kernel::Kernel;
use abi::syscall::{VERIFY_CHECK, VERIFY_TALLY};
use abi::task::TaskState;
use abi::{PAGE_SIZE, Status};
use alloc::format;
use alloc::string::String;
use kernel_core::Row;
use kernel_core::addr::PhysAddr;
use kernel_core::frames::Frame;
use kernel_core::memory::Backing;
use kernel_core::thread::ThreadIndex;
use spin::Mutex;

/// The number of system calls so far, and a checksum of their results.
static TALLY: Mutex<(u64, u64)> = Mutex::new((0, 0xcbf2_9ce4_8422_2325));

/// A system call beyond the table, which only the controller may make. Returns rdx and rsi. Errors:
/// BadSyscall.
///
/// # Panics
/// If the state is inconsistent, which ends the machine with a report.
pub fn call(kernel: &Kernel, row: Row, number: u64) -> Result<(u64, u64), Status> {
    if kernel.sys.controller() != Some(row) {
        return Err(Status::BadSyscall);
    }
    match number {
        VERIFY_CHECK => match kernel_core::system::check::check(&kernel.sys).and_then(|()| spaces(kernel)) {
            Ok(()) => Ok((0, 0)),
            Err(what) => panic!("the kernel's state is broken: {what}"),
        },
        VERIFY_TALLY => Ok(*TALLY.lock()),
        _ => Err(Status::BadSyscall),
    }
}

/// Adds a system call of the general path to the checksum, unless the controller made it. Results
/// of fast paths are covered indirectly, by what their callers do next.
pub fn count(kernel: &Kernel, thread: ThreadIndex, number: u64) {
    if kernel.sys.row_of(thread).ok() == kernel.sys.controller() {
        return;
    }
    let mut tally = TALLY.lock();
    tally.0 += 1;
    let words = kernel.sys.thread(thread).map_or([0; 3], |t| [t.frame.rax, t.frame.rdx, t.frame.rsi]);
    for word in [u64::from(thread.number()), number].into_iter().chain(words) {
        let mixed = (tally.1 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        tally.1 = mixed ^ mixed >> 29;
    }
}

/// Checks that the page tables agree with the mappings, and that no page is both writable and
/// executable.
fn spaces(kernel: &Kernel) -> Result<(), String> {
    let sys = &kernel.sys;
    for (row, task) in sys.tasks().rows().zip(sys.tasks().iter()).filter(|(_, task)| task.state() == TaskState::Running)
    {
        let root = task.root().map_err(|_| format!("row {row} runs without an address space"))?;
        if let Some(addr) = paging::find_writable_executable(root) {
            return Err(format!("row {row}: {addr:#x} is both writable and executable"));
        }
        for mapping in task.mappings().filter(|mapping| !mapping.changing) {
            let memory = sys.memory(mapping.memory).map_err(|_| format!("row {row}: what is mapped is gone"))?;
            let (mut frames, base) = match &memory.backing {
                Backing::Frames(chain) => (Some(sys.frames_of(chain)), PhysAddr::default()),
                Backing::Physical { base, .. } => (None, *base),
            };
            for page in 0..u64::from(mapping.pages) {
                let offset = page * PAGE_SIZE as u64;
                let wanted = match &mut frames {
                    Some(frames) => frames.next().map(Frame::address),
                    None => Some(base.plus(offset)),
                };
                let at = mapping.addr.number() + offset;
                let found = paging::inspect(root, at).map(|(phys, ..)| phys);
                if found != wanted {
                    return Err(format!("row {row}: {at:#x} leads to {found:x?}, and is mapped to {wanted:x?}"));
                }
            }
        }
    }
    Ok(())
}
