//! The owners of the interrupt lines.

use crate::row::{Row, RowSet};

/// The number of interrupt lines.
pub const LINES: usize = abi::manifest::LINES as usize;

/// The number of an interrupt line. A line with this number need not exist.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(u8);

impl Line {
    /// The line with this number.
    pub const fn new(number: u8) -> Line {
        Line(number)
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of interrupt lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSet(u32);

const _: () = assert!(LINES < 32, "and one more: an interrupt controller's own");

impl LineSet {
    /// The set without a line.
    pub const EMPTY: LineSet = LineSet(0);

    /// The set of one line.
    pub const fn of(line: Line) -> LineSet {
        match 1_u32.checked_shl(line.0 as u32) {
            Some(bit) => LineSet(bit),
            None => LineSet::EMPTY,
        }
    }

    /// The set with these bits: bit 0 is line 0.
    pub const fn from_bits(bits: u32) -> LineSet {
        LineSet(bits)
    }

    /// The bits of the set: bit 0 is line 0.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set of the lines of both sets.
    pub const fn with(self, other: LineSet) -> LineSet {
        LineSet(self.0 | other.0)
    }

    /// The set of the lines of this set that are not in the other.
    pub const fn without(self, other: LineSet) -> LineSet {
        LineSet(self.0 & !other.0)
    }

    /// Whether a line is in the set.
    pub const fn contains(self, line: Line) -> bool {
        self.0 & LineSet::of(line).0 != 0
    }

    /// Whether no line is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The owner of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOwner {
    /// The row of the owner.
    pub row: Row,
    /// The bits that an interrupt sets in the owner's notification.
    pub bits: u64,
}

/// A cached lookup: where the bits of a line are set, as the general path found it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineCache {
    /// The bits that an interrupt sets.
    pub(crate) bits: u64,
    /// The [`Id::place`](crate::arena::Id::place) of the owner's notification; [`u64::MAX`] if
    /// nothing is cached, so that the general path must look.
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

/// The owners of all interrupt lines.
#[derive(Debug, Default)]
pub struct Lines {
    owners: [Option<LineOwner>; LINES],
    /// The rows that own at least one line.
    rows: RowSet,
    /// The cached lookup of each line, for the assembly.
    pub(crate) caches: [LineCache; LINES],
}

impl Lines {
    /// Gives a line to a task. Returns false if another task owns it or it does not exist.
    pub fn claim(&mut self, line: Line, owner: LineOwner) -> bool {
        match self.owners.get_mut(line.index()) {
            Some(slot) if slot.is_none_or(|o| o.row == owner.row) => {
                *slot = Some(owner);
                self.rows.insert(owner.row);
                self.note(line, LineCache::NONE);
                true
            }
            _ => false,
        }
    }

    /// Stores the cached lookup of a line.
    pub(crate) fn note(&mut self, line: Line, cache: LineCache) {
        if let Some(slot) = self.caches.get_mut(line.index()) {
            *slot = cache;
        }
    }

    /// Drops the cached lookups of a row's lines.
    pub(crate) fn forget(&mut self, row: Row) {
        for (owner, cache) in self.owners.iter().zip(&mut self.caches) {
            if owner.is_some_and(|o| o.row == row) {
                *cache = LineCache::NONE;
            }
        }
    }

    /// The owner of a line.
    pub fn owner(&self, line: Line) -> Option<LineOwner> {
        self.owners.get(line.index()).copied().flatten()
    }

    /// Takes all lines from a task. Returns them: the caller masks them.
    #[inline(always)]
    pub fn release(&mut self, row: Row) -> LineSet {
        if self.rows.contains(row) { self.release_some(row) } else { LineSet::EMPTY }
    }

    #[inline(never)]
    fn release_some(&mut self, row: Row) -> LineSet {
        let mut released = LineSet::EMPTY;
        self.rows.remove(row);
        self.forget(row);
        for (line, slot) in (0..).map(Line).zip(&mut self.owners) {
            if slot.is_some_and(|o| o.row == row) {
                *slot = None;
                released = released.with(LineSet::of(line));
            }
        }
        released
    }
}
