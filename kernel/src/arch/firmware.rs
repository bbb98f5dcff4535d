//! The firmware's tables, read once at boot through a page of the kernel's own: they lie in memory that is not called RAM, which the direct
//! map leaves out.

use super::paging::{self, KernelFlags, Zeroed};
use super::{cpu, stacks};
use kernel_core::acpi::{self, Physical, Units, Walked};
use kernel_core::addr::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// Where a page of them is seen: in the part of the top table that has the kernel's stacks, far from these.
const WINDOW: u64 = stacks::BASE + (256 << 30);
const PAGE: u64 = abi::PAGE_SIZE as u64;

/// Adds what the tables behind the root pointer at `rsdp` name. `None` where there is no such pointer. `frames` gives the page tables for the page through
/// which they are seen.
#[unsafe(link_section = "boot_text")]
pub fn read(rsdp: u64, frames: &mut impl FrameAllocator<Size4KiB>, units: &mut Units) -> Option<Walked> {
    let mut window = Window { frames: &mut || paging::take_zeroed(frames), bits: cpu::physical_bits() };
    let walked = acpi::walk(&mut window, rsdp, &mut |found| units.add(found));
    // SAFETY: nothing else lies in the window, and from now on nothing does.
    unsafe { paging::map_kernel(WINDOW, PhysAddr::default(), KernelFlags::NONE, window.frames) };
    paging::flush_page(WINDOW);
    walked
}

struct Window<'a> {
    frames: &'a mut dyn FnMut() -> Zeroed,
    /// Bits of a physical address: one that has more faults when it is mapped (Intel SDM vol. 3A, section 4.1.4).
    bits: u32,
}

impl Physical for Window<'_> {
    #[unsafe(link_section = "boot_text")]
    fn read(&mut self, at: u64, into: &mut [u8]) -> bool {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > 1 << self.bits) {
            return false;
        }
        let mut at = at;
        let mut rest = into;
        while !rest.is_empty() {
            let offset = at & (PAGE - 1);
            let (piece, more) = rest.split_at_mut(rest.len().min((PAGE - offset) as usize));
            let frame = PhysAddr::new(at - offset);
            // SAFETY: nothing else lies in the window, which is only read.
            unsafe { paging::map_kernel(WINDOW, frame, KernelFlags::FIRMWARE, self.frames) };
            paging::flush_page(WINDOW);
            for (index, byte) in (0..).zip(piece.iter_mut()) {
                // SAFETY: the page was just mapped for reading; offset and length stay within it. The firmware's memory may change under the
                // kernel, so each byte is read once.
                *byte = unsafe { ((WINDOW + offset + index) as *const u8).read_volatile() };
            }
            at += piece.len() as u64;
            rest = more;
        }
        true
    }
}
