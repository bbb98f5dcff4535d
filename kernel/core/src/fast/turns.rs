//! `yield`, and the timer's tick.

use super::{Exits, awake, charge, code, switch};
use crate::System;
use crate::clock::Clock;
use crate::sched::Scheduler;
use crate::timer::Timers;
use core::mem::offset_of;

/// `yield`: the time in `rax`, the running thread's anchor in `r13`, the system's address in `r15`; everything has been saved, with the
/// system call's success. It goes on at one of the [`Exits`].
#[unsafe(naked)]
pub extern "C" fn take_turns<E: Exits>() {
    code!(
        // There is something left for the running thread.
        charge!(),
        "jle 9f",
        // No dead thread is ready.
        "cmp dword ptr [r15 + {releasing}], 0",
        "jne 9f",
        // One thread of its level is ready, or none.
        "movzx ebx, byte ptr [r13 + {effective}]",
        "lea rbx, [r15 + rbx * 4 + {ready}]",
        "movzx ebp, word ptr [rbx]",
        "cmp bp, [rbx + 2]",
        "jne 9f",
        "cmp ebp, {nil}",
        "je 2f",
        "imul rbp, rbp, {slot}",
        "add rbp, [r15 + {anchors}]",
        awake!(),
        // They change places.
        "mov ecx, [r13 + {alone}]",
        "mov [rbx], ecx",
        "mov word ptr [r13 + {state}], {is_ready}",
        "3:",
        switch!(),
        "jmp {resumed}",
        "2:",
        "mov rbp, r13",
        "jmp 3b",
        "9:",
        "mov qword ptr [r13 + {rax}], {number}",
        "jmp {declined}";
        releasing = const offset_of!(System, releasing),
        resumed = sym E::resumed,
        number = const abi::Syscall::Yield as u32,
        declined = sym E::declined,
    )
}

/// A tick while a thread runs, before which no deadline has come and after which it goes on: the time in `rax`, the running thread's anchor in
/// `rcx`, the system's address in `rbx`; `rdx` and `rbp` are free, no others.
#[unsafe(naked)]
pub extern "C" fn tick<E: Exits>() {
    code!(
        // No timer is due: see `Clock::ns`.
        "mov rbp, rax",
        "sub rax, [rbx + {base}]",
        "mul qword ptr [rbx + {mult}]",
        "shrd rax, rdx, 32",
        "cmp rax, [rbx + {first}]",
        "jae 9f",
        // The period goes on, and nobody is to get a new slice or to return from where it waited for one.
        "cmp rbp, [rbx + {look_at}]",
        "jae 9f",
        // There is something left for the running thread.
        "mov rcx, [rcx + {budget}]",
        "mov rax, rbp",
        "sub rax, [rbx + {charged_to}]",
        "mov rdx, [rcx]",
        "sub rdx, rax",
        "jle 9f",
        "mov [rbx + {charged_to}], rbp",
        "mov [rcx], rdx",
        "jmp {ticked}",
        "9:",
        "jmp {refused}";
        base = const offset_of!(System, clock) + offset_of!(Clock, base),
        mult = const offset_of!(System, clock) + offset_of!(Clock, mult),
        first = const offset_of!(System, timers) + offset_of!(Timers, first),
        look_at = const super::SCHED + offset_of!(Scheduler, look_at),
        ticked = sym E::ticked,
        refused = sym E::tick_refused,
    )
}
