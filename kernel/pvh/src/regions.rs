//! The machine's memory: the hypervisor's memory map, the frames that this program has used, and
//! the kernel's memory map made of both.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;

/// Size of a page, in bytes.
const PAGE: u64 = 4096;
/// Most entries of the hypervisor's memory map that are read; QEMU has about a dozen.
pub const MOST: usize = 32;
/// Most regions of the kernel's memory map: each entry is divided at no more than six addresses.
pub const MOST_REGIONS: usize = 128;
/// Physical address from which on frames are taken: the firmware's tables are below.
const LOW_END: u64 = 0x10_0000;
/// E820 type of memory that can be used (ACPI 6.4, section 15).
const RAM: u32 = 1;

/// An entry of the memory map: physical addresses, and the E820 type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Address of the first byte.
    pub start: u64,
    /// Address after the last byte.
    pub end: u64,
    /// E820 type of the memory.
    pub kind: u32,
}

/// The memory map, in ascending order, and which frames are taken.
pub struct Memory {
    entries: [Entry; MOST],
    count: usize,
    /// Memory that must not be taken: this program, and the module.
    kept: [Range<u64>; 2],
    /// Frames from [`LOW_END`] up to this address are taken.
    next: u64,
    /// Address from which on this program cannot access memory.
    limit: u64,
}

impl Memory {
    /// Takes the hypervisor's memory map, of which at most [`MOST`] entries are read. Frames in
    /// `kept`, or at `limit` or above, are not given out.
    pub fn new(map: impl Iterator<Item = Entry>, kept: [Range<u64>; 2], limit: u64) -> Self {
        let mut this = Memory { entries: [Entry::default(); MOST], count: 0, kept, next: LOW_END, limit };
        for entry in map.filter(|entry| entry.start < entry.end).take(MOST) {
            this.entries[this.count] = entry;
            this.count += 1;
        }
        this.entries[..this.count].sort_unstable_by_key(|entry| entry.start);
        this
    }

    /// Takes a frame and returns its physical address; `None` if there is none left.
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
            // This entry is used up: continues with the next one that is memory.
            if entries.iter().find(of_kind(true)).is_none() {
                self.next = entries.iter().filter(|e| e.kind == RAM && e.start > frame).map(|e| e.start).min()?;
                self.next = self.next.next_multiple_of(PAGE);
            }
        }
    }

    /// Writes the kernel's memory map in ascending order: frames that were taken or kept belong to
    /// the boot loader. Returns the number of regions.
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

    /// The addresses at which used memory begins or ends.
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
        /// For any map of the hypervisor, even with overlapping entries: frames that are taken are
        /// memory, are taken once, and belong to the boot loader in the kernel's map.
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
