//! Many threads that do nothing but wait, nothing but call `scale`, or nothing but give way (`spin`): its argument says which, and how
//! many. With the argument `listen` it has none, and listens for all bits.
#![cfg_attr(target_os = "none", no_std, no_main)]

use rt::ipc::Endpoint;
use rt::println;

rt::entry!(run);

/// The task's priority, and that of its threads.
#[cfg(target_os = "none")]
const PRIORITY: u8 = 12;

fn run() {
    let mut words = rt::arg().split(' ');
    let what = words.next().unwrap_or_default();
    let count = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    if let Err(status) = threads(what, count) {
        println!("failed crowd {status}");
    }
    let bits = if what == "listen" { u64::MAX } else { 0 };
    loop {
        let _ = Endpoint::own().receive(bits);
    }
}

#[cfg(target_os = "none")]
fn threads(what: &str, count: u32) -> Result<(), rt::Status> {
    let scale = Endpoint::peer("scale").map_or(0, |peer| peer.0);
    let entry = match what {
        "call" => bare::caller as *const (),
        "spin" => bench::stackless::spinner as *const (),
        _ => bare::waiter as *const (),
    };
    for _ in 0..count {
        // SAFETY: each is made to be a thread's first function, and uses neither stack nor memory.
        let thread =
            unsafe { rt::syscall::thread_create(entry as u64, abi::PAGE_SIZE as u64, scale.into(), PRIORITY)? };
        let _ = rt::ipc::close(thread);
    }
    Ok(())
}

#[cfg(not(target_os = "none"))]
fn threads(_: &str, _: u32) -> Result<(), rt::Status> {
    Ok(())
}

#[cfg(target_os = "none")]
mod bare {
    use abi::Syscall;
    use core::arch::naked_asm;

    /// Waits for ever at the task's endpoint. Needs no stack.
    #[unsafe(naked)]
    pub extern "C" fn waiter() -> ! {
        naked_asm!(
            "2:",
            "mov eax, {recv}",
            "mov edi, {endpoint}",
            "xor esi, esi",
            "syscall",
            "jmp 2b",
            recv = const Syscall::Recv as u32,
            endpoint = const abi::info::ENDPOINT,
        )
    }

    /// Calls the endpoint in `rdi` again and again, with a label and no words. Needs no stack.
    #[unsafe(naked)]
    pub extern "C" fn caller() -> ! {
        naked_asm!(
            "mov rbx, rdi",
            "2:",
            "mov eax, {call}",
            "mov rdi, rbx",
            "mov esi, {label}",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "syscall",
            "jmp 2b",
            call = const Syscall::Call as u32,
            label = const bench::label::ECHO as u32,
        )
    }
}
