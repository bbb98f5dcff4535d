//! Threads that need no stack and no memory, so that a task can have as many as its quota of kernel objects allows.

use abi::Status;
use abi::syscall::Syscall;
use core::arch::naked_asm;
use rt::syscall as sys;

/// What such a thread does.
pub type Code = extern "C" fn();

/// Starts one. Errors: as `thread_create`.
pub fn start(code: Code, argument: u64, priority: u8) -> Result<u32, Status> {
    let here = 0_u64;
    let stack = (&raw const here) as u64 & !15;
    // SAFETY: the thread's code neither uses its stack pointer nor touches memory.
    unsafe { sys::thread_create(code as *const () as u64, stack, argument, priority) }
}

/// Yields for ever.
#[unsafe(naked)]
pub extern "C" fn yield_forever() {
    naked_asm!("2:", "mov eax, {number}", "syscall", "jmp 2b", number = const Syscall::Yield as u32);
}

/// Computes for ever.
#[unsafe(naked)]
pub extern "C" fn spin_forever() {
    naked_asm!("2:", "jmp 2b");
}

/// Calls the endpoint that is its argument for ever.
#[unsafe(naked)]
pub extern "C" fn call_forever() {
    naked_asm!(
        "mov rbx, rdi", "2:", "mov rdi, rbx", "xor esi, esi", "mov eax, {number}", "syscall", "jmp 2b",
        number = const Syscall::Call as u32,
    );
}

/// Receives from the endpoint that is its argument for ever, and answers nobody.
#[unsafe(naked)]
pub extern "C" fn receive_forever() {
    naked_asm!("mov rbx, rdi", "2:", "mov rdi, rbx", "xor esi, esi", "mov eax, {number}", "syscall", "jmp 2b", number = const Syscall::Recv as u32);
}

/// Waits for every bit of the notification that is its argument for ever.
#[unsafe(naked)]
pub extern "C" fn wait_forever() {
    naked_asm!("mov rbx, rdi", "2:", "mov rdi, rbx", "mov rsi, -1", "mov eax, {number}", "syscall", "jmp 2b", number = const Syscall::Wait as u32);
}
