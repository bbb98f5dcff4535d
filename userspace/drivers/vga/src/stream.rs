//! A byte stream for the terminal: the `vte` parser, and the few bytes that bring a fresh parser
//! into the same state. These bytes are kept for the case that the driver dies in the middle of a
//! sequence.

use vte::{Parser, Perform};

/// Most bytes of an unfinished sequence. A longer one is parsed to its end, but has no effect.
pub const PENDING_MAX: usize = 44;

const ESC: u8 = 0x1b;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const BEL: u8 = 0x07;
/// Bytes after which the parser skips a control sequence up to its final byte.
const IGNORED: &[u8] = b"\x1b[0<";

/// The unfinished sequence at the end of a stream: part of a UTF-8 character or of an escape
/// sequence; empty between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    len: usize,
    bytes: [u8; PENDING_MAX],
}

impl Default for Pending {
    fn default() -> Self {
        Pending { len: 0, bytes: [0; PENDING_MAX] }
    }
}

impl Pending {
    /// The bytes of the unfinished sequence.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn set(&mut self, bytes: &[u8]) {
        *self = Pending::default();
        bytes.iter().for_each(|&b| _ = self.push(b));
    }

    #[must_use]
    fn push(&mut self, byte: u8) -> bool {
        let Some(place) = self.bytes.get_mut(self.len) else {
            return false;
        };
        *place = byte;
        self.len += 1;
        true
    }
}

/// Has no effect for any input: for bytes whose effect has happened already.
struct Nothing;
impl Perform for Nothing {}

/// The byte stream of one client.
#[derive(Default)]
pub struct Stream {
    parser: Parser<16>,
    pending: Pending,
}

impl Stream {
    /// A stream in the state of another one that had these pending bytes. Any bytes are accepted.
    pub fn resume(pending: &[u8]) -> Stream {
        let mut stream = Stream::default();
        stream.feed(&mut Nothing, pending);
        stream
    }

