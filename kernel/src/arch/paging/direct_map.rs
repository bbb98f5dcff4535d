//! What is done once, before the first task: RAM is mapped as the direct map, and the kernel moves to a top table of its own.

use super::{
    GLOBAL, HUGE, KERNEL_ROOT, PAGE, PRESENT, RECURSIVE, RECURSIVE_ADDR, Table, Zeroed, read, slot, switch_to_kernel,
    write, zero_at,
};
use crate::arch::ram::{self, DIRECT_MAP};
use core::sync::atomic::Ordering;
use kernel_core::addr::PhysAddr;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::mapper::Mapper;
use x86_64::structures::paging::page::PageSize;
use x86_64::structures::paging::{
    FrameAllocator, Page, PageTable, PageTableFlags, PhysFrame, RecursivePageTable, Size2MiB, Size4KiB,
};

/// Takes a frame, which from now on is nobody else's.
#[expect(clippy::expect_used, reason = "before the first task runs")]
#[unsafe(link_section = "boot_text")]
pub fn take(frames: &mut impl FrameAllocator<Size4KiB>) -> PhysAddr {
    let frame = frames.allocate_frame().expect("there is no frame left at boot");
    PhysAddr::new(frame.start_address().as_u64())
}

/// Takes a frame, full of zeros.
#[unsafe(link_section = "boot_text")]
pub fn take_zeroed(frames: &mut impl FrameAllocator<Size4KiB>) -> Zeroed {
    // SAFETY: nobody else uses it, by the contract of [`FrameAllocator`].
    unsafe { zero_at(take(frames)) }
}

/// Maps RAM from one physical address up to another in pages of one size, as far as one page table goes; returns how much. The boot loader's tables
/// are reached through the recursive slot: the first page has the table made where it is missing, the others are only entered.
#[expect(clippy::panic, reason = "before the first task runs")]
#[unsafe(link_section = "boot_text")]
fn map_ram<'a, S: PageSize>(
    mapper: &mut RecursivePageTable<'a>,
    phys: u64,
    end: u64,
    frames: &mut impl FrameAllocator<Size4KiB>,
) -> u64
where
    RecursivePageTable<'a>: Mapper<S>,
{
    let flags =
        PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE | PageTableFlags::GLOBAL;
    let first = DIRECT_MAP + phys;
    let page = Page::<S>::containing_address(VirtAddr::new(first));
    let frame = PhysFrame::containing_address(x86_64::PhysAddr::new(phys));
    // SAFETY: the page lies in a slot that nothing else uses. What it maps may be mapped elsewhere too (the kernel's image); the direct map
    // is written only at frames that the kernel owns.
    match unsafe { mapper.map_to(page, frame, flags, frames) } {
        Ok(flush) => flush.ignore(),
        Err(_) => panic!("the boot loader has mapped something where the kernel maps RAM ({phys:#x})"),
    }
    // Each level of tables that is passed takes one turn more through the slot.
    let (level, size_bit, table) = match S::SIZE {
        PAGE => (0, 0, RECURSIVE << 39 | slot(first, 3) << 30 | slot(first, 2) << 21 | slot(first, 1) << 12),
        _ => (1, HUGE, RECURSIVE << 39 | RECURSIVE << 30 | slot(first, 3) << 21 | slot(first, 2) << 12),
    };
    let table = (0xffff_0000_0000_0000 | table) as *mut u64;
    let mut next = phys + S::SIZE;
    while slot(next, level) != 0 && next + S::SIZE <= end {
        // SAFETY: the table that the first page was entered in; the pages are as that one, and the entries are no other region's.
        unsafe { table.add(slot(next, level) as usize).write_volatile(next | flags.bits() | size_bit) };
        next += S::SIZE;
    }
    next - phys
}

/// Builds the direct map and the kernel's top table, and switches to it. [`ram::init`] comes first.
#[expect(clippy::expect_used, reason = "before the first task runs")]
pub fn init(frames: &mut impl FrameAllocator<Size4KiB>) {
    let p4 = (RECURSIVE_ADDR | RECURSIVE << 30 | RECURSIVE << 21 | RECURSIVE << 12) as *mut PageTable;
    // SAFETY: the loader was asked to map its tables recursively in this slot, and no other reference to the top table exists.
    let mut mapper =
        RecursivePageTable::new(unsafe { &mut *p4 }).expect("the boot loader's page tables are not recursive");
    for region in ram::regions().list() {
        let mut phys = region.start;
        while phys < region.end {
            // Large pages inside, small ones at the edges: nothing beyond is mapped.
            phys += if phys.is_multiple_of(Size2MiB::SIZE) && region.end - phys >= Size2MiB::SIZE {
                map_ram::<Size2MiB>(&mut mapper, phys, region.end, frames)
            } else {
                map_ram::<Size4KiB>(&mut mapper, phys, region.end, frames)
            };
        }
    }
    let old = Table(Cr3::read().0.start_address().as_u64());
    let top = take_zeroed(frames);
    let (root, table) = (top.0, Table(top.0.number()));
    for index in 256..512 {
        if index != RECURSIVE {
            write(table, index, read(old, index));
        }
    }
    // The stacks' slot must exist before the first task copies the upper half.
    write(table, slot(crate::arch::stacks::BASE, 3), take_zeroed(frames).table().entry());
    make_global(table, 3, slot(0xffff_ffff_8000_0000, 3));
    KERNEL_ROOT.store(root.number(), Ordering::Relaxed);
    switch_to_kernel();
}

/// Marks the kernel image's pages global: they are the same in every address space.
#[unsafe(link_section = "boot_text")]
fn make_global(table: Table, level: u32, index: u64) {
    let entry = read(table, index);
    if level == 0 || entry & HUGE != 0 {
        write(table, index, entry | GLOBAL);
        return;
    }
    let below = Table::behind(entry);
    for next in 0..512 {
        if read(below, next) & PRESENT != 0 {
            make_global(below, level - 1, next);
        }
    }
}
