//! What `latency` starts: its argument says what it has, and how it ends.
//!
//! `call N`: N threads call `server`. `hold WAY`: takes every mapping, handle and object, and then does as WAY says.
#![cfg_attr(target_os = "none", no_std, no_main)]

use abi::message::Rights;
use rt::Status;
use rt::ipc::Endpoint;
use rt::memory::Memory;
use rt::println;

rt::entry!(run);

/// The task's priority, and that of its threads.
#[cfg(target_os = "none")]
const PRIORITY: u8 = 12;

/// So that the program is nearly as large as one may be: memory that begins as zero.
static mut LARGE: [u8; 15 << 20] = [0; 15 << 20];

fn run() {
    let mut words = rt::arg().split(' ');
    let what = words.next().unwrap_or_default();
    let argument = words.next().unwrap_or_default();
    let done = match what {
        "call" => callers(argument.parse().unwrap_or(0)),
        "hold" => hold().and_then(|()| end(argument)),
        _ => Err(Status::BadArgument),
    };
    if let Err(status) = done {
        println!("failed burden {what} {argument} {status}");
    }
    loop {
        let _ = Endpoint::own().receive(u64::MAX);
    }
}

/// Takes everything there is: handles, and mappings as far as objects go.
fn hold() -> Result<(), Status> {
    core::hint::black_box(&raw const LARGE);
    let memory = Memory::create(1)?;
    // SAFETY: nothing refers to what is mapped.
    while unsafe { rt::syscall::memory_map(memory.0, 0, true) }.is_ok() {}
    while Memory::create(1).is_ok() {}
    while Endpoint::own().duplicate(Rights::all(), 0).is_ok() {}
    Ok(())
}

#[cfg(target_os = "none")]
fn end(way: &str) -> Result<(), Status> {
    use core::arch::asm;
    // SAFETY: each ends the task, which is the point; `wait` goes back.
    unsafe {
        match way {
            "wait" => {}
            "exit" => rt::syscall::exit(7),
            "panic" => panic!("as it was told"),
            "divide" => asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _),
            "break" => asm!("int3"),
            "invalid" => asm!("ud2"),
            "protection" => asm!("hlt"),
            "page" => asm!("mov rax, [0]", out("rax") _),
            "stack" => asm!("mov rax, 0x8000000000000000", "mov rsp, rax", "push rax", options(noreturn)),
            _ => return Err(Status::BadArgument),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "none"))]
fn end(_: &str) -> Result<(), Status> {
    Ok(())
}

#[cfg(target_os = "none")]
fn callers(count: u32) -> Result<(), Status> {
    let server = Endpoint::peer("server").map_or(0, |peer| peer.0);
    for _ in 0..count {
        // SAFETY: it is made to be a thread's first function, and uses neither stack nor memory.
        let thread = unsafe {
            rt::syscall::thread_create(
                bench::stackless::caller as *const () as u64,
                abi::PAGE_SIZE as u64,
                server.into(),
                PRIORITY,
            )?
        };
        let _ = rt::ipc::close(thread);
    }
    Ok(())
}

#[cfg(not(target_os = "none"))]
fn callers(_: u32) -> Result<(), Status> {
    Ok(())
}
