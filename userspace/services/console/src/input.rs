//! Decoding of bytes from a terminal on the serial line, and of key events from the keyboard, to
//! [`Key`]s.

use crate::key::Key;
use driver_keyboard::{KeyEvent, Mods, Special};

/// How long the decoder waits for the next byte of an unfinished sequence, in nanoseconds. A
/// terminal sends a sequence at once, and a network may split it; a person who presses Escape by
/// mistake pauses longer, and so does one whose typing is not shown.
pub const SEQUENCE_NS: u64 = 500_000_000;

/// How long the decoder waits for the next byte of an unfinished sequence that may have been typed,
/// in nanoseconds: many sequences begin with the same bytes as Alt and a punctuation mark.
pub const TYPED_NS: u64 = 50_000_000;

/// Most intermediate bytes of an escape sequence that is not a control sequence; real ones have
/// one.
const MOST_INTERMEDIATES: usize = 3;

/// The decoder's position in a sequence. Names of forms and bytes: ECMA-48, sections 5.3 to 5.6;
/// their use by terminals: xterm's "XTerm Control Sequences". (The crate `vte`, which the screen
/// uses, decodes what programs send to terminals. Terminals send forms that it does not support:
/// SS3, mouse reports with bytes after the end, the Linux console's function keys, and an escape
/// key by itself.)
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and this many intermediate bytes, which are remembered.
    Intermediate(usize),
    /// In a control sequence.
    Control,
    /// After SS3: a key, perhaps with parameters.
    Single,
    /// In a string that a control opened (DCS, SOS, OSC, PM, APC): up to ST, or BEL as xterm has
    /// it. `Some` inside a character of several bytes, with its first byte.
    Text(Option<u8>),
    /// After ESC in a string.
    TextEscape,
    /// This many further bytes belong to the sequence, whatever they are.
    Skip(u8),
}

/// The parameters between the beginning of a control sequence and its last byte.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Parameters {
    values: [u16; 2],
    /// Index of the current parameter.
    at: usize,
    /// Whether there was any byte.
    any: bool,
    /// Whether there was a byte that no key of a terminal has: a private marker, an intermediate
    /// byte, a part of a parameter, a third parameter.
    foreign: bool,
}

/// Decodes the bytes that a terminal sends. Sequences that are not keys are dropped as a whole:
/// reports, answers, mouse clicks, the brackets of a paste (whose content counts as typed, line
/// feeds included). Damaged UTF-8 becomes U+FFFD, which is visible.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SerialDecoder {
    state: State,
    /// Whether the byte before was CR: an LF directly after it belongs to it.
    after_cr: bool,
    parameters: Parameters,
    intermediates: [u8; MOST_INTERMEDIATES],
    /// How many bytes of the sequence have come.
    length: u64,
    /// The bytes of an unfinished character.
    utf8: [u8; 4],
    utf8_len: usize,
    utf8_need: usize,
}

impl SerialDecoder {
    /// The decoder's state as numbers, for memory that outlives it.
    pub fn to_words(&self) -> [u64; 3] {
        let (state, value) = match self.state {
            State::Ground => (0, 0),
            State::Escape => (1, 0),
            State::Intermediate(count) => (2, count as u8),
            State::Control => (3, 0),
            State::Single => (4, 0),
            State::Text(None) => (5, 0),
            State::Text(Some(lead)) => (6, lead),
            State::TextEscape => (7, 0),
            State::Skip(left) => (8, left),
        };
        let Parameters { values: [first, second], at, any, foreign } = self.parameters;
        let [a, b, c] = self.intermediates;
        let flags = u8::from(self.after_cr) | u8::from(any) << 1 | u8::from(foreign) << 2;
        let [low, high] = first.to_le_bytes();
        let [second_low, second_high] = second.to_le_bytes();
        [
            u64::from_le_bytes([state, value, flags, at as u8, self.utf8_len as u8, self.utf8_need as u8, low, high]),
            u64::from_le_bytes([second_low, second_high, a, b, c, 0, 0, 0]),
            u64::from(u32::from_le_bytes(self.utf8)) << 32 | self.length.min(u32::MAX.into()),
        ]
    }

