//! Nothing is inherited: whatever the processor's registers and PCI functions were set to when the kernel was entered, they are set to what
//! `docs/security.md` says. The test sets them to something else first, and reads them back when the kernel has begun.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use kernel::arch::controller::apic;
use kernel::arch::cpu::{Register, offers};
use kernel::arch::{gdt, pci, percore};
use kernel::{BOOT_CONFIG, entries, klog, start, testing};
use x86_64::VirtAddr;
use x86_64::instructions::port::Port;
use x86_64::instructions::tables::{lgdt, sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::rflags;
use x86_64::structures::DescriptorTablePointer;

entry_point!(main, config = &BOOT_CONFIG);

/// Leaf, subleaf, register and bits of CPUID's answer.
type Answer = (u32, u32, Register, u32);

/// Model-specific registers: number, what is written before, what the kernel must set, and where CPUID says that it is there (leaf,
/// subleaf, register, bits; leaf 0 for what every processor has).
fn registers() -> [(u32, u64, u64, Answer); 13] {
    use Register::{Ecx, Edx};
    let every = (0, 0, Edx, !0);
    let entry = entries::syscall_entry().as_u64();
    [
        (0x174, 8, 0, (1, 0, Edx, 1 << 11)),
        (0x175, 0x1000, 0, (1, 0, Edx, 1 << 11)),
        (0x176, 0x1000, 0, (1, 0, Edx, 1 << 11)),
        // PA0 to PA7, one byte each: 6 write-back, 1 write-combining, 7 uncached but for the MTRRs, 0 uncached.
        (0x277, 0x0007_0406_0007_0406, 0x0007_0106_0007_0106, (1, 0, Edx, 1 << 16)),
        (0xc000_0081, 0x0023_0010_0000_1000, 0x001b_0008_0000_0000, every),
        (0xc000_0082, 0x1000, entry, every),
        (0xc000_0083, 0x1000, 0, every),
        (0xc000_0084, 0, 0x4_7700, every),
        (0xc000_0100, 0x1000, 0, every),
        (0xc000_0101, 0x1000, percore::addr().addr() as u64, every),
        (0xc000_0102, 0x1000, 0, every),
        (0xc000_0103, 0x1234, 0, (0x8000_0001, 0, Edx, 1 << 27)),
        (0xc000_0103, 0x1234, 0, (7, 0, Ecx, 1 << 22)),
    ]
}

fn there((leaf, subleaf, register, bits): Answer) -> bool {
    leaf == 0 || offers(leaf, subleaf, register, bits)
}

/// The command register of the function at this address.
fn command(address: u16) -> u16 {
    pci::read(address, 4) as u16
}

fn set_command(address: u16, value: u16) {
    pci::read(address, 4);
    // SAFETY: the register that was just selected; the test ends before any device is used.
    unsafe { Port::new(0xcfc).write(value) };
}

/// All functions of all buses.
fn functions() -> impl Iterator<Item = u16> {
    (0..=u16::MAX).filter(|&address| !matches!(pci::read(address, 0) as u16, 0 | 0xffff))
}

/// Vendor and device of the host bridge of the usual board (Intel's 82441FX), on which this kernel has more buses: see `own_hardware` in
/// xtask/src/test/kernel.rs.
const USUAL_BOARD: u32 = 0x1237_8086;
/// The first bus with a root of its own.
const FAR: u16 = 192;

/// Sets everything to what it should not be, as far as that does not stop the kernel's entry itself.
fn spoil() {
    for (number, before, _, by) in registers() {
        if there(by) {
            // SAFETY: nothing uses these before the kernel sets them; the loader's code uses no segment base.
            unsafe { Msr::new(number).write(before) };
        }
    }
    // SAFETY: breakpoints on a page that nobody touches; flags and control bits that this code does not depend on.
    unsafe {
        asm!(
            "mov dr0, {at}", "mov dr1, {at}", "mov dr2, {at}", "mov dr3, {at}", "mov dr6, {six}", "mov dr7, {seven}",
            "mov cr8, {eight}",
            at = in(reg) 0x1000_u64, six = in(reg) 0xffff_0fff_u64, seven = in(reg) 0x0000_0755_u64, eight = in(reg) 5_u64,
        );
        Cr0::write_raw((Cr0::read() | Cr0Flags::MONITOR_COPROCESSOR).bits() & !Cr0Flags::WRITE_PROTECT.bits());
        Cr4::write_raw(
            Cr4::read_raw() | (Cr4Flags::DEBUGGING_EXTENSIONS | Cr4Flags::PERFORMANCE_MONITOR_COUNTER).bits(),
        );
        asm!("push 0x47002", "popfq");
    }
    spoil_floating_point();
    load_local_table();
    for address in functions() {
        set_command(address, command(address) | 7);
    }
}

/// Other precision and rounding, exceptions that are not masked, and denormals as zeros.
fn spoil_floating_point() {
    let (control, mxcsr) = (0x0c40_u16, 0x6040_u32);
    // SAFETY: this code has no floating-point instruction but these; the kernel sets both control registers in full.
    unsafe {
        Cr4::write_raw(Cr4::read_raw() | Cr4Flags::OSFXSR.bits());
        Cr0::write_raw(Cr0::read_raw() & !(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED).bits());
        asm!("fldcw [{}]", "ldmxcsr [{}]", in(reg) &raw const control, in(reg) &raw const mxcsr);
    }
}

/// Loads a local descriptor table, with the one selector of a global table that is there for this moment: the processor keeps what it has read
/// (Intel SDM vol. 3A, section 3.5.1).
fn load_local_table() {
    static LOCAL: [u64; 2] = [0, 0x00cf_f300_0000_ffff];
    let base = (&raw const LOCAL) as u64;
    // Limit 15, type 2 (local descriptor table), present; second word: base 63 to 32.
    let global = [0, 15 | (base & 0xff_ffff) << 16 | 0x82 << 40 | (base >> 24 & 0xff) << 56, base >> 32];
    let old = sgdt();
    let new = DescriptorTablePointer { limit: 23, base: VirtAddr::new((&raw const global) as u64) };
    // SAFETY: interrupts are off and no segment is loaded between the two, so nothing but `lldt` looks into the table.
    unsafe {
        lgdt(&new);
        asm!("lldt {:x}", in(reg) 8, options(nostack, preserves_flags));
        lgdt(&old);
    }
    assert!(access_rights(0xc).is_some(), "the local table is not loaded");
}

/// What LAR says of a selector; `None` where it leads to no descriptor. As a processor starts, a local table lies at address 0.
fn access_rights(selector: u32) -> Option<u32> {
    let (rights, found): (u32, u8);
    // SAFETY: LAR changes a register and a flag.
    unsafe { asm!("lar {:e}, {:e}", "setz {}", out(reg) rights, in(reg) selector, out(reg_byte) found) };
    (found != 0).then_some(rights)
}

fn main(boot: &'static mut BootInfo) -> ! {
    spoil();
    let spoilt = functions().filter(|&address| command(address) & 4 != 0).count();
    let ready = start::init_memory(boot);
    klog!("{:?}, {:?}", ready.features, ready.bus_masters);
    testing::run(&[
        ("d21_model_specific_registers", &model_specific_registers),
        ("d21_control_registers", &|| control_registers(&ready.features)),
        ("d21_debug_registers", &debug_registers),
        ("d21_descriptor_tables", &descriptor_tables),
        ("d21_floating_point", &floating_point),
        ("d21_local_apic", &local_apic),
        ("d21_no_function_masters_the_bus", &|| no_masters(spoilt, ready.bus_masters)),
    ])
}

/// The entries for its own interrupts are masked but for NMIs, and it is in the mode with registers in memory.
fn local_apic() {
    // SAFETY: the kernel has mapped the registers, as `ready.controller` is an APIC on this machine.
    let read = |register: u64| unsafe { ((apic::REGISTERS + register) as *const u32).read_volatile() };
    // SAFETY: the processor has a local APIC.
    assert_eq!(unsafe { Msr::new(0x1b).read() } & 0xc00, 0x800, "enabled, not as x2APIC");
    // Timer, thermal sensor, counters, LINT0, errors (Intel SDM vol. 3A, figure 10-8).
    for entry in [0x320, 0x330, 0x340, 0x350, 0x370] {
        assert_eq!(read(entry) & 1 << 16, 1 << 16, "entry {entry:#x} is not masked");
    }
    assert_eq!(read(0x380), 0, "the timer counts");
    assert_eq!(read(0x80), 0, "the task priority");
    assert_eq!(read(0xf0) & 0x1ff, 0x130, "enabled, with the vector for spurious interrupts");
    for part in 0..8 {
        assert_eq!(read(0x100 + 0x10 * part), 0, "in service");
    }
}

fn model_specific_registers() {
    for (number, _, wanted, by) in registers() {
        if there(by) {
            // SAFETY: CPUID says that it is there.
            let found = unsafe { Msr::new(number).read() };
            assert_eq!(found, wanted, "register {number:#x}: {found:#x} instead of {wanted:#x}");
        }
    }
}

fn control_registers(features: &kernel::arch::cpu::Features) {
    assert_eq!(Cr0::read_raw(), 0x8005_003b, "CR0");
    let mut cr4 = 1 << 5 | 1 << 9 | 1 << 10;
    let bits = [
        (features.machine_check, 6),
        (features.global, 7),
        (features.umip, 11),
        (features.pcid, 17),
        (features.smep, 20),
        (features.smap, 21),
    ];
    for (on, bit) in bits {
        cr4 |= u64::from(on) << bit;
    }
    assert_eq!(Cr4::read_raw(), cr4, "CR4: {:#x} instead of {cr4:#x}", Cr4::read_raw());
    // SAFETY: every processor with 64-bit mode has EFER.
    let efer = unsafe { Msr::new(0xc000_0080).read() };
    assert_eq!(efer, 1 | 1 << 8 | 1 << 10 | u64::from(features.nx) << 11, "EFER");
    let cr8: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr8", out(reg) cr8) };
    assert_eq!(cr8, 0, "CR8");
    let flags = rflags::read_raw();
    assert_eq!(
        flags & 0x4_7700,
        0,
        "flags {flags:#x}: alignment check, nested task, I/O privilege, direction, interrupts, trap"
    );
}

fn debug_registers() {
    let mut found = [0_u64; 6];
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", "mov {}, dr6", "mov {}, dr7",
            out(reg) found[0], out(reg) found[1], out(reg) found[2], out(reg) found[3], out(reg) found[4], out(reg) found[5],
        );
    }
    assert_eq!(found, [0, 0, 0, 0, 0xffff_0ff0, 0x400]);
}

