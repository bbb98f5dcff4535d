//! The fast paths of `call` and `reply_recv`: words and what is lent, and the one that waits runs at once.
//!
//! They look first and change something only where everything holds that lets the general path ([`System::call`],
//! [`System::reply`], [`System::recv`], [`System::schedule`]) do just that: no handle on its way, what is lent is read, one partner waits, its
//! budget is neither used up nor due to be filled, and nobody ready is as important as it is. Then they do the same to the
//! state, without queues in between. The same code runs on the host, where a test compares it with the general path in many
//! states of a small system, and another tries each check.
//!
//! They are written in assembly, because the four words, the sender and the token then never leave their registers, no bound is checked
//! twice, and nothing is saved that is not used. What they rely on:
//!
//! - The system does not move, nor do the slots of its threads, endpoints and notifications: arenas are allocated once.
//! - A [`Route`](crate::thread::Route) is followed in the epoch in which the general path left it, by the handle it left it for. Whatever frees
//!   an endpoint or a notification, binds one to the other, or closes a handle begins a new epoch.
//! - A queue holds threads that are alive. A thread's slot that is not alive is not [`TAKEN`].
//! - A thread alone in a queue is not linked to any other.
//! - One core runs the kernel, with interrupts off: nobody else looks at the state meanwhile.
//!
//! A thread is named by its *anchor*, the address of the end of its [`Frame`]: where TSS.RSP0 points while it runs.
#![allow(unsafe_code)]

use crate::arena::{Arena, Slot, TAKEN};
use crate::queue::{NIL, Queue};
use crate::sched::Scheduler;
use crate::system::{Counters, Endpoint, System};
use crate::thread::{Frame, Route, State, Thread};
use abi::message::{Header, MAX_LEASES};
use core::arch::naked_asm;
use core::mem::offset_of;

/// Where a fast path goes on, by a jump.
///
/// # Safety
/// They are naked functions that take the registers as described.
pub unsafe trait Exits {
    /// Another thread runs: its anchor in `rbp`. Its message is in `rdi rsi rdx r10 r8 r9 r12`, as after the system call; `rbx rcx r11` and the
    /// flags hold nothing. All others are as they were.
    extern "C" fn handed_over();
    /// To `call`, of a header in `rsi` that is a label and a number of leases: reads them from the caller's memory at `r12` into its record and
    /// goes on at the address in `r11`, with all registers as they were but `rcx`, `rsp` and the flags; or as [`Exits::refused`].
    extern "C" fn lend();
    /// Nothing has changed, the general path is to decide about the system call of the number in `rax`. `rbx rbp rcx r11` and the flags hold
    /// nothing. All others are as they were.
    extern "C" fn refused();
}

/// Bytes from a thread's start to its anchor.
const ANCHOR: usize = offset_of!(Thread, frame) + size_of::<Frame>();

/// Where a part of a thread is, from its anchor.
pub const fn at(offset: usize) -> isize {
    offset as isize - ANCHOR as isize
}

/// Where a register of a thread is, from its anchor.
pub const fn register(offset: usize) -> isize {
    offset as isize - size_of::<Frame>() as isize
}

// The value of a slot without a tag of its own begins where the slot's room for it does.
const _: () = assert!(size_of::<Option<Thread>>() == size_of::<Thread>());
const _: () = assert!(offset_of!(Endpoint, receivers) == 0 && offset_of!(Endpoint, senders) == size_of::<Queue>());

/// The anchor of the first slot.
pub(crate) fn first_anchor(threads: &mut Arena<Thread>) -> u64 {
    threads.address() + offset_of!(Slot<Thread>, value) as u64 + ANCHOR as u64
}

const SCHED: usize = offset_of!(System, sched);

/// A header that is only a label: no leases, no handle.
const LABEL: u32 = 0xffff;

