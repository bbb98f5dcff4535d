//! A model of a terminal, for tests.

use crate::editor::COLUMNS;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A terminal that supports the editor's output.
#[derive(Clone)]
pub(crate) struct Terminal {
    width: usize,
    /// Whether the cursor moves to the next row with the character in the last column, or only with
    /// the following one.
    eager: bool,
    rows: Vec<Vec<char>>,
    row: usize,
    col: usize,
    pending: bool,
}

impl Terminal {
    pub(crate) fn new(width: usize, eager: bool) -> Terminal {
        Terminal { width, eager, rows: vec![vec![' '; width]], row: 0, col: 0, pending: false }
    }

    fn line_feed(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(vec![' '; self.width]);
        }
    }

    pub(crate) fn feed(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => (self.col, self.pending) = (0, false),
                '\n' => {
                    self.pending = false;
                    self.line_feed();
                }
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut count = None;
                    let letter = loop {
                        match chars.next() {
                            Some(d) if d.is_ascii_digit() => {
                                count = Some(count.unwrap_or(0) * 10 + d.to_digit(10).unwrap() as usize);
                            }
                            other => break other,
                        }
                    };
                    self.sequence(letter.expect("sequence ends"), count);
                }
                c => {
                    assert!(!c.is_control(), "{c:?}");
                    if self.pending {
                        self.pending = false;
                        self.col = 0;
                        self.line_feed();
                    }
                    self.rows[self.row][self.col] = c;
                    self.col += 1;
                    if self.col == self.width {
                        self.col = if self.eager { 0 } else { self.width - 1 };
                        self.pending = !self.eager;
                        if self.eager {
                            self.line_feed();
                        }
                    }
                }
            }
        }
    }

    fn sequence(&mut self, letter: char, count: Option<usize>) {
        self.pending = false;
        let n = count.unwrap_or(1);
        match (letter, count) {
            ('A', _) => self.row = self.row.checked_sub(n).expect("never above the top"),
            ('B', _) => {
                self.row += n;
                assert!(self.row < self.rows.len(), "only to rows that exist");
            }
            ('C', _) => {
                self.col += n;
                assert!(self.col < self.width);
            }
            ('D', _) => self.col = self.col.checked_sub(n).expect("never left of the edge"),
            ('J', None) => {
                let (row, col) = (self.row, self.col);
                self.rows[row][col..].fill(' ');
                self.rows[row + 1..].iter_mut().for_each(|row| row.fill(' '));
            }
            ('J', Some(2)) => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            ('H', None) => (self.row, self.col) = (0, 0),
            other => panic!("unexpected sequence {other:?}"),
        }
    }

    pub(crate) fn text(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().into()).collect();
        while lines.last().is_some_and(|line: &String| line.is_empty()) {
            lines.pop();
        }
        lines
    }

    /// Checks that the display ends with prompt and line, and that the cursor is at the right
    /// position.
    pub(crate) fn check(&self, prompt: &str, line: &str, cursor: usize) {
        let cells: Vec<char> = prompt.chars().chain(line.chars()).collect();
        let at = prompt.chars().count() + cursor;
        assert_eq!((self.col, self.pending), (at % COLUMNS, false), "column of the cursor");
        let first = self.row.checked_sub(at / COLUMNS).expect("the prompt is on the display");
        let mut shown: Vec<char> = Vec::new();
        for (i, row) in self.rows.iter().enumerate().skip(first) {
            let used = COLUMNS.min(cells.len().saturating_sub((i - first) * COLUMNS));
            shown.extend(&row[..used]);
            assert!(row[used..].iter().all(|c| *c == ' '), "nothing is left over: {row:?}");
        }
        assert_eq!(shown, cells);
    }
}
