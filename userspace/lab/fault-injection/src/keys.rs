//! Typing, and the judge of what arrives.

use crate::line::Receiver;
use alloc::collections::VecDeque;

/// The key that tells the reader that the line begins anew.
pub const AGAIN: u8 = 0x1b;

/// Scan codes (set 1) that let go of every key that changes the meaning of others: both shifts, both controls, both alts. Twice, because
/// the first code may be taken for the second half of another.
pub const LET_GO: [u8; 16] =
    [0xaa, 0xb6, 0x9d, 0xb8, 0xe0, 0x9d, 0xe0, 0xb8, 0xaa, 0xb6, 0x9d, 0xb8, 0xe0, 0x9d, 0xe0, 0xb8];

/// Scan codes of caps lock, pressed and let go.
pub const CAPS: [u8; 2] = [0x3a, 0xba];

/// The scan code (set 1) of the key that makes this character on a US keyboard, without any other key.
pub fn scan_code(character: u8) -> Option<u8> {
    const ROWS: [(&[u8], u8); 4] =
        [(b"\x1b1234567890", 0x01), (b"qwertyuiop", 0x10), (b"asdfghjkl", 0x1e), (b"zxcvbnm", 0x2c)];
    match character {
        b'\n' => return Some(0x1c),
        b' ' => return Some(0x39),
        _ => {}
    }
    let place = |(keys, first): (&[u8], u8)| keys.iter().position(|&key| key == character).map(|at| first + at as u8);
    ROWS.into_iter().find_map(place)
}

/// What has gone wrong on the way of the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Keys that never arrived.
    pub lost: u32,
    /// Keys that arrived once more, or that nobody had pressed.
    pub extra: u32,
}

/// Knows what was typed and hears what arrives, key by key; and is the application, which takes each line once.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    on_the_way: VecDeque<u8>,
    /// Keys may be damaged: something was done to the driver that may have it do wrong.
    open: bool,
    /// Since the damage began.
    damage: Damage,
    /// While keys may not be damaged: that must stay 0.
    pub wrong: Damage,
    /// The application.
    pub lines: Receiver,
}

impl Judge {
    /// A key is typed.
    pub fn typed(&mut self, key: u8) {
        self.on_the_way.push_back(key);
    }

    /// How many keys are on their way.
    pub fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    /// From now on keys may be damaged.
    pub fn open(&mut self) {
        if !self.open {
            self.open = true;
            self.damage = Damage::default();
        }
    }

    /// Whether keys may be damaged.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The damage is over: from the [`AGAIN`] that is typed next, and arrives, all is to be right again.
    pub fn forget(&mut self) {
        self.damage.lost += self.on_the_way.len() as u32;
        self.on_the_way.clear();
    }

    /// The [`AGAIN`] has arrived. Returns the damage.
    pub fn close(&mut self) -> Damage {
        self.open = false;
        self.on_the_way.clear();
        core::mem::take(&mut self.damage)
    }

    /// A key arrives.
    pub fn received(&mut self, key: u8) {
        if key == AGAIN {
            self.lines.restart_line();
        } else {
            self.lines.take(key);
        }
        let account = if self.open { &mut self.damage } else { &mut self.wrong };
        match self.on_the_way.iter().position(|&typed| typed == key) {
            Some(0) => _ = self.on_the_way.pop_front(),
            // Some are missing, if this is not one that came twice; a line has few keys that are the same, so this tells them apart.
            Some(skipped) if skipped <= 3 => {
                account.lost += skipped as u32;
                self.on_the_way.drain(..=skipped);
            }
            _ => account.extra += 1,
        }
    }

    /// Everything must have arrived by now.
    pub fn end(&mut self) {
        let left = self.on_the_way.len() as u32;
        let account = if self.open { &mut self.damage } else { &mut self.wrong };
        account.lost += left;
        self.on_the_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::line;
    use alloc::vec::Vec;

    fn text(numbers: core::ops::Range<u32>) -> Vec<u8> {
        numbers.flat_map(|n| (line(n, 8) + "\n").into_bytes()).collect()
    }

    /// Types lines 0 to 3, of which `change` makes what arrives.
    fn judged(change: impl FnOnce(&mut Vec<u8>)) -> Judge {
        let mut judge = Judge::default();
        let mut arriving = text(0..3);
        arriving.iter().for_each(|&key| judge.typed(key));
        change(&mut arriving);
        arriving.iter().for_each(|&key| judge.received(key));
        judge.end();
        judge
    }

    #[test]
    fn every_key_of_a_line_can_be_typed() {
        for key in text(0..50) {
            assert!(scan_code(key).is_some(), "{key}");
        }
        let codes = [b'1', b'0', b'q', b'p', b'a', b'l', b'z', b'm', AGAIN].map(scan_code);
        assert_eq!(codes, [0x02, 0x0b, 0x10, 0x19, 0x1e, 0x26, 0x2c, 0x32, 0x01].map(Some));
        assert_eq!(scan_code(b'A'), None);
    }

    #[test]
    fn what_arrives_once_is_right() {
        let judge = judged(|_| {});
        assert_eq!((judge.wrong, judge.lines.next), (Damage::default(), 3));
    }

    #[test]
    fn a_lost_and_a_doubled_key_are_noticed_anywhere() {
        for at in 0..text(0..3).len() {
            let lost = judged(|keys| _ = keys.remove(at));
            assert_ne!(lost.wrong, Damage::default(), "key {at} lost");
            assert!(lost.lines.next < 3, "the application has all without key {at}");
            let doubled = judged(|keys| keys.insert(at, keys[at]));
            assert_ne!(doubled.wrong, Damage::default(), "key {at} doubled");
            let changed = judged(|keys| keys[at] = b'!');
            assert_ne!(changed.wrong, Damage::default(), "key {at} changed");
        }
    }

    #[test]
    fn damage_that_may_be_is_counted_apart_and_repaired() {
        let mut judge = Judge::default();
        judge.open();
        judge.typed(b'0');
        judge.received(b'?');
        judge.forget();
        judge.typed(AGAIN);
        judge.received(AGAIN);
        assert_eq!(judge.close(), Damage { lost: 1, extra: 1 });
        for key in text(0..1) {
            judge.typed(key);
            judge.received(key);
        }
        assert_eq!((judge.wrong, judge.lines.next), (Damage::default(), 1));
    }
}
