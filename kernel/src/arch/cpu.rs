//! The features of the processor (Intel SDM vol. 2A, CPUID), its time-stamp counter, and halting.
//! [`super::state`] enables the features that are used.

use core::arch::x86_64::{__cpuid, __cpuid_count};

/// The features of the processor that the kernel uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// SMEP: executing user pages in ring 0 faults.
    pub smep: bool,
    /// SMAP: accessing user pages in ring 0 faults.
    pub smap: bool,
    /// UMIP: SGDT, SIDT, SLDT, SMSW and STR fault in ring 3.
    pub umip: bool,
    /// NX: pages can be made non-executable.
    pub nx: bool,
    /// PGE: cached translations can be kept when CR3 is loaded.
    pub global: bool,
    /// PCID: translations of several address spaces can be cached side by side.
    pub pcid: bool,
    /// MCE: a hardware error raises an exception; without it, the processor shuts down.
    pub machine_check: bool,
    /// PAT: page-table entries choose among memory types that the kernel sets.
    pub pat: bool,
    /// DEBUGCTL, the register that enables branch records: all 64-bit processors of Intel and AMD
    /// have it.
    pub debugctl: bool,
}

/// A register of the result of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the registers of these names")]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Whether one of these bits is set in the result of CPUID; false if the leaf is beyond the
/// highest.
#[unsafe(link_section = "boot_text")]
pub fn offers(leaf: u32, subleaf: u32, register: Register, bits: u32) -> bool {
    if __cpuid(leaf & 0x8000_0000).eax < leaf {
        return false;
    }
    let found = __cpuid_count(leaf, subleaf);
    let word = match register {
        Register::Eax => found.eax,
        Register::Ebx => found.ebx,
        Register::Ecx => found.ecx,
        Register::Edx => found.edx,
    };
    word & bits != 0
}

/// The number of bits of a physical address (Intel SDM vol. 3A, section 4.1.4).
#[unsafe(link_section = "boot_text")]
pub fn physical_bits() -> u32 {
    const LEAF: u32 = 0x8000_0008;
    if __cpuid(0x8000_0000).eax < LEAF { 36 } else { (__cpuid(LEAF).eax & 0xff).clamp(32, 52) }
}

/// Queries CPUID for the features that the kernel uses.
#[unsafe(link_section = "boot_text")]
pub fn features() -> Features {
    use Register::{Ebx, Ecx, Edx};
    let maker = __cpuid(0);
    // The first four letters of GenuineIntel, AuthenticAMD and HygonGenuine.
    let known = [*b"Genu", *b"Auth", *b"Hygo"].map(u32::from_le_bytes);
    Features {
        smep: offers(7, 0, Ebx, 1 << 7),
        smap: offers(7, 0, Ebx, 1 << 20),
        umip: offers(7, 0, Ecx, 1 << 2),
        nx: offers(0x8000_0001, 0, Edx, 1 << 20),
        global: offers(1, 0, Edx, 1 << 13),
        pcid: offers(1, 0, Ecx, 1 << 17),
        machine_check: offers(1, 0, Edx, 1 << 7),
        pat: offers(1, 0, Edx, 1 << 16),
        debugctl: known.contains(&maker.ebx),
    }
}

/// Reads the time-stamp counter.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: RDTSC has no effect on memory and is always available in 64-bit mode.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Halts the machine for good.
pub fn stop() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
