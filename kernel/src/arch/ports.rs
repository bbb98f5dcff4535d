//! Counts the kernel's port accesses in a kernel with the feature `latency`, which has a bound for
//! them, because each of them takes far longer than an ordinary instruction in a virtual machine.
//! Every other kernel contains no code for this.

#[cfg(feature = "latency")]
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[cfg(feature = "latency")]
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts port accesses in the present stretch.
#[inline(always)]
pub fn count(_more: u64) {
    #[cfg(feature = "latency")]
    COUNT.fetch_add(_more, Relaxed);
}

/// Returns the number of port accesses since the last call, and sets it to 0.
#[cfg(feature = "latency")]
pub fn take() -> u64 {
    COUNT.swap(0, Relaxed)
}
