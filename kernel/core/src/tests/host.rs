//! The fast paths as the entry stubs run them: with a thread's registers in the processor's.
#![allow(unsafe_code)]

use crate::System;
use crate::fast::{self, Exits};
use crate::thread::{Frame, Thread};
use abi::message::Lease;
use core::arch::naked_asm;
use core::mem::offset_of;

/// The registers that go in and come out.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Registers {
    rax: u64,
    rcx: u64,
    rbx: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    /// By which exit it went on.
    exit: u64,
    /// For whoever saves registers in the middle of a path: the time.
    now: u64,
    /// For whoever saves registers in the middle of a path: the system's address.
    system: u64,
}

/// The exits, as they are numbered here.
const HANDED_OVER: u64 = 1;
const RESUMED: u64 = 2;
const RETURNED: u64 = 3;
const REFUSED: u64 = 4;
const UNTOUCHED: u64 = 5;
const DECLINED: u64 = 6;
const LINE_REFUSED: u64 = 7;
const TICKED: u64 = 8;
const TICK_REFUSED: u64 = 9;

struct Host;

macro_rules! exit {
    ($name:ident, $number:expr) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            register_asm!(
                "xchg r11, [rsp]",
                "mov qword ptr [r11 + {exit}], {number}",
                "jmp {out}";
                number = const $number,
                out = sym out,
            )
        }
    };
}

macro_rules! register_asm {
    ($($line:literal),*; $($operand:tt)*) => {
        naked_asm!(
            $($line,)*
            "# {rax}{rcx}{rbx}{rbp}{rdi}{rsi}{rdx}{r8}{r9}{r10}{r11}{r12}{r13}{r14}{r15}{exit}{now}{system}",
            rax = const offset_of!(Registers, rax),
            rcx = const offset_of!(Registers, rcx),
            rbx = const offset_of!(Registers, rbx),
            rbp = const offset_of!(Registers, rbp),
            rdi = const offset_of!(Registers, rdi),
            rsi = const offset_of!(Registers, rsi),
            rdx = const offset_of!(Registers, rdx),
            r8 = const offset_of!(Registers, r8),
            r9 = const offset_of!(Registers, r9),
            r10 = const offset_of!(Registers, r10),
            r11 = const offset_of!(Registers, r11),
            r12 = const offset_of!(Registers, r12),
            r13 = const offset_of!(Registers, r13),
            r14 = const offset_of!(Registers, r14),
            r15 = const offset_of!(Registers, r15),
            exit = const offset_of!(Registers, exit),
            now = const offset_of!(Registers, now),
            system = const offset_of!(Registers, system),
            $($operand)*
        )
    };
}

// SAFETY: all put every register that the caller of `run` wants kept back as it was, but the one that goes on at `signalled`, which does
// the same in the end.
unsafe impl Exits for Host {
    exit!(handed_over, HANDED_OVER);
    exit!(resumed, RESUMED);
    exit!(returned, RETURNED);
    exit!(refused, REFUSED);
    exit!(untouched, UNTOUCHED);
    exit!(declined, DECLINED);
    exit!(line_refused, LINE_REFUSED);
    exit!(ticked, TICKED);
    exit!(tick_refused, TICK_REFUSED);

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

    /// The registers are in the frame already, as `go` took them from there.
    #[unsafe(naked)]
    extern "C" fn waited_for() {
        register_asm!(
            "mov r13, rax",
            "mov qword ptr [r13 + {status}], 0",
            "mov r11, [rsp]",
            "mov rax, [r11 + {now}]",
            "mov r15, [r11 + {system}]",
            "jmp {signalled}";
            status = const fast::register(offset_of!(Frame, rax)),
            signalled = sym fast::signalled::<Host>,
        )
    }
}

/// Loads the registers and jumps to a path. What the path may use of the stack is the address of the registers.
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
        // Below the stack pointer, where nobody writes meanwhile.
        "mov [rsp - 8], rsi",
        "mov rax, [rdi + {rax}]",
        "mov rcx, [rdi + {rcx}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rbp, [rdi + {rbp}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rdx, [rdi + {rdx}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "jmp qword ptr [rsp - 8]";
    )
}

