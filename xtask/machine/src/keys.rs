//! Text to be typed on the PS/2 keyboard: which keys of a US keyboard to press for it, in QEMU's names.
//!
//! Source: "QEMU QMP Reference Manual", `QKeyCode`.

use anyhow::{Context, Result, bail};

/// One stroke: a key, and the modifiers held while it is pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// Held, in this order.
    pub(crate) modifiers: Vec<&'static str>,
    /// Pressed and released.
    pub(crate) key: &'static str,
}

macro_rules! syntax {
    () => {
        "Characters are typed as on a US keyboard. \\n is Enter, \\t Tab, \\e Escape, \\b Backspace, \\\\ a backslash, \
\\< a less-than sign. Other keys have names: <up> <down> <left> <right> <home> <end> <pgup> <pgdn> <insert> <delete> \
<enter> <tab> <esc> <backspace> <space> <caps> <f1> to <f12>; modifiers go before a key: <ctrl-c> <alt-f1> <shift-left> \
<ctrl-alt-delete>."
    };
}

/// How the text of [`parse`] is written.
pub(crate) const SYNTAX: &str = syntax!();

/// The help of `--keys`.
pub const HELP: &str = concat!("Type this on the PS/2 keyboard, once the prompt is there.\n\n", syntax!());

/// Keys without shift and with it, each as (QEMU's name, plain character, shifted character).
const CHARACTERS: &[(&str, char, char)] = &[
    ("grave_accent", '`', '~'),
    ("minus", '-', '_'),
    ("equal", '=', '+'),
    ("bracket_left", '[', '{'),
    ("bracket_right", ']', '}'),
    ("backslash", '\\', '|'),
    ("semicolon", ';', ':'),
    ("apostrophe", '\'', '"'),
    ("comma", ',', '<'),
    ("dot", '.', '>'),
    ("slash", '/', '?'),
    ("1", '1', '!'),
    ("2", '2', '@'),
    ("3", '3', '#'),
    ("4", '4', '$'),
    ("5", '5', '%'),
    ("6", '6', '^'),
    ("7", '7', '&'),
    ("8", '8', '*'),
    ("9", '9', '('),
    ("0", '0', ')'),
];

const LETTERS: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w",
    "x", "y", "z",
];

/// Names in angle brackets, and QEMU's.
const NAMES: &[(&str, &str)] = &[
    ("up", "up"),
    ("down", "down"),
    ("left", "left"),
    ("right", "right"),
    ("home", "home"),
    ("end", "end"),
    ("pgup", "pgup"),
    ("pgdn", "pgdn"),
    ("insert", "insert"),
    ("delete", "delete"),
    ("enter", "ret"),
    ("tab", "tab"),
    ("esc", "esc"),
    ("backspace", "backspace"),
    ("space", "spc"),
    ("caps", "caps_lock"),
    ("f1", "f1"),
    ("f2", "f2"),
    ("f3", "f3"),
    ("f4", "f4"),
    ("f5", "f5"),
    ("f6", "f6"),
    ("f7", "f7"),
    ("f8", "f8"),
    ("f9", "f9"),
    ("f10", "f10"),
    ("f11", "f11"),
    ("f12", "f12"),
];

/// Names of modifiers, and QEMU's.
const MODIFIERS: &[(&str, &str)] = &[("ctrl", "ctrl"), ("alt", "alt"), ("altgr", "alt_r"), ("shift", "shift")];

