//! What the kernel does not note of itself: the fast paths, and the stubs around what it does note. Both are measured from ring 3, from the instruction before
//! the kernel is entered to the one behind it.

use super::noted;
use abi::Syscall;
use abi::syscall::LATENCY_VECTORS;
use rt::notify::Notification;
use rt::time::ticks;
use rt::{Status, println};

/// Instructions of the measurement itself.
#[cfg(target_os = "none")]
const OWN: u64 = 6;
/// The timer's line, by its cause.
const TIMER: u64 = LATENCY_VECTORS + 32;
/// Instructions between two readings of the counter where nothing comes between, at the most.
const NOTHING: u64 = 24;
/// Interrupts of the timer that are seen: a turn ends at each.
const TURNS: u32 = 50;

/// What ring 3 sees of a stretch is said for it, where the kernel has not noted more; and what the kernel has noted of it includes the stubs.
pub fn measured() -> Result<(), Status> {
    let own = u64::from(Notification::own().0);
    // Fast paths, of which nothing is noted: bits that are not set, bits that nobody waits for, nobody to yield to.
    told(Syscall::Poll, of(Syscall::Poll, own, 1 << 40));
    told(Syscall::Signal, of(Syscall::Signal, own, 1 << 5));
    told(Syscall::Yield, of(Syscall::Yield, 0, 0));
    Notification::own().poll(u64::MAX);
    // General paths.
    for (call, rdi, rsi) in [
        (Syscall::HandleClose, 0xffff_0000, 0),
        (Syscall::MemoryInfo, 0xffff_0000, 0),
        (Syscall::LeaseRead, 0, 0),
        (Syscall::TaskFault, 0xffff_0000, 0),
        (Syscall::NotificationCreate, 0, 0),
    ] {
        noted();
        let took = of(call, rdi, rsi);
        let said = noted().into_iter().find(|(cause, _)| *cause == call as u64).map_or(0, |(_, [longest, _])| longest);
        if took > said {
            println!("failed fast {} {took} {said}", call.name());
        }
    }
    interrupts_of_the_timer();
    Ok(())
}

fn told(call: Syscall, took: u64) {
    println!("latency fast {} {took} 0", call as u64);
}

/// The longest gap between two readings of the counter is an interrupt of the timer, which the kernel has noted.
fn interrupts_of_the_timer() {
    noted();
    let (mut longest, mut seen, mut last) = (0, 0, ticks());
    while seen < TURNS {
        let now = ticks();
        let gap = now.saturating_sub(last);
        if gap > NOTHING {
            seen += 1;
            longest = longest.max(gap - NOTHING);
        }
        last = now;
    }
    let said = noted().into_iter().find(|(cause, _)| *cause == TIMER).map_or(0, |(_, [longest, _])| longest);
    if said != 0 && longest > said {
        println!("failed fast timer {longest} {said}");
    }
    println!("latency fast {TIMER} {longest} 1");
}

/// Instructions in the kernel of a system call with these arguments.
#[cfg(target_os = "none")]
fn of(call: Syscall, rdi: u64, rsi: u64) -> u64 {
    let took: u64;
    // SAFETY: no argument names memory, and no call that is measured blocks.
    unsafe {
        core::arch::asm!(
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "mov r15, rax",
            "mov rax, r14",
            "xor edx, edx",
            "syscall",
            "rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "sub rax, r15",
            inlateout("rax") 0_u64 => took,
            inlateout("rdi") rdi => _,
            inlateout("rsi") rsi => _,
            inlateout("r14") call as u64 => _,
            inlateout("r10") 0_u64 => _,
            inlateout("r8") 0_u64 => _,
            inlateout("r9") 0_u64 => _,
            inlateout("r12") 0_u64 => _,
            inlateout("r13") 0_u64 => _,
            lateout("r15") _,
            lateout("rdx") _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    took.saturating_sub(OWN)
}

#[cfg(not(target_os = "none"))]
fn of(_: Syscall, _: u64, _: u64) -> u64 {
    0
}
