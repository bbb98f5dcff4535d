//! What happens most often as the kernel around does it: messages by the assembly, with a thread's registers in the processor's, and the rest by
//! [`crate::direct`].
#![allow(unsafe_code)]

use super::By;
use crate::System;
use crate::layout;
use crate::thread::Frame;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

#[path = "../../../src/arch/message.rs"]
mod message;

/// What gs leads to: the core's record, and the registers as they come out.
#[repr(C)]
#[derive(Default)]
struct Record {
    frame_end: u64,
    system: u64,
    threads: u64,
    slots: u64,
    endpoints: u64,
    extras: u64,
    now: u64,
    /// The stack pointer of whoever runs the assembly.
    rsp_of_host: u64,
    /// By which exit it went on.
    exit: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rbx: u64,
    rbp: u64,
    rsp: u64,
    rsi: u64,
    rdi: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
}

const OUT: u64 = 1;
const EXTRAS: u64 = 2;
const REFUSED: u64 = 3;
const GENERAL: u64 = 4;

struct Host;

macro_rules! register_asm {
    ($($line:expr),*; $($operand:tt)*) => {
        naked_asm!(
            $($line,)*
            rax = const offset_of!(Record, rax),
            rcx = const offset_of!(Record, rcx),
            rdx = const offset_of!(Record, rdx),
            rbx = const offset_of!(Record, rbx),
            rbp = const offset_of!(Record, rbp),
            rsp = const offset_of!(Record, rsp),
            rsi = const offset_of!(Record, rsi),
            rdi = const offset_of!(Record, rdi),
            r8 = const offset_of!(Record, r8),
            r9 = const offset_of!(Record, r9),
            r10 = const offset_of!(Record, r10),
            r11 = const offset_of!(Record, r11),
            r12 = const offset_of!(Record, r12),
            r13 = const offset_of!(Record, r13),
            r14 = const offset_of!(Record, r14),
            r15 = const offset_of!(Record, r15),
            rsp_of_host = const offset_of!(Record, rsp_of_host),
            $($operand)*
        )
    };
}

macro_rules! exit {
    ($name:ident, $number:expr) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "mov qword ptr gs:[{exit}], {number}",
                "jmp {stored}",
                exit = const offset_of!(Record, exit),
                number = const $number,
                stored = sym stored,
            )
        }
    };
}

// SAFETY: the places are those of the record; all exits store the registers there and return to the caller of `run`.
unsafe impl message::Core for Host {
    const KERNEL: bool = false;
    const FRAME_END: usize = offset_of!(Record, frame_end);
    const SYSTEM: usize = offset_of!(Record, system);
    const THREADS: usize = offset_of!(Record, threads);
    const SLOTS: usize = offset_of!(Record, slots);
    const ENDPOINTS: usize = offset_of!(Record, endpoints);
    const EXTRAS: usize = offset_of!(Record, extras);
    const USER_STACK: usize = offset_of!(Record, now);
    exit!(general, GENERAL);
    exit!(refused, REFUSED);
    exit!(extras, EXTRAS);
    exit!(out, OUT);
}

/// Loads the registers from the record, which is what gs leads to, and jumps to a piece.
#[unsafe(naked)]
unsafe extern "sysv64" fn run(record: *mut Record, piece: extern "C" fn()) {
    register_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov gs:[{rsp_of_host}], rsp",
        "mov rax, rsi",
        "mov rcx, gs:[{rcx}]",
        "mov rdx, gs:[{rdx}]",
        "mov rbx, gs:[{rbx}]",
        "mov rbp, gs:[{rbp}]",
        "mov rsp, gs:[{rsp}]",
        "mov rsi, gs:[{rsi}]",
        "mov rdi, gs:[{rdi}]",
        "mov r8, gs:[{r8}]",
        "mov r9, gs:[{r9}]",
        "mov r10, gs:[{r10}]",
        "mov r11, gs:[{r11}]",
        "mov r12, gs:[{r12}]",
        "mov r13, gs:[{r13}]",
        "mov r14, gs:[{r14}]",
        "mov r15, gs:[{r15}]",
        "jmp rax",
        "# {rax}";
    )
}

/// Stores the registers, and returns to the caller of [`run`].
#[unsafe(naked)]
extern "C" fn stored() {
    register_asm!(
        "mov gs:[{rax}], rax",
        "mov gs:[{rcx}], rcx",
        "mov gs:[{rdx}], rdx",
        "mov gs:[{rbx}], rbx",
        "mov gs:[{rbp}], rbp",
        "mov gs:[{rsp}], rsp",
        "mov gs:[{rsi}], rsi",
        "mov gs:[{rdi}], rdi",
        "mov gs:[{r8}], r8",
        "mov gs:[{r9}], r9",
        "mov gs:[{r10}], r10",
        "mov gs:[{r11}], r11",
        "mov gs:[{r12}], r12",
        "mov gs:[{r13}], r13",
        "mov gs:[{r14}], r14",
        "mov gs:[{r15}], r15",
        "mov rsp, gs:[{rsp_of_host}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret";
    )
}

