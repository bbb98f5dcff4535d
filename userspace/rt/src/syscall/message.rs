//! The system calls that pass messages: call, send, recv, reply, reply_recv.

#[cfg(target_os = "none")]
use super::check;
use crate::ipc::Handle;
use abi::Status;
#[cfg(target_os = "none")]
use abi::Syscall;
use abi::message::{Header, Lease, ReplyToken, Sender};
#[cfg(target_os = "none")]
use core::arch::asm;

/// A message from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The header: label, number of leases, and the kind of the handle.
    pub header: Header,
    /// The data words.
    pub words: [u64; 4],
    /// The handle that the message brought, packed, if the header says that it did.
    pub handle: u64,
}

impl Message {
    /// The handle that the message brought.
    #[inline(always)]
    pub fn handle(&self) -> Option<Handle> {
        self.header.handle().map(|kind| Handle::unpack(kind, self.handle))
    }
}

/// The result of [`recv`] and [`reply_recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The sender, as the kernel guarantees.
    pub sender: Sender,
    /// The token for the reply; [`ReplyToken::NONE`] for a sent message or a notification.
    pub token: ReplyToken,
    /// The message, or the notification bits in its first word.
    pub message: Message,
}

/// The status of a failed call, and a value (the first word: for [`Status::PeerDied`] the
/// generation that died).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// The status.
    pub status: Status,
    /// The value that belongs to the status.
    pub value: u64,
}

