//! The kernel's page tables: what is mapped where with which rights, and the address spaces of tasks.
#![no_std]
#![no_main]

extern crate alloc;

#[path = "support/tables.rs"]
mod tables;

use abi::Status;
use abi::task::{PROGRAM_BASE, USER_END};
use alloc::boxed::Box;
use bootloader_api::info::{MemoryRegionKind, MemoryRegions};
use bootloader_api::{BootInfo, entry_point};
use core::cell::RefCell;
use kernel::arch::cpu::Features;
use kernel::arch::paging::{self, UserFlags, inspect, kernel_root, translate_user};
use kernel::arch::ram::{DIRECT_MAP, Ram};
use kernel::{BOOT_CONFIG, start, testing};
use kernel_core::addr::TableRoot;
use kernel_core::addr::{PhysAddr, UserAddr};
use kernel_core::frames::Frames;
use kernel_core::memory::Caching;
use tables::{HUGE, Space, USER, bytes, entry};
use x86_64::registers::control::Cr3;
use x86_64::registers::model_specific::Msr;

entry_point!(main, config = &BOOT_CONFIG);

const PAGE: u64 = 4096;
const IMAGE: u64 = 0xffff_ffff_8000_0000;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const GLOBAL: u64 = 1 << 8;

fn main(boot: &'static mut BootInfo) -> ! {
    let ready = start::init_memory(boot);
    let (features, regions) = (ready.features, ready.regions);
    let frames = RefCell::new(ready.frames);
    testing::run(&[
        ("kernel_root_is_loaded", &|| {
            assert_eq!(Cr3::read().0.start_address().as_u64(), kernel_root().address().number())
        }),
        ("kernel_image_has_one_right_per_page", &image_rights),
        ("kernel_image_is_global", &image_is_global),
        ("direct_map_covers_memory", &|| direct_map_covers(regions)),
        ("direct_map_covers_nothing_else", &|| direct_map_ends(regions)),
        ("direct_map_is_the_same_memory", &|| same_memory(&frames)),
        ("lower_half_is_empty", &|| lower_half_is_empty(&frames)),
        ("kernel_half_is_not_the_users", &kernel_half_is_not_the_users),
        ("new_root_shares_the_upper_half", &|| shares_upper_half(&frames)),
        ("map_and_unmap", &|| map_and_unmap(&frames)),
        ("d21_low_addresses_stay_empty", &|| d21_low_addresses_stay_empty(&frames)),
        ("flags_of_user_pages", &|| flags(&frames)),
        ("map_without_frames_for_tables", &|| without_frames(&frames)),
        ("translation_respects_the_half", &|| translation_of_kernel_addresses(&frames)),
        ("unmapping_takes_effect_at_once", &|| takes_effect(&frames, features)),
        ("all_frames_came_back", &|| assert_eq!(frames.borrow().free(), frames.borrow().total())),
    ])
}

/// How a page may be reached, with the bits PWT (8) and PCD (16) of its entry, and the number of the memory type.
const TYPES: [(Caching, u64, u8); 3] =
    [(Caching::WriteBack, 0, 6), (Caching::WriteCombining, 0x8, 1), (Caching::Uncached, 0x18, 0)];

fn rights(addr: u64) -> Option<(bool, bool)> {
    inspect(kernel_root(), addr).map(|(_, writable, executable)| (writable, executable))
}

fn image_rights() {
    static CONSTANT: [u64; 2] = [3, 4];
    static mut DATA: u64 = 5;
    static mut ZERO: u64 = 0;
    let local = 6_u64;
    let boxed = Box::new(7_u64);
    assert_eq!(rights(image_rights as *const () as u64), Some((false, true)), "code");
    assert_eq!(rights(CONSTANT.as_ptr().addr() as u64), Some((false, false)), "constants");
    assert_eq!(rights("text".as_ptr().addr() as u64), Some((false, false)), "literals");
    assert_eq!(rights((&raw const DATA) as u64), Some((true, false)), "data");
    assert_eq!(rights((&raw const ZERO) as u64), Some((true, false)), "data without bytes in the file");
    assert_eq!(rights((&raw const local) as u64), Some((true, false)), "the stack");
    assert_eq!(rights((&raw const *boxed) as u64), Some((true, false)), "the heap");
}