    /// The decoder with the state of which these are the [`SerialDecoder::to_words`]; a new one if
    /// they are not valid.
    pub fn from_words(words: [u64; 3]) -> SerialDecoder {
        let [state, value, flags, at, utf8_len, utf8_need, low, high] = words[0].to_le_bytes();
        let [second_low, second_high, a, b, c, ..] = words[1].to_le_bytes();
        let state = match (state, value) {
            (0, _) => State::Ground,
            (1, _) => State::Escape,
            (2, count) => State::Intermediate(usize::from(count)),
            (3, _) => State::Control,
            (4, _) => State::Single,
            (5, _) => State::Text(None),
            (6, lead) => State::Text(Some(lead)),
            (7, _) => State::TextEscape,
            (8, left) => State::Skip(left),
            _ => return SerialDecoder::default(),
        };
        let decoder = SerialDecoder {
            state,
            after_cr: flags & 1 != 0,
            parameters: Parameters {
                values: [u16::from_le_bytes([low, high]), u16::from_le_bytes([second_low, second_high])],
                at: usize::from(at),
                any: flags & 2 != 0,
                foreign: flags & 4 != 0,
            },
            intermediates: [a, b, c],
            length: words[2] & u64::from(u32::MAX),
            utf8: ((words[2] >> 32) as u32).to_le_bytes(),
            utf8_len: usize::from(utf8_len),
            utf8_need: usize::from(utf8_need),
        };
        let sound = decoder.parameters.at <= decoder.parameters.values.len()
            && decoder.utf8_len < decoder.utf8.len()
            && (decoder.utf8_len == 0 || (2..=4).contains(&decoder.utf8_need))
            && !matches!(state, State::Intermediate(count) if count > MOST_INTERMEDIATES);
        if sound { decoder } else { SerialDecoder::default() }
    }

    /// How long the line may be silent, in nanoseconds, before [`SerialDecoder::pause`] must be
    /// called. `None` if there is no unfinished sequence.
    pub fn patience(&self) -> Option<u64> {
        match self.state {
            State::Ground => None,
            State::Intermediate(_) => Some(TYPED_NS),
            _ => Some(SEQUENCE_NS),
        }
    }

    /// Ends an unfinished sequence, after the line was silent for longer than
    /// [`SerialDecoder::patience`]. Returns how many of its bytes are dropped because they cannot
    /// have been typed.
    pub fn pause(&mut self, mut emit: impl FnMut(Key)) -> u64 {
        let state = core::mem::take(&mut self.state);
        match state {
            State::Ground => 0,
            State::Escape => {
                emit(Key::Escape);
                0
            }
            State::Intermediate(count) => {
                self.typed(count, emit);
                0
            }
            _ => self.length,
        }
    }

