//! Who owns which interrupt line, and whether it may fire.

use crate::row::{Row, RowSet};

/// How many there are.
pub const LINES: usize = abi::manifest::LINES as usize;

/// A line's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOwner {
    /// Row of the task.
    pub row: Row,
    /// The bits it sets in that task's notification.
    pub bits: u64,
}

/// Where the bits of a line go, as the general path has found it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineCache {
    /// The bits.
    pub(crate) bits: u64,
    /// [`Id::place`](crate::arena::Id::place) of the owner's notification; [`u64::MAX`] where the general path is to look.
    pub(crate) place: u64,
}

impl LineCache {
    pub(crate) const NONE: LineCache = LineCache { bits: 0, place: u64::MAX };
}

impl Default for LineCache {
    fn default() -> Self {
        Self::NONE
    }
}

/// All lines.
#[derive(Debug, Default)]
pub struct Lines {
    owners: [Option<LineOwner>; LINES],
    /// The rows that own some.
    rows: RowSet,
    /// Where the bits of each go, for the assembly.
    pub(crate) caches: [LineCache; LINES],
}

impl Lines {
    /// Gives a line to a task; false where it has another owner or does not exist.
    pub fn claim(&mut self, line: u8, owner: LineOwner) -> bool {
        match self.owners.get_mut(line as usize) {
            Some(slot) if slot.is_none_or(|o| o.row == owner.row) => {
                *slot = Some(owner);
                self.rows.insert(owner.row);
                self.note(line, LineCache::NONE);
                true
            }
            _ => false,
        }
    }

    /// Notes where a line's bits go.
    pub(crate) fn note(&mut self, line: u8, cache: LineCache) {
        if let Some(slot) = self.caches.get_mut(usize::from(line)) {
            *slot = cache;
        }
    }

    /// Forgets where the bits of a row's lines go.
    pub(crate) fn forget(&mut self, row: Row) {
        for (owner, cache) in self.owners.iter().zip(&mut self.caches) {
            if owner.is_some_and(|o| o.row == row) {
                *cache = LineCache::NONE;
            }
        }
    }

    /// Who owns a line.
    pub fn owner(&self, line: u8) -> Option<LineOwner> {
        self.owners.get(line as usize).copied().flatten()
    }

    /// Takes all lines from a task; returns them as a set of bits, to be masked.
    pub fn release(&mut self, row: Row) -> u16 {
        let mut released = 0;
        if !self.rows.contains(row) {
            return released;
        }
        self.rows.remove(row);
        self.forget(row);
        for (line, slot) in self.owners.iter_mut().enumerate() {
            if slot.is_some_and(|o| o.row == row) {
                *slot = None;
                released |= 1 << line;
            }
        }
        released
    }
}
