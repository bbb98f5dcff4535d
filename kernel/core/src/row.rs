//! Row numbers of the task table, and sets of them.

use abi::task::MAX_TASKS;
use abi::{Status, TaskId};

/// A row of the task table: a task's place in it, which stays the same over all of its lives. A
/// number need not be a row of the table at hand: [`System::task`](crate::System::task) checks
/// that.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(u16);

impl Row {
    /// The row of this number; the first row is 0.
    #[inline(always)]
    pub const fn new(number: u16) -> Self {
        Row(number)
    }

    /// The row that a task identifier names, whatever its generation.
    #[inline(always)]
    pub const fn of(task: TaskId) -> Self {
        Row(task.index)
    }

    /// The row whose number is in a register. Errors: NoSuchTask (the number does not fit a row
    /// number).
    #[inline(always)]
    pub fn from_register(number: u64) -> Result<Self, Status> {
        u16::try_from(number).map(Row).map_err(|_| Status::NoSuchTask)
    }

    /// The number of the row.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The index of the row in a table that has an entry for each row.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The row `rows` further on, at most number 65,535.
    #[inline(always)]
    pub const fn plus(self, rows: u16) -> Self {
        Row(self.0.saturating_add(rows))
    }
}

/// A set of rows: one bit for each row that a task table can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowSet([u64; WORDS]);

const WORDS: usize = MAX_TASKS.div_ceil(64);

impl RowSet {
    /// The set without a row.
    pub const EMPTY: RowSet = RowSet([0; WORDS]);

    /// The index of the word that holds a row's bit, and the bit. The index is in range for every
    /// row of the table; the remainder lets the compiler know that.
    #[inline(always)]
    #[allow(clippy::modulo_one, reason = "how many words there are follows from how many tasks there can be")]
    const fn place(row: Row) -> (usize, u64) {
        (row.index() / 64 % WORDS, 1 << (row.index() % 64))
    }

    /// Whether the set has no row.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Whether the row is in the set.
    #[inline(always)]
    pub fn contains(&self, row: Row) -> bool {
        let (word, bit) = Self::place(row);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds a row.
    #[inline(always)]
    pub fn insert(&mut self, row: Row) {
        let (word, bit) = Self::place(row);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Removes a row.
    #[inline(always)]
    pub fn remove(&mut self, row: Row) {
        let (word, bit) = Self::place(row);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Adds all rows of another set.
    #[inline(always)]
    pub fn add(&mut self, other: RowSet) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    /// Removes the lowest row and returns it.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Row> {
        let (number, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        Some(Row((number * 64) as u16 + bit as u16))
    }
}

impl core::fmt::Debug for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl core::fmt::Display for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_every_row_that_a_table_can_have() {
        let mut set = RowSet::EMPTY;
        assert!(set.is_empty() && set.pop().is_none());
        let rows = || (0..MAX_TASKS as u16).map(Row::new);
        rows().for_each(|row| set.insert(row));
        assert!(rows().all(|row| set.contains(row)));
        set.remove(Row::new(3));
        let mut more = RowSet::EMPTY;
        more.insert(Row::new(3));
        more.insert(Row::new(0));
        let all = rows().filter(|row| row.number() != 3);
        all.for_each(|row| assert_eq!(set.pop(), Some(row)));
        assert!(set.is_empty());
        set.add(more);
        assert_eq!([set.pop(), set.pop(), set.pop()], [Some(Row::new(0)), Some(Row::new(3)), None]);
    }
}
