//! Every address that a task can name and must not use gives an error, and every byte of the others is copied, across pages too.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/tables.rs"]
mod tables;

use abi::Status;
use abi::task::USER_END;
use alloc::vec;
use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::paging::{self, UserFlags};
use kernel::arch::ram::{self, Ram};
use kernel::usermem::{self, Side};
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::addr::TableRoot;
use kernel_core::addr::{PhysAddr, UserAddr};
use kernel_core::frames::Frames;
use tables::{HUGE, NO_EXECUTE, Space, USER, WRITABLE, bytes, change};

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
/// Three writable pages in a row; before and behind them nothing is mapped.
const DATA: u64 = 0x40_0000;
const DATA_END: u64 = DATA + 3 * PAGE;
/// A writable page, then a read-only one, then a writable one.
const MIXED: u64 = 0x7f00_0000_0000;
const READ_ONLY: u64 = MIXED + PAGE;
/// A page that the task's tables map for the kernel alone.
const SUPERVISOR: u64 = 0x1_0000_0000;
/// A page that maps a device's registers, which no direct map covers.
const DEVICE: u64 = 0x2_0000_0000;
/// A 2 MiB page, which the kernel never makes for a task.
const LARGE: u64 = 0x3_0000_0000;
/// The last page that a task may use.
const LAST: u64 = USER_END - PAGE;

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let frames = RefCell::new(ready.frames);
    testing::run(&[
        ("d02_bytes_within_a_page", &|| within_a_page(&frames)),
        ("d02_bytes_across_pages", &|| across_pages(&frames)),
        ("d02_bytes_from_task_to_task", &|| from_task_to_task(&frames)),
        ("d02_overlapping_copy", &|| overlapping_copy(&frames)),
        ("d02_bad_addresses_are_refused", &|| bad_addresses(&frames)),
        ("d02_read_only_is_read_and_not_written", &|| read_only(&frames)),
        ("d02_straddling_a_bad_page", &|| straddling(&frames)),
        ("d02_copy_names_the_bad_side", &|| bad_sides(&frames)),
        ("d02_nothing_is_no_access", &|| nothing(&frames)),
        ("d02_a_reader_finds_each_address_by_its_own_table", &|| reader(&frames)),
        ("d02_all_frames_came_back", &|| assert_eq!(frames.borrow().free(), frames.borrow().total())),
    ])
}

/// The space and the frames of `DATA`'s pages, which lie in memory in another order than in the address space.
fn space(frames: &RefCell<Frames>) -> (Space<'_>, [PhysAddr; 3]) {
    let space = Space::new(frames);
    let pages = [space.frame(), space.frame(), space.frame()];
    let pages = [pages[2], pages[0], pages[1]];
    for (n, frame) in pages.into_iter().enumerate() {
        space.map_frame(DATA + n as u64 * PAGE, frame, UserFlags::DATA);
    }
    space.map(MIXED, UserFlags::DATA);
    space.map(READ_ONLY, UserFlags::READ);
    space.map(READ_ONLY + PAGE, UserFlags::DATA);
    space.map(SUPERVISOR, UserFlags::DATA);
    change(space.root, SUPERVISOR, 0, USER);
    space.map_frame(DEVICE, PhysAddr::new(0xfee0_0000), UserFlags::DATA);
    space.map(LARGE, UserFlags::DATA);
    large(space.root);
    space.map(LAST, UserFlags::DATA);
    (space, pages)
}

/// Makes the table that maps `LARGE` a 2 MiB page at physical 0, with every right.
fn large(root: TableRoot) {
    let mut table = root.address().number();
    for level in [3, 2] {
        // SAFETY: a page table that `map_user` made, in the direct map.
        let entry = unsafe {
            Ram::at(PhysAddr::new(table + (LARGE >> (12 + 9 * level) & 511) * 8), 8)
                .unwrap()
                .pointer()
                .cast::<u64>()
                .read()
        };
        table = entry & 0x000f_ffff_ffff_f000;
    }
    // SAFETY: as above. Only the tests use this address space, and nobody loads it.
    unsafe {
        Ram::at(PhysAddr::new(table + (LARGE >> 21 & 511) * 8), 8)
            .unwrap()
            .pointer()
            .cast::<u64>()
            .write(HUGE | USER | WRITABLE | NO_EXECUTE | 1)
    };
}

