//! [`Timers`] against a sorted list, and the operations on timers.

use super::{NOTE, OWN, PEER, note, run, sound, trio};
use crate::Row;
use crate::arena::Id;
use crate::number::HandleNumber;
use crate::timer::{Timer, Timers};
use abi::Status;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Create,
    Arm(usize, u64),
    Disarm(usize),
    Destroy(usize),
    Expire(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Create),
        6 => (any::<usize>(), 0u64..20).prop_map(|(i, at)| Op::Arm(i, at)),
        2 => any::<usize>().prop_map(Op::Disarm),
        1 => any::<usize>().prop_map(Op::Destroy),
        2 => (0u64..22).prop_map(Op::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn do_what_a_sorted_list_does(ops in prop::collection::vec(op(), 0..120)) {
        const CAPACITY: usize = 12;
        let (s, _) = trio();
        let target = note(&s, 0);
        let mut timers = Timers::new(CAPACITY as u16, [CAPACITY as u16].into_iter());
        // Every name there ever was: its bits, and while it lives, its deadline.
        type Known = (Id<Timer>, u64, Option<Option<u64>>);
        let mut model: Vec<Known> = Vec::new();
        for (serial, op) in ops.into_iter().enumerate() {
            let pick = |i: usize| if model.is_empty() { None } else { Some(i % model.len()) };
            match op {
                Op::Create => {
                    let live = model.iter().filter(|m| m.2.is_some()).count();
                    let id = timers.create(Row::new(0), target, serial as u64);
                    prop_assert_eq!(id.is_some(), live < CAPACITY);
                    model.extend(id.map(|id| (id, serial as u64, Some(None))));
                }
                Op::Arm(i, at) => if let Some(i) = pick(i) {
                    prop_assert_eq!(timers.arm(model[i].0, at), model[i].2.is_some());
                    model[i].2 = model[i].2.map(|_| Some(at));
                },
                Op::Disarm(i) => if let Some(i) = pick(i) {
                    prop_assert_eq!(timers.disarm(model[i].0), model[i].2.is_some());
                    model[i].2 = model[i].2.map(|_| None);
                },
                Op::Destroy(i) => if let Some(i) = pick(i) {
                    prop_assert_eq!(timers.destroy(model[i].0), model[i].2.is_some());
                    model[i].2 = None;
                },
                Op::Expire(now) => {
                    let due = model.iter().filter_map(|m| m.2.flatten()).min().filter(|&at| at <= now);
                    match timers.expire(now) {
                        None => prop_assert_eq!(due, None),
                        Some((to, bits)) => {
                            prop_assert_eq!(to, target);
                            let fired = model.iter_mut().find(|m| m.1 == bits).unwrap();
                            prop_assert_eq!(fired.2, Some(due), "the wrong timer fired");
                            fired.2 = Some(None);
                        }
                    }
                }
            }
            let mut armed: Vec<u64> = model.iter().filter_map(|m| m.2.flatten()).collect();
            armed.sort();
            prop_assert_eq!(timers.next(), armed.first().copied());
            let found: Vec<u64> = timers.armed().map_err(TestCaseError::fail)?.iter().map(|a| a.0).collect();
            prop_assert_eq!(found, armed);
            prop_assert_eq!(timers.live(), model.iter().filter(|m| m.2.is_some()).count());
        }
    }
}

#[test]
fn a_timer_sets_its_bit_at_the_first_tick_after_its_deadline() {
    let (mut s, [server, ..]) = trio();
    let t = s.timer_create(server, NOTE, 33).unwrap().number();
    s.timer_set(server, t, Some(1_000)).unwrap();
    s.now = 999;
    s.tick();
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(0));
    s.now = 1_000;
    s.tick();
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(1 << 33));
    s.now = 2_000;
    s.tick();
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(0), "it fires once");
    s.timer_set(server, t, Some(1)).unwrap();
    s.tick();
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(1 << 33), "a deadline in the past fires at the next tick");
}

#[test]
fn a_moved_or_stopped_timer_does_not_fire_at_its_old_deadline() {
    let (mut s, [server, ..]) = trio();
    let t = s.timer_create(server, NOTE, 0).unwrap().number();
    s.timer_set(server, t, Some(1_000)).unwrap();
    s.timer_set(server, t, Some(5_000)).unwrap();
    s.now = 2_000;
    s.tick();
    assert_eq!(s.poll(server, NOTE, 1), Ok(0));
    s.timer_set(server, t, None).unwrap();
    s.now = 6_000;
    s.tick();
    assert_eq!((s.poll(server, NOTE, 1), s.timers.next()), (Ok(0), None));
}

#[test]
fn timers_fail_as_documented() {
    let (mut s, [server, client, _]) = trio();
    assert_eq!(s.timer_create(server, HandleNumber::from_register(99), 0), Err(Status::BadHandle));
    assert_eq!(s.timer_create(server, OWN, 0), Err(Status::WrongKind));
    assert_eq!(s.timer_create(server, NOTE, 60), Err(Status::BadArgument));
    assert_eq!(s.timer_set(server, NOTE, None), Err(Status::WrongKind));
    assert_eq!(s.timer_set(server, HandleNumber::from_register(99), Some(1)), Err(Status::BadHandle));
    assert_eq!(s.timer_create(client, PEER, 0), Err(Status::WrongKind));
    let deaf = s.handle_dup(server, NOTE, abi::message::Rights::WAIT.bits().into(), 0).unwrap().number();
    assert_eq!(s.timer_create(server, deaf, 0), Err(Status::NoRights));
    let t = s.timer_create(server, NOTE, 59).unwrap().number();
    while s.tasks[Row::new(0)].handles.has_room() {
        assert!(s.timer_create(server, NOTE, 0).is_ok());
    }
    assert_eq!(s.timer_create(server, NOTE, 0), Err(Status::QuotaHandles));
    sound(&s);
    s.handle_close(server, t).unwrap();
    while s.endpoint_create(server).is_ok() {}
    s.handle_close(server, deaf).unwrap();
    s.tasks[Row::new(0)].objects.take(2, Status::QuotaObjects).unwrap();
    assert_eq!(s.timer_create(server, NOTE, 0), Err(Status::QuotaObjects));
    s.tasks[Row::new(0)].objects.give(2);
    sound(&s);
}

#[test]
fn a_closed_timer_is_gone_though_it_was_armed() {
    let (mut s, [server, ..]) = trio();
    let [a, b] = [1, 2].map(|bit| s.timer_create(server, NOTE, bit).unwrap().number());
    s.timer_set(server, a, Some(10)).unwrap();
    s.timer_set(server, b, Some(20)).unwrap();
    s.handle_close(server, a).unwrap();
    s.now = 100;
    run(&mut s, server);
    s.tick();
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(4));
    assert_eq!((s.timers.live(), s.tasks[Row::new(0)].objects.used()), (1, 2));
    sound(&s);
}

#[test]
fn a_timer_of_a_notification_that_is_gone_fires_into_nothing() {
    let (mut s, [server, ..]) = trio();
    let n = s.notification_create(server).unwrap().number();
    let t = s.timer_create(server, n, 1).unwrap().number();
    s.handle_close(server, n).unwrap();
    let other = s.notification_create(server).unwrap().number();
    s.timer_set(server, t, Some(1)).unwrap();
    s.now = 2;
    s.tick();
    assert_eq!(s.poll(server, other, u64::MAX), Ok(0), "the next one in the slot hears nothing");
    sound(&s);
}
