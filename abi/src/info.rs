//! The page in which a task finds out who it is: mapped read-only at [`crate::task::INFO_ADDR`].
//!
//! The entries are the task's starting authority by name; [`crate::manifest::TaskRecord`] says where each comes from.

use crate::Name;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of the page.
pub const INFO_MAGIC: u64 = u64::from_le_bytes(*b"enigma-i");

/// Most entries.
pub const MAX_ENTRIES: usize = 56;

/// Most bytes of the argument that `spawn` passes.
pub const ARG_LEN: usize = 128;

/// The handle of the task's own endpoint (rights RECV, CALL, GRANT).
pub const ENDPOINT: u32 = 0;

/// The handle of the task's own notification, which is bound to that endpoint.
pub const NOTIFICATION: u32 = 1;

/// The page.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskInfo {
    /// [`INFO_MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_HASH`] of the kernel.
    pub abi_hash: u64,
    /// [`crate::TaskId::to_u32`] of this life.
    pub task: u32,
    /// Priority level of the task.
    pub priority: u32,
    /// The task's name.
    pub name: Name,
    /// Nanoseconds since boot are `((rdtsc - tsc_base) * tsc_mult) >> 32`, the product taken in 128 bits.
    pub tsc_base: u64,
    /// See `tsc_base`.
    pub tsc_mult: u64,
    /// How many of `arg` are valid.
    pub arg_len: u32,
    /// How many of `entries` are valid.
    pub entry_count: u32,
    /// The argument that `spawn` passed: UTF-8 by convention.
    pub arg: [u8; ARG_LEN],
    /// Named authority.
    pub entries: [Entry; MAX_ENTRIES],
}

/// One piece of named authority.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// Its name; empty for ports.
    pub name: Name,
    /// [`GrantKind`](crate::manifest::GrantKind).
    pub kind: u32,
    /// The handle; 0 for ports, which need none.
    pub handle: u32,
    /// Peer: its task index. Irq: notification bit number. Ports: first port. Range, keep, archive: physical base or 0.
    pub base: u64,
    /// Ports: how many. Range, keep, archive: length in bytes.
    pub len: u64,
}

const _: () = assert!(size_of::<Entry>() == 40 && size_of::<TaskInfo>() <= crate::PAGE_SIZE);