/// Stores the registers, of which `r11` is on the stack and the address where they go in `r11`, and returns to the caller of [`run`].
#[unsafe(naked)]
extern "C" fn out() {
    register_asm!(
        "mov [r11 + {rax}], rax",
        "mov [r11 + {rcx}], rcx",
        "mov [r11 + {rbx}], rbx",
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
        "pop rax",
        "mov [r11 + {r11}], rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret";
    )
}

/// The anchor of a thread, after a look at how the paths come to it.
fn anchor(s: &mut System, thread: u16) -> u64 {
    let first = fast::first_anchor(&mut s.threads);
    let anchor = &raw mut s.threads.at_mut(thread).expect("it is alive").frame as u64 + size_of::<Frame>() as u64;
    assert_eq!(anchor, first + u64::from(thread) * size_of::<crate::arena::Slot<Thread>>() as u64);
    anchor
}

/// The registers of a frame.
fn registers(f: &Frame) -> Registers {
    let mut r = Registers { rax: f.rax, rcx: f.rcx, rbx: f.rbx, rbp: f.rbp, rdi: f.rdi, ..Default::default() };
    (r.rsi, r.rdx, r.r8, r.r9, r.r10) = (f.rsi, f.rdx, f.r8, f.r9, f.r10);
    (r.r11, r.r12, r.r13, r.r14, r.r15) = (f.r11, f.r12, f.r13, f.r14, f.r15);
    r
}

/// Those that every thread finds again: arguments, words and those that calls keep.
fn kept(r: &Registers) -> [u64; 12] {
    [r.rbx, r.rbp, r.rdi, r.rsi, r.rdx, r.r8, r.r9, r.r10, r.r12, r.r13, r.r14, r.r15]
}

/// Runs a path with the running thread's registers, as `prepare` changes them, in the processor's. Returns those that come out, among
/// them by which exit.
fn go(s: &mut System, path: extern "C" fn(), prepare: impl FnOnce(&mut Registers, u64, u64)) -> Registers {
    let current = s.current().expect("somebody runs");
    let anchor = anchor(s, current);
    let mut r = registers(&s.threads.at(current).unwrap().frame);
    let system = &raw mut *s as u64;
    (r.now, r.system) = (s.now, system);
    prepare(&mut r, anchor, system);
    // SAFETY: the system is borrowed for as long as the path runs, the anchor is its running thread's, and `run` keeps the registers
    // that its caller wants kept.
    unsafe { run(&raw mut r, path) };
    r
}

/// Whoever runs now finds a message in the registers: what the exit stub does for it.
fn handed_over(s: &mut System, r: &Registers) {
    let to = s.current().expect("somebody runs");
    assert_eq!(r.rbp, anchor(s, to));
    let f = &mut s.threads.at_mut(to).unwrap().frame;
    (f.rax, f.rdi, f.rsi, f.r12, f.r13) = (abi::Status::Ok as u64, r.rdi, r.rsi, r.r12, 0);
    f.set_words([r.rdx, r.r10, r.r8, r.r9]);
}

/// Runs a message's system call, which is in the running thread's frame, by a fast path. Returns whether it was done.
fn message(s: &mut System, path: extern "C" fn(), number: abi::Syscall) -> bool {
    let current = s.current().expect("somebody runs");
    let f = s.threads.at(current).unwrap().frame;
    let now = s.now;
    let anchor = anchor(s, current);
    let r = go(s, path, |r, anchor, system| (r.rax, r.r13, r.r15) = (now, anchor, system));
    let system = &raw mut *s as u64;
    let words = [r.rdx, r.r10, r.r8, r.r9];
    assert_eq!((r.rsi, words, r.r13, r.r14, r.r15), (f.rsi, f.words(), anchor, f.r14, system));
    match r.exit {
        HANDED_OVER => handed_over(s, &r),
        _ => assert_eq!((r.exit, r.rax, r.rdi, r.r12), (REFUSED, number as u64, f.rdi, f.r12)),
    }
    r.exit == HANDED_OVER
}

