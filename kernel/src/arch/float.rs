//! Floating-point registers: a thread of a task that has them finds its own, all others fault at the first touch (#NM).
//!
//! They are saved when another thread gets the core, not lazily: nothing of a thread stays in the processor for others to find
//! (Intel SDM vol. 3A, sections 2.5 and 14.1).

use core::arch::asm;
use kernel_core::arena::{Arena, Id};
use kernel_core::thread::FloatState;
use x86_64::registers::control::{Cr0, Cr0Flags};

/// Brings the registers of the thread that runs next into the core, whose registers are now those of `loaded` (`None`: locked).
/// Costs nothing but a comparison where neither has any.
#[inline]
pub fn switch(states: &mut Arena<FloatState>, loaded: &mut Option<Id<FloatState>>, next: Option<Id<FloatState>>) {
    if *loaded != next {
        exchange(states, *loaded, next);
        *loaded = next;
    }
}

#[cold]
fn exchange(states: &mut Arena<FloatState>, loaded: Option<Id<FloatState>>, next: Option<Id<FloatState>>) {
    // A thread that has ended leaves nothing to save.
    if let Some(state) = loaded.and_then(|id| states.get_mut(id)) {
        // SAFETY: `FloatState` has the size and alignment that FXSAVE64 wants, and is borrowed alone; TS is clear while something is
        // loaded, and CR4.OSFXSR is set, so the instruction neither faults nor leaves out the SSE registers.
        unsafe { asm!("fxsave64 [{}]", in(reg) state, options(nostack, preserves_flags)) };
    }
    match next.and_then(|id| states.get(id)) {
        // SAFETY: the kernel has no floating-point code, so nobody loses registers. The state is one that FXSAVE64 stored or
        // `FloatState::new` made, so no reserved bit of MXCSR is set, which would fault. FNINIT first: some processors restore
        // the last instruction's and operand's addresses only where an exception is pending, and would show another thread's.
        Some(state) => unsafe {
            asm!("clts", "fninit", "fxrstor64 [{}]", in(reg) state, options(nostack, preserves_flags))
        },
        // SAFETY: with TS set, floating-point instructions fault, in ring 3 to the blame of the task; the kernel has none.
        None => unsafe { Cr0::update(|f| f.insert(Cr0Flags::TASK_SWITCHED)) },
    }
}
