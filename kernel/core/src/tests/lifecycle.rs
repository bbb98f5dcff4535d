//! Birth and death: each outcome and each error.

use super::*;
use crate::addr::{AddressSpace, LifeSpace, PhysAddr, TableRoot, UserAddr};
use abi::TaskId;
use abi::manifest::Restart;
use abi::message::bits;
use abi::task::{Activity, TaskState};

#[test]
fn a_row_goes_through_its_states() {
    let (mut s, _) = trio();
    assert_eq!(s.begin(Row::new(0)), Err(Status::AlreadyRunning));
    assert_eq!(s.begin(Row::new(9)), Err(Status::NoSuchTask));
    assert_eq!(s.reap_some(Row::new(0), 1, 1), Err(Status::NoSuchTask), "alive");
    kill(&mut s, 0);
    assert_eq!(s.begin(Row::new(0)), Err(Status::NotReaped));
    assert_eq!(s.tasks[Row::new(0)].state, TaskState::Dead);
    assert_eq!(s.reap_some(Row::new(0), 1, 1), Ok(1));
    assert_eq!(s.tasks[Row::new(0)].frames.used(), 1);
    assert_eq!(s.reap_some(Row::new(0), 1, 1), Ok(0));
    assert_eq!((s.tasks[Row::new(0)].state, s.tasks[Row::new(0)].frames.used()), (TaskState::Empty, 0));
    assert_eq!(s.reap_some(Row::new(0), 1, 1), Err(Status::NoSuchTask));
    assert_eq!(s.begin(Row::new(0)), Ok(TaskId { index: 0, generation: 2 }));
    assert_eq!(s.tasks[Row::new(0)].fault.kind, DeathKind::Alive as u32);
    sound(&s);
}

#[test]
fn d14_a_row_whose_lives_are_used_up_never_starts_again() {
    let mut s = system(&[record("a", 1, &[]), record("b", 1, &[])]);
    s.tasks[Row::new(0)].generation = TaskId::LAST - 1;
    assert_eq!(s.begin(Row::new(0)), Ok(TaskId { index: 0, generation: TaskId::LAST }));
    kill(&mut s, 0);
    reap(&mut s, 0);
    for _ in 0..3 {
        assert_eq!(s.begin(Row::new(0)), Err(Status::NoMoreLives));
        assert_eq!((s.tasks[Row::new(0)].state, s.tasks[Row::new(0)].generation), (TaskState::Empty, TaskId::LAST));
    }
    assert_eq!(s.begin(Row::new(1)), Ok(TaskId { index: 1, generation: 1 }), "the others do");
    sound(&s);
}

#[test]
fn d14_each_life_of_each_row_has_a_word_of_its_own() {
    let words = |generation| (0..512).map(move |index| TaskId { index, generation });
    let mut seen = std::collections::BTreeSet::new();
    // More lives than 16 bits hold, and the last ones.
    for id in [0, 1, 65_535, 65_536, 65_537, TaskId::LAST - 1, TaskId::LAST].into_iter().flat_map(words) {
        assert_eq!(TaskId::from_u32(id.to_u32()), id);
        assert!(seen.insert(id.to_u32()), "{id:?}");
    }
}

#[test]
fn a_table_too_small_to_begin_with_leaves_the_row_as_it_was() {
    let mut tiny = record("tiny", 1, &[]);
    tiny.handle_quota = 1;
    let mut s = system(&[tiny]);
    assert_eq!(s.begin(Row::new(0)), Err(Status::QuotaHandles));
    assert_eq!(
        (s.tasks[Row::new(0)].state, s.tasks[Row::new(0)].generation, s.tasks[Row::new(0)].handles.live()),
        (TaskState::Empty, 0, 0)
    );
    sound(&s);
}

#[test]
fn threads_start_within_ceiling_and_quota() {
    let (mut s, _) = trio();
    let mut start = |row, priority| s.thread_start(row, TrapFrame::default(), priority).map(drop);
    assert_eq!(start(Row::new(1), 4), Err(Status::Ceiling));
    assert_eq!(start(Row::new(1), 32), Err(Status::Ceiling));
    assert_eq!(start(Row::new(9), 31), Err(Status::NoSuchTask));
    (0..7).for_each(|_| assert_eq!(start(Row::new(1), 31), Ok(())));
    assert_eq!(start(Row::new(1), 31), Err(Status::QuotaObjects));
    sound(&s);
    kill(&mut s, 1);
    assert_eq!(
        s.thread_start(Row::new(1), TrapFrame::default(), 31),
        Err(Status::NoSuchTask),
        "the dead start no threads"
    );
    sound(&s);
}

