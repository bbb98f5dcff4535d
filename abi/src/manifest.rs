//! The binary task table, which xtask writes from `system.toml`, and which the kernel and the
//! supervisor read. `grant.rs` has what it can grant, [`rules`] what makes it valid.
//!
//! It is the file `manifest` of the boot archive: one [`ManifestHeader`], then `count`
//! [`TaskRecord`]s, little endian without padding. A task's program is the file `bin/NAME`, the
//! table of its functions `sym/NAME`.

mod grant;
pub mod rules;
#[cfg(test)]
mod tests;

pub use grant::{Claim, Grant, GrantKind, LINES, Space};

use crate::Name;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of the table.
pub const MAGIC: [u8; 8] = *b"ENIGMA\x00\x01";

/// The most grants of a task: the sum of the limits for each kind.
pub const MAX_GRANTS: usize = {
    let (mut all, mut kind) = (0, 0);
    while kind < GrantKind::LISTED.len() {
        all += GrantKind::LISTED[kind].most();
        kind += 1;
    }
    all
};

/// The header of the table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ManifestHeader {
    /// Always [`MAGIC`].
    pub magic: [u8; 8],
    /// The [`crate::ABI_HASH`] of the xtask that wrote the table.
    pub abi_hash: u64,
    /// The number of records that follow: 1 to [`crate::task::MAX_TASKS`].
    pub count: u32,
    /// The size of a record: `size_of::<TaskRecord>()`.
    pub record_size: u32,
}

/// What the supervisor does when a task's life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Restart {
    /// Leaves the task dead.
    Never = 0,
    /// Starts the task again unless it exited with code 0.
    OnFailure = 1,
    /// Starts the task again, whatever ended it.
    Always = 2,
    /// Starts the task again at once, whatever ended it and however often: for systems whose
    /// purpose is to provoke deaths.
    Forever = 3,
}

impl Restart {
    /// The policy with this number; [`Restart::Never`] for unknown numbers.
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
    /// The name of the task, for peers and people.
    pub name: Name,
    /// The quota of frames: image, stack, heap, page tables, mapped memory.
    pub frame_quota: u32,
    /// The size of the first thread's stack in frames.
    pub stack_frames: u32,
    /// The size of the kept memory in frames, which outlives the task (name `keep`); 0 for none.
    pub keep_frames: u32,
    /// The quota of handles.
    pub handle_quota: u16,
    /// The quota of kernel objects.
    pub object_quota: u16,
    /// The most milliseconds between two signs of life; 0 if the task is not watched.
    pub heartbeat_ms: u32,
    /// The set of [`TaskRecord::START`] and the other flags.
    pub flags: u32,
    /// The most important priority that its threads may have: 0 to 31.
    pub priority: u8,
    /// The restart policy, a [`Restart`].
    pub restart: u8,
    /// Reserved, 0.
    pub reserved: u16,
    /// How many entries of `grants` are used.
    pub grant_count: u32,
    /// The task's authority, in ascending order of kinds; unused entries are zero.
    pub grants: [Grant; MAX_GRANTS],
}

impl TaskRecord {
    /// Flag: the task is started at boot.
    pub const START: u32 = 1 << 0;
    /// Flag: the task's threads have SSE registers of their own.
    pub const FLOAT: u32 = 1 << 1;
    /// Flag: the task may spawn, kill and reap tasks ([`crate::message::Rights::CONTROL`]).
    pub const CONTROL: u32 = 1 << 2;
    /// Flag: the task may read states and counters ([`crate::message::Rights::INSPECT`]).
    pub const INSPECT: u32 = 1 << 3;
    /// Flag: the task may read the log rings ([`crate::message::Rights::LOGS`]).
    pub const LOGS: u32 = 1 << 4;
    /// Flag: the task gets the boot archive, read-only (name `archive`).
    pub const ARCHIVE: u32 = 1 << 5;

    /// All grants of the record.
    pub fn grants(&self) -> &[Grant] {
        self.grants.get(..self.grant_count as usize).unwrap_or_default()
    }

    /// The grants of one kind.
    pub fn of(&self, kind: GrantKind) -> impl Iterator<Item = &Grant> + Clone {
        let number = kind as u32;
        self.grants().iter().skip_while(move |grant| grant.kind < number).take_while(move |grant| grant.kind == number)
    }

    /// The rows whose endpoints the task may call.
    pub fn peers(&self) -> impl Iterator<Item = u16> + Clone {
        self.of(GrantKind::Peer).map(|grant| grant.base as u16)
    }

    /// Whether the task may debug the task in this row, and so do all that that task can.
    pub fn may_debug(&self, row: u16) -> bool {
        self.of(GrantKind::Debug).any(|grant| grant.row() == Some(row))
    }

    /// Adds a grant in its place. Returns false if the record has as many of its kind as it may
    /// have.
    pub fn add(&mut self, grant: Grant) -> bool {
        let count = self.grant_count as usize;
        let (Some(kind), Some(places)) = (grant.kind(), self.grants.get_mut(..=count)) else { return false };
        if places.iter().filter(|other| other.kind == grant.kind).count() >= kind.most() {
            return false;
        }
        let place = places.iter().take(count).take_while(|other| other.kind <= grant.kind).count();
        if let Some(from) = places.get_mut(place..) {
            from.rotate_right(1);
            if let Some(first) = from.first_mut() {
                *first = grant;
            }
        }
        self.grant_count += 1;
        true
    }
}

const _: () =
    assert!(size_of::<ManifestHeader>() == 24 && size_of::<TaskRecord>() == 48 + size_of::<[Grant; MAX_GRANTS]>());