    /// Takes one byte and calls `emit` for every key that it completes: none, one, or several if it
    /// shows that the bytes before it were typed.
    pub fn feed(&mut self, byte: u8, mut emit: impl FnMut(Key)) {
        let after_cr = core::mem::take(&mut self.after_cr);
        self.length = self.length.saturating_add(1);
        match self.state {
            State::Ground => self.ground(byte, after_cr, emit),
            State::Escape => self.escape(byte, emit),
            State::Intermediate(count) => match byte {
                0x20..=0x2f if count < MOST_INTERMEDIATES => self.intermediate(byte, count),
                0x30..=0x7e => self.state = State::Ground,
                _ => {
                    self.state = State::Ground;
                    self.typed(count, &mut emit);
                    self.ground(byte, false, emit);
                }
            },
            State::Control => match byte {
                // With one parameter and `$` as the last byte it is a key with shift (rxvt);
                // reports have two parameters (DECRPM).
                b'$' if self.parameters.is_one() => self.state = State::Ground,
                0x20..=0x3f => self.parameters.add(byte),
                0x40..=0x7e => {
                    self.state = match byte {
                        // X10's mouse report, two of highlight tracking (xterm), and the Linux
                        // console's function keys.
                        b'M' if !self.parameters.any => State::Skip(3),
                        b't' if !self.parameters.any => State::Skip(2),
                        b'T' if !self.parameters.any => State::Skip(6),
                        b'[' if !self.parameters.any => State::Skip(1),
                        _ => State::Ground,
                    };
                    self.parameters.key(byte).map(emit);
                }
                _ => self.break_off(byte, emit),
            },
            State::Single => match byte {
                0x20..=0x3f => self.parameters.add(byte),
                0x40..=0x7e => {
                    self.state = State::Ground;
                    let key = if byte == b'M' { Some(Key::Enter) } else { self.parameters.key(byte) };
                    key.filter(|_| !self.parameters.any).map(emit);
                }
                _ => self.break_off(byte, emit),
            },
            // No byte of a report is a control character, except the zero for a position too far
            // away.
            State::Skip(_) if (0x01..0x20).contains(&byte) => self.break_off(byte, emit),
            State::Skip(left) => self.state = if left > 1 { State::Skip(left - 1) } else { State::Ground },
            State::Text(lead) => self.text(byte, lead, emit),
            State::TextEscape => match byte {
                b'\\' => self.state = State::Ground,
                0x1b => {}
                _ => {
                    self.open(State::Escape);
                    self.escape(byte, emit);
                }
            },
        }
    }

    fn open(&mut self, state: State) {
        self.state = state;
        self.parameters = Parameters::default();
        self.length = 1;
    }

    /// Ends the sequence by a byte that cannot be part of it, and handles the byte by itself:
    /// Ctrl-C always has its effect.
    fn break_off(&mut self, byte: u8, emit: impl FnMut(Key)) {
        self.state = State::Ground;
        self.ground(byte, false, emit);
    }

    fn intermediate(&mut self, byte: u8, count: usize) {
        if let Some(slot) = self.intermediates.get_mut(count) {
            *slot = byte;
        }
        self.state = State::Intermediate(count + 1);
    }

    /// Emits the escape key and these characters, since they did not become a sequence.
    fn typed(&self, count: usize, mut emit: impl FnMut(Key)) {
        emit(Key::Escape);
        self.intermediates.iter().take(count).for_each(|byte| emit(Key::Char(char::from(*byte))));
    }

    fn escape(&mut self, byte: u8, mut emit: impl FnMut(Key)) {
        match byte {
            b'[' => self.state = State::Control,
            b'O' => self.state = State::Single,
            b'P' | b'X' | b']' | b'^' | b'_' => self.state = State::Text(None),
            // The end of a string that has ended already.
            b'\\' => self.state = State::Ground,
            0x1b => emit(Key::Escape),
            0x20..=0x2f => self.intermediate(byte, 0),
            b'b' | b'f' => {
                self.state = State::Ground;
                emit(if byte == b'b' { Key::WordLeft } else { Key::WordRight });
            }
            _ => {
                self.state = State::Ground;
                emit(Key::Escape);
                self.ground(byte, false, emit);
            }
        }
    }

    /// Takes a byte of a string. Line ends may be part of it (ECMA-48, section 5.6), and a title
    /// may hold any character.
    fn text(&mut self, byte: u8, lead: Option<u8>, mut emit: impl FnMut(Key)) {
        self.state = match (byte, lead) {
            (0x9c, None | Some(0xc2)) | (0x07 | 0x18 | 0x1a, _) => State::Ground,
            (0x03, _) => {
                emit(Key::Ctrl('c'));
                State::Ground
            }
            (0x1b, _) => State::TextEscape,
            (0xc2..=0xf4, _) => State::Text(Some(byte)),
            // The character continues: 0x9c is part of it here, and not ST.
            (0x80..=0xbf, Some(0xf0..)) => State::Text(Some(0xe0)),
            (0x80..=0xbf, Some(0xe0..)) => State::Text(Some(0xc3)),
            _ => State::Text(None),
        };
    }

