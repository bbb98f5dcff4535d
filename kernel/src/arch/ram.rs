//! Physical memory as the kernel reaches it: RAM, and nothing else. Device registers, holes between pieces of RAM, and what the firmware
//! keeps are never in the direct map, and no [`Ram`] can be made for them.

use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use core::cell::UnsafeCell;
use kernel_core::ram::Regions;

/// Where RAM is mapped, and nothing else of physical memory: 64 TiB from here on, not executable.
/// [`super::paging::init`] maps it.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

struct Cell(UnsafeCell<Regions>);

// SAFETY: `init` writes it once, on the one core that runs, before anything reads it; from then on it is only read.
unsafe impl Sync for Cell {}

/// What the boot memory map calls RAM, and nobody calls anything else. All of it is in the direct map.
static REGIONS: Cell = Cell(UnsafeCell::new(Regions::new()));

/// Bytes of RAM in the direct map. Whoever has one may reach them; how many they are, whoever makes one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram(u64);

impl Ram {
    /// The `len` bytes (at least one) at a physical address; `None` where any of them is not RAM.
    #[inline(always)]
    pub fn at(phys: u64, len: u64) -> Option<Ram> {
        regions().hold(phys, len).then_some(Ram(DIRECT_MAP + phys))
    }

    /// The rest of the page at a physical address that a page table's entry leads to, which says that this is RAM: only
    /// [`super::paging::map_user`] writes such entries, after [`Ram::at`].
    #[inline(always)]
    pub(super) fn marked(phys: u64) -> Ram {
        Ram(DIRECT_MAP + phys)
    }

    /// Where they are for the kernel.
    #[inline(always)]
    pub fn pointer(self) -> *mut u8 {
        self.0 as *mut u8
    }
}

/// All RAM; none before [`init`].
#[inline(always)]
pub fn regions() -> &'static Regions {
    // SAFETY: see `Cell`.
    unsafe { &*REGIONS.0.get() }
}

/// Notes what the boot memory map calls RAM: once, before any other function here is called.
#[unsafe(link_section = "boot_text")]
pub fn init(map: &MemoryRegions) {
    let found = named(map, |kind| matches!(kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader));
    // SAFETY: see `Cell`: nobody has a reference into it yet.
    unsafe { *REGIONS.0.get() = found };
}

/// The pages that the map calls by such a kind, and that no other entry of the map names: entries of real firmware overlap.
#[unsafe(link_section = "boot_text")]
pub fn named(map: &MemoryRegions, wanted: fn(MemoryRegionKind) -> bool) -> Regions {
    let mut regions = Regions::new();
    for r in map.iter().filter(|r| wanted(r.kind)) {
        regions.add(r.start, r.end);
    }
    for r in map.iter().filter(|r| !wanted(r.kind)) {
        regions.remove(r.start, r.end);
    }
    regions
}
