//! Interrupt lines, by the driver's own names for them.

use crate::notify::{Bit, Notification};
use crate::syscall;
use abi::manifest::GrantKind;

/// A line that `system.toml` grants to this task. It stays masked from the moment it fires until [`Irq::ack`].
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
/// // In `notified`, when `alarm.bit()` or AGAIN is set: one go at the device, which says what it brought.
/// let events = alarm.drain(AGAIN, || (Left::Nothing, 3));
/// # let _: u32 = events;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Irq {
    handle: u32,
    bit: u32,
}

impl Irq {
    /// The line of this name, or `None` where the task has none.
    pub fn named(name: &str) -> Option<Irq> {
        let entry = crate::entry_named(GrantKind::Irq, name)?;
        let bit = u32::try_from(entry.base).ok().filter(|&bit| bit < u64::BITS)?;
        Some(Irq { handle: entry.handle, bit })
    }

    /// The bit that it sets in the task's notification, as a mask.
    pub const fn bits(self) -> u64 {
        1 << self.bit
    }

    /// The bit that it sets in the task's notification.
    pub const fn bit(self) -> Bit {
        Bit::new(self.bit)
    }

    /// One go at the device, after the line has fired (or on [`Driver::pulse`](crate::Driver::pulse), in case it has and nobody saw). `service`
    /// says what is left to do, and what else the driver wants to know.
    ///
    /// [`Left::Nothing`]: the line may fire again. [`Left::More`]: the task is told so by its own bit `again`, after whatever else waits for
    /// it, and the line stays masked until then. [`Left::Blocked`]: it stays masked until a later go.
    pub fn drain<T>(self, again: Bit, service: impl FnOnce() -> (Left, T)) -> T {
        let (left, told) = service();
        match left {
            Left::Blocked => {}
            Left::More if Notification::own().signal(again.mask()).is_ok() => {}
            Left::More | Left::Nothing => self.ack(),
        }
        told
    }

    /// In `init`: the last life may have left the line high, and an edge-triggered controller only sees it rise. A bounded number of goes at the
    /// device, until nothing is left; then the line may fire.
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

    /// Most goes of [`Irq::settle`].
    const GOES: usize = 64;

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

/// What is left to do at a device that interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// It has let go of its line.
    Nothing,
    /// A go has its limit; the next one goes on.
    More,
    /// It goes on when there is room for what it brings: who makes room drains it.
    Blocked,
}

impl Left {
    /// [`Left::More`], or [`Left::Nothing`].
    pub const fn more(more: bool) -> Left {
        if more { Left::More } else { Left::Nothing }
    }
}
