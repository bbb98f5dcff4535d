//! The format of figures and tables.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use rt::print::is_plain;

/// The alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A table with a heading row and one blank between columns; it must fit the width of the screen.
pub fn table(columns: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], i: usize| row.get(i).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, (title, _))| rows.iter().map(|row| cell(row, i)).max().unwrap_or(0).max(title.chars().count()))
        .collect();
    let mut out = String::new();
    let titles: Vec<String> = columns.iter().map(|(title, _)| String::from(*title)).collect();
    for row in core::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (i, (((_, side), width), text)) in columns.iter().zip(&widths).zip(row).enumerate() {
            if i > 0 {
                line.push(' ');
            }
            // Writing to a string cannot fail.
            let _ = match side {
                Side::Left => write!(line, "{text:<width$}"),
                Side::Right => write!(line, "{text:>width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `part` of `whole` in per cent with one digit after the point, rounded down; `-` if `whole` is 0.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::from("-");
    }
    let permille = u128::from(part.min(whole)) * 1000 / u128::from(whole);
    format!("{}.{}", permille / 10, permille % 10)
}

/// Nanoseconds as days, hours, minutes and seconds, without leading zero units: `3 min 07.5 s`.
pub fn duration(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (minutes, hours, days) = (seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    let mut text = String::new();
    if days > 0 {
        let _ = write!(text, "{days} d ");
    }
    if seconds >= 3600 {
        let _ = write!(text, "{hours} h ");
    }
    if seconds >= 60 {
        let _ = write!(text, "{minutes} min {:02}.{tenth} s", seconds % 60);
    } else {
        let _ = write!(text, "{seconds}.{tenth} s");
    }
    text
}

/// A number of bytes in the largest unit that is exact.
pub fn bytes(count: u64) -> String {
    match count {
        0 => String::from("0 bytes"),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

/// A number of frames in KiB.
pub fn frames_kib(frames: u64) -> u64 {
    frames * (abi::PAGE_SIZE as u64 / 1024)
}

/// A number with the digits in groups of three.
pub fn grouped(n: u64) -> String {
    let digits = format!("{n}");
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// Names in one line, or `none`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() { String::from("none") } else { names.join(", ") }
}

/// Text of a task in one line. Characters that a terminal would execute, or that could look like a
/// line of their own, are replaced.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn tables_line_up() {
        let rows =
            vec![vec![String::from("vga"), String::from("7")], vec![String::from("supervisor"), String::from("1234")]];
        assert_eq!(
            table(&[("NAME", Side::Left), ("N", Side::Right)], &rows),
            "NAME          N\nvga           7\nsupervisor 1234\n"
        );
        assert_eq!(table(&[("A", Side::Left), ("B", Side::Left)], &[]), "A B\n");
        assert_eq!(table(&[("A", Side::Left), ("B", Side::Left)], &[vec!["x".into()]]), "A B\nx\n");
    }

    #[test]
    fn percentages() {
        assert_eq!(percent(1, 3), "33.3");
        assert_eq!(percent(5, 5), "100.0");
        assert_eq!(percent(9, 5), "100.0");
        assert_eq!(percent(0, 5), "0.0");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(percent(u64::MAX - 1, u64::MAX), "99.9");
    }

    #[test]
    fn durations() {
        assert_eq!(duration(0), "0.0 s");
        assert_eq!(duration(59_990_000_000), "59.9 s");
        assert_eq!(duration(187_500_000_000), "3 min 07.5 s");
        assert_eq!(duration(3_600_000_000_000), "1 h 0 min 00.0 s");
        assert_eq!(duration(90_061_000_000_000), "1 d 1 h 1 min 01.0 s");
    }

    #[test]
    fn sizes_and_numbers() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(100), "100 bytes");
        assert_eq!(bytes(32 * 1024), "32 KiB");
        assert_eq!(bytes(3 << 20), "3 MiB");
        assert_eq!(frames_kib(3), 12);
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(123_456_789), "123,456,789");
        assert_eq!(list([]), "none");
        assert_eq!(list(["a", "b"]), "a, b");
    }

    #[test]
    fn text_of_a_task_is_one_plain_line() {
        assert_eq!(plain("a\x1b[2J\r\n[b] c\t\u{202e}\u{e4}\u{fffd}"), "a?[2J??[b] c??\u{e4}\u{fffd}");
    }
}
