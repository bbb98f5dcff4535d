//! The decoder of the serial line against what terminals send, and against anything else.

use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Vec<Key> {
    let mut decoder = SerialDecoder::default();
    let mut keys = Vec::new();
    for &byte in bytes {
        decoder.feed(byte, |key| keys.push(key));
    }
    keys
}

#[test]
fn line_ends_are_one_key() {
    assert_eq!(decode(b"\r"), vec![Key::Enter]);
    assert_eq!(decode(b"\n"), vec![Key::Enter]);
    assert_eq!(decode(b"\r\n"), vec![Key::Enter]);
    assert_eq!(decode(b"\r\r"), vec![Key::Enter; 2]);
    assert_eq!(decode(b"\n\n"), vec![Key::Enter; 2]);
    assert_eq!(decode(b"\r\n\r\n"), vec![Key::Enter; 2]);
    assert_eq!(decode(b"\r\n\n"), vec![Key::Enter; 2]);
    assert_eq!(decode(b"\ra\n"), vec![Key::Enter, Key::Char('a'), Key::Enter]);
}

#[test]
fn sequences_of_terminals() {
    assert_eq!(decode(b"\x1b[A\x1b[B\x1b[C\x1b[D"), vec![Key::Up, Key::Down, Key::Right, Key::Left]);
    assert_eq!(decode(b"\x1bOA\x1bOH\x1bOF"), vec![Key::Up, Key::Home, Key::End]);
    assert_eq!(decode(b"\x1b[H\x1b[F\x1b[1~\x1b[4~"), vec![Key::Home, Key::End, Key::Home, Key::End]);
    assert_eq!(decode(b"\x1b[7~\x1b[8~\x1b[3~"), vec![Key::Home, Key::End, Key::Delete]);
    assert_eq!(decode(b"\x1b[1;5C\x1b[1;5D"), vec![Key::WordRight, Key::WordLeft]);
    assert_eq!(decode(b"\x1bb\x1bf"), vec![Key::WordLeft, Key::WordRight]);
    assert_eq!(decode(b"\x1b[24;80Rx"), vec![Key::Char('x')], "a report is no key");
    assert_eq!(decode(b"\x1b[?1;2cx"), vec![Key::Char('x')]);
    assert_eq!(decode(b"\x1b[15~\x1b[200~x"), vec![Key::Char('x')]);
    assert_eq!(decode(b"\x1b[99999999999999;;;;;;;;;;9~x"), vec![Key::Char('x')]);
    assert_eq!(decode(b"\x1b[1\x03"), vec![Key::Ctrl('c')], "Ctrl-C always comes through");
    assert_eq!(decode(b"\x1bO\x03"), vec![Key::Ctrl('c')]);
}

#[test]
fn an_escape_alone() {
    assert_eq!(decode(b"\x1bx"), vec![Key::Escape, Key::Char('x')]);
    assert_eq!(decode(b"\x1b\x1b[A"), vec![Key::Escape, Key::Up]);
    assert_eq!(decode(b"\x1b\r"), vec![Key::Escape, Key::Enter]);
    assert_eq!(decode("\x1bé".as_bytes()), vec![Key::Escape, Key::Char('é')]);
    let mut decoder = SerialDecoder::default();
    let mut keys = Vec::new();
    assert_eq!(decoder.patience(), None);
    decoder.feed(0x1b, |key| keys.push(key));
    assert_eq!(decoder.patience(), Some(SEQUENCE_NS));
    assert_eq!(decoder.pause(|key| keys.push(key)), 0);
    assert_eq!(decoder.patience(), None);
    decoder.feed(b'[', |key| keys.push(key));
    assert_eq!(keys, vec![Key::Escape, Key::Char('[')]);
    keys.clear();
    // Alt and a full stop, and only then a letter.
    b"\x1b.".iter().for_each(|byte| decoder.feed(*byte, |key| keys.push(key)));
    assert_eq!(decoder.patience(), Some(TYPED_NS));
    assert_eq!(decoder.pause(|key| keys.push(key)), 0);
    decoder.feed(b'l', |key| keys.push(key));
    assert_eq!(keys, vec![Key::Escape, Key::Char('.'), Key::Char('l')]);
}

