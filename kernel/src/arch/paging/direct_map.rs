//! Done once before the first task: builds the direct map of RAM, and switches to a top table of
//! the kernel's own.

use super::{
    GLOBAL, HUGE, KERNEL_ROOT, PAGE, PRESENT, RECURSIVE, RECURSIVE_ADDR, Table, Zeroed, read, slot, switch_to_kernel,
    write, zero_at,
};
use crate::arch::ram;
use core::sync::atomic::Ordering;
use kernel_core::addr::PhysAddr;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::mapper::Mapper;
use x86_64::structures::paging::page::PageSize;
use x86_64::structures::paging::{
    FrameAllocator, Page, PageTable, PageTableFlags, PhysFrame, RecursivePageTable, Size2MiB, Size4KiB,
};

/// Takes one frame, which is handed out to nobody else.
#[expect(clippy::expect_used, reason = "before the first task runs")]
#[unsafe(link_section = "boot_text")]
pub fn take(frames: &mut impl FrameAllocator<Size4KiB>) -> PhysAddr {
    let frame = frames.allocate_frame().expect("there is no frame left at boot");
    PhysAddr::new(frame.start_address().as_u64())
}

/// Takes one frame and fills it with zeros.
#[unsafe(link_section = "boot_text")]
pub fn take_zeroed(frames: &mut impl FrameAllocator<Size4KiB>) -> Zeroed {
    // SAFETY: the frame is handed out once, by the contract of [`FrameAllocator`], so nobody else
    // uses it.
    unsafe { zero_at(take(frames)) }
}

/// Maps RAM from physical address `phys` up to `end` in pages of one size, up to the end of one
/// page table; returns the number of bytes mapped. The boot loader's tables are accessed through
/// the recursive slot. Mapping the first page creates missing tables; for the others only the
/// entries are written.
#[expect(clippy::panic, reason = "before the first task runs")]
#[unsafe(link_section = "boot_text")]
fn map_ram<'a, S: PageSize>(
    mapper: &mut RecursivePageTable<'a>,
    phys: PhysAddr,
    end: PhysAddr,
    frames: &mut impl FrameAllocator<Size4KiB>,
) -> u64
where
    RecursivePageTable<'a>: Mapper<S>,
{
    let flags =
        PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE | PageTableFlags::GLOBAL;
    let first = ram::direct(phys);
    let (phys, end) = (phys.number(), end.number());
    let page = Page::<S>::containing_address(VirtAddr::new(first));
    let frame = PhysFrame::containing_address(x86_64::PhysAddr::new(phys));
    // SAFETY: the page lies in a slot that nothing else uses. The frame may be mapped elsewhere,
    // too (the kernel's image); through the direct map only frames that the kernel owns are
    // written.
    match unsafe { mapper.map_to(page, frame, flags, frames) } {
        Ok(flush) => flush.ignore(),
        Err(_) => panic!("the boot loader has mapped something where the kernel maps RAM ({phys:#x})"),
    }
    // The address of a table repeats the recursive slot once for each level that is skipped.
    let (level, size_bit, table) = match S::SIZE {
        PAGE => (0, 0, RECURSIVE << 39 | slot(first, 3) << 30 | slot(first, 2) << 21 | slot(first, 1) << 12),
        _ => (1, HUGE, RECURSIVE << 39 | RECURSIVE << 30 | slot(first, 3) << 21 | slot(first, 2) << 12),
    };
    let table = (0xffff_0000_0000_0000 | table) as *mut u64;
    let mut next = phys + S::SIZE;
    while slot(next, level) != 0 && next + S::SIZE <= end {
        // SAFETY: this is the table in which the first page was mapped; the entries are those of
        // the same region's next pages.
        unsafe { table.add(slot(next, level) as usize).write_volatile(next | flags.bits() | size_bit) };
        next += S::SIZE;
    }
    next - phys
}

/// Builds the direct map and the kernel's top table, and switches to it. [`ram::init`] must have
/// been called.
#[expect(clippy::expect_used, reason = "before the first task runs")]
pub fn init(frames: &mut impl FrameAllocator<Size4KiB>) {
    let p4 = (RECURSIVE_ADDR | RECURSIVE << 30 | RECURSIVE << 21 | RECURSIVE << 12) as *mut PageTable;
    // SAFETY: the loader was asked to map its tables recursively in this slot, and there is no
    // other reference to the top table.
    let mut mapper =
        RecursivePageTable::new(unsafe { &mut *p4 }).expect("the boot loader's page tables are not recursive");
    for region in ram::regions().list() {
        let mut phys = region.start;
        while phys < region.end {
            // Large pages inside a region and small ones at its edges, so that nothing beyond it is
            // mapped.
            let large = phys.number().is_multiple_of(Size2MiB::SIZE) && region.end.since(phys) >= Size2MiB::SIZE;
            phys = phys.plus(if large {
                map_ram::<Size2MiB>(&mut mapper, phys, region.end, frames)
            } else {
                map_ram::<Size4KiB>(&mut mapper, phys, region.end, frames)
            });
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
    // This slot must exist before the first task's top table copies the upper half.
    write(table, slot(crate::arch::stacks::BASE, 3), take_zeroed(frames).table().entry());
    make_global(table, 3, slot(0xffff_ffff_8000_0000, 3));
    KERNEL_ROOT.store(root.number(), Ordering::Relaxed);
    switch_to_kernel();
}

/// Marks the pages of the kernel's image as global, since they are the same in every address space.
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
