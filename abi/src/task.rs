//! Task identity, task states, and the fixed places in a task's address space.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Instructions for which interrupts are off at the most, whatever any task does.
pub const LONGEST_STRETCH: u64 = 20_000;
/// Accesses to ports in that time.
pub const MOST_PORTS: u64 = 64;

/// Bytes of log text that a task may write at once.
pub const LOG_BURST: u32 = 64 << 10;
/// Bytes of log text that a task may write in each millisecond in the long run.
pub const LOG_PER_MS: u32 = 64;
/// Bytes that each call takes of that at the least, however little it writes: who reads logs is told of each, if it looks in time.
pub const LOG_LEAST: u32 = 32;
/// Bytes that a task which was refused must have again before it is heard: so a flood comes in pieces that one can read.
pub const LOG_AGAIN: u32 = 16 << 10;

/// Most tasks that a system can have: the rows of the task table.
pub const MAX_TASKS: usize = 64;

/// Priorities are `0` (most important) to `LEVELS - 1` (least).
pub const LEVELS: usize = 32;

/// Where a task's [`crate::info::TaskInfo`] page is mapped, read-only.
pub const INFO_ADDR: u64 = 0x7000_0000_0000;

/// First address past the initial thread's stack. Below the stack lies an unmapped guard page.
pub const STACK_TOP: u64 = 0x7fff_f000_0000;

/// First address that a program may be linked at, and the lowest that is ever mapped for a task. Below it nothing is the task's own, so
/// that whatever takes an address that was never set, or a small offset from it, finds nothing there: null pointers, descriptor tables of
/// a segment register with base 0 and 64 KiB of limit.
pub const PROGRAM_BASE: u64 = 0x1_0000;

/// Where the kernel places mappings for which the task names no address.
pub const MAP_BASE: u64 = 0x1000_0000_0000;

/// First address that no task may use: the end of the lower canonical half, less one guard page, so that `sysret` never sees
/// a non-canonical return address (Intel SDM vol. 2B, SYSRET).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// A task at one point of its life: row in the task table, and how many lives that row has seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskId {
    /// Row in the task table.
    pub index: u16,
    /// Which life: 1 for the first, 0 for "never ran", at most [`TaskId::LAST`]. It never comes back: a row that has had its last life does
    /// not start again ([`crate::Status::NoMoreLives`]).
    pub generation: u32,
}

impl TaskId {
    /// Bits of [`TaskId::to_u32`] that are the row.
    pub const ROW_BITS: u32 = 9;
    /// Bits that the life takes in [`TaskId::to_u32`].
    pub const GENERATION_BITS: u32 = u32::BITS - Self::ROW_BITS;
    /// The number of the last life that a row can have: 8,388,607.
    pub const LAST: u32 = u32::MAX >> Self::ROW_BITS;

    /// Both in one word: the row in the lower 9 bits, the life in the other 23.
    pub const fn to_u32(self) -> u32 {
        self.generation << Self::ROW_BITS | self.index as u32
    }

    /// The inverse of [`TaskId::to_u32`].
    pub const fn from_u32(raw: u32) -> Self {
        TaskId { index: (raw & ((1 << Self::ROW_BITS) - 1)) as u16, generation: raw >> Self::ROW_BITS }
    }
}

/// What a row of the task table is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum TaskState {
    /// Not running and nothing left to free: may be spawned.
    #[default]
    Empty = 0,
    /// Has threads.
    Running = 1,
    /// Dead: it runs no more, and nothing can be reached by its names. Its record can be read. What it held goes back by
    /// [`crate::Syscall::TaskReap`].
    Dead = 2,
    /// Is being made by [`crate::Syscall::TaskSpawn`] and has no thread yet.
    Starting = 3,
}

impl TaskState {
    /// The inverse of `as u32`.
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

/// What a task's first thread is doing, for `ps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Activity {
    /// Has no thread.
    None = 0,
    /// On the processor.
    Running = 1,
    /// Waits for the processor.
    Ready = 2,
    /// In `recv`, or waiting on a notification.
    Waiting = 3,
    /// In a call, not yet received by the server.
    Sending = 4,
    /// In a call, received by the server.
    Replying = 5,
}

impl Activity {
    /// The inverse of `as u32`; unknown values read as `None`.
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

/// What [`crate::Syscall::TaskStatus`] tells of a task.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskStatus {
    /// [`TaskId::to_u32`].
    pub id: u32,
    /// [`TaskState`].
    pub state: u32,
    /// [`Activity`] of the first thread.
    pub activity: u32,
    /// Priority level given in the task table.
    pub priority: u32,
    /// Processor time over all lives, in nanoseconds.
    pub cpu_ns: u64,
    /// Frames charged now, and the most it may have.
    pub frames: u32,
    /// Quota of frames.
    pub frame_quota: u32,
    /// Handles in its table now.
    pub handles: u32,
    /// Quota of handles.
    pub handle_quota: u32,
    /// Kernel objects (threads, endpoints, notifications, mappings, timers) charged now.
    pub objects: u32,
    /// Quota of kernel objects.
    pub object_quota: u32,
    /// The peer that the first thread waits for (task index), or `u32::MAX`.
    pub waits_for: u32,
    /// Threads alive.
    pub threads: u32,
    /// For how long a heartbeat has waited to be taken, in nanoseconds; 0 where none is out.
    pub heartbeat_ns: u64,
}

/// The registers of a thread that does not run, for [`crate::Syscall::DebugRegisters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// rax rbx rcx rdx rsi rdi rbp r8 to r15, as in [`crate::error::FaultRecord::registers`].
    pub general: [u64; 15],
    /// Where it goes on.
    pub rip: u64,
    /// Its stack.
    pub rsp: u64,
    /// Its flags.
    pub rflags: u64,
}

/// What [`crate::Syscall::SystemInfo`] tells of the machine.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SystemInfo {
    /// Frames that the boot memory map called usable.
    pub frames_total: u64,
    /// Frames free now.
    pub frames_free: u64,
    /// Frames in the kernel's own heap arena and tables.
    pub frames_kernel: u64,
    /// Bytes of the kernel heap in use, and its size.
    pub heap_used: u64,
    /// Size of the kernel heap in bytes.
    pub heap_size: u64,
    /// Nanoseconds since the kernel started its clock.
    pub uptime_ns: u64,
    /// Nanoseconds of these in which the processor was halted.
    pub idle_ns: u64,
    /// Rows in use in the task table.
    pub tasks: u32,
    /// Threads alive.
    pub threads: u32,
    /// Endpoints alive.
    pub endpoints: u32,
    /// Notifications alive.
    pub notifications: u32,
    /// Memory objects alive.
    pub memories: u32,
    /// Timers alive.
    pub timers: u32,
    /// Interrupts delivered since boot.
    pub interrupts: u64,
    /// Spurious interrupts since boot.
    pub spurious: u64,
    /// Context switches since boot.
    pub switches: u64,
    /// Of these and the kernel's own needs: changes of the address space since boot, each a write to CR3.
    pub space_switches: u64,
    /// Ticks of the time-stamp counter from the kernel's entry to the first task's first instruction, without those in which the counter was
    /// measured against a timer chip.
    pub boot_ticks: u64,
}

const _: () = assert!(size_of::<TaskStatus>() == 64 && size_of::<SystemInfo>() == 120);
const _: () = assert!(MAX_TASKS <= 1 << TaskId::ROW_BITS);
