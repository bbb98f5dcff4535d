//! Memory objects and mappings: each outcome and each error.

use super::*;
use crate::addr::{PhysAddr, UserAddr};
use crate::memory::{Backing, Caching, Memory};
use abi::task::{INFO_ADDR, MAP_BASE};

const PAGE: u64 = abi::PAGE_SIZE as u64;

#[test]
fn memory_is_charged_while_it_is_held() {
    let (mut s, [_, client, _]) = trio();
    let free = s.frames.free();
    let m = memory(&mut s, 1, 14).unwrap();
    assert_eq!((s.tasks[Row::new(1)].frames.used(), s.frames.free()), (16, free - 14));
    assert_eq!(memory(&mut s, 1, 1), Err(Status::QuotaFrames));
    s.handle_close(client, m).unwrap();
    s.collect(4);
    assert!((10..14).contains(&s.garbage.len()), "{} are left of 14", s.garbage.len());
    s.collect(100);
    assert_eq!((s.tasks[Row::new(1)].frames.used(), s.frames.free()), (2, free));
    while s.handle_dup(client, NOTE, u64::MAX, 0).is_ok() {}
    assert_eq!(memory(&mut s, 1, 1), Err(Status::QuotaHandles));
    assert_eq!(memory(&mut s, 9, 1), Err(Status::NoSuchTask));
    sound(&s);
}

#[test]
fn mappings_are_placed_with_a_gap() {
    let (mut s, [_, client, _]) = trio();
    let m = memory(&mut s, 1, 2).unwrap();
    let at: Vec<UserAddr> = (0..3).map(|_| s.memory_map(Row::new(1), m, UserAddr::ANY, true).unwrap().addr).collect();
    assert_eq!(at, [0, 3, 6].map(|pages| UserAddr::new(MAP_BASE + pages * PAGE)));
    assert_eq!(s.tasks[Row::new(1)].objects.used(), 4);
    sound(&s);
    for addr in at {
        assert_eq!(s.memory_unmap(Row::new(1), addr).map(|m| (m.addr, m.pages)), Ok((addr, 2)));
        assert_eq!(s.memory_unmap(Row::new(1), addr), Err(Status::BadAddress));
    }
    s.handle_close(client, m).unwrap();
    assert_eq!(s.memories.live(), 0);
    sound(&s);
}

#[test]
fn an_own_address_must_be_free_and_in_range() {
    let (mut s, _) = trio();
    let m = memory(&mut s, 1, 2).unwrap();
    let mut map = |addr| s.memory_map(Row::new(1), m, UserAddr::new(addr), false).map(|m| m.addr.number());
    let top = INFO_ADDR - 2 * PAGE;
    for wrong in [1, PAGE, MAP_BASE - PAGE, MAP_BASE + 1, top + PAGE, INFO_ADDR, u64::MAX - 1, PAGE.wrapping_neg()] {
        assert_eq!(map(wrong), Err(Status::BadAddress), "{wrong:#x}");
    }
    assert_eq!(map(top), Ok(top));
    let at = MAP_BASE + 10 * PAGE;
    assert_eq!(map(at), Ok(at));
    for taken in [at, at + PAGE, at - PAGE, top] {
        assert_eq!(map(taken), Err(Status::BadAddress), "{taken:#x}");
    }
    assert_eq!(map(at + 2 * PAGE), Ok(at + 2 * PAGE), "side by side is the task's own choice");
    assert_eq!(map(at - 2 * PAGE), Ok(at - 2 * PAGE));
    sound(&s);
}

#[test]
fn the_lowest_gap_is_found_when_the_way_up_is_blocked() {
    let (mut s, _) = trio();
    let m = memory(&mut s, 1, 2).unwrap();
    s.memory_map(Row::new(1), m, UserAddr::new(MAP_BASE + PAGE), false).unwrap();
    assert_eq!(
        s.memory_map(Row::new(1), m, UserAddr::ANY, false).unwrap().addr,
        UserAddr::new(MAP_BASE + 4 * PAGE),
        "the first page is too small a gap"
    );
    s.tasks[Row::new(1)].map_next = UserAddr::new(INFO_ADDR - PAGE);
    assert_eq!(
        s.memory_map(Row::new(1), m, UserAddr::ANY, false).unwrap().addr,
        UserAddr::new(MAP_BASE + 7 * PAGE),
        "the top is reached"
    );
    sound(&s);
}

