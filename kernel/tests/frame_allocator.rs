//! Frames: they are memory that the boot memory map calls usable, above 1 MiB, nobody else's, each given out once, and all come back.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::paging;
use kernel::arch::ram::{self, Ram};
use kernel::{BOOT_CONFIG, klog, start, testing};
use kernel_core::addr::PhysAddr;
use kernel_core::frames::Frame;
use kernel_core::frames::{Chain, Frames};
use x86_64::instructions::port::{Port, PortWriteOnly};

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let (regions, of_kernel) = (ready.regions, ready.frames_kernel);
    let frames = RefCell::new(ready.frames);
    testing::run(&[
        ("frames_total_fits_the_machine", &|| total_fits(&frames.borrow(), regions, of_kernel)),
        ("frames_are_usable_memory_and_given_once", &|| usable_and_once(&mut frames.borrow_mut(), regions)),
        ("frames_are_not_in_use", &|| not_in_use(&mut frames.borrow_mut())),
        ("frames_hold_what_is_written", &|| hold_what_is_written(&mut frames.borrow_mut())),
        ("frames_in_a_row", &|| in_a_row(&mut frames.borrow_mut())),
        ("frames_come_back_from_every_second_place", &|| every_second(&mut frames.borrow_mut())),
        ("frames_all_came_back", &|| assert_eq!(frames.borrow().free(), frames.borrow().total())),
    ])
}

fn usable(regions: &MemoryRegions) -> impl Iterator<Item = (u64, u64)> {
    let regions = regions.iter().filter(|r| r.kind == MemoryRegionKind::Usable);
    regions.map(|r| (r.start.max(MIB).div_ceil(PAGE), r.end / PAGE)).filter(|(start, end)| start < end)
}

/// The machine's memory in bytes as QEMU's fw_cfg device tells it (item 3); `None` on another machine.
fn memory_size() -> Option<u64> {
    let mut selector = PortWriteOnly::<u16>::new(0x510);
    let mut data = Port::<u8>::new(0x511);
    let mut item = |key: u16, bytes: &mut [u8]| {
        // SAFETY: the device only hands out bytes; elsewhere nothing answers at these ports.
        unsafe {
            selector.write(key);
            bytes.iter_mut().for_each(|b| *b = data.read());
        }
    };
    let (mut signature, mut size) = ([0; 4], [0; 8]);
    item(0, &mut signature);
    item(3, &mut size);
    (&signature == b"QEMU").then(|| u64::from_le_bytes(size))
}

fn total_fits(frames: &Frames, regions: &MemoryRegions, of_kernel: u64) {
    assert_eq!(frames.free(), frames.total());
    let named: u64 = usable(regions).map(|(start, end)| end - start).sum();
    assert_eq!(frames.total() + of_kernel, named, "frames are lost at boot");
    // The heap is 4 MiB, the table of frames a three-hundredth; page tables and stacks are little.
    assert!(of_kernel < named / 200 + 5 * MIB / PAGE, "the kernel keeps {of_kernel} of {named} frames");
    let size = memory_size().expect("this test wants QEMU's fw_cfg device");
    klog!("{} MiB of memory, {} frames, {} of them the kernel's", size / MIB, named, of_kernel);
    assert!(named * PAGE <= size, "more frames than memory");
    // The first MiB, the firmware, the loader with the kernel's image and the boot archive.
    assert!(named * PAGE + 24 * MIB >= size, "{} MiB of {} are missing", (size - named * PAGE) / MIB, size / MIB);
}

/// Takes all frames, one by one.
fn take_all(frames: &mut Frames) -> Chain {
    let mut chain = Chain::default();
    while frames.alloc(&mut chain).is_some() {}
    assert_eq!((frames.free(), u64::from(chain.len())), (0, frames.total()));
    chain
}

fn give_all(frames: &mut Frames, mut chain: Chain) {
    while frames.free_first(&mut chain).is_some() {}
    assert!(chain.is_empty() && frames.free() == frames.total(), "frames are lost");
}

/// A set of frame numbers.
struct Set(Vec<u64>);

