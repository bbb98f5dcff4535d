//! Access to kept memory for tests, which damage it. Only on the host.

use super::{AtomicU8, Element, Inbox, Journal, Kept, Ordering, Ring, at};
use alloc::vec;
use alloc::vec::Vec;

/// Memory of the host with all bytes equal to `fill`; 0 is the state at a first boot.
pub fn memory<T: Kept>(fill: u8) -> &'static T {
    let words = vec![u64::from_ne_bytes([fill; 8]); size_of::<T>().div_ceil(8)];
    at(zerocopy::IntoBytes::as_mut_bytes(words.leak())).expect("aligned like pages")
}

/// The same memory as another type, as the program of the next life declares it.
///
/// # Panics
/// If it is smaller than `U`.
pub fn again<T: Kept, U: Kept>(keep: &'static T) -> &'static U {
    assert!(size_of::<U>() <= size_of::<T>());
    // SAFETY: the memory is at least as large and aligned to 8 bytes, and every bit pattern is a
    // `U`; both types change through shared references.
    unsafe { &*(&raw const *keep).cast::<U>() }
}

/// A copy of all bytes.
pub fn bytes<T: Kept>(keep: &T) -> Vec<u8> {
    let first = (&raw const *keep).cast::<AtomicU8>();
    // SAFETY: the byte lies in this value, all of which may change through a shared reference.
    (0..size_of::<T>()).map(|offset| unsafe { &*first.add(offset) }.load(Ordering::Relaxed)).collect()
}

/// Fills the memory with these bytes.
pub fn fill<T: Kept>(keep: &T, bytes: impl IntoIterator<Item = u8>) {
    for (offset, byte) in (0..size_of::<T>()).zip(bytes) {
        // SAFETY: the byte lies in this value, all of which may change through a shared reference.
        let place = unsafe { &*(&raw const *keep).cast::<AtomicU8>().add(offset) };
        place.store(byte, Ordering::Relaxed);
    }
}

/// Inverts one bit.
pub fn flip<T: Kept>(keep: &T, bit: usize) {
    assert!(bit / 8 < size_of::<T>());
    // SAFETY: the byte lies in this value, all of which may change through a shared reference.
    let byte = unsafe { &*(&raw const *keep).cast::<AtomicU8>().add(bit / 8) };
    byte.fetch_xor(1 << (bit % 8), Ordering::Relaxed);
}

impl<T: Element, const N: usize> Ring<T, N> {
    /// Sets the positions to any values.
    pub fn scramble(&self, head: u32, tail: u32) {
        self.publish(head, self.state());
        self.advance_to(tail);
    }
}

impl<T: Element, const N: usize> Inbox<T, N> {
    /// Sets the positions to any values.
    pub fn scramble(&self, head: u32, given: u32, tail: u32) {
        self.ring.scramble(head, tail);
        self.given.put(given);
    }
}

impl<const CLIENTS: usize> Journal<CLIENTS> {
    /// Sets the position of the promise to any value.
    pub fn scramble(&self, start: u32) {
        self.start.put(start);
    }
}
