//! The two system calls that copy from and to a lease, which is memory lent with a call.
//!
//! The entry stubs call these functions directly: the running thread stays the same, so nothing is
//! scheduled and no frame is loaded.

use crate::arch::handlers::Returned;
use crate::kernel::Kernel;
use crate::latency;
use crate::usermem::{self, Side};
use abi::message::{Lease, MAX_COPY, ReplyToken};
use abi::{Status, Syscall};
use kernel_core::addr::UserAddr;

/// Performs `lease_read`. The parameters are the argument registers, in their order.
#[inline(always)]
pub fn on_read(token: u64, number: u64, offset: u64, to: u64, len: u64, kernel: &mut Kernel) -> Returned {
    latency::begin(Syscall::LeaseRead as u64);
    returned(kernel.lease_copy(ReplyToken(token), number, offset, UserAddr::new(to), len, Lease::READ), offset)
}

/// Performs `lease_write`. The parameters are the argument registers, in their order.
#[inline(always)]
pub fn on_write(token: u64, number: u64, offset: u64, from: u64, len: u64, kernel: &mut Kernel) -> Returned {
    latency::begin(Syscall::LeaseWrite as u64);
    returned(kernel.lease_copy(ReplyToken(token), number, offset, UserAddr::new(from), len, Lease::WRITE), offset)
}

#[inline(always)]
fn returned(outcome: Result<u64, Status>, offset: u64) -> Returned {
    latency::end();
    match outcome {
        Ok(count) => Returned::new(Status::Ok, count),
        // `rdx` held the offset, and must keep its value.
        Err(status) => Returned::new(status, offset),
    }
}

impl Kernel {
    /// Copies between a lease and the running thread's memory at `buffer`; returns the number of
    /// bytes. Errors: StaleReply, LeaseBounds, LeaseFault, BadAddress.
    #[inline(always)]
    pub(crate) fn lease_copy(
        &self,
        token: ReplyToken,
        number: u64,
        offset: u64,
        buffer: UserAddr,
        len: u64,
        access: u32,
    ) -> Result<u64, Status> {
        let server = self.sys.running().ok_or(Status::StaleReply)?;
        let (caller, addr, left) = self.sys.lease(server, token, number, offset, access)?;
        let len = len.min(left).min(MAX_COPY as u64);
        let (ours, theirs) = ((server.space.root(), buffer), (caller.space.root(), addr));
        let (from, to, lender) = match access {
            Lease::READ => (theirs, ours, Side::From),
            _ => (ours, theirs, Side::To),
        };
        // The status names the side at fault: the caller's lease is bad, or the server's own
        // buffer.
        match usermem::copy(from.0, from.1, to.0, to.1, len as usize) {
            Ok(()) => Ok(len),
            Err(side) if side == lender => Err(Status::LeaseFault),
            Err(_) => Err(Status::BadAddress),
        }
    }
}
