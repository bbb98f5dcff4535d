//! The line editor: takes keys, and produces terminal output. Independent of devices and system
//! calls.
//!
//! Output is plain text with the escape sequences `CSI A B C D J` (ECMA-48, sections 8.3.18 to
//! 8.3.22, 8.3.39), so that the screen and the terminal on the serial line show the same.

use crate::complete::Completions;
use crate::history::History;
use crate::key::Key;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Columns of a row that a line uses. One less than the screen has: terminals differ in when the
/// cursor wraps in the last column, and an explicit line break before it has the same effect on
/// all, wider ones included.
pub const COLUMNS: usize = 79;

/// Most bytes of a line.
pub const MAX_LINE: usize = 1000;

/// Most characters of a prompt.
pub const MAX_PROMPT: usize = 60;

/// An unfinished line.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Draft {
    /// The text of the line.
    pub text: String,
    /// Position of the cursor, in characters from the beginning; a position beyond the end means
    /// the end.
    pub cursor: usize,
    /// Whether characters were left out: the line must not be run.
    pub is_cut: bool,
}

impl From<&str> for Draft {
    /// A draft of this text with the cursor at the end.
    fn from(text: &str) -> Draft {
        Draft { text: text.into(), cursor: usize::MAX, is_cut: false }
    }
}

/// The result of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The line goes on.
    Editing,
    /// Enter: the line is finished.
    Line(String),
    /// Ctrl-C: the line is given up.
    Interrupted,
    /// Ctrl-D on an empty line.
    EndOfInput,
}

/// A line being edited, with the history and the completions.
#[derive(Default, Debug)]
pub struct Editor {
    prompt: Vec<char>,
    line: Vec<char>,
    /// Length of `line` in UTF-8, in bytes.
    bytes: usize,
    /// Index into `line`.
    cursor: usize,
    /// The lines typed before.
    pub history: History,
    /// The words that Tab completes.
    pub completions: Completions,
    /// Whether the key before was Tab and had nothing to add: another Tab lists the candidates.
    tabbed: bool,
    /// How many characters of this line were left out. The line is not run then: a part of a
    /// command could do anything.
    left_out: usize,
}

/// The message for the first character of a line that is left out because the line is full.
const FULL: &str = "[console] the line is full: 1000 bytes; what comes beyond them is left out\r\n";
/// The message for the first character of a line that is left out because displays show it in
/// different widths.
const UNKNOWN: &str = "[console] a character is left out that displays show in different widths\r\n";
/// The message instead of running a line of which characters were left out.
const NOT_RUN: &str = "[console] not run, because characters were left out; the Up key brings it back\r\n";

const _: () = assert!(FULL.len() < COLUMNS + 2 && UNKNOWN.len() < COLUMNS + 2 && NOT_RUN.len() < COLUMNS + 2);

/// Whether `c` takes exactly one column on the screen and on a terminal. Other characters cannot be
/// edited, as two different displays must agree on the position of the cursor (Unicode Standard
/// Annex 11, wide and zero-width ranges).
pub fn is_single_column(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}'
            | '\u{610}'..='\u{61c}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{1cff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{20d0}'..='\u{20ff}' | '\u{2e80}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7ff}' | '\u{e000}'..='\u{faff}' | '\u{fe00}'..='\u{fe6f}'
            | '\u{feff}'..='\u{ff60}' | '\u{ffe0}'..='\u{fffc}' | '\u{10000}'..)
}

/// Moves the cursor between two cells of the line, counted from the beginning of the prompt.
fn travel(from: usize, to: usize, out: &mut String) {
    let (from_row, to_row) = (from / COLUMNS, to / COLUMNS);
    let (from_col, to_col) = (from % COLUMNS, to % COLUMNS);
    if to_row < from_row {
        sequence(from_row - to_row, 'A', out);
    } else if to_row > from_row {
        sequence(to_row - from_row, 'B', out);
    }
    if to_col == 0 && from_col != 0 {
        out.push('\r');
    } else if to_col < from_col {
        sequence(from_col - to_col, 'D', out);
    } else if to_col > from_col {
        sequence(to_col - from_col, 'C', out);
    }
}

fn sequence(count: usize, letter: char, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match count {
        1 => write!(out, "\x1b[{letter}"),
        count => write!(out, "\x1b[{count}{letter}"),
    };
}

