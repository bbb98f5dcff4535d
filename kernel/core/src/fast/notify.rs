//! `poll`, `signal`, and a line's interrupt.

use super::{Exits, awake, charge, code, switch};
use crate::thread::Route;
use abi::message::{Header, bits};
use core::mem::offset_of;

/// `poll` where none of the bits is set: handle in `rdi`, mask in `rsi`. Further: the running thread's anchor in `rax`, the system's address in
/// `rcx`; `rip` and flags are in the frame, so that `rcx` and `r11` are free. It goes on at one of the [`Exits`].
#[unsafe(naked)]
pub extern "C" fn poll<E: Exits>() {
    code!(
        "mov rcx, [rcx + {epoch}]",
        "cmp rcx, [rax + {polls} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [rax + {polls} + {route_handle}]",
        "jne 9f",
        "mov rcx, [rax + {polls} + {route_tells}]",
        "test [rcx], rsi",
        "jnz 9f",
        "xor edx, edx",
        "jmp {returned}",
        "9:",
        "mov ecx, {number}",
        "jmp {untouched}";
        returned = sym E::returned,
        number = const abi::Syscall::Poll as u32,
        untouched = sym E::untouched,
    )
}

/// `signal`: handle in `rdi`, bits in `rsi`. The rest as [`poll`].
#[unsafe(naked)]
pub extern "C" fn signal<E: Exits>() {
    code!(
        "mov r11, [rcx + {epoch}]",
        "cmp r11, [rax + {signals} + {route_epoch}]",
        "jne 9f",
        "cmp rdi, [rax + {signals} + {route_handle}]",
        "jne 9f",
        // Each of the bits can be set by it.
        "test [rax + {signals} + {route_waiting}], rsi",
        "jnz 9f",
        "mov r11, [rax + {signals} + {route_tells}]",
        "cmp dword ptr [r11 + {waiter}], -1",
        "jne {waited_for}",
        "mov rcx, [rax + {signals} + {route_endpoint}]",
        "cmp dword ptr [rcx + {head}], -1",
        "jne {waited_for}",
        // Nobody waits.
        "or [r11], rsi",
        "jmp {returned}",
        "9:",
        "mov ecx, {number}",
        "jmp {untouched}";
        route_waiting = const offset_of!(Route, waiting),
        waited_for = sym E::waited_for,
        returned = sym E::returned,
        number = const abi::Syscall::Signal as u32,
        untouched = sym E::untouched,
    )
}

/// [`signal`], where somebody waits and everything has been saved: bits in `rsi`, the time in `rax`, the running thread's anchor in `r13`, the
/// system's address in `r15`.
#[unsafe(naked)]
pub extern "C" fn signalled<E: Exits>() {
    code!(
        "mov r8, [r13 + {signals} + {route_endpoint}]",
        "mov r9, [r13 + {signals} + {route_tells}]",
        "lea r14, [rip + 9f]",
        "jmp {wake}",
        "9:",
        "mov qword ptr [r13 + {rax}], {number}",
        "jmp {declined}";
        wake = sym wake::<E>,
        number = const abi::Syscall::Signal as u32,
        declined = sym E::declined,
    )
}

/// The interrupt of a line, while a thread runs: its way in `r14`; the rest as [`signalled`].
#[unsafe(naked)]
pub extern "C" fn interrupt<E: Exits>() {
    code!(
        "mov rcx, [r15 + {epoch}]",
        "cmp rcx, [r14 + {route_epoch}]",
        "jne {line_refused}",
        "mov rsi, [r14 + {route_handle}]",
        "mov r8, [r14 + {route_endpoint}]",
        "mov r9, [r14 + {route_tells}]",
        "lea r14, [rip + {line_refused}]",
        "cmp dword ptr [r8 + {head}], -1",
        "jne {wake}",
        "cmp dword ptr [r9 + {waiter}], -1",
        "jne {wake}",
        // The driver is busy; it takes the bits when it comes to that.
        "or [r9], rsi",
        "mov rbp, r13",
        "jmp {resumed}";
        line_refused = sym E::line_refused,
        wake = sym wake::<E>,
        resumed = sym E::resumed,
    )
}

/// Sets the bits `rsi` of the notification `r9`, to which the receivers `r8` listen, and runs the one that waits. Otherwise nothing happens, and
/// it goes on where `r14` says. The rest as [`signalled`].
#[unsafe(naked)]
extern "C" fn wake<E: Exits>() {
    code!(
        // One waits: with `wait`, or with `recv`.
        "lea r10, [r9 + {waiter}]",
        "cmp dword ptr [r10], -1",
        "je 2f",
        "cmp dword ptr [r8 + {head}], -1",
        "jne 9f",
        "mov r8, r10",
        "2:",
        "movzx ebp, word ptr [r8 + {head}]",
        "cmp bp, [r8 + {tail}]",
        "jne 9f",
        "imul rbp, rbp, {slot}",
        "add rbp, [r15 + {anchors}]",
        // For some of the bits; and these do not answer for a heartbeat.
        "mov rdx, [rbp + {mask}]",
        "mov r11, [r9]",
        "or r11, rsi",
        "mov r12, rdx",
        "and rdx, r11",
        "jz 9f",
        "bt rdx, {heartbeat}",
        "jc 9f",
        "not r12",
        "and r12, r11",
        charge!(),
        awake!(),
        // It is more important than the running thread, of whose level nobody is ready.
        "movzx edi, byte ptr [r13 + {effective}]",
        "cmp ecx, edi",
        "jae 9f",
        "mov r11, [r15 + {levels}]",
        "bts r11, rdi",
        "jc 9f",
        // The running thread keeps its turn.
        "mov [r15 + {levels}], r11",
        "mov ecx, [r13 + {alone}]",
        "mov [r15 + rdi * 4 + {ready}], ecx",
        "mov word ptr [r13 + {state}], {is_ready}",
        // The bits are taken, and the other runs.
        "mov [r9], r12",
        "mov dword ptr [r8 + {head}], -1",
        switch!(),
        "cmp r8, r10",
        "je 3f",
        "xor edi, edi",
        "mov esi, {notification}",
        "xor r10d, r10d",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r12d, r12d",
        "jmp {handed_over}",
        "3:",
        "mov [rbp + {rdx}], rdx",
        "mov qword ptr [rbp + {rax}], 0",
        "jmp {resumed}",
        "9:",
        "jmp r14";
        heartbeat = const bits::HEARTBEAT.trailing_zeros(),
        notification = const Header::NOTIFICATION,
        handed_over = sym E::handed_over,
        resumed = sym E::resumed,
    )
}
