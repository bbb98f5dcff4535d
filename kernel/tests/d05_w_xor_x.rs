//! No page of any address space is both writable and executable, the kernel's own included; and the walk that says so finds one that is planted.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/archive.rs"]
mod archive;
#[path = "support/tables.rs"]
mod tables;

use abi::AbiNote;
use alloc::boxed::Box;
use archive::{BASE, manifest, parts, program, record, tar};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::paging::{self, UserFlags, find_writable_executable};
use kernel::arch::ram::Ram;
use kernel::{BOOT_CONFIG, klog, loader, start, testing};
use kernel_core::Row;
use kernel_core::addr::TableRoot;
use kernel_core::clock::Clock;
use tables::{NO_EXECUTE, Space, WRITABLE, change, entry};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let features = ready.features;
    if !features.nx {
        klog!("NX is not offered by this processor: the tables are checked all the same");
    }
    let archive = tar(&[("manifest", &manifest(&[record("one")])), ("bin/one", &program(&parts(), AbiNote::CURRENT))]);
    let records = abi::manifest::rules::parse(kernel_core::archive::find_file(archive, "manifest").unwrap()).unwrap();
    let mut kernel = testing::kernel(ready, records, archive, Clock::new(0, 1_000_000_000));
    loader::spawn(&mut kernel, Row::new(0), b"").expect("the task starts");
    let task = kernel.sys.task(Row::new(0)).expect("a row").root().expect("it runs");
    let frames = RefCell::new(kernel.sys.into_frames());
    testing::run(&[
        ("d05_kernel_has_none", &|| none_in(paging::kernel_root())),
        ("d05_task_has_none", &|| none_in(task)),
        ("d05_task_has_what_its_program_says", &|| task_pages(task)),
        ("d05_walk_finds_one_in_a_task", &|| planted_in_task(task)),
        ("d05_walk_finds_one_in_the_kernel", &planted_in_kernel),
        ("d05_user_pages_are_never_both", &|| never_both(&RefCell::new(Space::new(&frames)))),
        ("d05_upper_levels_count", &|| upper_levels(Space::new(&frames))),
    ])
}

fn none_in(root: TableRoot) {
    if let Some(addr) = find_writable_executable(root) {
        panic!("{addr:#x} is both writable and executable");
    }
}

fn task_pages(root: TableRoot) {
    let page = |addr| paging::inspect(root, addr).map(|(_, writable, executable)| (writable, executable));
    assert_eq!(page(BASE), Some((false, true)), "code");
    assert_eq!(page(BASE + 0x1000), Some((false, false)), "constants");
    assert_eq!(page(BASE + 0x2000), Some((true, false)), "data");
    assert_eq!(page(BASE + 0x4000), Some((true, false)), "data that the file does not fill");
    assert_eq!(page(BASE + 0x5000), None, "behind the data");
    assert_eq!(page(abi::task::INFO_ADDR), Some((false, false)), "the information page");
    assert_eq!(page(abi::task::STACK_TOP - 1), Some((true, false)), "the stack");
    assert_eq!(page(abi::task::STACK_TOP - 0x2000 - 1), None, "below the stack of two pages");
}

fn planted_in_task(root: TableRoot) {
    change(root, BASE, WRITABLE, 0);
    assert_eq!(find_writable_executable(root), Some(BASE));
    change(root, BASE, 0, WRITABLE);
    change(root, abi::task::STACK_TOP - 1, 0, NO_EXECUTE);
    assert_eq!(find_writable_executable(root), Some(abi::task::STACK_TOP - 0x1000));
    change(root, abi::task::STACK_TOP - 1, NO_EXECUTE, 0);
    none_in(root);
}

fn planted_in_kernel() {
    let root = paging::kernel_root();
    // A page of 2 MiB of the direct map, one of 4 KiB of data, and code.
    let boxed = Box::new(0_u64);
    static mut VARIABLE: u64 = 0;
    let heap = (&raw const *boxed) as u64;
    let data = (&raw const VARIABLE) as u64;
    let code = planted_in_kernel as *const () as u64;
    for (addr, set, clear) in [(heap, 0, NO_EXECUTE), (data, 0, NO_EXECUTE), (code, WRITABLE, 0)] {
        let (_, level) = entry(root, addr).expect("mapped");
        change(root, addr, set, clear);
        let size = 1 << (12 + 9 * level);
        assert_eq!(find_writable_executable(root), Some(addr & !(size - 1)), "{addr:#x}");
        change(root, addr, clear, set);
        none_in(root);
    }
}

fn never_both(space: &RefCell<Space<'_>>) {
    let both = UserFlags { writable: true, executable: true, ..UserFlags::READ };
    // Whether it is refused loudly (a debug build) or quietly mapped without the right to execute, it is never both.
    if !cfg!(debug_assertions) {
        space.borrow().map(0x40_0000, both);
        assert_eq!(paging::inspect(space.borrow().root, 0x40_0000).map(|(_, w, x)| w && x), Some(false));
    }
    for flags in [UserFlags::READ, UserFlags::DATA, UserFlags { executable: true, ..UserFlags::READ }] {
        space.borrow().map(0x40_1000, flags);
        let seen = paging::inspect(space.borrow().root, 0x40_1000).map(|(_, w, x)| (w, x));
        assert_eq!(seen, Some((flags.writable, flags.executable)));
        none_in(space.borrow().root);
    }
}

/// A page is writable only if every level says so, and executable only if none forbids it.
fn upper_levels(space: Space<'_>) {
    const PAGE: u64 = 0x40_0000;
    space.map(PAGE, UserFlags::DATA);
    change(space.root, PAGE, 0, NO_EXECUTE);
    assert_eq!(find_writable_executable(space.root), Some(PAGE));
    let top = Ram::at(space.root.address(), 8).expect("in the direct map").pointer().cast::<u64>();
    // SAFETY: the first entry of the space's own top table; nobody has loaded it.
    unsafe {
        top.write(top.read() | NO_EXECUTE);
        none_in(space.root);
        top.write(top.read() & !(NO_EXECUTE | WRITABLE));
    }
    none_in(space.root);
    assert_eq!(paging::inspect(space.root, PAGE).map(|(_, w, x)| (w, x)), Some((false, true)));
    space.give_back();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