#[test]
fn no_thread_starts_without_an_address_space() {
    let mut s = system(&[record("early", 1, &[])]);
    let row = Row::new(0);
    s.begin(row).unwrap();
    assert_eq!(s.thread_start(row, TrapFrame::default(), 1), Err(Status::NoSuchTask));
    assert_eq!((s.threads.live(), s.tasks[row].objects.used()), (0, 0));
    s.set_space(row, AddressSpace::OF_TESTS).unwrap();
    let id = s.thread_start(row, TrapFrame::default(), 1).unwrap();
    assert_eq!(s.threads.get(id).unwrap().space, AddressSpace::OF_TESTS);
    kill(&mut s, row);
    assert_eq!(s.tasks[row].space.get(), None, "a dead life has none");
    sound(&s);
}

/// The identifier of a row is its number and one, and what is written to CR3 besides is not what is read from it.
#[test]
fn an_address_space_is_its_root_and_more() {
    let root = TableRoot::made_at(PhysAddr::new(0x1234_5000));
    let plain = AddressSpace::of_row(root, Row::new(7), false);
    assert_eq!((plain.cr3().number(), plain.cr3().when_read(), plain.cr3().keeps()), (0x1234_5000, 0x1234_5000, false));
    let own = AddressSpace::of_row(root, Row::new(7), true);
    assert_eq!(
        (own.cr3().number(), own.cr3().when_read(), own.cr3().keeps()),
        (1 << 63 | 0x1234_5008, 0x1234_5008, true)
    );
    assert_eq!((own.root(), own.root().address()), (root, PhysAddr::new(0x1234_5000)));
    assert_eq!(AddressSpace::of_kernel(root).cr3().number(), 0x1234_5000);
    assert_eq!((LifeSpace::NONE.get(), LifeSpace::of(own).get()), (None, Some(own)));
}

#[test]
fn threads_of_a_float_task_have_registers_of_their_own() {
    let mut float = record("float", 1, &[]);
    float.flags |= abi::manifest::TaskRecord::FLOAT;
    let quota = float.object_quota;
    let mut s = system(&[float, record("plain", 1, &[])]);
    for _ in 0..3 {
        for row in 0..2 {
            s.begin(Row::new(row)).unwrap();
            s.set_space(Row::new(row), AddressSpace::OF_TESTS).unwrap();
            let ids: Vec<_> =
                (0..quota).map(|_| s.thread_start(Row::new(row), TrapFrame::default(), 1).unwrap()).collect();
            assert_eq!(s.thread_start(Row::new(row), TrapFrame::default(), 1), Err(Status::QuotaObjects));
            let states: Vec<_> = ids.iter().filter_map(|&id| s.threads.get(id).unwrap().float).collect();
            assert_eq!(states.len(), if row == 0 { quota.into() } else { 0 });
            assert!(states.iter().enumerate().all(|(i, a)| states[..i].iter().all(|b| a != b)), "shared");
            sound(&s);
            // What an earlier thread left is not what the next one begins with.
            for &id in &states {
                let state = s.floats.get_mut(id).unwrap();
                assert_eq!(*state, crate::thread::FloatState::new());
                state.0 = [0xa5; 512];
            }
            if let Some(last) = ids.last().filter(|_| quota > 1) {
                s.thread_exit(last.index());
                assert_eq!(s.floats.live(), states.len().saturating_sub(1));
            }
            kill(&mut s, row);
            assert_eq!(s.floats.live(), 0);
            while s.reap_some(Row::new(row), 1, 1).unwrap() != 0 {}
        }
    }
}

#[test]
fn death_releases_everything() {
    let (mut s, [mut server, client, _]) = trio();
    let before = (s.endpoints.live(), s.notifications.live(), s.memories.live(), s.timers.live(), s.frames.free());
    for _ in 0..50 {
        let e = s.endpoint_create(server).unwrap().number();
        let n = s.notification_create(server).unwrap().number();
        let t = s.timer_create(server, n, 3).unwrap().number();
        s.timer_set(server, t, Some(1_000_000)).unwrap();
        let m = memory(&mut s, 0, 4).unwrap();
        s.memory_map(Row::new(0), m, UserAddr::ANY, true).unwrap();
        let second = thread(&mut s, 0);
        recv(&mut s, second, e, 1).unwrap();
        kill(&mut s, 0);
        sound(&s);
        reap(&mut s, 0);
        s.collect(u32::MAX);
        let after =
            (s.endpoints.live(), s.notifications.live(), s.memories.live(), s.timers.live(), s.frames.free() - 2);
        assert_eq!(after, before);
        assert_eq!((s.threads.live(), s.timers.next()), (2, None));
        server = spawn(&mut s, 0);
    }
    assert_eq!(state(&s, client), State::Ready);
    sound(&s);
}

