//! Rows of the task table.

use crate::addr::{LifeSpace, PhysAddr, UserAddr};
use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::frames::Chain;
use crate::handles::HandleTable;
use crate::log::{Allowance, CONTROL_RING_SIZE, RING_SIZE, Ring};
use crate::mappings::Mappings;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::release::Release;
use crate::row::Row;
use crate::system::System;
use crate::thread::Thread;
use abi::error::FaultRecord;
use abi::manifest::{GrantKind, TaskRecord};
use abi::task::TaskState;
use abi::{Status, TaskId};
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

/// Frames left out of all quotas: for garbage that is not collected yet, and for late allocations
/// of the kernel.
const RESERVE: u64 = 256;

impl System {
    /// Disables the tasks whose records `refuses` accepts, before any task starts. A disabled task
    /// never starts.
    pub fn disable(&mut self, refuses: impl Fn(&TaskRecord) -> bool) {
        for task in self.tasks.iter_mut() {
            task.disabled |= refuses(&task.record);
        }
    }

    /// Lowers the quotas of frames, the largest first, until their sum together with the kept
    /// memory of all rows fits into the free frames, so that no task can leave another without
    /// memory that its quota grants. A task whose quota is lowered to 0 cannot start. The quota of
    /// the task with control is not lowered below a quarter of the free frames, since nothing runs
    /// without it. Returns the limit in frames of all other tasks (kept memory included), or `None`
    /// if no quota was lowered.
    pub fn fit_quotas(&mut self) -> Option<u32> {
        let there = self.frames.free().saturating_sub(RESERVE);
        let quarter = u32::try_from(there / 4).unwrap_or(u32::MAX);
        let cap =
            |t: &Task, most: u32| if t.record.flags & TaskRecord::CONTROL != 0 { most.max(quarter) } else { most };
        let whole = |t: &Task| u64::from(t.frames.limit) + u64::from(t.record.keep_frames);
        let needed = |most: u32| self.tasks.iter().map(|t| whole(t).min(cap(t, most).into())).sum::<u64>();
        if needed(u32::MAX) <= there {
            return None;
        }
        let (mut fits, mut too_much) = (0, u32::MAX);
        while too_much - fits > 1 {
            let most = fits + (too_much - fits) / 2;
            if needed(most) <= there { fits = most } else { too_much = most }
        }
        for task in self.tasks.iter_mut() {
            task.frames.limit = task.frames.limit.min(cap(task, fits).saturating_sub(task.record.keep_frames));
        }
        Some(fits)
    }
}
