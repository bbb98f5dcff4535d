//! Rows of the task table: what a task has, how far its start or its release has come, and the
//! table of all.

use crate::addr::{LifeSpace, PhysAddr, UserAddr};
use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::frames::Chain;
use crate::handles::HandleTable;
use crate::log::{Allowance, CONTROL_RING_SIZE, RING_SIZE, Ring};
use crate::mappings::Mappings;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::row::Row;
use crate::thread::Thread;
use abi::error::FaultRecord;
use abi::manifest::{GrantKind, TaskRecord};
use abi::task::TaskState;
use abi::{Status, TaskId};
use alloc::vec::Vec;
use zerocopy::FromZeros;

/// A quota: the amount used, and the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    used: u32,
    limit: u32,
}

impl Quota {
    /// A quota of `limit` of which nothing is used.
    pub const fn new(limit: u32) -> Self {
        Quota { used: 0, limit }
    }

    /// The amount used.
    pub const fn used(self) -> u32 {
        self.used
    }

    /// The most that may be used.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// Lowers the limit to `most`, if it is higher.
    pub(crate) fn lower(&mut self, most: u32) {
        self.limit = self.limit.min(most);
    }

    /// Takes `amount`; if that would exceed the limit, takes nothing and returns `error`.
    pub fn take(&mut self, amount: u32, error: Status) -> Result<(), Status> {
        match self.used.checked_add(amount) {
            Some(used) if used <= self.limit => {
                self.used = used;
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Gives back `amount`.
    pub fn give(&mut self, amount: u32) {
        self.used = self.used.saturating_sub(amount);
    }
}

/// The progress of the start of a life, which is done in steps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// What the next step does.
    pub phase: Phase,
    /// Physical address of the page that tells the task who it is (see [`abi::info`]).
    pub info: PhysAddr,
    /// The zeroed frames taken so far for the kept memory, which outlives the task.
    pub kept: Chain,
}

/// What the next step of the start of a life does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Fills a page of the program: the segment's number, and how many of its pages are done.
    Segment(u16, u64),
    /// Fills a page of the stack; the number tells how many are done.
    Stack(u32),
    /// Takes a frame for the kept memory, which outlives the task.
    Keep,
    /// Signals the tasks that may call the new life, from this row on.
    Announce(Row),
    /// Gives the task its handles and its first thread.
    Run,
}

impl Default for Phase {
    fn default() -> Self {
        Phase::Segment(0, 0)
    }
}

/// A row of the task table: the authority given by `system.toml`, and the current life.
pub struct Task {
    /// The row's record of the task table.
    pub(crate) record: TaskRecord,
    /// The state of the row: whether it has a life, and whether that is being started, runs or is
    /// over.
    pub(crate) state: TaskState,
    /// How far the release of the last life has come.
    pub(crate) release: Release,
    /// How far the start of the current life has come.
    pub(crate) start: Start,
    /// The generation, which is the number of the current life; 0 before the first.
    pub(crate) generation: u32,
    /// Whether another life is expected after the current one, or while there is none.
    pub(crate) expected: bool,
    /// Whether the row is disabled: it never starts, because its grants reach what is the kernel's.
    pub(crate) disabled: bool,
    /// Number of live threads.
    pub(crate) threads: u16,
    /// Number of endpoints and notifications that the life has made and that still exist.
    pub(crate) made: u16,
    /// The thread with which the life began.
    pub(crate) first_thread: Option<Id<Thread>>,
    /// The table of the task's handles.
    pub(crate) handles: HandleTable,
    /// The quota of frames: image, stack, page tables, memory objects.
    pub(crate) frames: Quota,
    /// The quota of kernel objects: threads, endpoints, notifications, mappings, timers.
    pub(crate) objects: Quota,
    /// The chain of the frames of image, stacks and page tables.
    pub(crate) chain: Chain,
    /// The address space of the life; none where there is no life, or it has no address space yet.
    pub(crate) space: LifeSpace,
    /// The row's permanent endpoint, which outlives the life.
    pub(crate) endpoint: Option<Id<Endpoint>>,
    /// The row's permanent notification, which outlives the life; its bits do not.
    pub(crate) notification: Option<Id<Notification>>,
    /// The kept memory of the row, which outlives the life.
    pub(crate) keep: Option<Id<Memory>>,
    /// The memory objects of the row's physical ranges, in the order of the task table.
    pub(crate) ranges: [Option<Id<Memory>>; GrantKind::Range.most()],
    /// The addresses at which memory objects are mapped.
    pub(crate) mappings: Mappings,
    /// The address for the next mapping that names none.
    pub(crate) map_next: UserAddr,
    /// The record of the row's last death; its kind is [`DeathKind::Alive`](abi::error::DeathKind)
    /// if there is none.
    pub(crate) fault: FaultRecord,
    /// The log ring, which holds the newest text of the row.
    pub(crate) log: Ring,
    /// How much the row may write to its log now; a new life continues with what the last one left.
    pub(crate) log_quota: Allowance,
    /// The time, in cycles, at which the heartbeat was sent that the task has not taken yet.
    pub(crate) heartbeat: Option<u64>,
    /// Notification bits of interrupt lines whose next interrupt is to be dropped for a debugger.
    pub(crate) lose: u64,
}

impl Task {
    /// A row without a life.
    pub fn new(record: TaskRecord) -> Self {
        Task {
            state: TaskState::Empty,
            release: Release::Done,
            start: Start::default(),
            generation: 0,
            expected: true,
            disabled: false,
            threads: 0,
            made: 0,
            first_thread: None,
            handles: HandleTable::new(record.handle_quota),
            frames: Quota::new(record.frame_quota),
            objects: Quota::new(u32::from(record.object_quota)),
            chain: Chain::default(),
            space: LifeSpace::NONE,
            endpoint: None,
            notification: None,
            keep: None,
            ranges: [None; GrantKind::Range.most()],
            // A mapping counts as an object.
            mappings: Mappings::new(record.object_quota),
            map_next: UserAddr::new(abi::task::MAP_BASE),
            fault: FaultRecord::new_zeroed(),
            log: Ring::new(match record.flags & TaskRecord::CONTROL {
                0 => RING_SIZE,
                _ => CONTROL_RING_SIZE,
            }),
            log_quota: Allowance::default(),
            heartbeat: None,
            lose: 0,
            record,
        }
    }

