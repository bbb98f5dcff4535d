//! Double fault, NMI and machine check arrive on stacks of their own, however broken the running one is, and each is reported.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use core::cell::Cell;
use kernel::arch::paging::{self, KernelFlags};
use kernel::arch::stacks::{self, Stack};
use kernel::testing::{Report, expect_report};
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::addr::PhysAddr;
use kernel_core::frames::Chain;

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let mut ready = start::init_memory(boot);
    let mut chain = Chain::default();
    let mut frame = || paging::zero(ready.frames.alloc(&mut chain).expect("a frame is free"));
    // The local APIC, behind the stacks' slots (Intel SDM vol. 3A, section 10.4.1).
    // SAFETY: nothing else lies there; the registers are the tests' own.
    unsafe { paging::map_kernel(APIC, PhysAddr::new(0xfee0_0000), KernelFlags::DATA, &mut frame) };
    testing::run(&[
        ("d19_double_fault", &double_fault),
        ("d19_nmi_by_instruction", &nmi_by_instruction),
        ("d19_nmi_by_the_interrupt_controller", &nmi_by_the_apic),
        ("d19_machine_check", &machine_check),
        ("d19_panic_within_a_panic_ends", &panic_within_a_panic),
    ])
}

/// Where the local APIC is mapped.
const APIC: u64 = stacks::BASE + 0x80_0000;

fn on(stack: Stack, report: &Report) {
    let range = stack.bottom()..stack.top().as_u64();
    assert!(range.contains(&report.stack), "reported on {:#x}, not on the {stack:?} stack", report.stack);
}

/// Stack pointers with which nothing can be pushed: null, not mapped, not canonical, the kernel's own code.
fn broken_stacks() -> [u64; 4] {
    [0, 0x1000, 0x8000_0000_0000, (broken_stacks as *const () as u64 & !15) + 64]
}

fn double_fault() {
    for rsp in broken_stacks() {
        // SAFETY: ends in a report; the test goes on with its own stack.
        let report = expect_report(|| unsafe { asm!("mov rsp, {}", "ud2", in(reg) rsp, options(noreturn)) });
        assert!(report.says("KERNEL PANIC: double fault (#DF) in the kernel\nvector 8 error 0x0 "), "{}", report.text);
        assert_eq!(report.number("rsp"), rsp, "{}", report.text);
        on(Stack::DoubleFault, &report);
    }
}

fn nmi_by_instruction() {
    for rsp in broken_stacks() {
        // SAFETY: as above.
        let report = expect_report(|| unsafe { asm!("mov rsp, {}", "int 2", in(reg) rsp, options(noreturn)) });
        assert!(report.says("KERNEL PANIC: non-maskable interrupt\nvector 2 error 0x0 "), "{}", report.text);
        on(Stack::Nmi, &report);
    }
}

fn nmi_by_the_apic() {
    // Twice, with interrupts off: the second shows that the first did not close the door for good.
    for _ in 0..2 {
        let waited = Cell::new(0_u64);
        let report = expect_report(|| {
            // SAFETY: the page maps the local APIC. Identification, then the interrupt command register: delivery mode NMI, level
            // asserted, to this core alone (Intel SDM vol. 3A, section 10.6.1).
            unsafe {
                let id = (APIC as *const u32).byte_add(0x20).read_volatile();
                (APIC as *mut u32).byte_add(0x310).write_volatile(id);
                (APIC as *mut u32).byte_add(0x300).write_volatile(0x4400);
            }
            while waited.get() < 100_000_000 {
                waited.set(core::hint::black_box(waited.get()) + 1);
            }
        });
        assert!(report.says("KERNEL PANIC: non-maskable interrupt\nvector 2 error 0x0 "), "{}", report.text);
        on(Stack::Nmi, &report);
    }
}

fn machine_check() {
    for rsp in broken_stacks() {
        // SAFETY: as above.
        let report = expect_report(|| unsafe { asm!("mov rsp, {}", "int 18", in(reg) rsp, options(noreturn)) });
        assert!(
            report.says("KERNEL PANIC: machine check (#MC) in the kernel\nvector 18 error 0x0 "),
            "{}",
            report.text
        );
        on(Stack::MachineCheck, &report);
    }
}

fn panic_within_a_panic() {
    struct Bad;
    impl core::fmt::Display for Bad {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("about to fail")?;
            panic!("while reporting")
        }
    }
    let report = expect_report(|| kernel::panic::report(format_args!("{Bad}"), None));
    assert!(report.text.ends_with("KERNEL PANIC: about to fail"), "{}", report.text);
    // And the next report is whole again.
    let report = expect_report(|| kernel::panic::report(format_args!("plain"), None));
    assert!(report.text.starts_with("\nKERNEL PANIC: plain\nbacktrace:\n  at "), "{}", report.text);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
