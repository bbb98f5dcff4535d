//! A machine with a hole below the end of its memory, as every PC with more than 3 GiB has one: what a task has mapped there is no memory for
//! the kernel, by whatever way it is named. The hole is cut into the boot memory map before the kernel reads it.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/tables.rs"]
mod tables;

use abi::Status;
use alloc::vec;
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::paging::{self, UserFlags, inspect, kernel_root};
use kernel::arch::ram::{self, DIRECT_MAP, Ram};
use kernel::usermem::{self, Reader, Side};
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::addr::{PhysAddr, UserAddr};
use kernel_core::frames::{Chain, Frames};
use kernel_core::memory::Caching;
use tables::{Space, bytes};

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
/// Bytes of the hole. It neither begins nor ends where a large page does, so that no such page may reach into it.
const SIZE: u64 = 0x11_3000;
/// Where a task has a page of RAM, a page of the hole, and one of RAM again.
const AT: u64 = 0x40_0000;
const HOLE_AT: u64 = AT + PAGE;

/// Cuts the hole into the largest usable region, behind memory that the loader has used; returns where it begins.
fn cut(regions: &mut MemoryRegions) -> u64 {
    let usable = |r: &&mut bootloader_api::info::MemoryRegion| r.kind == MemoryRegionKind::Usable;
    let largest = regions.iter_mut().filter(usable).max_by_key(|r| r.end - r.start).expect("some memory");
    assert!(largest.end - largest.start > 4 * SIZE, "the largest region is too small");
    let hole = largest.start;
    largest.start += SIZE;
    hole
}

fn main(boot: &'static mut BootInfo) -> ! {
    let hole = cut(&mut boot.memory_regions);
    let ready = start::init_memory(boot);
    let frames = RefCell::new(ready.frames);
    testing::run(&[
        ("d22_a_hole_is_not_in_the_direct_map", &|| not_mapped(hole)),
        ("d22_no_frame_lies_in_a_hole", &|| no_frame(&mut frames.borrow_mut(), hole)),
        ("d22_no_copy_reaches_a_hole", &|| no_copy(&frames, hole)),
        ("d22_no_copy_goes_on_over_a_hole", &|| no_copy_over(&frames, hole)),
        ("d22_what_is_reserved_is_no_memory", &reserved),
    ])
}

fn not_mapped(hole: u64) {
    for phys in (hole..hole + SIZE).step_by(PAGE as usize) {
        assert_eq!(inspect(kernel_root(), DIRECT_MAP + phys), None, "{phys:#x}");
        assert_eq!(Ram::at(PhysAddr::new(phys), 1), None, "{phys:#x}");
    }
    for (phys, len) in [(hole - PAGE, PAGE + 1), (hole + SIZE - 1, 2), (hole, SIZE), (hole - PAGE, SIZE + 2 * PAGE)] {
        assert_eq!(Ram::at(PhysAddr::new(phys), len), None, "{len:#x} bytes at {phys:#x}");
    }
    assert!(
        Ram::at(PhysAddr::new(hole + SIZE), PAGE).is_some()
            && inspect(kernel_root(), DIRECT_MAP + hole + SIZE).is_some()
    );
    assert!(!ram::regions().touch(PhysAddr::new(hole), SIZE), "no task may have a range there");
    assert!(ram::regions().touch(PhysAddr::new(hole), SIZE + 1), "a task may have a range in memory");
}

fn no_frame(frames: &mut Frames, hole: u64) {
    let mut chain = Chain::default();
    while let Some(frame) = frames.alloc(&mut chain) {
        let phys = frame.address();
        assert!(
            Ram::at(phys, PAGE).is_some() && !(hole..hole + SIZE).contains(&phys.number()),
            "{phys:#x} was given out"
        );
    }
    while frames.free_first(&mut chain).is_some() {}
}

/// An address space with memory, the hole as a device's range is mapped, and memory.
fn space(frames: &RefCell<Frames>, hole: u64, caching: Caching) -> (Space<'_>, [PhysAddr; 2]) {
    let space = Space::new(frames);
    let device = UserFlags { caching, ..UserFlags::DATA };
    let memory = [AT, AT + 2 * PAGE].map(|at| space.map(at, UserFlags::DATA));
    space.map_frame(HOLE_AT, PhysAddr::new(hole), device);
    (space, memory)
}

