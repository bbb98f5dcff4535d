//! The fast paths as the entry stub runs them: with a thread's registers in the processor's.
#![allow(unsafe_code)]

use crate::System;
use crate::fast::{self, Exits};
use crate::thread::{Frame, Thread};
use abi::message::Lease;
use core::arch::naked_asm;
use core::mem::offset_of;

/// The registers that go in and come out.
#[repr(C)]
#[derive(Default)]
struct Registers {
    rax: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    handed_over: u64,
}

struct Host;

// SAFETY: they put every register that the caller of `run` wants kept back as it was.
unsafe impl Exits for Host {
    #[unsafe(naked)]
    extern "C" fn handed_over() {
        naked_asm!("mov ecx, 1", "jmp {out}", out = sym out)
    }

    #[unsafe(naked)]
    extern "C" fn lend() {
        naked_asm!(
            "test r12, r12",
            "jz 2f",
            "push rsi",
            "push rdi",
            "mov ecx, esi",
            "shr ecx, 16",
            "imul ecx, ecx, {lease} / 8",
            "mov rsi, r12",
            "lea rdi, [r13 + {leases}]",
            "rep movsq",
            "pop rdi",
            "pop rsi",
            "jmp r11",
            "2:",
            "mov eax, {call}",
            "jmp {refused}",
            lease = const size_of::<Lease>(),
            leases = const fast::at(offset_of!(Thread, leases)),
            call = const abi::Syscall::Call as u32,
            refused = sym Self::refused,
        )
    }

    #[unsafe(naked)]
    extern "C" fn refused() {
        naked_asm!("xor ecx, ecx", "jmp {out}", out = sym out)
    }
}

macro_rules! register_asm {
    ($($line:literal),*) => {
        naked_asm!(
            $($line,)*
            rax = const offset_of!(Registers, rax),
            rbp = const offset_of!(Registers, rbp),
            rdi = const offset_of!(Registers, rdi),
            rsi = const offset_of!(Registers, rsi),
            rdx = const offset_of!(Registers, rdx),
            r8 = const offset_of!(Registers, r8),
            r9 = const offset_of!(Registers, r9),
            r10 = const offset_of!(Registers, r10),
            r12 = const offset_of!(Registers, r12),
            r13 = const offset_of!(Registers, r13),
            r14 = const offset_of!(Registers, r14),
            r15 = const offset_of!(Registers, r15),
            done = const offset_of!(Registers, handed_over),
        )
    };
}

/// Loads the registers and jumps to a path.
#[unsafe(naked)]
unsafe extern "sysv64" fn run(registers: *mut Registers, path: extern "C" fn()) {
    register_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "mov r11, rsi",
        "mov rax, [rdi + {rax}]",
        "mov rbp, [rdi + {rbp}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rdx, [rdi + {rdx}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "jmp r11 # {done}"
    )
}

/// Stores the registers and returns to the caller of [`run`].
#[unsafe(naked)]
extern "C" fn out() {
    register_asm!(
        "pop r11",
        "mov [r11 + {done}], rcx",
        "mov [r11 + {rax}], rax",
        "mov [r11 + {rbp}], rbp",
        "mov [r11 + {rdi}], rdi",
        "mov [r11 + {rsi}], rsi",
        "mov [r11 + {rdx}], rdx",
        "mov [r11 + {r8}], r8",
        "mov [r11 + {r9}], r9",
        "mov [r11 + {r10}], r10",
        "mov [r11 + {r12}], r12",
        "mov [r11 + {r13}], r13",
        "mov [r11 + {r14}], r14",
        "mov [r11 + {r15}], r15",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret"
    )
}

/// Runs the system call in the running thread's frame by a fast path. Returns whether it was done, and what it left in the registers.
fn go(s: &mut System, path: extern "C" fn(), number: abi::Syscall) -> bool {
    let current = s.current().expect("somebody runs");
    let before = s.threads.at(current).expect("it is alive").frame;
    let anchor = &raw mut s.threads.at_mut(current).unwrap().frame as u64 + size_of::<Frame>() as u64;
    let f = before;
    let system = &raw mut *s;
    let mut r = Registers { rax: s.now, r13: anchor, r15: system as u64, ..Default::default() };
    (r.rdi, r.rsi, r.rdx, r.r8, r.r9, r.r10, r.r12, r.r14) = (f.rdi, f.rsi, f.rdx, f.r8, f.r9, f.r10, f.r12, f.r14);
    // SAFETY: the system is borrowed for as long as the path runs, the anchor is its running thread's, and `run` keeps the registers
    // that its caller wants kept.
    unsafe { run(&raw mut r, path) };
    let words = [r.rdx, r.r10, r.r8, r.r9];
    assert_eq!((r.rsi, words, r.r13, r.r14, r.r15), (f.rsi, f.words(), anchor, f.r14, system as u64));
    if r.handed_over == 0 {
        assert_eq!((r.rax, r.rdi, r.r12), (number as u64, f.rdi, f.r12));
        return false;
    }
    let to = s.current().expect("somebody runs");
    let first = fast::first_anchor(&mut s.threads);
    assert_eq!(r.rbp, first + u64::from(to) * size_of::<crate::arena::Slot<Thread>>() as u64);
    assert_eq!(r.rbp, &raw const s.threads.at(to).unwrap().frame as u64 + size_of::<Frame>() as u64);
    let f = &mut s.threads.at_mut(to).unwrap().frame;
    // What the exit stub does for a thread that has just come back from its system call.
    (f.rax, f.rdi, f.rsi, f.r12, f.r13) = (abi::Status::Ok as u64, r.rdi, r.rsi, r.r12, 0);
    f.set_words(words);
    true
}

/// `call` as its frame says.
pub fn call(s: &mut System) -> bool {
    go(s, fast::call::<Host>, abi::Syscall::Call)
}

/// `reply_recv` as its frame says.
pub fn reply_recv(s: &mut System) -> bool {
    go(s, fast::reply_recv::<Host>, abi::Syscall::ReplyRecv)
}