/// What was read last ends where the next page table's part of the address space begins: what follows is not looked up in the table before.
fn reader(frames: &RefCell<Frames>) {
    const EDGE: u64 = 0x60_0000;
    let (space, [_, second, _]) = space(frames);
    let (before, behind) = (space.frame(), space.frame());
    space.map_frame(EDGE - PAGE, before, UserFlags::DATA);
    space.map_frame(EDGE + PAGE, behind, UserFlags::DATA);
    for (frame, byte) in [(second, 2), (before, 3), (behind, 4)] {
        bytes(frame).fill(byte);
    }
    let words = |byte: u8| Some([u64::from_ne_bytes([byte; 8]); 2]);
    let mut eight = [0; 8];
    let mut sixteen = [0; 16];
    let mut reader = usermem::Reader::new(space.root);
    assert_eq!(reader.some(UserAddr::new(EDGE - 8), &mut eight), 8);
    // The page of the same number in the part before is `second`.
    assert_eq!(reader.pair(UserAddr::new(EDGE + PAGE)), words(4));
    assert_eq!(reader.pair(UserAddr::new(DATA + PAGE)), words(2));
    // A piece that goes on over the edge, where nothing is mapped.
    assert_eq!(reader.some(UserAddr::new(EDGE - 8), &mut sixteen), 8);
    assert_eq!(reader.pair(UserAddr::new(DATA + PAGE)), words(2));
    assert_eq!(reader.some(UserAddr::new(EDGE - 8), &mut sixteen), 8);
    assert_eq!(reader.pair(UserAddr::new(EDGE + PAGE)), words(4));
    // A part of the address space that has no table, and then one that has.
    assert_eq!(reader.pair(UserAddr::new(EDGE + 0x20_0000)), None);
    assert_eq!(reader.pair(UserAddr::new(EDGE + 0x20_1000)), None);
    assert_eq!(reader.pair(UserAddr::new(EDGE + PAGE)), words(4));
    space.give_back();
}

/// Bytes that differ from page to page and from place to place.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| ((n + seed) * 31 + (n + seed) / 251) as u8).collect()
}

fn within_a_page(frames: &RefCell<Frames>) {
    let (space, [first, ..]) = space(frames);
    for (offset, len) in [(0, 1), (0, 4096), (4095, 1), (123, 45), (8, 8)] {
        bytes(first).fill(0xee);
        let data = pattern(len, offset);
        assert_eq!(usermem::write(space.root, UserAddr::new(DATA + offset as u64), &data), Ok(()));
        assert_eq!(&bytes(first)[offset..offset + len], data);
        let touched = |n: usize| (offset..offset + len).contains(&n);
        assert!((0..4096).all(|n| touched(n) || bytes(first)[n] == 0xee), "bytes beside {offset}+{len} were written");
        let mut back = vec![0; len];
        assert_eq!(usermem::read(space.root, UserAddr::new(DATA + offset as u64), &mut back), Ok(()));
        assert_eq!(back, data);
    }
    assert_eq!(usermem::write(space.root, UserAddr::new(LAST + PAGE - 1), b"!"), Ok(()));
    space.give_back();
}

fn across_pages(frames: &RefCell<Frames>) {
    let (space, pages) = space(frames);
    for (offset, len) in [(4095, 2), (4000, 4096), (0, 3 * 4096), (1, 2 * 4096 + 4094), (4096, 4097)] {
        pages.into_iter().for_each(|p| bytes(p).fill(0xee));
        let data = pattern(len, offset);
        assert_eq!(usermem::write(space.root, UserAddr::new(DATA + offset as u64), &data), Ok(()));
        let seen: Vec<u8> = pages.into_iter().flat_map(|p| bytes(p).to_vec()).collect();
        assert_eq!(&seen[offset..offset + len], data);
        assert!(
            seen[..offset].iter().chain(&seen[offset + len..]).all(|&b| b == 0xee),
            "bytes beside {offset}+{len} were written"
        );
        let mut back = vec![0; len];
        assert_eq!(usermem::read(space.root, UserAddr::new(DATA + offset as u64), &mut back), Ok(()));
        assert_eq!(back, data);
    }
    space.give_back();
}

