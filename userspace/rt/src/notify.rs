//! Notifications: words of 64 bits that other tasks, interrupts and timers set, and for which a
//! thread waits.

use crate::ipc::Handle;
use crate::syscall;
use abi::Status;
use abi::message::Rights;

/// A bit of a notification, by its number. Bits 32 to 58 are free for a task's timers and
/// subscriptions; the task table gives bits 0 to 31 to interrupts ([`abi::message::bits`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bit(u8);

impl Bit {
    /// The bit with this number.
    ///
    /// # Panics
    /// If the number is above 63: in a constant, it does not compile.
    pub const fn new(number: u32) -> Bit {
        assert!(number < u64::BITS, "a notification has the bits 0 to 63");
        Bit(number as u8)
    }

    /// The number of the bit.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The mask with this bit.
    pub const fn mask(self) -> u64 {
        1 << self.0
    }

    /// Whether the bit is set in `bits`.
    pub const fn is_in(self, bits: u64) -> bool {
        bits & self.mask() != 0
    }
}

/// The argument of [`Timer::new`](crate::time::Timer::new): a [`Bit`], or the number of one.
pub trait BitNumber {
    /// The number of the bit.
    fn number(self) -> u32;
}

impl BitNumber for Bit {
    fn number(self) -> u32 {
        Bit::number(self)
    }
}

impl BitNumber for u32 {
    fn number(self) -> u32 {
        self
    }
}

/// The handle of a notification. It is a plain number, and dropping it closes nothing.
///
/// ```no_run
/// use rt::notify::Notification;
/// use rt::Bit;
/// const DONE: Bit = Bit::new(33);
///
/// // A driver is told of its own bits in `Driver::notified`; this sets one.
/// Notification::own().signal(DONE.mask())?;
/// // Another one, on which a thread of its own may wait.
/// let other = Notification::create()?;
/// let bits = other.wait(DONE.mask());
/// assert!(DONE.is_in(bits));
/// # Ok::<(), rt::Status>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notification(pub u32);

impl Notification {
    /// The task's permanent notification, which is bound to its permanent endpoint.
    pub const fn own() -> Notification {
        Notification(abi::info::NOTIFICATION)
    }

    /// Makes a notification, which ends with the task.
    ///
    /// # Errors
    /// [`Status::QuotaObjects`], [`Status::QuotaHandles`].
    pub fn create() -> Result<Notification, Status> {
        syscall::notification_create().map(Notification)
    }

    /// Makes a second handle that allows setting these bits and no others, to be passed on, for
    /// instance by [`Endpoint::subscribe`]. The task owns it until it is closed.
    ///
    /// # Errors
    /// [`Status::BadArgument`] if `bits` is 0; those of [`abi::Syscall::HandleDup`].
    ///
    /// [`Endpoint::subscribe`]: crate::ipc::Endpoint::subscribe
    pub fn only(self, bits: u64) -> Result<Handle, Status> {
        if bits == 0 {
            return Err(Status::BadArgument);
        }
        let copy = syscall::handle_dup(self.0, Rights::SIGNAL | Rights::GRANT, bits)?;
        Ok(Handle::notification(copy, Rights::SIGNAL))
    }

    /// Sets bits.
    ///
    /// # Errors
    /// [`Status::BadHandle`] if its owner has died, [`Status::NoRights`] if the handle does not
    /// allow all of these bits. A server should drop the subscription in either case.
    #[inline]
    pub fn signal(self, bits: u64) -> Result<(), Status> {
        syscall::signal(self.0, bits)
    }

    /// Waits until one of the bits in `mask` is set; takes and returns those that are set.
    ///
    /// # Panics
    /// If the handle lacks the right to wait, the mask is 0, or another thread waits: see
    /// [`Notification::try_wait`].
    #[inline]
    pub fn wait(self, mask: u64) -> u64 {
        match self.try_wait(mask) {
            Ok(bits) => bits,
            Err(status) => refused("wait", status),
        }
    }

    /// Waits until one of the bits in `mask` is set; takes and returns those that are set.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::Wait`].
    #[inline]
    pub fn try_wait(self, mask: u64) -> Result<u64, Status> {
        syscall::wait(self.0, mask)
    }

    /// Takes and returns the bits of `mask` that are set, without waiting; 0 if none is. On the
    /// host always 0.
    ///
    /// # Panics
    /// If the handle lacks the right to wait.
    #[inline]
    pub fn poll(self, mask: u64) -> u64 {
        match syscall::poll(self.0, mask) {
            Ok(bits) => bits,
            Err(_) if cfg!(not(target_os = "none")) => 0,
            Err(status) => refused("poll", status),
        }
    }
}

#[cold]
fn refused(what: &str, status: Status) -> ! {
    panic!("notification: {what}: {status}")
}
