//! Rings and inboxes of structs, requests that are unfinished, and states that start with values.

use super::{ALICE, BOB, Store, take, write};
use crate::keep::{Bytes, Cell, Found, Inbox, Kept, Ring, State, Unfinished, damage, fuse};
use abi::TaskId;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

crate::words! {
    /// A key that was pressed: five bytes and a time, so two words.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Key { pub code: i32, pub down: bool, pub time: u64 }
}

crate::words! {
    /// No value is 0.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Suit { Hearts = 1, Spades = 4 }
}

crate::words! {
    /// A card.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Card { pub suit: Suit, pub rank: u8 }
}

crate::kept! {
    pub struct Keep {
        cards: Ring<Card, 4>,
        suits: Ring<Suit, 2>,
        keys: Inbox<Key, 8>,
    }
}

fn card(rank: u8) -> Card {
    Card { suit: if rank.is_multiple_of(2) { Suit::Hearts } else { Suit::Spades }, rank }
}

fn key(code: i32) -> Key {
    Key { code, down: code % 2 == 0, time: u64::MAX - code.unsigned_abs() as u64 }
}

#[test]
fn a_ring_of_structs_is_a_ring() {
    let keep = damage::memory::<Keep>(0);
    assert_eq!((keep.cards.first(), keep.cards.last()), (None, None));
    // Positions wrap.
    keep.cards.scramble(u32::MAX - 1, u32::MAX - 1);
    let cards: Vec<_> = (1..=6).map(card).collect();
    assert_eq!(keep.cards.push(&cards), 4);
    assert_eq!(keep.cards.iter().collect::<Vec<_>>(), cards[..4]);
    assert_eq!((keep.cards.first(), keep.cards.last()), (Some(card(1)), Some(card(4))));
    keep.cards.advance();
    assert_eq!(keep.cards.push(&cards[4..]), 1);
    assert_eq!(keep.cards.iter().collect::<Vec<_>>(), cards[1..5]);
    assert_eq!(keep.suits.push(&[Suit::Spades, Suit::Hearts]), 2);
    assert_eq!(keep.suits.iter().collect::<Vec<_>>(), [Suit::Spades, Suit::Hearts]);
    assert_eq!(size_of_val(keep.keys.ring().cell(0)), 16, "two words");
}

#[test]
fn structs_are_appended_all_or_none_whenever_lives_end() {
    for steps in 0.. {
        let keep = damage::memory::<Keep>(0);
        keep.set_ready(0);
        keep.cards.push(&[card(9)]);
        let whole = fuse::live(Some(steps), || assert_eq!(keep.cards.push(&[card(1), card(2), card(3)]), 3));
        assert!(keep.resume());
        let found: Vec<_> = keep.cards.iter().map(|card| card.rank).collect();
        assert_eq!(found, if whole { vec![9, 1, 2, 3] } else { vec![9] }, "died before {steps}");
        if whole {
            assert!(steps > 3, "{steps}");
            break;
        }
    }
}

#[test]
fn a_ring_in_which_something_is_no_struct_is_damaged() {
    let keep = damage::memory::<Keep>(0);
    keep.set_ready(0);
    keep.cards.push(&[card(1), card(2)]);
    assert_eq!(keep.found(), Found::Same);
    // Behind the stamp and the ring's positions: the suit of the first card.
    let first = core::mem::offset_of!(Keep, cards) * 8 + 16 * 8;
    damage::flip(keep, first + 5);
    assert_eq!(keep.found(), Found::Damaged);
    assert_eq!((keep.cards.first(), keep.cards.iter().count()), (None, 0));
    keep.cards.advance();
    assert_eq!(keep.found(), Found::Same, "only what is in the ring counts");
}

