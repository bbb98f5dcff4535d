//! Floating-point registers: each thread of a task that uses them has its own; in other threads the
//! first use faults (#NM).
//!
//! They are saved at every switch between threads, not lazily, so that no thread's values stay in
//! the processor for others to find (Intel SDM vol. 3A, sections 2.5 and 14.1).

use core::arch::asm;
use kernel_core::arena::{Arena, Id};
use kernel_core::thread::FloatState;
use x86_64::registers::control::{Cr0, Cr0Flags};

/// Loads the floating-point registers of the thread that runs next, after saving those of `loaded`,
/// the thread whose registers are in the processor (`None`: their use faults). If neither thread
/// has any, this is only a comparison.
#[inline]
pub fn switch(states: &mut Arena<FloatState>, loaded: &mut Option<Id<FloatState>>, next: Option<Id<FloatState>>) {
    if *loaded != next {
        exchange(states, *loaded, next);
        *loaded = next;
    }
}

#[cold]
fn exchange(states: &mut Arena<FloatState>, loaded: Option<Id<FloatState>>, next: Option<Id<FloatState>>) {
    // The registers of a thread that has ended are not saved.
    if let Some(state) = loaded.and_then(|id| states.get_mut(id)) {
        // SAFETY: `FloatState` has the size and alignment that FXSAVE64 requires, and is borrowed
        // exclusively; TS is clear while something is loaded, and CR4.OSFXSR is set, so the
        // instruction does not fault and includes the SSE registers.
        unsafe { asm!("fxsave64 [{}]", in(reg) state, options(nostack, preserves_flags)) };
    }
    match next.and_then(|id| states.get(id)) {
        // SAFETY: the kernel has no floating-point code, so nobody loses registers. FXSAVE64 or
        // `FloatState::new` made the state, so no reserved bit of MXCSR is set, which would fault.
        // FNINIT comes first, because some processors restore the addresses of the last instruction
        // and operand only if an exception is pending, and would otherwise show another thread's.
        Some(state) => unsafe {
            asm!("clts", "fninit", "fxrstor64 [{}]", in(reg) state, options(nostack, preserves_flags))
        },
        // SAFETY: with TS set, floating-point instructions fault, which ends the task that uses
        // one; the kernel has none.
        None => unsafe { Cr0::update(|f| f.insert(Cr0Flags::TASK_SWITCHED)) },
    }
}
