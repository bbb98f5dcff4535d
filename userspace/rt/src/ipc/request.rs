//! The server's side of messages: received requests, and access to the memory that is lent with
//! them.

use super::{Handle, Kind};
use crate::syscall;
use abi::message::{Header, MAX_COPY, ReplyToken, Sender};
use abi::{Status, TaskId};
use core::ops::Range;

/// The result of [`Endpoint::receive`](super::Endpoint::receive).
#[derive(Debug)]
pub enum Event {
    /// Bits of the bound notification, which are taken.
    Notified(u64),
    /// A call, or a sent message.
    Request(Request),
}

impl From<syscall::Received> for Event {
    #[inline]
    fn from(received: syscall::Received) -> Self {
        let syscall::Received { sender, token, message } = received;
        if message.header.is_notification() {
            let [bits, ..] = message.words;
            return Event::Notified(bits);
        }
        Event::Request(Request {
            sender,
            label: message.header.label(),
            words: message.words,
            leases: message.header.leases(),
            wants: message.header.wants(),
            handle: message.handle(),
            token,
        })
    }
}

/// A received call, or a sent message, whose token is [`ReplyToken::NONE`].
#[derive(Debug)]
pub struct Request {
    /// The sender, as the kernel guarantees.
    pub sender: Sender,
    /// The label, which names the operation.
    pub label: u16,
    /// The data words.
    pub words: [u64; 4],
    /// The number of leases.
    pub leases: usize,
    /// The kind of the handle that the reply may bring, if any. The caller does not get others.
    pub wants: Option<Kind>,
    /// The handle that the request brought, which now belongs to the receiver, to keep or to
    /// [`close`](super::close).
    pub handle: Option<Handle>,
    /// The token for the reply.
    pub token: ReplyToken,
}

impl Request {
    /// The sending task.
    pub fn task(&self) -> TaskId {
        self.sender.task
    }

    /// The length of a lease in bytes.
    ///
    /// # Errors
    /// [`Status::LeaseBounds`] if there is no lease of this number, [`Status::StaleReply`] if the
    /// caller no longer waits.
    pub fn lease_len(&self, lease: usize) -> Result<usize, Status> {
        lease_len(self.token, lease)
    }

    /// Copies from a lease, from `offset` on, until `buf` is full or the lease ends; returns the
    /// number of bytes.
    ///
    /// # Errors
    /// [`Status::LeaseBounds`] (no such lease, no read access, or `offset` beyond its end),
    /// [`Status::LeaseFault`], [`Status::StaleReply`].
    pub fn read(&self, lease: usize, offset: usize, buf: &mut [u8]) -> Result<usize, Status> {
        read(self.token, lease, offset, buf)
    }

    /// Copies to a lease, from `offset` on, until all of `buf` is copied or the lease ends; returns
    /// the number of bytes.
    ///
    /// # Errors
    /// [`Status::LeaseBounds`] (no such lease, no write access, or `offset` beyond its end),
    /// [`Status::LeaseFault`], [`Status::StaleReply`].
    pub fn write(&self, lease: usize, offset: usize, buf: &[u8]) -> Result<usize, Status> {
        write(self.token, lease, offset, buf)
    }

    /// The right to answer later. Code that takes it must return [`crate::Answer::Deferred`].
    pub fn pending(&self) -> Pending {
        Pending { token: self.token }
    }
}

/// The right to answer one call later. Its caller waits until then.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the caller waits for the reply"]
pub struct Pending {
    /// The token for the reply.
    pub token: ReplyToken,
}

impl Pending {
    /// Answers the call.
    ///
    /// # Errors
    /// [`Status::StaleReply`] if the caller no longer waits.
    pub fn reply(self, label: u16, words: [u64; 4]) -> Result<(), Status> {
        syscall::reply(self.token, Header::new(label), words, 0)
    }

