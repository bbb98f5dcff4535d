//! The lines that clients write and the typist types: each has a number, text that follows from it, and a check sum over both, by
//! which whoever receives it knows whether it is whole, and whether he has it already.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Letters of the text: keys that need no other key.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Fletcher's check sum with 16-bit sums (RFC 1146), which sees each changed bit and each change of order.
fn check(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (0_u32, 0_u32);
    for &byte in bytes {
        a = (a + u32::from(byte)) % 65535;
        b = (b + a) % 65535;
    }
    b << 16 | a
}

/// The line of this number, with so many letters of text, without the end of the line.
pub fn line(number: u32, letters: usize) -> String {
    let mut random = crate::Random::new(number.into());
    let mut text = format!("{number:06} ");
    for _ in 0..letters {
        text.push(char::from(*random.pick(LETTERS).unwrap_or(&b'?')));
    }
    let sum = check(text.as_bytes());
    format!("{text} {sum:08x}")
}

/// The number of a line that is whole.
pub fn number(line: &[u8]) -> Option<u32> {
    let (text, sum) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let (space, sum) = sum.split_first()?;
    let digits = text.get(..6).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    if *space != b' ' || sum != format!("{:08x}", check(text)).as_bytes() {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// What an application at the far end makes of a stream of lines that may be repeated: it takes each number once, in order, and nothing that
/// comes too early, for the sender goes back to what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receiver {
    part: Vec<u8>,
    /// The number that it waits for: how many lines it has taken.
    pub next: u32,
    /// Lines that came before one that was missing, and were dropped.
    pub early: u32,
    /// Lines that came again, and were dropped for their number.
    pub repeated: u32,
    /// Lines that were not whole.
    pub garbled: u32,
}

impl Receiver {
    /// A byte comes in.
    pub fn take(&mut self, byte: u8) {
        if byte != b'\n' {
            // What is longer than any line is none; there is no need to keep all of it.
            if self.part.len() < 256 {
                self.part.push(byte);
            }
            return;
        }
        let part = core::mem::take(&mut self.part);
        match number(&part) {
            Some(number) if number < self.next => self.repeated += 1,
            Some(number) if number > self.next => self.early += 1,
            Some(_) => self.next += 1,
            None if part.is_empty() => {}
            None => self.garbled += 1,
        }
    }

    /// The sender begins its line anew.
    pub fn restart_line(&mut self) {
        self.part.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(bytes: &[u8]) -> Receiver {
        let mut receiver = Receiver::default();
        bytes.iter().for_each(|&byte| receiver.take(byte));
        receiver
    }

    #[test]
    fn a_line_knows_its_number() {
        for n in [0, 1, 77, 999_999] {
            let line = line(n, 20);
            assert_eq!((number(line.as_bytes()), line.len()), (Some(n), 36));
        }
        assert_ne!(line(1, 20)[7..], line(2, 20)[7..]);
    }

    #[test]
    fn every_changed_bit_and_every_lost_or_doubled_byte_is_seen() {
        let good = line(4711, 12).into_bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(number(&bad), None, "byte {at} bit {bit}");
            }
            let mut short = good.clone();
            let byte = short.remove(at);
            assert_eq!(number(&short), None, "without byte {at}");
            let mut long = good.clone();
            long.insert(at, byte);
            assert_eq!(number(&long), None, "byte {at} twice");
        }
    }

    #[test]
    fn a_receiver_takes_each_line_once() {
        let stream = |numbers: &[u32]| numbers.iter().map(|&n| line(n, 8) + "\n").collect::<String>().into_bytes();
        assert_eq!(receive(&stream(&[0, 1, 2])), Receiver { next: 3, ..Receiver::default() });
        assert_eq!(receive(&stream(&[0, 1, 0, 1, 2])), Receiver { next: 3, repeated: 2, ..Receiver::default() });
        assert_eq!(receive(&stream(&[0, 2, 3])), Receiver { next: 1, early: 2, ..Receiver::default() });
        assert_eq!(receive(&stream(&[0, 2, 1, 2])), Receiver { next: 3, early: 1, ..Receiver::default() });
        let mut bytes = stream(&[0, 1]);
        bytes[40] = b'?';
        assert_eq!(receive(&bytes).garbled, 1);
    }
}
