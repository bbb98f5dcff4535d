//! Interrupt lines, by the driver's own names for them.

use crate::syscall;
use abi::info::EntryKind;

/// A line that `system.toml` grants to this task. It stays masked from the moment it fires until [`Irq::ack`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq {
    handle: u32,
    bit: u32,
}

impl Irq {
    /// The line of this name, or `None` where the task has none.
    pub fn named(name: &str) -> Option<Irq> {
        let entry = crate::entry_named(EntryKind::Irq, name)?;
        let bit = u32::try_from(entry.base).ok().filter(|&bit| bit < u64::BITS)?;
        Some(Irq { handle: entry.handle, bit })
    }

    /// The bit that it sets in the task's notification, as a mask.
    pub const fn bits(self) -> u64 {
        1 << self.bit
    }

    /// Lets it fire again: after the device has been served.
    ///
    /// # Panics
    /// Where the kernel does not know the line, which would be the kernel's mistake.
    #[inline]
    pub fn ack(self) {
        if let Err(status) = syscall::irq_ack(self.handle) {
            panic!("interrupt on bit {}: {status}", self.bit);
        }
    }
}
