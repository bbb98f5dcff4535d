//! What happens most often as the kernel around does it: by the assembly, with a thread's registers in the processor's, or by its twins in
//! [`crate::direct`].
#![allow(unsafe_code)]

use super::By;
use crate::System;
use crate::layout;
use crate::thread::TrapFrame;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

#[path = "../../../src/arch/fast.rs"]
mod fast;
#[path = "../../../src/arch/interrupt.rs"]
mod interrupt;
#[path = "../../../src/arch/message.rs"]
mod message;
#[path = "../../../src/arch/notify.rs"]
mod notify;
#[path = "../../../src/arch/switch.rs"]
mod switch;

use fast::{Core, General};

/// What gs leads to: the core's record, and the registers as they come out.
#[repr(C)]
#[derive(Default)]
struct Record {
    frame_end: u64,
    system: u64,
    threads: u64,
    slots: u64,
    endpoints: u64,
    notifications: u64,
    extras: u64,
    now: u64,
    /// The base of the ports' bitmap, and whose ports are clear in it.
    iomap: u16,
    owner: u16,
    kernel: u64,
    space_switches: u64,
    /// Where the kernel's own stack ends.
    kernel_stack: u64,
    /// The stack pointer of whoever runs the assembly.
    rsp_of_host: u64,
    /// Where the piece is.
    piece: u64,
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
/// Of the assembly of `notify`, `interrupt` and `switch`: to the way out with the frame in `rax`.
const LEAVE: u64 = 5;
/// To the general path of a system call with the frame in `rdi`.
const DECLINED: u64 = 6;
/// To prepare more for who runs; the rest is in its frame.
const ENTER: u64 = 7;
/// To the general path of an interrupt, as if nothing had happened; of a line, which has been masked, with the frame in `rdi`.
const INTERRUPT: u64 = 8;
const LINE: u64 = 9;

struct Host;

/// The vector of line 0, and the timer's line.
const LINES: u8 = 32;
const TIMER: u8 = 0;

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
    ($name:ident($($argument:ty),*) $(-> $result:ty)?, $number:expr) => {
        #[unsafe(naked)]
        extern "C" fn $name($(_: $argument),*) $(-> $result)? {
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

// SAFETY: no function returns to the assembly: each stores the registers in the record and returns
// to the caller of `run`.
unsafe impl General for Host {
    exit!(on_syscall(&TrapFrame) -> *const TrapFrame, DECLINED);
    exit!(enter_current(&TrapFrame, &mut Host) -> *const TrapFrame, ENTER);
    exit!(line_from_user(&TrapFrame, &mut Host) -> *const TrapFrame, LINE);
}

// SAFETY: the places are those of the record; all exits store the registers there and return to the caller of `run`.
unsafe impl Core for Host {
    const RING_0: bool = false;
    const FRAME_END: usize = offset_of!(Record, frame_end);
    const KERNEL_STACK: usize = offset_of!(Record, kernel_stack);
    const STATE: usize = offset_of!(Record, kernel);
    const SYSTEM: usize = offset_of!(Record, system);
    const THREADS: usize = offset_of!(Record, threads);
    const SLOTS: usize = offset_of!(Record, slots);
    const ENDPOINTS: usize = offset_of!(Record, endpoints);
    const NOTIFICATIONS: usize = offset_of!(Record, notifications);
    const EXTRAS: usize = offset_of!(Record, extras);
    const SPACE_SWITCHES: usize = offset_of!(Record, space_switches);
    const USER_STACK: usize = offset_of!(Record, now);
    const IOMAP: usize = offset_of!(Record, iomap);
    const OWNER: usize = offset_of!(Record, owner);
    const BITMAP: usize = 104;
    const NO_BITMAP: u16 = 0xffff;
    const LINES: u8 = LINES;
    const PIC: [u16; 2] = [0x20, 0xa0];
    const END: u8 = 0x20;
    exit!(general(), GENERAL);
    exit!(message(), GENERAL);
    exit!(poll(), REFUSED);
    exit!(refused(), REFUSED);
    exit!(extras(), EXTRAS);
    exit!(extras_of_message(), EXTRAS);
    exit!(leave() -> !, LEAVE);
    exit!(timer(), INTERRUPT);
    exit!(common(), INTERRUPT);
    exit!(out(), OUT);
}

/// Loads the registers from the record, which is what gs leads to, and jumps to a piece.
#[unsafe(naked)]
unsafe extern "sysv64" fn run(record: *mut Record, piece: extern "C" fn()) {
    register_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov gs:[{rsp_of_host}], rsp",
        "mov gs:[{piece}], rsi",
        "mov rax, gs:[{rax}]",
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
        "jmp gs:[{piece}]";
        piece = const offset_of!(Record, piece),
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

/// The frame end of a thread.
fn frame_end(s: &System, thread: u16) -> u64 {
    let frame_end = &raw const s.threads.at(thread).expect("it is alive").frame as u64 + size_of::<TrapFrame>() as u64;
    let first = s.threads.base() + layout::FRAME_END as u64;
    assert_eq!(frame_end, first + u64::from(thread) * layout::THREAD_SLOT as u64);
    frame_end
}

/// The core's record, with the registers of the running thread, which makes a system call.
fn record(s: &mut System, current: u16) -> Record {
    let before = s.threads.at(current).unwrap().frame;
    let mut r = Record {
        frame_end: frame_end(s, current),
        system: &raw mut *s as u64,
        threads: s.threads.base() + layout::FRAME_END as u64,
        slots: s.threads.capacity() as u64,
        endpoints: s.endpoints.base(),
        notifications: s.notifications.base(),
        now: s.now,
        ..Record::default()
    };
    (r.rax, r.rbx, r.rbp, r.rsp, r.rcx, r.r11) =
        (before.rax, before.rbx, before.rbp, before.rsp, before.rip, before.rflags);
    (r.rdi, r.rsi, r.rdx, r.r8, r.r9, r.r10) = (before.rdi, before.rsi, before.rdx, before.r8, before.r9, before.r10);
    [r.r12, r.r13, r.r14, r.r15] = before.words();
    r
}

/// Runs a piece of assembly with these registers.
fn execute(r: &mut Record, piece: extern "C" fn()) {
    let mut stack = [0_u128; 32];
    r.kernel_stack = stack.as_mut_ptr_range().end as u64;
    let record = &raw mut *r;
    set_gs(record);
    // SAFETY: the system, which whoever calls has borrowed alone, is where the record says, with its parts, and `run` keeps the registers that
    // its caller wants kept.
    unsafe { run(record, piece) };
    set_gs(core::ptr::null_mut());
}

/// Ends a thread in such a way that all that the assembly looks at in its place is as it was, but for the generation.
pub fn end_without_trace(s: &mut System, thread: u16) {
    const PARTS: [(isize, usize); 4] =
        [(layout::TOKEN, 8), (layout::STATE, 8), (layout::BUDGET, 4), (layout::EFFECTIVE, 1)];
    let frame_end = frame_end(s, thread) as *mut u8;
    // SAFETY: the parts lie in the thread's slot, of which only the tag says whether there is one, and that is in none of them: see below.
    let kept = PARTS.map(|(at, len)| unsafe { core::slice::from_raw_parts(frame_end.offset(at), len) }.to_vec());
    s.thread_exit(thread);
    for ((at, _), bytes) in PARTS.into_iter().zip(kept) {
        // SAFETY: as above.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), frame_end.offset(at), bytes.len()) };
    }
    assert!(s.threads.at(thread).is_none());
}

/// What a thread is resumed with that is no part of a message.
type Own = (u64, u64, u64, u64, u64);

fn own(f: &TrapFrame) -> Own {
    (f.rbx, f.rbp, f.rsp, f.rip, f.rflags)
}

/// Gives each thread something of its own in these registers; returns what they were, for [`give_back`].
fn distinguish(s: &mut System) -> Vec<(u16, Own)> {
    let threads: Vec<u16> = s.threads.iter().map(|(id, _)| id.index()).collect();
    let mut known = Vec::new();
    for index in threads {
        let f = &mut s.threads.at_mut(index).unwrap().frame;
        known.push((index, own(f)));
        let n = 0x1000 * (u64::from(index) + 1);
        (f.rbx, f.rbp, f.rsp, f.rip, f.rflags) = (n + 1, n + 2, n + 3, n + 4, 0x202 | u64::from(index & 1));
    }
    known
}

fn give_back(s: &mut System, known: Vec<(u16, Own)>) {
    for (index, own) in known {
        let f = &mut s.threads.at_mut(index).unwrap().frame;
        (f.rbx, f.rbp, f.rsp, f.rip, f.rflags) = own;
    }
}

/// Runs a message's system call, which is in the running thread's frame, by the assembly. Returns whether it was done.
fn message(s: &mut System, piece: extern "C" fn(), number: abi::Syscall) -> bool {
    let current = s.current().expect("somebody runs");
    let known = distinguish(s);
    let before = s.threads.at(current).unwrap().frame;
    let mut r = record(s, current);
    // What it has saved, it saves again.
    let f = &mut s.threads.at_mut(current).unwrap().frame;
    (f.rbx, f.rbp, f.rsp, f.rip, f.rflags) = (0, 0, 0, 0, 0);
    execute(&mut r, piece);
    if r.exit == GENERAL {
        s.threads.at_mut(current).unwrap().frame = before;
    }
    assert_eq!((r.rsi, [r.r12, r.r13, r.r14, r.r15]), (before.rsi, before.words()), "the message");
    let to = s.current().expect("somebody runs");
    let frame = s.threads.at(to).unwrap().frame;
    match r.exit {
        OUT => {
            assert_eq!(r.frame_end, frame_end(s, to), "who runs");
            assert_eq!(s.threads.at(to).unwrap().extras, 0, "it goes on without what it needs");
            assert_eq!((r.rax, r.rdx, r.r9, r.r10), (0, 0, 0, 0), "what is no part of the message");
            assert_eq!((r.rbx, r.rbp, r.rsp, r.rcx, r.r11), own(&frame), "its own registers");
        }
        EXTRAS => {
            assert_eq!((r.rdx, r.frame_end), (frame_end(s, to), frame_end(s, current)));
            assert_ne!(s.threads.at(to).unwrap().extras, 0, "it needs nothing");
        }
        REFUSED => {
            assert_eq!((r.rax, r.r10, r.frame_end), (number as u64, frame_end(s, current), frame_end(s, current)));
            assert_eq!((r.rdi, r.r9), (before.rdi, before.r9), "the arguments");
            assert!(r.r8 == before.r8 || number == abi::Syscall::Call, "the token");
        }
        GENERAL => assert_eq!((r.rdi, r.r8, r.r9, r.r10), (before.rdi, before.r8, before.r9, before.r10)),
        exit => panic!("an exit of the number {exit}"),
    }
    let saved = s.threads.at(current).unwrap().frame;
    assert_eq!(own(&saved), own(&before), "what is kept of the registers");
    let done = matches!(r.exit, OUT | EXTRAS);
    if done {
        let f = &mut s.threads.at_mut(to).unwrap().frame;
        f.receive(r.rdi, r.rsi, [r.r12, r.r13, r.r14, r.r15], r.r8, 0);
    } else {
        assert_eq!(frame, before, "the frame of who was refused");
    }
    give_back(s, known);
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

/// In the frame for a register that has not been saved.
const NOT_SAVED: u64 = 0xdead_dead_dead_dead;

/// How a piece of assembly that is no message is come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Call(abi::Syscall),
    /// By the processor, which has pushed five words.
    Line(u8),
}

/// What the registers of who was interrupted, or made the system call, are to be: those of the frame, and rax.
fn are(r: &Record, f: &TrapFrame, rax: u64, what: &str) {
    assert_eq!((r.rax, r.rbx, r.rbp), (rax, f.rbx, f.rbp), "{what}");
    assert_eq!((r.rdi, r.rsi, r.r8, r.r9, r.r10), (f.rdi, f.rsi, f.r8, f.r9, f.r10), "{what}");
    assert_eq!([r.r12, r.r13, r.r14, r.r15], f.words(), "{what}");
}

/// Runs what is no message by the assembly. Returns whether it was done.
fn notified(s: &mut System, piece: extern "C" fn(), entry: Entry) -> bool {
    let current = s.current().expect("somebody runs");
    let all = distinguish(s);
    let known = s.threads.at(current).unwrap().frame;
    // What the kernel around sees to, and each register with something of its own.
    let (rip, rflags, cs) = (0x40_1000, 0x202 | 0x8d5, 0x2b);
    let before = TrapFrame { rip, rflags, cs, ss: 0x23, rsp: 0x7000_1000, rcx: 77, r11: 78, rdx: 79, ..known };
    s.threads.at_mut(current).unwrap().frame = before;
    let mut r = record(s, current);
    // What it has saved, it saves again; the system call has lost the two.
    let [rcx, r11] = [before.rcx, before.r11];
    let mut blank = before;
    blank.general_mut().into_iter().for_each(|register| *register = NOT_SAVED);
    s.threads.at_mut(current).unwrap().frame = TrapFrame { rcx, r11, ..blank };
    let interrupts = s.counters.interrupts;
    let pushed = r.frame_end - 40;
    if let Entry::Line(_) = entry {
        (r.rsp, r.rcx, r.r11) = (pushed, before.rcx, before.r11);
    }
    execute(&mut r, piece);
    let to = s.current().expect("somebody runs");
    let (mine, next) = (frame_end(s, current), frame_end(s, to));
    // What has been saved in the frame of who ran.
    let (saved, all_saved) = {
        let f = &mut s.threads.at_mut(current).unwrap().frame;
        let mut saved = core::mem::replace(f, known);
        let all_saved = saved.vector != known.vector;
        for (register, mut before) in
            saved.general_mut().into_iter().zip({ before }.general_mut().map(|register| *register))
        {
            if !all_saved && *register == NOT_SAVED {
                core::mem::swap(register, &mut before);
            }
        }
        (saved, all_saved)
    };
    let rax = match (entry, r.exit) {
        (Entry::Call(call), DECLINED) => call as u64,
        (Entry::Call(_), _) => 0,
        (Entry::Line(_), _) => before.rax,
    };
    if all_saved {
        let vector = match entry {
            Entry::Call(_) => TrapFrame::SYSCALL,
            Entry::Line(line) => (LINES + line).into(),
        };
        assert_eq!(saved, TrapFrame { rax, vector, ..before }, "what has been saved");
    } else {
        assert_eq!(saved, before, "nothing but what is there already");
    }
    let done = match (r.exit, entry) {
        // Goes on at once.
        (OUT, _) if to == current => {
            are(&r, &before, rax, "who goes on");
            let (rcx, r11, rsp, rdx) = match entry {
                Entry::Call(abi::Syscall::Poll) => (rip, rflags, before.rsp, 0),
                Entry::Call(_) => (rip, rflags, before.rsp, before.rdx),
                Entry::Line(_) => (before.rcx, before.r11, pushed, before.rdx),
            };
            assert_eq!((r.rcx, r.r11, r.rsp, r.rdx, r.frame_end), (rcx, r11, rsp, rdx, mine), "who goes on");
            let f = &mut s.threads.at_mut(current).unwrap().frame;
            f.rax = r.rax;
            if entry == Entry::Call(abi::Syscall::Poll) {
                f.rdx = r.rdx;
            }
            true
        }
        // A message of bits.
        (OUT | EXTRAS, _) => {
            assert!(all_saved, "its registers are lost");
            let t = s.threads.at_mut(to).unwrap();
            if r.exit == OUT {
                assert_eq!((r.frame_end, t.extras), (next, 0), "who runs");
                let f = &t.frame;
                assert_eq!((r.rbx, r.rbp, r.rsp, r.rcx, r.r11), own(f), "its own registers");
                assert_eq!((r.rax, r.rdx, r.r9, r.r10), (0, 0, 0, 0), "what is no part of the message");
            } else {
                assert_eq!((r.rdx, r.frame_end), (next, mine), "who needs more");
                assert_ne!(t.extras, 0, "it needs nothing");
            }
            t.frame.receive(r.rdi, r.rsi, [r.r12, r.r13, r.r14, r.r15], r.r8, 0);
            true
        }
        (LEAVE, _) => {
            assert!(all_saved, "its registers are lost");
            assert_eq!((r.rax, r.frame_end), (next - size_of::<TrapFrame>() as u64, next), "who runs");
            assert_eq!(s.threads.at(to).unwrap().extras, 0, "it goes on without what it needs");
            true
        }
        (ENTER, _) => {
            assert!(all_saved, "its registers are lost");
            assert_eq!((r.rdi, r.frame_end), (next - size_of::<TrapFrame>() as u64, mine), "who needs more");
            assert_ne!(s.threads.at(to).unwrap().extras, 0, "it needs nothing");
            true
        }
        (DECLINED, Entry::Call(_)) | (LINE, Entry::Line(_)) => {
            assert!(all_saved && to == current);
            assert_eq!((r.rdi, r.frame_end), (mine - size_of::<TrapFrame>() as u64, mine));
            false
        }
        (GENERAL | REFUSED, Entry::Call(call)) => {
            are(&r, &before, call as u64, "who is refused");
            assert_eq!((r.rcx, r.r11, r.rsp, r.rdx), (rip, rflags, before.rsp, before.rdx), "who is refused");
            false
        }
        (INTERRUPT, Entry::Line(_)) => {
            are(&r, &before, rax, "who is interrupted");
            assert_eq!((r.rcx, r.r11, r.rsp, r.rdx), (before.rcx, before.r11, pushed, before.rdx));
            false
        }
        (exit, _) => panic!("an exit of the number {exit}"),
    };
    let counted = matches!(entry, Entry::Line(_)) && r.exit != INTERRUPT;
    assert_eq!(s.counters.interrupts, interrupts + u64::from(counted), "interrupts");
    if all_saved && done && matches!(entry, Entry::Call(_)) {
        s.threads.at_mut(current).unwrap().frame.rax = 0;
    }
    give_back(s, all);
    done
}

/// `signal` as its frame says.
pub fn signal(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => notified(s, notify::signal::<Host>, Entry::Call(abi::Syscall::Signal)),
        _ => s.direct_signal(),
    }
}

/// `poll` as its frame says: whether it finds nothing.
pub fn poll(s: &mut System, by: By) -> bool {
    let Some(TrapFrame { rdi, rsi, .. }) = s.running().map(|t| t.frame) else { return false };
    match by {
        By::Assembly => notified(s, notify::poll::<Host>, Entry::Call(abi::Syscall::Poll)),
        _ => s.finds_nothing(rdi, rsi),
    }
}

/// `yield`.
pub fn take_turns(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => notified(s, switch::give_way::<Host>, Entry::Call(abi::Syscall::Yield)),
        _ => s.direct_yield(),
    }
}

/// The interrupt of a line while a thread runs. The assembly goes where the general path has found that it leads.
pub fn interrupt(s: &mut System, line: u8, by: By) -> bool {
    if by != By::Assembly {
        return s.direct_interrupt(line);
    }
    if let Some(owner) = s.lines.owner(line)
        && s.tasks[owner.row].lose & owner.bits == 0
    {
        s.note_line(line, owner);
    }
    let piece = match line {
        3 => interrupt::line::<Host, { LINES + 3 }>,
        4 => interrupt::line::<Host, { LINES + 4 }>,
        5 => interrupt::line::<Host, { LINES + 5 }>,
        6 => interrupt::line::<Host, { LINES + 6 }>,
        12 => interrupt::line::<Host, { LINES + 12 }>,
        _ => panic!("line {line}"),
    };
    notified(s, piece, Entry::Line(line))
}

/// A tick of the timer while a thread runs.
pub fn tick(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => notified(s, interrupt::timer::<Host>, Entry::Line(TIMER)),
        _ => s.direct_tick(),
    }
}
