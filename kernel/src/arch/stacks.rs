//! The kernel's stacks: one for normal operation, and one for each exception that cannot rely on it
//! (Intel SDM vol. 3A, section 6.14.5). The page below each is never mapped, so that an overflow
//! faults and is reported.

use super::paging::{self, KernelFlags};
use x86_64::VirtAddr;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// The address from which the stacks are mapped, each in a slot of [`SLOT`] bytes.
pub const BASE: u64 = 0xffff_fe80_0000_0000;
const SLOT: u64 = 0x10_0000;
/// Size of each stack in bytes.
pub const SIZE: u64 = 32 * 1024;

/// The use of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// For system calls, interrupts and exceptions.
    Kernel = 0,
    /// For double faults (#DF).
    DoubleFault = 1,
    /// For non-maskable interrupts (NMI).
    Nmi = 2,
    /// For machine checks (#MC).
    MachineCheck = 3,
}

impl Stack {
    /// The address after the last byte of the stack.
    pub fn top(self) -> VirtAddr {
        VirtAddr::new(BASE + self as u64 * SLOT + SLOT)
    }

    /// The lowest address of the stack; the page below it is the guard page.
    pub fn bottom(self) -> u64 {
        self.top().as_u64() - SIZE
    }
}

/// The stack in whose guard page an address lies, if any.
pub fn guard_of(addr: u64) -> Option<Stack> {
    [Stack::Kernel, Stack::DoubleFault, Stack::Nmi, Stack::MachineCheck]
        .into_iter()
        .find(|s| (s.bottom() - 4096..s.bottom()).contains(&addr))
}

/// Maps all stacks. Called once, before one of them is used.
#[unsafe(link_section = "boot_text")]
pub fn init(frames: &mut impl FrameAllocator<Size4KiB>) {
    for stack in [Stack::Kernel, Stack::DoubleFault, Stack::Nmi, Stack::MachineCheck] {
        let mut page = stack.bottom();
        while page < stack.top().as_u64() {
            let frame = paging::take(frames);
            // SAFETY: nothing else lies in the stacks' slots, and the frame was just taken.
            unsafe { paging::map_kernel(page, frame, KernelFlags::DATA, &mut || paging::take_zeroed(frames)) };
            page += 4096;
        }
    }
}

/// Whether 16 bytes at this address lie on one of the stacks.
pub fn holds(addr: u64) -> bool {
    [Stack::Kernel, Stack::DoubleFault, Stack::Nmi, Stack::MachineCheck]
        .into_iter()
        .any(|s| (s.bottom()..s.top().as_u64() - 15).contains(&addr))
}