fn no_copy(frames: &RefCell<Frames>, hole: u64) {
    let places = [hole, hole + SIZE / 2 / PAGE * PAGE, hole + SIZE - PAGE, 0xfd00_0000, 0xfee0_0000, 0xb_8000];
    let types = [Caching::Uncached, Caching::WriteCombining];
    for (phys, caching) in places.into_iter().flat_map(|phys| types.map(|caching| (phys, caching))) {
        let (space, _) = space(frames, phys, caching);
        let root = space.root;
        assert_eq!(
            paging::translate_user(root, UserAddr::new(HOLE_AT), true),
            Some(PhysAddr::new(phys)),
            "the task has it"
        );
        for at in [HOLE_AT, HOLE_AT + 8, HOLE_AT + PAGE - 8] {
            let mut own = [7; 8];
            assert_eq!(usermem::read(root, UserAddr::new(at), &mut own), Err(Status::BadAddress));
            assert!(!usermem::read_in_page(root, UserAddr::new(at), &mut own));
            assert_eq!(usermem::write(root, UserAddr::new(at), &own), Err(Status::BadAddress));
            assert!(!usermem::write_in_page(root, UserAddr::new(at), &own));
            assert_eq!(usermem::poke(root, UserAddr::new(at), &own), Err(Status::BadAddress));
            assert_eq!(usermem::copy(root, UserAddr::new(at), root, UserAddr::new(AT), 8), Err(Side::From));
            assert_eq!(usermem::copy(root, UserAddr::new(AT), root, UserAddr::new(at), 8), Err(Side::To));
            // What a backtrace and the bytes of code in a death's record are read with.
            let mut reader = Reader::new(root);
            assert_eq!((reader.some(UserAddr::new(at), &mut own), reader.pair(UserAddr::new(at))), (0, None));
            assert!(reader.pair(UserAddr::new(AT)).is_some());
            assert_eq!((reader.some(UserAddr::new(at), &mut own), reader.pair(UserAddr::new(at))), (0, None));
            assert_eq!(own, [7; 8], "{at:#x} of {phys:#x} was read");
        }
        space.give_back();
    }
}

fn no_copy_over(frames: &RefCell<Frames>, hole: u64) {
    let (space, [first, last]) = space(frames, hole, Caching::Uncached);
    let mut own = vec![7; 3 * PAGE as usize];
    assert_eq!(usermem::read(space.root, UserAddr::new(AT), &mut own), Err(Status::BadAddress));
    assert_eq!(usermem::write(space.root, UserAddr::new(AT), &own), Err(Status::BadAddress));
    assert!(bytes(last).iter().all(|&b| b == 0), "what lies behind the hole was written");
    assert!(own[PAGE as usize..].iter().all(|&b| b == 7), "what lies in or behind the hole was read");
    bytes(first).fill(0);
    assert_eq!(Reader::new(space.root).some(UserAddr::new(AT + PAGE - 16), &mut own), 16);
    assert_eq!(
        usermem::copy(space.root, UserAddr::new(AT + PAGE - 16), space.root, UserAddr::new(AT), 32),
        Err(Side::From)
    );
    space.give_back();
}

/// Real memory maps overlap: what any other entry names as well is not the kernel's.
fn reserved() {
    use bootloader_api::info::MemoryRegion;
    let region = |start, end, kind| MemoryRegion { start, end, kind };
    let list = vec![
        region(0x80_0000, 0x90_0000, MemoryRegionKind::UnknownBios(2)),
        region(0x10_0000, 0x100_0000, MemoryRegionKind::Usable),
        region(0x20_0000, 0x30_0000, MemoryRegionKind::Bootloader),
        region(0x40_0800, 0x40_0801, MemoryRegionKind::UnknownUefi(11)),
    ]
    .leak();
    let map: MemoryRegions = list.into();
    let usable = ram::named(&map, |kind| kind == MemoryRegionKind::Usable);
    let found = usable.list().iter().map(|r| (r.start.number(), r.end.number()));
    let wanted = [(0x10_0000, 0x20_0000), (0x30_0000, 0x40_0000), (0x40_1000, 0x80_0000), (0x90_0000, 0x100_0000)];
    assert!(found.eq(wanted), "{:x?}", usable.list());
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
