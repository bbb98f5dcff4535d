//! Kept state that changes in many places at once, and plain bytes.

use super::{Cell, Kept, mix};
use alloc::vec::Vec;
use core::cell::UnsafeCell;

/// Two copies of a state, one of which is current. The spare one may be written in any order; one
/// store makes it the current one.
#[repr(C)]
pub struct Double<T> {
    in_use: Cell<u32>,
    reserved: Cell<u32>,
    slots: [T; 2],
}

impl<T: Kept> Double<T> {
    fn number(&self) -> usize {
        (self.in_use.get() & 1) as usize
    }

    /// The current copy.
    pub fn current(&self) -> &T {
        &self.slots[self.number()]
    }

    /// The spare copy: its contents are older than the current one's, or were left partly written
    /// by a death.
    pub fn spare(&self) -> &T {
        &self.slots[1 - self.number()]
    }

    /// Makes the spare copy the current one, by one store.
    pub fn turn(&self) {
        self.in_use.put(1 - self.number() as u32);
    }
}

// SAFETY: it consists of two cells and an array, which all have these properties, in C's layout.
unsafe impl<T: Kept> Kept for Double<T> {
    const SHAPE: u64 = mix(5, T::SHAPE);
    fn clear(&self) {
        self.in_use.put(0);
        self.slots.clear();
    }
    fn is_sound(&self) -> bool {
        self.current().is_sound()
    }
}

/// Bytes that are stored in any order. Something else tells whether they are valid, such as the
/// [`Double`] that contains them.
#[repr(transparent)]
pub struct Bytes<const N: usize>(UnsafeCell<[u8; N]>);

impl<const N: usize> Bytes<N> {
    /// A copy of all bytes.
    pub fn get(&self) -> [u8; N] {
        // SAFETY: all accesses are in this module and end before they return. The value is not
        // `Sync`, so only this thread makes them.
        unsafe { *self.0.get() }
    }

    /// Stores these bytes (at most `N`) from the first position on, in any order. Tests end a life
    /// before the first, the middle and the last of these stores.
    pub fn put(&self, bytes: &[u8]) {
        // SAFETY: all accesses are in this module and end before they return. The value is not
        // `Sync`, so only this thread makes them.
        let place = unsafe { &mut *self.0.get() };
        let count = bytes.len().min(N);
        #[cfg(target_os = "none")]
        place[..count].copy_from_slice(&bytes[..count]);
        #[cfg(not(target_os = "none"))]
        for (index, (to, from)) in place.iter_mut().zip(&bytes[..count]).enumerate() {
            super::fuse::tick_at(index, count);
            *to = *from;
        }
    }

    /// A copy of the first `count` bytes.
    pub(super) fn first(&self, count: usize) -> Vec<u8> {
        // SAFETY: all accesses are in this module and end before they return. The value is not
        // `Sync`, so only this thread makes them.
        let place = unsafe { &*self.0.get() };
        place[..count.min(N)].to_vec()
    }
}

// SAFETY: every bit pattern is valid, and the bytes are in an `UnsafeCell`.
unsafe impl<const N: usize> Kept for Bytes<N> {
    const SHAPE: u64 = mix(6, N as u64);
    fn clear(&self) {
        self.put(&[0; N]);
    }
}

/// Up to `N` bytes, such as a text. If the task dies while they are set, there are none.
#[repr(C)]
pub struct Blob<const N: usize> {
    len: Cell<u32>,
    reserved: Cell<u32>,
    bytes: Bytes<N>,
}

impl<const N: usize> Blob<N> {
    /// Sets the bytes. If there are more than `N`, sets none and returns false.
    pub fn set(&self, bytes: &[u8]) -> bool {
        self.len.put(0);
        let fits = bytes.len() <= N;
        if fits {
            self.bytes.put(bytes);
            self.len.put(bytes.len() as u32);
        }
        fits
    }

    /// The bytes that were set; none if their number is invalid.
    pub fn get(&self) -> Vec<u8> {
        let len = self.len.get() as usize;
        if len > N { Vec::new() } else { self.bytes.first(len) }
    }

    /// The bytes that were set, as text; an empty text if they are not UTF-8.
    pub fn text(&self) -> alloc::string::String {
        alloc::string::String::from_utf8(self.get()).unwrap_or_default()
    }
}

// SAFETY: it consists of cells and bytes, which all have these properties, in C's layout.
unsafe impl<const N: usize> Kept for Blob<N> {
    const SHAPE: u64 = mix(7, N as u64);
    fn clear(&self) {
        self.len.put(0);
    }
    fn is_sound(&self) -> bool {
        self.len.get() as usize <= N
    }
}
