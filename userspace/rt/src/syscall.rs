//! A thin wrapper for each [`abi::Syscall`]. Only here does a task contain the `syscall`
//! instruction.
//!
//! [`abi::syscall`] says which register holds what. The instruction itself overwrites `rcx` and
//! `r11` (Intel SDM vol. 2B, SYSCALL); the kernel preserves every other register that is not a
//! named result. On the host nothing is executed: every call returns [`Status::BadSyscall`], unless
//! a [`Harness`](crate::testing::Harness) simulates the kernel.
//!
//! Wrappers that pass addresses to the kernel take slices and references, so they are safe; the few
//! that take a bare address or change the task's own address space are `unsafe`.

use abi::message::{Kinds, ReplyToken, Rights};
use abi::{Status, Syscall};
#[cfg(target_os = "none")]
use core::arch::asm;

mod debug;
mod message;
mod system;
pub use debug::{debug_interrupt, debug_port, debug_read, debug_registers, debug_set_registers, debug_write};
pub use message::{CallFailure, Message, Received, call, call_leased, recv, reply, reply_recv, send};
pub use system::{
    log_read, system_info, task_fault, task_kill, task_reap, task_set_restart, task_signal, task_spawn, task_status,
};

/// The result registers of a plain system call: the status, and two values.
#[derive(Clone, Copy)]
struct Raw {
    status: u64,
    rdx: u64,
    rsi: u64,
}

impl Raw {
    /// Both values, or the error.
    #[inline(always)]
    fn values(self) -> Result<(u64, u64), Status> {
        check(self.status).map(|()| (self.rdx, self.rsi))
    }

    /// The value in `rdx`, or the error.
    #[inline(always)]
    fn value(self) -> Result<u64, Status> {
        check(self.status).map(|()| self.rdx)
    }

    /// The handle in `rdx`, or the error.
    #[inline(always)]
    fn handle(self) -> Result<u32, Status> {
        check(self.status).map(|()| self.rdx as u32)
    }

    /// Success without a value, or the error.
    #[inline(always)]
    fn done(self) -> Result<(), Status> {
        check(self.status)
    }
}

/// The status register as a result.
#[inline(always)]
fn check(status: u64) -> Result<(), Status> {
    if status == Status::Ok as u64 { Ok(()) } else { Err(error_of(status)) }
}

#[cold]
fn error_of(status: u64) -> Status {
    // A kernel with the same ABI hash returns no unknown code.
    u32::try_from(status).ok().and_then(Status::from_u32).unwrap_or(Status::BadSyscall)
}

/// Defines a plain system call with some number of arguments: `rsi` and `rdx` are results whether
/// or not they are arguments.
macro_rules! plain {
    ($name:ident($($arg:ident),*), rsi = $rsi:expr, rdx = $rdx:expr, { $($reg:tt = $value:ident),* }) => {
        /// # Safety
        /// The effect of the call on the task's memory must be sound: see [`abi::syscall`].
        #[inline(always)]
        unsafe fn $name(call: Syscall, $($arg: u64),*) -> Raw {
            #[cfg(target_os = "none")]
            {
                let (status, rsi, rdx);
                // SAFETY: the registers are those of `abi::syscall`; the kernel preserves all
                // others. Memory is assumed to change (no `nomem`), and the caller ensures the
                // rest.
                unsafe {
                    asm!(
                        "syscall",
                        inlateout("rax") call as u64 => status,
                        inlateout("rsi") $rsi => rsi,
                        inlateout("rdx") $rdx => rdx,
                        $(in($reg) $value,)*
                        lateout("rcx") _,
                        lateout("r11") _,
                        options(nostack),
                    );
                }
                Raw { status, rdx, rsi }
            }
            #[cfg(not(target_os = "none"))]
            {
                let (status, rdx, rsi) = crate::testing::kernel::plain(call, &[$($arg),*]);
                Raw { status, rdx, rsi }
            }
        }
    };
}

plain!(plain1(a), rsi = 0_u64, rdx = 0_u64, { "rdi" = a });
plain!(plain2(a, b), rsi = b, rdx = 0_u64, { "rdi" = a });
plain!(plain3(a, b, c), rsi = b, rdx = c, { "rdi" = a });
plain!(plain4(a, b, c, d), rsi = b, rdx = c, { "rdi" = a, "r10" = d });
plain!(plain5(a, b, c, d, e), rsi = b, rdx = c, { "rdi" = a, "r10" = d, "r8" = e });

/// Lets the next thread of the same priority run.
#[inline]
pub fn yield_now() {
    // SAFETY: the call does not access the task's memory.
    let _ = unsafe { plain1(Syscall::Yield, 0) };
    #[cfg(not(target_os = "none"))]
    std::thread::yield_now();
}