/// No local descriptor table; a global one of eight words, of which none is a gate, a local table, or 32-bit code; 48 interrupts.
fn descriptor_tables() {
    let (ldt, task): (u16, u16);
    // SAFETY: reads registers.
    unsafe { asm!("sldt {:x}", "str {:x}", out(reg) ldt, out(reg) task) };
    assert_eq!((ldt, task), (0, 0x30), "selectors of the local table and of the task");
    for selector in [0x4, 0x7, 0xc, 0xf, 0x1007, 0xfffc] {
        assert_eq!(access_rights(selector), None, "selector {selector:#x} of a local table");
    }
    let [mut ds, mut es, mut fs, mut gs] = [0xffff_u16; 4];
    // SAFETY: as above.
    unsafe {
        asm!("mov {0:x}, ds", "mov {1:x}, es", "mov {2:x}, fs", "mov {3:x}, gs", out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs)
    };
    assert_eq!([ds, es, fs, gs], [0; 4], "data segments");
    let (gdt, idt) = (sgdt(), sidt());
    let (gdt_limit, idt_limit) = (gdt.limit, idt.limit);
    assert_eq!((gdt_limit, idt_limit), (63, 49 * 16 - 1), "limits");
    // SAFETY: the table that the processor uses, as long as its limit says.
    let words = unsafe { core::slice::from_raw_parts(gdt.base.as_ptr::<u64>(), 8) };
    for (selector, word) in (0..).step_by(8).zip(words).take(6).filter(|(_, word)| **word != 0) {
        let (code, long, ring) = (word >> 43 & 1, word >> 53 & 1, word >> 45 & 3);
        assert_eq!(word >> 44 & 1, 1, "{selector:#x} is a system's descriptor: {word:#x}");
        assert!(code == 0 || long == 1, "{selector:#x} is 32-bit code: {word:#x}");
        let user = [gdt::USER_CODE & !3, gdt::USER_DATA & !3].contains(&selector);
        assert_eq!(ring, if user { 3 } else { 0 }, "{selector:#x}: {word:#x}");
    }
    assert_eq!(words[6] >> 40 & 0xff, 0x8b, "the task's, busy: {:#x}", words[6]);
}

