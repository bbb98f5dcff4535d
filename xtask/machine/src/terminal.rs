//! What a person would see on the serial line: the bytes of a terminal session turned into lines of text.
//!
//! A line editor repaints, moves the cursor and colours; a log line can come between. So neither the prompt nor what a
//! command printed can be found in the raw bytes. This is a terminal of endless height and width that understands as
//! much of ECMA-48 as the console uses, and forgets all colours.

use vte::{Params, Parser, Perform};

/// The prompt of the system's shell.
pub const PROMPT: &str = "enigma> ";

/// The text of a session so far.
#[derive(Default)]
pub struct Terminal {
    parser: Parser,
    page: Page,
}

/// Lines of text and the place of the cursor among them.
#[derive(Default)]
struct Page {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The line at the top of the screen since it was cleared last.
    home: usize,
    /// How many lines the shell has finished, and how the last one ended.
    finished: (usize, u8),
}

impl Terminal {
    /// Takes what came over the line.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.page, bytes);
    }

    /// The number of the line that the cursor is on; it never goes back but by cursor movements of the guest.
    #[must_use]
    pub(crate) fn row(&self) -> usize {
        self.page.row
    }

    /// The line that the cursor is on, up to the cursor.
    #[must_use]
    pub fn before_cursor(&self) -> String {
        let line = self.page.lines.get(self.page.row).map(Vec::as_slice).unwrap_or_default();
        let mut text: String = line.iter().take(self.page.column).collect();
        // The cursor can stand beyond the end of what was written.
        text.extend(std::iter::repeat_n(' ', self.page.column.saturating_sub(line.len())));
        text
    }

    /// Whether the shell waits for a command and none was typed yet.
    #[must_use]
    pub fn at_prompt(&self) -> bool {
        self.before_cursor() == PROMPT && self.line(self.page.row).trim_end() == PROMPT.trim_end()
    }

    /// How many lines of commands the shell has said to have finished, and the status of the last one: 0 where all its commands did what they
    /// should.
    #[must_use]
    pub fn finished(&self) -> (usize, u8) {
        self.page.finished
    }

    /// One line, without the blanks at its end.
    #[must_use]
    pub(crate) fn line(&self, row: usize) -> String {
        let line: String = self.page.lines.get(row).map(|line| line.iter().collect()).unwrap_or_default();
        line.trim_end().to_owned()
    }

    /// The lines from `from` up to, but without, `to`.
    pub fn lines(&self, from: usize, to: usize) -> impl Iterator<Item = String> + '_ {
        (from..to.min(self.page.lines.len())).map(|row| self.line(row))
    }

    /// How many lines there are.
    #[must_use]
    pub fn height(&self) -> usize {
        self.page.lines.len()
    }

    /// The first line from `from` on that begins the lines `rows`, all of them before `before`.
    #[must_use]
    pub(crate) fn find_rows(&self, rows: &[String], from: usize, before: usize) -> Option<usize> {
        let last = before.min(self.height()).checked_sub(rows.len())?;
        (from..=last).find(|start| rows.iter().zip(*start..).all(|(row, at)| self.line(at) == *row))
    }

    /// The last line before `before` that is exactly `text`.
    #[must_use]
    pub(crate) fn find_back(&self, text: &str, before: usize) -> Option<usize> {
        (0..before.min(self.height())).rev().find(|row| self.line(*row) == text.trim_end())
    }
}

impl Page {
    fn current(&mut self) -> &mut Vec<char> {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, character: char) {
        let column = self.column;
        let line = self.current();
        if line.len() <= column {
            line.resize(column + 1, ' ');
        }
        line[column] = character;
        self.column += 1;
    }

    /// Starts a fresh page below everything there is, so that a cleared screen loses nothing that was said before.
    fn clear(&mut self) {
        self.home = self.lines.len();
        (self.row, self.column) = (self.home, 0);
        self.current();
    }
}

/// How far a terminal moves at most for one sequence: no garbage on the line can make us fill the memory.
const FARTHEST: usize = 1000;

fn parameter(params: &Params, index: usize, default: usize) -> usize {
    let value = params.iter().nth(index).and_then(|sub| sub.first().copied()).map_or(0, usize::from);
    if value == 0 { default } else { value.min(FARTHEST) }
}