/// The pages of the image, and which kinds there are.
fn image() -> impl Iterator<Item = u64> {
    (IMAGE..IMAGE + (64 << 20)).step_by(PAGE as usize).filter(|&page| entry(kernel_root(), page).is_some())
}

fn image_is_global() {
    let mut kinds = [0; 3];
    for page in image() {
        let (at, level) = entry(kernel_root(), page).expect("just seen");
        // SAFETY: an entry of a page table.
        let value = unsafe { at.read() };
        assert_eq!((value & GLOBAL, value & USER, level), (GLOBAL, 0, 0), "{page:#x}: {value:#x}");
        match rights(page) {
            Some((false, true)) => kinds[0] += 1,
            Some((false, false)) => kinds[1] += 1,
            Some((true, false)) => kinds[2] += 1,
            other => panic!("{page:#x}: {other:?}"),
        }
    }
    assert!(kinds.iter().all(|&n| n > 0), "pages of code, constants, data: {kinds:?}");
}

fn is_ram(kind: MemoryRegionKind) -> bool {
    matches!(kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader)
}

fn direct_map_covers(regions: &MemoryRegions) {
    for r in regions.iter().filter(|r| is_ram(r.kind)) {
        for phys in (r.start.next_multiple_of(PAGE)..r.end & !(PAGE - 1)).step_by(PAGE as usize) {
            assert_eq!(
                inspect(kernel_root(), DIRECT_MAP + phys),
                Some((PhysAddr::new(phys), true, false)),
                "{phys:#x}"
            );
            assert_eq!(Ram::at(PhysAddr::new(phys), 1).map(|ram| ram.pointer().addr() as u64), Some(DIRECT_MAP + phys));
        }
    }
}

fn direct_map_ends(regions: &MemoryRegions) {
    let end = regions.iter().filter(|r| is_ram(r.kind)).map(|r| r.end).max().expect("some memory");
    for phys in [end, 0xfee0_0000, 0xfec0_0000, 0xfd_0000_0000, (1 << 46) - PAGE] {
        assert_eq!(inspect(kernel_root(), DIRECT_MAP + phys), None, "{phys:#x}");
    }
    assert_eq!(Ram::at(PhysAddr::new(end), 1), None);
    assert_eq!(Ram::at(PhysAddr::new(end - 1), 2), None);
    assert_eq!(
        Ram::at(PhysAddr::new(end - PAGE), PAGE).map(|ram| ram.pointer().addr() as u64),
        Some(DIRECT_MAP + end - PAGE)
    );
    assert_eq!(Ram::at(PhysAddr::new(u64::MAX), 2), None);
    assert_eq!(Ram::at(PhysAddr::new(0xfee0_0000), PAGE), None, "a device's registers are no memory");
}

fn same_memory(frames: &RefCell<Frames>) {
    static mut DATA: u64 = 0;
    let at = &raw mut DATA;
    let (phys, ..) = inspect(kernel_root(), at as u64).expect("mapped");
    let alias = Ram::at(phys, 8).expect("memory").pointer().cast::<u64>();
    // SAFETY: both are addresses of the same variable, which nobody else uses, and volatile accesses assume nothing.
    unsafe {
        at.write_volatile(0x1122_3344);
        assert_eq!(alias.read_volatile(), 0x1122_3344);
        alias.write_volatile(0x5566_7788);
        assert_eq!(at.read_volatile(), 0x5566_7788);
    }
    let space = Space::new(frames);
    let (one, other) = (space.frame(), space.frame());
    bytes(one).fill(1);
    bytes(other).fill(2);
    assert!(bytes(one).iter().all(|&b| b == 1), "two frames are the same memory");
    // SAFETY: the frame is the test's own.
    unsafe { paging::zero_at(one) };
    assert!(bytes(one).iter().all(|&b| b == 0) && bytes(other).iter().all(|&b| b == 2));
    space.give_back();
}

fn top(root: TableRoot) -> &'static [u64; 512] {
    let table = Ram::at(root.address(), PAGE).expect("memory").pointer().cast::<[u64; 512]>();
    // SAFETY: a top table of the kernel's making; nobody writes it while the tests compare.
    unsafe { &*table }
}

