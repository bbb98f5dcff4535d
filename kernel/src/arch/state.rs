//! Sets all state of the processor that ring 3 could use, completely: nothing is kept of what
//! firmware and loader left. `docs/security.md` has a table of the values and the reasons.
//!
//! Segments, descriptor tables and their limits are set by [`super::gdt`] and [`super::idt`], which
//! come first. Sources: Intel SDM vol. 3A, chapter 2 (control registers), and vol. 4
//! (model-specific registers); AMD APM vol. 2, appendix A.

use super::cpu::{Features, Register, offers};
use core::arch::asm;
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, EferFlags};
use x86_64::registers::model_specific::{Efer, Msr};
use x86_64::registers::rflags::RFlags;

/// The flags that `syscall` clears: interrupts are off, and the caller's DF, TF, NT, IOPL and AC do
/// not reach the kernel.
pub const SYSCALL_CLEARS: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::IOPL_LOW)
    .union(RFlags::IOPL_HIGH)
    .union(RFlags::ALIGNMENT_CHECK);

/// Selectors for `syscall` and `sysret`: kernel code and stack are 0x08 and 0x10; user code is 0x18
/// + 16 and user stack 0x18 + 8.
const STAR: u64 = (0x18 | 3) << 48 | 0x08 << 32;

/// The memory types that the PWT and PCD bits of a page-table entry select; its PAT bit changes
/// nothing: write-back, write-combining, uncached unless the MTRRs say write-combining, uncached
/// (Intel SDM vol. 3A, section 11.12).
const PAT: u64 = 0x0007_0106_0007_0106;

/// The longest wait of UMWAIT and TPAUSE, in ticks of the time-stamp counter, without the deeper
/// state C0.2.
const UMWAIT: u64 = 100_000 | 1;

/// A register that not every processor has: its number, its value, and the feature of CPUID that
/// tells whether it exists.
struct Offered {
    number: u32,
    value: u64,
    /// Leaf, subleaf, register of the result, and bits of which one must be set.
    by: (u32, u32, Register, u32),
}

const OFFERED: [Offered; 11] = {
    use Register::{Eax, Ebx, Ecx, Edx};
    const fn row(number: u32, value: u64, by: (u32, u32, Register, u32)) -> Offered {
        Offered { number, value, by }
    }
    [
        // A null selector makes SYSENTER a general protection fault.
        row(0x174, 0, (1, 0, Edx, 1 << 11)),
        row(0x175, 0, (1, 0, Edx, 1 << 11)),
        row(0x176, 0, (1, 0, Edx, 1 << 11)),
        // PAT: the memory types.
        row(0x277, PAT, (1, 0, Edx, 1 << 16)),
        // TSC_AUX, which any task can read by RDTSCP and RDPID.
        row(0xc000_0103, 0, (0x8000_0001, 0, Edx, 1 << 27)),
        row(0xc000_0103, 0, (7, 0, Ecx, 1 << 22)),
        // Performance counters. From version 2 on one register enables them all.
        row(0x38f, 0, (10, 0, Eax, 0xfe)),
        // Processor trace, which writes to memory.
        row(0x570, 0, (7, 0, Ebx, 1 << 25)),
        // Branch records.
        row(0x14ce, 0, (7, 0, Edx, 1 << 19)),
        // Supervisor state components of XSAVES.
        row(0xda0, 0, (13, 1, Eax, 1 << 3)),
        row(0xe1, UMWAIT, (7, 0, Ecx, 1 << 5)),
    ]
};

/// The whole value of CR0. TS is clear only while a thread with floating-point registers runs; in
/// all others the first use faults (#NM).
pub const CR0: Cr0Flags = Cr0Flags::PAGING
    .union(Cr0Flags::ALIGNMENT_MASK)
    .union(Cr0Flags::WRITE_PROTECT)
    .union(Cr0Flags::NUMERIC_ERROR)
    .union(Cr0Flags::EXTENSION_TYPE)
    .union(Cr0Flags::TASK_SWITCHED)
    .union(Cr0Flags::MONITOR_COPROCESSOR)
    .union(Cr0Flags::PROTECTED_MODE_ENABLE);

