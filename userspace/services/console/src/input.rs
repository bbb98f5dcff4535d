//! Decoding: bytes from a terminal on the serial line, and key events from the keyboard, become [`Key`]s.

use crate::key::Key;
use driver_keyboard::{KeyEvent, Mods, Special};

/// How long after an escape character the rest of its sequence may come, in nanoseconds. A terminal sends a sequence in
/// one go, but a console that is busy printing reads it in pieces; a person who presses Escape by mistake pauses longer.
pub const ESCAPE_NS: u64 = 500_000_000;

/// Where the decoder is in a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// In a control sequence, `CSI` parameters final (ECMA-48, section 5.4).
    Control,
    /// After `SS3`: arrows and Home, End of a terminal in application mode (xterm).
    Single,
}

/// Decodes what a terminal sends.
#[derive(Default, Debug)]
pub struct SerialDecoder {
    state: State,
    /// When the byte before came.
    last_ns: u64,
    /// The byte before was CR: an LF right after it belongs to it.
    after_cr: bool,
    parameters: [u16; 2],
    parameter: usize,
    /// The bytes of a character that is not whole yet.
    utf8: [u8; 4],
    utf8_len: usize,
    utf8_need: usize,
}

impl SerialDecoder {
    /// Takes one byte that came at `now_ns` (nanoseconds since boot) and calls `emit` for every key that it finishes: none,
    /// one, or two where it shows that an escape before it stood alone.
    pub fn feed(&mut self, byte: u8, now_ns: u64, mut emit: impl FnMut(Key)) {
        let late = now_ns.saturating_sub(self.last_ns) > ESCAPE_NS;
        self.last_ns = now_ns;
        if late {
            if self.state == State::Escape {
                emit(Key::Escape);
            }
            self.state = State::Ground;
        }
        let after_cr = core::mem::take(&mut self.after_cr);
        match self.state {
            State::Ground => self.ground(byte, after_cr, emit),
            State::Escape => match byte {
                b'[' => {
                    self.state = State::Control;
                    self.parameters = [0; 2];
                    self.parameter = 0;
                }
                b'O' => self.state = State::Single,
                0x1b => emit(Key::Escape),
                b'b' | b'f' => {
                    self.state = State::Ground;
                    emit(if byte == b'b' { Key::WordLeft } else { Key::WordRight });
                }
                _ => {
                    self.state = State::Ground;
                    emit(Key::Escape);
                    self.ground(byte, after_cr, emit);
                }
            },
            State::Control => match byte {
                b'0'..=b'9' => {
                    if let Some(parameter) = self.parameters.get_mut(self.parameter) {
                        *parameter = parameter.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                    }
                }
                b';' => self.parameter = (self.parameter + 1).min(2),
                0x20..=0x3f => {}
                0x40..=0x7e => {
                    self.state = State::Ground;
                    self.control(byte).map(emit);
                }
                // A control character breaks the sequence off.
                _ => {
                    self.state = State::Ground;
                    self.ground(byte, false, emit);
                }
            },
            State::Single => {
                self.state = State::Ground;
                self.parameters = [0; 2];
                match self.control(byte) {
                    Some(key) => emit(key),
                    None if byte < 0x20 => self.ground(byte, false, emit),
                    None => {}
                }
            }
        }
    }

    fn ground(&mut self, byte: u8, after_cr: bool, mut emit: impl FnMut(Key)) {
        if byte < 0x80 {
            self.utf8_len = 0;
            match byte {
                0x1b => self.state = State::Escape,
                b'\n' if after_cr => {}
                _ => {
                    self.after_cr = byte == b'\r';
                    Key::from_char(char::from(byte)).map(emit);
                }
            }
            return;
        }
        if byte >= 0xc0 {
            self.utf8_len = 0;
            self.utf8_need = match byte {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return,
            };
        } else if self.utf8_len == 0 {
            return;
        }
        if let Some(slot) = self.utf8.get_mut(self.utf8_len) {
            *slot = byte;
            self.utf8_len += 1;
        }
        if self.utf8_len == self.utf8_need {
            let bytes = self.utf8.get(..self.utf8_len).unwrap_or_default();
            let c = core::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
            self.utf8_len = 0;
            c.and_then(Key::from_char).map(&mut emit);
        }
    }