/// Calls an endpoint without leases and without a handle. This is the fast path, of a dozen
/// instructions when inlined.
///
/// # Errors
/// The errors of [`abi::Syscall::Call`].
#[inline(always)]
pub fn call(endpoint: u32, header: Header, words: [u64; 4]) -> Result<Message, CallFailure> {
    let header = header.0 & 0xffff;
    #[cfg(target_os = "none")]
    {
        let (mut out, [mut w0, mut w1, mut w2, mut w3]) = (header, words);
        let (status, handle): (u64, u64);
        // SAFETY: registers as `abi::syscall` lists them for `call`. The header has neither leases
        // nor a handle, so `r8` is not read and `r10` is only an output. The kernel does not access
        // the task's memory, but other threads may.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") Syscall::Call as u64 => status,
                inlateout("rdi") endpoint as u64 => _,
                inlateout("rsi") out,
                inlateout("r12") w0,
                inlateout("r13") w1,
                inlateout("r14") w2,
                inlateout("r15") w3,
                lateout("r10") handle,
                lateout("rcx") _,
                lateout("r8") _,
                lateout("r9") _,
                lateout("rdx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        finish_call(status, out, [w0, w1, w2, w3], handle)
    }
    #[cfg(not(target_os = "none"))]
    {
        crate::testing::kernel::call(endpoint, Header(header), words, &[], 0)
    }
}

/// Calls an endpoint with leases and a handle. `transfer` is used only if the header says that the
/// message brings a handle.
///
/// # Errors
/// The errors of [`abi::Syscall::Call`].
///
/// # Safety
/// The caller must own the memory that the leases name, for their access, until the call returns.
#[inline]
pub unsafe fn call_leased(
    endpoint: u32,
    header: Header,
    words: [u64; 4],
    leases: &[Lease],
    transfer: u64,
) -> Result<Message, CallFailure> {
    let header = header.with_leases(leases.len());
    #[cfg(target_os = "none")]
    {
        let (mut out, [mut w0, mut w1, mut w2, mut w3], mut handle) = (header.0, words, transfer);
        let status: u64;
        // SAFETY: registers as `abi::syscall` lists them for `call`; `r8` is the address of as many
        // leases as the header says; the caller ensures that they are valid.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") Syscall::Call as u64 => status,
                inlateout("rdi") endpoint as u64 => _,
                inlateout("rsi") out,
                inlateout("r12") w0,
                inlateout("r13") w1,
                inlateout("r14") w2,
                inlateout("r15") w3,
                inlateout("r8") leases.as_ptr() => _,
                lateout("r9") _,
                inlateout("r10") handle,
                lateout("rcx") _,
                lateout("rdx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        finish_call(status, out, [w0, w1, w2, w3], handle)
    }
    #[cfg(not(target_os = "none"))]
    {
        crate::testing::kernel::call(endpoint, header, words, leases, transfer)
    }
}

#[cfg(target_os = "none")]
#[inline(always)]
fn finish_call(status: u64, header: u64, words: [u64; 4], handle: u64) -> Result<Message, CallFailure> {
    match check(status) {
        Ok(()) => Ok(Message { header: Header(header), words, handle }),
        Err(status) => Err(CallFailure { status, value: words[0] }),
    }
}

/// Sends a message without waiting. `transfer` is used only if the header says that the message
/// brings a handle.
///
/// # Errors
/// The errors of [`abi::Syscall::Send`].
#[inline]
pub fn send(endpoint: u32, header: Header, words: [u64; 4], transfer: u64) -> Result<(), Status> {
    one_way(abi::Syscall::Send, endpoint as u64, header, words, transfer)
}

/// Answers a caller. `transfer` is used only if the header says that the message brings a handle.
///
/// # Errors
/// The errors of [`abi::Syscall::Reply`].
#[inline]
pub fn reply(token: ReplyToken, header: Header, words: [u64; 4], transfer: u64) -> Result<(), Status> {
    one_way(abi::Syscall::Reply, token.0, header, words, transfer)
}

#[inline(always)]
fn one_way(call: abi::Syscall, to: u64, header: Header, words: [u64; 4], transfer: u64) -> Result<(), Status> {
    #[cfg(target_os = "none")]
    {
        let status: u64;
        // SAFETY: registers as `abi::syscall` lists them for `send` and `reply`, neither of which
        // returns a message.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") call as u64 => status,
                in("rdi") to,
                in("rsi") header.0,
                in("r12") words[0],
                in("r13") words[1],
                in("r14") words[2],
                in("r15") words[3],
                in("r10") transfer,
                lateout("rcx") _,
                lateout("rdx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        check(status)
    }
    #[cfg(not(target_os = "none"))]
    {
        if call == abi::Syscall::Reply {
            return crate::testing::kernel::reply(ReplyToken(to), header, words, transfer);
        }
        Err(Status::BadSyscall)
    }
}

/// Waits for a message, or for one of the bits in `mask` of the notification that is bound to the
/// endpoint.
///
/// # Errors
/// The errors of [`abi::Syscall::Recv`].
#[inline]
pub fn recv(endpoint: u32, mask: u64) -> Result<Received, Status> {
    #[cfg(target_os = "none")]
    {
        let (mut rdi, mut header) = (endpoint as u64, mask);
        let (status, w0, w1, w2, w3, token, handle): (u64, u64, u64, u64, u64, u64, u64);
        // SAFETY: registers as `abi::syscall` lists them for `recv`.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") Syscall::Recv as u64 => status,
                inlateout("rdi") rdi,
                inlateout("rsi") header,
                lateout("r12") w0,
                lateout("r13") w1,
                lateout("r14") w2,
                lateout("r15") w3,
                lateout("r8") token,
                lateout("r10") handle,
                lateout("rcx") _,
                lateout("r9") _,
                lateout("rdx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        check(status).map(|()| received(rdi, header, [w0, w1, w2, w3], token, handle))
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (endpoint, mask);
        Err(Status::BadSyscall)
    }
}

/// Answers the caller that `token` names, if any, and waits like [`recv`], in one step.
///
/// # Errors
/// The errors of [`abi::Syscall::ReplyRecv`].
#[inline]
pub fn reply_recv(
    endpoint: u32,
    token: ReplyToken,
    header: Header,
    words: [u64; 4],
    transfer: u64,
    mask: u64,
) -> Result<Received, Status> {
    #[cfg(target_os = "none")]
    {
        let (mut rdi, mut header, [mut w0, mut w1, mut w2, mut w3]) = (endpoint as u64, header.0, words);
        let (mut token, mut handle) = (token.0, transfer);
        let status: u64;
        // SAFETY: registers as `abi::syscall` lists them for `reply_recv`.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") Syscall::ReplyRecv as u64 => status,
                inlateout("rdi") rdi,
                inlateout("rsi") header,
                inlateout("r12") w0,
                inlateout("r13") w1,
                inlateout("r14") w2,
                inlateout("r15") w3,
                inlateout("r8") token,
                inlateout("r10") handle,
                inlateout("r9") mask => _,
                lateout("rcx") _,
                lateout("rdx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        check(status).map(|()| received(rdi, header, [w0, w1, w2, w3], token, handle))
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (endpoint, token, header, words, transfer, mask);
        Err(Status::BadSyscall)
    }
}

#[cfg(target_os = "none")]
#[inline(always)]
fn received(sender: u64, header: u64, words: [u64; 4], token: u64, handle: u64) -> Received {
    Received {
        sender: Sender::from_u64(sender),
        token: ReplyToken(token),
        message: Message { header: Header(header), words, handle },
    }
}
