//! Registers across system calls: what a call keeps is kept, whoever runs meanwhile, and what comes back is one's own.

use crate::support::{Background, Context, Outcome, check, peer, same};
use abi::message::{Header, ReplyToken, Sender};
use abi::syscall::Syscall;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::syscall as sys;
use rt::thread::set_own_priority;
use rt::time::sleep_ms;

/// The registers that a system call may change only as it says: all but `rcx`, `r11` and the stack pointer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Registers {
    rax: u64,
    rbx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    rbp: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
}

impl Registers {
    /// A value of its own in each.
    fn of(call: u64, seed: u64, rdi: u64, rsi: u64) -> Registers {
        let value = |n: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(n * 0x0101_0101_0101_0101);
        Registers {
            rax: call,
            rbx: value(1),
            rdx: value(2),
            rsi,
            rdi,
            rbp: value(3),
            r8: value(4),
            r9: value(5),
            r10: value(6),
            r12: value(7),
            r13: value(8),
            r14: value(9),
            r15: value(10),
        }
    }
}

/// Executes `syscall` with these registers, and stores what they are then.
#[cfg(target_os = "none")]
#[unsafe(naked)]
extern "C" fn execute(registers: &mut Registers) {
    core::arch::naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "mov rcx, rdi",
        "mov rax, [rcx]",
        "mov rbx, [rcx + 8]",
        "mov rdx, [rcx + 16]",
        "mov rsi, [rcx + 24]",
        "mov rdi, [rcx + 32]",
        "mov rbp, [rcx + 40]",
        "mov r8, [rcx + 48]",
        "mov r9, [rcx + 56]",
        "mov r10, [rcx + 64]",
        "mov r12, [rcx + 72]",
        "mov r13, [rcx + 80]",
        "mov r14, [rcx + 88]",
        "mov r15, [rcx + 96]",
        "syscall",
        "mov rcx, [rsp]",
        "mov [rcx], rax",
        "mov [rcx + 8], rbx",
        "mov [rcx + 16], rdx",
        "mov [rcx + 24], rsi",
        "mov [rcx + 32], rdi",
        "mov [rcx + 40], rbp",
        "mov [rcx + 48], r8",
        "mov [rcx + 56], r9",
        "mov [rcx + 64], r10",
        "mov [rcx + 72], r12",
        "mov [rcx + 80], r13",
        "mov [rcx + 88], r14",
        "mov [rcx + 96], r15",
        "pop rdi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

#[cfg(not(target_os = "none"))]
extern "C" fn execute(_: &mut Registers) {}

/// What the registers are after a call that succeeds, and before it.
fn after(before: Registers) -> Registers {
    let mut registers = before;
    execute(&mut registers);
    registers
}

/// Calls that end at once, by whatever path: with nothing in the way, and where something is.
pub fn quiet_calls_keep_them() -> Outcome {
    let note = Notification::create().context("notification")?;
    let handle = u64::from(note.0);
    for seed in 0..100 {
        let before = Registers::of(Syscall::Poll as u64, seed, handle, 0b100);
        same!(after(before), Registers { rax: 0, rdx: 0, ..before }, "poll");
        let before = Registers::of(Syscall::Signal as u64, seed, handle, 0b11);
        same!(after(before), Registers { rax: 0, ..before }, "signal");
        let before = Registers::of(Syscall::Poll as u64, seed, handle, 0b1);
        same!(after(before), Registers { rax: 0, rdx: 1, ..before }, "poll of a bit that is set");
        let before = Registers::of(Syscall::Yield as u64, seed, seed, seed);
        same!(after(before), Registers { rax: 0, ..before }, "yield");
        for call in [Syscall::Poll as u64, Syscall::Signal as u64, 22, u64::MAX] {
            let before = Registers::of(call, seed, 0xdead, 1);
            let after = after(before);
            check!(after.rax != 0, "call {call} with a handle that there is not");
            same!(after, Registers { rax: after.rax, ..before }, "call {call}");
        }
    }
    sys::handle_close(note.0).context("close")
}

/// Who signals and who is woken over it each keep theirs, and learn nothing of the other's.
pub fn a_signal_keeps_those_of_both() -> Outcome {
    const TURNS: u64 = 200;
    let own = rt::info().priority as u8;
    for by_recv in [false, true] {
        let note = Notification::create().context("notification")?;
        let endpoint = sys::endpoint_create().context("endpoint")?;
        sys::endpoint_bind(endpoint, note.0).context("bind")?;
        let (call, handle) = match by_recv {
            true => (Syscall::Recv, endpoint),
            false => (Syscall::Wait, note.0),
        };
        let woken = Arc::new(AtomicU64::new(0));
        let waiter = {
            let woken = woken.clone();
            Background::run(move || -> Outcome {
                for turn in 1..=TURNS {
                    let before = Registers::of(call as u64, turn + 1_000, handle.into(), 0b10);
                    let message = Registers {
                        rdi: 0,
                        rsi: Header::NOTIFICATION,
                        rdx: 0,
                        r8: 0,
                        r9: 0,
                        r10: 0,
                        r12: 0b10,
                        r13: 0,
                        r14: 0,
                        r15: 0,
                        ..before
                    };
                    let wanted = if by_recv { message } else { Registers { rdx: 0b10, ..before } };
                    same!(after(before), Registers { rax: 0, ..wanted }, "who is woken");
                    woken.store(turn, Ordering::Relaxed);
                }
                Ok(())
            })?
        };
        // From now on the other is more important, and has run when the signal returns.
        set_own_priority(own + 2).context("priority")?;
        sleep_ms(5);
        let result = (1..=TURNS).try_for_each(|turn| {
            let before = Registers::of(Syscall::Signal as u64, turn, note.0.into(), 0b10);
            same!(after(before), Registers { rax: 0, ..before }, "who signals");
            // Its budget may be used up; then it is late. Where it has failed it says so when it is finished with.
            for _ in 0..10_000 {
                if woken.load(Ordering::Relaxed) >= turn {
                    break;
                }
                sleep_ms(1);
            }
            sleep_ms(u64::from(turn % 50 == 0));
            Ok(())
        });
        set_own_priority(own).context("priority")?;
        result?;
        waiter.finish("the waiting thread")??;
        sys::handle_close(endpoint).context("close")?;
        sys::handle_close(note.0).context("close")?;
    }
    Ok(())
}

/// Who calls and who answers each keep theirs, and find besides the message nothing of the other's: in one task, and from a task without
/// ports to one that has some. Every so often the server is late, so that the call is queued.
pub fn a_call_and_its_answer_keep_those_of_both() -> Outcome {
    const TURNS: u64 = 200;
    let server = peer("server")?;
    for seed in 0..TURNS {
        let before = Registers::of(Syscall::Call as u64, seed, server.0.into(), Header::new(assist::ECHO).0);
        let message = Registers { rax: 0, rdi: 0, rsi: 0, rdx: 0, r8: 0, r9: 0, r10: 0, ..before };
        same!(after(before), message, "who calls another task");
    }
    let own = Endpoint::create().context("endpoint")?;
    let handle = u64::from(own.0);
    let client = Background::run(move || -> Outcome {
        for turn in 0..TURNS {
            let before = Registers::of(Syscall::Call as u64, turn + 5_000, handle, 5);
            let words = Registers::of(0, turn + 7_000, 0, 0);
            let Registers { r12, r13, r14, r15, .. } = words;
            let message =
                Registers { rax: 0, rdi: 0, rsi: 6, rdx: 0, r8: 0, r9: 0, r10: 0, r12, r13, r14, r15, ..before };
            same!(after(before), message, "who calls");
        }
        Ok(())
    })?;
    let sender = Sender { task: rt::me(), badge: 0 }.to_u64();
    let mut token = ReplyToken::NONE.0;
    for turn in 0..TURNS {
        sleep_ms(u64::from(turn % 50 == 0));
        let call = if turn == 0 { Syscall::Recv } else { Syscall::ReplyRecv };
        let mut before = Registers::of(call as u64, turn + 6_999, handle, 6);
        if turn == 0 {
            before.rsi = 0;
        } else {
            (before.r8, before.r9) = (token, 0);
        }
        let found = after(before);
        let Registers { r12, r13, r14, r15, .. } = Registers::of(0, turn + 5_000, 0, 0);
        token = found.r8;
        let message =
            Registers { rax: 0, rdi: sender, rsi: 5, rdx: 0, r8: token, r9: 0, r10: 0, r12, r13, r14, r15, ..before };
        same!(found, message, "who answers");
        check!(token != ReplyToken::NONE.0, "a call without a token");
    }
    let Registers { r12, r13, r14, r15, .. } = Registers::of(0, TURNS + 6_999, 0, 0);
    sys::reply(ReplyToken(token), Header::new(6), [r12, r13, r14, r15], 0).context("the last answer")?;
    client.finish("the calling thread")??;
    rt::ipc::close(own.0).context("close")
}

/// Two who take turns each keep theirs; and three.
pub fn turns_keep_those_of_all() -> Outcome {
    for others in [1, 2] {
        let turns = move |seed: u64| -> Outcome {
            for turn in 0..2_000 {
                let before = Registers::of(Syscall::Yield as u64, seed + turn, turn, seed);
                same!(after(before), Registers { rax: 0, ..before }, "turn {turn}");
            }
            Ok(())
        };
        let threads: alloc::vec::Vec<_> = (1..=others).map(|n| Background::run(move || turns(n * 1_000_000))).collect();
        turns(0)?;
        for thread in threads {
            thread?.finish("a thread that takes turns")??;
        }
    }
    Ok(())
}
