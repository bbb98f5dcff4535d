//! The machine's memory: what the hypervisor says of it, what this program has used, and what of it the kernel is told.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Entries of the hypervisor's memory map that are looked at; QEMU has about a dozen.
pub const MOST: usize = 32;
/// Regions that the kernel can be told of: each entry is cut in at most seven places.
pub const MOST_REGIONS: usize = 128;
/// Frames are taken from here on: below lie the firmware's tables.
const LOW_END: u64 = 0x10_0000;
/// E820 type of memory that can be used (ACPI 6.4, section 15).
const RAM: u32 = 1;

/// An entry of the memory map: physical addresses, and the E820 type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// What it is.
    pub kind: u32,
}

/// The memory map, in ascending order, and what is taken of it.
pub struct Memory {
    entries: [Entry; MOST],
    count: usize,
    /// What must not be taken: this program, and the module.
    kept: [Range<u64>; 2],
    /// Frames below this, from [`LOW_END`] on, are taken.
    next: u64,
    /// Frames from here on cannot be reached by this program.
    limit: u64,
}

impl Memory {
    /// From the hypervisor's map, of which no more than [`MOST`] entries are looked at. `kept` is not given out; nor is what lies at
    /// `limit` or above.
    pub fn new(map: impl Iterator<Item = Entry>, kept: [Range<u64>; 2], limit: u64) -> Self {
        let mut this = Memory { entries: [Entry::default(); MOST], count: 0, kept, next: LOW_END, limit };
        for entry in map.filter(|entry| entry.start < entry.end).take(MOST) {
            this.entries[this.count] = entry;
            this.count += 1;
        }
        this.entries[..this.count].sort_unstable_by_key(|entry| entry.start);
        this
    }

    /// Takes a frame: its physical address. `None` where there is none left.
    pub fn take(&mut self) -> Option<u64> {
        loop {
            let frame = self.next;
            if frame >= self.limit {
                return None;
            }
            self.next = frame + PAGE;
            let overlaps = |range: &Range<u64>| range.start < frame + PAGE && frame < range.end;
            let of_kind = |ram: bool| {
                move |entry: &&Entry| (entry.kind == RAM) == ram && entry.start < frame + PAGE && frame < entry.end
            };
            let entries = &self.entries[..self.count];
            let inside = entries.iter().any(|e| e.kind == RAM && e.start <= frame && frame + PAGE <= e.end);
            if inside && entries.iter().find(of_kind(false)).is_none() && !self.kept.iter().any(overlaps) {
                return Some(frame);
            }
            // On to the next entry that is memory, where this one is over.
            if entries.iter().find(of_kind(true)).is_none() {
                self.next = entries.iter().filter(|e| e.kind == RAM && e.start > frame).map(|e| e.start).min()?;
                self.next = self.next.next_multiple_of(PAGE);
            }
        }
    }

    /// What the kernel is told, in ascending order: everything that was taken, or is kept, is the boot loader's. Returns how many regions.
    pub fn describe(&self, regions: &mut [MemoryRegion; MOST_REGIONS]) -> usize {
        let mut count = 0;
        let mut covered = 0;
        for entry in &self.entries[..self.count] {
            let mut at = entry.start.max(covered);
            while at < entry.end && count < regions.len() {
                let end = self.cuts().into_iter().filter(|&cut| at < cut && cut < entry.end).min().unwrap_or(entry.end);
                let kind = match entry.kind {
                    RAM if self.is_used(at) => MemoryRegionKind::Bootloader,
                    RAM => MemoryRegionKind::Usable,
                    other => MemoryRegionKind::UnknownBios(other),
                };
                regions[count] = MemoryRegion { start: at, end, kind };
                count += 1;
                at = end;
            }
            covered = covered.max(entry.end);
        }
        count
    }

    fn is_used(&self, at: u64) -> bool {
        (LOW_END..self.next).contains(&at) || self.kept.iter().any(|range| range.contains(&at))
    }