/// Ends the task. On the host it panics instead.
pub fn exit(code: i32) -> ! {
    // SAFETY: the call does not access the task's memory.
    let _ = unsafe { plain1(Syscall::Exit, code as u64) };
    never("exit")
}

/// Ends the task as panicked. On the host it panics instead.
pub fn panic(message: &str) -> ! {
    // SAFETY: the kernel only reads the message.
    let _ = unsafe { plain2(Syscall::Panic, message.as_ptr() as u64, message.len() as u64) };
    never(message)
}

/// Ends the calling thread. On the host it panics instead.
///
/// # Safety
/// Nothing that lives on the thread's stack may be in use elsewhere: its destructors do not run.
pub unsafe fn thread_exit() -> ! {
    // SAFETY: the call does not access the task's memory; the caller ensures that the stack is
    // unused.
    let _ = unsafe { plain1(Syscall::ThreadExit, 0) };
    never("thread_exit")
}

/// Ends the task after a system call that does not return has returned.
fn never(what: &str) -> ! {
    #[cfg(target_os = "none")]
    {
        let _ = what;
        // SAFETY: `ud2` raises #UD (Intel SDM vol. 2B, UD), which ends the task; execution does not
        // go past it.
        unsafe { asm!("ud2", options(noreturn, nostack)) }
    }
    #[cfg(not(target_os = "none"))]
    panic!("{what}: there is no kernel on the host");
}

/// Starts a thread; returns its handle.
///
/// # Errors
/// The errors of [`Syscall::ThreadCreate`].
///
/// # Safety
/// `entry` must be the address of code that can start with only `argument` in `rdi` and a stack
/// that ends at `stack`. The stack must be mapped, unused, and outlive the thread.
pub unsafe fn thread_create(entry: u64, stack: u64, argument: u64, priority: u8) -> Result<u32, Status> {
    // SAFETY: the caller ensures that entry and stack are valid.
    unsafe { plain4(Syscall::ThreadCreate, entry, stack, argument, priority as u64) }.handle()
}

/// Sets a thread's priority; [`abi::syscall::THIS_THREAD`] stands for the calling thread.
///
/// # Errors
/// The errors of [`Syscall::ThreadPriority`].
pub fn thread_priority(thread: u64, priority: u8) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::ThreadPriority, thread, priority as u64) }.done()
}

/// Copies from a caller's lease to `buf`; returns the number of bytes, at most
/// [`abi::message::MAX_COPY`].
///
/// # Errors
/// The errors of [`Syscall::LeaseRead`].
pub fn lease_read(token: ReplyToken, lease: usize, offset: usize, buf: &mut [u8]) -> Result<usize, Status> {
    // SAFETY: the kernel writes only to `buf`, which is borrowed for writing.
    unsafe {
        plain5(Syscall::LeaseRead, token.0, lease as u64, offset as u64, buf.as_mut_ptr() as u64, buf.len() as u64)
    }
    .value()
    .map(|count| count as usize)
}

/// Copies from `buf` to a caller's lease; returns the number of bytes, at most
/// [`abi::message::MAX_COPY`].
///
/// # Errors
/// The errors of [`Syscall::LeaseWrite`].
pub fn lease_write(token: ReplyToken, lease: usize, offset: usize, buf: &[u8]) -> Result<usize, Status> {
    // SAFETY: the kernel only reads `buf`.
    unsafe { plain5(Syscall::LeaseWrite, token.0, lease as u64, offset as u64, buf.as_ptr() as u64, buf.len() as u64) }
        .value()
        .map(|count| count as usize)
}

/// The length in bytes and the access of a caller's lease.
///
/// # Errors
/// The errors of [`Syscall::LeaseInfo`].
pub fn lease_info(token: ReplyToken, lease: usize) -> Result<(usize, u32), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::LeaseInfo, token.0, lease as u64) }
        .values()
        .map(|(len, access)| (len as usize, access as u32))
}

/// Makes an endpoint; returns its handle.
///
/// # Errors
/// The errors of [`Syscall::EndpointCreate`].
pub fn endpoint_create() -> Result<u32, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain1(Syscall::EndpointCreate, 0) }.handle()
}

/// Binds a notification to an endpoint.
///
/// # Errors
/// The errors of [`Syscall::EndpointBind`].
pub fn endpoint_bind(endpoint: u32, notification: u32) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::EndpointBind, endpoint as u64, notification as u64) }.done()
}

/// Sets which kinds of handles requests may bring to an endpoint.
///
/// # Errors
/// The errors of [`Syscall::EndpointTakes`].
pub fn endpoint_takes(endpoint: u32, kinds: Kinds) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::EndpointTakes, endpoint as u64, kinds.bits() as u64) }.done()
}