#[test]
fn utf8_is_put_together_and_damage_is_seen() {
    const BAD: Key = Key::Char('\u{fffd}');
    assert_eq!(decode("aß€😀".as_bytes()), "aß€😀".chars().map(Key::Char).collect::<Vec<_>>());
    assert_eq!(decode(b"\xc3a"), vec![BAD, Key::Char('a')]);
    assert_eq!(decode(b"\xffa\xc0\xa0b"), vec![BAD, Key::Char('a'), BAD, BAD, Key::Char('b')]);
    assert_eq!(decode(b"\xed\xa0\x80x"), vec![BAD, Key::Char('x')], "no surrogates");
    assert_eq!(decode(b"\xe2\x82\xc3\x9f"), vec![BAD, Key::Char('ß')]);
    assert_eq!(decode(b"\xc3\r"), vec![BAD, Key::Enter]);
    assert_eq!(decode(b"\xc3\x1b[A"), vec![BAD, Key::Up]);
}

#[test]
fn backspace_of_both_kinds() {
    assert_eq!(decode(b"\x7f\x08\t\x01"), vec![Key::Backspace, Key::Backspace, Key::Tab, Key::Ctrl('a')]);
}

#[test]
fn the_keyboard_says_the_same_as_a_terminal() {
    use driver_keyboard::Key::{Char, Special as Other};
    let key = |key, mods| key_of_event(KeyEvent { key, mods });
    let none = Mods::empty();
    assert_eq!(key(Char('a'), none), Some(Key::Char('a')));
    assert_eq!(key(Char('@'), Mods::ALTGR), Some(Key::Char('@')));
    assert_eq!(key(Char('\n'), none), Some(Key::Enter));
    assert_eq!(key(Char('\u{8}'), none), Some(Key::Backspace));
    assert_eq!(key(Char('\u{3}'), Mods::CTRL), Some(Key::Ctrl('c')));
    assert_eq!(key(Char('b'), Mods::ALT), Some(Key::WordLeft));
    for (special, sequence) in [
        (Special::Up, "\x1b[A"),
        (Special::Down, "\x1b[B"),
        (Special::Right, "\x1b[C"),
        (Special::Left, "\x1b[D"),
        (Special::Home, "\x1b[H"),
        (Special::End, "\x1b[F"),
        (Special::Delete, "\x1b[3~"),
    ] {
        assert_eq!(key(Other(special), none).as_slice(), decode(sequence.as_bytes()), "{special:?}");
    }
    assert_eq!(key(Other(Special::Left), Mods::CTRL), Some(Key::WordLeft));
    assert_eq!(key(Other(Special::F1), none), None);
}