impl Set {
    /// Adds one; whether it is new.
    fn add(&mut self, frame: u64) -> bool {
        let (word, bit) = (frame as usize / 64, 1 << (frame % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn has(&self, frame: u64) -> bool {
        self.0.get(frame as usize / 64).is_some_and(|w| w & 1 << (frame % 64) != 0)
    }
}

fn usable_and_once(frames: &mut Frames, regions: &MemoryRegions) {
    let regions: Vec<_> = usable(regions).collect();
    let mut seen = Set(Vec::new());
    let chain = take_all(frames);
    for frame in frames.iter(&chain) {
        let f = u64::from(frame.number());
        assert!(regions.iter().any(|&(start, end)| (start..end).contains(&f)), "frame {f:#x} is in no usable region");
        assert!(seen.add(f), "frame {f:#x} was given out twice");
        assert!(!frames.is_free(frame));
    }
    assert!(frames.alloc(&mut Chain::default()).is_none(), "a frame beyond the last");
    give_all(frames, chain);
}

/// Frames that the kernel's half uses, as tables or mapped; the direct map's leaves are all of memory and do not count.
fn in_use(table: u64, level: u32, in_direct_map: bool, found: &mut dyn FnMut(u64)) {
    found(table / PAGE);
    for index in if level == 3 { 256..512 } else { 0..512 } {
        let at = Ram::at(PhysAddr::new(table + index * 8), 8).expect("tables are in memory").pointer().cast::<u64>();
        // SAFETY: an entry of a page table.
        let entry = unsafe { at.read() };
        let in_direct_map = in_direct_map || (level == 3 && index < 256 + 128);
        let address = entry & 0x000f_ffff_ffff_f000;
        let large = level > 0 && entry & 1 << 7 != 0;
        match entry & 1 {
            0 => {}
            _ if level == 0 || large => {
                let count = 1 << (9 * level);
                (address / PAGE..address / PAGE + count).filter(|_| !in_direct_map).for_each(&mut *found);
            }
            _ => in_use(address, level - 1, in_direct_map, found),
        }
    }
}

fn not_in_use(frames: &mut Frames) {
    let chain = take_all(frames);
    let mut given = Set(vec![0; 64]);
    for frame in frames.iter(&chain) {
        given.add(frame.number().into());
    }
    let mut count = 0;
    // Code, data, stacks, the boot archive, the loader's gifts, and every table; and what of the direct map is in use without being mapped
    // anywhere else: the heap.
    in_use(paging::kernel_root().address().number(), 3, false, &mut |frame| {
        count += 1;
        assert!(!given.has(frame), "frame {frame:#x} was given out, and the kernel uses it");
    });
    assert!(count > 50, "the kernel uses only {count} frames");
    let heap = (&raw const given.0[0]) as u64 - ram::DIRECT_MAP;
    assert!(!given.has(heap / PAGE), "a frame of the heap was given out");
    give_all(frames, chain);
}

fn hold_what_is_written(frames: &mut Frames) {
    let chain = take_all(frames);
    let word =
        |frame: Frame, offset: u64| Ram::at(frame.address().plus(offset), 8).expect("memory").pointer().cast::<u64>();
    for frame in frames.iter(&chain) {
        // SAFETY: the frame was just taken: it belongs to the test.
        unsafe {
            word(frame, 0).write(u64::from(frame.number()));
            word(frame, PAGE - 8).write(!u64::from(frame.number()));
        }
    }
    for frame in frames.iter(&chain) {
        // SAFETY: as above.
        let seen = unsafe { (word(frame, 0).read(), word(frame, PAGE - 8).read()) };
        assert_eq!(
            seen,
            (u64::from(frame.number()), !u64::from(frame.number())),
            "frame {frame} is no memory of its own"
        );
    }
    give_all(frames, chain);
}

/// The longest run that can be had, in frames, as a power of two.
fn longest(frames: &mut Frames) -> u32 {
    let mut count = 1 << 20;
    loop {
        let mut chain = Chain::default();
        if frames.alloc_contiguous(&mut chain, count).is_some() {
            give_all(frames, chain);
            return count;
        }
        count /= 2;
    }
}

fn in_a_row(frames: &mut Frames) {
    let before = longest(frames);
    assert!(before >= 1024, "no run of 4 MiB in the whole memory");
    assert_eq!(frames.alloc_contiguous(&mut Chain::default(), 1 << 28), None);
    assert_eq!(frames.alloc_contiguous(&mut Chain::default(), u32::MAX), None);
    assert_eq!(frames.alloc_contiguous(&mut Chain::default(), 0), None);
    let mut chain = Chain::default();
    let mut seen = Set(Vec::new());
    for count in [1, 2, 3, 5, 64, 100, 511, 513, 1, 7] {
        let free = frames.free();
        let had = chain.len() as usize;
        let first = frames.alloc_contiguous(&mut chain, count).expect("there is memory enough");
        assert_eq!(free - frames.free(), u64::from(count));
        let run: Vec<_> = frames.iter(&chain).skip(had).collect();
        assert_eq!(run, (first.number()..first.number() + count).map(Frame::new).collect::<Vec<_>>());
        assert!(run.iter().all(|&f| seen.add(f.number().into()) && !frames.is_free(f)), "a frame was given out twice");
    }
    give_all(frames, chain);
    assert_eq!(longest(frames), before, "the runs did not grow together again");
}

fn every_second(frames: &mut Frames) {
    let before = longest(frames);
    let heap_before = kernel::heap::usage().0;
    let mut all = take_all(frames);
    // What is freed is taken at once by the other chain, so every second frame goes to each.
    let (mut odd, mut even) = (Chain::default(), Chain::default());
    let numbers: Vec<_> = frames.iter(&all).collect();
    while frames.free_first(&mut all).is_some() {
        let to = if odd.len() == even.len() { &mut odd } else { &mut even };
        frames.alloc(to).expect("one was just freed");
    }
    assert_eq!(u64::from(odd.len() + even.len()), numbers.len() as u64);
    while frames.free_first(&mut odd).is_some() {}
    let (used, size) = kernel::heap::usage();
    klog!("{} lone free frames take {} KiB of the heap's {}", frames.free(), (used - heap_before) / 1024, size / 1024);
    assert!(used < size / 2, "fragmented memory fills the heap");
    drop(numbers);
    give_all(frames, even);
    assert_eq!(longest(frames), before, "the frames did not grow together again");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
