//! The ways into the kernel and out of it.
//!
//! From ring 3, registers go straight into the running thread's [`Frame`]: the processor's own five words because TSS.RSP0 points
//! to the frame's end, the rest by these stubs. The kernel then runs on its one stack with interrupts off and returns the frame
//! to leave with, which may be another thread's. From ring 0 only the idle loop is ever interrupted; anything else is a bug and ends
//! in a report.

use super::gdt::{self, USER_CODE, USER_DATA};
use super::percore::{EXTRAS, FRAME_END, KERNEL_STACK, SPACE, SPACE_SWITCHES, SYSTEM, USER_STACK};
use abi::message::Lease;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::fast::{self, Exits, at, register};
use kernel_core::thread::{Frame, Thread};

/// Bytes from a frame's start to its `vector` word.
const VECTOR: usize = offset_of!(Frame, vector);
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
        "cmp rax, {lease_read}",
        "je {fast_lease_read}",
        "cmp rax, {lease_write}",
        "je {fast_lease_write}",
        "cmp rax, {task_fault}",
        "je {fast_task_fault}",
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
        lease_read = const abi::Syscall::LeaseRead as u64,
        lease_write = const abi::Syscall::LeaseWrite as u64,
        fast_call = sym fast_call,
        fast_reply_recv = sym fast_reply_recv,
        task_fault = const abi::Syscall::TaskFault as u64,
        fast_lease_read = sym lease_read,
        fast_lease_write = sym lease_write,
        fast_task_fault = sym task_fault,
        handler = sym crate::syscall::on_syscall,
        leave = sym leave,
    )
}

