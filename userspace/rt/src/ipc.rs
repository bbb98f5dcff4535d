//! Messages: [`Endpoint`] for those who ask, [`Request`] and [`Pending`] for those who answer.

use crate::notify::Notification;
use crate::syscall;
use abi::Status;
use abi::manifest::GrantKind;
use abi::message::{Header, Lease, MAX_LEASES, pack_transfer};
use core::fmt;

mod request;

pub use abi::message::{Kind, Kinds, Rights};
pub use request::{Event, Pending, Request};
pub(crate) use request::{lease_info, read};

/// How often [`Endpoint::call_retrying`] asks at most.
pub const MAX_TRIES: usize = 16;

/// The handle of an endpoint. A plain number: dropping it closes nothing, see [`close`].
///
/// What a task may ask of a peer is written down by [`protocol!`](crate::protocol), which makes a client of it. Without one:
///
/// ```no_run
/// use rt::ipc::Endpoint;
///
/// let clock = Endpoint::peer("clock").expect("`calls = [\"clock\"]` in the task table");
/// match clock.call(1, [0; 4]) {
///     Ok(reply) if reply.label == 0 => rt::println!("{} ticks", reply.words[0]),
///     Ok(reply) => rt::println!("refused: {}", reply.label),
///     Err(error) => rt::println!("no answer: {error}"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint(pub u32);

/// A handle that travels with a message. For who sends it: its own, which it keeps, and the rights to pass on. For who receives it: a new one,
/// to keep or to [`close`], and the rights that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// What kind of object it names.
    pub kind: Kind,
    /// The handle.
    pub number: u32,
    /// What it allows.
    pub rights: Rights,
}

impl Handle {
    /// A notification. Who gets it can set all the bits that can be set by this number: [`Notification::only`] makes one for few.
    pub const fn notification(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Notification, number, rights }
    }

    /// An endpoint.
    pub const fn endpoint(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Endpoint, number, rights }
    }

    /// A memory object.
    pub const fn memory(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Memory, number, rights }
    }

    /// As the register of a message holds it.
    pub const fn pack(self) -> u64 {
        pack_transfer(self.number, self.rights)
    }

    /// From the register of a message whose header says that this kind of handle came along.
    #[inline(always)]
    pub const fn unpack(kind: Kind, packed: u64) -> Handle {
        Handle { kind, number: packed as u32, rights: Rights::from_bits_truncate((packed >> 32) as u32) }
    }
}

/// What came back from a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The outcome, as client and server agree; 0 for "done" by convention.
    pub label: u16,
    /// The data words.
    pub words: [u64; 4],
    /// The handle that came along, now the caller's.
    pub handle: Option<Handle>,
    /// Whether the server sent a handle that did not arrive: the call did not ask for one of its kind, or there was no room for it.
    pub lost: bool,
}

/// Memory that a call lends to the server until it returns.
#[derive(Debug)]
pub enum Loan<'a> {
    /// The server may read it.
    Read(&'a [u8]),
    /// The server may write it.
    Write(&'a mut [u8]),
    /// The server may do both.
    Both(&'a mut [u8]),
}

impl Loan<'_> {
    /// As the kernel wants it; `None` where it is 4 GiB or longer.
    #[inline(always)]
    pub(crate) fn lease(&mut self) -> Option<Lease> {
        let (addr, len, access) = match self {
            Loan::Read(bytes) => (bytes.as_ptr(), bytes.len(), Lease::READ),
            Loan::Write(bytes) => (bytes.as_mut_ptr().cast_const(), bytes.len(), Lease::WRITE),
            Loan::Both(bytes) => (bytes.as_mut_ptr().cast_const(), bytes.len(), Lease::READ | Lease::WRITE),
        };
        Some(Lease { addr: addr as u64, len: u32::try_from(len).ok()?, access })
    }
}

/// Why a call brought no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The server died after it had received the request, in the life of this generation: nobody knows how far it came.
    /// The request may be asked again where the operation allows that.
    Died {
        /// The generation that died.
        generation: u32,
    },
    /// The server is dead and will not come back.
    Gone,
    /// The kernel refused the call.
    Failed(Status),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Died { generation } => {
                write!(f, "the server died in life {generation} while it served the call")
            }
            CallError::Gone => f.write_str("the server is gone for good"),
            CallError::Failed(status) => write!(f, "the call was refused: {status}"),
        }
    }
}

