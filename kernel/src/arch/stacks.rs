//! The kernel's stacks: one to run on, and one for each exception that must not trust it (Intel SDM vol. 3A, section 6.14.5).
//! Below each lies a page that is never mapped, so that an overflow faults and is reported.

use super::paging::{self, KernelFlags};
use x86_64::VirtAddr;
use x86_64::structures::paging::{FrameAllocator, Size4KiB};

/// Where the stacks are mapped, each in a slot of its own.
pub const BASE: u64 = 0xffff_fe80_0000_0000;
const SLOT: u64 = 0x10_0000;
/// Size of each stack in bytes.
pub const SIZE: u64 = 32 * 1024;

/// A stack's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// System calls, interrupts, exceptions.
    Kernel = 0,
    /// #DF.
    DoubleFault = 1,
    /// NMI.
    Nmi = 2,
    /// #MC.
    MachineCheck = 3,
}

impl Stack {
    /// First address past the stack.
    pub fn top(self) -> VirtAddr {
        VirtAddr::new(BASE + self as u64 * SLOT + SLOT)
    }

    /// Lowest address of the stack; the page below is the guard.
    pub fn bottom(self) -> u64 {
        self.top().as_u64() - SIZE
    }
}

/// Which stack's guard page an address lies in.
pub fn guard_of(addr: u64) -> Option<Stack> {
    [Stack::Kernel, Stack::DoubleFault, Stack::Nmi, Stack::MachineCheck]
        .into_iter()
        .find(|s| (s.bottom() - 4096..s.bottom()).contains(&addr))
}

/// Maps all stacks: once, before one of them is used.
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
