//! Notifications: a word of 64 bits that holders of handles set, and for which a thread waits.

use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::queue::Queue;
use crate::row::Row;

/// A notification: a word of bits, and the thread that waits for them.
#[repr(C)]
#[derive(Debug)]
pub struct Notification {
    /// The bits that are set and not taken. The bound endpoint has a copy, which changes with them.
    pub word: u64,
    /// The thread in `wait`, at most one, in a queue of its own.
    pub waiter: Queue,
    /// The row that made the notification, or to which the task table gives it.
    pub owner: Row,
    /// Whether the notification belongs to the row over all lives.
    pub permanent: bool,
    /// The endpoint whose `recv` returns the bits, too.
    pub bound_to: Option<Id<Endpoint>>,
    /// The [`Id::place`] of `bound_to`; [`u32::MAX`] if there is none.
    pub(crate) bound_place: u32,
    /// The number of handles that name the notification.
    pub handles: u32,
}

impl Notification {
    /// Sets or clears the endpoint to which the notification is bound.
    pub(crate) fn bind(&mut self, endpoint: Option<Id<Endpoint>>) {
        self.bound_to = endpoint;
        self.bound_place = endpoint.map_or(u32::MAX, Id::place);
    }

    /// A notification without bits or a waiting thread.
    pub fn new(owner: Row, permanent: bool) -> Self {
        Notification {
            word: 0,
            waiter: Queue::default(),
            owner,
            permanent,
            bound_to: None,
            bound_place: u32::MAX,
            handles: u32::from(!permanent),
        }
    }
}
