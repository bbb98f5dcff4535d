//! What `burden` and `plain` do: the argument says what they have, and how they end.
//!
//! `lines`: has its lines interrupt it, and ends. `call N`: N threads call `server`. `spin N`: N threads give way again and again. `hold WAY KIND`: takes every object and handle that it can get, of
//! one kind, and then does as WAY says.

use abi::message::Rights;
use rt::Status;
use rt::ipc::Endpoint;
use rt::memory::Memory;
use rt::notify::Notification;
use rt::println;
use rt::syscall as sys;

#[cfg(target_os = "none")]
#[path = "lines.rs"]
mod lines;

/// The task's priority, and that of its threads.
#[cfg(target_os = "none")]
const PRIORITY: u8 = 12;

/// Does as it is told; or waits, where it is to be ended by another.
pub fn run() -> ! {
    let mut words = rt::arg().split(' ');
    let what = words.next().unwrap_or_default();
    let argument = words.next().unwrap_or_default();
    let kind = words.next().unwrap_or_default();
    let done = match what {
        "call" | "spin" => many(what == "spin", argument.parse().unwrap_or(0)),
        "hold" => hold(kind).and_then(|()| end(argument)),
        "lines" => lines::run(),
        _ => Err(Status::BadArgument),
    };
    if let Err(status) = done {
        println!("failed burden {what} {argument} {status}");
    }
    loop {
        let _ = Endpoint::own().receive(u64::MAX);
    }
}

/// Takes everything there is: objects of this kind, or as many as each kind goes, and handles to its own endpoint.
fn hold(kind: &str) -> Result<(), Status> {
    match kind {
        "timers" => timers()?,
        "threads" => threads()?,
        "endpoints" => while pair().is_ok() {},
        _ => {
            let memory = Memory::create(1)?;
            // SAFETY: nothing refers to what is mapped.
            while unsafe { sys::memory_map(memory.0, 0, true) }.is_ok() {}
            while Memory::create(1).is_ok() {}
        }
    }
    while Endpoint::own().duplicate(Rights::all(), 0).is_ok() {}
    Ok(())
}

/// Timers that never become due, armed in no order, so that the place of each in the heap is another.
fn timers() -> Result<(), Status> {
    let own = Notification::own();
    let far = rt::time::now_ns() + (1 << 50);
    let mut number = 0_u64;
    while let Ok(timer) = sys::timer_create(own.0, 5) {
        sys::timer_arm(timer, far + number * 7919 % 1000)?;
        number += 1;
    }
    Ok(())
}

/// An endpoint with a notification bound to it.
fn pair() -> Result<(), Status> {
    let (endpoint, notification) = (sys::endpoint_create()?, sys::notification_create()?);
    sys::endpoint_bind(endpoint, notification)
}

/// Threads that wait for what never comes, at an endpoint of the task's own.
#[cfg(target_os = "none")]
fn threads() -> Result<(), Status> {
    let endpoint = sys::endpoint_create()?;
    let entry = bench::stackless::listener as *const () as u64;
    loop {
        // SAFETY: it is made to be a thread's first function, and uses neither stack nor memory.
        let thread =
            unsafe { sys::thread_create(entry, abi::PAGE_SIZE as u64, u64::from(endpoint) | 64 << 32, PRIORITY) };
        match thread {
            Ok(thread) => rt::ipc::close(thread)?,
            Err(_) => return Ok(()),
        }
    }
}

#[cfg(not(target_os = "none"))]
fn threads() -> Result<(), Status> {
    Ok(())
}

/// Ends as `way` says, but for `wait`. Exceptions that 64-bit mode has no instruction for any more (#OF, #BR) are what it makes of those instructions.
#[cfg(target_os = "none")]
fn end(way: &str) -> Result<(), Status> {
    use core::arch::asm;
    // SAFETY: each ends the task, which is the point; `wait` goes back.
    unsafe {
        match way {
            "wait" => {}
            "exit" => sys::exit(7),
            "panic" => panic!("as it was told"),
            "divide" => asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _),
            "single-step" => asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop"),
            "break" => asm!("int3"),
            "int-1" => asm!("int 1"),
            "int-nmi" => asm!("int 2"),
            "int-overflow" => asm!("int 4"),
            "int-double-fault" => asm!("int 8"),
            "int-timer" => asm!("int 32"),
            "int-line" => asm!("int 33"),
            "int-nothing" => asm!("int 0x80"),
            "int-last" => asm!("int 0xff"),
            "into" => asm!(".byte 0xce"),
            "bound" => asm!(".byte 0x62, 0x00"),
            "invalid" => asm!("ud2"),
            "unit" => asm!("fld1"),
            "protection" => asm!("hlt"),
            "segment" => asm!("mov eax, 16", "mov ss, ax", out("eax") _),
            "page" => asm!("mov rax, [0]", out("rax") _),
            "stack" => asm!("mov rax, 0x8000000000000000", "mov rsp, rax", "push rax", options(noreturn)),
            // QEMU's emulation checks no alignment; a processor does.
            "alignment" => asm!(
                "pushfq", "or qword ptr [rsp], 0x40000", "popfq", "mov eax, [rsp + 1]", "ud2", out("eax") _
            ),
            // The division by zero is no longer masked: #MF with the next instruction of the unit, #XM at once.
            "x87" => asm!(
                "sub rsp, 16",
                "mov word ptr [rsp], 0x37b",
                "fninit",
                "fldcw [rsp]",
                "fld1",
                "fldz",
                "fdivp",
                "fwait",
                "ud2"
            ),
            "sse" => asm!(
                "sub rsp, 16",
                "mov dword ptr [rsp], 0x1d80",
                "ldmxcsr [rsp]",
                "mov eax, 1",
                "cvtsi2ss xmm0, eax",
                "xorps xmm1, xmm1",
                "divss xmm0, xmm1",
                "ud2",
                options(noreturn)
            ),
            _ => return Err(Status::BadArgument),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "none"))]
mod lines {
    pub fn run() -> Result<(), rt::Status> {
        Ok(())
    }
}

#[cfg(not(target_os = "none"))]
fn end(_: &str) -> Result<(), Status> {
    Ok(())
}

#[cfg(target_os = "none")]
fn many(spin: bool, count: u32) -> Result<(), Status> {
    use bench::stackless::{caller, spinner};
    let server = Endpoint::peer("server").map_or(0, |peer| peer.0);
    let entry = if spin { spinner as *const () } else { caller as *const () };
    for _ in 0..count {
        // SAFETY: it is made to be a thread's first function, and uses neither stack nor memory.
        let thread =
            unsafe { rt::syscall::thread_create(entry as u64, abi::PAGE_SIZE as u64, server.into(), PRIORITY)? };
        let _ = rt::ipc::close(thread);
    }
    Ok(())
}

#[cfg(not(target_os = "none"))]
fn many(_: bool, _: u32) -> Result<(), Status> {
    Ok(())
}
