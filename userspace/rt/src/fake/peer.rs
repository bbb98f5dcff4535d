//! Fake servers that run on the calling thread, for blocking clients on the host.

use crate::driver::Answer;
use crate::ipc::{CallError, Endpoint, Handle, Reply, Request};
use abi::message::{Header, Lease, ReplyToken, Sender};
use abi::{Status, TaskId};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::RefCell;

/// A server that answers blocking calls to an endpoint on the calling thread.
pub type FakePeer = Box<dyn FnMut(&Request) -> Result<Answer, CallError>>;

#[derive(Default)]
struct Peers {
    peers: BTreeMap<u32, FakePeer>,
    /// The calls in progress, and what they lend.
    calls: Vec<(ReplyToken, Vec<Lease>)>,
    last: u64,
}

std::thread_local!(static PEERS: RefCell<Peers> = RefCell::default());

/// The sender of calls to a [`FakePeer`].
pub const FAKE_CLIENT: TaskId = TaskId { index: 5, generation: 1 };

/// Makes `peer` answer the blocking calls of this thread to this endpoint. A deferred reply never
/// comes: the call fails.
pub fn fake_peer(endpoint: Endpoint, peer: impl FnMut(&Request) -> Result<Answer, CallError> + 'static) {
    PEERS.with_borrow_mut(|peers| peers.peers.insert(endpoint.0, Box::new(peer)));
}

/// The answer of the peer at this endpoint, if there is one.
pub(crate) fn answer(
    endpoint: Endpoint,
    header: Header,
    words: [u64; 4],
    leases: &[Lease],
    transfer: u64,
) -> Option<Result<Reply, CallError>> {
    let (mut peer, token) = PEERS.with_borrow_mut(|peers| {
        let peer = peers.peers.remove(&endpoint.0)?;
        peers.last += 1;
        let token = ReplyToken::new(5, peers.last);
        peers.calls.push((token, leases.to_vec()));
        Some((peer, token))
    })?;
    let handle = header.handle().map(|kind| Handle::unpack(kind, transfer));
    let sender = Sender { task: FAKE_CLIENT, badge: 0 };
    let (label, wants) = (header.label(), header.wants());
    let request = Request { sender, label, words, leases: leases.len(), wants, handle, token };
    let answered = peer(&request);
    PEERS.with_borrow_mut(|peers| {
        peers.peers.insert(endpoint.0, peer);
        peers.calls.retain(|call| call.0 != token);
    });
    Some(match answered {
        Ok(Answer::Reply(label, words)) => Ok(Reply { label, words, handle: None, lost: false }),
        Ok(Answer::ReplyHandle(label, words, handle)) => {
            let comes = header.wants() == Some(handle.kind);
            Ok(Reply { label, words, handle: comes.then_some(handle), lost: !comes })
        }
        Ok(Answer::Deferred) => Err(CallError::Failed(Status::WouldBlock)),
        Err(error) => Err(error),
    })
}

/// A lease of a call in progress.
pub(crate) fn lease(token: ReplyToken, lease: usize) -> Option<Lease> {
    PEERS.with_borrow(|peers| peers.calls.iter().find(|call| call.0 == token)?.1.get(lease).copied())
}

fn part(
    token: ReplyToken,
    number: usize,
    offset: usize,
    len: usize,
    access: u32,
) -> Option<Result<(u64, usize), Status>> {
    let lease = lease(token, number)?;
    let Some(rest) = (lease.len as usize).checked_sub(offset).filter(|_| lease.access & access != 0) else {
        return Some(Err(Status::LeaseBounds));
    };
    Some(Ok((lease.addr + offset as u64, rest.min(len))))
}

pub(crate) fn lease_read(
    token: ReplyToken,
    lease: usize,
    offset: usize,
    buf: &mut [u8],
) -> Option<Result<usize, Status>> {
    let part = part(token, lease, offset, buf.len(), Lease::READ)?;
    Some(part.map(|(from, len)| {
        // SAFETY: the lease belongs to a call in progress on this thread, which borrows the memory
        // until it returns; `part` stays within it.
        unsafe { core::ptr::copy_nonoverlapping(from as *const u8, buf.as_mut_ptr(), len) };
        len
    }))
}

pub(crate) fn lease_write(token: ReplyToken, lease: usize, offset: usize, buf: &[u8]) -> Option<Result<usize, Status>> {
    let part = part(token, lease, offset, buf.len(), Lease::WRITE)?;
    Some(part.map(|(to, len)| {
        // SAFETY: the lease belongs to a call in progress on this thread, which borrows the memory
        // for writing until it returns; `part` stays within it.
        unsafe { core::ptr::copy_nonoverlapping(buf.as_ptr(), to as *mut u8, len) };
        len
    }))
}
