//! System calls with arbitrary arguments, as only a hostile or broken task would make them. The runtime's wrappers take slices
//! and references and so cannot say what these say.

use abi::Status;

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The status word as it is.
    pub code: u64,
    /// The first value register.
    pub rdx: u64,
    /// The second value register.
    pub rsi: u64,
    /// The first word of a message.
    pub word: u64,
}

impl Outcome {
    /// The status, if the word is one.
    pub fn status(self) -> Option<Status> {
        u32::try_from(self.code).ok().and_then(Status::from_u32)
    }
}

/// The registers of a call: `rdi rsi rdx r10 r8 r9 r12 r13`. Those not named are 0.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs, reason = "they are the registers of these names")]
pub struct Registers {
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub r12: u64,
    pub r13: u64,
}

/// Executes `syscall` with this number and these registers. On the host it comes back with [`Status::BadSyscall`].
///
/// # Safety
/// Either the kernel must refuse the call, or what it does to the task's memory must be sound.
pub unsafe fn syscall(number: u64, registers: Registers) -> Outcome {
    let Registers { rdi, rsi, rdx, r10, r8, r9, r12, r13 } = registers;
    #[cfg(target_os = "none")]
    {
        let (code, rdx_out, rsi_out, word);
        // SAFETY: every register that a system call may change is declared (see `abi::syscall`); the caller vouches for memory.
        unsafe {
            core::arch::asm!(
                "syscall",
                inlateout("rax") number => code,
                inlateout("rdi") rdi => _,
                inlateout("rsi") rsi => rsi_out,
                inlateout("rdx") rdx => rdx_out,
                inlateout("r10") r10 => _,
                inlateout("r8") r8 => _,
                inlateout("r9") r9 => _,
                inlateout("r12") r12 => word,
                inlateout("r13") r13 => _,
                inlateout("r14") 0_u64 => _,
                inlateout("r15") 0_u64 => _,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        Outcome { code, rdx: rdx_out, rsi: rsi_out, word }
    }
    #[cfg(not(target_os = "none"))]
    {
        let _ = (number, rdi, rsi, rdx, r10, r8, r9, r12, r13);
        Outcome { code: Status::BadSyscall as u64, rdx: 0, rsi: 0, word: 0 }
    }
}
