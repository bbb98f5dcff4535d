//! What happens once, before the frame allocator and the heap exist: frames are handed out from the boot memory map.

use crate::arch::ram;
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use core::ops::Range;
use kernel_core::ram::Regions;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The first MiB is left alone: firmware tables, and the place where other cores start.
const LOW_END: u64 = 0x10_0000;

/// Hands out frames from the usable regions of the boot memory map, in ascending order.
pub struct BootFrames {
    free: Regions,
    total: u64,
}

impl BootFrames {
    /// Takes the RAM above 1 MiB that is usable, and that no other entry of the memory map names. [`ram::init`] comes first.
    #[unsafe(link_section = "boot_text")]
    pub fn new(regions: &MemoryRegions) -> Self {
        let mut free = ram::named(regions, |kind| kind == MemoryRegionKind::Usable);
        // What is not in the direct map, because there are too many pieces, cannot be used.
        let mut end = LOW_END;
        free.remove(0, end);
        for region in ram::regions().list() {
            free.remove(end, region.start);
            end = end.max(region.end);
        }
        free.remove(end, u64::MAX);
        let total = free.list().iter().map(|r| r.size() / PAGE).sum();
        BootFrames { free, total }
    }

    /// Usable frames in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// First address past the last usable region.
    pub fn end(&self) -> u64 {
        self.free.end()
    }

    /// Frames of the largest usable region that are left.
    pub fn largest(&self) -> u64 {
        self.free.largest() / PAGE
    }

    /// Takes adjacent frames; returns the physical address of the first.
    ///
    /// # Panics
    /// Where the machine has no such memory: nothing can run then.
    #[expect(clippy::panic, reason = "before the first task runs")]
    #[unsafe(link_section = "boot_text")]
    pub fn take_run(&mut self, frames: u64) -> u64 {
        let bytes = frames * PAGE;
        match self.free.take(bytes) {
            Some(start) => start,
            None => panic!("too little memory: no {} KiB free in one piece at boot", bytes / 1024),
        }
    }

    /// Takes one frame.
    #[unsafe(link_section = "boot_text")]
    pub fn take(&mut self) -> u64 {
        self.take_run(1)
    }

    /// What is left, in frame numbers and ascending order.
    pub fn rest(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.free.list().iter().map(|r| r.start / PAGE..r.end / PAGE)
    }
}

// SAFETY: each frame lies in a usable region of the boot memory map and is handed out once, as every run is cut off its region.
unsafe impl FrameAllocator<Size4KiB> for BootFrames {
    #[unsafe(link_section = "boot_text")]
    fn allocate_frame(&mut self) -> Option<PhysFrame<Size4KiB>> {
        Some(PhysFrame::containing_address(x86_64::PhysAddr::new(self.take())))
    }
}
