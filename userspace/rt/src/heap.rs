//! The heap of a task: its design, and where its memory comes from.
//!
//! A task that chooses nothing has [`Default`](type@Default), for which `docs/heap.md` gives the
//! reasons. A task chooses another in one line:
//!
//! ```ignore
//! rt::entry!(run, heap = rt::heap::Bump);
//! rt::driver!(Serial, heap = rt::heap::Talc);
//! ```
//!
//! [`Pages`] maps memory objects one after the other, so that pieces of at most [`MAX_STEP`] pages
//! form one region, in which an allocation may be larger than any of them. Nothing is mapped before
//! the first allocation. When the quota is used up, an allocation returns null, and `alloc` panics
//! ("memory allocation of N bytes failed") unless the caller used `try_reserve`; an allocation that
//! fails leaves the quota unchanged.

#[cfg(not(feature = "trace"))]
use crate::lock::ThreadLock;
use crate::syscall;
use abi::PAGE_SIZE;
use allocators::Source;
use core::ptr::NonNull;

/// The first address of the heap: 64 GiB above the first address at which the kernel places
/// mappings, so that both use the same third-level page table, which is charged to the task, too
/// (Intel SDM vol. 3A, section 4.5: a PML4 entry covers 512 GiB).
const BASE: u64 = abi::task::MAP_BASE + (64 << 30);

/// The size of the address range for the heap in bytes, far more than any quota: 256 GiB.
const ROOM: usize = 1 << 38;

/// The address after that range.
#[cfg(test)]
pub(crate) const END: u64 = BASE + ROOM as u64;

/// The most pages of one memory object.
const MAX_STEP: usize = 256;

/// The most pages of one growth, and so, nearly, of one allocation: 64 MiB.
const MAX_GROWTH: usize = 64 * MAX_STEP;

/// The pages of the first step (16 KiB), and the most pages of a step while the heap is small (64
/// KiB).
const FIRST_STEP: usize = 4;
const USUAL_STEP: usize = 16;

/// The number of pages by which a heap of `have` pages should grow so that `need` more bytes fit,
/// and the least number that suffices. Small heaps grow in small steps to save frames; large heaps
/// grow in larger steps to save handles.
fn step(have: usize, need: usize) -> (usize, usize) {
    let least = need.div_ceil(PAGE_SIZE).max(1);
    let usual = have.clamp(FIRST_STEP, USUAL_STEP).max(have / 4);
    (usual.max(least), least)
}

/// The source of a heap's memory: the kernel, up to the task's quota. It is one region from
/// [`BASE`] on. A task has one heap; a second source would find the addresses in use, and provide
/// nothing.
#[derive(Debug)]
pub struct Pages {
    /// The number of pages mapped so far.
    pages: usize,
}

impl Pages {
    /// A source that has mapped nothing yet.
    pub const NEW: Pages = Pages { pages: 0 };

    /// Maps `count` more pages at the end, or none if not all can be mapped, so that a failure does
    /// not use up the quota.
    fn add(&mut self, count: usize) -> Option<NonNull<[u8]>> {
        if count > MAX_GROWTH || self.pages + count > ROOM / PAGE_SIZE {
            return None;
        }
        let mut taken = [None; MAX_GROWTH / MAX_STEP];
        let mut added = 0;
        for slot in &mut taken {
            let piece = (count - added).min(MAX_STEP);
            if piece == 0 {
                break;
            }
            let address = address_of(self.pages + added);
            *slot = map(address, piece).map(|memory| (memory, address));
            if slot.is_none() {
                break;
            }
            added += piece;
        }
        if added < count {
            for (memory, address) in taken.into_iter().flatten() {
                // SAFETY: the memory was mapped above, and the allocator does not have it yet.
                let _ = unsafe { syscall::memory_unmap(address) };
                let _ = syscall::handle_close(memory);
            }
            return None;
        }
        let start = NonNull::new(core::ptr::with_exposed_provenance_mut(address_of(self.pages) as usize))?;
        self.pages += count;
        Some(NonNull::slice_from_raw_parts(start, count * PAGE_SIZE))
    }
}