#[test]
fn death_wakes_everyone_who_waits_for_the_dead() {
    let (mut s, [server, client, other]) = trio();
    let second = thread(&mut s, 1);
    call(&mut s, client, PEER, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    call(&mut s, second, PEER, Message::default()).unwrap();
    call(&mut s, other, PEER, Message::default()).unwrap();
    kill(&mut s, 0);
    assert_eq!((woken(&s, client), frame(&mut s, client).r12), (Some(Status::PeerDied), 1));
    assert_eq!((woken(&s, second), woken(&s, other)), (None, None), "a next life is expected");
    sound(&s);
    s.expect(Row::new(0), false).unwrap();
    assert_eq!((woken(&s, second), woken(&s, other)), (Some(Status::PeerGone), Some(Status::PeerGone)));
    assert_eq!(s.expect(Row::new(9), false), Err(Status::NoSuchTask));
    sound(&s);
}

#[test]
fn where_no_next_life_comes_death_wakes_the_queue_too() {
    let mut server = record("server", 1, &[]);
    server.restart = Restart::Never as u8;
    let mut s = system(&[server, record("client", 5, &[0])]);
    assert!(s.is_open(s.tasks[Row::new(0)].endpoint.unwrap()), "before the first life one is expected");
    let [_, client] = [0, 1].map(|row| spawn(&mut s, row));
    call(&mut s, client, PEER, Message::default()).unwrap();
    kill(&mut s, 0);
    assert_eq!(woken(&s, client), Some(Status::PeerGone));
    sound(&s);
}

#[test]
fn what_the_dead_made_is_gone_for_those_who_hold_it() {
    let (mut s, [_, client, other]) = trio();
    let e = s.endpoint_create(client).unwrap().number();
    let n = s.notification_create(client).unwrap().number();
    let [e, n] = [e, n].map(|number| {
        let object = s.handle(client, number).unwrap().object;
        s.handle_insert(Row::new(2), Handle::new(object, Rights::CALL | Rights::WAIT)).unwrap().number()
    });
    let second = thread(&mut s, 2);
    call(&mut s, other, e, Message::default()).unwrap();
    wait(&mut s, second, n, 1).unwrap();
    kill(&mut s, 1);
    assert_eq!((woken(&s, other), woken(&s, second)), (Some(Status::PeerGone), Some(Status::BadHandle)));
    assert_eq!(call(&mut s, other, e, Message::default()), Err(Status::BadHandle));
    sound(&s);
}

#[test]
fn the_last_handle_may_be_in_another_task() {
    let (mut s, [_, client, other]) = trio();
    let e = s.endpoint_create(client).unwrap().number();
    let object = s.handle(client, e).unwrap().object;
    let copy = s.handle_insert(Row::new(2), Handle::new(object, Rights::CALL)).unwrap().number();
    let second = thread(&mut s, 1);
    recv(&mut s, second, e, 0).unwrap();
    s.handle_close(client, e).unwrap();
    assert_eq!((woken(&s, second), s.tasks[Row::new(1)].objects.used()), (None, 3));
    s.handle_close(other, copy).unwrap();
    assert_eq!((woken(&s, second), s.tasks[Row::new(1)].objects.used()), (Some(Status::BadHandle), 2));
    sound(&s);
}

#[test]
fn the_controller_hears_of_deaths_and_peers_of_births() {
    let mut supervisor = record("supervisor", 0, &[]);
    supervisor.flags = TaskRecord::CONTROL | TaskRecord::LOGS;
    let mut s = system(&[supervisor, record("server", 1, &[]), record("client", 5, &[1])]);
    assert_eq!(s.controller, Some(Row::new(0)));
    assert!(s.log_readers.contains(Row::new(0)) && !s.log_readers.contains(Row::new(1)));
    let [boss, _, client] = [0, 1, 2].map(|row| spawn(&mut s, row));
    assert_eq!(s.poll(client, NOTE, u64::MAX), Ok(0));
    kill(&mut s, 1);
    assert_eq!(s.poll(boss, NOTE, u64::MAX), Ok(bits::TASK_EVENT));
    assert_eq!(s.tasks[Row::new(1)].fault.kind, DeathKind::Killed as u32);
    reap(&mut s, 1);
    spawn(&mut s, 1);
    assert_eq!(s.poll(client, NOTE, u64::MAX), Ok(bits::PEER));
    assert_eq!(s.poll(boss, NOTE, u64::MAX), Ok(0));
    kill(&mut s, 1);
    kill(&mut s, 1);
    kill(&mut s, 9);
    sound(&s);
}

#[test]
fn bits_for_the_dead_are_not_for_the_next_life() {
    let (mut s, _) = trio();
    s.signal_task(Row::new(0), 0xff | bits::HEARTBEAT);
    kill(&mut s, 0);
    s.signal_task(Row::new(0), 0xff);
    reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    assert_eq!((s.poll(server, NOTE, u64::MAX), s.tasks[Row::new(0)].heartbeat), (Ok(0), None));
}

#[test]
fn a_thread_leaves_wherever_it_is() {
    let (mut s, [server, client, _]) = trio();
    let n = s.tasks[Row::new(1)].notification.unwrap();
    for step in 0..5 {
        let t = thread(&mut s, 1);
        match step {
            0 => call(&mut s, t, PEER, Message::default()).unwrap(),
            1 => recv(&mut s, t, OWN, 1).unwrap(),
            2 => wait(&mut s, t, NOTE, 1).unwrap(),
            3 => run(&mut s, t),
            _ => {}
        }
        s.thread_exit(t);
        sound(&s);
        assert!(s.threads.at(t).is_none() && s.notifications.get(n).unwrap().waiter.is_empty());
    }
    let t = thread(&mut s, 1);
    call(&mut s, t, PEER, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let token = frame(&mut s, server).r8;
    s.thread_exit(t);
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply));
    assert_eq!((s.tasks[Row::new(1)].threads, s.tasks[Row::new(1)].objects.used()), (1, 1));
    assert_eq!(state(&s, client), State::Ready);
    sound(&s);
}

