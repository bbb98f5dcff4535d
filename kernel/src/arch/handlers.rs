//! The functions of the kernel above that the entry stubs call. At start they are given, as a type,
//! to [`super::idt::init`], [`super::entry::table`] and [`super::entry::syscall_entry`]; so the
//! stubs are compiled for them, and call them directly.

use super::fast::General;
use abi::Status;
use kernel_core::thread::TrapFrame;

/// The state of the kernel above, and the functions that the entry stubs call with it. Some of them
/// are those of [`General`]. As described there, they are called in ring 0, on the core's own
/// stack, with interrupts off, the flags DF and AC clear, and no lock held, unless a function says
/// otherwise.
///
/// The handlers of system calls have one of two forms. A handler with a `frame`, in which all
/// registers of the running thread are saved, returns the frame to leave with, which may be another
/// thread's. The others have the argument registers `rdi rsi rdx r10 r8` as parameters, in this
/// order, and return the values of `rax` and `rdx` for the running thread, which continues at once.
///
/// # Safety
/// The same as of [`General`]: the core must be prepared for the thread whose frame is returned,
/// and the state must be unlocked. If a function returns no frame, it must not change which thread
/// runs.
pub unsafe trait Handlers: General {
    /// Performs `call` or `reply_recv`. Where there is assembly for these, it has found that it
    /// cannot do this one, and has changed nothing but the account.
    extern "C" fn on_message(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// Performs `signal` in a kernel with the feature `plain`.
    extern "C" fn on_signal(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// Performs `yield` in a kernel with the feature `plain`.
    extern "C" fn on_yield(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// Performs `poll`. Where there is assembly for it, it has found that it cannot do this one.
    extern "C" fn on_poll(handle: u64, mask: u64, rdx: u64, r10: u64, r8: u64, kernel: &mut Self) -> Returned;

    /// Performs `lease_read`.
    extern "C" fn on_read(token: u64, number: u64, offset: u64, to: u64, len: u64, kernel: &mut Self) -> Returned;

    /// Performs `lease_write`.
    extern "C" fn on_write(token: u64, number: u64, offset: u64, from: u64, len: u64, kernel: &mut Self) -> Returned;

    /// Performs `task_fault`.
    extern "C" fn on_task_fault(system: u64, row: u64, to: u64, r10: u64, r8: u64, kernel: &mut Self) -> Returned;

    /// Handles an exception in ring 3, or an interrupt that no assembly has handled, so that its
    /// line is neither masked nor ended. `frame` has all registers of the running thread, and the
    /// vector. Returns the frame to leave with.
    extern "C" fn from_user(frame: &TrapFrame, kernel: &mut Self) -> *const TrapFrame;

    /// Handles an exception or an interrupt in ring 0, on the stack that was in use, where `frame`
    /// is. An interrupt occurs in the idle loop or between two steps of a system call, where the
    /// state is unlocked. An exception may occur anywhere, with any lock held, and is a defect
    /// unless it is a breakpoint. The interrupted code continues when this function returns.
    extern "C" fn from_kernel(frame: &TrapFrame);

    /// Reports a double fault, an NMI or a machine check in either ring, on a stack of its own, and
    /// stops the machine. Any lock may be held, the state may be inconsistent, and the value of gs
    /// is unknown.
    extern "C" fn fatal(frame: &TrapFrame) -> !;
}

/// The results of a system call, in `rax` and `rdx`, for entry stubs that return to the caller with
/// all other registers unchanged.
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
