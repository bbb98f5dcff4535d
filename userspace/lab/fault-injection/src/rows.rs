//! What is to be on the screen when lines were written to it one below the other.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// Rows of the screen.
pub const ROWS: usize = 25;
/// Columns of the screen.
pub const COLS: usize = 80;
/// Light grey on black.
const ATTRIBUTE: u8 = 7;

/// The rows, from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(VecDeque<String>);

impl Default for Rows {
    /// A screen that was erased: the cursor is in the first row.
    fn default() -> Self {
        Rows(VecDeque::from([String::new()]))
    }
}

/// How a screen differs from what it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rows that are missing.
    pub missing: u32,
    /// Rows that are there more than once.
    pub doubled: u32,
    /// Cells that are not what they should be.
    pub cells: u32,
}

impl Rows {
    /// A line feed, then a line.
    pub fn push(&mut self, line: String) {
        if self.0.len() == ROWS {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// The rows that are not empty for want of lines.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The cells: glyph and attribute.
    pub fn cells(&self) -> Vec<u8> {
        let mut cells = Vec::with_capacity(ROWS * COLS * 2);
        let none = String::new();
        for row in self.0.iter().chain(core::iter::repeat(&none)).take(ROWS) {
            let glyphs = row.bytes().chain(core::iter::repeat(b' ')).take(COLS);
            cells.extend(glyphs.flat_map(|glyph| [glyph, ATTRIBUTE]));
        }
        cells
    }

    /// `None` where the screen shows just that.
    pub fn compare(&self, cells: &[u8]) -> Option<Difference> {
        let wanted = self.cells();
        if wanted == cells {
            return None;
        }
        let shown: Vec<Vec<u8>> =
            cells.chunks(COLS * 2).map(|row| row.iter().copied().step_by(2).collect::<Vec<u8>>()).collect();
        let times = |row: &str| shown.iter().filter(|shown| shown.trim_ascii_end() == row.as_bytes()).count();
        let rows = || self.0.iter().filter(|row| !row.is_empty());
        let differ = wanted.iter().zip(cells).filter(|(a, b)| a != b).count() + wanted.len().abs_diff(cells.len());
        Some(Difference {
            missing: rows().filter(|row| times(row) == 0).count() as u32,
            doubled: rows().filter(|row| times(row) > 1).count() as u32,
            cells: differ as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::line;

    fn painted(numbers: impl Iterator<Item = u32>) -> Rows {
        let mut rows = Rows::default();
        numbers.for_each(|n| rows.push(line(n, 30)));
        rows
    }

    #[test]
    fn the_first_rows_scroll_away() {
        let rows = painted(0..30);
        assert_eq!(rows.iter().next(), Some(line(5, 30).as_str()));
        let cells = rows.cells();
        assert_eq!((cells.len(), cells[0], cells[1]), (4000, b'0', 7));
        assert_eq!(rows.compare(&cells), None);
    }

    #[test]
    fn a_lost_a_doubled_and_a_damaged_row_are_told_apart() {
        let wanted = painted(0..40);
        let lost = painted((0..40).filter(|&n| n != 38)).cells();
        let found = wanted.compare(&lost).expect("a row is missing");
        assert_eq!((found.missing, found.doubled), (1, 0));
        let doubled = painted((0..39).chain([38, 39])).cells();
        let found = wanted.compare(&doubled).expect("a row is doubled");
        assert_eq!((found.missing, found.doubled), (1, 1), "the first row had to go for it");
        let mut cells = wanted.cells();
        cells[777] ^= 1;
        let found = wanted.compare(&cells).expect("a colour is wrong");
        assert_eq!(found, Difference { missing: 0, doubled: 0, cells: 1 });
        assert!(wanted.compare(&cells[..100]).is_some());
    }
}
