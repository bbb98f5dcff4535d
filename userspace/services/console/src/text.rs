//! Text in pieces, and colours as escape sequences.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// How many bytes at the end of `bytes` are the beginning of an unfinished character: 0 to 3.
pub fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let Some(byte) = bytes.get(bytes.len() - back) else {
            return 0;
        };
        let need = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if need > back { back } else { 0 };
    }
    0
}

/// The first piece of `bytes` that consists of whole characters: its text, and how many bytes it
/// took. `last` means that no bytes follow, so that an unfinished character is a damaged one.
pub fn piece(bytes: &[u8], last: bool) -> (Cow<'_, str>, usize) {
    let cut = if last { 0 } else { unfinished(bytes) };
    let whole = bytes.get(..bytes.len() - cut).unwrap_or_default();
    (String::from_utf8_lossy(whole), whole.len())
}

/// The sequence that sets colours on a terminal (ECMA-48, section 8.3.117, and the customary 90 to
/// 107 for the bright ones). In VGA's numbers blue is bit 0 and red bit 2; in ANSI's it is the
/// opposite.
pub fn color_sequence(foreground: u8, background: u8) -> String {
    let swap = |color: u8| color & 2 | color << 2 & 4 | color >> 2 & 1;
    let code = |color: u8, base: u8| base + swap(color) + if color & 8 != 0 { 60 } else { 0 };
    format!("\x1b[0;{};{}m", code(foreground, 30), code(background, 40))
}

/// The longest beginning of `text` that has at most `room` bytes and ends between characters.
pub fn truncated(text: &str, room: usize) -> &str {
    let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_character_waits() {
        assert_eq!(unfinished("aß".as_bytes()), 0);
        assert_eq!(unfinished(b"a\xc3"), 1);
        assert_eq!(unfinished(b"\xe2\x82"), 2);
        assert_eq!(unfinished(b"\xf0\x9f\x98"), 3);
        assert_eq!(unfinished(b"\x80\x80\x80\x80"), 0);
        assert_eq!(unfinished(b""), 0);
        assert_eq!(piece(b"a\xc3", true), ("a\u{fffd}".into(), 2));
        assert_eq!(piece(b"a\xc3", false), ("a".into(), 1));
    }

    #[test]
    fn colours_are_renumbered() {
        assert_eq!(color_sequence(4, 0), "\x1b[0;31;40m");
        assert_eq!(color_sequence(1, 7), "\x1b[0;34;47m");
        assert_eq!(color_sequence(14, 1), "\x1b[0;93;44m");
        assert_eq!(color_sequence(11, 8), "\x1b[0;96;100m");
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(truncated("aßb", 4), "aßb");
        assert_eq!(truncated("aßb", 2), "a");
        assert_eq!(truncated("ß", 0), "");
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_whole(text in any::<String>(), size in 4usize..16) {
            let bytes = text.as_bytes();
            let (mut joined, mut at) = (String::new(), 0);
            while at < bytes.len() {
                let end = (at + size).min(bytes.len());
                let (part, used) = piece(&bytes[at..end], end == bytes.len());
                prop_assert!(used > 0);
                joined.push_str(&part);
                at += used;
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn any_bytes_make_progress(bytes in prop::collection::vec(any::<u8>(), 4..40), last in any::<bool>()) {
            let (_, used) = piece(&bytes, last);
            prop_assert!(used >= bytes.len() - 3);
        }
    }
}
