//! The ways in and out by the fast paths of [`kernel_core::fast`], which decide in between.
//!
//! They save what the path needs, and what the thread would miss that stops running; nothing else. What a thread finds when it goes on is
//! its own, the message that is for it, or zero.
//!
//! What a round trip between two address spaces spends in the kernel, in instructions of the listing:
//!
//! | | `call` | `reply_recv` |
//! |---|---|---|
//! | entry: `swapgs`, table | 4 | 4 |
//! | what is saved, the time | 21 | 21 |
//! | the way by the handle, the partner | 13 | 25 |
//! | the account; checks: budget, importance, what is lent | 14 | 12 |
//! | the call's name and who is in which state | 16 | 5 |
//! | who runs | 5 | 7 |
//! | exit: what is special, frame, CR3 (6 of them), selectors, flags, registers | 33 | 33 |
//!
//! A poll that finds nothing takes 28 (entry 4, origin 7, way and word 10, exit 7), a signal that wakes nobody 32, a tick after which nothing is due
//! 47 (of which 8 save and restore flags and end the interrupt).

use super::entry::{USER_FLAGS, USER_FLAGS_SET, general, lease_read, lease_write, leave, stub, task_fault};
use super::percore::{EXTRAS, FRAME_END, KERNEL_STACK, SPACE, SPACE_SWITCHES, SYSTEM};
use super::{gdt, pic};
use abi::Syscall;
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::fast::{self, Exits, at, register};
use kernel_core::thread::{FLOAT, Frame, PORTS, STEP, Thread};

mod lines;

pub use lines::{line, timer};

/// The vector of the timer's line.
const TIMER: u8 = pic::BASE + super::pit::LINE;

/// System calls of larger numbers have the general entry.
pub(super) const ENTRIES: usize = Syscall::TaskFault as usize + 1;

/// Where each system call goes on, by its number: at the entry of its fast path, of what returns at once, or of all others.
pub(super) const TABLE: [extern "C" fn(); ENTRIES] = {
    let mut table: [extern "C" fn(); ENTRIES] = [general; ENTRIES];
    table[Syscall::Call as usize] = fast_call;
    table[Syscall::ReplyRecv as usize] = fast_reply_recv;
    table[Syscall::Poll as usize] = fast_poll;
    table[Syscall::Signal as usize] = fast_signal;
    table[Syscall::Yield as usize] = fast_yield;
    table[Syscall::LeaseRead as usize] = lease_read;
    table[Syscall::LeaseWrite as usize] = lease_write;
    table[Syscall::TaskFault as usize] = task_fault;
    table
};

/// Assembly in which everything that the stubs of the fast paths use has its place by name. Behind a semicolon come further operands.
macro_rules! stub_asm {
    ($($line:expr),+ $(,)?; $($operand:tt)*) => {
        naked_asm!(
            $($line,)+
            "# {r15}{r14}{r13}{r12}{r10}{r9}{r8}{rdi}{rsi}{rbp}{rbx}{rdx}{rcx}{rax}{vector}{syscall}{rip}{rflags}{rsp}{flags}{flags_set}{size}",
            "# {frame_end}{kernel_stack}{system}{core_space}{space}{space_switches}{tables}{rsp0}{extras}{core_extras}{float}{step}{ports}{task}{owner}",
            "# {iomap}{bitmap}{no_bitmap}",
            r15 = const register(offset_of!(Frame, r15)),
            r14 = const register(offset_of!(Frame, r14)),
            r13 = const register(offset_of!(Frame, r13)),
            r12 = const register(offset_of!(Frame, r12)),
            r10 = const register(offset_of!(Frame, r10)),
            r9 = const register(offset_of!(Frame, r9)),
            r8 = const register(offset_of!(Frame, r8)),
            rdi = const register(offset_of!(Frame, rdi)),
            rsi = const register(offset_of!(Frame, rsi)),
            rbp = const register(offset_of!(Frame, rbp)),
            rbx = const register(offset_of!(Frame, rbx)),
            rdx = const register(offset_of!(Frame, rdx)),
            rcx = const register(offset_of!(Frame, rcx)),
            rax = const register(offset_of!(Frame, rax)),
            vector = const register(offset_of!(Frame, vector)),
            syscall = const Frame::SYSCALL,
            rip = const register(offset_of!(Frame, rip)),
            rflags = const register(offset_of!(Frame, rflags)),
            rsp = const register(offset_of!(Frame, rsp)),
            flags = const USER_FLAGS,
            flags_set = const USER_FLAGS_SET,
            size = const size_of::<Frame>(),
            frame_end = const FRAME_END,
            kernel_stack = const KERNEL_STACK,
            system = const SYSTEM,
            core_space = const SPACE,
            space = const at(offset_of!(Thread, space)),
            space_switches = const SPACE_SWITCHES,
            tables = sym gdt::TABLES,
            rsp0 = const gdt::RSP0,
            extras = const at(offset_of!(Thread, extras)),
            core_extras = const EXTRAS,
            float = const FLOAT,
            step = const STEP,
            ports = const PORTS,
            task = const at(offset_of!(Thread, task)),
            owner = const gdt::OWNER,
            iomap = const gdt::IOMAP,
            bitmap = const gdt::TSS_BODY,
            no_bitmap = const gdt::NO_BITMAP,
            $($operand)*
        )
    };
}

