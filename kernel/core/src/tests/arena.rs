//! [`Arena`] against a map from names to values.

use crate::arena::{Arena, Id, Index};
use proptest::prelude::*;

#[test]
fn a_stale_name_is_refused_when_the_slot_is_in_use_again() {
    let mut arena = Arena::new(1);
    let first = arena.insert("a").unwrap();
    assert_eq!(arena.insert("b"), None);
    assert!(!arena.has_room());
    assert_eq!(arena.remove(first), Some("a"));
    assert_eq!(arena.remove(first), None);
    let second = arena.insert("b").unwrap();
    assert_eq!(second.index(), first.index());
    assert_ne!(first, second);
    assert_eq!((arena.get(first), arena.get(second)), (None, Some(&"b")));
    assert_eq!(arena.get_mut(first), None);
    assert_eq!(arena.remove(first), None);
    assert_eq!(
        (arena.at(Index::new(0)), arena.id_at(Index::new(0)), arena.live(), arena.capacity()),
        (Some(&"b"), Some(second), 1, 1)
    );
}

#[test]
fn d14_a_stale_name_is_refused_however_often_its_slot_was_used() {
    let mut arena = Arena::new(2);
    let mut names = vec![arena.insert(0).unwrap()];
    for shift in [8, 16, 31, 32, 33, 40, 47] {
        arena.remove(*names.last().unwrap()).unwrap();
        // The lower bits of the generation are those of the first name again.
        arena.age((names[0].name() >> 16) + (1 << shift) - 1);
        let next = arena.insert(shift).unwrap();
        assert_eq!(next.index(), names[0].index());
        assert!(names.iter().all(|name| *name != next && arena.get(*name).is_none()), "2^{shift} generations later");
        assert_eq!(arena.get(next), Some(&shift));
        names.push(next);
    }
}

#[test]
fn d14_a_slot_that_is_used_up_is_not_used_again() {
    for clear in [false, true] {
        let mut arena = Arena::new(2);
        let kept = arena.insert("kept").unwrap();
        arena.age(u64::MAX >> 16);
        let last = arena.insert("last").unwrap();
        assert_eq!((last.name() >> 16, arena.get(last)), (u64::MAX >> 16, Some(&"last")));
        if clear {
            arena.clear(last.index());
        } else {
            assert_eq!(arena.remove(last), Some("last"));
        }
        assert!(!arena.has_room() && arena.insert("more").is_none(), "its names would be given a second time");
        assert_eq!(arena.remove(last), None);
        assert_eq!((arena.get(last), arena.at(last.index())), (None, None));
        assert_eq!((arena.get(kept), arena.live()), (Some(&"kept"), 1));
        // The other slot is used as before.
        arena.remove(kept).unwrap();
        assert_eq!(arena.insert("next").map(|id| id.index()), Some(kept.index()));
        assert!(!arena.has_room());
    }
}

#[test]
fn an_arena_without_slots_takes_nothing() {
    let mut arena = Arena::new(0);
    assert_eq!(arena.insert(1), None);
    assert!(!arena.has_room() && arena.at(Index::new(0)).is_none() && arena.id_at(Index::new(0)).is_none());
}

proptest! {
    #[test]
    fn does_what_a_map_does(ops in prop::collection::vec((any::<u8>(), any::<u16>()), 0..300)) {
        const CAPACITY: u16 = 5;
        let mut arena = Arena::new(CAPACITY);
        // Every name there ever was, with its value while it has one.
        let mut model: Vec<(Id<u16>, Option<u16>)> = Vec::new();
        for (op, value) in ops {
            let live = model.iter().filter(|m| m.1.is_some()).count();
            if op % 2 == 0 || model.is_empty() {
                let id = arena.insert(value);
                prop_assert_eq!(id.is_some(), live < CAPACITY as usize);
                if let Some(id) = id {
                    prop_assert!(model.iter().all(|m| m.0 != id), "a name is given twice");
                    prop_assert!(model.iter().all(|m| m.1.is_none() || m.0.index() != id.index()), "a slot is given twice");
                    model.push((id, Some(value)));
                }
            } else {
                let pick = value as usize % model.len();
                prop_assert_eq!(arena.remove(model[pick].0), model[pick].1.take());
            }
            for (id, value) in &model {
                prop_assert_eq!(arena.get(*id), value.as_ref());
                prop_assert_eq!(arena.get_mut(*id).copied(), *value);
            }
            let mut found: Vec<_> = arena.iter().map(|(id, v)| (id.index(), *v)).collect();
            let mut expected: Vec<_> = model.iter().filter_map(|(id, v)| v.map(|v| (id.index(), v))).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(arena.live(), expected.len());
            prop_assert_eq!(arena.has_room(), expected.len() < CAPACITY as usize);
            prop_assert_eq!(found, expected);
        }
    }
}