/// The stub of a system call after which the thread that asks goes on at once, whatever comes out of it: what the call keeps is saved on the
/// kernel's stack. The handler has the arguments in its own registers, but for the fourth, and a number.
macro_rules! plain_stub {
    ($(#[$doc:meta])* $name:ident, $handler:path, $number:expr) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C" fn $name() {
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

/// The stub of a message's fast path. Saved are the registers that the system call keeps, the header, which says how much is lent, and what the
/// path needs for itself.
macro_rules! message_stub {
    ($(#[$doc:meta])* $name:ident, $path:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "mov rax, gs:[{frame_end}]",
                "mov [rax + {rsp}], rsp",
                "mov [rax + {rflags}], r11",
                "mov [rax + {rip}], rcx",
                "mov qword ptr [rax + {vector}], {syscall}",
                "mov [rax + {rbx}], rbx",
                "mov [rax + {rbp}], rbp",
                "mov [rax + {rdi}], rdi",
                "mov [rax + {rsi}], rsi",
                "mov [rax + {r12}], r12",
                "mov [rax + {r13}], r13",
                "mov [rax + {r14}], r14",
                "mov [rax + {r15}], r15",
                "mov r13, rax",
                "mov r15, gs:[{system}]",
                "mov rbx, rdx",
                "rdtsc",
                "shl rdx, 32",
                "or rax, rdx",
                "mov rdx, rbx",
                "jmp {path}",
                frame_end = const FRAME_END,
                system = const SYSTEM,
                rbx = const register(offset_of!(Frame, rbx)),
                rsi = const register(offset_of!(Frame, rsi)),
                rdi = const register(offset_of!(Frame, rdi)),
                rbp = const register(offset_of!(Frame, rbp)),
                r12 = const register(offset_of!(Frame, r12)),
                r13 = const register(offset_of!(Frame, r13)),
                r14 = const register(offset_of!(Frame, r14)),
                r15 = const register(offset_of!(Frame, r15)),
                rsp = const register(offset_of!(Frame, rsp)),
                rip = const register(offset_of!(Frame, rip)),
                rflags = const register(offset_of!(Frame, rflags)),
                vector = const register(offset_of!(Frame, vector)),
                syscall = const Frame::SYSCALL,
                path = sym $path,
            )
        }
    };
}

message_stub! {
    /// `call`.
    fast_call, fast::call::<Stubs>
}

message_stub! {
    /// `reply_recv`.
    fast_reply_recv, fast::reply_recv::<Stubs>
}

/// Where the fast paths go on in the kernel.
struct Stubs;

// SAFETY: both take the registers as `Exits` has them. One leaves to the thread that runs now, with its kept registers from its frame; the
// other completes the frame of the thread that runs on, for which everything else has been saved by the stub.
unsafe impl Exits for Stubs {
    #[unsafe(naked)]
    extern "C" fn handed_over() {
        naked_asm!(
            // Ports, floating-point registers, a frame that `sysret` cannot leave with: those take longer.
            "movzx ecx, byte ptr [rbp + {extras}]",
            "or cl, gs:[{core_extras}]",
            "jnz 3f",
            "cmp qword ptr [rbp + {vector}], {syscall}",
            "jne 3f",
            "mov rcx, [rbp + {rip}]",
            "bt rcx, 47",
            "jc 3f",
            "mov gs:[{frame_end}], rbp",
            "mov [rip + {tables} + {rsp0}], rbp",
            "xor eax, eax",
            "mov rbx, [rbp + {space}]",
            "cmp rbx, gs:[{core_space}]",
            "je 2f",
            "mov gs:[{core_space}], rbx",
            "inc qword ptr gs:[{space_switches}]",
            "mov cr3, rbx",
            "mov ds, eax",
            "mov es, eax",
            "mov fs, eax",
            "2:",
            "mov r11d, [rbp + {rflags}]",
            "and r11d, {flags}",
            "or r11d, {flags_set}",
            "mov rbx, [rbp + {rbx}]",
            "mov r14, [rbp + {r14}]",
            "mov r15, [rbp + {r15}]",
            "mov rsp, [rbp + {rsp}]",
            "mov rbp, [rbp + {rbp}]",
            "xor r13d, r13d",
            "swapgs",
            // As `clear_user_selectors`, of which the rest is above.
            "mov gs, eax",
            "sysretq",
            "3:",
            "mov [rbp + {rdi}], rdi",
            "mov [rbp + {rsi}], rsi",
            "mov [rbp + {rdx}], rdx",
            "mov [rbp + {r10}], r10",
            "mov [rbp + {r8}], r8",
            "mov [rbp + {r9}], r9",
            "mov [rbp + {r12}], r12",
            "mov qword ptr [rbp + {r13}], 0",
            "mov qword ptr [rbp + {rax}], 0",
            "mov rsp, gs:[{kernel_stack}]",
            "xor ebp, ebp",
            "call {enter}",
            "jmp {leave}",
            extras = const at(offset_of!(Thread, extras)),
            core_extras = const EXTRAS,
            vector = const register(offset_of!(Frame, vector)),
            syscall = const Frame::SYSCALL,
            rip = const register(offset_of!(Frame, rip)),
            frame_end = const FRAME_END,
            tables = sym gdt::TABLES,
            rsp0 = const gdt::RSP0,
            space = const at(offset_of!(Thread, space)),
            core_space = const SPACE,
            space_switches = const SPACE_SWITCHES,
            rflags = const register(offset_of!(Frame, rflags)),
            flags = const USER_FLAGS,
            flags_set = const USER_FLAGS_SET,
            rbx = const register(offset_of!(Frame, rbx)),
            r14 = const register(offset_of!(Frame, r14)),
            r15 = const register(offset_of!(Frame, r15)),
            rsp = const register(offset_of!(Frame, rsp)),
            rbp = const register(offset_of!(Frame, rbp)),
            rdi = const register(offset_of!(Frame, rdi)),
            rsi = const register(offset_of!(Frame, rsi)),
            rdx = const register(offset_of!(Frame, rdx)),
            r10 = const register(offset_of!(Frame, r10)),
            r8 = const register(offset_of!(Frame, r8)),
            r9 = const register(offset_of!(Frame, r9)),
            r12 = const register(offset_of!(Frame, r12)),
            r13 = const register(offset_of!(Frame, r13)),
            rax = const register(offset_of!(Frame, rax)),
            kernel_stack = const KERNEL_STACK,
            enter = sym crate::kernel::enter_current,
            leave = sym leave,
        )
    }

    #[unsafe(naked)]
    extern "C" fn lend() {
        naked_asm!(
            "mov rsp, gs:[{kernel_stack}]",
            "push rax", "push rdi", "push rsi", "push rdx", "push r8", "push r9", "push r10", "push r11",
            "mov rdi, r12",
            "shr esi, 16",
            "call {handler}",
            "test al, al",
            "pop r11", "pop r10", "pop r9", "pop r8", "pop rdx", "pop rsi", "pop rdi", "pop rax",
            "jz 2f",
            "jmp r11",
            "2:",
            "mov eax, {call}",
            "jmp {refused}",
            kernel_stack = const KERNEL_STACK,
            handler = sym crate::lease::lend,
            call = const abi::Syscall::Call as u32,
            refused = sym Self::refused,
        )
    }

    #[unsafe(naked)]
    extern "C" fn refused() {
        naked_asm!(
            "mov [r13 + {rax}], rax",
            "mov [r13 + {rdx}], rdx",
            "mov [r13 + {r10}], r10",
            "mov [r13 + {r8}], r8",
            "mov [r13 + {r9}], r9",
            "lea rdi, [r13 - {size}]",
            "mov rsp, gs:[{kernel_stack}]",
            "xor ebp, ebp",
            "call {handler}",
            "jmp {leave}",
            rax = const register(offset_of!(Frame, rax)),
            rdx = const register(offset_of!(Frame, rdx)),
            r10 = const register(offset_of!(Frame, r10)),
            r8 = const register(offset_of!(Frame, r8)),
            r9 = const register(offset_of!(Frame, r9)),
            size = const size_of::<Frame>(),
            kernel_stack = const KERNEL_STACK,
            handler = sym crate::syscall::on_syscall,
            leave = sym leave,
        )
    }
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
