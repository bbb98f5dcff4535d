//! The entries to the kernel and the exits from it.
//!
//! On entry from ring 3 the registers are saved directly in the running thread's [`TrapFrame`]: the
//! processor pushes five words there, because TSS.RSP0 points to the frame's end, and these stubs
//! push the rest. The kernel then runs on its one stack with interrupts off, and returns the frame
//! to leave with, which may be another thread's. In ring 0 only the idle loop and the pause between
//! two steps of a system call are interrupted; anything else is a defect and ends in a report.

use super::gdt::{USER_CODE, USER_DATA};
use super::percore::{self, FRAME_END, KERNEL_STACK, USER_STACK};
use super::{message, notify};
use abi::Syscall;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::register;
use kernel_core::thread::TrapFrame;

/// Offset of the `vector` word in a frame.
const VECTOR: usize = offset_of!(TrapFrame, vector);
const _: () = assert!(VECTOR == 15 * 8, "the stubs push fifteen registers");

/// The Rust functions at which the assembly of [`notify`] continues.
pub(super) use crate::{kernel::enter_current, syscall::on_syscall, trap::line_from_user};

/// Whether the assembly of [`notify`] runs in ring 0.
pub(super) const RING_0: bool = true;

pub(super) const USER_FLAGS: u32 = TrapFrame::USER_FLAGS;
pub(super) const USER_FLAGS_SET: u32 = TrapFrame::USER_FLAGS_SET;

/// The number of entries in the table; system calls of larger numbers use the general entry.
pub(super) const ENTRIES: usize = Syscall::TaskFault as usize + 1;

/// The entry of each system call, by its number: assembly that performs it, a stub that returns at
/// once, or the general entry.
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

/// The environment in which the assembly of messages runs in the kernel.
struct Kernel;

// SAFETY: the offsets are those of the core's record. `general` takes the registers as after
// `syscall`; `refused` completes the frame of the calling thread, `extras` that of the running one,
// and both continue in Rust as after any system call.
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

/// Stands for the exit in a run of the assembly outside ring 0; the kernel never gets here.
#[unsafe(naked)]
pub(super) extern "C" fn out() {
    naked_asm!("ud2")
}

/// The entry of `syscall`: rcx holds the return address, r11 the flags, and rsp is still the
/// user's.
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

/// Saves all registers that the assembly of messages has not saved in a frame, whose frame end is
/// in a register, and continues in Rust. Registers whose values are lost are saved as 0.
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

/// Saves the message in the registers to the frame of the running thread, which is in `rdx`, and
/// prepares for it what the assembly does not.
#[unsafe(naked)]
pub(super) extern "C" fn extras_of_message() {
    // r9 and rax belong to the sender or the assembly, not to this thread.
    whole_frame!("rdx", "mov qword ptr [rdx + {rax}], 0\nxor r9d, r9d", crate::kernel::enter_current)
}

/// Makes the stub of a system call that always returns to the caller: registers that the call
/// preserves are saved on the kernel's stack, and the flags need no change. The handler gets the
/// argument registers in order (the fourth moved from r10 to rcx), and the kernel's state.
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
    /// The entry of `poll` in Rust.
    poll, crate::syscall::on_poll
}

plain_stub! {
    /// The entry of `lease_read`.
    lease_read, crate::lease::on_read
}

plain_stub! {
    /// The entry of `lease_write`.
    lease_write, crate::lease::on_write
}

plain_stub! {
    /// The entry of `task_fault`.
    task_fault, crate::syscall::on_task_fault
}

/// Makes the stub of a system call after which another thread may run: all registers are saved in
/// the frame.
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
    /// The entry of all system calls that have no other.
    general, crate::syscall::on_syscall
}

whole_stub! {
    /// The entry of `call` and `reply_recv` in Rust: for messages with more than a label, or in a
    /// kernel with the feature `plain` for all.
    message_stub, crate::syscall::on_message
}

whole_stub! {
    /// The entry of `signal` in Rust.
    signal, crate::syscall::on_signal
}

whole_stub! {
    /// The entry of `yield` in Rust.
    give_way, crate::syscall::on_yield
}

/// Returns to ring 3 with the frame in rax. A frame saved by `syscall` returns by `sysret`, unless
/// its return address is not a user address (which the kernel prevents, because `sysret` would
/// fault in ring 0); all others return by `iretq`. The saved selectors determine the ring; only
/// these stubs and the loader write them.
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

/// Leaves the kernel, whose state must be unlocked, to the thread that has just been made the
/// running one, given its frame. Address space and ports are prepared on the way, and everything
/// else as by [`crate::kernel::enter_running`].
#[inline(always)]
pub fn resume(frame: &TrapFrame) -> ! {
    let frame_end = (&raw const *frame).addr() + size_of::<TrapFrame>();
    // SAFETY: the frame is in the slot of the running thread, and TSS.RSP0 is that of the thread
    // that ran before. Nothing on the kernel's stack is needed any more, as the state is not
    // locked.
    unsafe { core::arch::asm!("mov rbp, {}", "jmp {}", in(reg) frame_end, sym notify::resumed, options(noreturn)) }
}

/// The entry of a vector for which the processor pushes no error code.
#[unsafe(naked)]
pub extern "C" fn stub<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

/// The entry of the timer's interrupt in a kernel with the feature `plain`.
#[cfg(feature = "plain")]
#[unsafe(naked)]
pub extern "C" fn timer() {
    naked_asm!("jmp {stub}", stub = sym stub::<{ super::pic::BASE + super::pit::LINE }>)
}

/// The entry of a vector for which the processor pushes an error code (Intel SDM vol. 3A, table
/// 6-1).
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
        // An interrupt leaves AC as the task had it. The kernel clears it, so that SMAP is
        // effective (Intel SDM vol. 3A, section 4.6).
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
        // The processor aligned the stack before it pushed five words; with seventeen more it is
        // aligned for a call again.
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

/// The entry of double fault, NMI and machine check, which have stacks of their own and never
/// return. The value of gs is unknown, and it is not used.
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

/// Waits for an interrupt and handles it. `sti` takes effect after the next instruction, `hlt`, so
/// no interrupt is missed between the two (Intel SDM vol. 2B, STI).
pub fn halt_until_interrupt() {
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
}

/// Handles pending interrupts. `sti` takes effect after the next instruction, the `nop` (Intel SDM
/// vol. 2B, STI).
pub fn let_interrupts_in() {
    // SAFETY: the kernel's state is unlocked, as in the idle loop, and an interrupt in ring 0 runs
    // to its end on this stack.
    unsafe { core::arch::asm!("sti", "nop", "cli", options(nomem)) };
}
