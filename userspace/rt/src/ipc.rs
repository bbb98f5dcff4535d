//! Messages: [`Endpoint`] for clients, [`Request`] and [`Pending`] for servers.

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

/// The most tries of [`Endpoint::call_retrying`].
pub const MAX_TRIES: usize = 16;

/// The handle of an endpoint. It is a plain number, and dropping it closes nothing: see [`close`].
///
/// [`protocol!`](crate::protocol) declares the requests to a peer, and makes a client for them.
/// Without it:
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

/// A handle that a message brings. For the sender: a handle of its own, which it keeps, and the
/// rights to pass on. For the receiver: a new handle, to keep or to [`close`], and the rights that
/// it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// The kind of object that the handle names.
    pub kind: Kind,
    /// The number of the handle.
    pub number: u32,
    /// The rights of the handle.
    pub rights: Rights,
}

impl Handle {
    /// A handle of a notification. Its receiver can set all bits that this handle can set:
    /// [`Notification::only`] makes a handle for fewer.
    pub const fn notification(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Notification, number, rights }
    }

    /// A handle of an endpoint.
    pub const fn endpoint(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Endpoint, number, rights }
    }

    /// A handle of a memory object.
    pub const fn memory(number: u32, rights: Rights) -> Handle {
        Handle { kind: Kind::Memory, number, rights }
    }

    /// The handle packed in a register of a message.
    pub const fn pack(self) -> u64 {
        pack_transfer(self.number, self.rights)
    }

    /// The handle from a register of a message whose header names this kind.
    #[inline(always)]
    pub const fn unpack(kind: Kind, packed: u64) -> Handle {
        Handle { kind, number: packed as u32, rights: Rights::from_bits_truncate((packed >> 32) as u32) }
    }
}

/// The reply to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The outcome, as client and server agree; by convention 0 for success.
    pub label: u16,
    /// The data words.
    pub words: [u64; 4],
    /// The handle that the reply brought, which now belongs to the caller.
    pub handle: Option<Handle>,
    /// Whether the server sent a handle that was not received, because the call did not ask for its
    /// kind or there was no room.
    pub lost: bool,
}