/// Turns text into strokes; [`SYNTAX`] tells how it is written.
///
/// # Errors
/// When a character is on no key, or a name or an escape is unknown: the error says which.
pub(crate) fn parse(text: &str) -> Result<Vec<Stroke>> {
    let mut strokes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        strokes.push(match character {
            '\\' => match rest.next() {
                Some('n' | 'r') => plain("ret"),
                Some('t') => plain("tab"),
                Some('e') => plain("esc"),
                Some('b') => plain("backspace"),
                Some('\\') => plain("backslash"),
                Some('<') => shifted("comma"),
                other => bail!("--keys: unknown escape \\{}; {SYNTAX}", other.unwrap_or(' ')),
            },
            '<' => {
                let (name, after) = rest
                    .as_str()
                    .split_once('>')
                    .context("--keys: a name in angle brackets is not closed; write \\< for the character itself")?;
                rest = after.chars();
                named(name)?
            }
            other => of_character(other).with_context(|| {
                format!("--keys: {other:?} is on no key of a US keyboard; type what is, and switch the guest's layout")
            })?,
        });
    }
    Ok(strokes)
}

fn plain(key: &'static str) -> Stroke {
    Stroke { modifiers: Vec::new(), key }
}

fn shifted(key: &'static str) -> Stroke {
    Stroke { modifiers: vec!["shift"], key }
}

/// The stroke for a character on a US keyboard.
fn of_character(character: char) -> Option<Stroke> {
    match character {
        ' ' => return Some(plain("spc")),
        '\n' | '\r' => return Some(plain("ret")),
        '\t' => return Some(plain("tab")),
        '\u{1b}' => return Some(plain("esc")),
        '\u{8}' | '\u{7f}' => return Some(plain("backspace")),
        _ => {}
    }
    if character.is_ascii_alphabetic() {
        let key = LETTERS.get(usize::from(character.to_ascii_lowercase() as u8 - b'a'))?;
        return Some(if character.is_ascii_uppercase() { shifted(key) } else { plain(key) });
    }
    CHARACTERS.iter().find_map(|(key, low, high)| {
        if *low == character { Some(plain(key)) } else { (*high == character).then(|| shifted(key)) }
    })
}

/// The stroke for what stands in angle brackets.
fn named(name: &str) -> Result<Stroke> {
    let mut modifiers = Vec::new();
    let mut rest = name;
    while let Some((word, after)) = rest.split_once('-').filter(|(_, after)| !after.is_empty()) {
        let (_, key) = MODIFIERS
            .iter()
            .find(|(known, _)| *known == word)
            .with_context(|| format!("--keys: unknown modifier {word:?} in <{name}>; {SYNTAX}"))?;
        modifiers.push(*key);
        rest = after;
    }
    let mut characters = rest.chars();
    let mut stroke = match (characters.next(), characters.next()) {
        (Some(one), None) => of_character(one),
        _ => NAMES.iter().find(|(known, _)| *known == rest).map(|(_, key)| plain(key)),
    }
    .with_context(|| format!("--keys: unknown key <{name}>; {SYNTAX}"))?;
    modifiers.append(&mut stroke.modifiers);
    Ok(Stroke { modifiers, ..stroke })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> String {
        let words: Vec<_> = parse(text)
            .expect("it parses")
            .iter()
            .map(|stroke| stroke.modifiers.iter().chain([&stroke.key]).copied().collect::<Vec<_>>().join("+"))
            .collect();
        words.join(" ")
    }

    #[test]
    fn text_becomes_keys() {
        assert_eq!(short("aB c\\n"), "a shift+b spc c ret");
        assert_eq!(short("1!~_"), "1 shift+1 shift+grave_accent shift+minus");
        assert_eq!(short("\\t\\e\\b\\\\\\<>"), "tab esc backspace backslash shift+comma shift+dot");
    }

    #[test]
    fn names_and_modifiers() {
        assert_eq!(short("<up><ctrl-c><alt-f1><ctrl-alt-delete>"), "up ctrl+c alt+f1 ctrl+alt+delete");
        assert_eq!(short("<shift-left><ctrl-->"), "shift+left ctrl+minus");
    }

    #[test]
    fn every_printable_character_is_on_a_key() {
        for character in ' '..='~' {
            assert!(of_character(character).is_some(), "{character:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (text, reason) in [
            ("ä", "no key"),
            ("\\q", "unknown escape"),
            ("<up", "not closed"),
            ("<hyper-x>", "modifier"),
            ("<zz>", "unknown key"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
