//! Protocols as described by the files `proto/NAME` of the boot archive: see `rt::described!`.

use crate::parse::number;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use rt::exec::Lend;

/// Most bytes that `call` lends as a buffer.
pub const MAX_BUFFER: u64 = 4096;

/// The description of a protocol.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protocol {
    /// The operations, in the order of their declaration.
    pub operations: Vec<Operation>,
    refusals: Vec<(u16, String, String)>,
}

/// The description of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The operation's label.
    pub label: u16,
    /// The operation's name.
    pub name: String,
    arguments: Vec<(String, String)>,
    handle: Option<String>,
    answer: String,
}

/// A message to send: words, and memory to lend.
pub type Message = ([u64; 4], Vec<Lend>);

impl Protocol {
    /// Parses a description; invalid lines are left out.
    pub fn parse(text: &str) -> Protocol {
        let mut protocol = Protocol::default();
        for line in text.lines() {
            if let Some(operation) = line.strip_prefix("op ").and_then(Operation::parse) {
                protocol.operations.push(operation);
            } else if let Some((code, value, text)) = line.strip_prefix("no ").and_then(refusal) {
                protocol.refusals.push((code, value.into(), text.into()));
            }
        }
        protocol
    }

    /// The operation with this name.
    pub fn named(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    /// The operation with this label.
    pub fn labelled(&self, label: u16) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.label == label)
    }

    /// The meaning of an outcome, with the value that came with it.
    pub fn refusal(&self, outcome: u16, words: [u64; 4]) -> Option<String> {
        let (_, value, text) = self.refusals.iter().find(|(code, ..)| *code == outcome)?;
        let Some((name, shape)) = value.split_once(':') else { return Some(text.clone()) };
        let mut value = String::new();
        show(shape, &mut Words { words, at: 0 }, &mut value);
        let hex = format!("{:#x}", words[0]);
        Some(filled(text, |place| match place.split_once(':').unwrap_or((place, "")) {
            (named, "x" | "#x") if named == name => &hex,
            (named, _) if named == name => &value,
            // A constant or an expression of the driver: its value is not in the description.
            _ => "..",
        }))
    }

    /// All operations, one a line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for operation in &self.operations {
            let _ = writeln!(text, "{:>5}  {}", operation.label, operation.usage());
        }
        text
    }
}

/// A Rust format string with each `{place}` replaced.
fn filled<'a>(text: &str, value: impl Fn(&str) -> &'a str) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        match from.split_once('}') {
            Some((place, after)) if !from.starts_with('{') => {
                filled.push_str(value(place));
                rest = after;
            }
            // Two braces stand for one brace.
            _ => {
                filled.push('{');
                rest = from.strip_prefix('{').unwrap_or(from);
            }
        }
    }
    filled.push_str(rest);
    filled.replace("}}", "}")
}

fn refusal(line: &str) -> Option<(u16, &str, &str)> {
    let (code, rest) = line.split_once(' ')?;
    let (value, text) = rest.split_once(' ')?;
    Some((u16::try_from(number(code)?).ok()?, value, text))
}

impl Operation {
    fn parse(line: &str) -> Option<Operation> {
        let (head, answer) = line.split_once("-> ")?;
        let mut words = head.split_whitespace();
        let label = u16::try_from(number(words.next()?)?).ok()?;
        let name = words.next()?.into();
        let (mut arguments, mut handle) = (Vec::new(), None);
        for word in words {
            if let Some((name, shape)) = word.split_once(':') {
                arguments.push((name.into(), shape.into()));
            } else if let Some(kind) = word.strip_prefix('+') {
                handle = Some(kind.into());
            }
        }
        Some(Operation { label, name, arguments, handle, answer: answer.into() })
    }

    /// How the operation is called: its name and its arguments.
    pub fn usage(&self) -> String {
        let mut usage = self.name.clone();
        for (name, shape) in &self.arguments {
            let _ = match shape.as_str() {
                "&" => write!(usage, " TEXT"),
                "&mut" => write!(usage, " BYTES"),
                _ => write!(usage, " {}", name.to_uppercase()),
            };
        }
        if let Some(kind) = &self.handle {
            let _ = write!(usage, " (passes a handle: {kind})");
        }
        usage
    }

    /// The message with these arguments.
    ///
    /// # Errors
    /// What is wrong with the arguments, as a sentence for people.
    pub fn message(&self, given: &[String]) -> Result<Message, String> {
        if let Some(kind) = &self.handle {
            return Err(format!("`{}` passes a handle ({kind}), which `call` cannot", self.name));
        }
        if given.len() != self.arguments.len() {
            return Err(format!("`{}` takes {} arguments: {}", self.name, self.arguments.len(), self.usage()));
        }
        let (mut words, mut lent) = (Words { words: [0; 4], at: 0 }, Vec::new());
        for ((name, shape), given) in self.arguments.iter().zip(given) {
            match shape.as_str() {
                "&" => lent.push(Lend::Read(given.clone().into_bytes())),
                "&mut" => {
                    let bytes = number(given).filter(|bytes| *bytes <= MAX_BUFFER);
                    let bytes =
                        bytes.ok_or_else(|| format!("`{given}`: {name} is room for up to {MAX_BUFFER} bytes"))?;
                    lent.push(Lend::Write(vec![0; bytes as usize]));
                }
                shape => {
                    words.put(value(shape, given).ok_or_else(|| format!("`{given}` is no {name}: {}", wanted(shape)))?)
                }
            }
        }
        Ok((words.words, lent))
    }

