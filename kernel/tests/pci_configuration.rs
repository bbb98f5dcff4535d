//! No task gets PCI configuration in memory: neither where the firmware's tables say that it lies, nor where the host bridge has it. The machine is a
//! q35 (see `own_hardware` in xtask/src/test/kernel.rs), and before the kernel begins configuration is moved away from where the firmware put it.
#![no_std]
#![no_main]

extern crate alloc;

use bootloader_api::{BootInfo, entry_point};
use kernel::arch::pci;
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::acpi::Units;
use kernel_core::addr::PhysAddr;
use x86_64::instructions::port::Port;

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
/// Vendor and device of the host bridge (Intel's 82Q35), and its register PCIEXBAR: an address, and bit 0, which says that it is in use; as much
/// as 256 buses need.
const Q35: u32 = 0x29c0_8086;
const PCIEXBAR: u8 = 0x60;
const SIZE: u64 = 256 << 20;
/// Where nothing else of this machine's lies.
const PLACE: u64 = 0xd000_0000;

/// Moves it; returns where it was.
fn move_away() -> u64 {
    assert_eq!(pci::read(0, 0), Q35, "the host bridge");
    let before = pci::read(0, PCIEXBAR);
    assert_eq!(before & 1, 1, "the firmware has switched it on");
    // SAFETY: the register that was just selected; nobody reads configuration in memory.
    unsafe { Port::new(0xcfc).write(PLACE as u32 | 1) };
    u64::from(before & 0xf000_0000)
}

fn main(boot: &'static mut BootInfo) -> ! {
    let before = move_away();
    let ready = start::init_memory(boot);
    testing::run(&[
        ("d25_no_task_gets_what_the_host_bridge_names", &|| nobodys(&ready.units, PLACE)),
        ("d25_no_task_gets_what_the_firmware_names", &|| nobodys(&ready.units, before)),
    ])
}

fn nobodys(units: &Units, start: u64) {
    for at in [start, start + SIZE / 2, start + SIZE - PAGE] {
        let reason = units.reached(PhysAddr::new(at), PAGE);
        assert!(reason.is_some_and(|reason| reason.starts_with("PCI configuration")), "{at:#x}: {reason:?}");
    }
    assert_eq!(units.reached(PhysAddr::new(start - PAGE), PAGE), None, "the page before");
    assert_eq!(units.reached(PhysAddr::new(start + SIZE), PAGE), None, "the page behind");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
