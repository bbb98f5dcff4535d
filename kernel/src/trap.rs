//! Exceptions and interrupts: an exception in ring 3 ends the task, an interrupt of a line sets
//! notification bits, and an exception in the kernel ends the machine with a report.

use crate::arch::controller::{self, InterruptController};
use crate::arch::{cpu, ports, stacks, timer};
use crate::kernel::{self, Kernel};
use crate::latency;
use crate::panic::report;
use abi::error::{DeathKind, exception_name};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_core::lines::Line;
use kernel_core::thread::TrapFrame;
use x86_64::registers::control::Cr2;

/// Number of breakpoints in the kernel's own code, which continues after each.
pub static KERNEL_BREAKPOINTS: AtomicU64 = AtomicU64::new(0);

/// Handles an exception or interrupt in ring 3. The registers are in the running thread's frame.
#[expect(clippy::disallowed_methods, reason = "goes to `next`")]
#[inline(always)]
pub fn from_user(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    latency::begin(latency::cause(frame));
    let (vector, address) = (frame.vector, if frame.vector == 14 { Cr2::read_raw() } else { 0 });
    if vector >= 32 {
        kernel.sys.set_now(cpu::now());
        if interrupt(kernel, vector) {
            return kernel::enter_running(kernel);
        }
        return kernel::next(kernel::lock());
    }
    let mut kernel = kernel::lock();
    exception(&mut kernel, address);
    kernel::next(kernel)
}

#[expect(clippy::unreachable, reason = "who raises an exception in ring 3 is the running thread, and has a task")]
fn exception(kernel: &mut Kernel, address: u64) {
    let Some(thread) = kernel.sys.current() else { unreachable!("an exception of ring 3 without a thread") };
    let Some(row) = kernel.sys.running().map(|t| t.task) else { unreachable!("a thread that is gone") };
    if let Some(record) = kernel.death_record(Some(thread), row, DeathKind::Exception) {
        record.address = address;
    }
    kernel.kill(row);
}

/// Handles an interrupt in ring 0, which may occur where the kernel lets interrupts in, or an
/// exception in ring 0, which is a defect.
#[expect(clippy::disallowed_methods, reason = "let go of when the interrupt has been noted: the idle loop goes on")]
#[inline(always)]
pub fn from_kernel(frame: &TrapFrame) {
    match frame.vector {
        32.. => {
            latency::begin(latency::cause(frame));
            let mut kernel = kernel::lock();
            interrupt(&mut kernel, frame.vector);
            latency::end();
        }
        3 => {
            KERNEL_BREAKPOINTS.fetch_add(1, Ordering::Relaxed);
            crate::klog!("breakpoint in the kernel at {:#x}", frame.rip);
        }
        _ => fatal(frame),
    }
}

/// Reports an exception in ring 0 and stops the machine.
pub fn fatal(frame: &TrapFrame) -> ! {
    let name = exception_name(frame.vector as u32);
    let address = Cr2::read_raw();
    // An overflow of the kernel's stack touches the guard page. The processor cannot push the frame
    // of the page fault there, and raises #DF, which has a stack of its own. CR2 still has the
    // address in the guard page.
    if matches!(frame.vector, 8 | 14)
        && let Some(stack) = stacks::guard_of(address)
    {
        report(format_args!("kernel stack overflow ({stack:?} stack) reported by {name}"), Some(frame));
    }
    if matches!(frame.vector, 8 | 14) && crate::start::boot_guard_holds(address) {
        report(format_args!("kernel stack overflow (boot stack) reported by {name}"), Some(frame));
    }
    if frame.vector == 2 {
        report(format_args!("non-maskable interrupt"), Some(frame));
    }
    report(format_args!("{name} in the kernel"), Some(frame))
}

/// Whether this kernel has no assembly that tries the fast paths first.
const PLAIN: bool = cfg!(feature = "plain");

/// Handles an interrupt. Returns true if a fast path (see [`kernel_core::system::direct`]) did it,
/// so that the running thread is decided.
fn interrupt(kernel: &mut Kernel, vector: u64) -> bool {
    let line = controller::line(vector);
    if !kernel.controller.is_real(line) {
        kernel.sys.count_spurious();
        return false;
    }
    kernel.sys.count_interrupt();
    if line == timer::LINE {
        kernel.controller.end(line);
        kernel.sys.timer_interrupt();
        return false;
    }
    // The line is held until its driver acknowledges the interrupt, which ends an interrupt storm;
    // the line of a dead driver stays masked.
    if !kernel.controller.hold(line) {
        return false;
    }
    if PLAIN && kernel.sys.direct_interrupt(line) {
        return true;
    }
    deliver(kernel, line);
    false
}

/// Delivers an interrupt of a line, which is held.
fn deliver(kernel: &mut Kernel, line: Line) {
    // A debugger may have it dropped: then it has not come. A level-triggered line interrupts again.
    while !kernel.sys.interrupt(line) {
        if !kernel.controller.unmask(line) {
            break;
        }
    }
}

/// Lets interrupts of a line in, which is not held any more, and delivers one that came meanwhile.
pub fn open(kernel: &mut Kernel, line: Line) {
    if kernel.controller.unmask(line) {
        deliver(kernel, line);
    }
}

/// Handles an interrupt of a line in ring 3, after the stub has done what
/// [`InterruptController::hold`] does, and counted it.
#[expect(clippy::disallowed_methods, reason = "goes to `next`")]
#[inline(always)]
pub fn line_from_user(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
    latency::begin(latency::cause(frame));
    ports::count(kernel.controller.stub_ports());
    let line = controller::line(frame.vector);
    kernel.sys.set_now(cpu::now());
    deliver(kernel, line);
    kernel::next(kernel::lock())
}
