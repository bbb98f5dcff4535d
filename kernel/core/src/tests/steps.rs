//! System calls that go on: what each step leaves behind, ended at every place; and what one turn of the kernel does at the most.

use super::*;
use crate::RowSet;
use crate::addr::UserAddr;
use crate::log::fitting;
use crate::mappings::Mappings;
use crate::memory::Mapping;
use crate::sched::{EXPIRES, STEPS};
use crate::step::{Step, Tell};
use crate::system::WAKES;
use crate::thread::ThreadIndex;
use abi::message::{LISTENERS, bits};
use abi::task::{INFO_ADDR, MAP_BASE};
use proptest::prelude::*;

const PAGE: u64 = abi::PAGE_SIZE as u64;

/// A server, and tasks that call it, with room for so many threads each.
fn crowd(rows: u16, objects: u16) -> System {
    let mut records = vec![record("server", 1, &[])];
    records.extend((1..rows).map(|_| record("client", 5, &[0])));
    for r in &mut records {
        (r.object_quota, r.handle_quota) = (objects, objects + 8);
    }
    let mut s = System::new(&records, frames(256), Clock::new(0, HERTZ));
    (0..rows).for_each(|row| _ = spawn(&mut s, row));
    s
}

#[test]
fn d24_memory_in_the_making_goes_back_wherever_its_maker_dies() {
    for contiguous in [false, true] {
        for done in 0..=8 {
            let (mut s, [_, client, _]) = trio();
            let before = (s.frames.free(), s.tasks[Row::new(1)].frames.used());
            let mut create = s.memory_begin(Row::new(1), 8, contiguous).unwrap();
            assert_eq!(s.tasks[Row::new(1)].frames.used(), before.1 + 8, "all of it is charged at once");
            for _ in 0..done {
                assert!(s.memory_frame(&mut create).unwrap().is_some());
            }
            s.step_set(client, Step::Create(create));
            sound(&s);
            kill(&mut s, 1);
            sound(&s);
            reap(&mut s, 1);
            s.collect(u32::MAX);
            assert_eq!((s.frames.free(), s.tasks[Row::new(1)].frames.used()), (before.0 + u64::from(before.1), 0));
            sound(&s);
        }
    }
}

#[test]
fn d24_memory_is_whole_or_not_at_all() {
    let (mut s, [_, client, _]) = trio();
    let mut create = s.memory_begin(Row::new(1), 6, false).unwrap();
    assert_eq!(s.memory_begin(Row::new(1), 9, false).err(), Some(Status::QuotaFrames), "what is being made counts");
    // Another takes what is left of the machine.
    let mut hoard = Chain::default();
    s.memory_frame(&mut create).unwrap();
    while s.frames.alloc(&mut hoard).is_some() {}
    let failed = core::iter::repeat_with(|| s.memory_frame(&mut create)).find(|r| r.is_err());
    assert_eq!(failed, Some(Err(Status::OutOfMemory)));
    s.memory_abandon(Row::new(1), create);
    s.frames.join(&mut s.garbage, &mut hoard);
    s.collect(u32::MAX);
    assert_eq!(memory(&mut s, 1, 6).map(|m| s.handle(client, m).is_ok()), Ok(true));
    sound(&s);
    // Another thread fills the table of handles meanwhile.
    let mut create = s.memory_begin(Row::new(1), 2, false).unwrap();
    while s.memory_frame(&mut create).unwrap().is_some() {}
    while s.handle_dup(client, NOTE, u64::MAX, 0).is_ok() {}
    assert_eq!(s.memory_finish(Row::new(1), create), Err(Status::QuotaHandles));
    s.collect(u32::MAX);
    sound(&s);
}

#[test]
fn d24_a_mapping_that_changes_is_nobody_elses() {
    let (mut s, [_, client, _]) = trio();
    let m = memory(&mut s, 1, 2).unwrap();
    let at = s.memory_map(Row::new(1), m, UserAddr::ANY, true).unwrap().addr;
    assert_eq!(s.memory_leave(Row::new(1), at), Err(Status::Busy), "it is not filled yet");
    s.memory_settled(Row::new(1), at);
    assert_eq!(s.memory_leave(Row::new(1), at.plus(PAGE)), Err(Status::BadAddress));
    assert_eq!(s.memory_leave(Row::new(1), at), Ok(()));
    assert_eq!(s.memory_leave(Row::new(1), at), Err(Status::Busy), "another thread clears it");
    assert_eq!(
        s.memory_map(Row::new(1), m, at, true).map(|m| m.addr),
        Err(Status::BadAddress),
        "its place is taken until then"
    );
    assert_eq!(s.handle_close(client, m), Err(Status::Busy));
    s.memory_unmap(Row::new(1), at).unwrap();
    assert_eq!(s.handle_close(client, m), Ok(()));
    sound(&s);
}

