//! Memory objects (frames, a granted physical range, or the boot archive) and their mappings.

use crate::addr::{PhysAddr, UserAddr};
use crate::arena::Id;
use crate::frames::Chain;
use crate::row::Row;
use abi::manifest::Grant;

/// The memory type with which memory is mapped (Intel SDM vol. 3A, section 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Write-back: cached. For RAM, and nothing else.
    WriteBack,
    /// Uncached: each access reaches the device, in the order of the program. For registers.
    Uncached,
    /// Write-combining: not cached, but writes are collected and may reach the device together and
    /// in another order. For frame buffers.
    WriteCombining,
}

impl Caching {
    /// The memory type of a task's physical range. `flags` are those of its grant. `combines` tells
    /// whether the processor lets a page choose write-combining; if not, the range is mapped
    /// uncached, which is slower but always correct.
    pub const fn of_range(flags: u32, combines: bool) -> Caching {
        if combines && flags & Grant::WRITE_COMBINING != 0 { Caching::WriteCombining } else { Caching::Uncached }
    }
}

/// The physical memory of a memory object.
#[derive(Debug)]
pub enum Backing {
    /// Frames that belong to the object.
    Frames(Chain),
    /// A physical range: device memory, or the boot archive.
    Physical {
        /// The first physical address, aligned to a page.
        base: PhysAddr,
        /// The memory type with which the range is mapped.
        caching: Caching,
    },
}

/// A memory object, which tasks name by handles and map.
#[derive(Debug)]
pub struct Memory {
    /// Size of the object in pages.
    pub pages: u32,
    /// The physical memory of the object.
    pub backing: Backing,
    /// The first physical address of a contiguous object or of a device's range; `None` for other
    /// objects, the boot archive included.
    pub physical: Option<PhysAddr>,
    /// The number of handles that name the object.
    pub handles: u32,
    /// The number of mappings of the object.
    pub mappings: u32,
    /// The row to which the object belongs over all lives (`keep` and physical ranges), if any.
    /// Such an object is never freed.
    pub kept_by: Option<Row>,
}

/// A mapping of a memory object in a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address of the mapping.
    pub addr: UserAddr,
    /// The size of the mapping in pages.
    pub pages: u32,
    /// The memory object that is mapped.
    pub memory: Id<Memory>,
    /// Whether the page tables of the mapping are being filled or cleared.
    pub changing: bool,
}

impl Mapping {
    /// The address after the last byte.
    pub fn end(&self) -> UserAddr {
        self.addr.plus(u64::from(self.pages) * abi::PAGE_SIZE as u64)
    }
}
