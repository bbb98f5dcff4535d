//! The entries to the kernel and the exits from it.
//!
//! On entry from ring 3 the registers are saved directly in the running thread's [`TrapFrame`]: the
//! processor pushes five words there, because TSS.RSP0 points to the frame's end, and these stubs
//! push the rest. The kernel then runs on its one stack with interrupts off, and returns the frame
//! to leave with, which may be another thread's. In ring 0 only the idle loop and the pause between
//! two steps of a system call are interrupted; anything else is a defect and ends in a report.
//!
//! The stubs are generic over the functions of the kernel above in which they continue: see
//! [`super::handlers`].

use super::fast::Core;
use super::gdt::{self, USER_CODE, USER_DATA};
use super::handlers::Handlers;
use super::percore::{self, FRAME_END, KERNEL_STACK, SYSTEM_CALLS, USER_STACK};
use super::{message, notify, switch};
use abi::Syscall;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::register;
use kernel_core::thread::TrapFrame;

/// Offset of the `vector` word in a frame.
const VECTOR: usize = offset_of!(TrapFrame, vector);
const _: () = assert!(VECTOR == 15 * 8, "the stubs push fifteen registers");

/// The entry of each system call, by its number: assembly that performs it, a stub that returns at
/// once, or the general entry.
#[expect(clippy::indexing_slicing, reason = "when it is compiled, an index that is too large is an error")]
pub const fn table<H: Handlers>() -> [extern "C" fn(); SYSTEM_CALLS] {
    let mut table: [extern "C" fn(); SYSTEM_CALLS] = [H::general; SYSTEM_CALLS];
    let plain = cfg!(feature = "plain");
    table[Syscall::Call as usize] = if plain { H::message } else { message::call::<H> };
    table[Syscall::ReplyRecv as usize] = if plain { H::message } else { message::reply_recv::<H> };
    table[Syscall::Signal as usize] = if plain { signal::<H> } else { notify::signal::<H> };
    table[Syscall::Yield as usize] = if plain { give_way::<H> } else { switch::give_way::<H> };
    table[Syscall::Poll as usize] = if plain { H::poll } else { notify::poll::<H> };
    table[Syscall::LeaseRead as usize] = lease_read::<H>;
    table[Syscall::LeaseWrite as usize] = lease_write::<H>;
    table[Syscall::TaskFault as usize] = task_fault::<H>;
    table
}

/// The entry of `syscall`: rcx holds the return address, r11 the flags, and rsp is still the
/// user's.
#[unsafe(naked)]
pub extern "C" fn syscall_entry<H: Handlers>() {
    naked_asm!(
        "swapgs",
        "cmp rax, {count}",
        "jae {general}",
        "jmp qword ptr gs:[rax * 8 + {entries}]",
        count = const SYSTEM_CALLS,
        entries = const percore::ENTRIES,
        general = sym H::general,
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
            leave = sym H::leave,
        )
    };
}

/// Makes the stub of a system call that always returns to the caller: registers that the call
/// preserves are saved on the kernel's stack, and the flags need no change. The handler gets the
/// argument registers in order (the fourth moved from r10 to rcx), and the kernel's state.
macro_rules! plain_stub {
    ($handler:path) => {
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
    };
}

/// The entry of `lease_read`.
#[unsafe(naked)]
extern "C" fn lease_read<H: Handlers>() {
    plain_stub!(H::on_read)
}

/// The entry of `lease_write`.
#[unsafe(naked)]
extern "C" fn lease_write<H: Handlers>() {
    plain_stub!(H::on_write)
}

/// The entry of `task_fault`.
#[unsafe(naked)]
extern "C" fn task_fault<H: Handlers>() {
    plain_stub!(H::on_task_fault)
}

/// Makes the stub of a system call after which another thread may run: all registers are saved in
/// the frame.
macro_rules! whole_stub {
    ($handler:path) => {
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
            leave = sym H::leave,
        )
    };
}

/// The entry of `signal` in a kernel with the feature `plain`.
#[unsafe(naked)]
extern "C" fn signal<H: Handlers>() {
    whole_stub!(H::on_signal)
}

/// The entry of `yield` in a kernel with the feature `plain`.
#[unsafe(naked)]
extern "C" fn give_way<H: Handlers>() {
    whole_stub!(H::on_yield)
}

// SAFETY: the offsets are those of the core's record. The functions that take the registers as
// after `syscall` save those that Rust may change; `refused` completes the frame of the calling
// thread, `extras` and `extras_of_message` that of the running one. All of them continue in Rust as
// after any system call, and `timer` and `common` as after any interrupt.
unsafe impl<H: Handlers> Core for H {
    const RING_0: bool = true;
    const FRAME_END: usize = FRAME_END;
    const KERNEL_STACK: usize = KERNEL_STACK;
    const STATE: usize = percore::KERNEL;
    const SYSTEM: usize = percore::SYSTEM;
    const THREADS: usize = percore::THREADS;
    const SLOTS: usize = percore::SLOTS;
    const ENDPOINTS: usize = percore::ENDPOINTS;
    const NOTIFICATIONS: usize = percore::NOTIFICATIONS;
    const EXTRAS: usize = percore::EXTRAS;
    const SPACE_SWITCHES: usize = percore::SPACE_SWITCHES;
    const USER_STACK: usize = USER_STACK;
    const IOMAP: usize = percore::TABLES + gdt::IOMAP;
    const OWNER: usize = percore::TABLES + gdt::OWNER;
    const BITMAP: usize = gdt::TSS_BODY;
    const NO_BITMAP: u16 = gdt::NO_BITMAP;

