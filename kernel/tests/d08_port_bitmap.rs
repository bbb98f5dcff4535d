//! The bitmap of ports is the running task's: exactly its ports are clear, the next task's are others, and the byte behind the bitmap, which
//! the processor reads with the last ports, is all ones (Intel SDM vol. 1, section 19.5.2).
#![no_std]
#![no_main]

use abi::manifest::{Grant, GrantKind};
use bootloader_api::{BootInfo, entry_point};
use core::arch::asm;
use core::cell::RefCell;
use kernel::arch::percore::Core;
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::Row;
use kernel_core::addr::UserAddr;

entry_point!(main, config = &BOOT_CONFIG);

/// Bytes of a 64-bit TSS before its bitmap, and of the bitmap.
const BODY: usize = 104;
const BITMAP: usize = 8192;
/// Where the TSS says where its bitmap begins.
const IOMAP_BASE: usize = 102;

fn main(boot: &'static mut BootInfo) -> ! {
    let core = RefCell::new(start::init_memory(boot).core);
    let with = |test: fn(&mut Core)| test(&mut core.borrow_mut());
    testing::run(&[
        ("d08_no_port_at_first", &|| with(no_port_at_first)),
        ("d08_exactly_the_granted_ports", &|| with(exactly_the_granted)),
        ("d08_the_next_task_has_its_own", &|| with(next_task)),
        ("d08_the_last_byte_stays", &|| with(last_byte)),
        ("d08_ranges_begin_and_end_anywhere", &|| with(anywhere)),
        ("d08_io_privilege_is_0", &io_privilege),
    ])
}

/// The TSS that the processor uses, whole: where it is and how long it says to be.
fn tss() -> &'static [u8] {
    let mut pointer = [0_u8; 10];
    let selector: u16;
    // SAFETY: both only tell what is loaded; the pointer has room for ten bytes.
    unsafe {
        asm!("sgdt [{}]", "str {:x}", in(reg) &mut pointer, out(reg) selector, options(nostack, preserves_flags))
    };
    let table = u64::from_le_bytes(core::array::from_fn(|i| pointer[2 + i]));
    let descriptor = (table + u64::from(selector & !7)) as *const u64;
    // SAFETY: the task register names two words of the table that the processor uses.
    let [low, high] = unsafe { [descriptor.read(), descriptor.add(1).read()] };
    let base = low >> 16 & 0xff_ffff | low >> 56 << 24 | high << 32;
    let limit = low & 0xffff | low >> 48 << 16 & 0xf_0000;
    // SAFETY: a TSS is as long as its descriptor says; nothing changes it while a test looks.
    unsafe { core::slice::from_raw_parts(base as *const u8, limit as usize + 1) }
}

fn base() -> usize {
    let tss = tss();
    usize::from(u16::from_le_bytes([tss[IOMAP_BASE], tss[IOMAP_BASE + 1]]))
}

/// Whether the processor would let ring 3 reach this port.
fn allowed(port: u16) -> bool {
    let (tss, at) = (tss(), base() + usize::from(port / 8));
    // Two bytes are read for every access; one beyond the limit denies.
    tss.get(at..at + 2).is_some_and(|bytes| bytes[0] & 1 << (port % 8) == 0)
}

fn grant(core: &mut Core, row: u16, ranges: &[(u16, u16)]) {
    let mut ports = [Grant::default(); GrantKind::Ports.most()];
    for (port, &(base, len)) in ports.iter_mut().zip(ranges) {
        *port = Grant::ports("", base, len.into());
    }
    core.record().tables.set_ports(Row::new(row), ports.iter());
    for port in 0..=u16::MAX {
        let granted = ranges
            .iter()
            .any(|&(base, len)| u32::from(port) >= base.into() && u32::from(port) < u32::from(base) + u32::from(len));
        assert_eq!(allowed(port), granted, "port {port:#x} of row {row}");
    }
}

fn no_port_at_first(core: &mut Core) {
    assert_eq!(tss().len(), BODY + BITMAP + 1, "the bitmap has a last byte, and nothing behind it");
    core.record().tables.no_ports();
    assert!((0..=u16::MAX).all(|port| !allowed(port)));
}

fn exactly_the_granted(core: &mut Core) {
    grant(core, 1, &[(0x3f8, 8)]);
    grant(core, 2, &[(0, 1), (0x61, 3), (0x7fff, 2), (0xfff0, 16)]);
    assert_eq!(base(), BODY);
}

fn next_task(core: &mut Core) {
    grant(core, 1, &[(0x3f8, 8)]);
    grant(core, 3, &[(0x3f9, 1)]);
    core.record().tables.no_ports();
    assert!((0..=u16::MAX).all(|port| !allowed(port)));
    // The same task again.
    grant(core, 3, &[(0x3f9, 1)]);
    grant(core, 4, &[]);
}

fn last_byte(core: &mut Core) {
    for ranges in [&[(0xffff_u16, 1_u16)][..], &[(0xff00, 0x100)], &[(0, 0xffff), (0xffff, 1)], &[]] {
        grant(core, 5, ranges);
        grant(core, 6, &[]);
        assert_eq!(tss()[BODY + BITMAP], 0xff, "the byte behind the bitmap after {ranges:x?}");
    }
}

/// Of one byte of the bitmap, of two, of many; from each bit on to each.
fn anywhere(core: &mut Core) {
    for first in 0..8 {
        for last in 0..8 {
            for bytes in [0, 1, 2, 0x1c00] {
                let (start, end) = (0x1000 + first, 0x1000 + 8 * bytes + last + 1);
                if end > start {
                    grant(core, 7, &[(start, end - start), (0x3f8, 3), (0xff00 + last, 1)]);
                    grant(core, 8, &[(0x3fb, 1)]);
                }
            }
        }
    }
    grant(core, 7, &[]);
}

fn io_privilege() {
    let flags: u64;
    // SAFETY: reads the flags.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    assert_eq!(flags & 0x3000, 0);
    assert_eq!(
        kernel::loader::user_frame(UserAddr::new(0x40_0000), UserAddr::new(0x50_0000), 0).rflags,
        0x202,
        "what a thread begins with"
    );
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
