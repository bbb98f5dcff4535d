//! The whole state of the kernel's logic, and the operations on handles.

pub mod alter;
mod charge;
#[cfg(any(test, feature = "verify"))]
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "only tests have it, and a kernel that checks itself and stops where something is wrong"
)]
pub mod check;
mod deadline;
pub mod debug;
pub mod direct;
mod endpoint;
mod interrupt;
pub mod ipc;
mod lifecycle;
mod log;
mod memory;
mod notify;
mod period;
mod quotas;
pub mod release;
pub mod sched;
mod step;
mod timer;
mod view;
pub use view::Entering;

use crate::arena::{Arena, Id};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::frames::{Chain, Frames};
use crate::handles::{Handle, NewHandle, Object};
use crate::lines::Lines;
use crate::memory::{Mapping, Memory};
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::row::{Row, RowSet};
use crate::sched::Scheduler;
use crate::task::{Task, Tasks};
use crate::thread::{FloatState, Thread, ThreadIndex};
use crate::timer::Timers;
use abi::Status;
use abi::manifest::TaskRecord;
use abi::message::{Kinds, Rights, bits};
#[cfg(test)]
use alloc::vec::Vec;

/// Counters for statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Interrupts that were delivered.
    pub interrupts: u64,
    /// Spurious interrupts.
    pub spurious: u64,
    /// Changes of the running thread.
    pub switches: u64,
    /// Cycles in which the processor was halted.
    pub idle: u64,
    /// Cycles from the entry of the kernel to the first task, without those spent waiting for the
    /// timer chip.
    pub boot: u64,
}

/// The most threads that one call of [`System::handle_leave`] wakes.
pub(crate) const WAKES: u32 = 32;

/// The state of the kernel's logic.
pub struct System {
    /// The task table.
    pub(crate) tasks: Tasks,
    /// All threads.
    pub(crate) threads: Arena<Thread>,
    /// The floating-point registers of the threads that have some.
    pub(crate) floats: Arena<FloatState>,
    /// All endpoints.
    pub(crate) endpoints: Arena<Endpoint>,
    /// All notifications.
    pub(crate) notifications: Arena<Notification>,
    /// All memory objects.
    pub(crate) memories: Arena<Memory>,
    /// All timers.
    pub(crate) timers: Timers,
    /// The scheduler: ready queues, and each task's processor time.
    pub(crate) sched: Scheduler,
    /// The owners of the interrupt lines.
    pub(crate) lines: Lines,
    /// The table of all frames.
    pub(crate) frames: Frames,
    /// Frames of memory objects that nothing refers to any more. They are freed in small steps.
    pub(crate) garbage: Chain,
    /// The clock that converts cycles to nanoseconds.
    pub(crate) clock: Clock,
    /// The time-stamp counter when the kernel was last entered, or last read the counter.
    pub(crate) now: u64,
    /// The number of dead lives whose release is not done yet: see [`crate::system::release`].
    pub(crate) releasing: u32,
    /// Counters for statistics.
    pub(crate) counters: Counters,
    /// The highest call number of any thread that has ended, times 65,536. The calls of a new
    /// thread are numbered from there on, so a reply token never names a call of another thread
    /// that had the same slot.
    pub(crate) calls: u64,
    /// The row of the task with the right `control`, which spawns and kills tasks.
    pub(crate) controller: Option<Row>,
    /// The rows of the tasks that read logs.
    pub(crate) log_readers: RowSet,
    /// The rows of log readers that have not been signalled about the text of a thread that has
    /// died since.
    pub(crate) untold: RowSet,
    /// The rows of log readers that have read, or begun a life, since they were last signalled that
    /// there is text.
    pub(crate) log_listeners: RowSet,
}

/// The quotas of handles and objects that a row has when none may exceed `most`. Those of the task
/// with control are not lowered, since nothing runs without it.
fn lowered(r: &TaskRecord, most: u16) -> (u16, u16) {
    let most = if r.flags & TaskRecord::CONTROL != 0 { u16::MAX } else { most };
    (r.handle_quota.min(most), r.object_quota.min(most))
}

/// The largest quota of handles and objects for which the tables of all tasks fit into `bytes`
/// bytes of heap.
pub fn most_that_fits(records: &[TaskRecord], bytes: u64) -> u16 {
    if heap_needed(records, u16::MAX) <= bytes {
        return u16::MAX;
    }
    let (mut fits, mut too_much) = (0, u16::MAX);
    while too_much - fits > 1 {
        let most = fits + (too_much - fits) / 2;
        if heap_needed(records, most) <= bytes { fits = most } else { too_much = most }
    }
    fits
}

