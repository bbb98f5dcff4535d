//! How many accesses to ports the kernel has made, counted in a kernel with the feature `latency`:
//! each of them takes a virtual machine far longer than an instruction, so `latency` has a bound
//! for them. In every other kernel nothing of this is left.

#[cfg(feature = "latency")]
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[cfg(feature = "latency")]
static COUNT: AtomicU64 = AtomicU64::new(0);

/// So many accesses more.
#[inline(always)]
pub fn count(_more: u64) {
    #[cfg(feature = "latency")]
    COUNT.fetch_add(_more, Relaxed);
}

/// How many there have been since this was asked last.
#[cfg(feature = "latency")]
pub fn take() -> u64 {
    COUNT.swap(0, Relaxed)
}