#[test]
fn mapping_fails_as_documented() {
    let (mut s, [_, client, _]) = trio();
    let m = memory(&mut s, 1, 1).unwrap();
    let map = |s: &mut System, n, writable| s.memory_map(Row::new(1), n, UserAddr::ANY, writable).map(drop);
    assert_eq!(map(&mut s, HandleNumber::from_register(99), false), Err(Status::BadHandle));
    assert_eq!(map(&mut s, NOTE, false), Err(Status::WrongKind));
    let read = s.handle_dup(client, m, Rights::READ.bits().into(), 0).unwrap().number();
    let write = s.handle_dup(client, m, Rights::WRITE.bits().into(), 0).unwrap().number();
    assert_eq!(map(&mut s, read, true), Err(Status::NoRights));
    assert_eq!(map(&mut s, write, true), Err(Status::NoRights), "writable means readable too");
    assert_eq!(map(&mut s, read, false), Ok(()));
    assert_eq!(map(&mut s, m, true), Ok(()));
    assert_eq!(s.memory_map(Row::new(9), m, UserAddr::ANY, false), Err(Status::NoSuchTask));
    assert_eq!(s.memory_unmap(Row::new(1), UserAddr::new(MAP_BASE + 77 * PAGE)), Err(Status::BadAddress));
    sound(&s);
}

#[test]
fn shared_memory_lives_until_the_last_lets_go() {
    let (mut s, [server, client, _]) = trio();
    let m = memory(&mut s, 1, 3).unwrap();
    let object = s.handle(client, m).unwrap().object;
    let there = s.handle_insert(Row::new(0), Handle::new(object, Rights::READ)).unwrap().number();
    assert_eq!((s.tasks[Row::new(0)].frames.used(), s.tasks[Row::new(1)].frames.used()), (5, 5));
    let at = s.memory_map(Row::new(0), there, UserAddr::ANY, false).unwrap().addr;
    kill(&mut s, 1);
    assert_eq!((s.memories.live(), s.tasks[Row::new(1)].frames.used()), (1, 2));
    sound(&s);
    s.memory_unmap(Row::new(0), at).unwrap();
    s.handle_close(server, there).unwrap();
    assert_eq!((s.memories.live(), s.garbage.len(), s.tasks[Row::new(0)].frames.used()), (0, 3, 2));
    sound(&s);
}

#[test]
fn what_is_kept_or_physical_is_not_charged_and_not_freed() {
    let (mut s, [server, ..]) = trio();
    let mut chain = Chain::default();
    s.frames.alloc(&mut chain).unwrap();
    let kept = [Backing::Frames(chain), Backing::Physical { base: PhysAddr::new(0xb8000), caching: Caching::Uncached }]
        .map(|backing| {
            let memory =
                Memory { pages: 1, backing, physical: None, handles: 0, mappings: 0, kept_by: Some(Row::new(0)) };
            s.memories.insert(memory).unwrap()
        });
    for id in kept {
        let handle = Handle::new(Object::Memory(id), Rights::READ);
        let n = s.handle_insert(Row::new(0), handle).unwrap().number();
        assert_eq!(s.tasks[Row::new(0)].frames.used(), 2);
        let at = s.memory_map(Row::new(0), n, UserAddr::ANY, false).unwrap().addr;
        s.memory_unmap(Row::new(0), at).unwrap();
        s.handle_close(server, n).unwrap();
        assert!(s.memories.get(id).is_some());
        sound(&s);
    }
}

proptest::proptest! {
    #[test]
    fn mappings_never_overlap(ops in proptest::collection::vec((0u8..4, 0u64..24, 0usize..3), 0..60)) {
        let mut roomy = record("a", 1, &[]);
        (roomy.object_quota, roomy.frame_quota) = (12, 40);
        let mut s = system(&[roomy]);
        spawn(&mut s, 0);
        let memories = [1, 2, 5].map(|pages| memory(&mut s, 0, pages).unwrap());
        for (op, place, which) in ops {
            let mapped = s.tasks[Row::new(0)].mappings.clone();
            let addr = MAP_BASE + place * PAGE;
            let pages = [1, 2, 5][which];
            match op {
                0 => {
                    let free = mapped.iter().all(|m| addr + pages * PAGE <= m.addr.number() || addr >= m.end().number());
                    let done = s.memory_map(Row::new(0), memories[which], UserAddr::new(addr), true);
                    if mapped.len() == 11 && free {
                        proptest::prop_assert_eq!(done, Err(Status::QuotaObjects));
                    } else {
                        proptest::prop_assert_eq!(done.is_ok(), free);
                    }
                }
                1 => {
                    let done = s.memory_map(Row::new(0), memories[which], UserAddr::ANY, true);
                    proptest::prop_assert_eq!(done.is_ok(), mapped.len() < 11);
                }
                _ => {
                    let known = mapped.iter().any(|m| m.addr == UserAddr::new(addr));
                    proptest::prop_assert_eq!(s.memory_unmap(Row::new(0), UserAddr::new(addr)).is_ok(), known);
                }
            }
            proptest::prop_assert_eq!(check(&s), Ok(()));
        }
    }
}