/// Bytes of heap that [`System::new`] may need for a task table whose quotas are limited to `most`.
/// A buddy allocator rounds blocks up to a power of two and aligns them to their size, so this is
/// four times the size of the tables.
pub fn heap_needed(records: &[TaskRecord], most: u16) -> u64 {
    let (rows, mut objects, mut handles, mut floats) = (records.len() as u64, 0, 0, 0);
    for r in records {
        let (own_handles, own_objects) = lowered(r, most);
        handles += u64::from(own_handles);
        objects += u64::from(own_objects);
        if r.flags & TaskRecord::FLOAT != 0 {
            floats += u64::from(own_objects);
        }
    }
    let object = size_of::<Thread>() + size_of::<Endpoint>() + size_of::<Notification>() + size_of::<Mapping>();
    // Each slot of an arena has a few words more. A timer and its place in the heap of timers are
    // smaller than all of these together.
    const SLOT: usize = 64;
    let tables = (objects + rows) * (object + 4 * SLOT) as u64
        + floats * (size_of::<FloatState>() + SLOT) as u64
        + (handles + 8 * rows) * (size_of::<Memory>() + 2 * SLOT) as u64
        + rows * size_of::<Task>() as u64;
    4 * tables
}

impl System {
    /// The state for a task table, in which nothing runs yet.
    pub fn new(records: &[TaskRecord], frames: Frames, clock: Clock) -> Self {
        Self::with_most(records, u16::MAX, frames, clock)
    }

    /// The state for a task table, with at most `most` handles and objects for each task. Every
    /// arena has room for the sum of all quotas, so no task can use up another's share.
    #[inline(never)]
    pub fn with_most(records: &[TaskRecord], most: u16, frames: Frames, clock: Clock) -> Self {
        let rows = records.len() as u32;
        let (mut objects, mut handles, mut floats) = (0, 0, 0);
        for r in records {
            let (handle_quota, object_quota) = lowered(r, most);
            handles += u32::from(handle_quota);
            objects += u32::from(object_quota);
            if r.flags & TaskRecord::FLOAT != 0 {
                floats += u32::from(object_quota);
            }
        }
        let tasks = Tasks::new(records.iter().map(|r| {
            let (handle_quota, object_quota) = lowered(r, most);
            TaskRecord { handle_quota, object_quota, ..*r }
        }));
        let room = |n: u32| n.min(u32::from(u16::MAX) - 1) as u16;
        let mut system = System {
            tasks,
            threads: Arena::new(room(objects)),
            floats: Arena::new(room(floats)),
            endpoints: Arena::new(room(objects + rows)),
            notifications: Arena::new(room(objects + rows)),
            memories: Arena::new(room(handles + 8 * rows)),
            timers: Timers::new(room(objects), records.iter().map(|r| lowered(r, most).1)),
            sched: Scheduler::new(&clock, records.len()),
            lines: Lines::default(),
            frames,
            garbage: Chain::default(),
            clock,
            now: 0,
            releasing: 0,
            counters: Counters::default(),
            calls: 0,
            controller: None,
            log_readers: RowSet::EMPTY,
            untold: RowSet::EMPTY,
            log_listeners: RowSet::EMPTY,
        };
        for (row, record) in records.iter().enumerate() {
            let row = Row::new(row as u16);
            let notification = system.notifications.insert(Notification::new(row, true));
            let endpoint = Endpoint {
                owner: row,
                permanent: true,
                senders: Queue::default(),
                receivers: Queue::default(),
                takes: Kinds::empty(),
                served: false,
                bound: notification,
                bits: 0,
                handles: 0,
            };
            let endpoint = system.endpoints.insert(endpoint);
            if let Some(n) = notification.and_then(|n| system.notifications.get_mut(n)) {
                n.bind(endpoint);
            }
            if let Ok(task) = system.task_mut(row) {
                (task.endpoint, task.notification) = (endpoint, notification);
            }
            if record.flags & TaskRecord::CONTROL != 0 {
                system.controller = Some(row);
            }
            if record.flags & TaskRecord::LOGS != 0 {
                system.log_readers.insert(row);
            }
        }
        system
    }

