//! The functions in which the entry stubs continue: see [`crate::arch::handlers`]. The general
//! entry of system calls is here; every other function is in the file of its subject.

use crate::arch::entry;
use crate::arch::fast::General;
use crate::arch::handlers::{Handlers, Returned};
use crate::kernel::{self, Kernel};
use crate::{latency, lease, syscall, trap};
use abi::Syscall;
use kernel_core::thread::TrapFrame;
use x86_64::VirtAddr;

// SAFETY: the returned frame comes from `kernel::next` or `kernel::enter_running`: it is that of
// the thread for which they have prepared the core, with the state unlocked. `kernel::set` stores
// the address of the state in the core's record before the first thread runs.
unsafe impl General for Kernel {
    #[expect(clippy::unreachable, reason = "who makes a system call is the running thread")]
    #[expect(clippy::disallowed_methods, reason = "goes to `next`")]
    extern "C" fn on_syscall(frame: &TrapFrame) -> *const TrapFrame {
        latency::begin(latency::cause(frame));
        let (number, args) = (frame.rax, syscall::Args::of(frame));
        let mut kernel = kernel::lock();
        let Some(thread) = kernel.sys.current() else { unreachable!("a system call without a thread") };
        let outcome = match Syscall::from_u64(number) {
            Some(call) => syscall::dispatch(&mut kernel, thread, call, args),
            #[cfg(feature = "verify")]
            None => kernel
                .sys
                .row_of(thread)
                .and_then(|row| crate::verify::call(&kernel, row, number))
                .and_then(|(rdx, rsi)| syscall::pair(rdx, rsi)),
            #[cfg(feature = "latency")]
            None => kernel
                .sys
                .row_of(thread)
                .and_then(|row| latency::call(&kernel, row, number, args.rdi))
                .and_then(|(rdx, rsi)| syscall::pair(rdx, rsi)),
            #[cfg(not(any(feature = "verify", feature = "latency")))]
            None => Err(abi::Status::BadSyscall),
        };
        kernel.conclude(thread, outcome);
        #[cfg(feature = "verify")]
        crate::verify::count(&kernel, thread, number);
        kernel::next(kernel)
    }

    extern "C" fn enter_current(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        kernel::enter_current(frame, kernel)
    }

    extern "C" fn line_from_user(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        trap::line_from_user(frame, kernel)
    }
}

// SAFETY: the returned frames come from `kernel::next` or `kernel::enter_running`, as above. The
// functions that return no frame do not change which thread runs: they poll, copy from or to
// leases, or read the record of a death.
unsafe impl Handlers for Kernel {
    extern "C" fn on_message(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        syscall::on_message(frame, kernel)
    }

    extern "C" fn on_signal(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        syscall::on_signal(frame, kernel)
    }

    extern "C" fn on_yield(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        syscall::on_yield(frame, kernel)
    }

    extern "C" fn on_poll(handle: u64, mask: u64, rdx: u64, _: u64, _: u64, kernel: &mut Kernel) -> Returned {
        syscall::on_poll(handle, mask, rdx, kernel)
    }

    extern "C" fn on_read(token: u64, number: u64, offset: u64, to: u64, len: u64, kernel: &mut Kernel) -> Returned {
        lease::on_read(token, number, offset, to, len, kernel)
    }

    extern "C" fn on_write(token: u64, number: u64, offset: u64, from: u64, len: u64, kernel: &mut Kernel) -> Returned {
        lease::on_write(token, number, offset, from, len, kernel)
    }

    extern "C" fn on_task_fault(system: u64, row: u64, to: u64, _: u64, _: u64, kernel: &mut Kernel) -> Returned {
        syscall::on_task_fault(system, row, to, kernel)
    }

    extern "C" fn from_user(frame: &TrapFrame, kernel: &mut Kernel) -> *const TrapFrame {
        trap::from_user(frame, kernel)
    }

    extern "C" fn from_kernel(frame: &TrapFrame) {
        trap::from_kernel(frame)
    }

    extern "C" fn fatal(frame: &TrapFrame) -> ! {
        trap::fatal(frame)
    }
}

/// The address of the entry of `syscall`: a stub that continues in these functions.
#[inline(never)]
#[unsafe(link_section = "boot_text")]
pub fn syscall_entry() -> VirtAddr {
    VirtAddr::new(entry::syscall_entry::<Kernel> as *const () as u64)
}