/// Reads everything, a few at a time; a read that the driver dies over is repeated with its number.
#[test]
fn an_inbox_gives_each_struct_once_whenever_lives_end() {
    for steps in 0.. {
        let keep = damage::memory::<Keep>(0);
        keep.set_ready(0);
        let (mut got, mut number, mut lives) = (Vec::new(), 1, 0);
        for death in [Some(steps), None] {
            lives += 1;
            let whole = fuse::live(death, || {
                assert!(keep.is_sound());
                while got.len() < 20 {
                    let next = keep.keys.ring().head() as i32;
                    let new: Vec<_> = (next..20).take(3).map(|code| key(code - 10)).collect();
                    keep.keys.push(&new);
                    let mut part = Vec::new();
                    let Ok(count) = keep.keys.read(BOB, number, 2, |at, elements: &[Key]| {
                        assert_eq!(at, part.len());
                        part.extend_from_slice(elements);
                        Ok::<(), Infallible>(())
                    });
                    assert_eq!(count, part.len());
                    fuse::tick();
                    got.extend(part);
                    number += 1;
                }
            });
            if whole {
                break;
            }
        }
        assert_eq!(got, (0..20).map(|code| key(code - 10)).collect::<Vec<_>>(), "died before {steps}");
        if lives == 1 {
            assert!(steps > 50, "{steps}");
            break;
        }
    }
}

#[test]
fn numbers_are_pushed_to_an_inbox_too() {
    let store = damage::memory::<Store>(0);
    assert_eq!(store.inbox.push(&[1; 20]), 15, "one cell is free");
    assert_eq!((store.inbox.push(&[2]), store.inbox.slot().get()), (0, 0));
    let Ok(run) = store.inbox.read_from(14, 9, |_, _| Ok::<(), Infallible>(()));
    assert_eq!((run.first, run.count, store.inbox.push(&[])), (14, 1, 0));
    assert_eq!((store.inbox.push(&[3; 3]), store.inbox.slot().get()), (3, 0), "the free cell is zero again");
}

#[test]
fn the_layout_of_a_ring_depends_on_that_of_its_structs() {
    assert_ne!(Ring::<Card, 4>::SHAPE, Ring::<Suit, 4>::SHAPE);
    assert_ne!(Ring::<Card, 4>::SHAPE, Ring::<u64, 4>::SHAPE);
}

#[test]
fn a_journal_tells_what_is_unfinished() {
    let store = damage::memory::<Store>(0);
    let (mut world, head) = (Vec::new(), || store.out.head());
    let unfinished = || store.writes.unfinished(head()).collect::<Vec<_>>();
    assert_eq!(unfinished(), []);
    // Alice's write is cut short, and Bob's overtakes it.
    assert!(!write(store, ALICE, 4, b"abcdefgh", 2, &mut world));
    let alice = Unfinished { task: ALICE, number: 4, progress: 6 };
    assert_eq!(unfinished(), [alice]);
    assert!(!write(store, BOB, 9, b"123456", 1, &mut world));
    assert_eq!(unfinished(), [Unfinished { task: BOB, number: 9, progress: 3 }, alice]);
    // Alice goes on where she was.
    assert!(write(store, ALICE, 4, b"abcdefgh", 9, &mut world));
    assert_eq!(unfinished(), [Unfinished { task: BOB, number: 9, progress: 3 }]);
    assert!(write(store, BOB, 9, b"123456", 9, &mut world));
    assert_eq!(unfinished(), []);
    // Bob's next life asks for something else: what the one before left stays, until then.
    assert!(!write(store, BOB, 10, b"123456", 1, &mut world));
    store.writes.begin(ALICE, 5, head());
    assert_eq!(unfinished().len(), 2);
    store.writes.abandon();
    assert_eq!(unfinished(), [Unfinished { task: BOB, number: 10, progress: 3 }]);
    store.writes.begin(TaskId { generation: BOB.generation + 1, ..BOB }, 1, head());
    assert!(unfinished().iter().all(|one| one.task != BOB), "{:?}", unfinished());
    take(store, &mut world);
}

crate::kept! {
    pub struct Settings {
        hz: Cell<u32>,
        name: Bytes<8>,
    }
}

#[test]
fn a_state_starts_with_its_values_whenever_lives_end() {
    for steps in 0.. {
        let keep = damage::memory::<Settings>(0);
        let begin = || {
            keep.resume_or(|keep| {
                keep.hz.put(100);
                keep.name.put(b"quartz");
            })
        };
        let whole = fuse::live(Some(steps), || assert!(!begin()));
        assert_eq!(begin(), whole, "died before {steps}");
        assert_eq!((keep.hz.get(), &keep.name.get()), (100, b"quartz\0\0"), "died before {steps}");
        // A later life keeps what was changed.
        keep.hz.put(7);
        assert!(begin() && keep.hz.get() == 7 && State::found(keep) == Found::Same);
        if whole {
            assert!(steps > 5, "{steps}");
            break;
        }
    }
}