    /// Where used memory begins or ends.
    fn cuts(&self) -> [u64; 6] {
        let [a, b] = &self.kept;
        [LOW_END, self.next, a.start, a.end, b.start, b.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn regions(memory: &Memory) -> Vec<MemoryRegion> {
        let mut regions = [MemoryRegion::empty(); MOST_REGIONS];
        let count = memory.describe(&mut regions);
        regions[..count].to_vec()
    }

    #[test]
    fn a_machine_of_qemus() {
        let map = [
            Entry { start: 0, end: 0x9fc00, kind: RAM },
            Entry { start: 0x9fc00, end: 0xa0000, kind: 2 },
            Entry { start: 0xf0000, end: 0x10_0000, kind: 2 },
            Entry { start: 0x10_0000, end: 0x7fe_0000, kind: RAM },
            Entry { start: 0xfffc_0000, end: 0x1_0000_0000, kind: 2 },
        ];
        let mut memory = Memory::new(map.into_iter(), [0x10_0000..0x10_9000, 0x7f0_0000..0x7fd_f000], 1 << 32);
        assert_eq!((memory.take(), memory.take()), (Some(0x10_9000), Some(0x10_a000)));
        let told: Vec<_> = regions(&memory).iter().map(|r| (r.start, r.end, r.kind)).collect();
        let usable = MemoryRegionKind::Usable;
        let ours = MemoryRegionKind::Bootloader;
        assert_eq!(
            told,
            [
                (0, 0x9fc00, usable),
                (0x9fc00, 0xa0000, MemoryRegionKind::UnknownBios(2)),
                (0xf0000, 0x10_0000, MemoryRegionKind::UnknownBios(2)),
                (0x10_0000, 0x10_9000, ours),
                (0x10_9000, 0x10_b000, ours),
                (0x10_b000, 0x7f0_0000, usable),
                (0x7f0_0000, 0x7fd_f000, ours),
                (0x7fd_f000, 0x7fe_0000, usable),
                (0xfffc_0000, 0x1_0000_0000, MemoryRegionKind::UnknownBios(2)),
            ]
        );
    }

    #[test]
    fn where_memory_is_used_up_nothing_is_given() {
        let map = [
            Entry { start: 0x10_0000, end: 0x10_3000, kind: RAM },
            Entry { start: 0x20_0000, end: 0x20_1800, kind: RAM },
        ];
        let mut memory = Memory::new(map.into_iter(), [0x10_1000..0x10_1001, 0..0], 1 << 32);
        let taken: Vec<_> = std::iter::from_fn(|| memory.take()).collect();
        assert_eq!(taken, [0x10_0000, 0x10_2000, 0x20_0000]);
    }

    proptest! {
        /// Whatever the hypervisor says, however its entries overlap: what is taken is memory, once, and is told as the boot loader's.
        #[test]
        fn nothing_is_taken_twice_or_told_as_free(
            map in prop::collection::vec((0u64..80, 0u64..40, 1u32..3), 0..12), kept in any::<[(u8, u8); 2]>(), takes in 0usize..40
        ) {
            let entry = |(start, len, kind)| Entry { start: 0xf_8000 + start * 0x800, end: 0xf_8000 + (start + len) * 0x800, kind };
            let entries: Vec<Entry> = map.into_iter().map(entry).collect();
            let kept = kept.map(|(start, len)| 0x10_0000 + u64::from(start) * 0x400..0x10_0000 + (u64::from(start) + u64::from(len)) * 0x400);
            let mut memory = Memory::new(entries.iter().copied(), kept.clone(), 1 << 32);
            let taken: Vec<u64> = (0..takes).map_while(|_| memory.take()).collect();
            for (n, &frame) in taken.iter().enumerate() {
                prop_assert!(frame % PAGE == 0 && frame >= LOW_END && !taken[..n].contains(&frame));
                prop_assert!(entries.iter().any(|e| e.kind == RAM && e.start <= frame && frame + PAGE <= e.end));
                prop_assert!(!entries.iter().any(|e| e.kind != RAM && e.start < e.end && e.start < frame + PAGE && frame < e.end));
                prop_assert!(!kept.iter().any(|k| k.start < k.end && k.start < frame + PAGE && frame < k.end));
            }
            let told = regions(&memory);
            prop_assert!(told.is_sorted_by(|a, b| a.end <= b.start));
            for region in told.iter().filter(|region| region.kind == MemoryRegionKind::Usable) {
                prop_assert!(!taken.iter().any(|&f| f < region.end && region.start < f + PAGE));
                prop_assert!(!kept.iter().any(|k| k.start < region.end && region.start < k.end && k.start < k.end));
            }
        }
    }
}