fn lower_half_is_empty(frames: &RefCell<Frames>) {
    assert!(top(kernel_root())[..256].iter().all(|&e| e == 0), "the kernel's own root maps something low");
    let space = Space::new(frames);
    assert!(top(space.root)[..256].iter().all(|&e| e == 0), "a new root maps something low");
    space.give_back();
    assert_eq!(rights(0), None);
    assert_eq!(top(kernel_root())[paging::RECURSIVE as usize], 0, "the loader's recursive slot is still there");
}

/// Visits every entry of the kernel's half that is present: level, entry.
#[expect(clippy::disallowed_methods, reason = "it reads tables where entries say that they are")]
fn visit(table: TableRoot, level: u32, f: &mut dyn FnMut(u32, u64)) {
    for (index, &entry) in top(table).iter().enumerate() {
        if entry & 1 == 0 || (level == 3 && index < 256) {
            continue;
        }
        f(level, entry);
        if level > 0 && entry & HUGE == 0 {
            visit(TableRoot::made_at(PhysAddr::new(entry & ADDRESS)), level - 1, f);
        }
    }
}

fn kernel_half_is_not_the_users() {
    let mut leaves = 0;
    visit(kernel_root(), 3, &mut |level, entry| {
        // Where an upper level has the bit, every level below must be without it: so none has it where it counts.
        let leaf = level == 0 || entry & HUGE != 0;
        if leaf {
            assert_eq!(entry & USER, 0, "a kernel page is open to ring 3: {entry:#x}");
            leaves += 1;
        }
    });
    assert!(leaves > 100, "only {leaves} pages in the kernel's half");
}

fn shares_upper_half(frames: &RefCell<Frames>) {
    let space = Space::new(frames);
    assert_eq!(top(space.root)[256..], top(kernel_root())[256..]);
    // The kernel runs on in it.
    paging::switch(space.space);
    let answer = core::hint::black_box(Box::new(42));
    assert_eq!(*answer, 42);
    paging::switch_to_kernel();
    space.give_back();
}

fn map_and_unmap(frames: &RefCell<Frames>) {
    let space = Space::new(frames);
    for page in [PROGRAM_BASE, PROGRAM_BASE + PAGE, 0x40_0000, 0x3fff_ffff_f000, 0x7000_0000_0000, USER_END - PAGE] {
        assert_eq!(translate_user(space.root, UserAddr::new(page), false), None);
        let frame = space.map(page, UserFlags::DATA);
        for offset in [0, 1, 0x123, PAGE - 1] {
            assert_eq!(translate_user(space.root, UserAddr::new(page + offset), false), Some(frame.plus(offset)));
            assert_eq!(translate_user(space.root, UserAddr::new(page + offset), true), Some(frame.plus(offset)));
        }
    }
    // Neighbours stay.
    let second = PROGRAM_BASE + PAGE;
    paging::unmap(space.root, UserAddr::new(second));
    assert_eq!(translate_user(space.root, UserAddr::new(second), false), None);
    assert!(translate_user(space.root, UserAddr::new(PROGRAM_BASE), true).is_some());
    // Where nothing is mapped, or not even a table is, unmapping does nothing.
    paging::unmap(space.root, UserAddr::new(second));
    paging::unmap(space.root, UserAddr::new(0x5555_5555_5000));
    // Mapped again, it is the new frame.
    let frame = space.map(second, UserFlags::READ);
    assert_eq!(translate_user(space.root, UserAddr::new(second + 5), false), Some(frame.plus(5)));
    assert_eq!(translate_user(space.root, UserAddr::new(second + 5), true), None, "a read-only page can be written");
    space.give_back();
}

/// Nothing is ever mapped for a task below the first address of programs, nor above the last that a task may use.
fn d21_low_addresses_stay_empty(frames: &RefCell<Frames>) {
    let space = Space::new(frames);
    let frame = space.frame();
    for page in [0, PAGE, 0x8000, PROGRAM_BASE - PAGE, USER_END, 1 << 47, DIRECT_MAP] {
        let mapped = paging::map_user(space.root, UserAddr::new(page), frame, UserFlags::DATA, || Ok(space.zeroed()));
        assert_eq!(
            (mapped, translate_user(space.root, UserAddr::new(page), false)),
            (Err(Status::OutOfMemory), None),
            "{page:#x}"
        );
    }
    assert!(top(space.root)[..256].iter().all(|&entry| entry == 0), "a table was made");
    space.give_back();
}