    /// The unfinished sequence at the end of the stream.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Parses bytes, with their effect on `to`. The result does not depend on how a text is cut
    /// into pieces.
    pub fn feed<P: Perform>(&mut self, to: &mut P, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            let plain = |b: u8| b < 0x80 && b != ESC;
            let run = match self.pending.len {
                0 => bytes.iter().take_while(|&&b| plain(b)).count(),
                _ => 0,
            };
            let (now, later) = bytes.split_at(run.max(1));
            if run > 0 {
                self.parser.advance(to, now);
            } else {
                self.step(to, first);
            }
            bytes = later;
        }
    }

    fn step<P: Perform>(&mut self, to: &mut P, byte: u8) {
        match *self.pending.bytes() {
            // The text of a string sequence (OSC, DCS, SOS, PM, APC) is of no use here: only its
            // end counts.
            [ESC, b']'] if !matches!(byte, ESC | CAN | SUB | BEL) => {}
            [ESC, b'P' | b'X' | b'^' | b'_'] if !matches!(byte, ESC | CAN | SUB) => {}
            [ESC, b'[', ..] if matches!(byte, 0x20..=0x3f) => {
                if self.pending.push(byte) {
                    self.parser.advance(to, &[byte]);
                } else {
                    self.parser.advance(&mut Nothing, &[CAN]);
                    self.parser.advance(&mut Nothing, IGNORED);
                    self.pending.set(IGNORED);
                }
            }
            _ => {
                self.track(byte);
                self.parser.advance(to, &[byte]);
            }
        }
    }

    /// Follows the parser's state in the cases that [`Stream::step`] does not handle.
    fn track(&mut self, byte: u8) {
        match (self.pending.bytes(), byte) {
            (_, ESC) => self.pending.set(&[ESC]),
            (_, CAN | SUB) => self.pending.set(&[]),
            ([] | [0x80..=0xff, ..], _) => self.track_utf8(byte),
            ([ESC, b'[', ..], 0x40..=0x7e) => self.pending.set(&[]),
            ([ESC, b']'], BEL) => self.pending.set(&[]),
            ([ESC], b'[' | b']' | b'P' | b'X' | b'^' | b'_') => _ = self.pending.push(byte),
            // Two such bytes are obeyed, three or more are not: keeping three tells these cases
            // apart.
            ([ESC, rest @ ..], 0x20..=0x2f) if rest.len() < 3 => _ = self.pending.push(byte),
            ([ESC, ..], 0x20..=0x2f) => {}
            ([ESC, ..], 0x30..=0x7e) => self.pending.set(&[]),
            _ => {}
        }
    }

    fn track_utf8(&mut self, byte: u8) {
        let unfinished =
            |bytes: &[u8]| core::str::from_utf8(bytes).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none());
        if !self.pending.push(byte) || !unfinished(self.pending.bytes()) {
            let alone = [byte];
            // Either the character is complete, or the byte ended a broken one and may begin the
            // next.
            let begins = unfinished(&alone);
            self.pending.set(if begins { &alone } else { &[] });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use std::fmt::Write;

    /// Records the parser's calls. C1 characters are left out: whether the parser prints or
    /// executes them depends on how the text is cut, and the screen ignores both.
    #[derive(Default, PartialEq, Debug)]
    struct Log(String);

    impl Perform for Log {
        fn print(&mut self, c: char) {
            if !c.is_control() {
                write!(self.0, "{c:?} ").unwrap();
            }
        }
        fn execute(&mut self, byte: u8) {
            if byte < 0x80 && byte != CAN && byte != SUB {
                write!(self.0, "x{byte:02x} ").unwrap();
            }
        }
        fn csi_dispatch(&mut self, params: &vte::Params, intermediates: &[u8], ignore: bool, action: char) {
            write!(self.0, "csi {:?} {intermediates:?} {ignore} {action} ", params.iter().collect::<Vec<_>>()).unwrap();
        }
        fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
            write!(self.0, "esc {intermediates:?} {ignore} {byte} ").unwrap();
        }
    }

    fn whole(bytes: &[u8]) -> String {
        let mut log = Log::default();
        Stream::default().feed(&mut log, bytes);
        log.0
    }

    /// Byte streams as terminals get them: text, escape sequences and random bytes, with the bytes
    /// of special meaning often.
    pub(crate) fn traffic() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => any::<u8>().prop_map(|b| alloc::vec![b]),
            4 => "[ -~]{0,8}".prop_map(String::into_bytes),
            2 => "[é€漢😀─█]{1,3}".prop_map(String::into_bytes),
            4 => "\x1b\\[[0-9;:<=>? !]{0,8}[@-~]".prop_map(String::into_bytes),
            2 => "\x1b[ -~]{1,3}".prop_map(String::into_bytes),
            1 => "\x1b[\\]PX^_][ -~\x07]{0,6}(\x1b\\\\|\x07|\x18)".prop_map(String::into_bytes),
            1 => "\x1b\\[[0-9;]{40,80}m".prop_map(String::into_bytes),
            2 => prop::sample::select(&[0x1bu8, 0x18, 0x1a, 0x9c, 0x9b, 0x7f, 0xe2, 0x82, 0xf0, 0x90, 0xc2][..])
                .prop_map(|b| alloc::vec![b]),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|v| v.concat())
    }

    proptest! {
        #[test]
        fn resuming_anywhere_changes_nothing(bytes in traffic()) {
            let mut log = Log::default();
            let mut pending = Pending::default();
            for &b in &bytes {
                let mut stream = Stream::resume(pending.bytes());
                prop_assert_eq!(stream.pending(), &pending);
                stream.feed(&mut log, &[b]);
                pending = *stream.pending();
            }
            prop_assert_eq!(log.0, whole(&bytes));
        }

        #[test]
        fn any_pending_bytes_are_accepted(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let first = Stream::resume(&bytes);
            prop_assert!(first.pending().bytes().len() <= PENDING_MAX);
        }

        #[test]
        fn the_parser_hears_the_same_as_without_the_tracker(text in "([ -~]|é|─|\x1b\\[[0-9;]{0,8}[@-~]|\x1b[7-9DEM]|\r|\n|\t){0,40}") {
            let mut log = Log::default();
            Parser::<16>::default().advance(&mut log, text.as_bytes());
            prop_assert_eq!(log.0, whole(text.as_bytes()));
        }
    }

    #[test]
    fn an_endless_sequence_is_swallowed_and_what_follows_is_text() {
        let mut bytes = b"\x1b[".to_vec();
        bytes.extend([b'1'; 500]);
        bytes.extend(b"mA");
        assert_eq!(whole(&bytes), "'A' ");
    }

    #[test]
    fn pending_is_empty_between_sequences() {
        for done in [
            "",
            "text",
            "é",
            "\x1b[1m",
            "\x1b]0;title\x07",
            "\x1b]0;title\x1b\\",
            "\x1bPq\x1b\\",
            "\x1b[1<2m",
            "\x1b(B",
            "\x1b[\x18",
        ] {
            let mut stream = Stream::default();
            stream.feed(&mut Nothing, done.as_bytes());
            assert_eq!(stream.pending().bytes(), b"", "{done:?}");
        }
        for open in ["\x1b", "\x1b[", "\x1b[1;", "\x1b]0;t", "\x1bP1$r", "\x1b(", "\x1b[1<"] {
            let mut stream = Stream::default();
            stream.feed(&mut Nothing, open.as_bytes());
            assert_ne!(stream.pending().bytes(), b"", "{open:?}");
        }
        assert_eq!(Stream::resume(&"€".as_bytes()[..2]).pending().bytes(), [0xe2, 0x82]);
    }
}
