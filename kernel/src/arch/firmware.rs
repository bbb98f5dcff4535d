//! The firmware's tables, read once at boot through a page of the kernel's own: they lie in memory that is not called RAM, which the direct
//! map leaves out.

use super::paging::{self, KernelFlags};
use super::{cpu, stacks};
use crate::klog;
use kernel_core::acpi::{self, Found, Physical, Unit};

/// Where a page of them is seen: in the part of the top table that has the kernel's stacks, far from these.
const WINDOW: u64 = stacks::BASE + (256 << 30);
const PAGE: u64 = abi::PAGE_SIZE as u64;

/// Most devices that are noted.
const MAX_UNITS: usize = 32;

/// Devices that no task gets, as this machine's firmware and host bridge tell where they are.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    list: [Option<Found>; MAX_UNITS],
    count: usize,
}

impl Default for Units {
    fn default() -> Self {
        Self::new()
    }
}

impl Units {
    /// None.
    pub const fn new() -> Self {
        Units { list: [None; MAX_UNITS], count: 0 }
    }

    /// Notes one more. Those beyond [`MAX_UNITS`] are said in the log: nothing keeps a task from them.
    #[unsafe(link_section = "boot_text")]
    pub fn add(&mut self, found: Found) {
        match self.list.get_mut(self.count) {
            Some(place) => {
                *place = Some(found);
                self.count += 1;
            }
            None => klog!(
                "{:?} at {:#x} is beyond the {MAX_UNITS} devices that are kept from tasks",
                found.unit,
                found.start
            ),
        }
    }

    /// The one that shares a page with a physical range, if any.
    pub fn touched(&self, base: u64, len: u64) -> Option<&Found> {
        let end = base.saturating_add(len);
        self.list.iter().flatten().find(|unit| {
            let past = unit.start.saturating_add(unit.len).saturating_add(PAGE - 1) & !(PAGE - 1);
            base < past && unit.start & !(PAGE - 1) < end
        })
    }
}

/// What a unit is, and why no task gets it, in words for the log.
pub fn reason(unit: Unit) -> &'static str {
    match unit {
        Unit::PciConfiguration => {
            "PCI configuration on this machine, through which any device can be made to reach any memory"
        }
        Unit::IoApic => "an I/O APIC of this machine, which decides what interrupts do",
        Unit::LocalApic => "the local APICs of this machine, which can stop and start processors",
        Unit::Hpet => "the HPET of this machine, whose interrupts can be made to write anywhere in memory",
        Unit::Iommu => "an IOMMU of this machine, which decides where devices reach",
    }
}

/// Adds what the tables behind the root pointer at `rsdp` name. `frames` gives the page tables for the page through which they are seen.
#[unsafe(link_section = "boot_text")]
pub fn read(rsdp: u64, frames: &mut dyn FnMut() -> u64, units: &mut Units) {
    let mut window = Window { frames, bits: cpu::physical_bits() };
    let walked = acpi::walk(&mut window, rsdp, &mut |found| units.add(found));
    paging::map_kernel(WINDOW, 0, KernelFlags::NONE, window.frames);
    paging::flush_page(WINDOW);
    match walked {
        Some(walked) if walked.broken != 0 => {
            klog!("ACPI: {} tables of this firmware are broken and were left out", walked.broken);
        }
        Some(_) => {}
        None => klog!("ACPI: there are no tables at {rsdp:#x}"),
    }
}

struct Window<'a> {
    frames: &'a mut dyn FnMut() -> u64,
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
            paging::map_kernel(WINDOW, at - offset, KernelFlags::FIRMWARE, self.frames);
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