/// Prints characters; the first one is in cell `at`.
fn put(chars: &[char], mut at: usize, out: &mut String) {
    for &c in chars {
        out.push(c);
        at += 1;
        if at.is_multiple_of(COLUMNS) {
            out.push_str("\r\n");
        }
    }
}

impl Editor {
    /// Begins a line: shows the prompt and `draft`. The display's cursor must be in the first
    /// column.
    pub fn begin(&mut self, prompt: &str, draft: &Draft, out: &mut String) {
        self.prompt = prompt.chars().filter(|&c| is_single_column(c)).take(MAX_PROMPT).collect();
        self.line.clear();
        self.bytes = 0;
        for c in draft.text.chars().filter(|&c| is_single_column(c)) {
            if self.bytes + c.len_utf8() <= MAX_LINE {
                self.bytes += c.len_utf8();
                self.line.push(c);
            }
        }
        self.cursor = draft.cursor.min(self.line.len());
        self.tabbed = false;
        self.left_out = usize::from(draft.is_cut);
        self.history.rest();
        self.show(out);
    }

    /// The text of the line.
    pub fn text(&self) -> String {
        self.line.iter().collect()
    }

    /// The line as a draft for a later [`Editor::begin`].
    pub fn draft(&self) -> Draft {
        Draft { text: self.text(), cursor: self.cursor, is_cut: self.left_out > 0 }
    }

    /// Position of the cursor, in characters from the beginning of the line.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Moves the cursor to this character, or to the end if there is none.
    pub fn set_cursor(&mut self, cursor: usize, out: &mut String) {
        let cursor = cursor.min(self.line.len());
        travel(self.cell(self.cursor), self.cell(cursor), out);
        self.cursor = cursor;
    }

    /// Removes prompt and line from the display; the cursor is then where the prompt began.
    /// [`Editor::show`] shows them again.
    pub fn hide(&self, out: &mut String) {
        travel(self.cell(self.cursor), 0, out);
        out.push_str("\x1b[J");
    }

    /// Shows prompt and line from the first column on.
    pub fn show(&self, out: &mut String) {
        put(&self.prompt, 0, out);
        put(&self.line, self.cell(0), out);
        travel(self.cell(self.line.len()), self.cell(self.cursor), out);
    }

    /// Executes a key.
    pub fn key(&mut self, key: Key, out: &mut String) -> Outcome {
        let tabbed = core::mem::take(&mut self.tabbed);
        match key {
            Key::Char(c) => self.insert(c, out),
            Key::Enter => {
                self.leave(out);
                let text = self.text();
                self.history.add(&text);
                let whole = self.left_out == 0;
                self.clear();
                if whole {
                    return Outcome::Line(text);
                }
                out.push_str(NOT_RUN);
                self.show(out);
            }
            Key::Ctrl('c') => {
                self.set_cursor(usize::MAX, out);
                out.push_str("^C\r\n");
                self.clear();
                return Outcome::Interrupted;
            }
            Key::Ctrl('d') if self.line.is_empty() => {
                self.leave(out);
                return Outcome::EndOfInput;
            }
            Key::Tab => self.complete(tabbed, out),
            Key::Backspace if self.cursor > 0 => self.splice(self.cursor - 1, self.cursor, &[], out),
            Key::Delete | Key::Ctrl('d') if self.cursor < self.line.len() => {
                self.splice(self.cursor, self.cursor + 1, &[], out);
            }
            Key::Left | Key::Ctrl('b') => self.set_cursor(self.cursor.saturating_sub(1), out),
            Key::Right | Key::Ctrl('f') => self.set_cursor(self.cursor + 1, out),
            Key::Home | Key::Ctrl('a') => self.set_cursor(0, out),
            Key::End | Key::Ctrl('e') => self.set_cursor(usize::MAX, out),
            Key::WordLeft => self.set_cursor(self.word_start(), out),
            Key::WordRight => self.set_cursor(self.word_end(), out),
            Key::Ctrl('k') => self.splice(self.cursor, self.line.len(), &[], out),
            Key::Ctrl('u') => self.splice(0, self.cursor, &[], out),
            Key::Ctrl('w') => self.splice(self.word_start(), self.cursor, &[], out),
            Key::Ctrl('l') => {
                out.push_str("\x1b[2J\x1b[H");
                self.show(out);
            }
            Key::Up | Key::Ctrl('p') => {
                let current = self.text();
                let line: Option<Vec<char>> = self.history.older(&current).map(|line| line.chars().collect());
                if let Some(line) = line {
                    self.replace(&line, out);
                }
            }
            Key::Down | Key::Ctrl('n') => {
                let line: Option<Vec<char>> = self.history.newer().map(|line| line.chars().collect());
                if let Some(line) = line {
                    self.replace(&line, out);
                }
            }
            Key::Backspace | Key::Delete | Key::Ctrl(_) | Key::Escape => {}
        }
        Outcome::Editing
    }