/// What terminals send that is no key, one of each kind and more of those that have parts of their
/// own.
const FOREIGN: &[&[u8]] = &[
    // Cursor place, state, device attributes, version, modes, sizes, colours (xterm).
    b"\x1b[24;80R",
    b"\x1b[?24;80;1R",
    b"\x1b[0n",
    b"\x1b[?13n",
    b"\x1b[?1;2c",
    b"\x1b[>41;366;0c",
    b"\x1b[=1;2c",
    b"\x1b[?25;1$y",
    b"\x1b[4;2$y",
    b"\x1b[8;25;80t",
    b"\x1b[4;400;720t",
    b"\x1b[?64;1;2;6;9;15;18;21;22c",
    // Mouse: SGR, urxvt's, X10's near and far, highlight tracking, DEC locator, pixels.
    b"\x1b[<0;10;20M",
    b"\x1b[<0;10;20m",
    b"\x1b[<65;1;1M",
    b"\x1b[32;10;20M",
    b"\x1b[M !!",
    b"\x1b[M#!!",
    b"\x1b[M \xff\xff",
    b"\x1b[M\x20\xc8\x30",
    b"\x1b[M \x9b\x9b",
    b"\x1b[M \0\0",
    b"\x1b[M\x22\x6d\x6d",
    b"\x1b[t!!",
    b"\x1b[T!!!!!!",
    b"\x1b[1;2;3;4;0&w",
    // Focus, brackets of a paste, the Linux console's and others' function keys, shifted Tab.
    b"\x1b[I",
    b"\x1b[O",
    b"\x1b[200~",
    b"\x1b[201~",
    b"\x1b[[A",
    b"\x1b[[E",
    b"\x1b[15~",
    b"\x1b[24;5~",
    b"\x1b[1;2P",
    b"\x1b[Z",
    b"\x1b[2~",
    b"\x1b[5~",
    b"\x1b[6~",
    b"\x1b[11^",
    b"\x1b[3$",
    b"\x1b[3@",
    b"\x1b[P",
    b"\x1b[E",
    // Keys by number: xterm's modifyOtherKeys, kitty's, with events, releases and texts; the answer
    // to the question for them.
    b"\x1b[27;5;13~",
    b"\x1b[13u",
    b"\x1b[13;5u",
    b"\x1b[97;1:3u",
    b"\x1b[1;1:3A",
    b"\x1b[1;1:3H",
    b"\x1b[97:65;2;65u",
    b"\x1b[?31u",
    b"\x1b[3;1:3~",
    // SS3: function keys, the pad in application mode.
    b"\x1bOP",
    b"\x1bOS",
    b"\x1bO2P",
    b"\x1bOj",
    b"\x1bOy",
    b"\x1bOX",
    b"\x1bOI",
    // Strings, ended by ST, BEL, or either's other forms; with what they may hold.
    b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b]0;title\x07",
    b"\x1b]52;c;cm0gLXJmCg==\x07",
    b"\x1b]lreboot\r\n\x1b\\",
    b"\x1b]L\xe2\x82\xac \xc3\x9c\x07",
    b"\x1b]l\xf0\x9f\x9c\x9c x\x1b\\",
    b"\x1bP1$r0m\x1b\\",
    b"\x1bP>|XTerm(390)\x1b\\",
    b"\x1bP0+r\x1b\\",
    b"\x1bP!|00000000\x1b\\",
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b^private\x1b\\",
    b"\x1bXany\tthing\x1b\\",
    b"\x1bPq\x07",
    b"\x1b]4;1;red\xc2\x9c",
    b"\x1b]x\x18",
    b"\x1bPx\x1a",
    b"\x1b\\",
    // The upper set in one byte, and as characters.
    b"\x9b24;80R",
    b"\x9b?1;2c",
    b"\x9bM !!",
    b"\x8fP",
    b"\x9d11;x\x9c",
    b"\x90r\x9c",
    b"\x9fG\x9c",
    b"\x9ep\x07",
    b"\x98s\x1b\\",
    b"\xc2\x9b24;80R",
    b"\xc2\x9d0;t\xc2\x9c",
    b"\x84",
    b"\x85",
    b"\x9c",
    b"\xc2\x85",
    // Others of ECMA-48's forms.
    b"\x1b(B",
    b"\x1b/Z",
    b"\x1b#8",
    b"\x1b%G",
];

const BEFORE: &str = "ls -l é";
const AFTER: &str = "world €";

/// `BEFORE`, the sequence, `AFTER`, with a pause after this many bytes of the sequence, where the
/// rest of it is left out, or none.
fn around(sequence: &[u8], cut: Option<usize>) -> Vec<Key> {
    let mut decoder = SerialDecoder::default();
    let mut keys = Vec::new();
    BEFORE.bytes().for_each(|byte| decoder.feed(byte, |key| keys.push(key)));
    let part = &sequence[..cut.unwrap_or(sequence.len())];
    part.iter().for_each(|byte| decoder.feed(*byte, |key| keys.push(key)));
    if cut.is_some() && decoder.patience().is_some() {
        decoder.pause(|key| keys.push(key));
    }
    AFTER.bytes().for_each(|byte| decoder.feed(byte, |key| keys.push(key)));
    keys
}

