//! Interrupt lines, by the names that `system.toml` gives them.

use crate::notify::{Bit, Notification};
use crate::syscall;
use abi::manifest::GrantKind;

/// An interrupt line that `system.toml` grants to this task. An interrupt masks the line until
/// [`Irq::ack`].
///
/// ```toml
/// irqs = { alarm = 8 }
/// ```
/// ```no_run
/// use rt::irq::{Irq, Left};
/// use rt::Bit;
/// const AGAIN: Bit = Bit::new(32);
///
/// let alarm = Irq::named("alarm").expect("a line called `alarm` in the task table");
/// // In `init`: what the last life has left.
/// alarm.settle(|| Left::Nothing);
/// // In `notified`, when `alarm.bit()` or AGAIN is set: handles one interrupt cause of the device.
/// let events = alarm.drain(AGAIN, || (Left::Nothing, 3));
/// # let _: u32 = events;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq {
    handle: u32,
    bit: u32,
}

impl Irq {
    /// The line with this name; `None` if the task has none.
    pub fn named(name: &str) -> Option<Irq> {
        let entry = crate::entry_named(GrantKind::Irq, name)?;
        let bit = u32::try_from(entry.base).ok().filter(|&bit| bit < u64::BITS)?;
        Some(Irq { handle: entry.handle, bit })
    }

    /// The mask of the bit that an interrupt sets in the task's permanent notification.
    pub const fn bits(self) -> u64 {
        1 << self.bit
    }

    /// The bit that an interrupt sets in the task's permanent notification.
    pub const fn bit(self) -> Bit {
        Bit::new(self.bit)
    }

    /// Serves the device once, after an interrupt (or on [`Driver::pulse`](crate::Driver::pulse),
    /// in case an interrupt was lost). `service` returns how much is left to do, and a value that
    /// this returns.
    ///
    /// [`Left::Nothing`]: the line is unmasked. [`Left::More`]: the task signals itself by its bit
    /// `again`, so that other events come first, and the line stays masked. [`Left::Blocked`]: the
    /// line stays masked until a later call.
    pub fn drain<T>(self, again: Bit, service: impl FnOnce() -> (Left, T)) -> T {
        let (left, told) = service();
        match left {
            Left::Blocked => {}
            Left::More if Notification::own().signal(again.mask()).is_ok() => {}
            Left::More | Left::Nothing => self.ack(),
        }
        told
    }

    /// Serves the device in `init`. The last life may have left the line high, and an
    /// edge-triggered controller only notices when it rises. So this calls `service` until nothing
    /// is left, a bounded number of times, and then unmasks the line, unless it is blocked.
    pub fn settle(self, mut service: impl FnMut() -> Left) {
        for _ in 0..Self::GOES {
            match service() {
                Left::Nothing => break,
                Left::More => {}
                Left::Blocked => return,
            }
        }
        self.ack();
    }

    /// The most calls of `service` by [`Irq::settle`].
    const GOES: usize = 64;

    /// Acknowledges the interrupt: unmasks the line, after the device was served.
    ///
    /// # Panics
    /// If the kernel refuses the handle, which would be a defect of the kernel.
    #[inline]
    pub fn ack(self) {
        if let Err(status) = syscall::irq_ack(self.handle) {
            panic!("interrupt on bit {}: {status}", self.bit);
        }
    }
}

/// How much is left to do at a device that has interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing: the device has deasserted its line.
    Nothing,
    /// More, as one call of `service` is bounded; the next one continues.
    More,
    /// More, but there is no room for the device's data: the code that makes room calls
    /// [`Irq::drain`] again.
    Blocked,
}

impl Left {
    /// [`Left::More`] if `more`, else [`Left::Nothing`].
    pub const fn more(more: bool) -> Left {
        if more { Left::More } else { Left::Nothing }
    }
}