    /// The answer as text for people: its fields, and the contents of the buffers.
    pub fn answer(&self, words: [u64; 4], lent: &[Lend]) -> String {
        let mut text = String::new();
        let mut read = Words { words, at: 0 };
        match self.answer.as_str() {
            "()" | "never" | "?" => {}
            "filled" => {
                let _ = write!(text, "{} bytes", words[0]);
            }
            shape => show(shape, &mut read, &mut text),
        }
        for lend in lent {
            if let Lend::Write(bytes) = lend {
                let filled = if self.answer == "filled" { bytes.len().min(words[0] as usize) } else { bytes.len() };
                let _ = write!(text, " \"{}\"", bytes.get(..filled).unwrap_or_default().escape_ascii());
            }
        }
        text
    }
}

/// Words of a message, value by value: each value is in the first word that has room for all of it.
struct Words {
    words: [u64; 4],
    at: u32,
}

impl Words {
    /// Appends an argument, which is a word of its own.
    fn put(&mut self, value: u64) {
        if let Some(word) = self.words.get_mut(self.at as usize / 64) {
            *word = value;
        }
        self.at += 64;
    }

    fn take(&mut self, bits: u32) -> u64 {
        if self.at % 64 + bits > 64 {
            self.whole();
        }
        let word = self.words.get(self.at as usize / 64).copied().unwrap_or(0) >> (self.at % 64);
        self.at += bits;
        if bits < 64 { word & ((1 << bits) - 1) } else { word }
    }

    fn whole(&mut self) {
        self.at = self.at.next_multiple_of(64);
    }
}

/// Number of bits of a value that is one number.
fn bits(shape: &str) -> u32 {
    match shape {
        "bool" => 1,
        "u8" | "i8" => 8,
        "u16" | "i16" => 16,
        "u64" | "i64" => 64,
        _ => 32,
    }
}

/// The variants of an enum: names and numbers.
fn variants(shape: &str) -> impl Iterator<Item = (&str, u64)> {
    shape.split('|').filter_map(|part| part.split_once('=')).filter_map(|(name, raw)| Some((name, number(raw)?)))
}

/// Description of the valid values, for an error message.
fn wanted(shape: &str) -> String {
    if shape.contains('=') {
        return variants(shape).map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    }
    match shape {
        "bool" => "true or false".into(),
        _ => format!("a number, {shape}"),
    }
}

fn value(shape: &str, given: &str) -> Option<u64> {
    let named = variants(shape).find(|(name, _)| name.eq_ignore_ascii_case(given));
    match (shape, given) {
        _ if named.is_some() => named.map(|(_, number)| number),
        ("bool", "true") => Some(1),
        ("bool", "false") => Some(0),
        _ if is_signed(shape) => {
            let (digits, sign) = given.strip_prefix('-').map_or((given, 1), |digits| (digits, -1));
            let number = sign * i128::from(number(digits)?);
            let limit = 1_i128 << (bits(shape) - 1);
            (-limit..limit).contains(&number).then_some(number as u64 & (u64::MAX >> (64 - bits(shape))))
        }
        _ => number(given).filter(|number| bits(shape) == 64 || number >> bits(shape) == 0),
    }
}

/// Whether a value is a signed number.
fn is_signed(shape: &str) -> bool {
    matches!(shape, "i8" | "i16" | "i32" | "i64")
}