use stub_asm;

/// Saves where the system call came from; `rax` is the thread's anchor then. One that `sysret` could not return from takes the general path.
macro_rules! note_origin {
    () => {
        "bt rcx, 47
        jc {general}
        mov rax, gs:[{frame_end}]
        mov [rax + {rip}], rcx
        mov [rax + {rflags}], r11"
    };
}

/// Saves all else, with the success of the system call: `r13` is the anchor then, `r15` the system's address, and `rax` the time.
macro_rules! save_all {
    () => {
        "mov [rax + {rsp}], rsp
        mov qword ptr [rax + {vector}], {syscall}
        mov qword ptr [rax + {rax}], 0
        mov [rax + {rbx}], rbx
        mov [rax + {rbp}], rbp
        mov [rax + {rdi}], rdi
        mov [rax + {rsi}], rsi
        mov [rax + {rdx}], rdx
        mov [rax + {r8}], r8
        mov [rax + {r9}], r9
        mov [rax + {r10}], r10
        mov [rax + {r12}], r12
        mov [rax + {r13}], r13
        mov [rax + {r14}], r14
        mov [rax + {r15}], r15
        mov r13, rax
        mov r15, gs:[{system}]
        rdtsc
        shl rdx, 32
        or rax, rdx"
    };
}

/// The core is the thread's `rbp` from here on: where its registers will be saved, address space, ports. Where that is not all, it goes on at
/// 9, and nothing has happened. `rbx rcx` are lost; `eax` is 0 then.
macro_rules! enter {
    () => {
        "movzx ecx, byte ptr [rbp + {extras}]
        or cl, gs:[{core_extras}]
        jnz 7f
        6:
        mov gs:[{frame_end}], rbp
        mov [rip + {tables} + {rsp0}], rbp
        xor eax, eax
        mov rbx, [rbp + {space}]
        cmp rbx, gs:[{core_space}]
        je 8f
        mov gs:[{core_space}], rbx
        inc qword ptr gs:[{space_switches}]
        mov cr3, rbx
        mov ds, eax
        mov es, eax
        mov fs, eax
        8:"
    };
}

/// The part of `enter` that is seldom needed, behind all others: ports go with the bitmap where it is the task's already, and without it
/// where the task has none. Floating-point registers and system calls that are not done are nothing for here.
macro_rules! enter_ports {
    () => {
        "7:
        test cl, {float} | {step}
        jnz 9f
        movzx ecx, byte ptr [rbp + {extras}]
        mov eax, {no_bitmap}
        jecxz 5f
        movzx eax, word ptr [rbp + {task}]
        cmp ax, [rip + {tables} + {owner}]
        jne 9f
        mov eax, {bitmap}
        5:
        mov [rip + {tables} + {iomap}], ax
        mov gs:[{core_extras}], cl
        jmp 6b"
    };
}

/// The kernel's stack, and flags of its own: an interrupt leaves AC and DF as the task had them, and SMAP holds only without AC
/// (Intel SDM vol. 3A, section 4.6). For whoever goes on in Rust.
macro_rules! settle {
    () => {
        "mov rsp, gs:[{kernel_stack}]
        push 2
        popfq
        xor ebp, ebp"
    };
}

/// The five registers that a tick uses, in the interrupted thread's frame, of which the processor has pushed five words.
macro_rules! save_five {
    () => {
        "mov [rsp + 40 + {rax}], rax
        mov [rsp + 40 + {rcx}], rcx
        mov [rsp + 40 + {rdx}], rdx
        mov [rsp + 40 + {rbx}], rbx
        mov [rsp + 40 + {rbp}], rbp"
    };
}

macro_rules! restore_five {
    () => {
        "mov rax, [rsp + 40 + {rax}]
        mov rcx, [rsp + 40 + {rcx}]
        mov rdx, [rsp + 40 + {rdx}]
        mov rbx, [rsp + 40 + {rbx}]
        mov rbp, [rsp + 40 + {rbp}]"
    };
}

use save_five;