    /// The cell of the character `index` of the line, counted from the beginning of the prompt.
    fn cell(&self, index: usize) -> usize {
        self.prompt.len() + index
    }

    fn clear(&mut self) {
        self.line.clear();
        self.bytes = 0;
        self.cursor = 0;
        self.left_out = 0;
    }

    /// Moves the cursor to the first column of a new row after the line.
    fn leave(&mut self, out: &mut String) {
        self.set_cursor(usize::MAX, out);
        let end = self.cell(self.line.len());
        // A line that fills its last row has begun the next one already.
        if end == 0 || !end.is_multiple_of(COLUMNS) {
            out.push_str("\r\n");
        }
    }

    fn insert(&mut self, c: char, out: &mut String) {
        if !is_single_column(c) {
            self.leave_out(UNKNOWN, out);
        } else if self.bytes + c.len_utf8() <= MAX_LINE {
            self.splice(self.cursor, self.cursor, &[c], out);
        } else {
            self.leave_out(FULL, out);
        }
    }

    /// Counts a character that is left out, and shows `note` for the first one.
    fn leave_out(&mut self, note: &str, out: &mut String) {
        if self.left_out == 0 {
            self.hide(out);
            out.push_str(note);
            self.show(out);
        }
        self.left_out += 1;
    }

    fn replace(&mut self, line: &[char], out: &mut String) {
        self.splice(0, self.line.len(), line, out);
        self.left_out = 0;
    }

    /// Replaces the characters `from..to` by `with`, and puts the cursor after it.
    fn splice(&mut self, from: usize, to: usize, with: &[char], out: &mut String) {
        let old_len = self.line.len();
        travel(self.cell(self.cursor), self.cell(from), out);
        self.line.splice(from..to, with.iter().copied());
        self.bytes = self.line.iter().map(|c| c.len_utf8()).sum();
        put(self.line.get(from..).unwrap_or_default(), self.cell(from), out);
        if self.line.len() < old_len {
            out.push_str("\x1b[J");
        }
        self.cursor = from + with.len();
        if self.line.is_empty() {
            self.left_out = 0;
        }
        travel(self.cell(self.line.len()), self.cell(self.cursor), out);
    }

    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let word = before.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
        before.get(..word).unwrap_or_default().iter().rposition(|c| *c == ' ').map_or(0, |at| at + 1)
    }

    fn word_end(&self) -> usize {
        let after = self.line.get(self.cursor..).unwrap_or_default();
        let word = after.iter().position(|c| *c != ' ').unwrap_or(after.len());
        let rest = after.get(word..).unwrap_or_default();
        self.cursor + word + rest.iter().position(|c| *c == ' ').unwrap_or(rest.len())
    }

    /// Completes the word before the cursor as far as all candidates agree; with `list`, shows the
    /// candidates if there are several.
    fn complete(&mut self, list: bool, out: &mut String) {
        let before: String = self.line.iter().take(self.cursor).collect();
        let found = self.completions.candidates(&before);
        let mut rest: Vec<char> = found.common_rest().chars().collect();
        if found.words.len() == 1 && self.line.get(self.cursor) != Some(&' ') {
            rest.push(' ');
        }
        if found.words.is_empty() {
            return;
        }
        if rest.is_empty() {
            if found.words.len() > 1 && list {
                let listing = found.listing(COLUMNS);
                let cursor = self.cursor;
                self.leave(out);
                out.push_str(&listing);
                self.cursor = cursor;
                self.show(out);
            }
            self.tabbed = !list;
        } else if self.bytes + rest.iter().map(|c| c.len_utf8()).sum::<usize>() <= MAX_LINE {
            self.splice(self.cursor, self.cursor, &rest, out);
        } else {
            self.leave_out(FULL, out);
        }
    }
}

#[cfg(test)]
#[path = "editor_tests.rs"]
pub(crate) mod tests;