/// The whole value of CR4. Every 64-bit processor has FXSAVE and SSE. All other features are off:
/// FSGSBASE (so that ring 3 cannot write its gs base, and the kernel's `swapgs` always finds the
/// kernel's), PCE (so that `rdpmc` faults), OSXSAVE (AVX and later, whose state would not be
/// saved), and all features unknown to this code. TSD is off, because tasks read the time from the
/// time-stamp counter.
pub fn cr4(features: &Features) -> Cr4Flags {
    let mut flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    flags.set(Cr4Flags::MACHINE_CHECK_EXCEPTION, features.machine_check);
    flags.set(Cr4Flags::PAGE_GLOBAL, features.global);
    flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
    flags.set(Cr4Flags::PCID, features.pcid);
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    flags
}

/// The whole value of EFER.
pub fn efer(features: &Features) -> EferFlags {
    let mut flags = EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE;
    flags.set(EferFlags::NO_EXECUTE_ENABLE, features.nx);
    flags
}

/// Sets all state. `per_core` is the kernel's gs base, `syscall_entry` the entry of `syscall`.
#[unsafe(link_section = "boot_text")]
pub fn set(features: &Features, per_core: VirtAddr, syscall_entry: VirtAddr) {
    let write = |number: u32, value: u64| {
        // SAFETY: the register exists: every 64-bit processor has it, or CPUID says so. The values
        // change nothing for the code that runs: gs is not used yet, and the memory types of
        // entries without PWT stay the same.
        unsafe { Msr::new(number).write(value) };
    };
    // STAR, LSTAR, CSTAR (for 32-bit code, of which there is none), SFMASK; the bases of fs and gs,
    // and the base that `swapgs` loads.
    let every = [
        (0xc000_0081, STAR),
        (0xc000_0082, syscall_entry.as_u64()),
        (0xc000_0083, 0),
        (0xc000_0084, SYSCALL_CLEARS.bits()),
        (0xc000_0100, 0),
        (0xc000_0101, per_core.as_u64()),
        (0xc000_0102, 0),
    ];
    for (number, value) in every {
        write(number, value);
    }
    for Offered { number, value, by: (leaf, subleaf, register, bits) } in OFFERED {
        if offers(leaf, subleaf, register, bits) {
            write(number, value);
        }
    }
    if features.debugctl {
        // Branch records, and traps on branches.
        write(0x1d9, 0);
    }
    // SAFETY: the values are complete and known. None changes the access to the kernel's own
    // mappings: they are not user pages (SMEP, SMAP), executable where code runs (NX), and writable
    // where data is written (WP). CR3 holds the kernel's own table, with low bits of 0, as PCID
    // requires; loading it again flushes translations that were cached with other memory types. The
    // floating-point unit is usable until TS is set.
    unsafe {
        Efer::write_raw(efer(features).bits());
        Cr4::write_raw(cr4(features).bits());
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
        let mxcsr: u32 = 0x1f80;
        asm!("clts", "fninit", "ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags));
        Cr0::write_raw(CR0.bits());
        // No local descriptor table, no breakpoints, no interrupt held back by its priority.
        asm!(
            "lldt {zero:x}",
            "mov dr7, {dr7}", "mov dr6, {dr6}",
            "mov dr0, {zero}", "mov dr1, {zero}", "mov dr2, {zero}", "mov dr3, {zero}",
            "mov cr8, {zero}",
            zero = in(reg) 0u64,
            dr6 = in(reg) 0xffff_0ff0_u64,
            dr7 = in(reg) 0x400_u64,
            options(nostack, preserves_flags),
        );
        // The flags for interrupts, direction, nested task, I/O privilege level and alignment check
        // are cleared.
        asm!("push 2", "popfq");
    }
}
