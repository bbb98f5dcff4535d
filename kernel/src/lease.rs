//! What is lent with a call: the two system calls that copy from it and to it, and what the fast path of `call` asks for.
//!
//! The entry stubs come here directly: who runs stays as it is, so there is nothing to schedule and no frame to be left by.

use crate::kernel::{self, Kernel};
use crate::latency;
use crate::syscall::Returned;
use crate::usermem::{self, Side};
use abi::message::{Lease, MAX_COPY, ReplyToken};
use abi::{Status, Syscall};
use zerocopy::IntoBytes;

/// `lease_read` (`access` is [`Lease::READ`]) and `lease_write`, with their arguments in the order of the registers.
pub extern "C" fn on_copy(token: u64, number: u64, offset: u64, buffer: u64, len: u64, access: u32) -> Returned {
    latency::begin(if access == Lease::READ { Syscall::LeaseRead } else { Syscall::LeaseWrite } as u64);
    let outcome = kernel::look().lease_copy(ReplyToken(token), number, offset, buffer, len, access);
    latency::end();
    match outcome {
        Ok(count) => Returned::new(Status::Ok, count),
        // `rdx` was the offset, and stays.
        Err(status) => Returned::new(status, offset),
    }
}

/// Reads the `count` leases of a call that the running thread makes from its memory into its record, where they mean nothing before the
/// call is made. False where the general path is to say what is wrong.
pub extern "C" fn lend(addr: u64, count: usize) -> bool {
    let mut kernel = kernel::look();
    let Some(thread) = kernel.sys.running_mut() else { return false };
    let root = thread.root;
    thread.leases.get_mut(..count).is_some_and(|leases| usermem::read_in_page(root, addr, leases.as_mut_bytes()))
}

impl Kernel {
    /// Copies between a lease and the running thread's `buffer`; returns how many bytes. Errors: StaleReply, LeaseBounds, LeaseFault,
    /// BadAddress.
    #[inline(always)]
    pub(crate) fn lease_copy(
        &self,
        token: ReplyToken,
        number: u64,
        offset: u64,
        buffer: u64,
        len: u64,
        access: u32,
    ) -> Result<u64, Status> {
        let server = self.sys.running().ok_or(Status::StaleReply)?;
        let (caller, addr, left) = self.sys.lease(server, token, number, offset, access)?;
        let len = len.min(left).min(MAX_COPY as u64);
        let (ours, theirs) = ((server.root, buffer), (caller.root, addr));
        let (from, to, lender) = match access {
            Lease::READ => (theirs, ours, Side::From),
            _ => (ours, theirs, Side::To),
        };
        // The side at fault gets the blame: a bad lease is the caller's, a bad buffer the server's own.
        match usermem::copy(from.0, from.1, to.0, to.1, len as usize) {
            Ok(()) => Ok(len),
            Err(side) if side == lender => Err(Status::LeaseFault),
            Err(_) => Err(Status::BadAddress),
        }
    }
}