    /// The key of a sequence with this final byte (xterm's and the VT220's; `CSI 1;5 X` is X with Ctrl).
    fn control(&self, last: u8) -> Option<Key> {
        let [first, modifiers] = self.parameters;
        let word = matches!(modifiers, 3 | 5);
        Some(match (last, first) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) if word => Key::WordRight,
            (b'D', _) if word => Key::WordLeft,
            (b'C', _) => Key::Right,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', 1 | 7) => Key::Home,
            (b'F', _) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            (b'M', 0) => Key::Enter,
            _ => return None,
        })
    }
}

/// The key of an event of the keyboard; `None` where it means nothing to a line.
pub fn key_of_event(event: KeyEvent) -> Option<Key> {
    let word = event.mods.intersects(Mods::CTRL | Mods::ALT);
    let special = match event.key {
        driver_keyboard::Key::Char('b') if event.mods.contains(Mods::ALT) => {
            return Some(Key::WordLeft);
        }
        driver_keyboard::Key::Char('f') if event.mods.contains(Mods::ALT) => {
            return Some(Key::WordRight);
        }
        driver_keyboard::Key::Char(c) => return Key::from_char(c),
        driver_keyboard::Key::Special(special) => special,
    };
    Some(match special {
        Special::Up => Key::Up,
        Special::Down => Key::Down,
        Special::Left if word => Key::WordLeft,
        Special::Right if word => Key::WordRight,
        Special::Left => Key::Left,
        Special::Right => Key::Right,
        Special::Home => Key::Home,
        Special::End => Key::End,
        Special::Delete => Key::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = SerialDecoder::default();
        let mut keys = Vec::new();
        for &byte in bytes {
            decoder.feed(byte, 0, |key| keys.push(key));
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
        let mut decoder = SerialDecoder::default();
        let mut keys = Vec::new();
        decoder.feed(0x1b, 1_000, |key| keys.push(key));
        decoder.feed(b'[', 1_001 + ESCAPE_NS, |key| keys.push(key));
        assert_eq!(keys, vec![Key::Escape, Key::Char('[')]);
        keys.clear();
        decoder.feed(0x1b, ESCAPE_NS * 3, |key| keys.push(key));
        decoder.feed(b'[', ESCAPE_NS * 3 + 10, |key| keys.push(key));
        decoder.feed(b'A', ESCAPE_NS * 5, |key| keys.push(key));
        assert_eq!(keys, vec![Key::Char('A')], "a broken sequence does not hold the next key");
    }

    #[test]
    fn utf8_is_put_together() {
        assert_eq!(decode("aß€😀".as_bytes()), "aß€😀".chars().map(Key::Char).collect::<Vec<_>>());
        assert_eq!(decode(b"\xc3a"), vec![Key::Char('a')]);
        assert_eq!(decode(b"\x9f\xffa\xc0\x80b"), vec![Key::Char('a'), Key::Char('b')]);
        assert_eq!(decode(b"\xed\xa0\x80x"), vec![Key::Char('x')], "no surrogates");
        assert_eq!(decode(b"\xe2\x82\xc3\x9f"), vec![Key::Char('ß')]);
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

    proptest! {
        #[test]
        fn any_bytes_at_any_time(bytes in prop::collection::vec((any::<u8>(), 0u64..1_000_000_000), 0..300)) {
            let mut decoder = SerialDecoder::default();
            let (mut now, mut keys) = (0, 0);
            for (byte, pause) in &bytes {
                now += pause;
                decoder.feed(*byte, now, |_| keys += 1);
            }
            prop_assert!(keys <= bytes.len());
            // Whatever came before, after a pause every character gets through.
            let mut last = Vec::new();
            decoder.feed(b'q', now + 2 * ESCAPE_NS, |key| last.push(key));
            prop_assert_eq!(last.pop(), Some(Key::Char('q')));
        }

        #[test]
        fn plain_text_arrives_as_it_is(text in "[ -~à-ÿ€-₿]{0,100}") {
            prop_assert_eq!(decode(text.as_bytes()), text.chars().map(Key::Char).collect::<Vec<_>>());
        }
    }
}
