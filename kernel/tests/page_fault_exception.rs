//! An access that the page tables do not allow reaches the kernel's handler, which reports the address and the kind of access.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use kernel::arch::paging;
use kernel::testing::expect_report;
use kernel::{BOOT_CONFIG, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    start::init_memory(boot);
    testing::run(&[
        ("read_of_unmapped_memory", &read_of_unmapped_memory),
        ("write_of_unmapped_memory", &write_of_unmapped_memory),
        ("jump_to_unmapped_memory", &jump_to_unmapped_memory),
    ])
}

/// The null page, the lower half, the gap below the stacks, the recursive slot that is gone, the end of everything.
const UNMAPPED: [u64; 6] =
    [0, 0xdead_bee0, 0x7fff_ffff_fff8, 0xffff_fe7f_ffff_fff8, paging::RECURSIVE_ADDR, 0xffff_ffff_ffff_f000];

/// Bits of a page fault's error code (Intel SDM vol. 3A, figure 4-12).
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

fn check(report: &testing::Report, addr: u64, error: u64) {
    assert!(report.says("page fault (#PF) in the kernel\nvector 14 "), "{}", report.text);
    assert_eq!(report.number("cr2"), addr, "{}", report.text);
    assert_eq!(report.number("error"), error, "{}", report.text);
}

fn read_of_unmapped_memory() {
    for addr in UNMAPPED {
        let report = expect_report(|| {
            // SAFETY: nothing is mapped there, so nothing is read: the access faults.
            unsafe { core::arch::asm!("mov rax, [{}]", in(reg) addr, out("rax") _) }
        });
        check(&report, addr, 0);
    }
}

fn write_of_unmapped_memory() {
    for addr in UNMAPPED {
        let report = expect_report(|| {
            // SAFETY: nothing is mapped there, so nothing is written: the access faults.
            unsafe { core::arch::asm!("mov qword ptr [{}], 1", in(reg) addr) }
        });
        check(&report, addr, WRITE);
    }
}

fn jump_to_unmapped_memory() {
    let fetch = if kernel::arch::cpu::features().nx { FETCH } else { 0 };
    for addr in UNMAPPED {
        let report = expect_report(|| {
            // SAFETY: nothing is mapped there, so nothing is executed: the fetch faults.
            unsafe { core::arch::asm!("call {}", in(reg) addr) }
        });
        check(&report, addr, fetch);
        assert_eq!(report.number("rip"), addr);
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
