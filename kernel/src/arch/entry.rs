//! The ways into the kernel and out of it.
//!
//! From ring 3, registers go straight into the running thread's [`Frame`]: the processor's own five words because TSS.RSP0 points
//! to the frame's end, the rest by these stubs. The kernel then runs on its one stack with interrupts off and returns the frame
//! to leave with, which may be another thread's. From ring 0 only the idle loop is ever interrupted; anything else is a bug and ends
//! in a report.

use super::gdt::{USER_CODE, USER_DATA};
use super::percore::{FRAME_END, KERNEL_STACK, USER_STACK};
use core::arch::naked_asm;
use kernel_core::thread::Frame;

/// Bytes from a frame's start to its `vector` word.
const VECTOR: usize = core::mem::offset_of!(Frame, vector);
const _: () = assert!(VECTOR == 15 * 8, "the stubs push fifteen registers");

/// RFLAGS that a task may have when it is resumed: CF PF AF ZF SF TF DF OF AC ID (Intel SDM vol. 1, section 3.4.3). NT, IOPL, RF and the
/// virtual-8086 bits are not among them.
const USER_FLAGS: u32 = 0x0024_0dd5;
/// Always set: the interrupt flag and reserved bit 1.
const USER_FLAGS_SET: u32 = 0x202;

/// Where `syscall` arrives: rcx holds the return address, r11 the flags, the stack is still the user's.
#[unsafe(naked)]
pub extern "C" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "cmp rax, {call}",
        "je {fast_call}",
        "cmp rax, {reply_recv}",
        "je {fast_reply_recv}",
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
        call = const abi::Syscall::Call as u64,
        reply_recv = const abi::Syscall::ReplyRecv as u64,
        fast_call = sym fast_call,
        fast_reply_recv = sym fast_reply_recv,
        handler = sym crate::syscall::on_syscall,
        leave = sym leave,
    )
}

/// The stub of a message's fast path. Saved are the registers that the system call keeps, and the header, which says how much is lent. The
/// words wait in registers that Rust code keeps, `rbx r12 r14 r15`, with the header in `r13`; `$arguments` then brings the rest of the
/// arguments where the function wants them. If it returns a frame, the words go on to that thread, whose kept registers come out of
/// its frame; all others of a waiting thread are results. If it returns null, nothing has changed, and the frame is completed for
/// [`crate::syscall::on_syscall`].
macro_rules! message_stub {
    ($(#[$doc:meta])* $name:ident, $number:expr, $function:path, [$($arguments:literal),*]) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "mov rax, rsp",
                "mov rsp, gs:[{frame_end}]",
                "mov [rsp - {size} + {rsp}], rax",
                "mov [rsp - {size} + {rflags}], r11",
                "mov [rsp - {size} + {rip}], rcx",
                "mov qword ptr [rsp - {size} + {vector}], {syscall}",
                "mov [rsp - {size} + {rbx}], rbx",
                "mov [rsp - {size} + {rbp}], rbp",
                "mov [rsp - {size} + {rdi}], rdi",
                "mov [rsp - {size} + {rsi}], rsi",
                "mov [rsp - {size} + {r12}], r12",
                "mov [rsp - {size} + {r13}], r13",
                "mov [rsp - {size} + {r14}], r14",
                "mov [rsp - {size} + {r15}], r15",
                "mov rsp, gs:[{kernel_stack}]",
                "mov rbx, rdx",
                $($arguments,)*
                "mov r12, r10",
                "mov r13, rsi",
                "mov r14, r8",
                "mov r15, r9",
                "xor ebp, ebp",
                "call {function}",
                "test rax, rax",
                "jz 3f",
                "mov rsi, r13",
                "mov rdx, rbx",
                "mov r10, r12",
                "mov r8, r14",
                "mov r9, r15",
                "cmp qword ptr [rax + {vector}], {syscall}",
                "jne 2f",
                "mov rcx, [rax + {rip}]",
                "bt rcx, 47",
                "jc 2f",
                "mov r11d, [rax + {rflags}]",
                "and r11d, {flags}",
                "or r11d, {flags_set}",
                "mov rbx, [rax + {rbx}]",
                "mov rbp, [rax + {rbp}]",
                "mov rdi, [rax + {rdi}]",
                "mov r12, [rax + {r12}]",
                "mov r14, [rax + {r14}]",
                "mov r15, [rax + {r15}]",
                "mov rsp, [rax + {rsp}]",
                "xor r13d, r13d",
                "xor eax, eax",
                "swapgs",
                "sysretq",
                // A frame that `sysret` cannot leave with: one that a debugger has set.
                "2:",
                "mov [rax + {rsi}], rsi",
                "mov [rax + {rdx}], rdx",
                "mov [rax + {r10}], r10",
                "mov [rax + {r8}], r8",
                "mov [rax + {r9}], r9",
                "mov qword ptr [rax + {r13}], 0",
                "mov qword ptr [rax + {rax}], 0",
                "jmp {leave}",
                "3:",
                "mov rdi, gs:[{frame_end}]",
                "sub rdi, {size}",
                "mov qword ptr [rdi + {rax}], {number}",
                "mov [rdi + {rdx}], rbx",
                "mov [rdi + {r10}], r12",
                "mov [rdi + {r8}], r14",
                "mov [rdi + {r9}], r15",
                "call {handler}",
                "jmp {leave}",
                size = const size_of::<Frame>(),
                rax = const core::mem::offset_of!(Frame, rax),
                rbx = const core::mem::offset_of!(Frame, rbx),
                rdx = const core::mem::offset_of!(Frame, rdx),
                rsi = const core::mem::offset_of!(Frame, rsi),
                rdi = const core::mem::offset_of!(Frame, rdi),
                rbp = const core::mem::offset_of!(Frame, rbp),
                r8 = const core::mem::offset_of!(Frame, r8),
                r9 = const core::mem::offset_of!(Frame, r9),
                r10 = const core::mem::offset_of!(Frame, r10),
                r12 = const core::mem::offset_of!(Frame, r12),
                r13 = const core::mem::offset_of!(Frame, r13),
                r14 = const core::mem::offset_of!(Frame, r14),
                r15 = const core::mem::offset_of!(Frame, r15),
                rsp = const core::mem::offset_of!(Frame, rsp),
                rip = const core::mem::offset_of!(Frame, rip),
                rflags = const core::mem::offset_of!(Frame, rflags),
                vector = const VECTOR,
                syscall = const Frame::SYSCALL,
                flags = const USER_FLAGS,
                flags_set = const USER_FLAGS_SET,
                frame_end = const FRAME_END,
                kernel_stack = const KERNEL_STACK,
                number = const $number as u64,
                function = sym $function,
                handler = sym crate::syscall::on_syscall,
                leave = sym leave,
            )
        }
    };
}

message_stub! {
    /// `call`.
    fast_call, abi::Syscall::Call, crate::syscall::on_fast_call, []
}

message_stub! {
    /// `reply_recv`: the token and the mask are arguments too.
    fast_reply_recv, abi::Syscall::ReplyRecv, crate::syscall::on_fast_reply_recv, ["mov rdx, r12", "mov rcx, r14"]
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
        rflags = const core::mem::offset_of!(Frame, rflags),
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
extern "C" fn common() {
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
