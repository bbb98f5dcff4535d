//! Regions against a plain list of pages: whatever the memory map says, in whatever order, pages are RAM that it calls so and nothing else.

use crate::addr::PhysAddr;
use crate::ram::{MAX_REGIONS, Region, Regions};
use proptest::prelude::*;

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// The address with this number.
const fn at(number: u64) -> PhysAddr {
    PhysAddr::new(number)
}

/// Pages of the small machine that the properties are tried on.
const PAGES: u64 = 64;

/// What is done to the set: whether bytes are added or taken out, and which.
fn steps() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
    let bytes = PAGES * PAGE;
    prop::collection::vec((any::<bool>(), 0..bytes, 0..bytes / 4), 0..40)
}

proptest! {
    #[test]
    fn d22_regions_are_the_pages_that_were_added_and_not_taken_out(steps in steps(), phys in 0..PAGES * PAGE, len in 1..9 * PAGE) {
        let (mut regions, mut pages) = (Regions::new(), [false; PAGES as usize]);
        for &(adds, start, len) in &steps {
            let end = (start + len).min(PAGES * PAGE);
            let change = if adds { Regions::add } else { Regions::remove };
            change(&mut regions, at(start), at(end));
            for (page, held) in (0..).zip(&mut pages) {
                let (first, past) = (page * PAGE, (page + 1) * PAGE);
                if adds && start <= first && past <= end {
                    *held = true;
                }
                if !adds && start < end && start < past && first < end {
                    *held = false;
                }
            }
        }
        let list = regions.list();
        for pair in list.windows(2) {
            prop_assert!(pair[0].end < pair[1].start, "{list:x?}");
        }
        prop_assert!(list.iter().all(|r| r.start < r.end && r.start.offset_in_page() == 0 && r.end.offset_in_page() == 0));
        for (page, &held) in (0..).zip(&pages) {
            prop_assert_eq!(regions.hold(at(page * PAGE), PAGE), held);
            prop_assert_eq!(regions.touch(at(page * PAGE), PAGE), held);
            prop_assert_eq!(regions.hold(at(page * PAGE + PAGE - 1), 1), held);
        }
        let end = (phys + len).min(PAGES * PAGE);
        let touched = &pages[(phys / PAGE) as usize..end.div_ceil(PAGE) as usize];
        let all = phys + len <= PAGES * PAGE && touched.iter().all(|&held| held);
        prop_assert_eq!(regions.hold(at(phys), len), all, "{:#x} {:#x} {:x?}", phys, len, list);
        prop_assert_eq!(regions.touch(at(phys), len), touched.iter().any(|&held| held));
        prop_assert_eq!(regions.largest(), list.iter().map(Region::size).max().unwrap_or(0));
        prop_assert_eq!(regions.end(), list.last().map_or(at(0), |r| r.end));
    }

    #[test]
    fn what_is_taken_is_taken_once(sizes in prop::collection::vec(1..6u64, 1..20)) {
        let mut regions = Regions::new();
        regions.add(at(3 * PAGE), at(20 * PAGE));
        regions.add(at(30 * PAGE), at(60 * PAGE));
        let mut taken = [false; PAGES as usize];
        for size in sizes {
            let room = regions.list().iter().any(|r| r.size() >= size * PAGE);
            let Some(start) = regions.take(size * PAGE) else {
                prop_assert!(!room);
                continue;
            };
            prop_assert!(!regions.touch(start, size * PAGE));
            let start = start.number();
            for page in &mut taken[(start / PAGE) as usize..(start / PAGE + size) as usize] {
                prop_assert!(!core::mem::replace(page, true));
            }
        }
    }
}

#[test]
fn d22_a_hole_below_the_end_of_memory_is_no_memory() {
    // QEMU's "pc" with 4 GiB: the PCI hole lies below 4 GiB, a quarter of the memory above. The map comes in any order.
    let (mib, gib) = (1 << 20, 1 << 30);
    let mut regions = Regions::new();
    regions.add(at(4 * gib), at(5 * gib));
    regions.add(at(mib), at(3 * gib));
    regions.add(at(0), at(0x9_fc00));
    assert_eq!(regions.list().len(), 3);
    for inside in [0, 0x9_e000, mib, 3 * gib - PAGE, 4 * gib, 5 * gib - PAGE] {
        assert!(regions.hold(at(inside), PAGE), "{inside:#x}");
    }
    for outside in
        [0x9_f000, 0xa_0000, 0xb_8000, 3 * gib - PAGE + 1, 3 * gib, 0xfd00_0000, 0xfee0_0000, 4 * gib - 1, 5 * gib]
    {
        assert!(!regions.hold(at(outside), PAGE), "{outside:#x}");
    }
    assert!(!regions.hold(at(mib), 4 * gib), "it reaches over the hole");
    assert!(!regions.hold(at(4 * gib), u64::MAX), "it wraps");
    assert!(!regions.hold(at(mib), 0), "nothing is nowhere");
}

#[test]
fn what_is_reserved_is_no_memory_though_it_is_called_so_as_well() {
    let mut regions = Regions::new();
    regions.add(at(0), at(64 * PAGE));
    regions.remove(at(10 * PAGE + 5), at(10 * PAGE + 6));
    regions.remove(at(60 * PAGE), at(u64::MAX));
    regions.remove(at(7 * PAGE), at(7 * PAGE));
    assert_eq!(
        regions.list(),
        [Region { start: at(0), end: at(10 * PAGE) }, Region { start: at(11 * PAGE), end: at(60 * PAGE) }]
    );
}

#[test]
fn too_many_regions_are_left_out() {
    let mut regions = Regions::new();
    for n in 0..2 * MAX_REGIONS as u64 {
        regions.add(at(2 * n * PAGE), at((2 * n + 1) * PAGE));
    }
    assert_eq!(regions.list().len(), MAX_REGIONS);
    assert!((0..2 * MAX_REGIONS as u64).all(|n| !regions.hold(at((2 * n + 1) * PAGE), 1)), "a gap is memory");
    // Two of them become one, and there is room again.
    regions.add(at(PAGE), at(2 * PAGE));
    regions.add(at(u64::MAX - 5 * PAGE), at(u64::MAX));
    assert_eq!(regions.list().len(), MAX_REGIONS);
    regions.add(at(u64::MAX - 1), at(u64::MAX));
    regions.add(at(9), at(3));
    assert_eq!(regions.list().len(), MAX_REGIONS);
}
