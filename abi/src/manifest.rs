//! The binary task table: xtask writes it from `system.toml`, the kernel and the supervisor read it.
//!
//! It is the file `manifest` of the boot archive: one [`ManifestHeader`], then `count` [`TaskRecord`]s. Little endian, no padding.
//! A program lies beside it as `bin/NAME`, the table of its functions as `sym/NAME`.

use crate::Name;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of the table.
pub const MAGIC: [u8; 8] = *b"ENIGMA\x00\x01";

/// Most port ranges of a task.
pub const MAX_PORTS: usize = 16;
/// Most interrupt lines of a task.
pub const MAX_IRQS: usize = 8;
/// Most physical ranges of a task.
pub const MAX_RANGES: usize = 4;
/// Most peers that a task may call.
pub const MAX_CALLS: usize = 16;

/// Head of the table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ManifestHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::ABI_HASH`] of the xtask that wrote it.
    pub abi_hash: u64,
    /// How many records follow: 1 to [`crate::task::MAX_TASKS`].
    pub count: u32,
    /// `size_of::<TaskRecord>()`.
    pub record_size: u32,
}

/// A range of I/O ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortRange {
    /// First port.
    pub base: u16,
    /// How many; 0 marks an unused slot. `base + len` is at most 65,536.
    pub len: u16,
}

/// An interrupt line and the bit that it sets in its task's notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IrqRecord {
    /// The name by which the driver asks for it.
    pub name: Name,
    /// 8259 line, 0 to 15; 0 (timer) and 2 (cascade) are never granted.
    pub line: u8,
    /// Notification bit, 0 to 31.
    pub bit: u8,
    /// 1 where the slot is in use.
    pub used: u8,
    /// Zero.
    pub reserved: u8,
}

/// A physical range that a driver may map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RangeRecord {
    /// The name by which the driver asks for it.
    pub name: Name,
    /// First byte, page-aligned.
    pub base: u64,
    /// Length in bytes, whole pages; 0 marks an unused slot.
    pub len: u64,
    /// [`RangeRecord::WRITE`], [`RangeRecord::WRITE_COMBINING`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

impl RangeRecord {
    /// May be mapped writable.
    pub const WRITE: u32 = 1;
    /// Mapped write-combining where the processor can; otherwise uncached.
    pub const WRITE_COMBINING: u32 = 2;
}

/// What to do when a task's life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Restart {
    /// Leave it dead.
    Never = 0,
    /// Start it again unless it exited with code 0.
    OnFailure = 1,
    /// Start it again, whatever ended it.
    Always = 2,
    /// Start it again at once, whatever ended it, however often: for systems in which deaths are the purpose.
    Forever = 3,
}

impl Restart {
    /// The inverse of `as u8`; unknown values read as `Never`.
    pub const fn from_u8(raw: u8) -> Self {
        match raw {
            1 => Self::OnFailure,
            2 => Self::Always,
            3 => Self::Forever,
            _ => Self::Never,
        }
    }
}

/// One task and all the authority that it will ever have.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskRecord {
    /// Its name, by which peers and people know it.
    pub name: Name,
    /// Frames it may hold: image, stack, heap, page tables, mapped memory.
    pub frame_quota: u32,
    /// Frames of its first stack.
    pub stack_frames: u32,
    /// Frames of the memory that outlives it (name `keep`), 0 for none.
    pub keep_frames: u32,
    /// Handles it may hold.
    pub handle_quota: u16,
    /// Kernel objects it may hold.
    pub object_quota: u16,
    /// Most milliseconds between two signs of life; 0 for no watch.
    pub heartbeat_ms: u32,
    /// [`TaskRecord::START`] and its siblings.
    pub flags: u32,
    /// Priority of its threads at best: 0 to 31.
    pub priority: u8,
    /// [`Restart`].
    pub restart: u8,
    /// How many of `calls` are in use.
    pub call_count: u8,
    /// Zero.
    pub reserved: u8,
    /// Tasks (rows of this table) whose endpoints it may call.
    pub calls: [u8; MAX_CALLS],
    /// Port ranges.
    pub ports: [PortRange; MAX_PORTS],
    /// The names by which the driver asks for them, zero for those that have none.
    pub port_names: [Name; MAX_PORTS],
    /// Interrupt lines.
    pub irqs: [IrqRecord; MAX_IRQS],
    /// Zero.
    pub reserved2: u32,
    /// Physical ranges.
    pub ranges: [RangeRecord; MAX_RANGES],
    /// Tasks that it may debug, one bit for each row of this table. Who may debug a task can do all that the task can.
    pub debug: u64,
}

impl TaskRecord {
    /// Started at boot.
    pub const START: u32 = 1 << 0;
    /// Has SSE state of its own.
    pub const FLOAT: u32 = 1 << 1;
    /// Kernel authority: spawn, kill and reap ([`crate::message::Rights::CONTROL`]).
    pub const CONTROL: u32 = 1 << 2;
    /// Kernel authority: read states and counters.
    pub const INSPECT: u32 = 1 << 3;
    /// Kernel authority: read the log rings.
    pub const LOGS: u32 = 1 << 4;
    /// Kernel authority: the boot archive, mapped read-only (name `archive`).
    pub const ARCHIVE: u32 = 1 << 5;
}

const _: () =
    assert!(size_of::<ManifestHeader>() == 24 && size_of::<TaskRecord>() == 456 + size_of::<[Name; MAX_PORTS]>());
