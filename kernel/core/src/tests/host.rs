//! What happens most often as the kernel around does it: by the assembly, with a thread's registers in the processor's, or by its twins in
//! [`crate::system::direct`].
#![allow(unsafe_code)]

use super::{By, armed};
use crate::System;
use crate::layout;
use crate::lines::Line;
use crate::number::HandleNumber;
use crate::thread::{ThreadIndex, TrapFrame};

#[path = "../../../src/arch/controller.rs"]
mod controller;
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

mod record;
use controller::vector;
use record::{DECLINED, ENTER, EXTRAS, GENERAL, Host, INTERRUPT, LEAVE, LINE, OUT, REFUSED, Record, execute};

/// The frame end of a thread.
fn frame_end(s: &System, thread: ThreadIndex) -> u64 {
    let frame_end = &raw const s.threads.at(thread).expect("it is alive").frame as u64 + size_of::<TrapFrame>() as u64;
    let first = s.threads.base() + layout::FRAME_END as u64;
    assert_eq!(frame_end, first + u64::from(thread.number()) * layout::THREAD_SLOT as u64);
    frame_end
}

/// The core's record, with the registers of the running thread, which makes a system call.
fn record(s: &mut System, current: ThreadIndex) -> Record {
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

/// Ends a thread in such a way that all that the assembly looks at in its place is as it was, but for the generation.
pub fn end_without_trace(s: &mut System, thread: ThreadIndex) {
    const PARTS: [(isize, usize); 4] =
        [(layout::TOKEN, 8), (layout::STATE, 4), (layout::BUDGET, 4), (layout::EFFECTIVE, 1)];
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
fn distinguish(s: &mut System) -> Vec<(ThreadIndex, Own)> {
    let threads: Vec<ThreadIndex> = s.threads.iter().map(|(id, _)| id.index()).collect();
    let mut known = Vec::new();
    for index in threads {
        let f = &mut s.threads.at_mut(index).unwrap().frame;
        known.push((index, own(f)));
        let n = 0x1000 * (u64::from(index.number()) + 1);
        (f.rbx, f.rbp, f.rsp, f.rip, f.rflags) = (n + 1, n + 2, n + 3, n + 4, 0x202 | u64::from(index.number() & 1));
    }
    known
}

fn give_back(s: &mut System, known: Vec<(ThreadIndex, Own)>) {
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
        By::Assembly => armed(s, |s| message(s, message::call::<Host>, abi::Syscall::Call)),
        _ => armed(s, System::direct_call),
    }
}

/// `reply_recv` as its frame says.
pub fn reply_recv(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => armed(s, |s| message(s, message::reply_recv::<Host>, abi::Syscall::ReplyRecv)),
        _ => armed(s, System::direct_reply),
    }
}

/// In the frame for a register that has not been saved.
const NOT_SAVED: u64 = 0xdead_dead_dead_dead;

/// How a piece of assembly that is no message is come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Call(abi::Syscall),
    /// By the processor, which has pushed five words.
    Line(Line),
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
        let all_saved = saved.vector != known.vector && r.exit != INTERRUPT;
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
            Entry::Line(line) => vector(line).into(),
        };
        assert_eq!(saved, TrapFrame { rax, vector, ..before }, "what has been saved");
    } else {
        let pushed = match entry {
            Entry::Line(line) => TrapFrame { vector: vector(line).into(), error: 0, ..before },
            Entry::Call(_) => before,
        };
        assert_eq!(saved, pushed, "nothing but what is there already");
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
            assert_eq!((r.rcx, r.r11, r.rsp, r.rdx), (before.rcx, before.r11, pushed - 16, before.rdx));
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
        By::Assembly => armed(s, |s| notified(s, notify::signal::<Host>, Entry::Call(abi::Syscall::Signal))),
        _ => armed(s, System::direct_signal),
    }
}

/// `poll` as its frame says: whether it finds nothing.
pub fn poll(s: &mut System, by: By) -> bool {
    let Some(TrapFrame { rdi, rsi, .. }) = s.running().map(|t| t.frame) else { return false };
    match by {
        By::Assembly => armed(s, |s| notified(s, notify::poll::<Host>, Entry::Call(abi::Syscall::Poll))),
        _ => s.finds_nothing(HandleNumber::from_register(rdi), rsi),
    }
}

/// `yield`.
pub fn take_turns(s: &mut System, by: By) -> bool {
    match by {
        By::Assembly => armed(s, |s| notified(s, switch::give_way::<Host>, Entry::Call(abi::Syscall::Yield))),
        _ => armed(s, System::direct_yield),
    }
}

/// The interrupt of a line while a thread runs. The assembly goes where the general path has found that it leads.
pub fn interrupt(s: &mut System, line: Line, by: By) -> bool {
    if by != By::Assembly {
        return armed(s, |s| s.direct_interrupt(line));
    }
    if let Some(owner) = s.lines.owner(line)
        && s.tasks[owner.row].lose & owner.bits == 0
    {
        s.note_line(line, owner);
    }
    // Some lines by the assembly of one controller, some by that of the other.
    let piece = match line.number() {
        3 => return apic_line(s, interrupt::apic::line::<Host, { vector(Line::new(3)) }>, line),
        4 => interrupt::pic::line::<Host, { vector(Line::new(4)) }>,
        5 => return apic_line(s, interrupt::apic::line::<Host, { vector(Line::new(5)) }>, line),
        6 => interrupt::pic::line::<Host, { vector(Line::new(6)) }>,
        12 => interrupt::pic::line::<Host, { vector(Line::new(12)) }>,
        _ => panic!("{line:?}"),
    };
    armed(s, |s| notified(s, piece, Entry::Line(line)))
}

/// The interrupt of a line of the local APIC. It is held afterwards, and while it is, the general path has it.
fn apic_line(s: &mut System, piece: extern "C" fn(), line: Line) -> bool {
    use std::sync::atomic::Ordering::Relaxed;
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let held = &controller::apic::STATE;
    let others = !(1 << line.number());
    held.store(u32::MAX, Relaxed);
    assert!(!armed(s, |s| notified(s, piece, Entry::Line(line))), "a line that is held interrupts");
    held.store(others, Relaxed);
    let done = armed(s, |s| notified(s, piece, Entry::Line(line)));
    assert_eq!(held.load(Relaxed), u32::MAX, "it is held");
    done
}