impl core::error::Error for CallError {}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match status {
            Status::PeerGone => CallError::Gone,
            other => CallError::Failed(other),
        }
    }
}

#[cold]
fn call_error(failure: syscall::CallFailure) -> CallError {
    match failure.status {
        Status::PeerDied => CallError::Died { generation: failure.value as u32 },
        other => other.into(),
    }
}

impl Endpoint {
    /// The endpoint on which the task is called.
    pub const fn own() -> Endpoint {
        Endpoint(abi::info::ENDPOINT)
    }

    /// The endpoint of a peer that the task may call, or `None` where `system.toml` does not list it.
    pub fn peer(name: &str) -> Option<Endpoint> {
        crate::entry_named(GrantKind::Peer, name).map(|entry| Endpoint(entry.handle))
    }

    /// A new endpoint, which dies with the task.
    ///
    /// # Errors
    /// [`Status::QuotaObjects`], [`Status::QuotaHandles`].
    pub fn create() -> Result<Endpoint, Status> {
        syscall::endpoint_create().map(Endpoint)
    }

    /// Asks, and waits for the reply: four words each way, no memory, no handle.
    ///
    /// # Errors
    /// See [`CallError`].
    #[inline(always)]
    pub fn call(self, label: u16, words: [u64; 4]) -> Result<Reply, CallError> {
        #[cfg(not(target_os = "none"))]
        if let Some(result) = crate::fake::peer::answer(self, Header::new(label), words, &[], 0) {
            return result;
        }
        match syscall::call(self.0, Header::new(label), words) {
            Ok(message) => Ok(reply_of(message)),
            Err(failure) => Err(call_error(failure)),
        }
    }