    /// The size in bytes of each heap block that [`System::new`] allocated.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> Vec<usize> {
        let mut blocks = alloc::vec![
            self.tasks.bytes(),
            self.threads.bytes(),
            self.floats.bytes(),
            self.endpoints.bytes(),
            self.notifications.bytes(),
            self.memories.bytes(),
        ];
        blocks.extend(self.timers.blocks());
        for task in self.tasks.iter() {
            blocks.extend([task.handles.bytes(), task.mappings.bytes()]);
        }
        blocks
    }

    /// The index of the running thread.
    #[inline]
    pub fn current(&self) -> Option<ThreadIndex> {
        self.sched.current()
    }

    /// The running thread.
    #[inline(always)]
    pub fn running(&self) -> Option<&Thread> {
        self.threads.at(self.sched.current)
    }

    /// The running thread, mutable.
    #[inline]
    pub fn running_mut(&mut self) -> Option<&mut Thread> {
        self.threads.at_mut(self.sched.current)
    }

    /// The thread with this index, which the caller knows to be alive: indices come from queues and
    /// the scheduler, which let go of a thread before it is removed.
    #[inline]
    pub fn thread(&self, index: ThreadIndex) -> Option<&Thread> {
        self.threads.at(index)
    }

    /// The thread with this index, mutable, which the caller knows to be alive.
    #[inline]
    pub fn thread_mut(&mut self, index: ThreadIndex) -> Option<&mut Thread> {
        self.threads.at_mut(index)
    }

    /// The task in a row. Errors: NoSuchTask.
    #[inline(always)]
    pub fn task(&self, row: Row) -> Result<&Task, Status> {
        self.tasks.get(row)
    }

    /// The task in a row, mutable. Errors: NoSuchTask.
    #[inline(always)]
    pub fn task_mut(&mut self, row: Row) -> Result<&mut Task, Status> {
        self.tasks.get_mut(row)
    }

    /// The row of a thread's task. Errors: BadHandle (there is no such thread).
    #[inline]
    pub fn row_of(&self, thread: ThreadIndex) -> Result<Row, Status> {
        self.threads.at(thread).map(|t| t.task).ok_or(Status::BadHandle)
    }

    /// The handle with this number of a thread's task. Errors: BadHandle.
    #[inline(never)]
    pub fn handle(&self, thread: ThreadIndex, number: HandleNumber) -> Result<Handle, Status> {
        let row = self.row_of(thread)?;
        self.task(row)?.handles.get(number)
    }

    /// The notification of a handle that must have this right, and the bits that can be set through
    /// it. Errors: BadHandle, WrongKind, NoRights.
    #[inline]
    pub fn notification_handle(
        &self,
        thread: ThreadIndex,
        number: HandleNumber,
        right: Rights,
    ) -> Result<(Id<Notification>, u64), Status> {
        let handle = self.handle(thread, number)?;
        let Object::Notification(id) = handle.object else { return Err(Status::WrongKind) };
        if !handle.rights.contains(right) {
            return Err(Status::NoRights);
        }
        match self.notifications.get(id) {
            Some(n) if self.exists(n.owner, n.permanent) => Ok((id, handle.bits)),
            _ => Err(Status::BadHandle),
        }
    }

    /// Checks that a handle of the task of thread `thread` is the system handle with this right.
    /// Errors: BadHandle, WrongKind, NoRights.
    pub fn system_handle(&self, thread: ThreadIndex, number: HandleNumber, right: Rights) -> Result<(), Status> {
        self.system_right(self.threads.at(thread).ok_or(Status::BadHandle)?, number, right)
    }

    /// Checks that a handle of this thread's task is the system handle with this right. Errors:
    /// BadHandle, WrongKind, NoRights.
    #[inline(always)]
    pub fn system_right(&self, thread: &Thread, number: HandleNumber, right: Rights) -> Result<(), Status> {
        let handle = self.task(thread.task)?.handles.get(number)?;
        if handle.object != Object::System {
            return Err(Status::WrongKind);
        }
        if handle.rights.contains(right) { Ok(()) } else { Err(Status::NoRights) }
    }

    /// Adds a handle to a task's table, and counts it at its object. Errors: NoSuchTask,
    /// QuotaHandles, QuotaFrames, BadHandle (the object no longer exists).
    pub fn handle_insert(&mut self, row: Row, handle: Handle) -> Result<NewHandle, Status> {
        let task = self.task(row)?;
        if !task.handles.has_room() {
            return Err(Status::QuotaHandles);
        }
        match handle.object {
            Object::Endpoint(id) => self.endpoints.get_mut(id).ok_or(Status::BadHandle)?.handles += 1,
            Object::Notification(id) => self.notifications.get_mut(id).ok_or(Status::BadHandle)?.handles += 1,
            Object::Memory(id) => self.memory_hold(row, id)?,
            Object::Interrupt(_) | Object::Timer(_) | Object::Thread(_) | Object::System => {}
        }
        self.tasks.get_mut(row)?.handles.insert(handle)
    }

    /// Duplicates a handle. `limit` is the copy's badge (endpoint) or the bits that can be set
    /// through the copy (notification); 0 leaves both unchanged. Errors: BadHandle, NoRights,
    /// BadArgument, QuotaHandles, QuotaFrames.
    pub fn handle_dup(
        &mut self,
        thread: ThreadIndex,
        number: HandleNumber,
        rights: u64,
        limit: u64,
    ) -> Result<NewHandle, Status> {
        let row = self.row_of(thread)?;
        let mut copy = self.handle_derive(row, number, rights)?;
        match (limit, copy.object) {
            (0, _) => {}
            (badge, Object::Endpoint(_)) if copy.badge == 0 => {
                copy.badge = u32::try_from(badge).map_err(|_| Status::BadArgument)?;
            }
            (bits, Object::Notification(_)) => copy.bits &= bits,
            _ => return Err(Status::BadArgument),
        }
        self.handle_insert(row, copy)
    }

    /// The copy of a handle with at most these rights. The right to receive is never copied, as
    /// only one task serves an endpoint. The bits of a permanent notification that interrupts and
    /// the kernel set are not copied either, so that nobody else can set them. Errors: NoSuchTask,
    /// BadHandle, NoRights.
    pub(crate) fn handle_derive(&self, row: Row, number: HandleNumber, rights: u64) -> Result<Handle, Status> {
        let mut handle = self.task(row)?.handles.get(number)?;
        if !handle.rights.contains(Rights::GRANT) {
            return Err(Status::NoRights);
        }
        handle.rights &= Rights::from_bits_truncate(rights as u32) - Rights::RECV;
        if let Object::Notification(id) = handle.object
            && self.notifications.get(id).is_some_and(|n| n.permanent)
        {
            handle.bits &= bits::FREE_MASK;
        }
        Ok(handle)
    }

    /// Closes a handle, with as many steps as that takes. Errors: BadHandle, Busy.
    #[cfg(test)]
    pub(crate) fn handle_close(&mut self, thread: ThreadIndex, number: HandleNumber) -> Result<(), Status> {
        while !self.handle_leave(thread, number)? {}
        Ok(())
    }

    /// Does a step of closing a handle. When the last handle of an endpoint is closed, the endpoint
    /// is freed, after all threads that wait there have got an error: at most [`WAKES`] of them in
    /// one step. Returns false while some are left: the caller then calls again. Errors: BadHandle,
    /// Busy (a memory object that the task has mapped).
    pub fn handle_leave(&mut self, thread: ThreadIndex, number: HandleNumber) -> Result<bool, Status> {
        let row = self.row_of(thread)?;
        let task = self.tasks.get_mut(row)?;
        let handle = task.handles.get(number)?;
        if let Object::Memory(id) = handle.object
            && self.memories.get(id).is_some_and(|m| m.mappings != 0)
            && task.mappings.iter().any(|m| m.memory == id)
        {
            return Err(Status::Busy);
        }
        if let Object::Endpoint(id) = handle.object
            && self.endpoints.get(id).is_some_and(|e| !e.permanent && e.handles == 1)
            && (0..WAKES).all(|_| self.endpoint_drain(id))
        {
            return Ok(false);
        }
        let task = self.tasks.get_mut(row)?;
        task.handles.remove(number)?;
        if let Some(account) = self.sched.accounts.get_mut(row.index()) {
            account.note_closed();
        }
        self.handle_dropped(row, handle);
        Ok(true)
    }

    /// Updates the object of a handle that has been removed from its table: its count of handles,
    /// and its end with the last one.
    pub(crate) fn handle_dropped(&mut self, row: Row, handle: Handle) {
        match handle.object {
            Object::Endpoint(id) => {
                if let Some(e) = self.endpoints.get_mut(id) {
                    e.handles -= 1;
                    if e.handles == 0 && !e.permanent {
                        self.endpoint_destroy(id);
                    }
                }
            }
            Object::Notification(id) => {
                if let Some(n) = self.notifications.get_mut(id) {
                    n.handles -= 1;
                    if n.handles == 0 && !n.permanent {
                        self.notification_destroy(id);
                    }
                }
            }
            Object::Memory(id) => self.memory_drop(row, id),
            Object::Timer(id) => {
                if self.timers.destroy(id)
                    && let Some(task) = self.tasks.at_mut(row)
                {
                    task.objects.give(1);
                }
            }
            Object::Interrupt(_) | Object::Thread(_) | Object::System => {}
        }
    }

    /// Ends a blocked thread's system call with a status, and makes the thread ready. The thread
    /// must be in no queue.
    pub(crate) fn complete(&mut self, thread: ThreadIndex, status: Status) {
        if let Some(t) = self.threads.at_mut(thread) {
            t.frame.rax = status as u64;
        }
        self.make_ready(thread);
    }
}
