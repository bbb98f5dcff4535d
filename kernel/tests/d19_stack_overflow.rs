//! A kernel stack that overflows runs into its guard page, and that is what the report says, instead of a reset.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use core::hint::black_box;
use kernel::arch::paging;
use kernel::arch::stacks::{self, Stack};
use kernel::testing::{Report, expect_report};
use kernel::{BOOT_CONFIG, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

/// The guard page below the stack on which the loader enters.
const BOOT_GUARD: u64 = 0xffff_ff00_0000_0000;
const PAGE: u64 = 4096;

fn main(boot: &'static mut BootInfo) -> ! {
    start::init_memory(boot);
    testing::run(&[
        ("d19_guard_pages_are_not_mapped", &guard_pages),
        ("d19_overflow_of_the_kernel_stack", &|| overflow_of(Stack::Kernel)),
        ("d19_overflow_of_the_nmi_stack", &|| overflow_of(Stack::Nmi)),
        ("d19_overflow_of_the_boot_stack", &overflow_of_the_boot_stack),
        ("d19_stack_works_after_an_overflow", &|| assert_eq!(deep(100), 5050)),
    ])
}

fn guard_pages() {
    let mapped =
        |addr| paging::inspect(paging::kernel_root(), addr).map(|(_, writable, executable)| (writable, executable));
    for stack in [Stack::Kernel, Stack::DoubleFault, Stack::Nmi, Stack::MachineCheck] {
        let (bottom, top) = (stack.bottom(), stack.top().as_u64());
        assert_eq!(mapped(bottom - 1), None, "below the {stack:?} stack");
        assert_eq!(mapped(bottom - PAGE), None, "below the {stack:?} stack");
        assert_eq!(mapped(bottom), Some((true, false)));
        assert_eq!(mapped(top - 1), Some((true, false)));
        assert_eq!(mapped(top), None, "above the {stack:?} stack");
        assert_eq!((stacks::guard_of(bottom - 1), stacks::guard_of(bottom)), (Some(stack), None));
    }
    assert_eq!(mapped(BOOT_GUARD), None);
    assert_eq!(mapped(BOOT_GUARD + PAGE), Some((true, false)));
    assert!(!kernel::boot_stack_holds(BOOT_GUARD + PAGE - 1) && kernel::boot_stack_holds(BOOT_GUARD + PAGE));
}

#[expect(unconditional_recursion, reason = "that is what is tested")]
#[inline(never)]
extern "C" fn endless(n: u64) -> u64 {
    let local = black_box([n; 16]);
    endless(n + 1) + black_box(local)[3]
}

#[inline(never)]
fn deep(n: u64) -> u64 {
    if n == 0 { 0 } else { black_box(n) + deep(n - 1) }
}

/// Calls a function on a stack of its own, from where it never comes back.
fn on_stack(top: u64, f: extern "C" fn(u64) -> u64) -> ! {
    // SAFETY: the stack is mapped and unused, and `f` is called as the System V ABI wants it: rsp aligned before the call.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "xor edi, edi", "call {}", "ud2", in(reg) top, in(reg) f, options(noreturn))
    }
}

fn check(report: &Report, name: &str, guard: u64) {
    assert!(report.says("KERNEL PANIC: kernel stack overflow ("), "{}", report.text);
    assert!(report.says(name) && report.says("reported by double fault (#DF)"), "{}", report.text);
    let cr2 = report.number("cr2");
    assert!((guard..guard + PAGE).contains(&cr2), "CR2 {cr2:#x} is not in the guard page {guard:#x}");
    // The report was written on a stack that still has room.
    let own = Stack::DoubleFault;
    assert!((own.bottom()..own.top().as_u64()).contains(&report.stack), "reported on {:#x}", report.stack);
    // The backtrace shows the recursion, as deep as it goes.
    let start = endless as *const () as u64;
    let within = report.backtrace().filter(|a| (start..start + 128).contains(a)).count();
    assert!(within >= 20, "{within} lines of the recursion: {}", report.text);
}

fn overflow_of(stack: Stack) {
    let report = expect_report(|| on_stack(stack.top().as_u64(), endless));
    let name = if stack == Stack::Kernel { "(Kernel stack)" } else { "(Nmi stack)" };
    check(&report, name, stack.bottom() - PAGE);
}

fn overflow_of_the_boot_stack() {
    // Here the recursion eats the stack that the test itself runs on, from its own frame downwards.
    let report = expect_report(|| {
        black_box(endless(0));
    });
    check(&report, "(boot stack)", BOOT_GUARD);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
