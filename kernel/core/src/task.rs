//! Rows of the task table.

use crate::addr::{LifeSpace, PhysAddr};
use crate::arena::Id;
use crate::frames::Chain;
use crate::handles::HandleTable;
use crate::log::{Allowance, CONTROL_RING_SIZE, RING_SIZE, Ring};
use crate::mappings::Mappings;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::release::Release;
use crate::row::Row;
use crate::system::{Endpoint, System};
use crate::thread::Thread;
use abi::error::FaultRecord;
use abi::manifest::{GrantKind, TaskRecord};
use abi::task::TaskState;
use abi::{Status, TaskId};
use zerocopy::FromZeros;

/// A quota: what is used, and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    used: u32,
    limit: u32,
}

impl Quota {
    /// Nothing used of `limit`.
    pub const fn new(limit: u32) -> Self {
        Quota { used: 0, limit }
    }

    /// What is used.
    pub const fn used(self) -> u32 {
        self.used
    }

    /// The most.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// Takes `amount`, or nothing and `error`.
    pub fn take(&mut self, amount: u32, error: Status) -> Result<(), Status> {
        match self.used.checked_add(amount) {
            Some(used) if used <= self.limit => {
                self.used = used;
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Gives `amount` back.
    pub fn give(&mut self, amount: u32) {
        self.used = self.used.saturating_sub(amount);
    }
}

/// How far the start of a life has come, which is done in steps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// What is done next.
    pub phase: Phase,
    /// The page in which the task will find out who it is.
    pub info: PhysAddr,
    /// Zeroed frames for the memory that outlives the task, as far as they are there.
    pub kept: Chain,
}

/// What is done next at the start of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A page of the program: the number of its segment, and how many pages of that are there.
    Segment(u16, u64),
    /// A page of the stack: how many are there.
    Stack(u32),
    /// A frame of the memory that outlives the task.
    Keep,
    /// From this row on, those who may call it hear of it.
    Announce(Row),
    /// Its handles, and the first thread.
    Run,
}

impl Default for Phase {
    fn default() -> Self {
        Phase::Segment(0, 0)
    }
}

/// A row of the task table: the authority given by `system.toml`, and the life that uses it now.
pub struct Task {
    /// What the manifest says.
    pub(crate) record: TaskRecord,
    /// Whether there is a life.
    pub(crate) state: TaskState,
    /// How far the release of the last life has come.
    pub(crate) release: Release,
    /// How far the start of this life has come.
    pub(crate) start: Start,
    /// Which life; 0 before the first.
    pub(crate) generation: u32,
    /// Whether a next life is to be expected where there is none now.
    pub(crate) expected: bool,
    /// Whether it never starts: it would have what is the kernel's.
    pub(crate) disabled: bool,
    /// Threads alive.
    pub(crate) threads: u16,
    /// Endpoints and notifications that it made.
    pub(crate) made: u16,
    /// The thread that the life began with.
    pub(crate) first_thread: Option<Id<Thread>>,
    /// Its handles.
    pub(crate) handles: HandleTable,
    /// Frames: image, stack, page tables, memory objects.
    pub(crate) frames: Quota,
    /// Threads, endpoints, notifications, mappings, timers.
    pub(crate) objects: Quota,
    /// The frames of image, stacks and page tables.
    pub(crate) chain: Chain,
    /// The address space of the life; none without a life, and until it has one.
    pub(crate) space: LifeSpace,
    /// Its endpoint, which outlives it.
    pub(crate) endpoint: Option<Id<Endpoint>>,
    /// Its notification, which outlives it (its bits do not).
    pub(crate) notification: Option<Id<Notification>>,
    /// The memory that outlives it.
    pub(crate) keep: Option<Id<Memory>>,
    /// Its physical ranges.
    pub(crate) ranges: [Option<Id<Memory>>; GrantKind::Range.most()],
    /// Where memory objects are mapped.
    pub(crate) mappings: Mappings,
    /// Where the next mapping without an address goes.
    pub(crate) map_next: u64,
    /// What the last death left; [`DeathKind::Alive`](abi::error::DeathKind) where there is nothing.
    pub(crate) fault: FaultRecord,
    /// Its newest text.
    pub(crate) log: Ring,
    /// What it may write there now; a new life goes on with what the last one left.
    pub(crate) log_quota: Allowance,
    /// When a heartbeat was sent that has not been taken, in cycles.
    pub(crate) heartbeat: Option<u64>,
    /// Bits of interrupt lines of which a debugger has the next interrupt lost.
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
            map_next: abi::task::MAP_BASE,
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

    /// Whether there is a life, which need not run yet.
    #[inline]
    pub fn is_alive(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Starting)
    }

    /// Whether this life of it is being started.
    pub fn starts(&self, life: TaskId) -> bool {
        self.state == TaskState::Starting && self.generation == life.generation
    }

    /// Its name in this life.
    pub fn id(&self, row: Row) -> TaskId {
        TaskId { index: row.number(), generation: self.generation }
    }

    /// Whether it may call a task of this priority: one that is more important.
    pub fn may_call(&self, server: &Task) -> bool {
        server.record.priority < self.record.priority
    }
}

/// Frames that are nobody's: for memory on its way back, and for what the kernel takes late.
const RESERVE: u64 = 256;

impl System {
    /// Disables the tasks, before any of them starts, whose records the caller refuses: they never start, the others do.
    pub fn disable(&mut self, refuses: impl Fn(&TaskRecord) -> bool) {
        for task in self.tasks.iter_mut() {
            task.disabled |= refuses(&task.record);
        }
    }

    /// Lowers the largest quotas of frames, where all together, with what outlives its tasks, are more than there is, until whoever stays
    /// within its own finds them: so no task, however much it may have, leaves another without. One that has nothing left then
    /// cannot start; the task with control keeps its own up to a quarter of all, since without it nothing runs. Returns the most that
    /// another task may have, if any quota was lowered.
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
