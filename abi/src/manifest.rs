//! The binary task table: xtask writes it from `system.toml`, the kernel and the supervisor read it. What it can grant is in `grant.rs`, what makes a
//! good table in [`rules`].
//!
//! It is the file `manifest` of the boot archive: one [`ManifestHeader`], then `count` [`TaskRecord`]s. Little endian, no padding.
//! A program lies beside it as `bin/NAME`, the table of its functions as `sym/NAME`.

mod grant;
pub mod rules;
#[cfg(test)]
mod tests;

pub use grant::{Claim, Grant, GrantKind, LINES, Space};

use crate::Name;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of the table.
pub const MAGIC: [u8; 8] = *b"ENIGMA\x00\x01";

/// Most grants of a task: as many of each kind as it may have.
pub const MAX_GRANTS: usize = {
    let (mut all, mut kind) = (0, 0);
    while kind < GrantKind::LISTED.len() {
        all += GrantKind::LISTED[kind].most();
        kind += 1;
    }
    all
};

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
    /// Zero.
    pub reserved: u16,
    /// How many of `grants` are in use.
    pub grant_count: u32,
    /// Its authority: in ascending order of kinds, those that are not in use zero.
    pub grants: [Grant; MAX_GRANTS],
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

    /// All its grants that the table lists.
    pub fn grants(&self) -> &[Grant] {
        self.grants.get(..self.grant_count as usize).unwrap_or_default()
    }

    /// Those of one kind.
    pub fn of(&self, kind: GrantKind) -> impl Iterator<Item = &Grant> + Clone {
        let number = kind as u32;
        self.grants().iter().skip_while(move |grant| grant.kind < number).take_while(move |grant| grant.kind == number)
    }

    /// The rows whose endpoints it may call.
    pub fn peers(&self) -> impl Iterator<Item = u16> + Clone {
        self.of(GrantKind::Peer).map(|grant| grant.base as u16)
    }

    /// Whether it may debug the task of this row: then it can do all that that one can.
    pub fn may_debug(&self, row: u16) -> bool {
        self.of(GrantKind::Debug).any(|grant| grant.row() == Some(row))
    }

    /// Adds one, in its place. False where there are as many of its kind already as may be.
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