/// Appends the value of this shape as text.
fn show(shape: &str, from: &mut Words, to: &mut String) {
    let Some(fields) = shape.strip_prefix('{').and_then(|shape| shape.strip_suffix('}')) else {
        let raw = from.take(bits(shape));
        let name = variants(shape).find(|(_, number)| *number == raw).map(|(name, _)| name);
        let _ = match (shape, name) {
            (_, Some(name)) => write!(to, "{name}"),
            ("bool", _) => write!(to, "{}", raw != 0),
            // Its sign bit becomes that of 64 bits.
            _ if is_signed(shape) => write!(to, "{}", (raw << (64 - bits(shape))).cast_signed() >> (64 - bits(shape))),
            _ => write!(to, "{raw}"),
        };
        return;
    };
    from.whole();
    let (mut depth, mut start, mut first) = (0, 0, true);
    for (at, character) in fields.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if let Some((name, shape)) = fields.get(start..at).and_then(|field| field.split_once(':')) {
                    to.push_str(if first { "" } else { ", " });
                    first = false;
                    let inner = shape.starts_with('{');
                    let _ = write!(to, "{name} {}", if inner { "(" } else { "" });
                    show(shape, from, to);
                    to.push_str(if inner { ")" } else { "" });
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    fn given(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn serial() -> Protocol {
        Protocol::parse(driver_serial::DESCRIPTION)
    }

    #[test]
    fn what_a_driver_declares_is_what_the_shell_knows() {
        let text = serial().text();
        assert!(text.contains("    1  write TEXT\n    2  read BYTES WAIT\n"), "{text}");
        assert!(text.contains("    3  subscribe BITS (passes a handle: Notification)\n"), "{text}");
        assert_eq!(serial().refusal(3, [0; 4]).as_deref(), Some("no UART answers"));
        assert_eq!(serial().refusal(9, [0; 4]), None);
        let power = Protocol::parse(driver_power::DESCRIPTION);
        let said = power.refusal(1, [3, 0, 0, 0]);
        assert_eq!(said.as_deref(), Some("the machine is still running, after 3 ways to change that"));
    }

    #[test]
    fn a_refusals_value_stands_where_its_text_has_it() {
        for (text, shown) in [
            ("not {at}", "not 26"),
            ("not {at:#x}, below {LEN:#x}", "not 0x1a, below .."),
            ("from {} to {}: {at:?}", "from .. to ..: 26"),
            ("{{at}} is {at:x", "{at} is {at:x"),
        ] {
            let protocol = Protocol::parse(&format!("no 2 at:u64 {text}"));
            assert_eq!(protocol.refusal(2, [26, 0, 0, 0]).as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn arguments_become_words_and_memory() {
        let serial = serial();
        let read = serial.named("read").expect("it is declared");
        assert_eq!(read.message(&given(&["3", "true"])), Ok(([1, 0, 0, 0], vec![Lend::Write(vec![0; 3])])));
        let write = serial.named("write").expect("it is declared");
        assert_eq!(write.message(&given(&["hi"])), Ok(([0; 4], vec![Lend::Read(b"hi".to_vec())])));
        for (words, wrong) in [
            (&["3"][..], "takes 2 arguments: read BYTES WAIT"),
            (&["5000", "true"], "up to 4096 bytes"),
            (&["3", "maybe"], "true or false"),
        ] {
            let said = read.message(&given(words)).expect_err("it is wrong");
            assert!(said.contains(wrong), "{said}");
        }
        let keyboard = Protocol::parse(driver_keyboard::DESCRIPTION);
        let layout = keyboard.named("set_layout").expect("it is declared");
        assert_eq!(layout.message(&given(&["de"])), Ok(([2, 0, 0, 0], vec![])));
        assert!(layout.message(&given(&["x"])).expect_err("no layout").contains("Us, Uk, De, Fr, Dvorak"));
        assert!(keyboard.named("subscribe").expect("declared").message(&given(&["1"])).is_err());
    }

    #[test]
    fn answers_are_shown_field_by_field() {
        let info = driver_serial::Info { unread: 5, sent: 70_000, present: true, ..Default::default() };
        let shown = serial().labelled(4).expect("it is declared").answer(rt::proto::to_words(&info), &[]);
        assert_eq!(
            shown,
            "unread 5, unsent 0, sent 70000, present true, restarted false, exact false, \
             errors (overruns 0, parity 0, framing 0, breaks 0)"
        );
        let read = serial();
        let read = read.named("read").expect("it is declared");
        assert_eq!(read.answer([2, 0, 0, 0], &[Lend::Write(b"a\n\0\0".to_vec())]), "2 bytes \"a\\n\"");
        assert_eq!(read.answer([u64::MAX, 0, 0, 0], &[Lend::Write(b"ab".to_vec())]).matches('b').count(), 2);
    }

    #[test]
    fn signed_numbers_have_signs() {
        let text = "op 1 warp x:i32 by:i8 far:i64 -> {x:i16,wheel:i8,far:i32,farther:i64,}";
        let protocol = Protocol::parse(text);
        let warp = protocol.named("warp").expect("it is declared");
        let said = |words: &[&str]| warp.message(&given(words)).map(|(words, _)| words);
        assert_eq!(said(&["-7", "-128", "-1"]), Ok([0xffff_fff9, 0x80, u64::MAX, 0]));
        assert_eq!(said(&["2147483647", "0x7f", "5"]), Ok([0x7fff_ffff, 0x7f, 5, 0]));
        for wrong in
            [["0", "128", "0"], ["0", "-129", "0"], ["2147483648", "0", "0"], ["-", "0", "0"], ["--1", "0", "0"]]
        {
            assert!(said(&wrong).expect_err("it does not fit").contains("a number, i"), "{wrong:?}");
        }
        let words = [0x8000 | 0xff << 16 | 0x8000_0000 << 24, 1 << 63, 0, 0];
        assert_eq!(warp.answer(words, &[]), "x -32768, wheel -1, far -2147483648, farther -9223372036854775808");
    }

    #[test]
    fn nonsense_is_left_out() {
        for text in
            ["", "op", "op x y -> u8", "op 1", "op 70000 a -> u8", "no 1", "no x - y", "protocol a\nop 1 a b -> c"]
        {
            let protocol = Protocol::parse(text);
            protocol.text();
            if let Some(operation) = protocol.labelled(1) {
                operation.answer([u64::MAX; 4], &[]);
                let _ = operation.message(&[]);
            }
        }
    }
}