/// Memory that a call lends to the server until the call returns.
#[derive(Debug)]
pub enum Loan<'a> {
    /// The server may read the memory.
    Read(&'a [u8]),
    /// The server may write to the memory.
    Write(&'a mut [u8]),
    /// The server may read the memory and write to it.
    Both(&'a mut [u8]),
}

impl Loan<'_> {
    /// The lease for the kernel; `None` if the memory is 4 GiB or longer.
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

/// The reason why a call returned no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The server died after it had received the request; how much of it is done is unknown. The
    /// request may be repeated if the operation allows it.
    Died {
        /// The life of the server that ended.
        generation: u32,
    },
    /// The server is dead and will not be restarted.
    Gone,
    /// The kernel refused the call, with this status.
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
    /// The task's permanent endpoint, at which others call it.
    pub const fn own() -> Endpoint {
        Endpoint(abi::info::ENDPOINT)
    }

    /// The endpoint of a peer that the task may call; `None` if `system.toml` does not list it.
    pub fn peer(name: &str) -> Option<Endpoint> {
        crate::entry_named(GrantKind::Peer, name).map(|entry| Endpoint(entry.handle))
    }

    /// Makes an endpoint, which ends with the task.
    ///
    /// # Errors
    /// [`Status::QuotaObjects`], [`Status::QuotaHandles`].
    pub fn create() -> Result<Endpoint, Status> {
        syscall::endpoint_create().map(Endpoint)
    }

    /// Calls the endpoint and waits for the reply: four words in each direction, no memory, no
    /// handle.
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

    /// Calls the endpoint and lends memory: at most [`MAX_LEASES`] loans.
    ///
    /// # Errors
    /// See [`CallError`]; `Failed(BadArgument)` for too many loans, or one of 4 GiB or more.
    pub fn call_with(self, label: u16, words: [u64; 4], loans: &mut [Loan<'_>]) -> Result<Reply, CallError> {
        self.call_full(Header::new(label), words, loans, 0)
    }

    /// Calls the endpoint and sends a handle. The caller keeps its own.
    ///
    /// # Errors
    /// The errors of [`Endpoint::call_with`]; `Failed(HandleRefused)` if the server does not take
    /// handles of this kind.
    pub fn call_handle(
        self,
        label: u16,
        words: [u64; 4],
        loans: &mut [Loan<'_>],
        handle: Handle,
    ) -> Result<Reply, CallError> {
        self.call_full(Header::new(label).with_handle(handle.kind), words, loans, handle.pack())
    }

    /// Calls the endpoint with a handle by which the server can set `bits` of a notification, and
    /// no other bits; word 0 of the request is `bits`. Servers that keep
    /// [`crate::callers::Subscribers`] expect such a request.
    ///
    /// # Errors
    /// The errors of [`Endpoint::call_handle`] and [`Notification::only`].
    pub fn subscribe(self, label: u16, notification: Notification, bits: u64) -> Result<Reply, CallError> {
        let handle = notification.only(bits)?;
        let reply = self.call_handle(label, [bits, 0, 0, 0], &mut [], handle);
        // The server has a copy. Closing this handle can fail only if another thread has closed it.
        let _ = close(handle.number);
        reply
    }

    /// Calls the endpoint for a handle of this kind, which the reply may bring. The replies to
    /// other calls bring none.
    ///
    /// # Errors
    /// The errors of [`Endpoint::call_with`].
    pub fn call_for(
        self,
        wanted: Kind,
        label: u16,
        words: [u64; 4],
        loans: &mut [Loan<'_>],
    ) -> Result<Reply, CallError> {
        self.call_full(Header::new(label).wanting(wanted), words, loans, 0)
    }

    /// Calls the endpoint like [`Endpoint::call_with`], and repeats the call if the server dies
    /// over it, up to [`MAX_TRIES`] tries. The kernel queues each new request until the server's
    /// next life receives it, so no delay is needed between tries.
    ///
    /// Use it only for requests that may be done twice, or that have a sequence number by which the
    /// next life recognises them.
    ///
    /// # Errors
    /// The errors of [`Endpoint::call_with`]; `Died` if the server died over the last try, too.
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
        // SAFETY: the leases were made from borrows that `loans` holds, for the same access, until
        // after the call.
        unsafe { self.call_leased(header, words, leases, transfer) }
    }

    /// Calls the endpoint with leases, as [`Endpoint::call_full`] does with loans.
    ///
    /// # Safety
    /// The caller must have borrowed the memory of each lease, for its access, until this returns.
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
        // SAFETY: the caller's promise is the same.
        match unsafe { syscall::call_leased(self.0, header, words, leases, transfer) } {
            Ok(message) => Ok(reply_of(message)),
            Err(failure) => Err(call_error(failure)),
        }
    }

    /// Sends a message without waiting: it is delivered only if the receiver waits now.
    ///
    /// # Errors
    /// [`Status::WouldBlock`] if no receiver waits, and those of [`abi::Syscall::Send`].
    #[inline]
    pub fn send(self, label: u16, words: [u64; 4]) -> Result<(), Status> {
        syscall::send(self.0, Header::new(label), words, 0)
    }

    /// Sets which kinds of handles requests may bring; none at first. The kernel refuses other
    /// kinds to their senders. A [`crate::Driver`] sets [`TAKES`](crate::Driver::TAKES) instead.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::EndpointTakes`].
    pub fn takes(self, kinds: Kinds) -> Result<(), Status> {
        syscall::endpoint_takes(self.0, kinds)
    }

    /// Binds a notification, so that [`Endpoint::receive`] returns its bits, too.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::EndpointBind`].
    pub fn bind(self, notification: Notification) -> Result<(), Status> {
        syscall::endpoint_bind(self.0, notification.0)
    }

    /// Waits for a request, or for one of the bits in `mask` of the bound notification. Drivers use
    /// [`crate::serve`] instead.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::Recv`].
    pub fn receive(self, mask: u64) -> Result<Event, Status> {
        syscall::recv(self.0, mask).map(Event::from)
    }

    /// Duplicates the handle with the same or fewer rights, and with a badge that the server gets
    /// with each message.
    ///
    /// # Errors
    /// The errors of [`abi::Syscall::HandleDup`].
    pub fn duplicate(self, rights: Rights, badge: u32) -> Result<Endpoint, Status> {
        syscall::handle_dup(self.0, rights, badge.into()).map(Endpoint)
    }
}

#[inline(always)]
pub(crate) fn reply_of(message: syscall::Message) -> Reply {
    let lost = message.header.0 & (Header::HANDLE_LOST | Header::HANDLE_REFUSED) != 0;
    Reply { label: message.header.label(), words: message.words, handle: message.handle(), lost }
}

/// The leases for these loans; `None` if there are too many, or one is 4 GiB or longer.
#[inline]
fn leases_of<'a>(loans: &mut [Loan<'_>], leases: &'a mut [Lease; MAX_LEASES]) -> Option<&'a [Lease]> {
    let leases = leases.get_mut(..loans.len())?;
    for (lease, loan) in leases.iter_mut().zip(loans) {
        *lease = loan.lease()?;
    }
    Some(leases)
}

/// Repeats `ask` while the server dies over it, up to [`MAX_TRIES`] times.
fn retrying<T>(mut ask: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    for _ in 1..MAX_TRIES {
        match ask() {
            Err(CallError::Died { .. }) => {}
            result => return result,
        }
    }
    ask()
}

/// Closes a handle, such as one that a message brought and that is no longer needed.
///
/// # Errors
/// The errors of [`abi::Syscall::HandleClose`].
pub fn close(handle: u32) -> Result<(), Status> {
    syscall::handle_close(handle)
}

#[cfg(test)]
mod tests;
