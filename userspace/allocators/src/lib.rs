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
//! A [`Heap`] takes its memory from a [`Source`], piece by piece, and never gives any back. If the
//! source has no more, an allocation returns nothing, and the heap does not change. [`Locked`]
//! makes a heap a `GlobalAlloc`, by a lock of the user's choice.
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

/// Alignment of the pieces of a [`Source`], and a divisor of their lengths, in bytes.
pub const UNIT: usize = 16;

/// A source of memory for a heap.
///
/// # Safety
/// A piece must be readable and writable for as long as the source and its user exist, must not be
/// used otherwise, must be at least as long as requested, and must begin and end at multiples of
/// [`UNIT`]. If it begins at the end of the previous piece, both must be parts of one region: a
/// pointer to one is valid for the other too.
pub unsafe trait Source {
    /// A piece of at least `bytes` bytes; `None` if there is no more memory.
    fn more(&mut self, bytes: usize) -> Option<NonNull<[u8]>>;
}

/// A heap. Layouts have a size of at least 1, as those of `GlobalAlloc` have.
///
/// # Safety
/// Allocated blocks must be as large as requested, aligned, and used for nothing else until they
/// are freed. No function may panic.
pub unsafe trait Heap {
    /// Allocates a block; `None` if there is no room and the source has no more memory.
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Frees a block.
    ///
    /// # Safety
    /// The block must be one of this heap's, allocated with this layout, and must not be used any
    /// more.
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout);

    /// Makes a block larger or smaller at its present address; returns `false`, without any change,
    /// if that is not possible.
    ///
    /// # Safety
    /// The block must be one of this heap's, allocated with this layout; the new size must be at
    /// least 1 and, rounded up to the layout's alignment, must fit an `isize`. The memory beyond
    /// the new size must not be used any more.
    unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, new_size: usize) -> bool {
        // A smaller size could keep the block, but heaps find a block's list by its size.
        let _ = block;
        new_size == layout.size()
    }
}

/// Bytes from `address` to the next multiple of `align`, which is a power of two.
const fn padding(address: usize, align: usize) -> usize {
    address.wrapping_neg() & (align - 1)
}

/// The size rounded up to a multiple of [`UNIT`]; `None` if that is not representable.
const fn in_units(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(UNIT)
}

#[cfg(test)]
mod model;
