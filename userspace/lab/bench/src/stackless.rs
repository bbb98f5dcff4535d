//! First functions of threads that have neither stack nor memory, so that there can be many.
#![cfg(target_os = "none")]

use abi::Syscall;
use core::arch::naked_asm;

/// Calls the endpoint in `rdi` again and again, with a label and no words.
#[unsafe(naked)]
pub extern "C" fn caller() -> ! {
    naked_asm!(
        "mov rbx, rdi",
        "2:",
        "mov eax, {call}",
        "mov rdi, rbx",
        "mov esi, 1",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "syscall",
        "test eax, eax",
        "jz 2b",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        call = const Syscall::Call as u32,
        exit = const Syscall::ThreadExit as u32,
    )
}

/// Receives at the endpoint in the lower half of `rdi` again and again; its upper half is the number of the bit that it waits for, or 64 for none.
#[unsafe(naked)]
pub extern "C" fn listener() -> ! {
    naked_asm!(
        "mov rbx, rdi",
        "2:",
        "mov rcx, rbx",
        "shr rcx, 32",
        "xor esi, esi",
        "cmp ecx, 64",
        "je 3f",
        "bts rsi, rcx",
        "3:",
        "mov eax, {recv}",
        "mov edi, ebx",
        "syscall",
        "test eax, eax",
        "jz 2b",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        recv = const Syscall::Recv as u32,
        exit = const Syscall::ThreadExit as u32,
    )
}

/// Gives way again and again.
#[unsafe(naked)]
pub extern "C" fn spinner() -> ! {
    naked_asm!(
        "2:",
        "mov eax, {give_way}",
        "syscall",
        "jmp 2b",
        give_way = const Syscall::Yield as u32,
    )
}

/// Gives way, then ends.
#[unsafe(naked)]
pub extern "C" fn passer() -> ! {
    naked_asm!(
        "mov eax, {give_way}",
        "syscall",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        give_way = const Syscall::Yield as u32,
        exit = const Syscall::ThreadExit as u32,
    )
}
