//! Processor features: what is switched on, each where CPUID offers it (Intel SDM vol. 2A, CPUID; vol. 3A, section 2.5).

use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{GsBase, KernelGsBase, LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

/// What the processor offers of that which the kernel uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// Execution of user pages in ring 0 faults.
    pub smep: bool,
    /// Access to user pages in ring 0 faults.
    pub smap: bool,
    /// SGDT, SIDT, SLDT, SMSW and STR fault in ring 3.
    pub umip: bool,
    /// Pages can be not executable.
    pub nx: bool,
    /// Translations can outlive a change of CR3.
    pub global: bool,
    /// Translations of several address spaces can be kept side by side.
    pub pcid: bool,
}

/// Asks CPUID.
pub fn features() -> Features {
    let highest = __cpuid(0).eax;
    let leaf7 = if highest >= 7 { __cpuid_count(7, 0) } else { __cpuid_count(0, 0) };
    let has7 = highest >= 7;
    let extended = __cpuid(0x8000_0000).eax;
    Features {
        smep: has7 && leaf7.ebx & 1 << 7 != 0,
        smap: has7 && leaf7.ebx & 1 << 20 != 0,
        umip: has7 && leaf7.ecx & 1 << 2 != 0,
        nx: extended >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 20 != 0,
        global: __cpuid(1).edx & 1 << 13 != 0,
        pcid: __cpuid(1).ecx & 1 << 17 != 0,
    }
}

/// Flags that are cleared on `syscall`: interrupts off, and nothing of the caller's DF, TF, NT, IOPL, AC reaches the kernel.
const SYSCALL_CLEARS: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::IOPL_LOW)
    .union(RFlags::IOPL_HIGH)
    .union(RFlags::ALIGNMENT_CHECK);

/// Switches protections on and points `syscall` to the kernel's entry; `per_core` is what gs means in the kernel.
pub fn init(per_core: VirtAddr, syscall_entry: VirtAddr) -> Features {
    let features = features();
    // SAFETY: each bit is set only where CPUID offers it, and none changes how the kernel's own mappings are reached: they
    // are not user pages (SMEP, SMAP), executable where code runs (NX), and writable where data is written (WP).
    unsafe {
        Efer::update(|f| {
            f.insert(EferFlags::SYSTEM_CALL_EXTENSIONS);
            f.set(EferFlags::NO_EXECUTE_ENABLE, features.nx);
        });
        // TS is clear only while a thread with floating-point registers runs: all others fault when they touch the unit (#NM).
        Cr0::update(|f| {
            f.remove(Cr0Flags::EMULATE_COPROCESSOR);
            f.insert(
                Cr0Flags::WRITE_PROTECT
                    | Cr0Flags::ALIGNMENT_MASK
                    | Cr0Flags::TASK_SWITCHED
                    | Cr0Flags::MONITOR_COPROCESSOR
                    | Cr0Flags::NUMERIC_ERROR,
            )
        });
        Cr4::update(|f| {
            f.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
            f.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
            f.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
            f.set(Cr4Flags::PAGE_GLOBAL, features.global);
            // CR3 holds the kernel's own table now, whose low bits are zero, as the change asks for.
            f.set(Cr4Flags::PCID, features.pcid);
            // Every processor with 64-bit mode has FXSAVE and SSE. AVX and later stay off: their state would not be saved.
            f.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
            f.remove(Cr4Flags::OSXSAVE);
            // Without it ring 3 cannot write its gs base, so the kernel's swapgs always finds its own.
            f.remove(Cr4Flags::FSGSBASE);
        });
        LStar::write(syscall_entry);
        SFMask::write(SYSCALL_CLEARS);
        // Kernel code and stack from 0x08 and 0x10; sysret takes user code from 0x18 + 16 and user stack from 0x18 + 8.
        Star::write_raw(0x18 | 3, 0x08);
        GsBase::write(per_core);
        KernelGsBase::write(VirtAddr::new(0));
    }
    features
}

/// Reads the time-stamp counter.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: RDTSC has no effect on memory and is always available in 64-bit mode.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Stops the machine for good.
pub fn stop() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
