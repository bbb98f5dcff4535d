//! The processor holds the kernel itself to its page tables: user pages are neither read, written nor executed by mistake (SMAP, SMEP),
//! read-only pages are not written (WP), data is not executed (NX). Each fault has a counterpart that shows the same access succeed where it may.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/tables.rs"]
mod tables;

use alloc::boxed::Box;
use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use core::cell::RefCell;
use kernel::arch::cpu::Features;
use kernel::arch::paging::{self, UserFlags};
use kernel::arch::ram;
use kernel::testing::{Report, expect_report};
use kernel::{BOOT_CONFIG, klog, start, testing};
use kernel_core::addr::AddressSpace;
use kernel_core::frames::Frames;
use tables::{Space, bytes};
use x86_64::instructions::tlb;

entry_point!(main, config = &BOOT_CONFIG);

/// Bits of a page fault's error code (Intel SDM vol. 3A, figure 4-12).
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

const USER_PAGE: u64 = 0x40_0000;
const USER_CODE: u64 = 0x40_1000;
/// `ret`.
const RET: u8 = 0xc3;

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let features = ready.features;
    let frames = RefCell::new(ready.frames);
    testing::run(&[
        ("d04_smap_kernel_does_not_read_user_pages", &|| smap(&frames, features, false)),
        ("d04_smap_kernel_does_not_write_user_pages", &|| smap(&frames, features, true)),
        ("d04_smep_kernel_does_not_execute_user_pages", &|| smep(&frames, features)),
        ("d04_wp_kernel_does_not_write_its_code", &wp_code),
        ("d04_wp_kernel_does_not_write_its_constants", &wp_constants),
        ("d04_nx_kernel_does_not_execute_its_data", &|| nx(features)),
    ])
}

fn page_fault(report: &Report, addr: u64, error: u64) {
    assert!(report.says("page fault (#PF) in the kernel\nvector 14 "), "{}", report.text);
    assert_eq!((report.number("cr2"), report.number("error")), (addr, error), "{}", report.text);
}

fn read(addr: u64) -> u64 {
    let value;
    // SAFETY: the caller's address is mapped, or the access faults and has no effect.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) addr, options(nostack, preserves_flags)) };
    value
}

fn write(addr: u64, value: u64) {
    // SAFETY: the caller's address is mapped and its own to write, or the access faults and has no effect.
    unsafe { asm!("mov [{}], {}", in(reg) addr, in(reg) value, options(nostack, preserves_flags)) };
}

fn call(addr: u64) {
    // SAFETY: a `ret` lies there, or the fetch faults.
    unsafe { asm!("call {}", in(reg) addr) };
}

/// Runs code in an address space of its own.
fn within(space: AddressSpace, f: impl FnOnce()) {
    paging::switch(space);
    f();
    paging::switch_to_kernel();
}

fn smap(frames: &RefCell<Frames>, features: Features, writes: bool) {
    let space = Space::new(frames);
    let frame = space.map(USER_PAGE, UserFlags::DATA);
    bytes(frame)[..8].copy_from_slice(&42_u64.to_le_bytes());
    within(space.space, || {
        if features.smap {
            // With AC set the access may be: so the page is there, and it is SMAP alone that forbids it.
            let value;
            // SAFETY: the page is mapped; AC is clear again before anything else happens.
            unsafe { asm!("stac", "mov {}, [{}]", "clac", out(reg) value, in(reg) USER_PAGE) };
            assert_eq!(42_u64, value);
            if writes {
                page_fault(&expect_report(|| write(USER_PAGE, 1)), USER_PAGE, PRESENT | WRITE);
            } else {
                page_fault(&expect_report(|| assert_eq!(read(USER_PAGE), 42)), USER_PAGE, PRESENT);
            }
        } else {
            klog!("SMAP is not offered by this processor: nothing to see here but that the page is there");
            assert_eq!(read(USER_PAGE), 42);
        }
    });
    assert_eq!(bytes(frame)[0], 42);
    space.give_back();
}

