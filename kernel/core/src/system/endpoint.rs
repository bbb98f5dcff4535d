//! Endpoints: where they come from and how they end. What is sent to them is [`super::ipc`].

use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::handles::{Handle, NewHandle, Object};
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::system::System;
use crate::thread::ThreadIndex;
use abi::Status;
use abi::message::{Kinds, Rights};

impl System {
    /// The endpoint and badge of a handle that must have this right. Errors: BadHandle, WrongKind,
    /// NoRights.
    #[inline]
    pub fn endpoint_handle(
        &self,
        thread: ThreadIndex,
        number: HandleNumber,
        right: Rights,
    ) -> Result<(Id<Endpoint>, u32), Status> {
        let handle = self.handle(thread, number)?;
        let Object::Endpoint(id) = handle.object else { return Err(Status::WrongKind) };
        if !handle.rights.contains(right) {
            return Err(Status::NoRights);
        }
        Ok((id, handle.badge))
    }

    /// Makes an endpoint for a thread's task, and returns its handle. Errors: QuotaObjects,
    /// QuotaHandles.
    pub fn endpoint_create(&mut self, thread: ThreadIndex) -> Result<NewHandle, Status> {
        let row = self.row_of(thread)?;
        let task = self.tasks.get_mut(row)?;
        if !task.handles.has_room() {
            return Err(Status::QuotaHandles);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let endpoint = Endpoint {
            owner: row,
            permanent: false,
            senders: Queue::default(),
            receivers: Queue::default(),
            takes: Kinds::empty(),
            served: true,
            bound: None,
            bits: 0,
            handles: 1,
        };
        let Some(id) = self.endpoints.insert(endpoint) else {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        };
        task.made += 1;
        let rights = Rights::CALL | Rights::RECV | Rights::GRANT;
        task.handles.insert(Handle::new(Object::Endpoint(id), rights))
    }

    /// Frees an endpoint: all threads that wait there get an error.
    pub(crate) fn endpoint_destroy(&mut self, id: Id<Endpoint>) {
        while self.endpoint_drain(id) {}
        if let Some(e) = self.endpoints.remove(id) {
            if let Some(n) = e.bound.and_then(|n| self.notifications.get_mut(n)) {
                n.bind(None);
            }
            if let Some(task) = self.tasks.at_mut(e.owner) {
                task.objects.give(1);
                task.made -= 1;
            }
        }
    }
}