impl Perform for Page {
    fn print(&mut self, character: char) {
        self.put(character);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.row += 1;
                self.current();
            }
            b'\r' => self.column = 0,
            8 => self.column = self.column.saturating_sub(1),
            b'\t' => self.column = (self.column / 8 + 1) * 8,
            12 => self.clear(),
            _ => {}
        }
    }

    /// The mark at the end of a command ("semantic prompts"): OSC 133 ; D ; STATUS.
    fn osc_dispatch(&mut self, params: &[&[u8]], _bell: bool) {
        if let [b"133", b"D", status] = params {
            let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
            self.finished = (self.finished.0 + 1, status.unwrap_or(u8::MAX));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        if !intermediates.is_empty() {
            return;
        }
        match action {
            'A' => self.row = self.row.saturating_sub(parameter(params, 0, 1)).max(self.home),
            'B' => {
                self.row += parameter(params, 0, 1);
                self.current();
            }
            'C' => self.column = (self.column + parameter(params, 0, 1)).min(FARTHEST),
            'D' => self.column = self.column.saturating_sub(parameter(params, 0, 1)),
            'G' => self.column = parameter(params, 0, 1) - 1,
            'H' | 'f' => {
                self.row = self.home + parameter(params, 0, 1) - 1;
                self.column = parameter(params, 1, 1) - 1;
                self.current();
            }
            'J' => match parameter(params, 0, 0) {
                0 => {
                    let (row, column) = (self.row, self.column);
                    self.current().truncate(column);
                    self.lines.truncate(row + 1);
                }
                1 => {}
                _ => self.clear(),
            },
            'K' => {
                let column = self.column;
                let line = self.current();
                match parameter(params, 0, 0) {
                    0 => line.truncate(column),
                    1 => line.iter_mut().take(column + 1).for_each(|cell| *cell = ' '),
                    _ => line.clear(),
                }
            }
            'P' => {
                let (column, count) = (self.column, parameter(params, 0, 1));
                let line = self.current();
                let end = line.len().min(column + count);
                if column < end {
                    line.drain(column..end);
                }
            }
            '@' => {
                let (column, count) = (self.column, parameter(params, 0, 1));
                let line = self.current();
                if column < line.len() {
                    line.splice(column..column, std::iter::repeat_n(' ', count));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_command_is_heard_and_not_shown() {
        let terminal = shown("ab\r\n\x1b]133;D;0\x1b\\enigma> \x1b]133;A\x07\x1b]0;title\x07\x1b]133;D;1\x07");
        assert_eq!(terminal.finished(), (2, 1));
        assert!(terminal.at_prompt(), "{:?}", terminal.before_cursor());
        assert_eq!(shown("\x1b]133;D;\x07").finished(), (1, u8::MAX));
        assert_eq!(shown("133;D;0").finished(), (0, 0));
    }

    fn shown(bytes: &str) -> Terminal {
        let mut terminal = Terminal::default();
        // Byte by byte: that is how it comes over the line.
        for byte in bytes.as_bytes() {
            terminal.feed(std::slice::from_ref(byte));
        }
        terminal
    }

    #[test]
    fn colours_and_returns_vanish() {
        let terminal = shown("\x1b[1;32mgreen\x1b[0m\r\nplain\x1b]0;title\x07\r\n");
        assert_eq!(terminal.lines(0, terminal.height()).collect::<Vec<_>>(), ["green", "plain", ""]);
    }

    #[test]
    fn the_prompt_is_seen_however_it_is_painted() {
        assert!(shown("boot\r\nenigma> ").at_prompt());
        assert!(shown("boot\r\n\x1b[36menigma>\x1b[0m ").at_prompt());
        assert!(shown("junk\r\x1b[Kenigma> ").at_prompt());
        assert!(shown("enigma> help\r\x1b[Kenigma> \x1b[9G").at_prompt());
        assert!(!shown("enigma> h").at_prompt());
        assert!(!shown("enigma>").at_prompt());
        assert!(!shown("enigma> help\r\n").at_prompt());
        assert!(!shown("enigma> help\x1b[9G").at_prompt(), "the cursor was moved to the start of a command");
    }

    #[test]
    fn a_repainted_line_is_one_line() {
        let terminal = shown("enigma> \r\x1b[Kenigma> e\r\x1b[Kenigma> ec\r\n");
        assert_eq!(terminal.lines(0, 2).collect::<Vec<_>>(), ["enigma> ec", ""]);
        assert_eq!(terminal.find_back("enigma> ec", 5), Some(0));
        assert_eq!(terminal.find_rows(&["enigma> ec".to_owned()], 0, 1), Some(0));
        assert_eq!(terminal.find_rows(&["enigma> ec".to_owned()], 0, 0), None);
        assert_eq!(terminal.find_rows(&["enigma> ec".to_owned()], 1, 2), None);
        assert_eq!(shown("a\r\nb\r\nc").find_rows(&["b".to_owned(), "c".to_owned()], 0, 9), Some(1));
    }

    #[test]
    fn a_log_line_goes_above_the_prompt() {
        let terminal = shown("enigma> ab\r\x1b[K[serial] hello\r\nenigma> ab");
        assert_eq!(terminal.before_cursor(), "enigma> ab");
        assert_eq!(terminal.line(0), "[serial] hello");
    }

    #[test]
    fn clearing_keeps_what_was_said() {
        let terminal = shown("one\r\n\x1b[2J\x1b[Htwo\r\n\x1b[H\x1b[2Kthree");
        assert_eq!(terminal.lines(0, 9).collect::<Vec<_>>(), ["one", "", "three", ""]);
    }

    #[test]
    fn editing_inside_a_line() {
        assert_eq!(shown("abc\x08\x08\x1b[@X").line(0), "aXbc");
        assert_eq!(shown("abc\x08\x08\x1b[P").line(0), "ac");
        assert_eq!(shown("abc\x1b[2D\x1b[K").line(0), "a");
        assert_eq!(shown("a\tb").line(0), "a       b");
    }

    #[test]
    fn broken_bytes_do_no_harm() {
        let mut terminal = Terminal::default();
        for round in 0..2000u32 {
            let bytes = round.wrapping_mul(2_654_435_761).to_le_bytes();
            terminal.feed(&bytes);
            terminal.feed(b"\x1b[65535;65535H\x1b[65535B\x1b[65535C");
        }
        assert!(terminal.height() < 10_000_000);
        terminal.feed(b"\x18\x1b[2J\r\nenigma> ");
        assert!(terminal.at_prompt());
    }
}
