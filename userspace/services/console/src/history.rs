//! The history of lines.

use alloc::collections::VecDeque;
use alloc::string::String;

/// Most bytes of the history, with one for the end of each line.
pub const MAX_BYTES: usize = 4096;

/// Most lines of the history.
pub const MAX_LINES: usize = 200;

/// Lines typed before, oldest first, and the position while browsing.
#[derive(Default, Debug)]
pub struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// Index of the line that is shown: `lines.len()` for the one being typed.
    at: usize,
    /// The line that was being typed when browsing began.
    draft: String,
}

impl History {
    /// Adds a line as the newest; removes an older copy of it, and the oldest lines if there is no
    /// room.
    pub fn add(&mut self, line: &str) {
        let fits = line.len() < MAX_BYTES;
        if fits && !line.trim().is_empty() && !line.contains('\n') {
            if let Some(old) = self.lines.iter().position(|known| known == line) {
                self.lines.remove(old);
                self.bytes -= line.len() + 1;
            }
            self.lines.push_back(String::from(line));
            self.bytes += line.len() + 1;
            while self.bytes > MAX_BYTES || self.lines.len() > MAX_LINES {
                let Some(oldest) = self.lines.pop_front() else {
                    break;
                };
                self.bytes -= oldest.len() + 1;
            }
        }
        self.rest();
    }

    /// Returns to the line being typed.
    pub fn rest(&mut self) {
        self.at = self.lines.len();
        self.draft.clear();
    }

    /// Moves to the line before the one that is shown, and returns it; `current` is the text that
    /// is shown now. `None` at the oldest.
    pub fn older(&mut self, current: &str) -> Option<&str> {
        if self.at == self.lines.len() {
            self.draft = String::from(current);
        }
        self.at = self.at.checked_sub(1)?;
        self.lines.get(self.at).map(String::as_str)
    }

    /// Moves to the line after the one that is shown, and returns it; after the newest comes the
    /// line that was being typed. `None` after that.
    pub fn newer(&mut self) -> Option<&str> {
        if self.at >= self.lines.len() {
            return None;
        }
        self.at += 1;
        Some(self.lines.get(self.at).unwrap_or(&self.draft))
    }

    /// All lines, each closed by a line feed: at most [`MAX_BYTES`] bytes.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes);
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The history of which `text` is the [`History::text`]; lines for which there is no room are
    /// left out.
    pub fn from_text(text: &str) -> History {
        let mut history = History::default();
        for line in text.lines() {
            history.add(line);
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn browsing_returns_to_the_draft() {
        let mut history = History::default();
        history.add("one");
        history.add("two");
        assert_eq!(history.older("dra"), Some("two"));
        assert_eq!(history.older("two"), Some("one"));
        assert_eq!(history.older("one"), None);
        assert_eq!(history.newer(), Some("two"));
        assert_eq!(history.newer(), Some("dra"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn the_oldest_line_stays_reachable_after_running_against_it() {
        let mut history = History::default();
        history.add("one");
        history.add("two");
        while history.older("").is_some() {}
        assert_eq!(history.older(""), None);
        assert_eq!(history.newer(), Some("two"));
    }

    #[test]
    fn duplicates_and_blanks_are_dropped() {
        let mut history = History::default();
        for line in ["a", "b", "a", "  ", "", "x\ny"] {
            history.add(line);
        }
        assert_eq!(history.text(), "b\na\n");
    }

    #[test]
    fn it_is_bounded_in_lines_and_bytes() {
        let mut history = History::default();
        for i in 0..1000 {
            history.add(&format!("{i}"));
        }
        assert_eq!(history.text().lines().count(), MAX_LINES);
        for i in 0..100 {
            history.add(&format!("{i:0500}"));
        }
        let text = history.text();
        assert!(text.len() <= MAX_BYTES);
        assert!(text.ends_with(&format!("{:0500}\n", 99)));
        history.add(&"z".repeat(MAX_BYTES));
        assert_eq!(history.text(), text, "a line that can never fit changes nothing");
    }

    #[test]
    fn it_survives_as_text() {
        let mut history = History::default();
        history.add("grüße");
        history.add("two");
        let mut again = History::from_text(&history.text());
        assert_eq!(again.text(), history.text());
        assert_eq!(again.older(""), Some("two"));
    }
}
