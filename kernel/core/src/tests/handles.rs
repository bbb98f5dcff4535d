//! [`HandleTable`] against a map, and what the system does with handles.

use super::{NOTE, OWN, PEER, kill, memory, run, sound, trio};
use crate::Row;
use crate::addr::UserAddr;
use crate::handles::{Handle, HandleTable, NewHandle, Object};
use crate::number::HandleNumber;
use abi::Status;
use abi::message::Rights;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn handle(badge: u32) -> Handle {
    Handle { badge, ..Handle::new(Object::System, Rights::all()) }
}

#[test]
fn a_closed_handle_is_not_the_next_one_in_its_slot() {
    let mut table = HandleTable::new(1);
    let first = table.insert(handle(1)).unwrap().number();
    assert_eq!(table.remove(first), Ok(handle(1)));
    assert_eq!(table.remove(first), Err(Status::BadHandle));
    let second = table.insert(handle(2)).unwrap().number();
    assert_eq!(table.get(first), Err(Status::BadHandle));
    assert_eq!(table.get(second), Ok(handle(2)));
    let value = second.to_u64();
    for wrong in [value + 1, value | 1 << 32, value | 1 << 63, u64::MAX, 0xffff].map(HandleNumber::from_register) {
        assert_eq!(table.get(wrong), Err(Status::BadHandle), "{wrong:#x}");
        assert_eq!(table.remove(wrong), Err(Status::BadHandle), "{wrong:#x}");
    }
}

/// How often the only free slot of a table of this size is used before a number comes back.
fn uses_until_it_comes_back(quota: u16) -> u64 {
    let mut table = HandleTable::new(quota);
    (1..quota).for_each(|i| assert!(table.insert(handle(i.into())).is_ok()));
    let first = table.insert(handle(0)).unwrap();
    for uses in 1.. {
        assert_eq!(table.remove(table.last_number()), Ok(handle(0)));
        if table.insert(handle(0)) == Ok(first) {
            return uses;
        }
    }
    unreachable!()
}

#[test]
fn d14_a_closed_handles_number_comes_back_when_32_bits_are_used_up_and_not_before() {
    // 2^32 numbers over the slots of the table, even where a single one is ever free.
    assert_eq!(uses_until_it_comes_back(16_384), 1 << 18);
    assert_eq!(uses_until_it_comes_back(8_193), 1 << 18);
    assert_eq!(uses_until_it_comes_back(8_192), 1 << 19);
}

#[test]
fn d14_the_slot_that_was_free_longest_is_used_next() {
    let mut table = HandleTable::new(4);
    let numbers: Vec<HandleNumber> = (0..4).map(|i| table.insert(handle(i)).unwrap().number()).collect();
    for n in [2, 0, 3] {
        assert!(table.remove(numbers[n]).is_ok());
    }
    let slots: Vec<u64> = (0..3).map(|i| table.insert(handle(i)).unwrap().number().to_u64() & 3).collect();
    assert_eq!(slots, [2, 0, 3]);
    // One that opens and closes all the time has 2^30 numbers a slot, and takes the slots in turn.
    let mut table = HandleTable::new(4);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200_000 {
        let number = table.insert(handle(0)).unwrap().number();
        assert!(seen.insert(number.to_u64()));
        assert!(table.remove(number).is_ok());
    }
}

#[test]
fn the_quota_is_the_limit() {
    let mut table = HandleTable::new(2);
    assert_eq!([handle(1), handle(2)].map(|h| table.insert(h).map(NewHandle::to_u32)), [Ok(0), Ok(1)]);
    assert!(!table.has_room());
    assert_eq!(table.insert(handle(3)), Err(Status::QuotaHandles));
    assert_eq!((table.live(), table.quota()), (2, 2));
    assert_eq!(table.pop(), Some(Some(handle(2))));
    table.put_back(handle(2));
    assert_eq!((table.live(), table.get(HandleNumber::from_register(1))), (2, Ok(handle(2))));
    assert_eq!(table.pop().flatten().map(|h| h.badge), Some(2));
    assert_eq!(emptied(&mut table), 1);
    assert_eq!((table.live(), table.insert(handle(4)).map(NewHandle::to_u32)), (0, Ok(0)));
    assert_eq!(HandleTable::new(0).insert(handle(1)), Err(Status::QuotaHandles));
}