/// Permissions and memory type of each page. The type is looked up as the processor does it: PWT and PCD of the entry, whose PAT bit is clear,
/// choose a byte of IA32_PAT (Intel SDM vol. 3A, section 11.12.3).
fn flags(frames: &RefCell<Frames>) {
    const WRITE_THROUGH_NO_CACHE: u64 = 0x18;
    const PAT_BIT: u64 = 0x80;
    // SAFETY: the register's number; every processor of QEMU has it.
    let pat = unsafe { Msr::new(0x277).read() }.to_le_bytes();
    let space = Space::new(frames);
    let all = [UserFlags::READ, UserFlags::DATA, UserFlags { executable: true, ..UserFlags::READ }];
    for (n, flags) in all.into_iter().flat_map(|f| TYPES.map(|(caching, ..)| UserFlags { caching, ..f })).enumerate() {
        let page = 0x40_0000 + n as u64 * PAGE;
        let frame = space.map(page, flags);
        assert_eq!(inspect(space.root, page), Some((frame, flags.writable, flags.executable)), "{flags:?}");
        let (at, _) = entry(space.root, page).expect("mapped");
        // SAFETY: an entry of a page table.
        let value = unsafe { at.read() };
        let (_, bits, memory_type) = TYPES.into_iter().find(|one| one.0 == flags.caching).expect("one of them");
        assert_eq!(value & (WRITE_THROUGH_NO_CACHE | PAT_BIT), bits, "{flags:?}");
        assert_eq!(pat[(bits >> 3) as usize], memory_type, "{flags:?}: the type by IA32_PAT, {pat:x?}");
        assert_eq!(value & (USER | GLOBAL), USER, "{flags:?}: a user's page, and not a global one");
    }
    space.give_back();
}

fn without_frames(frames: &RefCell<Frames>) {
    const AT: u64 = 0x1234_5678_9000;
    let space = Space::new(frames);
    let frame = space.frame();
    // Three tables are missing; each try makes one more and keeps it.
    for have in 0..3 {
        let mut left = 1;
        let table = || {
            left -= 1;
            if left == 0 { Ok(space.zeroed()) } else { Err(Status::QuotaFrames) }
        };
        let expected = if have == 2 { Ok(()) } else { Err(Status::QuotaFrames) };
        assert_eq!(paging::map_user(space.root, UserAddr::new(AT), frame, UserFlags::DATA, table), expected);
        assert_eq!(translate_user(space.root, UserAddr::new(AT), false), (have == 2).then_some(frame));
    }
    space.give_back();
}

fn translation_of_kernel_addresses(frames: &RefCell<Frames>) {
    let space = Space::new(frames);
    let code = translation_of_kernel_addresses as *const () as u64;
    for addr in [code, DIRECT_MAP, IMAGE, USER_END, 1 << 47, u64::MAX, 0xffff_fe80_000f_f000] {
        assert_eq!(translate_user(space.root, UserAddr::new(addr), false), None, "{addr:#x}");
    }
    // An address that is not canonical is not the one that it would alias.
    space.map(0x40_0000, UserFlags::DATA);
    for bit in 48..64 {
        assert_eq!(translate_user(space.root, UserAddr::new(0x40_0000 | 1 << bit), false), None, "bit {bit}");
    }
    space.give_back();
}

fn takes_effect(frames: &RefCell<Frames>, features: Features) {
    const AT: u64 = 0x40_0000;
    let open = |on: bool| {
        if features.smap {
            // SAFETY: AC is set for one access of the test's own; nothing of the kernel's runs meanwhile.
            unsafe { if on { core::arch::asm!("stac") } else { core::arch::asm!("clac") } }
        }
    };
    let read = || {
        let value: u64;
        open(true);
        // SAFETY: mapped, or the access faults and has no effect.
        unsafe { core::arch::asm!("mov {}, [{}]", out(reg) value, in(reg) AT) };
        open(false);
        value
    };
    let space = Space::new(frames);
    paging::switch(space.space);
    let frame = space.map(AT, UserFlags::DATA);
    bytes(frame)[0] = 9;
    assert_eq!(read(), 9);
    paging::unmap(space.root, UserAddr::new(AT));
    let report = testing::expect_report(|| {
        core::hint::black_box(read());
    });
    assert_eq!((report.number("cr2"), report.number("error")), (AT, 0), "{}", report.text);
    paging::switch_to_kernel();
    space.give_back();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    testing::failed(info)
}