fn from_task_to_task(frames: &RefCell<Frames>) {
    let (one, pages) = space(frames);
    let (other, others) = space(frames);
    let data = pattern(3 * 4096, 7);
    assert_eq!(usermem::write(one.root, UserAddr::new(DATA), &data), Ok(()));
    // Different offsets in their pages on both sides.
    for (from, to, len) in [(0, 0, 3 * 4096), (100, 3000, 8000), (4095, 1, 2), (1, 4095, 8192)] {
        others.into_iter().for_each(|p| bytes(p).fill(0xee));
        assert_eq!(
            usermem::copy(one.root, UserAddr::new(DATA + from), other.root, UserAddr::new(DATA + to), len),
            Ok(())
        );
        let seen: Vec<u8> = others.into_iter().flat_map(|p| bytes(p).to_vec()).collect();
        let (from, to) = (from as usize, to as usize);
        assert_eq!(seen[to..to + len], data[from..from + len]);
        assert!(seen[..to].iter().chain(&seen[to + len..]).all(|&b| b == 0xee), "bytes beside {to}+{len} were written");
    }
    let kept: Vec<u8> = pages.into_iter().flat_map(|p| bytes(p).to_vec()).collect();
    assert_eq!(kept, data);
    one.give_back();
    other.give_back();
}

fn overlapping_copy(frames: &RefCell<Frames>) {
    let (space, [first, ..]) = space(frames);
    let data = pattern(100, 0);
    bytes(first)[..100].copy_from_slice(&data);
    assert_eq!(usermem::copy(space.root, UserAddr::new(DATA), space.root, UserAddr::new(DATA + 10), 90), Ok(()));
    assert_eq!(&bytes(first)[10..100], &data[..90]);
    space.give_back();
}

/// First bytes that no task may touch, and lengths with which they are tried.
fn bad() -> Vec<(u64, usize)> {
    static MINE: u64 = 1;
    let kernel_code = space as *const () as u64;
    let lone = [
        0,
        1,
        PAGE - 1,
        DATA - 1,
        DATA_END,
        SUPERVISOR,
        DEVICE,
        LARGE,
        LARGE + 4096,
        USER_END,
        0x7fff_ffff_ffff,
        // Not canonical.
        0x8000_0000_0000,
        DATA | 1 << 47,
        DATA | 1 << 48,
        DATA | 1 << 63,
        0xffff_7fff_ffff_ffff,
        // The kernel's.
        ram::DIRECT_MAP,
        0xffff_ff00_0000_1000,
        kernel_code,
        (&raw const MINE) as u64,
        u64::MAX - 7,
        u64::MAX,
    ];
    let mut bad: Vec<_> = lone.into_iter().flat_map(|addr| [(addr, 1), (addr, 8), (addr, 5000)]).collect();
    // These wrap around to good addresses, or would if anything added without looking.
    bad.extend([(u64::MAX - PAGE + 1, 8192), (u64::MAX - 99, 100), (u64::MAX - 99, 101)]);
    bad
}

fn bad_addresses(frames: &RefCell<Frames>) {
    let (space, _) = space(frames);
    for (addr, len) in bad() {
        let mut buffer = vec![0x55; len];
        assert_eq!(
            usermem::read(space.root, UserAddr::new(addr), &mut buffer),
            Err(Status::BadAddress),
            "read {addr:#x}+{len}"
        );
        assert!(buffer.iter().all(|&b| b == 0x55), "something was read from {addr:#x}");
        assert_eq!(
            usermem::write(space.root, UserAddr::new(addr), &buffer),
            Err(Status::BadAddress),
            "write {addr:#x}+{len}"
        );
    }
    space.give_back();
}

