//! How long interrupts are off: a kernel built with the feature `latency` notes the longest stretch of each system call, exception and
//! interrupt, for `cargo xtask bench latency`. In every other kernel nothing of this is left.
//!
//! A stretch begins where the kernel is entered, or where it has let interrupts in between two steps of a system call, and ends where it is
//! left, or lets interrupts in. It is read off the time-stamp counter, which counts instructions under QEMU's `-icount shift=0`.

use kernel_core::thread::TrapFrame;

/// What began a stretch: a system call, an exception, or a line.
#[must_use]
pub fn cause(frame: &TrapFrame) -> u64 {
    match frame.vector {
        TrapFrame::SYSCALL => frame.rax.min(abi::syscall::LATENCY_OTHER),
        vector => abi::syscall::LATENCY_VECTORS + vector.min(255),
    }
}

/// The kernel is entered.
#[inline(always)]
pub fn begin(_cause: u64) {
    #[cfg(feature = "latency")]
    noted::begin(_cause);
}

/// Interrupts are about to be let in.
#[inline(always)]
pub fn end() {
    #[cfg(feature = "latency")]
    noted::end();
}

/// Interrupts have been let in, and are off again: another stretch of what goes on.
#[inline(always)]
pub fn again() {
    #[cfg(feature = "latency")]
    noted::again();
}

#[cfg(feature = "latency")]
pub use noted::call;

#[cfg(feature = "latency")]
mod noted {
    use crate::arch::{cpu, ports};
    use crate::kernel::Kernel;
    use abi::Status;
    use abi::syscall::{LATENCY_CAUSES, LATENCY_READ};
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use kernel_core::Row;

    /// What the entry stubs and the way out take together at the most, which is outside of what is measured, in instructions: see
    /// userspace/lab/bench/src/latency/fast.rs, which looks at it from ring 3.
    const STUBS: u64 = 150;

    static BEGAN: AtomicU64 = AtomicU64::new(0);
    static CAUSE: AtomicU64 = AtomicU64::new(0);
    static LONGEST: [AtomicU64; LATENCY_CAUSES as usize] = [const { AtomicU64::new(0) }; LATENCY_CAUSES as usize];
    static MOST_PORTS: [AtomicU64; LATENCY_CAUSES as usize] = [const { AtomicU64::new(0) }; LATENCY_CAUSES as usize];

    pub fn begin(cause: u64) {
        CAUSE.store(cause, Relaxed);
        ports::take();
        BEGAN.store(cpu::now(), Relaxed);
    }

    pub fn again() {
        ports::take();
        BEGAN.store(cpu::now(), Relaxed);
    }

    pub fn end() {
        let took = cpu::now().saturating_sub(BEGAN.load(Relaxed)) + STUBS;
        let cause = CAUSE.load(Relaxed) as usize;
        if let (Some(longest), Some(most_ports)) = (LONGEST.get(cause), MOST_PORTS.get(cause)) {
            longest.fetch_max(took, Relaxed);
            most_ports.fetch_max(ports::take(), Relaxed);
        }
    }

    /// The system call that reads a row of the table, and makes it zero. Only the controller has it. Returns rdx and rsi.
    pub fn call(kernel: &Kernel, row: Row, number: u64, cause: u64) -> Result<(u64, u64), Status> {
        if kernel.sys.controller() != Some(row) || number != LATENCY_READ {
            return Err(Status::BadSyscall);
        }
        let take = |table: &[AtomicU64]| table.get(cause as usize).map(|row| row.swap(0, Relaxed));
        take(&LONGEST).zip(take(&MOST_PORTS)).ok_or(Status::BadArgument)
    }
}