    /// Answers the call and sends a handle, which the caller gets if it asked for one of its kind
    /// and has room for it.
    ///
    /// # Errors
    /// [`Status::StaleReply`] if the caller no longer waits, [`Status::BadHandle`],
    /// [`Status::WrongKind`], [`Status::NoRights`].
    pub fn reply_handle(self, label: u16, words: [u64; 4], handle: Handle) -> Result<(), Status> {
        syscall::reply(self.token, Header::new(label).with_handle(handle.kind), words, handle.pack())
    }

    /// The length of a lease in bytes.
    ///
    /// # Errors
    /// The errors of [`Request::lease_len`].
    pub fn lease_len(&self, lease: usize) -> Result<usize, Status> {
        lease_len(self.token, lease)
    }

    /// Copies from a lease, from `offset` on, until `buf` is full or the lease ends; returns the
    /// number of bytes.
    ///
    /// # Errors
    /// The errors of [`Request::read`].
    pub fn read(&self, lease: usize, offset: usize, buf: &mut [u8]) -> Result<usize, Status> {
        read(self.token, lease, offset, buf)
    }

    /// Copies to a lease, from `offset` on, until all of `buf` is copied or the lease ends; returns
    /// the number of bytes.
    ///
    /// # Errors
    /// The errors of [`Request::write`].
    pub fn write(&self, lease: usize, offset: usize, buf: &[u8]) -> Result<usize, Status> {
        write(self.token, lease, offset, buf)
    }

    /// Copies all of `buf` to a lease.
    ///
    /// # Errors
    /// The errors of [`Request::write`]; also [`Status::LeaseBounds`] if the lease ends before all
    /// is copied.
    pub fn write_all(&self, lease: usize, offset: usize, buf: &[u8]) -> Result<(), Status> {
        if self.write(lease, offset, buf)? == buf.len() { Ok(()) } else { Err(Status::LeaseBounds) }
    }
}

fn lease_len(token: ReplyToken, lease: usize) -> Result<usize, Status> {
    lease_info(token, lease).map(|(len, _)| len)
}

/// The length in bytes and the access of a lease.
pub(crate) fn lease_info(token: ReplyToken, lease: usize) -> Result<(usize, u32), Status> {
    #[cfg(not(target_os = "none"))]
    if let Some(lease) = crate::fake::peer::lease(token, lease) {
        return Ok((lease.len as usize, lease.access));
    }
    syscall::lease_info(token, lease)
}

pub(crate) fn read(token: ReplyToken, lease: usize, offset: usize, buf: &mut [u8]) -> Result<usize, Status> {
    #[cfg(not(target_os = "none"))]
    if let Some(copied) = crate::fake::peer::lease_read(token, lease, offset, buf) {
        return copied;
    }
    in_pieces(buf.len(), |piece| {
        let at = offset.saturating_add(piece.start);
        buf.get_mut(piece).map_or(Ok(0), |part| syscall::lease_read(token, lease, at, part))
    })
}

fn write(token: ReplyToken, lease: usize, offset: usize, buf: &[u8]) -> Result<usize, Status> {
    #[cfg(not(target_os = "none"))]
    if let Some(copied) = crate::fake::peer::lease_write(token, lease, offset, buf) {
        return copied;
    }
    in_pieces(buf.len(), |piece| {
        let at = offset.saturating_add(piece.start);
        buf.get(piece).map_or(Ok(0), |part| syscall::lease_write(token, lease, at, part))
    })
}

/// Copies `total` bytes in pieces of at most [`MAX_COPY`], until a piece is copied only in part
/// because the lease ends there. Returns the number of bytes.
pub(super) fn in_pieces(
    total: usize,
    mut copy: impl FnMut(Range<usize>) -> Result<usize, Status>,
) -> Result<usize, Status> {
    let mut done = 0;
    while done < total {
        let piece = (total - done).min(MAX_COPY);
        let copied = copy(done..done + piece)?;
        done += copied;
        if copied < piece {
            break;
        }
    }
    Ok(done)
}