/// `call` as its frame says.
pub fn call(s: &mut System) -> bool {
    message(s, fast::call::<Host>, abi::Syscall::Call)
}

/// `reply_recv` as its frame says.
pub fn reply_recv(s: &mut System) -> bool {
    message(s, fast::reply_recv::<Host>, abi::Syscall::ReplyRecv)
}

/// A system call of a notification, as its frame says.
fn notification(s: &mut System, path: extern "C" fn(), number: abi::Syscall) -> bool {
    let current = s.current().expect("somebody runs");
    let before = s.threads.at(current).unwrap().frame;
    let anchor = anchor(s, current);
    let r = go(s, path, |r, anchor, system| (r.rax, r.rcx) = (anchor, system));
    let unchanged = |r: &Registers| assert_eq!((r.rax, kept(r)), (anchor, kept(&registers(&before))));
    match r.exit {
        UNTOUCHED => {
            unchanged(&r);
            assert_eq!(r.rcx, number as u64);
            return false;
        }
        DECLINED => {
            assert_eq!((r.r13, s.threads.at(current).unwrap().frame.rax), (anchor, number as u64));
            s.threads.at_mut(current).unwrap().frame.rax = before.rax;
            return false;
        }
        RETURNED => {
            let after = Registers { rdx: if number == abi::Syscall::Poll { before.rdx } else { r.rdx }, ..r };
            unchanged(&after);
            let f = &mut s.threads.at_mut(current).unwrap().frame;
            (f.rax, f.rdx) = (abi::Status::Ok as u64, r.rdx);
        }
        HANDED_OVER => handed_over(s, &r),
        exit => resumed(s, &r, exit),
    }
    true
}

fn resumed(s: &mut System, r: &Registers, exit: u64) {
    let to = s.current().expect("somebody runs");
    assert_eq!((exit, r.rbp), (RESUMED, anchor(s, to)));
}

/// `poll` as its frame says.
pub fn poll(s: &mut System) -> bool {
    notification(s, fast::poll::<Host>, abi::Syscall::Poll)
}

/// `signal` as its frame says.
pub fn signal(s: &mut System) -> bool {
    notification(s, fast::signal::<Host>, abi::Syscall::Signal)
}

/// `yield`.
pub fn take_turns(s: &mut System) -> bool {
    let current = s.current().expect("somebody runs");
    let f = &mut s.threads.at_mut(current).unwrap().frame;
    let before = core::mem::replace(&mut f.rax, abi::Status::Ok as u64);
    let now = s.now;
    let r = go(s, fast::take_turns::<Host>, |r, anchor, system| (r.rax, r.r13, r.r15) = (now, anchor, system));
    if r.exit == DECLINED {
        let f = &mut s.threads.at_mut(current).unwrap().frame;
        assert_eq!(f.rax, abi::Syscall::Yield as u64);
        f.rax = before;
        return false;
    }
    resumed(s, &r, r.exit);
    true
}

/// The interrupt of a line while a thread runs.
pub fn interrupt(s: &mut System, line: u8) -> bool {
    let (now, way) = (s.now, fast::WAYS + fast::WAY_WORDS * 8 * usize::from(line));
    let r = go(s, fast::interrupt::<Host>, |r, anchor, system| {
        (r.rax, r.r13, r.r14, r.r15) = (now, anchor, system + way as u64, system);
    });
    match r.exit {
        LINE_REFUSED => return false,
        HANDED_OVER => handed_over(s, &r),
        exit => resumed(s, &r, exit),
    }
    true
}

/// A tick of the timer while a thread runs.
pub fn tick(s: &mut System) -> bool {
    let current = s.current().expect("somebody runs");
    let before = registers(&s.threads.at(current).unwrap().frame);
    let now = s.now;
    let r = go(s, fast::tick::<Host>, |r, anchor, system| (r.rax, r.rcx, r.rbx) = (now, anchor, system));
    assert_eq!(r.rbx, &raw mut *s as u64);
    let others = |r: &Registers| [r.rdi, r.rsi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15];
    assert_eq!(others(&r), others(&before));
    assert!(matches!(r.exit, TICKED | TICK_REFUSED));
    r.exit == TICKED
}
