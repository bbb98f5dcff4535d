//! The heap: one contiguous region that grows by memory objects, managed by talc behind the yielding lock.
//!
//! Nothing is taken before the first allocation. The region has an address of its own, so that pieces of at most
//! [`MAX_STEP`] pages join into one heap, in which an allocation may be larger than any of them. When the quota is used up,
//! an allocation returns null, upon which `alloc` panics ("memory allocation of N bytes failed") unless the caller asked by
//! `try_reserve`; an allocation that fails leaves the quota as it was.

#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host has its own allocator"))]

use abi::PAGE_SIZE;

/// Where the heap begins: 64 GiB above where the kernel begins to place mappings, so that they share their uppermost page
/// table, which is charged to the task too (Intel SDM vol. 3A, section 4.5: a PML4 entry covers 512 GiB).
const BASE: u64 = abi::task::MAP_BASE + (64 << 30);

/// Room for the heap in bytes, which no quota comes near: 256 GiB.
const ROOM: usize = 1 << 38;

/// First address past that room.
#[cfg(test)]
pub(crate) const END: u64 = BASE + ROOM as u64;

/// Most pages of one memory object.
const MAX_STEP: usize = 256;

/// Most pages of one growth, and so, nearly, of one allocation: 64 MiB.
const MAX_GROWTH: usize = 64 * MAX_STEP;

/// Pages of the first step, and the most that a step takes while the heap is small: 16 KiB and 64 KiB.
const FIRST_STEP: usize = 4;
const USUAL_STEP: usize = 16;

/// How many pages to add to a heap of `have` pages so that `need` more bytes fit: the size in which to ask, and the least that
/// will do. Small heaps grow in small steps to spare the quota of frames; large ones in larger ones, to spare that of handles.
fn step(have: usize, need: usize) -> (usize, usize) {
    let least = need.div_ceil(PAGE_SIZE).max(1);
    let usual = have.clamp(FIRST_STEP, USUAL_STEP).max(have / 4);
    (usual.max(least), least)
}

#[cfg(target_os = "none")]
mod global {
    use super::{BASE, MAX_GROWTH, MAX_STEP, ROOM, step};
    use crate::lock::YieldLock;
    use crate::syscall;
    use abi::PAGE_SIZE;
    use core::alloc::Layout;
    use core::ptr::NonNull;
    use talc::base::binning::Binning;
    use talc::base::{CHUNK_UNIT, Talc};
    use talc::source::Source;
    use talc::{DefaultBinning, TalcLock, min_first_heap_size};

    #[global_allocator]
    static HEAP: TalcLock<YieldLock, Grow> = TalcLock::new(Grow { pages: 0, end: None });

    /// The kernel as a source of memory.
    #[derive(Debug)]
    struct Grow {
        /// Pages mapped so far.
        pages: usize,
        /// Where talc's heap ends, once there is one.
        end: Option<NonNull<u8>>,
    }

    // SAFETY: the pointer is to memory of the heap, which belongs to the task and not to a thread.
    unsafe impl Send for Grow {}

    impl Grow {
        /// Maps more pages at the end: as many as [`step`] says, or as few as will do where the quota has no room for those.
        fn grow(&mut self, need: usize) -> bool {
            let (wanted, least) = step(self.pages, need);
            self.add(wanted) || (least < wanted && self.add(least))
        }

        /// Maps `count` more pages at the end, or none: what cannot be had does not eat up the quota.
        fn add(&mut self, count: usize) -> bool {
            if count > MAX_GROWTH || self.pages + count > ROOM / PAGE_SIZE {
                return false;
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
                    // SAFETY: mapped above, and not yet handed to the allocator.
                    let _ = unsafe { syscall::memory_unmap(address) };
                    let _ = syscall::handle_close(memory);
                }
                return false;
            }
            self.pages += count;
            true
        }
    }

    /// The address of the heap's page of this number.
    fn address_of(page: usize) -> u64 {
        BASE + (page * PAGE_SIZE) as u64
    }

    /// Maps `pages` fresh pages; returns the handle.
    fn map(address: u64, pages: usize) -> Option<u32> {
        let memory = syscall::memory_create(pages, false).ok()?;
        // SAFETY: nothing is mapped there yet, or the kernel refuses; the object has just been made and is mapped once.
        if unsafe { syscall::memory_map(memory, address, true) }.is_err() {
            let _ = syscall::handle_close(memory);
            return None;
        }
        Some(memory)
    }

    // SAFETY: `acquire` makes system calls only: it neither allocates nor touches the allocator but through `talc`.
    unsafe impl Source for Grow {
        #[cold]
        fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
            // The allocation itself, its tags, and the slack that its alignment may cost; in the first heap also talc's tables.
            let tables = if talc.source.end.is_none() { min_first_heap_size::<DefaultBinning>() } else { 0 };
            let need = layout.size().checked_add(4 * CHUNK_UNIT + layout.align() + tables).ok_or(())?;
            if !talc.source.grow(need) {
                return Err(());
            }
            let pages = talc.source.pages;
            let end = match talc.source.end {
                // SAFETY: the pages from the old end on have just been mapped for the heap alone.
                Some(end) => Some(unsafe { talc.extend(end, address_of(pages) as *mut u8) }),
                // SAFETY: the region from `BASE` on has just been mapped for the heap alone.
                None => unsafe { talc.claim(BASE as *mut u8, pages * PAGE_SIZE) },
            };
            talc.source.end = end;
            if end.is_some() { Ok(()) } else { Err(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