#[test]
fn d24_an_endpoint_is_left_in_steps_wherever_they_end() {
    for killed_after in 0..4 {
        let mut s = crowd(2, 100);
        let closer = s.tasks[Row::new(1)].first_thread.unwrap().index();
        let callers: Vec<ThreadIndex> = (0..80).map(|_| thread(&mut s, 1)).collect();
        let handle = s.endpoint_create(closer).unwrap().number();
        let Object::Endpoint(id) = s.handle(closer, handle).unwrap().object else { panic!("an endpoint") };
        for &caller in &callers {
            call(&mut s, caller, handle, Message::default()).unwrap();
        }
        let over = |s: &System| callers.iter().filter(|&&c| woken(s, c) == Some(Status::PeerGone)).count();
        let mut done = false;
        for _ in 0..killed_after {
            let before = over(&s);
            run(&mut s, closer);
            done = s.handle_leave(closer, handle).unwrap();
            assert!(over(&s) - before <= WAKES as usize, "one step is bounded");
            if !done {
                s.step_set(closer, Step::Close(handle));
                sound(&s);
                s.step_take(closer);
            }
            sound(&s);
        }
        assert_eq!((done, s.endpoints.get(id).is_none()), (killed_after == 3, killed_after == 3));
        assert_eq!(over(&s), (killed_after * WAKES as usize).min(80));
        if !done {
            s.step_set(closer, Step::Close(handle));
        }
        kill(&mut s, 1);
        sound(&s);
        reap(&mut s, 1);
        assert!(s.endpoints.get(id).is_none());
        sound(&s);
    }
}

#[test]
fn d24_all_hear_of_it_though_the_teller_dies() {
    for told in 0..6 {
        let mut s = crowd(6, 8);
        let mut rows = RowSet::EMPTY;
        [0, 2, 3, 4, 5].map(Row::new).into_iter().for_each(|row| rows.insert(row));
        let mut tell = Tell { rows, value: 0 };
        for _ in 0..told {
            s.tell_some(&mut tell, 1);
        }
        let teller = s.tasks[Row::new(1)].first_thread.unwrap().index();
        s.step_set(teller, Step::Tell(tell));
        sound(&s);
        kill(&mut s, 1);
        reap(&mut s, 1);
        (0..6).for_each(|_| s.collect(0));
        for row in [0, 2, 3, 4, 5] {
            let word = s.notifications.get(note(&s, row)).unwrap().word;
            assert_eq!(word & bits::LOG, bits::LOG, "row {row} after {told}");
        }
        sound(&s);
    }
}

#[test]
fn d24_a_flood_of_timers_delays_only_its_own() {
    let mut s = crowd(3, 40);
    let first = |s: &System, row: u16| s.tasks[Row::new(row)].first_thread.unwrap().index();
    for _ in 0..30 {
        let thread = first(&s, 0);
        let t = s.timer_create(thread, NOTE, 1).unwrap().number();
        s.timer_set(thread, t, Some(1)).unwrap();
    }
    for row in [1, 2] {
        let thread = first(&s, row);
        let t = s.timer_create(thread, NOTE, 2).unwrap().number();
        s.timer_set(thread, t, Some(900)).unwrap();
    }
    s.now = 1_000;
    let mut left = 32;
    for tick in 0..32 / EXPIRES {
        s.tick();
        let now = s.timers.armed().unwrap().len();
        assert_eq!(left - now, EXPIRES, "in tick {tick}");
        left = now;
        for row in [1, 2] {
            assert_eq!(s.notifications.get(note(&s, row)).unwrap().word, 1 << 2, "row {row} does not wait");
        }
        sound(&s);
    }
    assert_eq!((left, s.timers.next()), (0, None));
}

#[test]
fn d24_a_tick_with_timers_and_new_slices_does_half_of_each() {
    const ROWS: usize = 40;
    let mut s = crowd(ROWS as u16, 40);
    let thread = s.tasks[Row::new(0)].first_thread.unwrap().index();
    for _ in 0..30 {
        let t = s.timer_create(thread, NOTE, 1).unwrap().number();
        s.timer_set(thread, t, Some(1)).unwrap();
    }
    s.now = s.sched.period_end;
    let (mut armed, mut ticks) = (30, 0);
    while s.sched.look_at == 0 || ticks == 0 {
        let filled = if ticks == 0 { 0 } else { s.sched.next_row };
        s.tick();
        ticks += 1;
        let left = s.timers.armed().unwrap().len();
        assert_eq!(armed - left, EXPIRES / 2, "timers of tick {ticks}");
        assert!(s.sched.next_row - filled <= STEPS / 2, "slices of tick {ticks}");
        armed = left;
        sound(&s);
    }
    assert_eq!((s.sched.next_row, ticks), (ROWS, ROWS / (STEPS / 2) + 1), "every row has its slice");
    s.tick();
    assert_eq!(armed - s.timers.armed().unwrap().len(), EXPIRES, "nobody gets a slice");
}

