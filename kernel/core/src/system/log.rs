//! Writing to log rings, and who is told of it.

use crate::row::{Row, RowSet};
use crate::system::System;

impl System {
    /// Takes the set of log readers that are to be signalled about new text. Each is signalled once
    /// until it reads again, so a task that writes byte by byte does not wake a reader for each
    /// byte.
    pub fn take_log_listeners(&mut self) -> RowSet {
        core::mem::take(&mut self.log_listeners)
    }

    /// Notes that a task reads logs: it is signalled about the next new text.
    pub fn log_looked_at(&mut self, row: Row) {
        if self.log_readers.contains(row) {
            self.log_listeners.insert(row);
        }
    }
}
