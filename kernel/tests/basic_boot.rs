//! The loader enters the kernel, the log works, and the processor is set up with what it offers.
#![no_std]
#![no_main]

use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use kernel::arch::{cpu, gdt};
use kernel::{BOOT_CONFIG, klog, log, start, testing};
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::rflags::{self, RFlags};

entry_point!(main, config = &BOOT_CONFIG);

fn main(boot: &'static mut BootInfo) -> ! {
    let regions = boot.memory_regions.len();
    let ready = start::init_memory(boot);
    testing::run(&[
        ("boot_information_arrives", &|| assert!(regions > 0, "the loader's memory map is empty")),
        ("boot_archive_arrives", &|| assert!(!ready.archive.is_empty(), "the loader passed no ramdisk")),
        ("log_keeps_lines", &log_keeps_lines),
        ("features_are_switched_on", &|| features_are_switched_on(ready.features)),
        ("segments_and_flags", &segments_and_flags),
        ("constants_are_in_place", &constants_are_in_place),
    ])
}

fn log_keeps_lines() {
    // A position behind all that was written reads nothing and tells where that is.
    let mut buffer = [0; 256];
    let (none, end) = log::read(u64::MAX, &mut buffer);
    assert_eq!(none, 0);
    klog!("the answer is {}", 6 * 7);
    let (count, _) = log::read(end, &mut buffer);
    assert_eq!(buffer.get(..count), Some(&b"the answer is 42\n"[..]));
}

fn features_are_switched_on(f: cpu::Features) {
    klog!("{f:?}");
    let cr4 = Cr4::read();
    assert_eq!(f.smep, cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION), "SMEP");
    assert_eq!(f.smap, cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION), "SMAP");
    assert_eq!(f.umip, cr4.contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION), "UMIP");
    assert_eq!(f.global, cr4.contains(Cr4Flags::PAGE_GLOBAL), "global pages");
    assert!(!cr4.contains(Cr4Flags::FSGSBASE), "ring 3 could write its gs base");
    assert_eq!(f.nx, Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE), "NX");
    assert!(Efer::read().contains(EferFlags::SYSTEM_CALL_EXTENSIONS), "syscall");
    let wanted = Cr0Flags::WRITE_PROTECT | Cr0Flags::ALIGNMENT_MASK | Cr0Flags::TASK_SWITCHED;
    assert!(Cr0::read().contains(wanted), "CR0 is {:?}", Cr0::read());
}

fn segments_and_flags() {
    assert_eq!((CS::get_reg().0, SS::get_reg().0), (gdt::KERNEL_CODE, gdt::KERNEL_DATA));
    let flags = rflags::read();
    assert!(!flags.intersects(RFlags::IOPL_LOW | RFlags::IOPL_HIGH), "IOPL is not 0");
    assert!(!flags.contains(RFlags::INTERRUPT_FLAG), "interrupts are on before anyone is ready for them");
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    assert!(kernel::boot_stack_holds(rsp), "the stack is elsewhere: {rsp:#x}");
}

fn constants_are_in_place() {
    static DATA: [u64; 3] = [1, 2, 3];
    static mut ZERO: [u8; 4096] = [0; 4096];
    // SAFETY: nobody writes it; the address is taken without a reference.
    let zero = unsafe { (&raw const ZERO).read_volatile() };
    assert_eq!(core::hint::black_box(&DATA).iter().sum::<u64>(), 6);
    assert!(zero.iter().all(|&b| b == 0), "uninitialised data is not zero");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