// SAFETY: the kernel maps each page once, where nothing was mapped, readable and writable, for the
// life of the task; the pieces are whole pages and follow each other in one region.
unsafe impl Source for Pages {
    /// Maps as many pages as [`step`] prefers, or the least that suffices if the quota has no room
    /// for that.
    #[cold]
    fn more(&mut self, bytes: usize) -> Option<NonNull<[u8]>> {
        let (wanted, least) = step(self.pages, bytes);
        self.add(wanted).or_else(|| if least < wanted { self.add(least) } else { None })
    }
}

/// The address of the heap's page with this number.
fn address_of(page: usize) -> u64 {
    BASE + (page * PAGE_SIZE) as u64
}

/// Maps `pages` new pages at `address`; returns the handle of their memory object.
fn map(address: u64, pages: usize) -> Option<u32> {
    let memory = syscall::memory_create(pages, false).ok()?;
    // SAFETY: nothing is mapped there, or the kernel refuses; the object is new and is mapped once.
    if unsafe { syscall::memory_map(memory, address, true) }.is_err() {
        let _ = syscall::handle_close(memory);
        return None;
    }
    Some(memory)
}

/// A heap that a task can choose: one of those below, or one of its own.
pub trait Choice {
    /// The heap's type.
    type Heap: allocators::Heap + Send;
    /// The initial state of the heap.
    const EMPTY: Self::Heap;
}

/// The chosen heap behind the runtime's lock, as the global allocator. [`crate::entry!`] defines
/// that of the task.
#[cfg(not(feature = "trace"))]
pub type Global<C> = allocators::Locked<ThreadLock, <C as Choice>::Heap>;
#[cfg(feature = "trace")]
pub use crate::trace::Global;

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident = $heap:path;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Choice for $name {
            type Heap = $heap;
            const EMPTY: Self::Heap = <$heap>::new(Pages::NEW);
        }
    )*};
}

choices! {
    /// A heap for tasks that allocate at the start, or in phases: see [`allocators::Bump`].
    Bump = allocators::Bump<Pages>;
    /// The smallest general-purpose heap: see [`allocators::LinkedList`].
    LinkedList = allocators::LinkedList<Pages>;
    /// A heap with equally few instructions for every small block: see [`allocators::FixedBlocks`].
    FixedBlocks = allocators::FixedBlocks<Pages>;
    /// A heap from crates.io: see [`allocators::peers::Talc`].
    Talc = allocators::peers::Talc<Pages>;
    /// A heap from crates.io: see [`allocators::peers::Buddy`].
    Buddy = allocators::peers::Buddy<Pages>;
    /// A heap from crates.io: see [`allocators::peers::List`].
    List = allocators::peers::List<Pages>;
}

/// The heap of a task that chooses none.
pub type Default = FixedBlocks;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_memory_on_the_host() {
        let mut source = Pages::NEW;
        assert_eq!((source.more(1), source.more(usize::MAX), source.pages), (None, None, 0));
    }

    #[test]
    fn a_small_heap_takes_small_steps() {
        assert_eq!(step(0, 100), (4, 1));
        assert_eq!(step(4, 100), (4, 1));
        assert_eq!(step(8, 100), (8, 1));
        assert_eq!(step(16, 100), (16, 1));
        assert_eq!(step(64, 100), (16, 1));
    }

    #[test]
    fn a_large_heap_spares_handles() {
        let (mut pages, mut steps) = (0, 0);
        while pages < 16 * 256 {
            pages += step(pages, 1).0;
            steps += 1;
        }
        assert!(steps < 32, "{steps} steps to 16 MiB");
    }

    #[test]
    fn a_large_allocation_gets_what_it_needs() {
        assert_eq!(step(4, 3 * 1024 * 1024 + 1), (769, 769));
        assert_eq!(step(0, 0), (4, 1));
        let (wanted, least) = step(4, usize::MAX);
        assert!(wanted >= least && least > ROOM / PAGE_SIZE);
    }
}
