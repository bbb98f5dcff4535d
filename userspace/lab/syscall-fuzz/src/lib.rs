//! What the tasks of the fuzzed system share: system calls with every register as one likes, and values that are likely to hurt.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod plan;
pub mod pool;
pub mod values;

pub use seeded::Random;

/// The registers of a system call: those that carry arguments, before it and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

impl Registers {
    /// A call of this number with nothing else.
    pub fn new(number: u64) -> Registers {
        Registers { rax: number, ..Registers::default() }
    }

    /// Makes the system call; the registers are then as it left them. On the host nothing is executed.
    ///
    /// # Safety
    /// What the call does to the task's own memory and threads is the caller's to answer for. A fuzzer answers that it may well die of it.
    #[inline(never)]
    pub unsafe fn call(&mut self) {
        #[cfg(target_os = "none")]
        // SAFETY: all registers in which the kernel returns anything are named as results; it keeps every other one.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") self.rax,
                inlateout("rdi") self.rdi,
                inlateout("rsi") self.rsi,
                inlateout("rdx") self.rdx,
                inlateout("r10") self.r10,
                inlateout("r8") self.r8,
                inlateout("r9") self.r9,
                inlateout("r12") self.r12,
                inlateout("r13") self.r13,
                inlateout("r14") self.r14,
                inlateout("r15") self.r15,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
    }

    /// All of them in one word, to see whether two runs went the same way.
    pub fn mixed(&self) -> u64 {
        let arguments = [self.rax, self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9];
        let words = [self.r12, self.r13, self.r14, self.r15];
        arguments.into_iter().chain(words).fold(0, |sum, word| {
            let mixed = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 29
        })
    }
}