fn smep(frames: &RefCell<Frames>, features: Features) {
    let space = Space::new(frames);
    let code = space.map(USER_CODE, UserFlags { executable: true, ..UserFlags::READ });
    bytes(code)[0] = RET;
    within(space.space, || {
        if features.smep {
            page_fault(&expect_report(|| call(USER_CODE)), USER_CODE, PRESENT | FETCH);
            // Without SMEP it runs: so it is SMEP alone that forbids it.
            with_cr4_clear(1 << 20, || call(USER_CODE));
        } else {
            klog!("SMEP is not offered by this processor: nothing to see here but that the page runs");
            call(USER_CODE);
        }
    });
    space.give_back();
}

/// Runs code with bits of CR4 clear.
fn with_cr4_clear(bits: u64, f: impl FnOnce()) {
    // SAFETY: the bits are protections, which the code does without for a moment; the tests are all that runs.
    unsafe { asm!("mov {t}, cr4", "and {t}, {m}", "mov cr4, {t}", t = out(reg) _, m = in(reg) !bits) };
    f();
    // SAFETY: as above, the other way round.
    unsafe { asm!("mov {t}, cr4", "or {t}, {m}", "mov cr4, {t}", t = out(reg) _, m = in(reg) bits) };
}

fn wp_code() {
    let addr = wp_code as *const () as u64;
    let before = read(addr);
    page_fault(&expect_report(|| write(addr, !before)), addr, PRESENT | WRITE);
    assert_eq!(read(addr), before);
}

static CONSTANT: u64 = 0x1234_5678;

fn wp_constants() {
    let addr = (&raw const CONSTANT) as u64;
    page_fault(&expect_report(|| write(addr, 0)), addr, PRESENT | WRITE);
    assert_eq!(read(addr), 0x1234_5678);
    // Without WP the write would go through: so it is WP that protects.
    // SAFETY: WP is off for two stores, which write what is there already.
    unsafe {
        asm!(
            "mov {t}, cr0", "btr {t}, 16", "mov cr0, {t}",
            "mov qword ptr [{a}], 0x12345678",
            "bts {t}, 16", "mov cr0, {t}",
            t = out(reg) _, a = in(reg) addr,
        );
    }
}

fn nx(features: Features) {
    if !features.nx {
        klog!("NX is not offered by this processor: data can be executed");
        return;
    }
    static mut VARIABLE: [u8; 8] = [RET; 8];
    let local = [RET; 8];
    let boxed = Box::new([RET; 8]);
    static TABLE: [u8; 8] = [RET; 8];
    let places = [
        ("the heap", boxed.as_ptr().addr() as u64),
        ("the stack", core::hint::black_box(&local).as_ptr().addr() as u64),
        ("a variable", (&raw const VARIABLE) as u64),
        ("a constant", TABLE.as_ptr().addr() as u64),
    ];
    for (what, addr) in places {
        klog!("calling {what} at {addr:#x}");
        page_fault(&expect_report(|| call(addr)), addr, PRESENT | FETCH);
    }
    // The kernel's own code runs at its own address, but not at that of its frame in the direct map.
    let code = just_return as *const () as u64;
    just_return();
    let (phys, ..) = paging::inspect(paging::kernel_root(), code).expect("code is mapped");
    let alias = ram::DIRECT_MAP + phys.number();
    assert_eq!(read(alias), read(code));
    page_fault(&expect_report(|| call(alias)), alias, PRESENT | FETCH);
    // With the bit gone from the entry it runs: so it is NX alone that forbids it.
    let heap = places[0].1;
    tables::change(paging::kernel_root(), heap, 0, tables::NO_EXECUTE);
    call(heap);
    tables::change(paging::kernel_root(), heap, tables::NO_EXECUTE, 0);
    tlb::flush_all();
    page_fault(&expect_report(|| call(heap)), heap, PRESENT | FETCH);
}

#[inline(never)]
extern "C" fn just_return() {
    core::hint::black_box(());
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
