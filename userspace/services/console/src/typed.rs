//! Keys that are typed while no task reads a line.

use crate::key::Key;
use alloc::collections::VecDeque;
use core::ops::{Range, RangeInclusive};

/// The device from which a key comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The keyboard. It cannot be made to wait: keys that are not taken in time are lost in it.
    Keyboard,
    /// The serial line. It can be made to wait: unread bytes stay in the driver, in the UART, and
    /// then with the sender.
    Serial,
}

/// How many keys from the serial line are taken before it has to wait; those of one read may come
/// in addition. It is so large that a Ctrl-C is found at once after typed keys and after a moderate
/// paste: it cannot be seen while it waits in the line.
pub const SERIAL_AHEAD: usize = 16 * 1024;

/// Most keys of each source that are kept.
const MOST_OF: [usize; 2] = [1000, SERIAL_AHEAD + 1000];

/// Most keys that are kept, of all sources.
pub const MOST_AHEAD: usize = MOST_OF[0] + MOST_OF[1];

/// The keys, oldest first. A line of which keys had to be left out is left out as a whole: a part
/// of a command could do anything.
#[derive(Default, Debug)]
pub struct TypeAhead {
    /// The keys in the form of [`code`].
    keys: VecDeque<u32>,
    /// The number of the oldest key. Keys are numbered consecutively; if some are removed, those
    /// after them get new numbers.
    first: u64,
    /// For each source: how many keys there are, and whether keys up to its next Enter are left
    /// out.
    counts: [usize; 2],
    skipping: [bool; 2],
    lost: u64,
}

impl TypeAhead {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether more keys are wanted from this source. The keyboard cannot wait: see
    /// [`TypeAhead::push`].
    pub fn has_room(&self, source: Source) -> bool {
        source == Source::Keyboard || self.counts[source as usize] < SERIAL_AHEAD
    }

    /// Appends a key. If there is no room, its line is lost, from its first key to the Enter that
    /// is still to come.
    pub fn push(&mut self, source: Source, key: Key) {
        let of = source as usize;
        if self.skipping[of] {
            self.lost += 1;
            self.skipping[of] = key != Key::Enter;
        } else if self.counts[of] < MOST_OF[of] {
            self.keys.push_back(code(source, key));
            self.counts[of] += 1;
        } else {
            self.lost += 1 + self.cut(source);
            self.skipping[of] = key != Key::Enter;
        }
    }

    /// Removes the keys of this source after its last Enter, and returns their number.
    fn cut(&mut self, source: Source) -> u64 {
        let enter = code(source, Key::Enter);
        let whole = self.keys.iter().rposition(|key| *key == enter).map_or(0, |last| last + 1);
        let (mut place, before) = (0, self.keys.len());
        self.keys.retain(|key| {
            place += 1;
            place <= whole || source_of(*key) != source
        });
        self.first += before as u64;
        let cut = before - self.keys.len();
        self.counts[source as usize] -= cut;
        cut as u64
    }

    /// Removes and returns the oldest key.
    pub fn pop(&mut self) -> Option<(Source, Key)> {
        let raw = self.keys.pop_front()?;
        self.first += 1;
        let source = source_of(raw);
        self.counts[source as usize] -= 1;
        key(raw).map(|key| (source, key))
    }

    /// Removes all keys, at the request of the person at `source`. If the other source was in the
    /// middle of a line, the rest of that line is left out.
    pub fn clear(&mut self, source: Source) {
        for other in [Source::Keyboard, Source::Serial] {
            let last = self.keys.iter().rev().find(|key| source_of(**key) == other);
            let open = last.is_some_and(|key| *key != code(other, Key::Enter));
            let skips = &mut self.skipping[other as usize];
            *skips = other != source && (open || *skips);
        }
        self.first += self.keys.len() as u64;
        self.keys.clear();
        self.counts = [0; 2];
    }

    /// How many keys were lost since the previous call.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// The numbers of the keys: from that of the oldest to one after that of the newest. A number
    /// stands for the same key for ever.
    pub fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.keys.len() as u64
    }

    /// The keys from this number on, as codes for memory that outlives this object.
    pub fn codes_from(&self, number: u64) -> impl Iterator<Item = u32> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.keys.iter().skip(skipped).copied()
    }

    /// Whether keys of the keyboard, and those of the serial line, are left out up to the next
    /// Enter: bits 0 and 1.
    pub fn skipping(&self) -> u32 {
        u32::from(self.skipping[0]) | u32::from(self.skipping[1]) << 1
    }

    /// The keys of which these are the [`TypeAhead::numbers`], the [`TypeAhead::codes_from`] and
    /// the [`TypeAhead::skipping`]. Invalid codes are left out; then the other keys have new
    /// numbers.
    pub fn from_codes(numbers: Range<u64>, codes: impl Iterator<Item = u32>, skipping: u32) -> TypeAhead {
        let mut typed = TypeAhead { first: numbers.start, ..TypeAhead::default() };
        for raw in codes {
            if let Some(key) = key(raw) {
                typed.push(source_of(raw), key);
            }
        }
        if typed.numbers() != numbers {
            typed.first = numbers.end;
        }
        typed.skipping = [skipping & 1 != 0, skipping & 2 != 0];
        typed
    }
}

const SERIAL_BIT: u32 = 1 << 31;

fn source_of(code: u32) -> Source {
    if code & SERIAL_BIT == 0 { Source::Keyboard } else { Source::Serial }
}