#[test]
fn d24_so_many_listen_and_no_more() {
    let mut s = crowd(1, 120);
    let threads: Vec<ThreadIndex> = (0..100).map(|_| thread(&mut s, 0)).collect();
    let recv = |s: &mut System, index: usize, mask| {
        run(s, threads[index]);
        s.recv(threads[index], OWN, mask)
    };
    for index in 0..20 {
        recv(&mut s, index, 0).unwrap();
    }
    for index in 20..20 + LISTENERS {
        recv(&mut s, index, 1 << (index % 8)).unwrap();
    }
    sound(&s);
    assert_eq!(recv(&mut s, 99, 1), Err(Status::Busy));
    recv(&mut s, 98, 0).unwrap();
    sound(&s);
    // The first that waits for a bit gets it, and no other; those who wait for none are left alone.
    let id = note(&s, 0);
    s.signal(id, 0b10_0001);
    let woken_now: Vec<usize> = (0..100)
        .filter(|&i| {
            i != 99
                && woken(&s, threads[i]).is_some()
                && state(&s, threads[i]) != State::Receiving(s.tasks[Row::new(0)].endpoint.unwrap().index())
        })
        .collect();
    assert!(woken_now.contains(&24) && woken_now.contains(&21), "{woken_now:?}");
    assert_eq!(woken_now.iter().filter(|&&i| i < 20 + LISTENERS).count(), 2, "{woken_now:?}");
    assert_eq!(recv(&mut s, 99, 1), Ok(true), "there is room again");
    sound(&s);
}

/// Addresses in a small part of where mappings may be.
fn place() -> impl Strategy<Value = (u64, u32)> {
    (0u64..40, 1u32..5)
}

proptest! {
    #[test]
    fn d24_mappings_do_what_a_plain_list_does(ops in prop::collection::vec((0u8..3, place()), 0..80)) {
        let (mut s, _) = trio();
        let m = memory(&mut s, 1, 1).unwrap();
        let memory = s.memory_map(Row::new(1), m, UserAddr::ANY, true).unwrap().memory;
        let mut mappings = Mappings::new(12);
        let mut model: Vec<Mapping> = Vec::new();
        for (op, (page, pages)) in ops {
            let addr = UserAddr::new(MAP_BASE + page * PAGE);
            let size = u64::from(pages) * PAGE;
            let free = |at: UserAddr, model: &[Mapping]| {
                at.number() >= MAP_BASE
                    && at.plus(size).number() <= INFO_ADDR
                    && model.iter().all(|m| at.plus(size) <= m.addr || m.end() <= at)
            };
            prop_assert_eq!(mappings.is_free(addr, size), free(addr, &model));
            let too_high = UserAddr::new(INFO_ADDR - size + PAGE);
            prop_assert!(!mappings.is_free(addr.plus(1), size) && !mappings.is_free(too_high, size));
            match op {
                0 if free(addr, &model) => {
                    let mapping = Mapping { addr, pages, memory, changing: false };
                    let entered = mappings.insert(mapping);
                    prop_assert_eq!(entered, model.len() < 12);
                    model.extend(entered.then_some(mapping));
                }
                1 => {
                    let at = model.iter().position(|m| m.addr == addr);
                    prop_assert_eq!(mappings.remove(addr), at.map(|at| model.remove(at)));
                }
                _ => {
                    let gap = mappings.lowest_gap(size);
                    prop_assert!(free(gap, &model));
                    // Every place below it is taken, or next to a mapping.
                    let near = |at: UserAddr| model.iter().any(|m| m.end() == at);
                    let mut at = UserAddr::new(MAP_BASE);
                    while at < gap {
                        prop_assert!(!free(at, &model) || near(at), "{:#x} was left out", at);
                        at = at.plus(PAGE);
                    }
                }
            }
            model.sort_by_key(|m| m.addr);
            prop_assert_eq!(mappings.iter().copied().collect::<Vec<_>>(), model.clone());
            prop_assert_eq!(mappings.get(addr).copied(), model.iter().find(|m| m.addr == addr).copied());
            let holding = model.iter().find(|m| m.addr <= addr && addr < m.end()).copied();
            prop_assert_eq!(mappings.holding(addr.plus(5)).copied(), holding);
        }
    }

    #[test]
    fn d24_what_fits_goes_out(text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..200), tag in 4usize..19, open: bool) {
        let (mut rest, mut open, mut out) = (&text[..], open, 0);
        let mut lines = 0;
        while !rest.is_empty() {
            let (count, bytes) = fitting(rest, tag, open, 63);
            prop_assert!(count > 0 && bytes <= 63, "{} bytes for {}", bytes, count);
            for &byte in &rest[..count] {
                lines += usize::from(!open);
                open = byte != b'\n';
            }
            out += bytes;
            rest = &rest[count..];
        }
        prop_assert_eq!(out, text.len() + lines * tag);
    }
}
