//! The page that tells a task who it is: mapped read-only at [`crate::task::INFO_ADDR`].
//!
//! Its entries are the task's initial authority by name; [`crate::manifest::TaskRecord`] has the
//! grants from which each is made.

use crate::Name;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first eight bytes of the page.
pub const INFO_MAGIC: u64 = u64::from_le_bytes(*b"enigma-i");

/// The most entries.
pub const MAX_ENTRIES: usize = 56;

/// The most bytes of the argument that `task_spawn` passes.
pub const ARG_LEN: usize = 128;

/// The handle of the task's permanent endpoint (rights RECV, CALL, GRANT).
pub const ENDPOINT: u32 = 0;

/// The handle of the task's permanent notification, which is bound to the endpoint [`ENDPOINT`].
pub const NOTIFICATION: u32 = 1;

/// The contents of the page.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskInfo {
    /// Always [`INFO_MAGIC`].
    pub magic: u64,
    /// The [`crate::ABI_HASH`] of the kernel.
    pub abi_hash: u64,
    /// The task in this life, as [`crate::TaskId::to_u32`].
    pub task: u32,
    /// The priority of the task; smaller numbers are more important.
    pub priority: u32,
    /// The task's name.
    pub name: Name,
    /// The time-stamp counter at boot, in ticks. Nanoseconds since boot are
    /// `((rdtsc - tsc_base) * tsc_mult) >> 32`, with a product of 128 bits.
    pub tsc_base: u64,
    /// Nanoseconds per tick of the time-stamp counter, times 2^32: see `tsc_base`.
    pub tsc_mult: u64,
    /// How many bytes of `arg` are valid.
    pub arg_len: u32,
    /// How many entries of `entries` are valid.
    pub entry_count: u32,
    /// The argument that `task_spawn` passed: UTF-8 by convention.
    pub arg: [u8; ARG_LEN],
    /// The task's authority, by name.
    pub entries: [Entry; MAX_ENTRIES],
}

/// One piece of named authority.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// The name by which the task asks for it; it may be empty for ports.
    pub name: Name,
    /// What it is, a [`GrantKind`](crate::manifest::GrantKind).
    pub kind: u32,
    /// The handle; 0 for ports, which need none.
    pub handle: u32,
    /// For a peer: the number of its row. For an interrupt: the number of its notification bit. For
    /// ports: the first port. For a range: its physical address. Otherwise 0.
    pub base: u64,
    /// For ports: how many. For a range, the kept memory and the boot archive: the length in bytes.
    pub len: u64,
}

const _: () = assert!(size_of::<Entry>() == 40 && size_of::<TaskInfo>() <= crate::PAGE_SIZE);
