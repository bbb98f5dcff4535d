//! What the kernel says when it dies: cause, registers and a backtrace, by the way that a real panic goes.
#![no_std]
#![no_main]

extern crate alloc;

use bootloader_api::{BootInfo, entry_point};
use core::hint::black_box;
use kernel::panic::Exit;
use kernel::testing::expect_report;
use kernel::{BOOT_CONFIG, start, testing};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    start::init_memory(boot);
    testing::run(&[
        ("panic_says_what_and_where", &panic_says_what_and_where),
        ("exception_says_registers", &exception_says_registers),
        ("backtrace_names_the_callers", &backtrace_names_the_callers),
        ("backtrace_survives_a_wild_frame_pointer", &backtrace_survives_a_wild_frame_pointer),
        ("exit_codes", &exit_codes),
    ])
}

fn panic_says_what_and_where() {
    let line = line!() + 1;
    let report = expect_report(|| panic!("the flux is {}", black_box(88)));
    assert!(report.text.starts_with("\nKERNEL PANIC: panicked at "), "{}", report.text);
    assert!(report.says("panic_report.rs:") && report.says(&alloc::format!(":{line}:")), "{}", report.text);
    assert!(report.says("the flux is 88"), "{}", report.text);
    assert!(report.backtrace().count() >= 3, "{}", report.text);
    assert!(report.says("The machine is stopped."), "{}", report.text);
}

fn exception_says_registers() {
    let report = expect_report(|| {
        // SAFETY: none of it is ever used again: `ud2` ends in a report, and the test goes on with registers of its own.
        unsafe {
            core::arch::asm!(
                "mov r8, 8",
                "mov r9, 9",
                "mov r10, 10",
                "mov r11, 11",
                "mov r12, 12",
                "mov r13, 13",
                "mov r14, 14",
                "mov r15, 15",
                "mov rax, 0x1111",
                "mov rbx, 0x2222",
                "mov rcx, 0x3333",
                "mov rdx, 0x4444",
                "mov rsi, 0x5555",
                "mov rdi, 0x6666",
                "ud2",
                options(noreturn)
            )
        }
    });
    for (name, value) in
        [("rax", 0x1111), ("rbx", 0x2222), ("rcx", 0x3333), ("rdx", 0x4444), ("rsi", 0x5555), ("rdi", 0x6666)]
    {
        assert_eq!(report.number(name), value, "{name} in {}", report.text);
    }
    for (n, name) in ["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"].into_iter().enumerate() {
        assert_eq!(report.number(name), n as u64 + 8, "{name} in {}", report.text);
    }
    assert!(report.says("KERNEL PANIC: invalid opcode (#UD) in the kernel\nvector 6 error 0x0 "), "{}", report.text);
    assert_eq!((report.number("cs"), report.number("ss")), (0x08, 0x10));
    assert!(
        kernel::boot_stack_holds(report.number("rsp")) && kernel::boot_stack_holds(report.number("rbp")),
        "{}",
        report.text
    );
    // What lies at rip is the instruction.
    // SAFETY: the processor has just executed this address, so it is mapped.
    let code = unsafe { (report.number("rip") as *const [u8; 2]).read_unaligned() };
    assert_eq!(code, [0x0f, 0x0b], "rip does not point to ud2");
}

#[inline(never)]
extern "C" fn innermost() {
    // SAFETY: ends in a report.
    unsafe { core::arch::asm!("ud2") };
    black_box(1);
}

#[inline(never)]
extern "C" fn middle() {
    black_box(innermost as extern "C" fn())();
    black_box(2);
}

#[inline(never)]
extern "C" fn outer() {
    black_box(middle as extern "C" fn())();
    black_box(3);
}

fn backtrace_names_the_callers() {
    let report = expect_report(|| outer());
    let functions = [innermost as extern "C" fn(), middle, outer];
    for (n, (addr, function)) in report.backtrace().zip(functions).enumerate() {
        let start = function as *const () as u64;
        assert!((start..start + 64).contains(&addr), "line {n} is {addr:#x}, not in {start:#x}: {}", report.text);
    }
    // It goes on to where the loader entered, which called us with no frame below.
    let deepest = report.backtrace().last();
    assert!(report.backtrace().count() >= 6, "{}", report.text);
    assert!(deepest.is_some_and(|addr| addr >= 0xffff_ffff_8000_0000), "{}", report.text);
}

fn backtrace_survives_a_wild_frame_pointer() {
    for wild in [0, 1, 0x1000, 0xdead_beef_dead_beef, 0xffff_ff00_0000_0ff8, 0xffff_fe80_000f_7ff8, u64::MAX - 7] {
        let report = expect_report(|| {
            // SAFETY: ends in a report; the frame pointer is not used before.
            unsafe { core::arch::asm!("mov rbp, {}", "ud2", in(reg) wild, options(noreturn)) }
        });
        assert_eq!(report.backtrace().count(), 1, "{wild:#x}: {}", report.text);
        assert!(report.says("The machine is stopped."), "{}", report.text);
    }
    // A frame that names itself must not be followed for ever.
    let mut frame = [0_u64, 0xffff_ffff_8000_0000];
    frame[0] = frame.as_ptr().addr() as u64;
    let report = expect_report(|| {
        // SAFETY: as above.
        unsafe { core::arch::asm!("mov rbp, {}", "ud2", in(reg) frame.as_ptr(), options(noreturn)) }
    });
    assert_eq!(report.backtrace().count(), 2, "{}", report.text);
}

fn exit_codes() {
    assert_eq!([Exit::Success as u32, Exit::Failure as u32, Exit::Panic as u32], [0x10, 0x11, 0x12]);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