/// `call`: handle in `rdi`, header in `rsi`, words in `rdx r10 r8 r9`. Further: the time in `rax`, the running thread's anchor in `r13`, the
/// system's address in `r15`. It goes on at one of the [`Exits`].
#[unsafe(naked)]
pub extern "C" fn call<E: Exits>() {
    naked_asm!(
        // The way by this handle is known.
        "mov rcx, [r15 + {epoch}]",
        "cmp rcx, [r13 + {route} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [r13 + {route} + {route_handle}]",
        "jne 9f",
        // One thread waits at the endpoint.
        "mov rbx, [r13 + {route} + {route_endpoint}]",
        "movzx ebp, word ptr [rbx + {head}]",
        "cmp bp, [rbx + {tail}]",
        "jne 9f",
        "cmp ebp, {nil}",
        "je 9f",
        "imul rbp, rbp, {slot}",
        "add rbp, [r15 + {anchors}]",
        // It is in its period, with some of its budget left, and nobody ready comes before it.
        "cmp rax, [rbp + {refill_at}]",
        "jae 9f",
        "mov rcx, [rbp + {used}]",
        "cmp rcx, [rbp + {budget}]",
        "jae 9f",
        "movzx ecx, byte ptr [rbp + {effective}]",
        "bsf r11, [r15 + {levels}]",
        "cmp ecx, r11d",
        "jae 9f",
        // What is lent comes last: it is read once, and nothing else can be wrong.
        "cmp rsi, {label}",
        "ja 3f",
        "2:",
        // The call has a name.
        "mov rcx, [r15 + {calls}]",
        "add rcx, 0x10000",
        "jc 9f",
        "mov [r15 + {calls}], rcx",
        "or rcx, [r13 + {index}]",
        "mov [r13 + {token}], rcx",
        "mov r12, rcx",
        // Sender and receiver note it.
        "mov [r13 + {last_sent}], si",
        "mov [r13 + {last_sent} + 4], edi",
        "mov rdi, [r13 + {route} + {route_tells}]",
        "mov [r13 + {sender}], rdi",
        "mov [rbp + {last_received}], si",
        "mov [rbp + {last_received} + 4], edi",
        // One waits for the other's reply, which runs.
        "mov ecx, [rbp + {awaited}]",
        "mov [r13 + {state}], ecx",
        "mov dword ptr [rbx + {head}], -1",
        "mov word ptr [rbp + {state}], {running}",
        "mov rcx, rax",
        "sub rcx, [r15 + {charged_to}]",
        "mov [r15 + {charged_to}], rax",
        "add [r13 + {used}], rcx",
        "add [r13 + {cpu}], rcx",
        "mov ecx, [rbp + {index}]",
        "mov [r15 + {current}], cx",
        "mov byte ptr [r15 + {resched}], 0",
        "inc qword ptr [r15 + {switches}]",
        "jmp {handed_over}",
        "3:",
        "cmp rsi, {leases}",
        "ja 9f",
        "lea r11, [rip + 2b]",
        "jmp {lend}",
        "9:",
        "mov eax, {number}",
        "jmp {refused}",
        label = const LABEL,
        leases = const Header::new(u16::MAX).with_leases(MAX_LEASES).0,
        epoch = const offset_of!(System, epoch),
        route = const at(offset_of!(Thread, calls)),
        route_epoch = const offset_of!(Route, epoch),
        route_handle = const offset_of!(Route, handle),
        route_endpoint = const offset_of!(Route, endpoint),
        route_tells = const offset_of!(Route, tells),
        head = const offset_of!(Endpoint, receivers.head),
        tail = const offset_of!(Endpoint, receivers.tail),
        nil = const NIL,
        slot = const size_of::<Slot<Thread>>(),
        anchors = const offset_of!(System, anchors),
        refill_at = const at(offset_of!(Thread, refill_at)),
        used = const at(offset_of!(Thread, used)),
        budget = const at(offset_of!(Thread, budget)),
        effective = const at(offset_of!(Thread, effective)),
        levels = const SCHED + offset_of!(Scheduler, levels),
        calls = const offset_of!(System, calls),
        index = const at(offset_of!(Thread, index)),
        token = const at(offset_of!(Thread, token)),
        last_sent = const at(offset_of!(Thread, last_sent)),
        sender = const at(offset_of!(Thread, sender)),
        last_received = const at(offset_of!(Thread, last_received)),
        awaited = const at(offset_of!(Thread, awaited)),
        state = const at(offset_of!(Thread, state)),
        running = const State::RUNNING,
        charged_to = const SCHED + offset_of!(Scheduler, charged_to),
        cpu = const at(offset_of!(Thread, cpu)),
        current = const SCHED + offset_of!(Scheduler, current),
        resched = const SCHED + offset_of!(Scheduler, resched),
        switches = const offset_of!(System, counters) + offset_of!(Counters, switches),
        handed_over = sym E::handed_over,
        number = const abi::Syscall::Call as u32,
        lend = sym E::lend,
        refused = sym E::refused,
    )
}

