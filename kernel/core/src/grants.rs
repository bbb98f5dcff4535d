//! Who owns which interrupt line, and whether it may fire.

use crate::thread::Route;

/// Lines of the two 8259 interrupt controllers.
pub const LINES: usize = 16;

/// A line's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineOwner {
    /// Row of the task.
    pub row: u16,
    /// The bits it sets in that task's notification.
    pub bits: u64,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Lines {
    owners: [Option<LineOwner>; LINES],
    /// The rows that own some, as a set of bits.
    rows: u64,
    /// Where the bits of each go: see [`crate::fast`].
    pub(crate) ways: [Route; LINES],
}

impl Lines {
    /// Gives a line to a task; false where it has another owner or does not exist.
    pub fn claim(&mut self, line: u8, owner: LineOwner) -> bool {
        match self.owners.get_mut(line as usize) {
            Some(slot) if slot.is_none_or(|o| o.row == owner.row) => {
                *slot = Some(owner);
                self.rows |= 1 << (owner.row & 63);
                self.note(line, Route::default());
                true
            }
            _ => false,
        }
    }

    /// Notes where a line's bits go.
    pub(crate) fn note(&mut self, line: u8, way: Route) {
        if let Some(slot) = self.ways.get_mut(line as usize) {
            *slot = way;
        }
    }

    /// Who owns a line.
    pub fn owner(&self, line: u8) -> Option<LineOwner> {
        self.owners.get(line as usize).copied().flatten()
    }

    /// Takes all lines from a task; returns them as a set of bits, to be masked.
    pub fn release(&mut self, row: u16) -> u16 {
        let mut released = 0;
        if self.rows & 1 << (row & 63) == 0 {
            return released;
        }
        self.rows &= !(1 << (row & 63));
        for (line, (slot, way)) in self.owners.iter_mut().zip(&mut self.ways).enumerate() {
            if slot.is_some_and(|o| o.row == row) {
                (*slot, *way) = (None, Route::default());
                released |= 1 << line;
            }
        }
        released
    }
}
