//! Measures how long interrupts are off: a kernel built with the feature `latency` records the
//! longest stretch of each system call, exception and interrupt, for `cargo xtask bench latency`.
//! In every other kernel these functions do nothing.
//!
//! A stretch begins when the kernel is entered, or has let interrupts in between two steps of a
//! system call. It ends when the kernel is left, or lets interrupts in. Its length is read from the
//! time-stamp counter, which counts instructions under QEMU's `-icount shift=0`.

use kernel_core::thread::TrapFrame;

/// The number of the cause of a stretch: a system call, or an exception's or line's vector.
#[must_use]
pub fn cause(frame: &TrapFrame) -> u64 {
    match frame.vector {
        TrapFrame::SYSCALL => frame.rax.min(abi::syscall::LATENCY_OTHER),
        vector => abi::syscall::LATENCY_VECTORS + vector.min(255),
    }
}

/// Begins a stretch, as the kernel is entered.
#[inline(always)]
pub fn begin(_cause: u64) {
    #[cfg(feature = "latency")]
    noted::begin(_cause);
}

/// Ends a stretch, as interrupts are about to be let in.
#[inline(always)]
pub fn end() {
    #[cfg(feature = "latency")]
    noted::end();
}

/// Begins another stretch of the same cause, after interrupts were let in.
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

    /// The most instructions that the entry stubs and the exit path take, which the measurement
    /// does not cover. userspace/lab/bench/src/latency/fast.rs verifies it from ring 3.
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

    /// The system call that reads an entry of the table, and sets it to 0. Only the controller may
    /// use it. Returns the longest stretch and the most port accesses (rdx and rsi). Errors:
    /// BadSyscall, BadArgument.
    pub fn call(kernel: &Kernel, row: Row, number: u64, cause: u64) -> Result<(u64, u64), Status> {
        if kernel.sys.controller() != Some(row) || number != LATENCY_READ {
            return Err(Status::BadSyscall);
        }
        let take = |table: &[AtomicU64]| table.get(cause as usize).map(|row| row.swap(0, Relaxed));
        take(&LONGEST).zip(take(&MOST_PORTS)).ok_or(Status::BadArgument)
    }
}
