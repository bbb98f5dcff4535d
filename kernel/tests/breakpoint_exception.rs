//! A breakpoint in the kernel is counted and logged, and the code behind it runs, with its registers.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use core::sync::atomic::Ordering;
use kernel::trap::KERNEL_BREAKPOINTS;
use kernel::{BOOT_CONFIG, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    start::init_memory(boot);
    testing::run(&[
        ("breakpoint_returns", &breakpoint_returns),
        ("breakpoint_keeps_registers", &breakpoint_keeps_registers),
    ])
}

fn breakpoint_returns() {
    let before = KERNEL_BREAKPOINTS.load(Ordering::Relaxed);
    for n in 1..=3 {
        x86_64::instructions::interrupts::int3();
        assert_eq!(KERNEL_BREAKPOINTS.load(Ordering::Relaxed), before + n);
    }
}

fn breakpoint_keeps_registers() {
    let mut r = [11_u64, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132, 143];
    let (stack_before, stack_after): (u64, u64);
    // SAFETY: the handler returns behind `int3` with all registers as they were; that is what is tested. rbx is saved around, as it
    // cannot be named.
    unsafe {
        core::arch::asm!(
            "push rbx", "mov rbx, 12345", "push rbp", "mov rbp, rsp", "mov {before}, rsp",
            "int3",
            "mov {after}, rsp", "pop rbp", "cmp rbx, 12345", "pop rbx", "je 2f", "xor eax, eax", "2:",
            before = out(reg) stack_before, after = out(reg) stack_after,
            inout("rax") r[0], inout("rcx") r[1], inout("rdx") r[2], inout("rsi") r[3], inout("rdi") r[4], inout("r8") r[5],
            inout("r9") r[6], inout("r10") r[7], inout("r11") r[8], inout("r12") r[9], inout("r13") r[10],
        );
    }
    assert_eq!(r, [11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, 132, 143]);
    assert_eq!(stack_before, stack_after);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
