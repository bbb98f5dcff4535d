//! `call` and `reply_recv`.

use super::{Exits, LABEL, at, awake, charge, code, register, switch};
use crate::System;
use crate::arena::{Slot, TAKEN};
use crate::thread::{Frame, Route, Thread};
use abi::message::{Header, MAX_LEASES};
use core::mem::offset_of;

/// `call`: handle in `rdi`, header in `rsi`, words in `rdx r10 r8 r9`. Further: the time in `rax`, the running thread's anchor in `r13`, the
/// system's address in `r15`. It goes on at one of the [`Exits`].
#[unsafe(naked)]
pub extern "C" fn call<E: Exits>() {
    code!(
        // The way by this handle is known.
        "mov rcx, [r15 + {epoch}]",
        "cmp rcx, [r13 + {calls} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [r13 + {calls} + {route_handle}]",
        "jne 9f",
        // One thread waits at the endpoint.
        "mov rbx, [r13 + {calls} + {route_endpoint}]",
        "movzx ebp, word ptr [rbx + {head}]",
        "cmp bp, [rbx + {tail}]",
        "jne 9f",
        "cmp ebp, {nil}",
        "je 9f",
        "imul rbp, rbp, {slot}",
        "add rbp, [r15 + {anchors}]",
        charge!(),
        awake!(),
        // Nobody ready comes before it.
        "bsf r11, [r15 + {levels}]",
        "cmp ecx, r11d",
        "jae 9f",
        // What is lent comes last: it is read once, and nothing else can be wrong.
        "cmp rsi, {label}",
        "ja 3f",
        "2:",
        // The call has a name.
        "mov rcx, [r15 + {numbers}]",
        "add rcx, 0x10000",
        "jc 9f",
        "mov [r15 + {numbers}], rcx",
        "or rcx, [r13 + {index}]",
        "mov [r13 + {token}], rcx",
        "mov r12, rcx",
        // Sender and receiver note it.
        "mov [r13 + {last_sent}], si",
        "mov [r13 + {last_sent} + 4], edi",
        "mov rdi, [r13 + {calls} + {route_tells}]",
        "mov [r13 + {sender}], rdi",
        "mov [rbp + {last_received}], si",
        "mov [rbp + {last_received} + 4], edi",
        // One waits for the other's reply, which runs.
        "mov ecx, [rbp + {awaited}]",
        "mov [r13 + {state}], ecx",
        "mov dword ptr [rbx + {head}], -1",
        switch!(),
        "jmp {handed_over}",
        "3:",
        "cmp rsi, {leases}",
        "ja 9f",
        "lea r11, [rip + 2b]",
        "jmp {lend}",
        "9:",
        "mov eax, {number}",
        "jmp {refused}";
        label = const LABEL,
        leases = const Header::new(u16::MAX).with_leases(MAX_LEASES).0,
        numbers = const offset_of!(System, calls),
        token = const at(offset_of!(Thread, token)),
        last_sent = const at(offset_of!(Thread, last_sent)),
        sender = const at(offset_of!(Thread, sender)),
        last_received = const at(offset_of!(Thread, last_received)),
        awaited = const at(offset_of!(Thread, awaited)),
        handed_over = sym E::handed_over,
        number = const abi::Syscall::Call as u32,
        lend = sym E::lend,
        refused = sym E::refused,
    )
}

/// `reply_recv`: endpoint's handle in `rdi`, header in `rsi`, words in `rdx r10 r8 r9`, token in `r12`, mask in `r14`. The rest as [`call`].
#[unsafe(naked)]
pub extern "C" fn reply_recv<E: Exits>() {
    code!(
        "cmp rsi, {label}",
        "ja 9f",
        // The way by this handle is known; nobody is in the endpoint's queues, and none of the bits is set.
        "mov rcx, [r15 + {epoch}]",
        "cmp rcx, [r13 + {receives} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [r13 + {receives} + {route_handle}]",
        "jne 9f",
        "mov rbx, [r13 + {receives} + {route_endpoint}]",
        "cmp qword ptr [rbx], -1",
        "jne 9f",
        "mov rcx, [r13 + {receives} + {route_tells}]",
        "test [rcx], r14",
        "jnz 9f",
        // The token names a thread in that call, which waits for this task.
        "movzx ebp, r12w",
        "cmp rbp, [r15 + {slots}]",
        "jae 9f",
        "imul rbp, rbp, {slot}",
        "add rbp, [r15 + {anchors}]",
        "cmp word ptr [rbp + {next_free}], {taken}",
        "jne 9f",
        "cmp r12, [rbp + {token}]",
        "jne 9f",
        "mov ecx, [r13 + {awaited}]",
        "cmp ecx, [rbp + {state}]",
        "jne 9f",
        charge!(),
        awake!(),
        // Nobody ready comes before it.
        "bsf r11, [r15 + {levels}]",
        "cmp ecx, r11d",
        "jae 9f",
        // One waits for a message, the other runs.
        "mov [r13 + {mask}], r14",
        "mov rcx, [r13 + {receives} + {route_waiting}]",
        "mov [r13 + {state}], rcx",
        "mov ecx, [r13 + {alone}]",
        "mov [rbx], ecx",
        switch!(),
        "mov rdi, [rbp + {rdi}]",
        "mov r12, [rbp + {r12}]",
        "jmp {handed_over}",
        "9:",
        "mov eax, {number}",
        "jmp {refused}";
        label = const LABEL,
        route_waiting = const offset_of!(Route, waiting),
        slots = const offset_of!(System, slots),
        next_free = const at(offset_of!(Slot<Thread>, next_free)) - offset_of!(Slot<Thread>, value) as isize,
        taken = const TAKEN,
        token = const at(offset_of!(Thread, token)),
        awaited = const at(offset_of!(Thread, awaited)),
        rdi = const register(offset_of!(Frame, rdi)),
        r12 = const register(offset_of!(Frame, r12)),
        handed_over = sym E::handed_over,
        number = const abi::Syscall::ReplyRecv as u32,
        refused = sym E::refused,
    )
}
