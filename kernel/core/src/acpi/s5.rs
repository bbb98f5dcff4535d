//! Finds the package `_S5_` (ACPI 6.5, section 7.4.2) in AML without interpreting AML: a table is
//! searched for the bytes that define it.

use super::fadt::SleepTypes;
use super::{HEADER, Walk, sum};
use crate::addr::PhysAddr;

/// Bytes that are read at once.
const PIECE: usize = 512;
/// Bytes from the one but last before the name to the end of the longest package that is
/// understood: 2 + 4 + 1 + 4 + 1 + 5 + 5.
const WINDOW: usize = 22;
/// The most places of a table that are looked at more closely.
const MAX_PLACES: u32 = 64;

impl Walk<'_> {
    /// The values in the `_S5_` of the table of `len` bytes at an address, if its checksum is
    /// right. It is an error if the table cannot be read or has another one.
    pub(super) fn sleep_types(&mut self, table: PhysAddr, len: u32) -> Result<Option<SleepTypes>, ()> {
        let mut total = 0u8;
        let mut types = None;
        let mut places = MAX_PLACES;
        let mut buffer = [0; PIECE];
        for offset in (0..len).step_by(PIECE) {
            let piece = buffer.get_mut(..(len - offset).min(PIECE as u32) as usize).ok_or(())?;
            self.read(table, offset.into(), piece).then_some(()).ok_or(())?;
            total = total.wrapping_add(sum(piece));
            if types.is_some() {
                continue;
            }
            for at in fives(piece) {
                if types.is_none() && places != 0 && may_be_name(piece, at) {
                    places -= 1;
                    types = self.package(table, len, u64::from(offset) + at as u64);
                }
            }
        }
        if total == 0 { Ok(types) } else { Err(()) }
    }

    /// The values of the package whose name has its `5` at offset `five`.
    fn package(&mut self, table: PhysAddr, len: u32, five: u64) -> Option<SleepTypes> {
        let start = five.checked_sub(4).filter(|start| *start >= HEADER - 1)?;
        let rest = u64::from(len) - start;
        let mut window = [0; WINDOW];
        let bytes = window.get_mut(..rest.min(WINDOW as u64) as usize)?;
        self.read(table, start, bytes).then_some(())?;
        parse(bytes, rest)
    }
}

/// The values of the package whose definition begins at the first byte, or at the second if its
/// name is not of the root (ACPI 6.5, sections 20.2.2 to 20.2.5). `rest` is the number of bytes to
/// the end of the table.
fn parse(bytes: &[u8], rest: u64) -> Option<SleepTypes> {
    let ([0x08, b'\\', package @ ..] | [_, 0x08, package @ ..]) = bytes else { return None };
    let package = package.strip_prefix(b"_S5_\x12")?;
    let &[lead, ref more @ ..] = package else { return None };
    // The two highest bits of the first byte are the number of further bytes of the length.
    let (length, list) = match (lead >> 6, more) {
        (0, list) => (u64::from(lead), list),
        (1, [a, list @ ..]) => (u64::from(lead & 15) | u64::from(*a) << 4, list),
        (2, [a, b, list @ ..]) => (u64::from(lead & 15) | u64::from(*a) << 4 | u64::from(*b) << 12, list),
        (_, [a, b, c, list @ ..]) => {
            (u64::from(lead & 15) | u64::from(*a) << 4 | u64::from(*b) << 12 | u64::from(*c) << 20, list)
        }
        _ => return None,
    };
    let &[count, ref list @ ..] = list else { return None };
    let (a, list) = number(list)?;
    let (b, list) = number(list)?;
    // The length counts from its own first byte on.
    let used = (package.len() - list.len()) as u64;
    let whole = length >= used && length <= rest - 7;
    (count >= 2 && whole).then_some((a & 7, b & 7))
}

/// The lowest byte of the constant at the start of `bytes` (section 20.2.3), and what follows it.
fn number(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [value @ (0 | 1), rest @ ..] => Some((*value, rest)),
        [0x0a, value, rest @ ..] | [0x0b, value, _, rest @ ..] | [0x0c, value, _, _, _, rest @ ..] => {
            Some((*value, rest))
        }
        _ => None,
    }
}

/// The offsets of the bytes `5`, of which AML has few. Eight bytes are looked at together.
fn fives(piece: &[u8]) -> impl Iterator<Item = usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = piece.as_chunks();
    let with_five = (0..).zip(words).filter(|(_, word)| {
        let differs = u64::from_le_bytes(**word) ^ (ONES * b'5' as u64);
        // A byte of 0 is borrowed from, which sets its highest bit. Others that this finds are
        // sorted out below.
        differs.wrapping_sub(ONES) & !differs & (ONES << 7) != 0
    });
    let tail = (words.len(), rest);
    let places = with_five.map(|(index, word)| (index, word.as_slice())).chain([tail]);
    places.flat_map(|(index, bytes)| {
        let in_word = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'5');
        in_word.map(move |(at, _)| index * 8 + at)
    })
}

/// Whether the bytes beside a `5`, where they are in the same piece, are those of the name.
fn may_be_name(piece: &[u8], five: usize) -> bool {
    let before = five.checked_sub(1).and_then(|at| piece.get(at));
    before.is_none_or(|byte| *byte == b'S') && piece.get(five + 1).is_none_or(|byte| *byte == b'_')
}
