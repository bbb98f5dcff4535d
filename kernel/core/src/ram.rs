//! The regions of RAM, in ascending order, made of the entries of the boot memory map, which may be
//! unordered and may overlap.

use crate::addr::PhysAddr;

/// The most regions. Adjacent ones are merged, so a machine has only a few.
pub const MAX_REGIONS: usize = 64;

/// A range of whole pages of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The first physical address.
    pub start: PhysAddr,
    /// The physical address after the last byte.
    pub end: PhysAddr,
}

impl Region {
    const NONE: Region = Region { start: PhysAddr::new(0), end: PhysAddr::new(0) };

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.end.since(self.start)
    }

    /// Whether the `len` bytes from physical address `phys` on, at least one, all lie in the
    /// region.
    #[inline(always)]
    pub fn holds(&self, phys: PhysAddr, len: u64) -> bool {
        // No sum is computed, as it could overflow.
        phys >= self.start && phys < self.end && len <= self.end.since(phys) && len != 0
    }
}

/// A set of pages. The caller first [adds](Regions::add) all that belongs to it, then
/// [removes](Regions::remove) what does not.
#[derive(Clone, Debug)]
pub struct Regions {
    /// The regions in ascending order. None is empty, and no two touch or overlap.
    list: [Region; MAX_REGIONS],
    count: usize,
    /// The largest region, which is checked first, as most lookups are in it.
    largest: Region,
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    /// The empty set.
    pub const fn new() -> Self {
        Regions { list: [Region::NONE; MAX_REGIONS], count: 0, largest: Region::NONE }
    }

    /// The regions, in ascending order.
    pub fn list(&self) -> &[Region] {
        self.list.get(..self.count).unwrap_or_default()
    }

    /// The physical address after the last byte of the last region; 0 if there is none.
    pub fn end(&self) -> PhysAddr {
        self.list().last().map_or(PhysAddr::new(0), |r| r.end)
    }

    /// Adds the whole pages between two addresses. If the set has [`MAX_REGIONS`] regions already,
    /// the pages are left out, as unused memory does no harm.
    pub fn add(&mut self, start: PhysAddr, end: PhysAddr) {
        let Some(mut start) = start.rounded_up() else { return };
        let mut end = end.rounded_down();
        if start >= end {
            return;
        }
        // Regions that the new one touches are merged into it.
        let (mut kept, old, count) = (0, self.list, self.count);
        let mut at = 0;
        for r in old.iter().take(count) {
            if r.end < start || r.start > end {
                self.put(kept, *r);
                kept += 1;
                at += usize::from(r.end < start);
            } else {
                (start, end) = (start.min(r.start), end.max(r.end));
            }
        }
        self.count = kept;
        self.insert(at, Region { start, end });
    }

    /// Removes every page that has a byte between two addresses.
    pub fn remove(&mut self, start: PhysAddr, end: PhysAddr) {
        if start >= end {
            return;
        }
        let start = start.rounded_down();
        let end = end.rounded_up().unwrap_or(PhysAddr::new(u64::MAX).rounded_down());
        let (old, count) = (self.list, self.count);
        self.count = 0;
        for r in old.iter().take(count) {
            let (before, after) = (r.end.min(start), r.start.max(end));
            for part in [Region { start: r.start, end: before }, Region { start: after, end: r.end }] {
                if part.start < part.end {
                    self.insert(self.count, part);
                }
            }
        }
        self.measure();
    }

    fn put(&mut self, at: usize, region: Region) {
        if let Some(place) = self.list.get_mut(at) {
            *place = region;
        }
    }

    fn insert(&mut self, at: usize, region: Region) {
        if self.count < MAX_REGIONS && at <= self.count {
            self.list.copy_within(at..self.count, at + 1);
            self.put(at, region);
            self.count += 1;
        }
        self.measure();
    }

    fn measure(&mut self) {
        self.largest = Region::NONE;
        for r in self.list.iter().take(self.count) {
            if r.size() > self.largest.size() {
                self.largest = *r;
            }
        }
    }

    /// Whether all of these bytes, at least one, belong to the set.
    #[inline(always)]
    pub fn hold(&self, phys: PhysAddr, len: u64) -> bool {
        self.largest.holds(phys, len) || self.list().iter().any(|r| r.holds(phys, len))
    }

    /// Whether any of these bytes belongs to the set.
    pub fn touch(&self, phys: PhysAddr, len: u64) -> bool {
        self.list().iter().any(|r| phys < r.end && r.start < phys.saturating_plus(len))
    }

    /// The size of the largest region in bytes.
    pub fn largest(&self) -> u64 {
        self.largest.size()
    }

    /// Removes `len` bytes, a multiple of the page size, from the start of the lowest region that
    /// has as many. Returns their first address.
    pub fn take(&mut self, len: u64) -> Option<PhysAddr> {
        let place = self.list().iter().position(|r| r.size() >= len)?;
        let region = self.list.get_mut(place)?;
        let start = region.start;
        region.start = start.checked_plus(len)?;
        if region.start == region.end {
            self.list.copy_within(place + 1..self.count, place);
            self.count -= 1;
        }
        self.measure();
        Some(start)
    }
}
