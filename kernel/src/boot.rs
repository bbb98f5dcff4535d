//! What happens once, before the frame allocator and the heap exist: frames are handed out from the boot memory map.

use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use core::ops::Range;
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, PhysFrame, Size4KiB};

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The first MiB is left alone: firmware tables, and the place where other cores start.
const LOW_END: u64 = 0x10_0000;
/// Usable regions that are remembered; a memory map has about a dozen.
const MAX_REGIONS: usize = 64;

/// Hands out frames from the usable regions of the boot memory map, which it puts in ascending order.
pub struct BootFrames {
    free: [Range<u64>; MAX_REGIONS],
    count: usize,
    total: u64,
}

impl BootFrames {
    /// Takes the usable regions above 1 MiB; where there are more than 64, the rest is left unused.
    pub fn new(regions: &MemoryRegions) -> Self {
        let mut this = BootFrames { free: [const { 0..0 }; MAX_REGIONS], count: 0, total: 0 };
        for r in regions.iter().filter(|r| r.kind == MemoryRegionKind::Usable) {
            let (start, end) = (r.start.max(LOW_END).next_multiple_of(PAGE), r.end & !(PAGE - 1));
            if start < end && this.count < MAX_REGIONS {
                this.free[this.count] = start..end;
                let mut at = this.count;
                while let Some([earlier, later]) = at.checked_sub(1).and_then(|first| this.free.get_mut(first..=at))
                    && earlier.start > later.start
                {
                    core::mem::swap(earlier, later);
                    at -= 1;
                }
                this.count += 1;
                this.total += (end - start) / PAGE;
            }
        }
        this
    }

    /// Usable frames in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// First address past the last usable region.
    pub fn end(&self) -> u64 {
        self.free.iter().map(|r| r.end).max().unwrap_or(0)
    }

    /// Frames of the largest usable region that are left.
    pub fn largest(&self) -> u64 {
        self.free.iter().map(|r| (r.end - r.start) / PAGE).max().unwrap_or(0)
    }

    /// Takes adjacent frames; returns the physical address of the first.
    ///
    /// # Panics
    /// Where the machine has no such memory: nothing can run then.
    #[unsafe(link_section = "boot_text")]
    pub fn take_run(&mut self, frames: u64) -> u64 {
        let bytes = frames * PAGE;
        let Some(r) = self.free[..self.count].iter_mut().find(|r| r.end - r.start >= bytes) else {
            panic!("too little memory: no {} KiB free in one piece at boot", bytes / 1024);
        };
        let start = r.start;
        r.start += bytes;
        start
    }

    /// Takes one frame.
    #[unsafe(link_section = "boot_text")]
    pub fn take(&mut self) -> u64 {
        self.take_run(1)
    }

    /// What is left, in frame numbers and ascending order.
    pub fn rest(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.free[..self.count].iter().map(|r| r.start / PAGE..r.end / PAGE)
    }
}

// SAFETY: each frame lies in a usable region of the boot memory map and is handed out once, as every run is cut off its region.
unsafe impl FrameAllocator<Size4KiB> for BootFrames {
    fn allocate_frame(&mut self) -> Option<PhysFrame<Size4KiB>> {
        Some(PhysFrame::containing_address(PhysAddr::new(self.take())))
    }
}
