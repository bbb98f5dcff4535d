//! The physical memory that the kernel accesses, which is only RAM. Device registers, holes between
//! regions of RAM, and memory that the firmware keeps are never in the direct map, and no [`Ram`]
//! can be made for them.

use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use core::cell::UnsafeCell;
use kernel_core::addr::PhysAddr;
use kernel_core::ram::Regions;

/// First address of the direct map: RAM, and no other physical memory, is mapped from here on by
/// [`super::paging::init`], non-executable. It has 64 TiB.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// The address of physical memory in the direct map, which has it only if it is RAM.
#[inline(always)]
pub const fn direct(phys: PhysAddr) -> u64 {
    DIRECT_MAP + phys.number()
}

struct Cell(UnsafeCell<Regions>);

// SAFETY: `init` writes it once, on the only core that runs, before anything reads it; from then on
// it is only read.
unsafe impl Sync for Cell {}

/// The pages that the boot memory map names as RAM and no entry names otherwise. All are in the
/// direct map.
static REGIONS: Cell = Cell(UnsafeCell::new(Regions::new()));

/// The address of bytes of RAM in the direct map. The code that makes one knows how many bytes it
/// stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram(u64);

impl Ram {
    /// The `len` bytes (at least one) at a physical address; `None` if any of them is not RAM.
    #[inline(always)]
    pub fn at(phys: PhysAddr, len: u64) -> Option<Ram> {
        regions().hold(phys, len).then_some(Ram(direct(phys)))
    }

    /// The rest of the page at a physical address to which a page-table entry marked as RAM leads:
    /// only [`super::paging::set_user`] writes such entries, after [`Ram::at`].
    #[inline(always)]
    pub(super) fn marked(phys: PhysAddr) -> Ram {
        Ram(direct(phys))
    }

    /// The address of the bytes in the direct map.
    #[inline(always)]
    pub fn pointer(self) -> *mut u8 {
        self.0 as *mut u8
    }
}

/// All regions of RAM; none before [`init`].
#[inline(always)]
pub fn regions() -> &'static Regions {
    // SAFETY: see `Cell`.
    unsafe { &*REGIONS.0.get() }
}

/// Collects the RAM of the boot memory map. Called once, before any other function of this module.
#[unsafe(link_section = "boot_text")]
pub fn init(map: &MemoryRegions) {
    let found = named(map, |kind| matches!(kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader));
    // SAFETY: see `Cell`: nobody has a reference into it yet.
    unsafe { *REGIONS.0.get() = found };
}

/// The pages that the map names with such a kind, and that no other entry names, since entries of
/// real firmware overlap.
#[unsafe(link_section = "boot_text")]
pub fn named(map: &MemoryRegions, wanted: fn(MemoryRegionKind) -> bool) -> Regions {
    let mut regions = Regions::new();
    for r in map.iter().filter(|r| wanted(r.kind)) {
        regions.add(PhysAddr::new(r.start), PhysAddr::new(r.end));
    }
    for r in map.iter().filter(|r| !wanted(r.kind)) {
        regions.remove(PhysAddr::new(r.start), PhysAddr::new(r.end));
    }
    regions
}
