//! The functions of the kernel above that the entry stubs call. Whoever starts the machine gives
//! them, as a type, to [`super::idt::init`], [`super::entry::table`] and
//! [`super::entry::syscall_entry`]; so each stub is made for them, and calls them directly.

use super::fast::General;
use abi::Status;
use kernel_core::thread::TrapFrame;

/// The state of the kernel above, and the functions that the entry stubs call with it. Some of them
/// are [`General`]'s, and what is said there is true of all: they are called in ring 0, on the
/// core's own stack, with interrupts off, the flags DF and AC clear, and no lock held. Those of
/// which it is not true say so.
///
/// Handlers of system calls have one of two forms. Those with a `frame`, in which all registers of
/// the running thread are saved, return the frame to leave with, which may be another thread's. The
/// others have the arguments in the order of the registers `rdi rsi rdx r10 r8`, and return what
/// the running thread, which goes on at once, finds in `rax` and `rdx`.
///
/// # Safety
/// As of [`General`]: the core must be ready for the thread whose frame is returned, and the state
/// not locked. Where no frame is returned, the running thread must still be the one that runs.
pub unsafe trait Handlers: General {
    /// `call` or `reply_recv`. The assembly has refused it and changed nothing but the account; or
    /// there is none in this kernel.
    extern "C" fn on_message(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// `signal`, where there is no assembly for it.
    extern "C" fn on_signal(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// `yield`, where there is no assembly for it.
    extern "C" fn on_yield(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// `poll`. The assembly has refused it; or there is none in this kernel.
    extern "C" fn on_poll(handle: u64, mask: u64, rdx: u64, r10: u64, r8: u64, kernel: &mut Self) -> Returned;

    /// `lease_read`.
    extern "C" fn on_read(token: u64, number: u64, offset: u64, to: u64, len: u64, kernel: &mut Self) -> Returned;

    /// `lease_write`.
    extern "C" fn on_write(token: u64, number: u64, offset: u64, from: u64, len: u64, kernel: &mut Self) -> Returned;

    /// `task_fault`.
    extern "C" fn on_task_fault(system: u64, row: u64, to: u64, r10: u64, r8: u64, kernel: &mut Self) -> Returned;

    /// An exception of ring 3; or an interrupt that no assembly has answered, so that its line is
    /// neither masked nor ended. `frame` has all registers of the running thread, and the vector.
    /// Returns the frame to leave with.
    extern "C" fn from_user(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// An exception or an interrupt of ring 0, on the stack that was in use, where `frame` is. An
    /// interrupt comes in the idle loop or between two steps of a system call, where the state is
    /// not locked; an exception comes anywhere, whatever is locked there, and is a bug unless it is
    /// a breakpoint. When this returns, the interrupted code goes on.
    extern "C" fn from_kernel(frame: &TrapFrame);

    /// A double fault, an NMI or a machine check, of either ring, on a stack of its own. Nothing is
    /// known of locks, of the state, and of gs.
    extern "C" fn fatal(frame: &TrapFrame) -> !;
}

/// What a system call brings back in `rax` and `rdx`, where the stub leaves all other registers as
/// they are.
#[repr(C)]
pub struct Returned {
    status: u64,
    value: u64,
}

impl Returned {
    /// A status and a value.
    #[inline(always)]
    pub fn new(status: Status, value: u64) -> Self {
        Returned { status: status as u64, value }
    }
}
