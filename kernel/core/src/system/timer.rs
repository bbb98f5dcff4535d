//! The system calls of timers.

use crate::handles::{Handle, NewHandle, Object};
use crate::number::HandleNumber;
use crate::system::System;
use crate::thread::ThreadIndex;
use abi::Status;
use abi::message::Rights;

impl System {
    /// Makes a timer for a thread's task, which sets bit number `bit`, and returns its handle.
    /// Errors: BadHandle, WrongKind, NoRights, BadArgument (a bit above 59), QuotaObjects,
    /// QuotaHandles.
    pub fn timer_create(
        &mut self,
        thread: ThreadIndex,
        notification: HandleNumber,
        bit: u64,
    ) -> Result<NewHandle, Status> {
        let row = self.row_of(thread)?;
        let (notification, bits) = self.notification_handle(thread, notification, Rights::SIGNAL)?;
        if bit > 59 {
            return Err(Status::BadArgument);
        }
        if bits & 1 << bit == 0 {
            return Err(Status::NoRights);
        }
        let task = self.tasks.get_mut(row)?;
        if !task.handles.has_room() {
            return Err(Status::QuotaHandles);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let Some(id) = self.timers.create(row, notification, 1 << bit) else {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        };
        task.handles.insert(Handle::new(Object::Timer(id), Rights::MANAGE))
    }

    /// Arms a timer (`Some`: the deadline in nanoseconds since boot) or disarms it. Errors:
    /// BadHandle, WrongKind.
    pub fn timer_set(
        &mut self,
        thread: ThreadIndex,
        handle: HandleNumber,
        deadline: Option<u64>,
    ) -> Result<(), Status> {
        let Object::Timer(id) = self.handle(thread, handle)?.object else { return Err(Status::WrongKind) };
        let found = match deadline {
            Some(at) => self.timers.arm(id, at),
            None => self.timers.disarm(id),
        };
        if found { Ok(()) } else { Err(Status::BadHandle) }
    }
}