/// `reply_recv`: endpoint's handle in `rdi`, header in `rsi`, words in `rdx r10 r8 r9`, token in `r12`, mask in `r14`. The rest as [`call`].
#[unsafe(naked)]
pub extern "C" fn reply_recv<E: Exits>() {
    naked_asm!(
        "cmp rsi, {label}",
        "ja 9f",
        // The way by this handle is known; nobody is in the endpoint's queues, and none of the bits is set.
        "mov rcx, [r15 + {epoch}]",
        "cmp rcx, [r13 + {route} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [r13 + {route} + {route_handle}]",
        "jne 9f",
        "mov rbx, [r13 + {route} + {route_endpoint}]",
        "cmp qword ptr [rbx], -1",
        "jne 9f",
        "mov rcx, [r13 + {route} + {route_tells}]",
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
        // It is in its period, with some of its budget left, and nobody ready comes before it.
        "cmp rax, [rbp + {refill_at}]",
        "jae 9f",
        "mov rcx, [rbp + {used}]",
        "cmp rcx, [rbp + {budget}]",
        "jae 9f",
        "movzx ecx, byte ptr [rbp + {effective}]",
        "bsf r11, [r15 + {levels}]",
        "cmp ecx, r11d",
        "jae 9f",
        // One waits for a message, the other runs.
        "mov [r13 + {mask}], r14",
        "mov rcx, [r13 + {route} + {route_waiting}]",
        "mov [r13 + {state}], rcx",
        "mov ecx, [r13 + {alone}]",
        "mov [rbx], ecx",
        "mov word ptr [rbp + {state}], {running}",
        "mov rcx, rax",
        "sub rcx, [r15 + {charged_to}]",
        "mov [r15 + {charged_to}], rax",
        "add [r13 + {used}], rcx",
        "add [r13 + {cpu}], rcx",
        "mov ecx, [rbp + {index}]",
        "mov [r15 + {current}], cx",
        "mov byte ptr [r15 + {resched}], 0",
        "inc qword ptr [r15 + {switches}]",
        "mov rdi, [rbp + {rdi}]",
        "mov r12, [rbp + {r12}]",
        "jmp {handed_over}",
        "9:",
        "mov eax, {number}",
        "jmp {refused}",
        label = const LABEL,
        epoch = const offset_of!(System, epoch),
        route = const at(offset_of!(Thread, receives)),
        route_epoch = const offset_of!(Route, epoch),
        route_handle = const offset_of!(Route, handle),
        route_endpoint = const offset_of!(Route, endpoint),
        route_tells = const offset_of!(Route, tells),
        route_waiting = const offset_of!(Route, waiting),
        slots = const offset_of!(System, slots),
        slot = const size_of::<Slot<Thread>>(),
        anchors = const offset_of!(System, anchors),
        next_free = const at(offset_of!(Slot<Thread>, next_free)) - offset_of!(Slot<Thread>, value) as isize,
        taken = const TAKEN,
        token = const at(offset_of!(Thread, token)),
        awaited = const at(offset_of!(Thread, awaited)),
        state = const at(offset_of!(Thread, state)),
        refill_at = const at(offset_of!(Thread, refill_at)),
        used = const at(offset_of!(Thread, used)),
        budget = const at(offset_of!(Thread, budget)),
        effective = const at(offset_of!(Thread, effective)),
        levels = const SCHED + offset_of!(Scheduler, levels),
        mask = const at(offset_of!(Thread, mask)),
        alone = const at(offset_of!(Thread, alone)),
        running = const State::RUNNING,
        charged_to = const SCHED + offset_of!(Scheduler, charged_to),
        cpu = const at(offset_of!(Thread, cpu)),
        index = const at(offset_of!(Thread, index)),
        current = const SCHED + offset_of!(Scheduler, current),
        resched = const SCHED + offset_of!(Scheduler, resched),
        switches = const offset_of!(System, counters) + offset_of!(Counters, switches),
        rdi = const register(offset_of!(Frame, rdi)),
        r12 = const register(offset_of!(Frame, r12)),
        handed_over = sym E::handed_over,
        number = const abi::Syscall::ReplyRecv as u32,
        refused = sym E::refused,
    )
}
