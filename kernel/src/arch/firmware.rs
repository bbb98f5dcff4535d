//! Reads the firmware's tables once at boot. They lie in memory that the boot memory map does not
//! call RAM and the direct map leaves out, so each page is mapped temporarily.

use super::paging::{self, KernelFlags, Zeroed};
use super::{cpu, stacks};
use core::arch::asm;
use kernel_core::acpi::{self, Physical, Platform, Units, Walked};
use kernel_core::addr::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// The address at which a page of the tables is mapped: in the part of the top table that has the
/// kernel's stacks, far from these.
const WINDOW: u64 = stacks::BASE + (256 << 30);
const PAGE: u64 = abi::PAGE_SIZE as u64;

/// Adds the devices named by the tables behind the root pointer at physical address `rsdp`, and
/// fills in what they say of the platform. Returns `None` if there is no valid root pointer.
/// `frames` provides page tables for the temporary mapping.
#[unsafe(link_section = "boot_text")]
pub fn read(
    rsdp: PhysAddr,
    frames: &mut impl FrameAllocator<Size4KiB>,
    units: &mut Units,
    platform: &mut Platform,
) -> Option<Walked> {
    let mut window = Window { frames: &mut || paging::take_zeroed(frames), bits: cpu::physical_bits(), page: None };
    let walked = acpi::walk(&mut window, rsdp, &mut |found| units.add(found), platform);
    // SAFETY: nothing else lies at this address, and from now on nothing does.
    unsafe { paging::map_kernel(WINDOW, PhysAddr::default(), KernelFlags::NONE, window.frames) };
    paging::flush_page(WINDOW);
    walked
}

struct Window<'a> {
    frames: &'a mut dyn FnMut() -> Zeroed,
    /// The number of bits of a physical address; mapping an address with more causes a fault (Intel
    /// SDM vol. 3A, section 4.1.4).
    bits: u32,
    /// The page that is mapped.
    page: Option<PhysAddr>,
}

impl Physical for Window<'_> {
    #[unsafe(link_section = "boot_text")]
    fn read(&mut self, at: PhysAddr, into: &mut [u8]) -> bool {
        if at.checked_plus(into.len() as u64).is_none_or(|end| end.number() > 1 << self.bits) {
            return false;
        }
        let mut at = at;
        let mut rest = into;
        while !rest.is_empty() {
            let offset = at.offset_in_page();
            let (piece, more) = rest.split_at_mut(rest.len().min((PAGE - offset) as usize));
            let page = at.rounded_down();
            if self.page != Some(page) {
                // SAFETY: nothing else lies at this address, and the mapping is read-only.
                unsafe { paging::map_kernel(WINDOW, page, KernelFlags::FIRMWARE, self.frames) };
                paging::flush_page(WINDOW);
                self.page = Some(page);
            }
            // SAFETY: the page is mapped for reading; offset and length stay within it. The
            // firmware may change its memory at any time, so each byte is read once, and not by the
            // compiler's choice. The direction flag is clear in Rust code.
            unsafe {
                asm!(
                    "rep movsq",
                    "mov ecx, {rest:e}",
                    "rep movsb",
                    rest = in(reg) piece.len() & 7,
                    inout("rcx") piece.len() / 8 => _,
                    inout("rsi") WINDOW + offset => _,
                    inout("rdi") piece.as_mut_ptr() => _,
                    options(nostack, preserves_flags),
                );
            }
            at = at.plus(piece.len() as u64);
            rest = more;
        }
        true
    }
}
