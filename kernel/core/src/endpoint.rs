//! Endpoints, at which servers receive and clients call. How messages go is in
//! [`crate::system::ipc`].

use crate::arena::Id;
use crate::notify::Notification;
use crate::queue::Queue;
use crate::row::Row;
use abi::message::Kinds;

/// An endpoint, at which servers receive the calls of clients.
#[repr(C)]
#[derive(Debug)]
pub struct Endpoint {
    /// Threads that wait in `recv`.
    pub receivers: Queue,
    /// Threads in calls that have not been received yet.
    pub senders: Queue,
    /// The row that made the endpoint, or to which the task table gives it.
    pub owner: Row,
    /// Whether the endpoint belongs to the row over all lives.
    pub permanent: bool,
    /// The kinds of handles that requests may bring.
    pub takes: Kinds,
    /// Whether a task has received here or has set `takes`. Until then calls wait, whatever they
    /// bring.
    pub served: bool,
    /// The notification whose bits `recv` returns as well.
    pub bound: Option<Id<Notification>>,
    /// A copy of the bound notification's word, which is kept equal to it; 0 where none is bound.
    pub(crate) bits: u64,
    /// The number of handles that name the endpoint.
    pub handles: u32,
}