fn read_only(frames: &RefCell<Frames>) {
    let (space, _) = space(frames);
    let frame = paging::translate_user(space.root, UserAddr::new(READ_ONLY), false).expect("mapped");
    bytes(frame).copy_from_slice(&pattern(4096, 3));
    let mut back = [0; 100];
    assert_eq!(usermem::read(space.root, UserAddr::new(READ_ONLY + 50), &mut back), Ok(()));
    assert_eq!(back, pattern(4096, 3)[50..150]);
    for (addr, len) in [(READ_ONLY, 1), (READ_ONLY + 4095, 1), (READ_ONLY, 4096), (READ_ONLY + 4095, 2)] {
        assert_eq!(usermem::write(space.root, UserAddr::new(addr), &vec![0; len]), Err(Status::BadAddress));
        assert_eq!(usermem::copy(space.root, UserAddr::new(DATA), space.root, UserAddr::new(addr), len), Err(Side::To));
    }
    assert_eq!(bytes(frame), pattern(4096, 3), "read-only memory was written");
    // A page is writable only if all levels of its tables say so.
    change(space.root, READ_ONLY, WRITABLE, 0);
    assert_eq!(usermem::write(space.root, UserAddr::new(READ_ONLY), b"x"), Ok(()));
    space.give_back();
}

fn straddling(frames: &RefCell<Frames>) {
    let (space, _) = space(frames);
    let mut buffer = vec![0; 3 * 4096];
    for (addr, len) in
        [(DATA_END - 1, 2), (DATA_END - 4096, 4097), (DATA, 3 * 4096 + 1), (LAST + 4000, 97), (DATA - 1, 2)]
    {
        buffer.resize(len, 0);
        assert_eq!(
            usermem::read(space.root, UserAddr::new(addr), &mut buffer),
            Err(Status::BadAddress),
            "read {addr:#x}+{len}"
        );
        assert_eq!(
            usermem::write(space.root, UserAddr::new(addr), &buffer),
            Err(Status::BadAddress),
            "write {addr:#x}+{len}"
        );
    }
    // Good, bad for writing, good.
    buffer.resize(4098, 0);
    assert_eq!(usermem::read(space.root, UserAddr::new(READ_ONLY - 1), &mut buffer), Ok(()));
    assert_eq!(usermem::write(space.root, UserAddr::new(READ_ONLY - 1), &buffer), Err(Status::BadAddress));
    // Pages go away, and their addresses with them.
    paging::unmap(space.root, UserAddr::new(DATA + PAGE));
    buffer.resize(3 * 4096, 0);
    assert_eq!(usermem::read(space.root, UserAddr::new(DATA), &mut buffer), Err(Status::BadAddress));
    assert_eq!(usermem::read(space.root, UserAddr::new(DATA + 2 * PAGE), &mut buffer[..4096]), Ok(()));
    space.give_back();
}

fn bad_sides(frames: &RefCell<Frames>) {
    let (one, _) = space(frames);
    let (other, _) = space(frames);
    for (addr, len) in bad() {
        assert_eq!(
            usermem::copy(one.root, UserAddr::new(addr), other.root, UserAddr::new(DATA), len),
            Err(Side::From),
            "from {addr:#x}+{len}"
        );
        assert_eq!(
            usermem::copy(one.root, UserAddr::new(DATA), other.root, UserAddr::new(addr), len),
            Err(Side::To),
            "to {addr:#x}+{len}"
        );
    }
    assert_eq!(
        usermem::copy(one.root, UserAddr::new(DATA_END - 10), other.root, UserAddr::new(DATA), 11),
        Err(Side::From)
    );
    assert_eq!(
        usermem::copy(one.root, UserAddr::new(DATA), other.root, UserAddr::new(DATA_END - 10), 11),
        Err(Side::To)
    );
    // Each side is looked up in its own tables.
    paging::unmap(one.root, UserAddr::new(DATA));
    assert_eq!(usermem::copy(one.root, UserAddr::new(DATA), other.root, UserAddr::new(DATA), 1), Err(Side::From));
    assert_eq!(usermem::copy(other.root, UserAddr::new(DATA), one.root, UserAddr::new(DATA), 1), Err(Side::To));
    one.give_back();
    other.give_back();
}

fn nothing(frames: &RefCell<Frames>) {
    let (space, _) = space(frames);
    for addr in [0, DATA, DATA_END, u64::MAX, 1 << 47] {
        assert_eq!(usermem::read(space.root, UserAddr::new(addr), &mut []), Ok(()));
        assert_eq!(usermem::write(space.root, UserAddr::new(addr), &[]), Ok(()));
        assert_eq!(usermem::copy(space.root, UserAddr::new(addr), space.root, UserAddr::new(addr), 0), Ok(()));
    }
    space.give_back();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
