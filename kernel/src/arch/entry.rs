//! The ways into the kernel and out of it.
//!
//! From ring 3, registers go straight into the running thread's [`TrapFrame`]: the processor's own five words because TSS.RSP0 points
//! to the frame's end, the rest by these stubs. The kernel then runs on its one stack with interrupts off and returns the frame
//! to leave with, which may be another thread's. From ring 0 only the idle loop and the pause between two steps of a system call are ever
//! interrupted; anything else is a bug and ends in a report.

use super::gdt::{USER_CODE, USER_DATA};
use super::percore::{self, FRAME_END, KERNEL_STACK, USER_STACK};
use super::{message, notify};
use abi::Syscall;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::register;
use kernel_core::thread::TrapFrame;

/// Bytes from a frame's start to its `vector` word.
const VECTOR: usize = offset_of!(TrapFrame, vector);
const _: () = assert!(VECTOR == 15 * 8, "the stubs push fifteen registers");

/// What [`notify`] goes on in.
pub(super) use crate::{kernel::enter_current, syscall::on_syscall, trap::line_from_user};

/// Whether the assembly of [`notify`] runs in ring 0.
pub(super) const RING_0: bool = true;

pub(super) const USER_FLAGS: u32 = TrapFrame::USER_FLAGS;
pub(super) const USER_FLAGS_SET: u32 = TrapFrame::USER_FLAGS_SET;

/// System calls of larger numbers have the general entry.
pub(super) const ENTRIES: usize = Syscall::TaskFault as usize + 1;

/// Where each system call goes on, by its number: at assembly that does it, at what returns at once, or where all others do.
#[expect(clippy::indexing_slicing, reason = "when it is compiled, an index that is too large is an error")]
pub(super) const TABLE: [extern "C" fn(); ENTRIES] = {
    let mut table: [extern "C" fn(); ENTRIES] = [general; ENTRIES];
    let plain = cfg!(feature = "plain");
    table[Syscall::Call as usize] = if plain { message_stub } else { message::call::<Kernel> };
    table[Syscall::ReplyRecv as usize] = if plain { message_stub } else { message::reply_recv::<Kernel> };
    table[Syscall::Signal as usize] = if plain { signal } else { notify::signal };
    table[Syscall::Yield as usize] = if plain { give_way } else { notify::give_way };
    table[Syscall::Poll as usize] = if plain { poll } else { notify::poll };
    table[Syscall::LeaseRead as usize] = lease_read;
    table[Syscall::LeaseWrite as usize] = lease_write;
    table[Syscall::TaskFault as usize] = task_fault;
    table
};

/// Where the assembly of messages goes on in the kernel.
struct Kernel;

// SAFETY: the places are those of the core's record. `general` takes the registers as after `syscall`; `refused` completes the frame of the thread that
// asks, `extras` that of the thread that runs, and both go on in Rust as after any system call.
unsafe impl message::Core for Kernel {
    const KERNEL: bool = true;
    const FRAME_END: usize = FRAME_END;
    const SYSTEM: usize = percore::SYSTEM;
    const THREADS: usize = percore::THREADS;
    const SLOTS: usize = percore::SLOTS;
    const ENDPOINTS: usize = percore::ENDPOINTS;
    const EXTRAS: usize = percore::EXTRAS;
    const SPACE_SWITCHES: usize = percore::SPACE_SWITCHES;
    const USER_STACK: usize = USER_STACK;

    #[unsafe(naked)]
    extern "C" fn general() {
        naked_asm!("jmp {message}", message = sym message_stub)
    }

    #[unsafe(naked)]
    extern "C" fn refused() {
        whole_frame!("r10", "mov [r10 + {rax}], rax", crate::syscall::on_message)
    }

    #[unsafe(naked)]
    extern "C" fn extras() {
        naked_asm!("mov rbp, rdx", "jmp {handed_over}", handed_over = sym notify::handed_over)
    }

    #[unsafe(naked)]
    extern "C" fn out() {
        naked_asm!("jmp {out}", out = sym self::out)
    }
}

/// Where assembly goes on that does not run in ring 0.
#[unsafe(naked)]
pub(super) extern "C" fn out() {
    naked_asm!("ud2")
}

/// Where `syscall` arrives: rcx holds the return address, r11 the flags, the stack is still the user's.
#[unsafe(naked)]
pub extern "C" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "cmp rax, {count}",
        "jae {general}",
        "jmp qword ptr gs:[rax * 8 + {entries}]",
        count = const self::ENTRIES,
        entries = const percore::ENTRIES,
        general = sym general,
    )
}