#[test]
fn status_says_what_the_first_thread_does() {
    let (mut s, [server, client, _]) = trio();
    let seen = |s: &System, row| s.task_status(row).map(|t| (t.activity, t.waits_for)).unwrap();
    assert_eq!(seen(&s, Row::new(1)), (Activity::Ready as u32, u32::MAX));
    run(&mut s, client);
    assert_eq!(seen(&s, Row::new(1)), (Activity::Running as u32, u32::MAX));
    call(&mut s, client, PEER, Message::default()).unwrap();
    assert_eq!(seen(&s, Row::new(1)), (Activity::Sending as u32, 0));
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(seen(&s, Row::new(1)), (Activity::Replying as u32, 0));
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(seen(&s, Row::new(0)), (Activity::Waiting as u32, u32::MAX));
    kill(&mut s, 0);
    assert_eq!(seen(&s, Row::new(0)), (Activity::None as u32, u32::MAX));
    let status = s.task_status(Row::new(1)).unwrap();
    assert_eq!(TaskId::from_u32(status.id), TaskId { index: 1, generation: 1 });
    assert_eq!((status.state, status.priority), (TaskState::Running as u32, 5));
    assert_eq!((status.frames, status.frame_quota, status.handles, status.handle_quota), (2, 16, 3, 8));
    assert_eq!((status.objects, status.object_quota, status.threads), (1, 8, 1));
    assert_eq!(s.task_status(Row::new(9)).err(), Some(Status::NoSuchTask));
}

#[test]
fn lines_have_one_owner() {
    use crate::lines::{LineOwner, LineSet, Lines};
    let mut lines = Lines::default();
    let owner = |row| LineOwner { row, bits: 1 << row.number() };
    assert!(
        lines.claim(Line::new(4), owner(Row::new(1)))
            && lines.claim(Line::new(12), owner(Row::new(1)))
            && lines.claim(Line::new(1), owner(Row::new(2)))
    );
    assert!(
        !lines.claim(Line::new(4), owner(Row::new(2)))
            && !lines.claim(Line::new(16), owner(Row::new(2)))
            && !lines.claim(Line::new(255), owner(Row::new(2)))
    );
    assert!(lines.claim(Line::new(4), owner(Row::new(1))), "again by the same");
    assert_eq!(
        (lines.owner(Line::new(4)), lines.owner(Line::new(5)), lines.owner(Line::new(200))),
        (Some(owner(Row::new(1))), None, None)
    );
    assert_eq!(
        (lines.release(Row::new(1)), lines.release(Row::new(1))),
        (LineSet::of(Line::new(4)).with(LineSet::of(Line::new(12))), LineSet::EMPTY)
    );
    assert_eq!((lines.owner(Line::new(4)), lines.owner(Line::new(1))), (None, Some(owner(Row::new(2)))));
}
