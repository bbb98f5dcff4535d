//! The completion of words by Tab.

use alloc::string::String;
use alloc::vec::Vec;

/// Most entries of a list; the others are ignored.
pub const MAX_ENTRIES: usize = 512;

/// The words that can be completed: commands, and arguments of commands.
#[derive(Default, Debug)]
pub struct Completions {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The command whose argument `word` is; empty if `word` is a command itself.
    command: String,
    word: String,
}

/// The word to complete and the possible completions.
#[derive(PartialEq, Eq, Debug)]
pub struct Candidates<'a> {
    /// The part of the word that is typed already.
    pub typed: &'a str,
    /// The words that begin with the typed part, sorted, without duplicates.
    pub words: Vec<&'a str>,
}

impl Completions {
    /// Parses a list with one entry a line, each `command` or `command argument`.
    pub fn parse(list: &str) -> Completions {
        let mut entries = Vec::new();
        for line in list.lines().take(MAX_ENTRIES) {
            let mut words = line.split_whitespace();
            let (first, second) = (words.next(), words.next());
            let (command, word) = match (first, second) {
                (Some(command), Some(word)) => (command, word),
                (Some(word), None) => ("", word),
                _ => continue,
            };
            let plain = |text: &str| text.chars().all(crate::editor::is_single_column);
            if plain(command) && plain(word) {
                entries.push(Entry { command: String::from(command), word: String::from(word) });
            }
        }
        Completions { entries }
    }

    /// The words that complete the end of `before`, the part of the line before the cursor. A
    /// semicolon begins a new command.
    pub fn candidates<'a>(&'a self, before: &'a str) -> Candidates<'a> {
        let part = match before.rfind(';') {
            Some(at) => before.get(at + 1..).unwrap_or_default(),
            None => before,
        };
        let part = part.trim_start();
        let typed = match part.rfind(char::is_whitespace) {
            Some(at) => part.get(at..).unwrap_or_default().trim_start(),
            None => part,
        };
        let command = match part.split_whitespace().next() {
            Some(first) if part.len() > first.len() => first,
            _ => "",
        };
        let mut words: Vec<&str> = self
            .entries
            .iter()
            .filter(|entry| entry.command == command && entry.word.starts_with(typed))
            .map(|entry| entry.word.as_str())
            .collect();
        words.sort_unstable();
        words.dedup();
        Candidates { typed, words }
    }
}

impl<'a> Candidates<'a> {
    /// The longest common part of all candidates after the typed part.
    pub fn common_rest(&self) -> &'a str {
        let Some((first, others)) = self.words.split_first() else {
            return "";
        };
        let mut len = first.len();
        for other in others {
            let same = first.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
            let limit = same.map_or(first.len().min(other.len()), |((at, _), _)| at);
            len = len.min(limit);
        }
        first.get(self.typed.len()..len).unwrap_or_default()
    }

    /// The candidates in columns, at most `columns` wide, each line closed by CR LF.
    pub fn listing(&self, columns: usize) -> String {
        let widest = self.words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
        let per_row = (columns / (widest + 2)).max(1);
        let mut text = String::new();
        for row in self.words.chunks(per_row) {
            for (i, word) in row.iter().enumerate() {
                text.push_str(word);
                if i + 1 < row.len() {
                    let gap = widest + 2 - word.chars().count();
                    text.extend(core::iter::repeat_n(' ', gap));
                }
            }
            text.push_str("\r\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn sample() -> Completions {
        Completions::parse("help\nkill\nkeymap\nkill vga\nkill serial\nkill shell\nhelp kill\n\n  \nkill vga\n")
    }

    #[test]
    fn the_first_word_is_a_command() {
        let list = sample();
        assert_eq!(list.candidates("k").words, vec!["keymap", "kill"]);
        assert_eq!(list.candidates("  he").words, vec!["help"]);
        assert_eq!(list.candidates("").words, vec!["help", "keymap", "kill"]);
        assert_eq!(list.candidates("k").common_rest(), "");
        assert_eq!(list.candidates("ke").common_rest(), "ymap");
    }

    #[test]
    fn later_words_are_arguments_of_the_command() {
        let list = sample();
        assert_eq!(list.candidates("kill ").words, vec!["serial", "shell", "vga"]);
        assert_eq!(list.candidates("kill s").words, vec!["serial", "shell"]);
        assert_eq!(list.candidates("kill vga v").typed, "v");
        assert_eq!(list.candidates("help ").words, vec!["kill"]);
        assert!(list.candidates("nothing ").words.is_empty());
        assert!(list.candidates("kill x").words.is_empty());
        assert_eq!(list.candidates("kill x").common_rest(), "");
    }

    #[test]
    fn a_semicolon_begins_anew() {
        let list = sample();
        assert_eq!(list.candidates("help; kill v").words, vec!["vga"]);
        assert_eq!(list.candidates("help;ki").words, vec!["kill"]);
    }

    #[test]
    fn common_prefixes_end_at_characters() {
        let list = Completions::parse("größe\ngräser");
        assert_eq!(list.candidates("g").common_rest(), "r");
        assert_eq!(list.candidates("gr").common_rest(), "");
    }

    #[test]
    fn listings_stand_in_columns() {
        let list = Completions::parse("a\nbbb\ncc\nd");
        assert_eq!(list.candidates("").listing(10), "a    bbb\r\ncc   d\r\n");
        assert_eq!(list.candidates("").listing(1), "a\r\nbbb\r\ncc\r\nd\r\n");
    }

    #[test]
    fn control_characters_never_get_in() {
        assert!(Completions::parse("a\u{1b}[2Jb").candidates("").words.is_empty());
    }
}
