//! The ways into the kernel and out of it.
//!
//! From ring 3, registers go straight into the running thread's [`Frame`]: the processor's own five words because TSS.RSP0 points
//! to the frame's end, the rest by these stubs. The kernel then runs on its one stack with interrupts off and returns the frame
//! to leave with, which may be another thread's. From ring 0 only the idle loop and the pause between two steps of a system call are ever
//! interrupted; anything else is a bug and ends in a report.

use super::fast;
use super::gdt::{USER_CODE, USER_DATA};
use super::percore::{ENTRIES, FRAME_END, KERNEL_STACK, USER_STACK};
use abi::message::Lease;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::thread::Frame;

/// Bytes from a frame's start to its `vector` word.
const VECTOR: usize = offset_of!(Frame, vector);
const _: () = assert!(VECTOR == 15 * 8, "the stubs push fifteen registers");

/// RFLAGS that a task may have when it is resumed: CF PF AF ZF SF TF DF OF AC ID (Intel SDM vol. 1, section 3.4.3). NT, IOPL, RF and the
/// virtual-8086 bits are not among them.
pub(super) const USER_FLAGS: u32 = 0x0024_0dd5;
/// Always set: the interrupt flag and reserved bit 1.
pub(super) const USER_FLAGS_SET: u32 = 0x202;

/// Where `syscall` arrives: rcx holds the return address, r11 the flags, the stack is still the user's.
#[unsafe(naked)]
pub extern "C" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "cmp rax, {count}",
        "jae {general}",
        "jmp qword ptr gs:[rax * 8 + {entries}]",
        count = const fast::ENTRIES,
        entries = const ENTRIES,
        general = sym general,
    )
}

/// The stub of a system call after which the thread that asks goes on at once, whatever comes out of it: what the call keeps is saved on the
/// kernel's stack. The handler has the arguments in its own registers, but for the fourth, and a number.
macro_rules! plain_stub {
    ($(#[$doc:meta])* $name:ident, $handler:path, $number:expr) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) extern "C" fn $name() {
            naked_asm!(
                "mov gs:[{user_stack}], rsp",
                "mov rsp, gs:[{kernel_stack}]",
                "push rcx", "push r11", "push rdi", "push rsi", "push r8", "push r9", "push r10", "push rbp",
                "mov rcx, r10",
                "mov r9d, {number}",
                "xor ebp, ebp",
                "call {handler}",
                "pop rbp", "pop r10", "pop r9", "pop r8", "pop rsi", "pop rdi", "pop r11", "pop rcx",
                "mov rsp, gs:[{user_stack}]",
                "and r11d, {flags}",
                "or r11d, {flags_set}",
                "swapgs",
                "sysretq",
                user_stack = const USER_STACK,
                kernel_stack = const KERNEL_STACK,
                number = const $number,
                handler = sym $handler,
                flags = const USER_FLAGS,
                flags_set = const USER_FLAGS_SET,
            )
        }
    };
}

plain_stub! {
    /// `lease_read`.
    lease_read, crate::lease::on_copy, Lease::READ
}

plain_stub! {
    /// `lease_write`.
    lease_write, crate::lease::on_copy, Lease::WRITE
}

plain_stub! {
    /// `task_fault`.
    task_fault, crate::syscall::on_task_fault, 0
}

/// Where a system call goes on that has no fast path.
#[unsafe(naked)]
pub(super) extern "C" fn general() {
    naked_asm!(
        "mov gs:[{user_stack}], rsp",
        "mov rsp, gs:[{frame_end}]",
        "push {user_data}",
        "push qword ptr gs:[{user_stack}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        "push 0",
        "push {syscall}",
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, rsp",
        "mov rsp, gs:[{kernel_stack}]",
        "xor ebp, ebp",
        "call {handler}",
        "jmp {leave}",
        user_stack = const USER_STACK,
        frame_end = const FRAME_END,
        kernel_stack = const KERNEL_STACK,
        user_data = const USER_DATA,
        user_code = const USER_CODE,
        syscall = const Frame::SYSCALL,
        handler = sym crate::syscall::on_syscall,
        leave = sym leave,
    )
}

/// Leaves to ring 3 with the frame in rax. A frame saved by `syscall` leaves by `sysret`, unless its return address is not a
/// user's (which the kernel never lets happen, and which `sysret` would punish in ring 0); all others by `iretq`.
/// The ring comes from the saved selectors, which only these stubs and the loader write.
#[unsafe(naked)]
pub extern "C" fn leave() -> ! {
    naked_asm!(
        "mov rsp, rax",
        "and dword ptr [rsp + {rflags}], {flags}",
        "or dword ptr [rsp + {rflags}], {flags_set}",
        "mov dword ptr [rsp + {rflags} + 4], 0",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
        "cmp qword ptr [rsp], {syscall}",
        "jne 2f",
        "mov rcx, [rsp + 16]",
        "bt rcx, 47",
        "jc 2f",
        "mov r11, [rsp + 32]",
        "mov rsp, [rsp + 40]",
        "swapgs",
        "sysretq",
        "2:",
        "add rsp, 16",
        "swapgs",
        "iretq",
        rflags = const offset_of!(Frame, rflags),
        flags = const USER_FLAGS,
        flags_set = const USER_FLAGS_SET,
        syscall = const Frame::SYSCALL,
    )
}

/// A vector for which the processor pushes no error code.
#[unsafe(naked)]
pub extern "C" fn stub<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

/// A vector for which it does (Intel SDM vol. 3A, table 6-1).
#[unsafe(naked)]
pub extern "C" fn stub_with_error<const VECTOR: u8>() {
    naked_asm!("push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

#[unsafe(naked)]
pub(super) extern "C" fn common() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz 2f",
        "swapgs",
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, rsp",
        "mov rsp, gs:[{kernel_stack}]",
        // Interrupts leave AC as the task had it; the kernel runs without, so that SMAP holds (vol. 3A, section 4.6).
        "pushfq",
        "and dword ptr [rsp], ~0x40400",
        "popfq",
        "xor ebp, ebp",
        "call {from_user}",
        "jmp {leave}",
        "2:",
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, rsp",
        // The processor aligned the stack before its five words; with seventeen of ours it is aligned for a call again.
        "cld",
        "call {from_kernel}",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
        "add rsp, 16",
        "iretq",
        kernel_stack = const KERNEL_STACK,
        from_user = sym crate::trap::from_user,
        from_kernel = sym crate::trap::from_kernel,
        leave = sym leave,
    )
}

/// Double fault, NMI and machine check arrive on stacks of their own and never return: whatever gs is, nothing here uses it.
#[unsafe(naked)]
pub extern "C" fn fatal<const VECTOR: u8, const ERROR: bool>() {
    naked_asm!(
        ".if {error} == 0",
        "push 0",
        ".endif",
        "push {vector}",
        "push rax", "push rcx", "push rdx", "push rbx", "push rbp", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "mov rdi, rsp",
        "cld",
        "call {handler}",
        "ud2",
        error = const ERROR as u8,
        vector = const VECTOR,
        handler = sym crate::trap::fatal,
    )
}

/// Waits for an interrupt and lets it in: `sti` takes effect after `hlt`, so none is missed between the two (vol. 2B, STI).
pub fn halt_until_interrupt() {
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
}

/// Lets interrupts in that wait: `sti` takes effect after the instruction that follows it (vol. 2B, STI).
pub fn let_interrupts_in() {
    // SAFETY: as in the idle loop: the kernel's state is unlocked, and an interrupt of ring 0 runs to its end on this stack.
    unsafe { core::arch::asm!("sti", "nop", "cli", options(nomem)) };
}