    #[unsafe(naked)]
    extern "C" fn general() {
        whole_stub!(H::on_syscall)
    }

    #[unsafe(naked)]
    extern "C" fn message() {
        whole_stub!(H::on_message)
    }

    #[unsafe(naked)]
    extern "C" fn poll() {
        plain_stub!(H::on_poll)
    }

    #[unsafe(naked)]
    extern "C" fn refused() {
        whole_frame!("r10", "mov [r10 + {rax}], rax", H::on_message)
    }

    #[unsafe(naked)]
    extern "C" fn extras() {
        naked_asm!("mov rbp, rdx", "jmp {handed_over}", handed_over = sym switch::handed_over::<H>)
    }

    #[unsafe(naked)]
    extern "C" fn extras_of_message() {
        // r9 and rax belong to the sender or the assembly, not to this thread.
        whole_frame!("rdx", "mov qword ptr [rdx + {rax}], 0\nxor r9d, r9d", H::enter_current)
    }

    /// Returns to ring 3 with the frame in rax. A frame saved by `syscall` returns by `sysret`,
    /// unless its return address is not a user address (which the kernel prevents, because `sysret`
    /// would fault in ring 0); all others return by `iretq`. Their frames count as saved by
    /// `syscall` from then on: another interrupt saves its vector, and the assembly of `call` and
    /// `reply_recv` saves none. The saved selectors determine the ring; only these stubs and the
    /// loader write them.
    #[unsafe(naked)]
    extern "C" fn leave() -> ! {
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
            "mov qword ptr [rsp], {syscall}",
            "add rsp, 16",
            "swapgs",
            "iretq",
            rflags = const offset_of!(TrapFrame, rflags),
            flags = const TrapFrame::USER_FLAGS,
            flags_set = const TrapFrame::USER_FLAGS_SET,
            syscall = const TrapFrame::SYSCALL,
        )
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
            // The processor aligned the stack before it pushed five words; with seventeen more it
            // is aligned for a call again.
            "cld",
            "call {from_kernel}",
            "pop r15", "pop r14", "pop r13", "pop r12", "pop r11", "pop r10", "pop r9", "pop r8",
            "pop rdi", "pop rsi", "pop rbp", "pop rbx", "pop rdx", "pop rcx", "pop rax",
            "add rsp, 16",
            "iretq",
            kernel = const percore::KERNEL,
            kernel_stack = const KERNEL_STACK,
            from_user = sym H::from_user,
            from_kernel = sym H::from_kernel,
            leave = sym H::leave,
        )
    }

    #[unsafe(naked)]
    extern "C" fn out() {
        naked_asm!("ud2")
    }
}

/// Leaves the kernel, whose state must be unlocked, to the thread that has just been made the
/// running one, given its frame. Address space and ports are prepared on the way, and everything
/// else by [`super::fast::General::enter_current`].
#[inline(always)]
pub fn resume<H: Handlers>(frame: &TrapFrame) -> ! {
    let frame_end = (&raw const *frame).addr() + size_of::<TrapFrame>();
    // SAFETY: the frame is in the slot of the running thread, and TSS.RSP0 is that of the thread
    // that ran before. Nothing on the kernel's stack is needed any more, as the state is not
    // locked.
    unsafe { core::arch::asm!("mov rbp, {}", "jmp {}", in(reg) frame_end, sym switch::resumed::<H>, options(noreturn)) }
}

/// Returns to ring 3 with a frame, for the first time.
///
/// # Safety
/// The frame must be that of a thread for which the core is prepared, as after any system call.
/// Nothing on the stack may be needed any more.
pub unsafe fn leave<H: Handlers>(frame: *const TrapFrame) -> ! {
    // SAFETY: the caller guarantees what `leave` needs.
    unsafe { core::arch::asm!("jmp {}", sym H::leave, in("rax") frame, options(noreturn)) }
}

/// The entry of a vector for which the processor pushes no error code.
#[unsafe(naked)]
pub extern "C" fn stub<H: Handlers, const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {common}", vector = const VECTOR, common = sym H::common)
}

/// The entry of a vector for which the processor pushes an error code (Intel SDM vol. 3A, table
/// 6-1).
#[unsafe(naked)]
pub extern "C" fn stub_with_error<H: Handlers, const VECTOR: u8>() {
    naked_asm!("push {vector}", "jmp {common}", vector = const VECTOR, common = sym H::common)
}

/// The entry of double fault, NMI and machine check, which have stacks of their own and never
/// return. The value of gs is unknown, and it is not used.
#[unsafe(naked)]
pub extern "C" fn fatal<H: Handlers, const VECTOR: u8, const ERROR: bool>() {
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
        handler = sym H::fatal,
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
