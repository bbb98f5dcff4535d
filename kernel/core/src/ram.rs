//! Where RAM is: the regions of the boot memory map, in order, whatever order and overlaps they came with.

/// Most regions that are kept apart. Neighbours become one, so a machine has a handful.
pub const MAX_REGIONS: usize = 64;

const PAGE: u64 = abi::PAGE_SIZE as u64;

/// Adjacent whole pages of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Region {
    const NONE: Region = Region { start: 0, end: 0 };

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the `len` bytes from `phys` on, at least one, all lie in here.
    #[inline(always)]
    pub fn holds(&self, phys: u64, len: u64) -> bool {
        // No sum, which could wrap.
        phys >= self.start && phys < self.end && len <= self.end - phys && len != 0
    }
}

/// A set of pages: [`Regions::add`] all that belongs to it first, then [`Regions::remove`] what does not.
#[derive(Clone, Debug)]
pub struct Regions {
    /// In ascending order; none is empty, touches or overlaps another.
    list: [Region; MAX_REGIONS],
    count: usize,
    /// The largest: what is asked for is nearly always in there.
    largest: Region,
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    /// None.
    pub const fn new() -> Self {
        Regions { list: [Region::NONE; MAX_REGIONS], count: 0, largest: Region::NONE }
    }

    /// The regions, in ascending order.
    pub fn list(&self) -> &[Region] {
        self.list.get(..self.count).unwrap_or_default()
    }

    /// One past the last byte of all.
    pub fn end(&self) -> u64 {
        self.list().last().map_or(0, |r| r.end)
    }

    /// Adds the whole pages between two addresses. Where there are too many regions already, they are left out: memory that is not used
    /// does no harm.
    pub fn add(&mut self, start: u64, end: u64) {
        let Some(mut start) = start.checked_next_multiple_of(PAGE) else { return };
        let mut end = end & !(PAGE - 1);
        if start >= end {
            return;
        }
        // What it touches becomes part of it.
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

    /// Takes out every page that has a byte between two addresses.
    pub fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let start = start & !(PAGE - 1);
        let end = end.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1));
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
    pub fn hold(&self, phys: u64, len: u64) -> bool {
        self.largest.holds(phys, len) || self.list().iter().any(|r| r.holds(phys, len))
    }

    /// Whether any of these bytes belongs to the set.
    pub fn touch(&self, phys: u64, len: u64) -> bool {
        self.list().iter().any(|r| phys < r.end && r.start < phys.saturating_add(len))
    }

    /// Bytes of the largest region.
    pub fn largest(&self) -> u64 {
        self.largest.size()
    }

    /// Takes `len` bytes, whole pages, from the start of the lowest region that has so many; returns where they are.
    pub fn take(&mut self, len: u64) -> Option<u64> {
        let place = self.list().iter().position(|r| r.size() >= len)?;
        let region = self.list.get_mut(place)?;
        let start = region.start;
        region.start = start.checked_add(len)?;
        if region.start == region.end {
            self.list.copy_within(place + 1..self.count, place);
            self.count -= 1;
        }
        self.measure();
        Some(start)
    }
}