/// Has gs lead to a record, for this thread of the host.
fn set_gs(record: *mut Record) {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_SET_GS: u64 = 0x1001;
    let result: i64;
    // SAFETY: on this host nothing else uses gs (System V ABI, AMD64, section 3.4.2: thread-local storage is reached by fs).
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") ARCH_SET_GS, in("rsi") record, lateout("rcx") _, lateout("r11") _);
    }
    assert_eq!(result, 0, "gs cannot be set");
}

/// The anchor of a thread.
fn anchor(s: &System, thread: u16) -> u64 {
    let anchor = &raw const s.threads.at(thread).expect("it is alive").frame as u64 + size_of::<Frame>() as u64;
    let first = s.threads.base() + layout::ANCHOR as u64;
    assert_eq!(anchor, first + u64::from(thread) * layout::THREAD_SLOT as u64);
    anchor
}

/// Runs a message's system call, which is in the running thread's frame, by the assembly. Returns whether it was done.
fn message(s: &mut System, piece: extern "C" fn(), number: abi::Syscall) -> bool {
    let current = s.current().expect("somebody runs");
    let before = s.threads.at(current).unwrap().frame;
    let mut r = Record {
        frame_end: anchor(s, current),
        system: &raw mut *s as u64,
        threads: s.threads.base() + layout::ANCHOR as u64,
        slots: s.threads.capacity() as u64,
        endpoints: s.endpoints.base(),
        now: s.now,
        ..Record::default()
    };
    (r.rbx, r.rbp, r.rsp, r.rcx, r.r11) = (before.rbx, before.rbp, before.rsp, before.rip, before.rflags);
    (r.rdi, r.rsi, r.rdx, r.r8, r.r9, r.r10) = (before.rdi, before.rsi, before.rdx, before.r8, before.r9, before.r10);
    [r.r12, r.r13, r.r14, r.r15] = before.words();
    let record = &raw mut r;
    set_gs(record);
    // SAFETY: the system is borrowed for as long as the assembly runs, the record says where its parts are, and `run` keeps the registers that
    // its caller wants kept.
    unsafe { run(record, piece) };
    set_gs(core::ptr::null_mut());
    assert_eq!((r.rsi, [r.r12, r.r13, r.r14, r.r15]), (before.rsi, before.words()), "the message");
    let to = s.current().expect("somebody runs");
    let frame = s.threads.at(to).unwrap().frame;
    match r.exit {
        OUT => {
            assert_eq!(r.frame_end, anchor(s, to), "who runs");
            assert_eq!(s.threads.at(to).unwrap().extras, 0, "it goes on without what it needs");
            assert_eq!((r.rax, r.rdx, r.r9, r.r10), (0, 0, 0, 0), "what is no part of the message");
            let own = (frame.rbx, frame.rbp, frame.rsp, frame.rip, frame.rflags);
            assert_eq!((r.rbx, r.rbp, r.rsp, r.rcx, r.r11), own, "its own registers");
        }
        EXTRAS => {
            assert_eq!((r.rdx, r.frame_end), (anchor(s, to), anchor(s, current)));
            assert_ne!(s.threads.at(to).unwrap().extras, 0, "it needs nothing");
        }
        REFUSED => {
            assert_eq!((r.rax, r.r10, r.frame_end), (number as u64, anchor(s, current), anchor(s, current)));
            assert_eq!((r.rdi, r.r9), (before.rdi, before.r9), "the arguments");
            assert!(r.r8 == before.r8 || number == abi::Syscall::Call, "the token");
        }
        GENERAL => assert_eq!((r.rdi, r.r8, r.r9, r.r10), (before.rdi, before.r8, before.r9, before.r10)),
        exit => panic!("an exit of the number {exit}"),
    }
    let done = matches!(r.exit, OUT | EXTRAS);
    if done {
        let f = &mut s.threads.at_mut(to).unwrap().frame;
        f.receive(r.rdi, r.rsi, [r.r12, r.r13, r.r14, r.r15], r.r8, 0);
    } else {
        assert_eq!(frame, before, "the frame of who was refused");
    }
    done
}

/// `call` as its frame says.
pub fn call(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => message(s, message::call::<Host>, abi::Syscall::Call),
        _ => s.direct_call(),
    }
}

/// `reply_recv` as its frame says.
pub fn reply_recv(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => message(s, message::reply_recv::<Host>, abi::Syscall::ReplyRecv),
        _ => s.direct_reply(),
    }
}

/// `signal` as its frame says.
pub fn signal(s: &mut System) -> bool {
    s.direct_signal()
}

/// `yield`.
pub fn take_turns(s: &mut System) -> bool {
    s.direct_yield()
}

/// The interrupt of a line while a thread runs.
pub fn interrupt(s: &mut System, line: u8) -> bool {
    s.direct_interrupt(line)
}

/// A tick of the timer while a thread runs.
pub fn tick(s: &mut System) -> bool {
    s.direct_tick()
}