/// Empties a table as a release does; returns how many handles there were.
fn emptied(table: &mut HandleTable) -> usize {
    core::iter::from_fn(|| table.pop()).flatten().count()
}

#[test]
fn a_table_that_was_emptied_is_like_a_new_one() {
    let mut table = HandleTable::new(3);
    (0..3).for_each(|i| assert!(table.insert(handle(i)).is_ok()));
    assert!(
        table.remove(HandleNumber::from_register(1)).is_ok() && table.remove(HandleNumber::from_register(0)).is_ok()
    );
    emptied(&mut table);
    let numbers: Vec<u64> = (0..3).map(|i| table.insert(handle(i)).unwrap().number().to_u64()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!((0..3).all(|i| table.get(HandleNumber::from_register(i)).is_ok_and(|h| u64::from(h.badge) == i)));
}

proptest! {
    #[test]
    fn does_what_a_map_does(ops in prop::collection::vec((0u8..5, any::<u16>()), 0..300), quota in 0u16..6) {
        let mut table = HandleTable::new(quota);
        let mut model: BTreeMap<u64, Handle> = BTreeMap::new();
        let mut stale: Vec<u64> = Vec::new();
        for (badge, (op, pick)) in ops.into_iter().enumerate() {
            match op {
                0..3 => {
                    let got = table.insert(handle(badge as u32)).map(|new| new.number().to_u64());
                    prop_assert_eq!(got.is_ok(), model.len() < quota as usize);
                    if let Ok(number) = got {
                        prop_assert!(!stale.contains(&number), "number {:#x} is used again", number);
                        prop_assert!(model.insert(number, handle(badge as u32)).is_none());
                    }
                }
                _ if !model.is_empty() => {
                    let number = *model.keys().nth(pick as usize % model.len()).unwrap();
                    prop_assert_eq!(table.remove(HandleNumber::from_register(number)).ok(), model.remove(&number));
                    stale.push(number);
                }
                _ => {}
            }
            prop_assert!(stale.iter().all(|&n| table.get(HandleNumber::from_register(n)) == Err(Status::BadHandle)));
            prop_assert!(model.iter().all(|(&n, h)| table.get(HandleNumber::from_register(n)) == Ok(*h)));
            prop_assert_eq!(table.live() as usize, model.len());
            prop_assert_eq!(table.iter().count(), model.len());
        }
        prop_assert_eq!((emptied(&mut table), table.live()), (model.len(), 0));
    }
}

#[test]
fn a_copy_has_no_more_rights_and_never_the_right_to_receive() {
    let (mut s, [server, client, _]) = trio();
    let copy = s.handle_dup(server, OWN, u64::MAX, 0).unwrap().number();
    assert_eq!(s.handle(server, copy).unwrap().rights, Rights::CALL | Rights::GRANT);
    let less = s.handle_dup(client, PEER, Rights::CALL.bits().into(), 77).unwrap().number();
    let handle = s.handle(client, less).unwrap();
    assert_eq!((handle.rights, handle.badge), (Rights::CALL, 77));
    assert_eq!(s.handle_dup(client, less, u64::MAX, 0), Err(Status::NoRights));
    sound(&s);
}

#[test]
fn duplicating_fails_as_documented() {
    let (mut s, [_, client, _]) = trio();
    assert_eq!(s.handle_dup(client, HandleNumber::from_register(99), u64::MAX, 0), Err(Status::BadHandle));
    let memory = memory(&mut s, 1, 1).unwrap();
    assert_eq!(s.handle_dup(client, memory, u64::MAX, 5), Err(Status::BadArgument), "a badge on memory");
    s.handle_close(client, memory).unwrap();
    assert_eq!(s.handle_dup(client, PEER, u64::MAX, 1 << 32), Err(Status::BadArgument), "a badge of 33 bits");
    let badged = s.handle_dup(client, PEER, u64::MAX, 5).unwrap().number();
    assert_eq!(s.handle_dup(client, badged, u64::MAX, 6), Err(Status::BadArgument), "a second badge");
    let same = s.handle_dup(client, badged, u64::MAX, 0).unwrap().number();
    assert_eq!(s.handle(client, same).unwrap().badge, 5);
    while s.handle_dup(client, PEER, u64::MAX, 0).is_ok() {}
    assert_eq!(s.handle_dup(client, PEER, u64::MAX, 0), Err(Status::QuotaHandles));
    assert_eq!(s.tasks[Row::new(1)].handles.live(), 8);
    sound(&s);
}

#[test]
fn each_copy_of_memory_is_charged() {
    let (mut s, [_, client, _]) = trio();
    let handle = memory(&mut s, 1, 5).unwrap();
    assert_eq!(s.tasks[Row::new(1)].frames.used(), 7);
    let copy = s.handle_dup(client, handle, u64::MAX, 0).unwrap().number();
    assert_eq!(s.tasks[Row::new(1)].frames.used(), 12);
    assert_eq!(s.handle_dup(client, handle, u64::MAX, 0), Err(Status::QuotaFrames));
    sound(&s);
    assert_eq!(s.handle_close(client, handle), Ok(()));
    assert_eq!((s.tasks[Row::new(1)].frames.used(), s.memories.live()), (7, 1));
    assert_eq!(s.handle_close(client, copy), Ok(()));
    assert_eq!((s.tasks[Row::new(1)].frames.used(), s.memories.live(), s.garbage.len()), (2, 0, 5));
    sound(&s);
}

#[test]
fn closing_fails_as_documented() {
    let (mut s, [_, client, _]) = trio();
    assert_eq!(s.handle_close(client, HandleNumber::from_register(99)), Err(Status::BadHandle));
    let handle = memory(&mut s, 1, 1).unwrap();
    let mapping = s.memory_map(Row::new(1), handle, UserAddr::ANY, true).unwrap();
    assert_eq!(s.handle_close(client, handle), Err(Status::Busy));
    s.memory_unmap(Row::new(1), mapping.addr).unwrap();
    assert_eq!(s.handle_close(client, handle), Ok(()));
    assert_eq!(s.handle_close(client, handle), Err(Status::BadHandle));
    sound(&s);
}

#[test]
fn the_system_handle_is_asked_for_its_rights() {
    let (mut s, [_, client, _]) = trio();
    let rights = Rights::INSPECT;
    let n = s.handle_insert(Row::new(1), Handle::new(Object::System, rights)).unwrap().number();
    assert_eq!(s.system_handle(client, n, Rights::INSPECT), Ok(()));
    assert_eq!(s.system_handle(client, n, Rights::CONTROL), Err(Status::NoRights));
    assert_eq!(s.system_handle(client, NOTE, Rights::CONTROL), Err(Status::WrongKind));
    assert_eq!(s.system_handle(client, HandleNumber::from_register(99), Rights::CONTROL), Err(Status::BadHandle));
    assert_eq!(s.handle_dup(client, n, u64::MAX, 0), Err(Status::NoRights), "authority is not passed on");
}

#[test]
fn a_handle_whose_object_is_gone_is_refused() {
    let (mut s, [_, client, other]) = trio();
    let e = s.endpoint_create(client).unwrap().number();
    let n = s.notification_create(client).unwrap().number();
    let given = [e, n].map(|number| {
        let object = s.handle(client, number).unwrap().object;
        let rights = Rights::all() - Rights::RECV;
        s.handle_insert(Row::new(2), Handle::new(object, rights)).unwrap().number()
    });
    kill(&mut s, 1);
    run(&mut s, other);
    assert_eq!(s.handle_dup(other, given[0], u64::MAX, 0), Err(Status::BadHandle));
    assert_eq!(s.handle_dup(other, given[1], u64::MAX, 0), Err(Status::BadHandle));
    assert_eq!(s.notification_handle(other, given[1], Rights::SIGNAL), Err(Status::BadHandle));
    assert_eq!(s.poll(other, given[1], 1), Err(Status::BadHandle));
    assert_eq!(s.wait(other, given[1], 1), Err(Status::BadHandle));
    assert_eq!(s.timer_create(other, given[1], 1), Err(Status::BadHandle));
    assert_eq!(s.handle_close(other, given[0]), Ok(()));
    assert_eq!(s.handle_close(other, given[1]), Ok(()));
    sound(&s);
}