fn text() -> Vec<Key> {
    BEFORE.chars().chain(AFTER.chars()).map(Key::Char).collect()
}

#[test]
fn what_is_no_key_is_swallowed_whole() {
    for sequence in FOREIGN {
        assert_eq!(around(sequence, None), text(), "{:?}", sequence.escape_ascii().to_string());
        for other in FOREIGN {
            let both = [*sequence, *other].concat();
            assert_eq!(around(&both, None), text(), "{:?}", both.escape_ascii().to_string());
        }
    }
}

#[test]
fn what_breaks_off_swallows_nothing_after_a_pause() {
    for sequence in FOREIGN {
        for cut in 1..sequence.len() {
            let mut keys = around(sequence, Some(cut));
            let shown = sequence[..cut].escape_ascii().to_string();
            keys.retain(|key| *key != Key::Escape);
            // Half a character is damaged text, and Alt with a punctuation mark is that mark.
            match &sequence[..cut] {
                [0xc2] => keys.retain(|key| *key != Key::Char('\u{fffd}')),
                [0x1b, mark @ 0x20..=0x2f] => {
                    assert_eq!(keys.remove(BEFORE.chars().count()), Key::Char(char::from(*mark)), "{shown}");
                }
                _ => {}
            }
            assert_eq!(keys, text(), "{shown}");
        }
    }
}

#[test]
fn a_control_sequence_is_a_key_or_nothing() {
    let forms = ["", "0", "1", "2", "3", "5", "13", "200", "1;2", "1;5", "3;5", ";", "1;2;3", "1:2", "0;0;0;0"];
    let mut known = 0;
    for (introducer, last) in ["\x1b[", "\u{9b}"].into_iter().flat_map(|i| ('@'..='~').map(move |last| (i, last))) {
        for (marker, form) in ["", "<", "=", ">", "?"].into_iter().flat_map(|m| forms.map(|form| (m, form))) {
            for intermediate in ["", " ", "$", "\"'"] {
                let mut sequence = std::format!("{introducer}{marker}{form}{intermediate}{last}");
                if (marker, form, intermediate) == ("", "", "") {
                    // Bytes that the report takes along.
                    let more = match last {
                        'M' => 3,
                        't' => 2,
                        'T' => 6,
                        '[' => 1,
                        _ => 0,
                    };
                    sequence.push_str(&"!!!!!!"[..more]);
                }
                if marker.is_empty()
                    && intermediate == "$"
                    && form.bytes().all(|byte| byte.is_ascii_digit())
                    && !form.is_empty()
                {
                    // A key of rxvt's, which ends there.
                    continue;
                }
                let mut keys = around(sequence.as_bytes(), None);
                let place = BEFORE.chars().count();
                if keys.len() > text().len() {
                    let key = keys.remove(place);
                    known += 1;
                    assert!((marker, intermediate) == ("", ""), "{sequence:?} is {key:?}");
                    assert!(
                        "ABCDHF~".contains(last) && !matches!(key, Key::Char(_) | Key::Enter),
                        "{sequence:?} is {key:?}"
                    );
                }
                assert_eq!(keys, text(), "{sequence:?}");
            }
        }
    }
    assert!(known > 40, "the keys are among them: {known}");
}