    /// Whether the row has a life, which runs or is being started.
    #[inline]
    pub fn is_alive(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Starting)
    }

    /// Whether this life of the row is being started.
    pub fn starts(&self, life: TaskId) -> bool {
        self.state == TaskState::Starting && self.generation == life.generation
    }

    /// The task's identifier in its current life. `row` is the row of this task.
    pub fn id(&self, row: Row) -> TaskId {
        TaskId { index: row.number(), generation: self.generation }
    }

    /// Whether the task may call `server`, whose priority must be a smaller number (more
    /// important).
    pub fn may_call(&self, server: &Task) -> bool {
        server.record.priority < self.record.priority
    }
}

/// How far the release of a dead life has come; the variants are in the order of the work. A number
/// is the index of the next slot to examine in one of the kernel's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// Releases the life's threads, and wakes threads of others that wait for its answer.
    Threads(u16),
    /// Releases the life's mappings, then its handles.
    Handles,
    /// Frees the endpoints that the life made.
    Endpoints(u16),
    /// Frees the notifications that the life made.
    Notifications(u16),
    /// Wakes the callers queued at the row's endpoint, if there will be no next life.
    Queue,
    /// The row has a life, or nothing of the last one is left except frames.
    #[default]
    Done,
}

/// The table of all tasks, by row: made at boot and never moved.
pub struct Tasks(Vec<Task>);

impl Tasks {
    /// A table with a task for each record, in this order; none has a life.
    pub(crate) fn new(records: impl ExactSizeIterator<Item = TaskRecord>) -> Self {
        let mut tasks = Vec::with_capacity(records.len());
        tasks.extend(records.map(Task::new));
        Tasks(tasks)
    }

    /// The task in a row; `None` if there is no such row.
    #[inline(always)]
    pub(crate) fn at(&self, row: Row) -> Option<&Task> {
        self.0.get(row.index())
    }

    /// The task in a row, mutable; `None` if there is no such row.
    #[inline(always)]
    pub(crate) fn at_mut(&mut self, row: Row) -> Option<&mut Task> {
        self.0.get_mut(row.index())
    }

    /// The task in a row. Errors: NoSuchTask.
    #[inline(always)]
    pub fn get(&self, row: Row) -> Result<&Task, Status> {
        self.at(row).ok_or(Status::NoSuchTask)
    }

    /// The task in a row, mutable. Errors: NoSuchTask.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, row: Row) -> Result<&mut Task, Status> {
        self.at_mut(row).ok_or(Status::NoSuchTask)
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Size of the table in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Task>()
    }

    /// All tasks, in the order of their rows.
    pub fn iter(&self) -> core::slice::Iter<'_, Task> {
        self.0.iter()
    }

    /// All tasks, in the order of their rows, mutable.
    pub(crate) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Task> {
        self.0.iter_mut()
    }

    /// The first row whose task meets the condition.
    pub(crate) fn find(&self, is_such: impl Fn(&Task) -> bool) -> Option<Row> {
        self.0.iter().position(is_such).map(|row| Row::new(row as u16))
    }

    /// All rows, in ascending order.
    #[cfg(any(test, feature = "verify"))]
    pub fn rows(&self) -> impl Iterator<Item = Row> + use<> {
        (0..self.0.len() as u16).map(Row::new)
    }
}