/// With the unit locked, nobody can look at what is in it; unlocked, it is as a processor starts.
fn floating_point() {
    let (mut control, mut mxcsr) = (0_u16, 0_u32);
    // SAFETY: the kernel has no floating-point code; TS is set again.
    unsafe {
        asm!("clts", "fnstcw [{}]", "stmxcsr [{}]", in(reg) &raw mut control, in(reg) &raw mut mxcsr);
        Cr0::write(Cr0::read() | Cr0Flags::TASK_SWITCHED);
    }
    assert_eq!((control, mxcsr), (0x37f, 0x1f80));
}

fn no_masters(spoilt: usize, found: pci::Masters) {
    assert!(spoilt > 1, "{spoilt} functions could be made masters");
    let buses: Vec<u16> = functions().map(|address| address >> 8).collect();
    let several = buses.iter().any(|bus| (1..FAR).contains(bus)) && buses.iter().any(|bus| *bus >= FAR);
    assert!(several || pci::read(0, 0) != USUAL_BOARD, "functions on the buses {buses:?} alone");
    assert!(usize::from(found.were_on) >= spoilt && found.stuck.is_none(), "{found:?} of {spoilt}");
    let mut by_ports = 0;
    for address in functions() {
        let (id, command) = (pci::read(address, 0), command(address));
        assert_eq!(command & 4, 0, "{address:#x} ({id:#x}) masters the bus: {command:#x}");
        // Virtio's first interface can make a device master the bus by itself.
        if id as u16 == 0x1af4 && (0x1000..0x1040).contains(&(id >> 16)) {
            assert_eq!(command & 1, 0, "{address:#x} ({id:#x}) is reached by ports: {command:#x}");
            by_ports += 1;
        }
    }
    assert!(by_ports != 0 || pci::read(0, 0) != USUAL_BOARD, "no device has virtio's first interface");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
