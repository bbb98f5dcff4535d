//! `yield` where no special case applies, and the ways in which a thread continues: see
//! [`super::fast`]. [`super::notify`] says which register holds which thread.

use super::fast::{Core, awake, charge, code, enter, enter_ports, note_origin, ring_3, save_all, settle, swap};
use core::arch::naked_asm;
use core::mem::offset_of;
use kernel_core::layout::{self, register};
use kernel_core::thread::{FLOAT, STEP, TrapFrame, WHOLE};

/// The entry of `yield`, where at most one other thread is ready at the same level.
#[unsafe(naked)]
pub extern "C" fn give_way<C: Core>() {
    code!(
        note_origin!(),
        save_all!(),
        // The running thread's task has processor time left.
        charge!(),
        "jle 9f",
        // No dead thread is ready.
        "cmp dword ptr [r15 + {releasing}], 0",
        "jne 9f",
        // It runs at its priority, and at most one thread of its level is ready.
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
        // The two threads change places.
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

/// Leaves the system call to the general path: all registers are in the frame of `r13`.
#[unsafe(naked)]
pub extern "C" fn declined<C: Core>() {
    code!(
        "lea rdi, [r13 - {size}]",
        settle!();
        handler = sym C::on_syscall,
        leave = sym C::leave,
    )
}

/// Completes the switch to another thread, whose frame end is in `rbp` and whose message is in
/// `rdi rsi r12 r13 r14 r15 r8`, as after the system call.
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
        // This completes what `clear_user_selectors` does; the rest is above.
        ring_3!("mov gs, eax\nsysretq"),
        enter_ports!(),
        "9:",
        "mov rdx, rbp",
        "jmp {extras_of_message}";
        extras_of_message = sym C::extras_of_message,
    )
}

/// Resumes a thread whose frame end is in `rbp` and all of whose registers are in its frame.
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