/// Puts all registers that the assembly of messages has not saved into a frame, of which the frame end is in a register, and goes on in Rust. What it has
/// lost is 0 there.
macro_rules! whole_frame {
    ($frame_end:literal, $rax:literal, $handler:path) => {
        naked_asm!(
            $rax,
            concat!("mov qword ptr [", $frame_end, " + {vector}], {syscall}"),
            concat!("mov [", $frame_end, " + {rdi}], rdi"),
            concat!("mov [", $frame_end, " + {rsi}], rsi"),
            concat!("mov qword ptr [", $frame_end, " + {rdx}], 0"),
            concat!("mov [", $frame_end, " + {r8}], r8"),
            concat!("mov [", $frame_end, " + {r9}], r9"),
            concat!("mov qword ptr [", $frame_end, " + {r10}], 0"),
            concat!("mov [", $frame_end, " + {r12}], r12"),
            concat!("mov [", $frame_end, " + {r13}], r13"),
            concat!("mov [", $frame_end, " + {r14}], r14"),
            concat!("mov [", $frame_end, " + {r15}], r15"),
            concat!("lea rdi, [", $frame_end, " - {size}]"),
            "mov rsi, gs:[{kernel}]",
            "mov rsp, gs:[{kernel_stack}]",
            "xor ebp, ebp",
            "call {handler}",
            "jmp {leave}",
            kernel = const percore::KERNEL,
            rax = const register(offset_of!(TrapFrame, rax)),
            vector = const register(offset_of!(TrapFrame, vector)),
            syscall = const TrapFrame::SYSCALL,
            rdi = const register(offset_of!(TrapFrame, rdi)),
            rsi = const register(offset_of!(TrapFrame, rsi)),
            rdx = const register(offset_of!(TrapFrame, rdx)),
            r8 = const register(offset_of!(TrapFrame, r8)),
            r9 = const register(offset_of!(TrapFrame, r9)),
            r10 = const register(offset_of!(TrapFrame, r10)),
            r12 = const register(offset_of!(TrapFrame, r12)),
            r13 = const register(offset_of!(TrapFrame, r13)),
            r14 = const register(offset_of!(TrapFrame, r14)),
            r15 = const register(offset_of!(TrapFrame, r15)),
            size = const size_of::<TrapFrame>(),
            kernel_stack = const KERNEL_STACK,
            handler = sym $handler,
            leave = sym leave,
        )
    };
}
use whole_frame;

/// Puts the message in the registers into the frame of the thread `rdx`, which runs, and prepares more for it than the assembly does.
#[unsafe(naked)]
pub(super) extern "C" fn extras_of_message() {
    // Of the sender, or of the assembly: not for this thread.
    whole_frame!("rdx", "mov qword ptr [rdx + {rax}], 0\nxor r9d, r9d", crate::kernel::enter_current)
}

/// The stub of a system call after which the thread that asks goes on at once, whatever comes out of it: what the call keeps is saved on the
/// kernel's stack, the flags as they are the task's own. The handler has the arguments in its own registers, but for the fourth, and the state.
macro_rules! plain_stub {
    ($(#[$doc:meta])* $name:ident, $handler:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) extern "C" fn $name() {
            naked_asm!(
                "mov gs:[{user_stack}], rsp",
                "mov rsp, gs:[{kernel_stack}]",
                "push rcx", "push r11", "push rdi", "push rsi", "push r8", "push r9", "push r10", "push rbp",
                "mov rcx, r10",
                "mov r9, gs:[{kernel}]",
                "xor ebp, ebp",
                "call {handler}",
                "pop rbp", "pop r10", "pop r9", "pop r8", "pop rsi", "pop rdi", "pop r11", "pop rcx",
                "mov rsp, gs:[{user_stack}]",
                "swapgs",
                "sysretq",
                user_stack = const USER_STACK,
                kernel_stack = const KERNEL_STACK,
                kernel = const percore::KERNEL,
                handler = sym $handler,
            )
        }
    };
}

plain_stub! {
    /// `poll`.
    poll, crate::syscall::on_poll
}

plain_stub! {
    /// `lease_read`.
    lease_read, crate::lease::on_read
}

plain_stub! {
    /// `lease_write`.
    lease_write, crate::lease::on_write
}

plain_stub! {
    /// `task_fault`.
    task_fault, crate::syscall::on_task_fault
}

/// The stub of a system call after which another thread may go on: all registers go into the frame.
macro_rules! whole_stub {
    ($(#[$doc:meta])* $name:ident, $handler:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) extern "C" fn $name() {
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
                "mov rsi, gs:[{kernel}]",
                "mov rsp, gs:[{kernel_stack}]",
                "xor ebp, ebp",
                "call {handler}",
                "jmp {leave}",
                kernel = const percore::KERNEL,
                user_stack = const USER_STACK,
                frame_end = const FRAME_END,
                kernel_stack = const KERNEL_STACK,
                user_data = const USER_DATA,
                user_code = const USER_CODE,
                syscall = const TrapFrame::SYSCALL,
                handler = sym $handler,
                leave = sym leave,
            )
        }
    };
}

whole_stub! {
    /// All that have no other.
    general, crate::syscall::on_syscall
}

whole_stub! {
    /// `call` and `reply_recv` of more than a label; in a kernel with the feature `plain`, all of them.
    message_stub, crate::syscall::on_message
}

whole_stub! {
    /// `signal`.
    signal, crate::syscall::on_signal
}

whole_stub! {
    /// `yield`.
    give_way, crate::syscall::on_yield
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
        rflags = const offset_of!(TrapFrame, rflags),
        flags = const USER_FLAGS,
        flags_set = const USER_FLAGS_SET,
        syscall = const TrapFrame::SYSCALL,
    )
}

/// Leaves the kernel, of which nothing is locked, for the thread that has been handed the core, where it was: its frame. Address space and ports are
/// prepared on the way, and what more there is, as by [`crate::kernel::enter_running`].
#[inline(always)]
pub fn resume(frame: &TrapFrame) -> ! {
    let frame_end = (&raw const *frame).addr() + size_of::<TrapFrame>();
    // SAFETY: the frame is in the slot of the running thread, and that in TSS.RSP0 of the one that ran before; what is on the kernel's stack nobody
    // needs any more, as the state is not locked.
    unsafe { core::arch::asm!("mov rbp, {}", "jmp {}", in(reg) frame_end, sym notify::resumed, options(noreturn)) }
}

/// A vector for which the processor pushes no error code.
#[unsafe(naked)]
pub extern "C" fn stub<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

/// The timer's line, in a kernel with the feature `plain`.
#[cfg(feature = "plain")]
#[unsafe(naked)]
pub extern "C" fn timer() {
    naked_asm!("jmp {stub}", stub = sym stub::<{ super::pic::BASE + super::pit::LINE }>)
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
        "mov rsi, gs:[{kernel}]",
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
        kernel = const percore::KERNEL,
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
