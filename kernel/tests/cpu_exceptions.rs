//! Exceptions of the kernel's own code: each is reported by its name, with its vector and error code.
#![no_std]
#![no_main]

extern crate alloc;

use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use kernel::testing::{Report, expect_report};
use kernel::{BOOT_CONFIG, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    start::init_memory(boot);
    testing::run(&[
        ("divide_error", &divide_error),
        ("invalid_opcode", &invalid_opcode),
        ("device_not_available", &device_not_available),
        ("general_protection_non_canonical", &non_canonical),
        ("general_protection_vector_without_gate", &vector_without_gate),
        ("machine_goes_on_to_the_next_test", &|| assert_eq!(core::hint::black_box(6) * 7, 42)),
    ])
}

fn check(report: &Report, name: &str, vector: u64, error: u64) {
    let expected = alloc::format!("KERNEL PANIC: {name} in the kernel\nvector {vector} error {error:#x} ");
    assert!(report.says(&expected), "not {expected:?}: {}", report.text);
}

fn divide_error() {
    // SAFETY: faults before it has any effect.
    let report = expect_report(|| unsafe { asm!("xor edx, edx", "mov eax, 1", "div edx", out("rax") _, out("rdx") _) });
    check(&report, "divide error (#DE)", 0, 0);
}

fn invalid_opcode() {
    // SAFETY: faults before it has any effect.
    let report = expect_report(|| unsafe { asm!("ud2") });
    check(&report, "invalid opcode (#UD)", 6, 0);
}

fn device_not_available() {
    // A task without floating-point state, and the kernel, must not touch the unit: CR0.TS is set.
    // SAFETY: faults before it has any effect.
    let report = expect_report(|| unsafe { asm!("fninit") });
    check(&report, "device not available (#NM)", 7, 0);
}

fn non_canonical() {
    for addr in [0x8000_0000_0000_u64, 0xffff_7fff_ffff_fff8, 0xdead_beef_0000_0000] {
        // SAFETY: faults before it has any effect.
        let report = expect_report(|| unsafe { asm!("mov rax, [{}]", in(reg) addr, out("rax") _) });
        check(&report, "general protection (#GP)", 13, 0);
    }
}

fn vector_without_gate() {
    // The table ends behind the sixteen lines and the vector of spurious interrupts; 0x80 is what other systems use for their calls.
    for report in [
        // SAFETY: there are no such gates, so these fault.
        expect_report(|| unsafe { asm!("int 0x31") }),
        // SAFETY: as above.
        expect_report(|| unsafe { asm!("int 0x80") }),
        // SAFETY: as above.
        expect_report(|| unsafe { asm!("int 0xff") }),
    ] {
        assert!(report.says("KERNEL PANIC: general protection (#GP) in the kernel\nvector 13 "), "{}", report.text);
        // The error code names a gate of the IDT (Intel SDM vol. 3A, section 6.13). Its index is left out here: QEMU 7.2 counts it in units
        // of sixteen bytes, not of eight.
        assert_eq!(report.number("error") & 7, 2, "{}", report.text);
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
