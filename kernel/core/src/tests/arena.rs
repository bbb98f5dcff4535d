//! [`Arena`] against a map from names to values.

use crate::arena::{Arena, Id};
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
    assert_eq!((arena.at(0), arena.id_at(0), arena.live(), arena.capacity()), (Some(&"b"), Some(second), 1, 1));
}

#[test]
fn an_arena_without_slots_takes_nothing() {
    let mut arena = Arena::new(0);
    assert_eq!(arena.insert(1), None);
    assert!(!arena.has_room() && arena.at(0).is_none() && arena.id_at(0).is_none());
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