    /// Asks, lending memory: at most [`MAX_LEASES`] loans.
    ///
    /// # Errors
    /// See [`CallError`]; `Failed(BadArgument)` for too many loans or one of 4 GiB and more.
    pub fn call_with(self, label: u16, words: [u64; 4], loans: &mut [Loan<'_>]) -> Result<Reply, CallError> {
        self.call_full(Header::new(label), words, loans, 0)
    }

    /// Asks, passing a handle on. The caller keeps its own.
    ///
    /// # Errors
    /// As [`Endpoint::call_with`]; `Failed(HandleRefused)` where the server takes no handle of this kind.
    pub fn call_handle(
        self,
        label: u16,
        words: [u64; 4],
        loans: &mut [Loan<'_>],
        handle: Handle,
    ) -> Result<Reply, CallError> {
        self.call_full(Header::new(label).with_handle(handle.kind), words, loans, handle.pack())
    }

    /// Asks to be told by `bits` of a notification, which are word 0: by the handle that goes along they can be set, and no others. It is how a
    /// server is asked that keeps [`crate::callers::Subscribers`].
    ///
    /// # Errors
    /// As [`Endpoint::call_handle`], and those of [`Notification::only`].
    pub fn subscribe(self, label: u16, notification: Notification, bits: u64) -> Result<Reply, CallError> {
        let handle = notification.only(bits)?;
        let reply = self.call_handle(label, [bits, 0, 0, 0], &mut [], handle);
        // The server has its own. This one can fail to be closed only where another thread has closed it.
        let _ = close(handle.number);
        reply
    }

    /// Asks for a handle of this kind, which may come with the reply; from all other calls the kernel keeps handles away.
    ///
    /// # Errors
    /// As [`Endpoint::call_with`].
    pub fn call_for(
        self,
        wanted: Kind,
        label: u16,
        words: [u64; 4],
        loans: &mut [Loan<'_>],
    ) -> Result<Reply, CallError> {
        self.call_full(Header::new(label).wanting(wanted), words, loans, 0)
    }

    /// As [`Endpoint::call_with`], asking again while the server dies over the request, [`MAX_TRIES`] times in all. The
    /// kernel holds each new request until the server's next life receives it, so there is nothing to wait for between two tries.
    ///
    /// Only for requests that may be done twice, or that carry a sequence number by which the next life knows them again.
    ///
    /// # Errors
    /// As [`Endpoint::call_with`]; `Died` where the last try ended so.
    pub fn call_retrying(self, label: u16, words: [u64; 4], loans: &mut [Loan<'_>]) -> Result<Reply, CallError> {
        retrying(|| self.call_with(label, words, loans))
    }

    pub(crate) fn call_full(
        self,
        header: Header,
        words: [u64; 4],
        loans: &mut [Loan<'_>],
        transfer: u64,
    ) -> Result<Reply, CallError> {
        let mut leases = [Lease::default(); MAX_LEASES];
        let leases = leases_of(loans, &mut leases).ok_or(CallError::Failed(Status::BadArgument))?;
        // SAFETY: the leases were made from borrows that `loans` holds, for the same access, until after the call.
        unsafe { self.call_leased(header, words, leases, transfer) }
    }

    /// As [`Endpoint::call_full`], of leases.
    ///
    /// # Safety
    /// Each lease is of memory that the caller has borrowed for that access until this returns.
    #[inline]
    pub(crate) unsafe fn call_leased(
        self,
        header: Header,
        words: [u64; 4],
        leases: &[Lease],
        transfer: u64,
    ) -> Result<Reply, CallError> {
        #[cfg(not(target_os = "none"))]
        if let Some(result) = crate::fake::peer::answer(self, header, words, leases, transfer) {
            return result;
        }
        // SAFETY: as the caller's.
        match unsafe { syscall::call_leased(self.0, header, words, leases, transfer) } {
            Ok(message) => Ok(reply_of(message)),
            Err(failure) => Err(call_error(failure)),
        }
    }

    /// Sends without waiting: it arrives only if the receiver waits now.
    ///
    /// # Errors
    /// [`Status::WouldBlock`] where nobody waits, and those of [`abi::Syscall::Send`].
    #[inline]
    pub fn send(self, label: u16, words: [u64; 4]) -> Result<(), Status> {
        syscall::send(self.0, Header::new(label), words, 0)
    }

    /// Says which handles requests may bring: none, unless this was called. The kernel refuses others to their senders. A [`crate::Driver`]
    /// says so by [`TAKES`](crate::Driver::TAKES) instead.
    ///
    /// # Errors
    /// Those of [`abi::Syscall::EndpointTakes`].
    pub fn takes(self, kinds: Kinds) -> Result<(), Status> {
        syscall::endpoint_takes(self.0, kinds)
    }

    /// Binds a notification, so that [`Endpoint::receive`] returns its bits as well.
    ///
    /// # Errors
    /// Those of [`abi::Syscall::EndpointBind`].
    pub fn bind(self, notification: Notification) -> Result<(), Status> {
        syscall::endpoint_bind(self.0, notification.0)
    }

    /// Waits for a request or for one of the bits in `mask` of the bound notification. Drivers have [`crate::serve`] for this.
    ///
    /// # Errors
    /// Those of [`abi::Syscall::Recv`].
    pub fn receive(self, mask: u64) -> Result<Event, Status> {
        syscall::recv(self.0, mask).map(Event::from)
    }

    /// A second handle with the same or fewer rights, and a badge that tells the server who uses it.
    ///
    /// # Errors
    /// Those of [`abi::Syscall::HandleDup`].
    pub fn duplicate(self, rights: Rights, badge: u32) -> Result<Endpoint, Status> {
        syscall::handle_dup(self.0, rights, badge.into()).map(Endpoint)
    }
}

#[inline(always)]
pub(crate) fn reply_of(message: syscall::Message) -> Reply {
    let lost = message.header.0 & (Header::HANDLE_LOST | Header::HANDLE_REFUSED) != 0;
    Reply { label: message.header.label(), words: message.words, handle: message.handle(), lost }
}

/// The loans as leases.
#[inline]
fn leases_of<'a>(loans: &mut [Loan<'_>], leases: &'a mut [Lease; MAX_LEASES]) -> Option<&'a [Lease]> {
    let leases = leases.get_mut(..loans.len())?;
    for (lease, loan) in leases.iter_mut().zip(loans) {
        *lease = loan.lease()?;
    }
    Some(leases)
}

/// Repeats `ask` while the server dies over it, [`MAX_TRIES`] times in all.
fn retrying<T>(mut ask: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    for _ in 1..MAX_TRIES {
        match ask() {
            Err(CallError::Died { .. }) => {}
            result => return result,
        }
    }
    ask()
}

/// Gives a handle up: one that came with a message and is not needed (any more).
///
/// # Errors
/// Those of [`abi::Syscall::HandleClose`].
pub fn close(handle: u32) -> Result<(), Status> {
    syscall::handle_close(handle)
}

#[cfg(test)]
mod tests;
