//! Heap designs, each small, behind one interface.
//!
//! | heap | allocate | free | what it wastes | when it fails early |
//! |---|---|---|---|---|
//! | [`Bump`] | constant | constant | everything freed out of order, until all is free | one long-lived block keeps all |
//! | [`LinkedList`] | holes before the first that fits | holes before the block | up to 15 bytes a block | holes, each too small |
//! | [`FixedBlocks`] | constant up to 2 KiB, then as the list | the same | up to a third of a block | a class keeps its blocks for ever |
//! | [`peers::Talc`] | nearly constant | nearly constant | 8 bytes a block | holes, each too small |
//! | [`peers::Buddy`] | logarithmic | blocks of the same size that are free | up to half a block | holes, each too small |
//! | [`peers::List`] | holes before the first that fits | holes before the block | up to 15 bytes a block | holes, each too small |
//!
//! A [`Heap`] takes its memory from a [`Source`], piece by piece, and never gives any back. Where the source has no more, an
//! allocation returns nothing, and the heap is as it was. [`Locked`] makes a heap a `GlobalAlloc`, by a lock of the user's choice.
//!
//! `docs/heap.md` has measurements.
#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

mod blocks;
mod bump;
mod list;
mod locked;
pub mod peers;

pub use blocks::FixedBlocks;
pub use bump::Bump;
pub use list::LinkedList;
pub use lock_api;
pub use locked::Locked;

use core::alloc::Layout;
use core::ptr::NonNull;

/// What the pieces of a [`Source`] are aligned to, and a divisor of their lengths, in bytes.
pub const UNIT: usize = 16;

/// Where a heap gets its memory.
///
/// # Safety
/// A piece is readable and writable for as long as the source and whatever took it from there exist, is nobody else's, is at least
/// as long as was asked for, and begins and ends at multiples of [`UNIT`]. Where it begins at the end of the one before, both
/// are parts of one region: a pointer to one is good for the other too.
pub unsafe trait Source {
    /// A piece of `bytes` bytes or more, or nothing where there is no more.
    fn more(&mut self, bytes: usize) -> Option<NonNull<[u8]>>;
}

/// A heap. Layouts have a size of at least 1, as those of `GlobalAlloc` have.
///
/// # Safety
/// Allocated blocks are as large as asked for, aligned, nobody else's, and stay so until they are freed. Nothing panics.
pub unsafe trait Heap {
    /// A block, or nothing where there is no room and the source has no more.
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes a block back.
    ///
    /// # Safety
    /// The block is one of this heap's, allocated with this layout, and used no more.
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout);

    /// Makes a block larger or smaller where it lies; `false` where that cannot be, and then nothing has changed.
    ///
    /// # Safety
    /// The block is one of this heap's, allocated with this layout; the new size is at least 1 and, rounded up to the layout's alignment,
    /// fits an `isize`. What is beyond the new size is used no more.
    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        // A block is as good for less as for what it was made for, but heaps find its place by its size.
        let _ = block;
        new_size == layout.size()
    }
}

/// Bytes from `address` to the next multiple of `align`, which is a power of two.
const fn padding(address: usize, align: usize) -> usize {
    address.wrapping_neg() & (align - 1)
}

/// The size rounded up to a multiple of [`UNIT`], or nothing where there is no such number.
const fn in_units(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(UNIT)
}

#[cfg(test)]
mod model;
