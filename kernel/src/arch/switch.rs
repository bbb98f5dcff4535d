//! `yield` where nothing is in the way, and the ways by which a thread goes on: see
//! [`super::fast`], and [`super::notify`] for who is in which register.

use super::fast::{Core, awake, charge, code, enter, enter_ports, note_origin, ring_3, save_all, settle, swap};
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// `yield` to the one other thread of the level, or to nobody.
#[unsafe(naked)]
pub extern "C" fn give_way<C: Core>() {
    code!(
        note_origin!(),
        save_all!(),
        // There is something left for the running thread.
        charge!(),
        "jle 9f",
        // No dead thread is ready.
        "cmp dword ptr [r15 + {releasing}], 0",
        "jne 9f",
        // It is at its priority, and one thread of its level is ready, or none.
        "movzx edx, byte ptr [r13 + {effective}]",
        "cmp edx, {returning}",
        "jae 9f",
        "lea rdx, [r15 + rdx * 4 + {ready}]",
        "cmp dword ptr [rdx], {nobody}",
        "je 2f",
        "movzx ebx, word ptr [rdx]",
        "cmp bx, [rdx + 2]",
        "jne 9f",
        "imul rbp, rbx, {slot}",
        "add rbp, gs:[{threads}]",
        awake!(),
        // They change places.
        "mov ecx, [r13 + {alone}]",
        "mov [rdx], ecx",
        "mov word ptr [r13 + {state}], {is_ready}",
        "mov word ptr [rbp + {state}], {running}",
        "mov [r15 + {current}], bx",
        "inc qword ptr [r15 + {switches}]",
        "jmp {resumed}",
        "2:",
        "mov rbp, r13",
        "jmp {resumed}",
        "9:",
        "mov qword ptr [r13 + {rax}], {number}",
        "jmp {declined}";
        returning = const layout::RETURNING,
        resumed = sym resumed::<C>,
        number = const abi::Syscall::Yield as u32,
        declined = sym declined::<C>,
    )
}

/// The general path is to decide about the system call: everything is in the frame of `r13`.
#[unsafe(naked)]
pub extern "C" fn declined<C: Core>() {
    code!(
        "lea rdi, [r13 - {size}]",
        settle!();
        handler = sym C::on_syscall,
        leave = sym C::leave,
    )
}

/// Another thread runs: its frame end in `rbp`. Its message is in `rdi rsi r12 r13 r14 r15 r8`, as after the system call.
#[unsafe(naked)]
pub extern "C" fn handed_over<C: Core>() {
    code!(
        enter!(),
        "mov rcx, [rbp + {rip}]",
        "mov r11d, [rbp + {rflags}]",
        "mov rbx, [rbp + {rbx}]",
        "mov rsp, [rbp + {rsp}]",
        "mov rbp, [rbp + {rbp}]",
        "xor r10d, r10d",
        "xor r9d, r9d",
        "xor edx, edx",
        swap!(),
        // As `clear_user_selectors`, of which the rest is above.
        ring_3!("mov gs, eax\nsysretq"),
        enter_ports!(),
        "9:",
        "mov rdx, rbp",
        "jmp {extras_of_message}";
        extras_of_message = sym C::extras_of_message,
    )
}

/// A thread goes on where it was: its frame end in `rbp`. All its registers are in its frame, and none is anywhere else.
#[unsafe(naked)]
pub extern "C" fn resumed<C: Core>() {
    code!(
        enter!(),
        ".if {ring_0}",
        "swapgs",
        "mov gs, eax",
        "swapgs",
        ".endif",
        "lea rax, [rbp - {size}]",
        "jmp {leave}",
        enter_ports!(),
        "9:",
        "lea rdi, [rbp - {size}]",
        settle!();
        handler = sym C::enter_current,
        leave = sym C::leave,
    )
}