    fn ground(&mut self, byte: u8, after_cr: bool, mut emit: impl FnMut(Key)) {
        if self.utf8_len > 0 && !(0x80..=0xbf).contains(&byte) {
            self.utf8_len = 0;
            emit(Key::Char(char::REPLACEMENT_CHARACTER));
        }
        match byte {
            0x1b => self.open(State::Escape),
            b'\n' if after_cr => {}
            0x00..=0x7f => {
                self.after_cr = byte == b'\r';
                Key::from_char(char::from(byte)).map(emit);
            }
            0x80..=0x9f if self.utf8_len == 0 => self.c1(byte),
            0xc2..=0xf4 => {
                self.utf8_need = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    _ => 4,
                };
                self.continued(byte, emit);
            }
            0x80..=0xbf if self.utf8_len > 0 => self.continued(byte, emit),
            _ => emit(Key::Char(char::REPLACEMENT_CHARACTER)),
        }
    }

    /// Takes one more byte of a character of several bytes.
    fn continued(&mut self, byte: u8, mut emit: impl FnMut(Key)) {
        if let Some(slot) = self.utf8.get_mut(self.utf8_len) {
            *slot = byte;
            self.utf8_len += 1;
        }
        if self.utf8_len < self.utf8_need {
            return;
        }
        let bytes = self.utf8.get(..self.utf8_len).unwrap_or_default();
        let c = core::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
        self.utf8_len = 0;
        match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
            c @ '\u{80}'..='\u{9f}' => self.c1(c as u8),
            c => Key::from_char(c).map(&mut emit).unwrap_or_default(),
        }
    }

    /// Takes a control of the upper set (C1), as one byte or as a character. Those that do not open
    /// a sequence have no effect.
    fn c1(&mut self, control: u8) {
        match control {
            0x8f => self.open(State::Single),
            0x9b => self.open(State::Control),
            0x90 | 0x98 | 0x9d..=0x9f => self.open(State::Text(None)),
            _ => {}
        }
    }
}

impl Parameters {
    /// Whether there is one parameter and nothing else.
    fn is_one(&self) -> bool {
        self.any && !self.foreign && self.at == 0
    }

    fn add(&mut self, byte: u8) {
        self.any = true;
        match byte {
            b'0'..=b'9' => {
                if let Some(value) = self.values.get_mut(self.at) {
                    *value = value.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' => {
                self.at = (self.at + 1).min(self.values.len());
                self.foreign |= self.at == self.values.len();
            }
            _ => self.foreign = true,
        }
    }

    /// The key of a control sequence with this last byte (as xterm and the VT220 have them;
    /// `CSI 1;5 X` is X with Ctrl).
    fn key(&self, last: u8) -> Option<Key> {
        let [first, modifiers] = self.values;
        let word = matches!(modifiers, 3 | 5);
        if self.foreign {
            return None;
        }
        Some(match (last, first) {
            (b'A', 0 | 1) => Key::Up,
            (b'B', 0 | 1) => Key::Down,
            (b'C', 0 | 1) if word => Key::WordRight,
            (b'D', 0 | 1) if word => Key::WordLeft,
            (b'C', 0 | 1) => Key::Right,
            (b'D', 0 | 1) => Key::Left,
            (b'H', 0 | 1) | (b'~', 1 | 7) => Key::Home,
            (b'F', 0 | 1) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            _ => return None,
        })
    }
}

/// The key for an event of the keyboard; `None` if it has no use in a line.
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
#[path = "input_tests.rs"]
mod tests;