/// Keys that are not characters; their codes follow the last character.
const OTHERS: [Key; 13] = [
    Key::Enter,
    Key::Tab,
    Key::Backspace,
    Key::Delete,
    Key::Left,
    Key::Right,
    Key::Up,
    Key::Down,
    Key::Home,
    Key::End,
    Key::WordLeft,
    Key::WordRight,
    Key::Escape,
];
const FIRST_OTHER: u32 = char::MAX as u32 + 1;
const LETTERS: RangeInclusive<char> = 'a'..='z';
const FIRST_CTRL: u32 = FIRST_OTHER + 0x100;

/// Source and key as one number.
fn code(source: Source, key: Key) -> u32 {
    let key = match key {
        Key::Char(c) => c as u32,
        Key::Ctrl(c) => FIRST_CTRL + c as u32,
        other => FIRST_OTHER + OTHERS.iter().position(|known| *known == other).unwrap_or(0) as u32,
    };
    key | if source == Source::Serial { SERIAL_BIT } else { 0 }
}

/// The source and key of a [`code`].
fn key(code: u32) -> Option<Key> {
    let code = code & !SERIAL_BIT;
    if code < FIRST_OTHER {
        return char::from_u32(code).map(Key::Char);
    }
    if let Some(c) = code.checked_sub(FIRST_CTRL) {
        return char::from_u32(c).filter(|c| LETTERS.contains(c)).map(Key::Ctrl);
    }
    OTHERS.get((code - FIRST_OTHER) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::tests::any_key;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn type_text(typed: &mut TypeAhead, source: Source, text: &str) {
        text.chars().filter_map(Key::from_char).for_each(|key| typed.push(source, key));
    }

    fn text(typed: &mut TypeAhead) -> String {
        let char = |key| match key {
            Key::Char(c) => c,
            Key::Enter => '\n',
            other => panic!("{other:?}"),
        };
        core::iter::from_fn(|| typed.pop()).map(|(_, key)| char(key)).collect()
    }

    #[test]
    fn the_serial_line_waits_and_the_keyboard_loses_whole_lines() {
        let mut typed = TypeAhead::default();
        type_text(&mut typed, Source::Serial, &"s".repeat(SERIAL_AHEAD));
        assert!(!typed.has_room(Source::Serial) && typed.has_room(Source::Keyboard));
        typed.pop();
        assert!(typed.has_room(Source::Serial));

        let mut typed = TypeAhead::default();
        let line = |number: usize| alloc::format!("line {number:03}\n");
        let many: String = (0..200).map(line).collect();
        type_text(&mut typed, Source::Keyboard, &many);
        assert!(typed.has_room(Source::Keyboard));
        // There is room for 111 lines of nine keys and one key; that key belongs to a line that is
        // lost as a whole.
        let kept: String = (0..111).map(line).collect();
        assert_eq!((typed.take_lost(), typed.take_lost()), ((200 - 111) * 9, 0));
        type_text(&mut typed, Source::Serial, "from elsewhere\n");
        assert_eq!(text(&mut typed), kept + "from elsewhere\n");
        type_text(&mut typed, Source::Keyboard, "half");
        assert_eq!(text(&mut typed), "half");
    }

    #[test]
    fn a_line_that_began_before_it_was_full_ends_where_it_ends() {
        let mut typed = TypeAhead::default();
        type_text(&mut typed, Source::Keyboard, "good\n");
        type_text(&mut typed, Source::Keyboard, &"x".repeat(MOST_OF[0]));
        typed.pop();
        type_text(&mut typed, Source::Keyboard, "tail of it\nnext\n");
        assert_eq!(text(&mut typed), "ood\nnext\n");
        assert_eq!(typed.take_lost(), MOST_OF[0] as u64 + 11);
    }

    #[test]
    fn what_is_discarded_is_discarded_to_its_end() {
        let mut typed = TypeAhead::default();
        type_text(&mut typed, Source::Serial, "one\ntwo\nthr");
        type_text(&mut typed, Source::Keyboard, "mine");
        typed.clear(Source::Keyboard);
        type_text(&mut typed, Source::Serial, "ee\nfour\n");
        type_text(&mut typed, Source::Keyboard, "new\n");
        assert_eq!(text(&mut typed), "four\nnew\n");
        type_text(&mut typed, Source::Serial, "half");
        typed.clear(Source::Serial);
        type_text(&mut typed, Source::Serial, "whole\n");
        assert_eq!(text(&mut typed), "whole\n");
    }

    proptest! {
        #[test]
        fn keys_outlive_as_numbers(keys in prop::collection::vec((any::<bool>(), any_key()), 0..1500)) {
            let mut typed = TypeAhead::default();
            for (serial, key) in keys {
                typed.push(if serial { Source::Serial } else { Source::Keyboard }, key);
            }
            let mut again = TypeAhead::from_codes(typed.numbers(), typed.codes_from(0), typed.skipping());
            prop_assert_eq!(again.len(), typed.len());
            prop_assert_eq!(again.numbers(), typed.numbers());
            prop_assert_eq!(again.skipping(), typed.skipping());
            let all = |typed: &mut TypeAhead| core::iter::from_fn(|| typed.pop()).collect::<Vec<_>>();
            prop_assert_eq!(all(&mut again), all(&mut typed));
        }

        #[test]
        fn any_numbers_are_harmless(codes in prop::collection::vec(any::<u32>(), 0..50)) {
            let typed = TypeAhead::from_codes(0..codes.len() as u64, codes.iter().copied(), 0);
            prop_assert!(typed.len() <= codes.len());
        }
    }
}
