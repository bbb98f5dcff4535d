//! Parses a line into commands and their arguments.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a line cannot be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// A quotation mark at this column (from 1) is never closed.
    OpenQuote(usize),
    /// The line ends with a backslash.
    LoneBackslash,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::OpenQuote(column) => write!(
                f,
                "the quotation mark in column {column} is not closed: add a second one, or write \\\" for the character itself"
            ),
            ParseError::LoneBackslash => {
                f.write_str("the line ends with a backslash: write \\\\ for the character itself")
            }
        }
    }
}

/// Splits a line into commands at semicolons, and each command into words at blanks. Between
/// quotation marks blanks and semicolons are ordinary characters; a backslash makes any next
/// character ordinary. Commands without a word are left out.
///
/// # Errors
/// See [`ParseError`].
pub fn parse(line: &str) -> Result<Vec<Vec<String>>, ParseError> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<usize> = None;
    let mut chars = line.chars().zip(1..);
    while let Some((c, column)) = chars.next() {
        match c {
            '\\' => {
                let (next, _) = chars.next().ok_or(ParseError::LoneBackslash)?;
                word.get_or_insert_default().push(next);
            }
            '"' => {
                quote = if quote.is_some() { None } else { Some(column) };
                word.get_or_insert_default();
            }
            c if quote.is_some() => word.get_or_insert_default().push(c),
            ';' => {
                words.extend(word.take());
                if !words.is_empty() {
                    commands.push(core::mem::take(&mut words));
                }
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if let Some(column) = quote {
        return Err(ParseError::OpenQuote(column));
    }
    words.extend(word);
    if !words.is_empty() {
        commands.push(words);
    }
    Ok(commands)
}

/// A number, decimal or hexadecimal after `0x`; underscores may separate digits.
pub fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    // The library's parser would take a sign.
    if plain.starts_with(['+', '-']) { None } else { u64::from_str_radix(&plain, radix).ok() }
}

/// A number of seconds, with fractions allowed, converted to nanoseconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = fraction.bytes().chain(core::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |sum: u64, b| sum * 10 + u64::from(b - b'0'));
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// The one of `names` that was probably meant, if any is similar enough.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let names = names.into_iter();
    let scored = names.filter_map(|name| {
        let begins = !word.is_empty() && name.starts_with(word);
        let distance = if begins { 1 } else { distance(word, name) };
        let limit = if name.chars().count() <= 3 { 1 } else { 2 };
        (distance <= limit && distance < word.chars().count().max(2)).then_some((distance, name))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How many insertions, removals, replacements and swaps of neighbours change one word into the
/// other ("optimal string alignment").
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (i, a) in from.chars().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        row.push(i + 1);
        for (j, &b) in to.iter().enumerate() {
            let mut best = above[j] + usize::from(a != b);
            best = best.min(above[j + 1] + 1).min(row[j] + 1);
            if j > 0 && last == Some(b) && to[j - 1] == a {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut above, row);
        last = Some(a);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        parse(line).expect("parses")
    }

    #[test]
    fn words_and_commands() {
        assert_eq!(words(""), Vec::<Vec<String>>::new());
        assert_eq!(words("  ps  "), vec![vec!["ps"]]);
        assert_eq!(words("help; ps;;echo a  b ;"), vec![vec!["help"], vec!["ps"], vec!["echo", "a", "b"]]);
    }

    #[test]
    fn quotes_and_backslashes() {
        assert_eq!(words(r#"echo "a  b; c" d"#), vec![vec!["echo", "a  b; c", "d"]]);
        assert_eq!(words(r#"echo "" x"#), vec![vec!["echo", "", "x"]]);
        assert_eq!(words(r#"e"ch"o a\ b\;c \"q\" \\"#), vec![vec!["echo", "a b;c", "\"q\"", "\\"]]);
        assert_eq!(words(r#"echo "in \"side\"""#), vec![vec!["echo", "in \"side\""]]);
        assert_eq!(words("echo Hello, Wörld!"), vec![vec!["echo", "Hello,", "Wörld!"]]);
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert_eq!(parse(r#"echo ü "open"#), Err(ParseError::OpenQuote(8)));
        assert_eq!(parse(r"echo \"), Err(ParseError::LoneBackslash));
        assert!(alloc::format!("{}", ParseError::OpenQuote(8)).contains("column 8"));
    }

    #[test]
    fn numbers() {
        assert_eq!(number("42"), Some(42));
        assert_eq!(number("0xff"), Some(255));
        assert_eq!(number("0X1_0000"), Some(65_536));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "0x", "-1", "+1", "1.5", "18446744073709551616", "ff", "0x-1", "x"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(seconds("2"), Some(2_000_000_000));
        assert_eq!(seconds("0.25"), Some(250_000_000));
        assert_eq!(seconds(".5"), Some(500_000_000));
        assert_eq!(seconds("1."), Some(1_000_000_000));
        assert_eq!(seconds("0.0000000019"), Some(1));
        for bad in ["", ".", "-1", "1e3", "1.2.3", "one", "99999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn suggestions() {
        let names = ["help", "ps", "mem", "caps", "shutdown", "clear"];
        assert_eq!(nearest("hlep", names), Some("help"));
        assert_eq!(nearest("cap", names), Some("caps"));
        assert_eq!(nearest("shut", names), Some("shutdown"));
        assert_eq!(nearest("shutdwon", names), Some("shutdown"));
        assert_eq!(nearest("sp", names), Some("ps"));
        assert_eq!(nearest("xyz", names), None);
        assert_eq!(nearest("q", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }

    proptest! {
        #[test]
        fn any_line_is_split_or_refused(line in any::<String>()) {
            if let Ok(commands) = parse(&line) {
                prop_assert!(commands.iter().all(|words| !words.is_empty()));
            }
            let _ = (number(&line), seconds(&line), nearest(&line, ["help", "ps"]));
        }

        #[test]
        fn quoting_brings_every_word_through(expected in prop::collection::vec("[ -~äß;]{0,12}", 1..6)) {
            let mut line = String::new();
            for word in &expected {
                line.push('"');
                for c in word.chars() {
                    if matches!(c, '"' | '\\') {
                        line.push('\\');
                    }
                    line.push(c);
                }
                line.push_str("\" ");
            }
            prop_assert_eq!(parse(&line), Ok(vec![expected]));
        }

        #[test]
        fn distance_is_a_symmetric_bound(a in "[a-c]{0,8}", b in "[a-c]{0,8}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
            prop_assert!(distance(&a, &b) <= a.len().max(b.len()));
        }
    }
}
