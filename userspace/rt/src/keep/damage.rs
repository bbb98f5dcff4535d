//! What tests do to kept memory. On the host alone.

use super::{AtomicU8, Inbox, Journal, Kept, Ordering, Ring, Word, at};
use alloc::vec;
use alloc::vec::Vec;

/// Memory of the host, of bytes `fill`: 0 is what a first boot finds.
pub fn memory<T: Kept>(fill: u8) -> &'static T {
    let words = vec![u64::from_ne_bytes([fill; 8]); size_of::<T>().div_ceil(8)];
    at(zerocopy::IntoBytes::as_mut_bytes(words.leak())).expect("aligned like pages")
}

/// The same memory, as the next life's program declares it.
///
/// # Panics
/// Where it is smaller than `U`.
pub fn again<T: Kept, U: Kept>(keep: &'static T) -> &'static U {
    assert!(size_of::<U>() <= size_of::<T>());
    // SAFETY: the memory is as large, is aligned to 8 bytes, and every bit pattern is a `U`; both change behind shared references.
    unsafe { &*(&raw const *keep).cast::<U>() }
}

/// All of its bytes.
pub fn bytes<T: Kept>(keep: &T) -> Vec<u8> {
    let first = (&raw const *keep).cast::<AtomicU8>();
    // SAFETY: the byte lies in this value, of which everything may change behind a shared reference.
    (0..size_of::<T>()).map(|offset| unsafe { &*first.add(offset) }.load(Ordering::Relaxed)).collect()
}

/// Fills all of it with these bytes.
pub fn fill<T: Kept>(keep: &T, bytes: impl IntoIterator<Item = u8>) {
    for (offset, byte) in (0..size_of::<T>()).zip(bytes) {
        // SAFETY: the byte lies in this value, of which everything may change behind a shared reference.
        let place = unsafe { &*(&raw const *keep).cast::<AtomicU8>().add(offset) };
        place.store(byte, Ordering::Relaxed);
    }
}

/// Changes one bit.
pub fn flip<T: Kept>(keep: &T, bit: usize) {
    assert!(bit / 8 < size_of::<T>());
    // SAFETY: the byte lies in this value, of which everything may change behind a shared reference.
    let byte = unsafe { &*(&raw const *keep).cast::<AtomicU8>().add(bit / 8) };
    byte.fetch_xor(1 << (bit % 8), Ordering::Relaxed);
}

impl<T: Word, const N: usize> Ring<T, N> {
    /// Sets the positions.
    pub fn scramble(&self, head: u32, tail: u32) {
        self.publish(head, self.state());
        self.advance_to(tail);
    }
}

impl<T: Word, const N: usize> Inbox<T, N> {
    /// Sets the positions.
    pub fn scramble(&self, head: u32, given: u32, tail: u32) {
        self.ring.scramble(head, tail);
        self.given.put(given);
    }
}

impl<const CLIENTS: usize> Journal<CLIENTS> {
    /// Sets the position of the promise.
    pub fn scramble(&self, start: u32) {
        self.start.put(start);
    }
}
