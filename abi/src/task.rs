//! Task identifiers, task states, limits, and the fixed addresses of a task's address space.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most instructions for which interrupts are off, whatever any task does.
pub const LONGEST_STRETCH: u64 = 20_000;
/// The most port accesses in one such stretch with interrupts off.
pub const MOST_PORTS: u64 = 64;

/// The most bytes of log text that a task may write at once.
pub const LOG_BURST: u32 = 64 << 10;
/// The bytes of log text that a task may write per millisecond in the long run.
pub const LOG_PER_MS: u32 = 64;
/// The least number of bytes that one call is charged, however little it writes, since each may
/// cause readers of logs to be signalled.
pub const LOG_LEAST: u32 = 32;
/// The number of bytes of a line's tag besides the name of the task: `[`, `]` and a space.
pub const LOG_TAG: usize = 3;

/// What a text costs its writer at the most, in bytes of its allowance, if it is written by one call
/// and begins a line. Every line has a tag, for which `name` is the length of the task's name.
pub fn log_cost(name: usize, text: &[u8]) -> u32 {
    let lines = text.iter().filter(|&&byte| byte == b'\n').count() + usize::from(text.last() != Some(&b'\n'));
    u32::try_from(text.len() + (name + LOG_TAG) * lines).unwrap_or(u32::MAX).max(LOG_LEAST)
}

/// The bytes of allowance that a task needs before it may write again after it was refused, so that
/// a flood arrives in readable pieces.
pub const LOG_AGAIN: u32 = 16 << 10;

/// The most tasks of a system, which are the rows of the task table.
pub const MAX_TASKS: usize = 64;

/// The number of priorities: 0 is the most important, `LEVELS - 1` the least.
pub const LEVELS: usize = 32;

/// The address at which a task's [`crate::info::TaskInfo`] page is mapped, read-only.
pub const INFO_ADDR: u64 = 0x7000_0000_0000;

/// The address after the first thread's stack. The page below the stack is an unmapped guard page.
pub const STACK_TOP: u64 = 0x7fff_f000_0000;

/// The lowest address at which a program may be linked, and at which anything is mapped for a task.
/// So an access through an address that was never set, or at a small offset from it, always faults:
/// a null pointer, or a descriptor table of a segment register with base 0 and a limit of 64 KiB.
pub const PROGRAM_BASE: u64 = 0x1_0000;

/// The lowest address at which the kernel places mappings for which the task gives no address.
pub const MAP_BASE: u64 = 0x1000_0000_0000;

/// The first address that no task may use: the end of the lower canonical half, less one guard
/// page, so that `sysret` never gets a non-canonical return address (Intel SDM vol. 2B, SYSRET).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// A task in one of its lives: its row in the task table, and the number of the life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskId {
    /// The row in the task table.
    pub index: u16,
    /// The number of the life: 1 for the first, 0 before it, at most [`TaskId::LAST`]. Numbers
    /// never recur: a row that has had its last life does not start again
    /// ([`crate::Status::NoMoreLives`]).
    pub generation: u32,
}

impl TaskId {
    /// The number of bits of the row in [`TaskId::to_u32`].
    pub const ROW_BITS: u32 = 9;
    /// The number of bits of the life in [`TaskId::to_u32`].
    pub const GENERATION_BITS: u32 = u32::BITS - Self::ROW_BITS;
    /// The number of the last life that a row can have: 8,388,607.
    pub const LAST: u32 = u32::MAX >> Self::ROW_BITS;

    /// The identifier in one word: the row in the lower 9 bits, the life in the other 23.
    pub const fn to_u32(self) -> u32 {
        self.generation << Self::ROW_BITS | self.index as u32
    }

    /// The identifier from one word, the inverse of [`TaskId::to_u32`].
    pub const fn from_u32(raw: u32) -> Self {
        TaskId { index: (raw & ((1 << Self::ROW_BITS) - 1)) as u16, generation: raw >> Self::ROW_BITS }
    }
}

/// The state of a row of the task table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum TaskState {
    /// There is no life, and nothing of an earlier one is left to free: the task may be spawned.
    #[default]
    Empty = 0,
    /// The task has threads.
    Running = 1,
    /// The task is dead: no thread runs, and its names lead to nothing. Its death record can be
    /// read. [`crate::Syscall::TaskReap`] releases what it held.
    Dead = 2,
    /// [`crate::Syscall::TaskSpawn`] is starting the task, which has no thread yet.
    Starting = 3,
}

