//! The frame allocator of the boot: before the kernel's own frame table and heap exist, it hands
//! out frames from the boot memory map.

use crate::arch::ram;
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use core::ops::Range;
use kernel_core::addr::PhysAddr;
use kernel_core::ram::Regions;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The first MiB is never used: it holds firmware tables, and is where other cores start.
const LOW_END: PhysAddr = PhysAddr::new(0x10_0000);

/// Hands out frames from the usable regions of the boot memory map, in ascending order.
pub struct BootFrames {
    free: Regions,
    total: u64,
}

impl BootFrames {
    /// Collects the usable RAM above 1 MiB that no other entry of the memory map names.
    /// [`ram::init`] must have been called.
    #[unsafe(link_section = "boot_text")]
    pub fn new(regions: &MemoryRegions) -> Self {
        let mut free = ram::named(regions, |kind| kind == MemoryRegionKind::Usable);
        // RAM that is not in the direct map, as there were too many regions, cannot be used.
        let mut end = LOW_END;
        free.remove(PhysAddr::new(0), end);
        for region in ram::regions().list() {
            free.remove(end, region.start);
            end = end.max(region.end);
        }
        free.remove(end, PhysAddr::new(u64::MAX));
        let total = free.list().iter().map(|r| r.size() / PAGE).sum();
        BootFrames { free, total }
    }

    /// The number of usable frames in total.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The physical address after the last usable region.
    pub fn end(&self) -> PhysAddr {
        self.free.end()
    }

    /// The number of frames left in the largest usable region.
    pub fn largest(&self) -> u64 {
        self.free.largest() / PAGE
    }

    /// Takes contiguous frames and returns the physical address of the first.
    ///
    /// # Panics
    /// If the machine has no such memory, as nothing can run then.
    #[expect(clippy::panic, reason = "before the first task runs")]
    #[unsafe(link_section = "boot_text")]
    pub fn take_run(&mut self, frames: u64) -> PhysAddr {
        let bytes = frames * PAGE;
        match self.free.take(bytes) {
            Some(start) => start,
            None => panic!("too little memory: no {} KiB free in one piece at boot", bytes / 1024),
        }
    }

    /// Takes one frame and returns its physical address.
    #[unsafe(link_section = "boot_text")]
    pub fn take(&mut self) -> PhysAddr {
        self.take_run(1)
    }

    /// The frames that are left, as ranges of frame numbers in ascending order.
    pub fn rest(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.free.list().iter().map(|r| r.start.number() / PAGE..r.end.number() / PAGE)
    }
}

// SAFETY: each frame lies in a usable region of the boot memory map and is handed out once, as
// every run is removed from its region.
unsafe impl FrameAllocator<Size4KiB> for BootFrames {
    #[unsafe(link_section = "boot_text")]
    fn allocate_frame(&mut self) -> Option<PhysFrame<Size4KiB>> {
        Some(PhysFrame::containing_address(x86_64::PhysAddr::new(self.take().number())))
    }
}
