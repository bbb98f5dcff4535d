//! Notifications: a word of bits, set from anywhere, waited on.

use crate::ipc::Handle;
use crate::syscall;
use abi::Status;
use abi::message::Rights;

/// One bit of a notification, by its number. Those from 32 to 58 are free for a task's timers and doorbells; the manifest gives those below to
/// interrupts ([`abi::message::bits`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bit(u8);

impl Bit {
    /// The bit of this number.
    ///
    /// # Panics
    /// Where a word has no such bit: in a constant, it does not compile.
    pub const fn new(number: u32) -> Bit {
        assert!(number < u64::BITS, "a notification has the bits 0 to 63");
        Bit(number as u8)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// As a mask.
    pub const fn mask(self) -> u64 {
        1 << self.0
    }

    /// Whether it is set in these bits.
    pub const fn is_in(self, bits: u64) -> bool {
        bits & self.mask() != 0
    }
}

/// What [`Timer::new`](crate::time::Timer::new) takes: a [`Bit`], or the number of one.
pub trait BitNumber {
    /// The number.
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

/// The handle of a notification. A plain number: dropping it closes nothing.
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
    /// The task's own, which is bound to its endpoint.
    pub const fn own() -> Notification {
        Notification(abi::info::NOTIFICATION)
    }

    /// A new one, which dies with the task.
    ///
    /// # Errors
    /// [`Status::QuotaObjects`], [`Status::QuotaHandles`].
    pub fn create() -> Result<Notification, Status> {
        syscall::notification_create().map(Notification)
    }

    /// A second handle by which these bits can be set, and no others: to be given to who is to set them, with [`Endpoint::subscribe`]
    /// for one. It is the task's until it is closed.
    ///
    /// # Errors
    /// [`Status::BadArgument`] where there are none; those of [`abi::Syscall::HandleDup`].
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
    /// [`Status::BadHandle`] where its owner is gone, [`Status::NoRights`] where the handle is not for all of these bits: a server drops the
    /// subscription then.
    #[inline]
    pub fn signal(self, bits: u64) -> Result<(), Status> {
        syscall::signal(self.0, bits)
    }

    /// Waits until one of the bits in `mask` is set; takes and returns those that are.
    ///
    /// # Panics
    /// Where the handle is not good for waiting, the mask is empty, or another thread waits: see [`Notification::try_wait`].
    #[inline]
    pub fn wait(self, mask: u64) -> u64 {
        match self.try_wait(mask) {
            Ok(bits) => bits,
            Err(status) => refused("wait", status),
        }
    }

    /// Waits until one of the bits of `mask` is set, and takes those that are.
    ///
    /// # Errors
    /// Those of [`abi::Syscall::Wait`].
    #[inline]
    pub fn try_wait(self, mask: u64) -> Result<u64, Status> {
        syscall::wait(self.0, mask)
    }

    /// Takes and returns those bits of `mask` that are set; 0 where none is. On the host always 0.
    ///
    /// # Panics
    /// Where the handle is not good for waiting.
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