impl TaskState {
    /// The state with this number.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Empty),
            1 => Some(Self::Running),
            2 => Some(Self::Dead),
            3 => Some(Self::Starting),
            _ => None,
        }
    }
}

/// The activity of a task's first thread, as `ps` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Activity {
    /// The task has no first thread.
    None = 0,
    /// The thread is running.
    Running = 1,
    /// The thread is ready, and waits for the processor.
    Ready = 2,
    /// The thread is in `recv`, or waits on a notification.
    Waiting = 3,
    /// The thread is in a call that the server has not received.
    Sending = 4,
    /// The thread is in a call that the server has received.
    Replying = 5,
}

impl Activity {
    /// The activity with this number; [`Activity::None`] for unknown numbers.
    pub const fn from_u32(raw: u32) -> Self {
        match raw {
            1 => Self::Running,
            2 => Self::Ready,
            3 => Self::Waiting,
            4 => Self::Sending,
            5 => Self::Replying,
            _ => Self::None,
        }
    }
}

/// The status of a task, as [`crate::Syscall::TaskStatus`] returns it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskStatus {
    /// The row and its current or last life, as [`TaskId::to_u32`].
    pub id: u32,
    /// The state of the row, a [`TaskState`].
    pub state: u32,
    /// The [`Activity`] of the first thread.
    pub activity: u32,
    /// The priority in the task table.
    pub priority: u32,
    /// Processor time used over all lives, in nanoseconds.
    pub cpu_ns: u64,
    /// The number of frames charged now.
    pub frames: u32,
    /// The quota of frames.
    pub frame_quota: u32,
    /// The number of handles now.
    pub handles: u32,
    /// The quota of handles.
    pub handle_quota: u32,
    /// The number of kernel objects (threads, endpoints, notifications, mappings, timers) charged
    /// now.
    pub objects: u32,
    /// The quota of kernel objects.
    pub object_quota: u32,
    /// The row of the task for which the first thread waits in a call, or [`u32::MAX`].
    pub waits_for: u32,
    /// The number of live threads.
    pub threads: u32,
    /// How long a heartbeat has been waiting to be taken, in nanoseconds; 0 if none is.
    pub heartbeat_ns: u64,
}

/// The registers of a thread that does not run, as [`crate::Syscall::DebugRegisters`] reads and
/// [`crate::Syscall::DebugSetRegisters`] sets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// The general registers: rax rbx rcx rdx rsi rdi rbp r8 to r15, as in
    /// [`crate::error::FaultRecord::registers`].
    pub general: [u64; 15],
    /// The instruction pointer.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The flags.
    pub rflags: u64,
}

/// Counters of the whole system, as [`crate::Syscall::SystemInfo`] returns them.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SystemInfo {
    /// The number of frames that the boot memory map calls usable.
    pub frames_total: u64,
    /// The number of free frames.
    pub frames_free: u64,
    /// The number of frames in the kernel's own heap and tables.
    pub frames_kernel: u64,
    /// The number of bytes of the kernel's heap in use.
    pub heap_used: u64,
    /// The size of the kernel's heap in bytes.
    pub heap_size: u64,
    /// Nanoseconds since boot.
    pub uptime_ns: u64,
    /// Nanoseconds since boot in which the processor was halted.
    pub idle_ns: u64,
    /// The length of the scheduler's period in nanoseconds: within each, a task gets its slice.
    pub period_ns: u64,
    /// The number of running tasks.
    pub tasks: u32,
    /// The number of threads.
    pub threads: u32,
    /// The number of endpoints.
    pub endpoints: u32,
    /// The number of notifications.
    pub notifications: u32,
    /// The number of memory objects.
    pub memories: u32,
    /// The number of timers.
    pub timers: u32,
    /// The number of interrupts delivered since boot.
    pub interrupts: u64,
    /// The number of spurious interrupts since boot.
    pub spurious: u64,
    /// The number of changes of the running thread since boot.
    pub switches: u64,
    /// The number of changes of the address space since boot, each of which writes CR3.
    pub space_switches: u64,
    /// Ticks of the time-stamp counter from the kernel's entry to the first instruction of the
    /// first task, without those spent measuring the counter against a timer chip.
    pub boot_ticks: u64,
}

const _: () = assert!(size_of::<TaskStatus>() == 64 && size_of::<SystemInfo>() == 128);
const _: () = assert!(MAX_TASKS <= 1 << TaskId::ROW_BITS);