/// The stub of a message's fast path. Saved are the registers that the system call keeps, the header, which says how much is lent, and what the
/// path needs for itself.
macro_rules! message_stub {
    ($(#[$doc:meta])* $name:ident, $path:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C" fn $name() {
            stub_asm!(
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
                "jmp {path}";
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

/// The stub of a notification's fast path, which saves nothing but where the system call came from.
macro_rules! light_stub {
    ($(#[$doc:meta])* $name:ident, $path:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C" fn $name() {
            stub_asm!(note_origin!(), "mov rcx, gs:[{system}]", "jmp {path}"; general = sym general, path = sym $path,)
        }
    };
}

light_stub! {
    /// `poll`.
    fast_poll, fast::poll::<Stubs>
}

light_stub! {
    /// `signal`.
    fast_signal, fast::signal::<Stubs>
}

/// `yield`.
#[unsafe(naked)]
extern "C" fn fast_yield() {
    stub_asm!(note_origin!(), save_all!(), "jmp {path}"; general = sym general, path = sym fast::take_turns::<Stubs>,)
}

/// Where the fast paths go on in the kernel.
struct Stubs;

// SAFETY: all take the registers as `Exits` has them. Those that leave do it to the thread that runs now, with registers of its own:
// from its frame, of the message that is for it, or kept as they were in its own system call. The others complete the frame of the thread that
// runs on, for which everything else has been saved by the stub.
unsafe impl Exits for Stubs {
    #[unsafe(naked)]
    extern "C" fn handed_over() {
        stub_asm!(
            // A frame that `sysret` cannot leave with takes longer.
            "cmp qword ptr [rbp + {vector}], {syscall}",
            "jne 9f",
            "mov r11, [rbp + {rip}]",
            "bt r11, 47",
            "jc 9f",
            enter!(),
            "mov rcx, r11",
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
            enter_ports!(),
            "9:",
            "mov [rbp + {rdi}], rdi",
            "mov [rbp + {rsi}], rsi",
            "mov [rbp + {rdx}], rdx",
            "mov [rbp + {r10}], r10",
            "mov [rbp + {r8}], r8",
            "mov [rbp + {r9}], r9",
            "mov [rbp + {r12}], r12",
            "mov qword ptr [rbp + {r13}], 0",
            "mov qword ptr [rbp + {rax}], 0",
            "jmp {enter_slowly}";
            enter_slowly = sym enter_slowly,
        )
    }

    #[unsafe(naked)]
    extern "C" fn lend() {
        stub_asm!(
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
            "jmp {refused}";
            handler = sym crate::lease::lend,
            call = const abi::Syscall::Call as u32,
            refused = sym Self::refused,
        )
    }

    #[unsafe(naked)]
    extern "C" fn resumed() {
        stub_asm!(
            enter!(),
            "swapgs",
            "mov gs, eax",
            "swapgs",
            "lea rax, [rbp - {size}]",
            "jmp {leave}",
            enter_ports!(),
            "9:",
            "jmp {enter_slowly}";
            enter_slowly = sym enter_slowly,
            leave = sym leave,
        )
    }

    #[unsafe(naked)]
    extern "C" fn returned() {
        stub_asm!(
            // The stub has looked at `rip`.
            "mov rcx, [rax + {rip}]",
            "mov r11d, [rax + {rflags}]",
            "and r11d, {flags}",
            "or r11d, {flags_set}",
            "xor eax, eax",
            "swapgs",
            "sysretq";
        )
    }

    #[unsafe(naked)]
    extern "C" fn refused() {
        stub_asm!(
            "mov [r13 + {rax}], rax",
            "mov [r13 + {rdx}], rdx",
            "mov [r13 + {r10}], r10",
            "mov [r13 + {r8}], r8",
            "mov [r13 + {r9}], r9",
            "jmp {declined}";
            declined = sym Self::declined,
        )
    }

    #[unsafe(naked)]
    extern "C" fn untouched() {
        stub_asm!(
            "mov r11, [rax + {rflags}]",
            "mov [rax + {rax}], rcx",
            "mov rcx, [rax + {rip}]",
            "mov rax, [rax + {rax}]",
            "jmp {general}";
            general = sym general,
        )
    }

    #[unsafe(naked)]
    extern "C" fn declined() {
        stub_asm!(
            "lea rdi, [r13 - {size}]",
            settle!(),
            "call {handler}",
            "jmp {leave}";
            handler = sym crate::syscall::on_syscall,
            leave = sym leave,
        )
    }

    #[unsafe(naked)]
    extern "C" fn waited_for() {
        stub_asm!(save_all!(), "jmp {path}"; path = sym fast::signalled::<Stubs>,)
    }

    #[unsafe(naked)]
    extern "C" fn line_refused() {
        stub_asm!(
            "lea rdi, [r13 - {size}]",
            settle!(),
            "call {handler}",
            "jmp {leave}";
            handler = sym crate::trap::line_from_user,
            leave = sym leave,
        )
    }

    #[unsafe(naked)]
    extern "C" fn ticked() {
        stub_asm!(
            "inc qword ptr [rbx + {interrupts}]",
            "mov al, {end}",
            "out {command}, al",
            "and dword ptr [rsp + 16], {flags}",
            "or dword ptr [rsp + 16], {flags_set}",
            restore_five!(),
            "swapgs",
            "iretq";
            interrupts = const fast::INTERRUPTS,
            end = const pic::END,
            command = const pic::COMMAND[0],
        )
    }

    #[unsafe(naked)]
    extern "C" fn tick_refused() {
        stub_asm!(
            restore_five!(),
            "swapgs",
            "jmp {general}";
            general = sym stub::<TIMER>,
        )
    }
}

/// Does for the thread that runs now what its frame, floating-point registers or ports want besides.
#[unsafe(naked)]
extern "C" fn enter_slowly() {
    stub_asm!(
        settle!(),
        "call {enter}",
        "jmp {leave}";
        enter = sym crate::kernel::enter_current,
        leave = sym leave,
    )
}