/// Makes a notification; returns its handle.
///
/// # Errors
/// The errors of [`Syscall::NotificationCreate`].
pub fn notification_create() -> Result<u32, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain1(Syscall::NotificationCreate, 0) }.handle()
}

/// Sets bits of a notification.
///
/// # Errors
/// The errors of [`Syscall::Signal`].
#[inline]
pub fn signal(notification: u32, bits: u64) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::Signal, notification as u64, bits) }.done()
}

/// Waits for bits of a notification, takes them, and returns them.
///
/// # Errors
/// The errors of [`Syscall::Wait`].
#[inline]
pub fn wait(notification: u32, mask: u64) -> Result<u64, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::Wait, notification as u64, mask) }.value()
}

/// Takes the bits of a notification that are set, and returns them, without waiting.
///
/// # Errors
/// The errors of [`Syscall::Poll`].
#[inline]
pub fn poll(notification: u32, mask: u64) -> Result<u64, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::Poll, notification as u64, mask) }.value()
}

/// Makes a memory object of `pages` zeroed frames; returns its handle.
///
/// # Errors
/// The errors of [`Syscall::MemoryCreate`].
pub fn memory_create(pages: usize, contiguous: bool) -> Result<u32, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::MemoryCreate, pages as u64, contiguous as u64) }.handle()
}

/// Maps a memory object at `addr`, or at an address that the kernel chooses (0); returns the
/// address.
///
/// # Errors
/// The errors of [`Syscall::MemoryMap`].
///
/// # Safety
/// If the object is mapped more than once, no Rust reference may claim exclusive access to it.
pub unsafe fn memory_map(memory: u32, addr: u64, writable: bool) -> Result<u64, Status> {
    // SAFETY: the kernel maps only addresses that are not mapped yet; the caller ensures correct
    // aliasing.
    unsafe { plain3(Syscall::MemoryMap, memory as u64, addr, writable as u64) }.value()
}

/// Removes a mapping.
///
/// # Errors
/// The errors of [`Syscall::MemoryUnmap`].
///
/// # Safety
/// Nothing may refer to the mapping any more.
pub unsafe fn memory_unmap(addr: u64) -> Result<(), Status> {
    // SAFETY: the caller ensures that nothing refers to the mapping.
    unsafe { plain1(Syscall::MemoryUnmap, addr) }.done()
}

/// The number of pages of a memory object, and its physical address (`u64::MAX` if it is not
/// contiguous).
///
/// # Errors
/// The errors of [`Syscall::MemoryInfo`].
pub fn memory_info(memory: u32) -> Result<(usize, u64), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain1(Syscall::MemoryInfo, memory as u64) }.values().map(|(pages, physical)| (pages as usize, physical))
}

/// Acknowledges an interrupt: unmasks its line.
///
/// # Errors
/// The errors of [`Syscall::IrqAck`].
#[inline]
pub fn irq_ack(irq: u32) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain1(Syscall::IrqAck, irq as u64) }.done()
}

/// Makes a timer that sets a bit of a notification; returns its handle.
///
/// # Errors
/// The errors of [`Syscall::TimerCreate`].
pub fn timer_create(notification: u32, bit: u32) -> Result<u32, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::TimerCreate, notification as u64, bit as u64) }.handle()
}

/// Arms a timer for a deadline in nanoseconds since boot.
///
/// # Errors
/// The errors of [`Syscall::TimerArm`].
pub fn timer_arm(timer: u32, deadline_ns: u64) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::TimerArm, timer as u64, deadline_ns) }.done()
}

/// Disarms a timer.
///
/// # Errors
/// The errors of [`Syscall::TimerDisarm`].
pub fn timer_disarm(timer: u32) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain1(Syscall::TimerDisarm, timer as u64) }.done()
}

/// Closes a handle.
///
/// # Errors
/// The errors of [`Syscall::HandleClose`].
pub fn handle_close(handle: u32) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory, as a mapped memory object is refused.
    unsafe { plain1(Syscall::HandleClose, handle as u64) }.done()
}

/// Duplicates a handle with the same or fewer rights. `limit` is the badge of the copy, or the bits
/// that can be set through it; 0 leaves them unchanged.
///
/// # Errors
/// The errors of [`Syscall::HandleDup`].
pub fn handle_dup(handle: u32, rights: Rights, limit: u64) -> Result<u32, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain3(Syscall::HandleDup, handle as u64, rights.bits() as u64, limit) }.handle()
}

/// Appends text to the task's log ring; returns the number of bytes taken, at most 1024.
///
/// # Errors
/// The errors of [`Syscall::LogWrite`].
pub fn log_write(text: &[u8]) -> Result<usize, Status> {
    // SAFETY: the kernel only reads `text`.
    unsafe { plain2(Syscall::LogWrite, text.as_ptr() as u64, text.len() as u64) }.value().map(|count| count as usize)
}
