//! Values of each kind. A missing key gives the default; a wrong value is reported, and gives the default too, so that
//! reading goes on and finds the next fault.

use super::At;
use super::read::Reader;
use super::source::{Problem, nearest};
use abi::PAGE_SIZE;
use toml_edit::{Item, TableLike, Value};

impl Reader<'_> {
    pub(super) fn text(&mut self, table: &dyn TableLike, key: &str) -> Option<At<String>> {
        let item = table.get(key)?;
        match item.as_str() {
            Some("") => {
                self.problem(offset(item), format!("`{key}` is empty; leave the line out or fill it in"));
                None
            }
            Some(text) => Some(self.at(offset(item), text.to_owned())),
            None => {
                self.wrong_kind(item, key, "text in quotes");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, table: &dyn TableLike, key: &str, default: bool) -> At<bool> {
        let Some(item) = table.get(key) else { return self.at(self.here, default) };
        let value = item.as_bool().unwrap_or_else(|| {
            self.wrong_kind(item, key, "true or false");
            default
        });
        self.at(offset(item), value)
    }

    pub(super) fn integer(&mut self, table: &dyn TableLike, key: &str, least: i64, most: i64, default: i64) -> At<i64> {
        let Some(item) = table.get(key) else { return self.at(self.here, default) };
        let value = match item.as_integer() {
            Some(value) if (least..=most).contains(&value) => value,
            Some(value) => {
                // Addresses are thought of in hexadecimal.
                let shown = |value: i64| match key {
                    "base" | "len" if value > 0 => format!("{value:#X}"),
                    _ => value.to_string(),
                };
                let limits = match most {
                    i64::MAX => format!("{} or more", shown(least)),
                    _ => format!("from {} to {}", shown(least), shown(most)),
                };
                self.problem(offset(item), format!("`{key}` is {}; it must be {limits}", shown(value)));
                default
            }
            None => {
                self.wrong_kind(item, key, "a whole number");
                default
            }
        };
        self.at(offset(item), value)
    }

    /// A size, in frames.
    pub(super) fn frames(&mut self, table: &dyn TableLike, key: &str, default: u64, least: u64, most: u64) -> At<u32> {
        let page = PAGE_SIZE as u64;
        let frames = |bytes: u64| (bytes / page) as u32;
        let Some(item) = table.get(key) else { return self.at(self.here, frames(default)) };
        let bytes = match (item.as_integer(), item.as_str()) {
            (Some(bytes), _) => u64::try_from(bytes).ok(),
            (_, Some(text)) => size(text),
            _ => None,
        };
        let wrong = match bytes {
            None => Some(format!("`{key}` must be a size such as \"256K\", \"2M\" or a number of bytes")),
            Some(bytes) if !bytes.is_multiple_of(page) => Some(format!(
                "`{key}` is {bytes} bytes; it must be whole pages of 4K: use \"{}K\"",
                bytes.div_ceil(page) * 4
            )),
            Some(bytes) if bytes < least * page => Some(format!("`{key}` is 0; it must be at least \"4K\"")),
            Some(bytes) if bytes > most => {
                Some(format!("`{key}` is {}; the most that makes sense is {}", human(bytes), human(most)))
            }
            Some(_) => None,
        };
        let value = match (wrong, bytes) {
            (None, Some(bytes)) => frames(bytes),
            (wrong, _) => {
                self.problem(offset(item), wrong.unwrap_or_default());
                frames(default)
            }
        };
        self.at(offset(item), value)
    }

    pub(super) fn word<T: Copy, const N: usize>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        words: &[(&str, T); N],
        default: T,
    ) -> T {
        let Some(text) = self.text(table, key) else { return default };
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, value)) => *value,
            None => {
                let message = unknown_word(&format!("`{key}`"), &text.value, words.each_ref().map(|(word, _)| *word));
                self.problems.push(Problem { place: text.place, text: message });
                default
            }
        }
    }

    /// A list of names, each at most once.
    pub(super) fn names(&mut self, table: &dyn TableLike, key: &str, most: usize) -> Vec<At<String>> {
        let Some(item) = table.get(key) else { return Vec::new() };
        let Some(array) = item.as_array() else {
            let example = if key == "kernel" { "logs" } else { "serial" };
            self.wrong_kind(item, key, &format!("a list of names such as [\"{example}\"]"));
            return Vec::new();
        };
        let mut names: Vec<At<String>> = Vec::new();
        for value in array {
            let at = value.span().map_or(0, |span| span.start);
            let Some(name) = value.as_str() else {
                let text = format!("`{key}` must hold names in quotes, not {}", kind(value.type_name()));
                self.problem(at, text);
                continue;
            };
            if names.iter().any(|known| known.value == name) {
                self.problem(at, format!("`{key}` names `{name}` twice; once is enough"));
                continue;
            }
            names.push(self.at(at, name.to_owned()));
        }
        if names.len() > most {
            self.too_many(item, key, names.len(), most);
        }
        names
    }

    /// The tables in a list, which may be written inline or as `[[task.NAME.key]]`.
    pub(super) fn entries<'t>(
        &mut self,
        table: &'t dyn TableLike,
        key: &str,
        example: &str,
        most: usize,
    ) -> Vec<(usize, &'t dyn TableLike)> {
        let Some(item) = table.get(key) else { return Vec::new() };
        let mut entries: Vec<(usize, &'t dyn TableLike)> = Vec::new();
        match item {
            Item::ArrayOfTables(tables) => {
                for table in tables {
                    entries.push((table.span().map_or(0, |span| span.start), table));
                }
            }
            Item::Value(Value::Array(array)) => {
                for value in array {
                    let at = value.span().map_or(0, |span| span.start);
                    match value.as_inline_table() {
                        Some(table) => entries.push((at, table)),
                        None => {
                            let text =
                                format!("`{key}` must hold tables such as {example}, not {}", kind(value.type_name()));
                            self.problem(at, text);
                        }
                    }
                }
            }
            _ => self.wrong_kind(item, key, &format!("a list such as [{example}]")),
        }
        if entries.len() > most {
            self.too_many(item, key, entries.len(), most);
        }
        entries
    }

    pub(super) fn table<'t>(&mut self, item: &'t Item, what: &str) -> Option<&'t dyn TableLike> {
        let table = item.as_table_like();
        if table.is_none() {
            let text = format!("{what} must be a table, not {}", kind(item.type_name()));
            self.problem(offset(item), text);
        }
        table
    }

    pub(super) fn required(&mut self, table: &dyn TableLike, offset: usize, keys: &[&str], what: &str) -> bool {
        let missing: Vec<_> = keys.iter().filter(|key| table.get(key).is_none()).collect();
        for key in &missing {
            self.problem(offset, format!("{what} needs `{key}`"));
        }
        missing.is_empty()
    }

    pub(super) fn known(&mut self, table: &dyn TableLike, known: &[&str], what: &str) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(key)) {
            let text = match nearest(key, known.iter().copied()) {
                Some(near) => format!("{what} has no key `{key}`; did you mean `{near}`?"),
                None => format!("{what} has no key `{key}`; it may have {}", list(known)),
            };
            let offset = self.key_offset(table, key);
            self.problem(offset, text);
        }
    }

    pub(super) fn wrong_kind(&mut self, item: &Item, key: &str, wanted: &str) {
        let found = match item {
            Item::Value(value) => value.type_name(),
            other => other.type_name(),
        };
        self.problem(offset(item), format!("`{key}` must be {wanted}, not {}", kind(found)));
    }

    pub(super) fn too_many(&mut self, item: &Item, key: &str, count: usize, most: usize) {
        self.problem(offset(item), format!("`{key}` has {count} entries; a task can have at most {most}"));
    }

    pub(super) fn key_offset(&self, table: &dyn TableLike, key: &str) -> usize {
        table.key(key).and_then(|key| key.span()).map_or(0, |span| span.start)
    }

    pub(super) fn at<T>(&self, offset: usize, value: T) -> At<T> {
        At { value, place: self.source.place(self.number, offset) }
    }

    pub(super) fn problem(&mut self, offset: usize, text: String) {
        self.problems.push(Problem { place: self.source.place(self.number, offset), text });
    }
}

impl<T> At<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), place: self.place }
    }
}

pub(super) fn offset(item: &Item) -> usize {
    item.span().map_or(0, |span| span.start)
}

/// A kind of value with its article.
pub(super) fn kind(name: &str) -> String {
    match name {
        "integer" | "array" | "inline table" | "array of tables" => format!("an {name}"),
        "boolean" => "true or false".to_owned(),
        _ => format!("a {name}"),
    }
}

pub(super) fn unknown_word<const N: usize>(what: &str, word: &str, known: [&str; N]) -> String {
    match nearest(word, known) {
        Some(near) => format!("there is no {what} \"{word}\"; did you mean \"{near}\"?"),
        None => format!("there is no {what} \"{word}\"; it is one of {}", list(&known)),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Bytes of `256K`, `2M` or a plain number.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (text.get(..text.len() - 1)?, 1 << 10),
        b'M' => (text.get(..text.len() - 1)?, 1 << 20),
        _ => (text, 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size as the file would have it.
pub fn human(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}K", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
