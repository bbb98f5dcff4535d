//! State that changes in many places at once, and plain bytes.

use super::{Cell, Kept, mix};
use alloc::vec::Vec;
use core::cell::UnsafeCell;

/// Two of the same, one of which counts. The other one may be written in any order; one store makes it the one that counts.
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

    /// The one that counts.
    pub fn current(&self) -> &T {
        &self.slots[self.number()]
    }

    /// The other one: what it holds is older than the one that counts, or was left half written by a death.
    pub fn spare(&self) -> &T {
        &self.slots[1 - self.number()]
    }

    /// Makes the spare one count.
    pub fn turn(&self) {
        self.in_use.put(1 - self.number() as u32);
    }
}

// SAFETY: it is made of two cells and an array, which are all of this kind, in C's layout.
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

/// Bytes, stored in any order: what they are is told by something else, such as the [`Double`] in which they lie.
#[repr(transparent)]
pub struct Bytes<const N: usize>(UnsafeCell<[u8; N]>);

impl<const N: usize> Bytes<N> {
    /// All of them.
    pub fn get(&self) -> [u8; N] {
        // SAFETY: all accesses are in this module and end before they return. The value is not `Sync`, so only this thread makes them.
        unsafe { *self.0.get() }
    }

    /// Stores as many as there are, from the first on, in any order.
    pub fn put(&self, bytes: &[u8]) {
        // SAFETY: as in `get`.
        let place = unsafe { &mut *self.0.get() };
        let count = bytes.len().min(N);
        #[cfg(target_os = "none")]
        place[..count].copy_from_slice(&bytes[..count]);
        #[cfg(not(target_os = "none"))]
        for (to, from) in place.iter_mut().zip(&bytes[..count]) {
            // A life can end between any two stores.
            super::fuse::tick();
            *to = *from;
        }
    }

    /// The first `count` of them.
    fn first(&self, count: usize) -> Vec<u8> {
        // SAFETY: as in `get`.
        let place = unsafe { &*self.0.get() };
        place[..count.min(N)].to_vec()
    }
}

// SAFETY: every bit pattern is bytes, and they lie in an `UnsafeCell`.
unsafe impl<const N: usize> Kept for Bytes<N> {
    const SHAPE: u64 = mix(6, N as u64);
    fn clear(&self) {
        self.put(&[0; N]);
    }
}

/// Bytes of any number up to `N`, such as a text. A life that ends while they are set leaves none.
#[repr(C)]
pub struct Blob<const N: usize> {
    len: Cell<u32>,
    reserved: Cell<u32>,
    bytes: Bytes<N>,
}

impl<const N: usize> Blob<N> {
    /// Sets them; with more than `N`, sets none, and returns false.
    pub fn set(&self, bytes: &[u8]) -> bool {
        self.len.put(0);
        let fits = bytes.len() <= N;
        if fits {
            self.bytes.put(bytes);
            self.len.put(bytes.len() as u32);
        }
        fits
    }

    /// What was set; nothing where the number makes no sense.
    pub fn get(&self) -> Vec<u8> {
        let len = self.len.get() as usize;
        if len > N { Vec::new() } else { self.bytes.first(len) }
    }

    /// What was set, as text; nothing where it is none.
    pub fn text(&self) -> alloc::string::String {
        alloc::string::String::from_utf8(self.get()).unwrap_or_default()
    }
}

// SAFETY: it is made of cells and of bytes, which are all of this kind, in C's layout.
unsafe impl<const N: usize> Kept for Blob<N> {
    const SHAPE: u64 = mix(7, N as u64);
    fn clear(&self) {
        self.len.put(0);
    }
    fn is_sound(&self) -> bool {
        self.len.get() as usize <= N
    }
}