#[test]
fn an_interrupt_comes_through_everything() {
    for sequence in FOREIGN {
        for cut in 1..sequence.len() {
            let got = decode(&[&sequence[..cut], b"\x03x"].concat());
            let complete = decode(&sequence[..cut]);
            // In a report of a click the byte may be a place: there is none of this number.
            assert!(
                got.ends_with(&[Key::Ctrl('c'), Key::Char('x')]),
                "{:?}: {got:?} {complete:?}",
                sequence.escape_ascii()
            );
        }
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let mut decoder = SerialDecoder::default();
    let long = [b"\x1b]", "x".repeat(5000).as_bytes()].concat();
    long.iter().for_each(|byte| decoder.feed(*byte, |key| panic!("{key:?}")));
    assert_eq!(decoder.pause(|key| panic!("{key:?}")), 5002);
    decoder.feed(b'a', |key| assert_eq!(key, Key::Char('a')));
    assert_eq!((decoder.patience(), decoder.pause(|_| {})), (None, 0));
}

/// A sequence of one of ECMA-48's forms, or a report with bytes of its own.
fn sequence() -> impl Strategy<Value = Vec<u8>> {
    // A parameter and `$` alone would be a key of rxvt's, which ends there.
    let last = prop::sample::select((0x40..=0x7e).filter(|last| !b"ABCDHF~MtT[".contains(last)).collect::<Vec<u8>>());
    let parameters = prop::collection::vec(0x30..=0x3f_u8, 0..12);
    let intermediates = prop::collection::vec(0x20..=0x2f_u8, 0..3);
    let control = (prop::sample::select(vec![&b"\x1b["[..], b"\x9b", b"\xc2\x9b"]), parameters, intermediates, last);
    let place = || prop_oneof![Just(0), 0x20..=0xff_u8];
    let open = prop::sample::select(vec![
        &b"\x1b]"[..],
        b"\x1bP",
        b"\x1bX",
        b"\x1b^",
        b"\x1b_",
        b"\x9d",
        b"\x90",
        b"\xc2\x9f",
    ]);
    let inside = "[ -~\\r\\n\\tà-ÿ€😀]{0,40}";
    let close = prop::sample::select(vec![&b"\x1b\\"[..], b"\x07", b"\x9c", b"\xc2\x9c", b"\x18"]);
    prop_oneof![
        control
            .prop_filter("no key of rxvt's", |(_, parameters, intermediates, _)| {
                intermediates.first() != Some(&b'$')
                    || parameters.is_empty()
                    || !parameters.iter().all(u8::is_ascii_digit)
            })
            .prop_map(|(open, parameters, intermediates, last)| [open, &parameters, &intermediates, &[last]].concat()),
        [place(), place(), place()].prop_map(|bytes| [b"\x1b[M", &bytes[..]].concat()),
        (0..=99_u8, 1..500_u16, 1..500_u16, "[Mm]")
            .prop_map(|(b, x, y, l)| std::format!("\x1b[<{b};{x};{y}{l}").into_bytes()),
        (open, inside, close).prop_map(|(open, inside, close)| [open, inside.as_bytes(), close].concat()),
        prop::sample::select(FOREIGN).prop_map(<[u8]>::to_vec),
    ]
}

proptest! {
    #[test]
    fn any_foreign_sequences_leave_the_text_as_it_is(parts in prop::collection::vec((sequence(), "[ -~à-ÿ€😀]{0,8}"), 1..6)) {
        let bytes: Vec<u8> = parts.iter().flat_map(|(sequence, text)| [sequence, text.as_bytes()].concat()).collect();
        let typed: Vec<Key> = parts.iter().flat_map(|(_, text)| text.chars()).map(Key::Char).collect();
        prop_assert_eq!(decode(&bytes), typed, "{}", bytes.escape_ascii());
    }

    #[test]
    fn any_bytes_with_pauses_anywhere(bytes in prop::collection::vec((any::<u8>(), prop::bool::weighted(0.2)), 0..300)) {
        let mut decoder = SerialDecoder::default();
        let mut keys = 0;
        for (byte, pause) in &bytes {
            decoder.feed(*byte, |_| keys += 1);
            if *pause {
                decoder.pause(|_| keys += 1);
            }
        }
        prop_assert!(keys <= bytes.len());
        // Whatever came before, after a pause every character gets through.
        decoder.pause(|_| {});
        let mut last = Vec::new();
        decoder.feed(b'q', |key| last.push(key));
        prop_assert_eq!(last.pop(), Some(Key::Char('q')));
    }

    #[test]
    fn plain_text_arrives_as_it_is(text in "[ -~à-ÿ€-₿]{0,100}") {
        prop_assert_eq!(decode(text.as_bytes()), text.chars().map(Key::Char).collect::<Vec<_>>());
    }
}
