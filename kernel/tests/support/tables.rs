//! Page tables seen from outside of `arch::paging`: the entry that maps an address, and a small address space to experiment with.
#![allow(dead_code, reason = "no kernel uses all of it")]

use core::cell::RefCell;
use kernel::arch::paging::{self, UserFlags, Zeroed};
use kernel::arch::ram::Ram;
use kernel_core::Row;
use kernel_core::addr::{AddressSpace, PhysAddr, TableRoot, UserAddr};
use kernel_core::frames::{Chain, Frames};

/// Bits of an entry (Intel SDM vol. 3A, section 4.5.4).
pub const WRITABLE: u64 = 1 << 1;
pub const USER: u64 = 1 << 2;
pub const HUGE: u64 = 1 << 7;
pub const NO_EXECUTE: u64 = 1 << 63;

/// The entry that maps an address, and its level: 0 for a page of 4 KiB, 1 for one of 2 MiB.
pub fn entry(root: TableRoot, addr: u64) -> Option<(*mut u64, u32)> {
    let mut table = root.address().number();
    for level in [3, 2, 1, 0] {
        let index = addr >> (12 + 9 * level) & 511;
        let entry = Ram::at(PhysAddr::new(table + index * 8), 8)?.pointer().cast::<u64>();
        // SAFETY: `table` is a page table of the kernel's making, a frame of RAM in the direct map.
        let value = unsafe { entry.read_volatile() };
        if value & 1 == 0 {
            return None;
        }
        if level == 0 || value & HUGE != 0 {
            return Some((entry, level));
        }
        table = value & 0x000f_ffff_ffff_f000;
    }
    None
}

/// Sets and clears bits in the entry that maps an address.
pub fn change(root: TableRoot, addr: u64, set: u64, clear: u64) {
    let (entry, _) = entry(root, addr).expect("the address is not mapped");
    // SAFETY: an entry of a page table, see `entry`. The tests give no more rights to anyone than they then test.
    unsafe { entry.write_volatile(entry.read_volatile() & !clear | set) };
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new_truncate(addr));
}

/// An address space, and the frames for it.
pub struct Space<'a> {
    pub space: AddressSpace,
    pub root: TableRoot,
    frames: &'a RefCell<Frames>,
    chain: RefCell<Chain>,
}

impl<'a> Space<'a> {
    pub fn new(frames: &'a RefCell<Frames>) -> Self {
        let mut chain = Chain::default();
        let top = frames.borrow_mut().alloc(&mut chain).expect("no frame is free");
        let space = paging::new_space(top, Row::new(0), false);
        Space { space, root: space.root(), frames, chain: RefCell::new(chain) }
    }

    /// A frame of zeros for a table.
    pub fn zeroed(&self) -> Zeroed {
        paging::zero(self.frames.borrow_mut().alloc(&mut self.chain.borrow_mut()).expect("no frame is free"))
    }

    /// A frame of zeros.
    pub fn frame(&self) -> PhysAddr {
        self.zeroed().address()
    }

    /// Maps a fresh page; returns its physical address.
    pub fn map(&self, page: u64, flags: UserFlags) -> PhysAddr {
        let frame = self.frame();
        self.map_frame(page, frame, flags);
        frame
    }

    /// Maps a frame.
    pub fn map_frame(&self, page: u64, frame: PhysAddr, flags: UserFlags) {
        paging::map_user(self.root, UserAddr::new(page), frame, flags, || Ok(self.zeroed()))
            .expect("no frame for a table");
    }

    /// Frees all frames. Nothing runs in the address space any more.
    pub fn give_back(self) {
        let mut frames = self.frames.borrow_mut();
        let mut chain = self.chain.borrow_mut();
        while frames.free_first(&mut chain).is_some() {}
    }
}

/// The bytes of a frame.
pub fn bytes(phys: PhysAddr) -> &'static mut [u8] {
    let start = Ram::at(phys, 4096).expect("the frame is not in the direct map").pointer();
    // SAFETY: a frame that a `Space` took, so it belongs to the test, which uses no two of these slices of a frame at a time.
    unsafe { core::slice::from_raw_parts_mut(start, 4096) }
}
