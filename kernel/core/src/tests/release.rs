//! Lives that are too large to be released at once: what everyone sees between their death and the last unit. That every unit leaves the system
//! sound, with whatever else in between, is searched for in [`super::explore`].

use super::*;
use crate::addr::UserAddr;
use crate::sched::SEARCHED;
use crate::step::Step;
use crate::task::Release;
use crate::thread::ThreadIndex;
use abi::message::bits;
use abi::task::TaskState;

/// A supervisor, a server with room for little, and a client that may hold much.
fn large() -> (System, [ThreadIndex; 3]) {
    let mut supervisor = record("supervisor", 0, &[]);
    supervisor.flags = TaskRecord::CONTROL;
    let mut client = record("client", 5, &[1]);
    (client.handle_quota, client.object_quota, client.frame_quota) = (300, 300, 50);
    let mut s = system(&[supervisor, record("server", 1, &[]), client]);
    let threads = [0, 1, 2].map(|row| spawn(&mut s, row));
    (s, threads)
}

/// Goes on until nothing is left of a dead row; returns how often that was.
fn reaped(s: &mut System, row: Row) -> usize {
    for count in 1..10_000 {
        let left = s.reap(row).unwrap();
        assert_eq!(left == 0, s.tasks[row].state == TaskState::Empty);
        if count % 8 == 0 || left == 0 {
            sound(s);
        }
        if left == 0 {
            return count;
        }
    }
    panic!("row {row} is never reaped");
}

#[test]
fn d24_a_large_life_is_released_in_many_small_steps_and_leaves_nothing() {
    let (mut s, [boss, server, client]) = large();
    let count = |s: &System| {
        let objects = [s.threads.live(), s.endpoints.live(), s.notifications.live(), s.memories.live()];
        (objects, s.timers.live(), s.frames.free(), s.calls)
    };
    kill(&mut s, 2);
    reaped(&mut s, Row::new(2));
    let before = count(&s);
    assert_eq!(spawn(&mut s, 2), client);
    let own = s.endpoint_create(client).unwrap().number();
    for round in 0..40 {
        let n = s.notification_create(client).unwrap().number();
        let timer = s.timer_create(client, n, 3).unwrap().number();
        s.timer_set(client, timer, Some(1 << 60)).unwrap();
        let waits = thread(&mut s, 2);
        match round % 4 {
            0 => recv(&mut s, waits, own, 1).unwrap(),
            1 => wait(&mut s, waits, n, 1).unwrap(),
            2 => call(&mut s, waits, PEER, Message::default()).unwrap(),
            _ => {}
        }
        s.endpoint_create(client).unwrap();
        let m = memory(&mut s, 2, 1).unwrap();
        s.memory_map(Row::new(2), m, UserAddr::ANY, true).unwrap();
    }
    assert!(s.tasks[Row::new(2)].objects.used() > 200 && s.tasks[Row::new(2)].handles.live() > 150);
    kill(&mut s, 2);
    assert_eq!((s.tasks[Row::new(2)].state, s.begin(Row::new(2))), (TaskState::Dead, Err(Status::NotReaped)));
    assert_ne!(s.tasks[Row::new(2)].release, Release::Done, "as much as that is released at once");
    assert_eq!(s.poll(boss, NOTE, u64::MAX), Ok(bits::TASK_EVENT), "its supervisor hears of it at once");
    sound(&s);
    assert!(reaped(&mut s, Row::new(2)) > 5);
    s.collect(u32::MAX);
    assert_eq!(count(&s), (before.0, before.1, before.2, s.calls));
    assert_eq!(state(&s, server), State::Ready);
    spawn(&mut s, 2);
    sound(&s);
}

#[test]
fn d24_dead_callers_are_taken_out_of_a_servers_way_and_the_living_one_is_received() {
    let (mut s, [_, server, client]) = large();
    for _ in 0..50 {
        let t = thread(&mut s, 2);
        call(&mut s, t, PEER, Message::default()).unwrap();
    }
    // One whose call is received, too.
    recv(&mut s, server, OWN, 0).unwrap();
    let token = frame(&mut s, server).r8;
    s.blame(Row::new(2), None, DeathKind::Killed);
    s.die(Row::new(2));
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply), "to a dead caller");
    assert_eq!(s.lease_info(server, ReplyToken(token), 0), Err(Status::StaleReply), "of a dead caller");
    let e = s.tasks[Row::new(1)].endpoint.unwrap();
    run(&mut s, server);
    let mut goes = 0;
    while s.recv(server, OWN, 0) == Ok(false) {
        goes += 1;
        sound(&s);
    }
    assert_eq!((goes, state(&s, server)), (3, State::Receiving(e.index())), "49 callers, 16 in one go");
    assert!(s.threads.at(client).is_some(), "the others are where they were");
    sound(&s);
    reaped(&mut s, Row::new(2));
    assert_eq!(s.threads.live(), 2);
}

#[test]
fn d24_dead_threads_that_are_ready_are_passed_over() {
    let (mut s, [boss, server, _]) = large();
    for _ in 0..100 {
        thread(&mut s, 2);
    }
    for t in [boss, server] {
        recv(&mut s, t, OWN, 1).unwrap();
    }
    s.blame(Row::new(2), None, DeathKind::Killed);
    s.die(Row::new(2));
    let (mut goes, mut next) = (0, s.schedule(SEARCHED));
    while next.is_none() && s.undecided() && goes < 100 {
        goes += 1;
        sound(&s);
        next = s.schedule(SEARCHED);
    }
    assert_eq!((next, s.tasks[Row::new(2)].threads), (None, 0), "no dead thread runs");
    assert!((5..8).contains(&goes), "{goes} goes for 101 threads");
    // What wakes the living while the dead are ready goes past them.
    s.signal_task(Row::new(1), 1);
    assert_eq!(s.schedule(SEARCHED), Some(server));
    sound(&s);
}

#[test]
fn a_dead_thread_that_is_woken_while_nobody_runs_does_not_run() {
    let (mut s, [boss, server, client]) = large();
    call(&mut s, client, PEER, Message::default()).unwrap();
    for t in [boss, server] {
        wait(&mut s, t, NOTE, 1).unwrap();
    }
    for row in [2, 1] {
        s.blame(Row::new(row), None, DeathKind::Killed);
        s.die(Row::new(row));
    }
    assert_eq!((s.current(), s.schedule(SEARCHED)), (None, None));
    assert_eq!(s.expect(Row::new(1), false), Ok(true));
    assert_eq!((s.current(), s.schedule(SEARCHED)), (None, None), "a dead caller runs");
    sound(&s);
}

#[test]
fn d13_who_waits_for_a_large_servers_answer_hears_of_its_death_and_a_next_life_comes_only_then() {
    let (mut s, [_, server, client]) = large();
    let second = thread(&mut s, 2);
    call(&mut s, client, PEER, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    // As if it held much: nothing is done at once.
    s.blame(Row::new(1), None, DeathKind::Killed);
    s.die(Row::new(1));
    assert_eq!(woken(&s, client), None);
    call(&mut s, second, PEER, Message::default()).unwrap();
    let e = s.tasks[Row::new(1)].endpoint.unwrap();
    assert_eq!(state(&s, second), State::Sending(e.index()), "it waits for the next life");
    assert_eq!(s.begin(Row::new(1)), Err(Status::NotReaped));
    while woken(&s, client).is_none() {
        assert_eq!(s.begin(Row::new(1)), Err(Status::NotReaped));
        s.reap_some(Row::new(1), 1, 1).unwrap();
        sound(&s);
    }
    assert_eq!((woken(&s, client), frame(&mut s, client).r12), (Some(Status::PeerDied), 1));
    reaped(&mut s, Row::new(1));
    let server = spawn(&mut s, 1);
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(state(&s, second), State::Replying(Row::new(1)));
    sound(&s);
}

/// Between its death and the release of what it held, a server's thread is still where it waited.
#[test]
fn d13_the_threads_of_a_dead_server_receive_nothing() {
    let (mut s, [_, server, client]) = large();
    recv(&mut s, server, OWN, 0).unwrap();
    s.blame(Row::new(1), None, DeathKind::Killed);
    s.die(Row::new(1));
    let e = s.tasks[Row::new(1)].endpoint.unwrap();
    assert_eq!(s.endpoints.get(e).unwrap().receivers.front(), Some(server), "it has been released already");
    assert_eq!(send(&mut s, client, PEER, Message::default()), Err(Status::WouldBlock));
    call(&mut s, client, PEER, Message::default()).unwrap();
    assert_eq!(state(&s, client), State::Sending(e.index()), "it waits for the next life");
    sound(&s);
    reaped(&mut s, Row::new(1));
    let server = spawn(&mut s, 1);
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(state(&s, client), State::Replying(Row::new(1)));
    sound(&s);
}

#[test]
fn d24_many_who_wait_at_what_a_dead_task_made_learn_in_steps_that_it_is_gone() {
    let (mut s, [_, server, _]) = large();
    let own = s.endpoint_create(server).unwrap().number();
    let object = s.handle(server, own).unwrap().object;
    let rights = Rights::CALL;
    let theirs = s.handle_insert(Row::new(2), Handle::new(object, rights)).unwrap().number();
    let callers: Vec<ThreadIndex> = (0..100).map(|_| thread(&mut s, 2)).collect();
    for &t in &callers {
        call(&mut s, t, theirs, Message::default()).unwrap();
    }
    s.blame(Row::new(1), None, DeathKind::Killed);
    s.die(Row::new(1));
    let over = |s: &System| callers.iter().filter(|&&t| woken(s, t) == Some(Status::PeerGone)).count();
    let mut most = 0;
    loop {
        let before = over(&s);
        let left = s.reap(Row::new(1)).unwrap();
        most = most.max(over(&s) - before);
        sound(&s);
        if left == 0 {
            break;
        }
    }
    assert_eq!(over(&s), 100);
    assert!((1..40).contains(&most), "{most} of 100 callers in one step");
}

#[test]
fn d24_many_who_wait_for_a_next_life_learn_in_steps_that_none_comes() {
    let (mut s, [.., client]) = large();
    let callers: Vec<ThreadIndex> = (0..100).map(|_| thread(&mut s, 2)).chain([client]).collect();
    for &t in &callers {
        call(&mut s, t, PEER, Message::default()).unwrap();
    }
    kill(&mut s, 1);
    let mut goes = 0;
    while s.expect(Row::new(1), false) == Ok(false) {
        goes += 1;
        let told = callers.iter().filter(|&&t| woken(&s, t) == Some(Status::PeerGone)).count();
        assert!(told <= goes * 32, "{told} in {goes} steps");
        let late = thread(&mut s, 2);
        assert_eq!(call(&mut s, late, PEER, Message::default()), Err(Status::PeerGone));
    }
    assert_eq!(goes, 3);
    assert!(callers.iter().all(|&t| woken(&s, t) == Some(Status::PeerGone)));
    sound(&s);
}

#[test]
fn a_dead_waiter_is_in_nobodys_way() {
    let (mut s, [_, client, other]) = trio();
    let n = s.notification_create(client).unwrap().number();
    let object = s.handle(client, n).unwrap().object;
    let rights = Rights::WAIT | Rights::SIGNAL;
    let theirs = s.handle_insert(Row::new(2), Handle::new(object, rights)).unwrap().number();
    for by_signal in [false, true] {
        wait(&mut s, other, theirs, 1).unwrap();
        assert_eq!(wait(&mut s, client, n, 1), Err(Status::Busy));
        s.blame(Row::new(2), None, DeathKind::Killed);
        s.die(Row::new(2));
        if by_signal {
            let (id, _) = s.notification_handle(client, n, Rights::SIGNAL).unwrap();
            s.signal(id, 1);
            assert_eq!(s.poll(client, n, 1), Ok(1), "the dead take no bits");
            break;
        }
        wait(&mut s, client, n, 1).unwrap();
        sound(&s);
        let (id, _) = s.notification_handle(client, n, Rights::SIGNAL).unwrap();
        s.signal(id, 1);
        assert_eq!(woken(&s, client), Some(Status::Ok));
        while s.reap(Row::new(2)).unwrap() != 0 {}
        assert_eq!(spawn(&mut s, 2), other);
        let again = s.handle_insert(Row::new(2), Handle::new(object, rights));
        assert_eq!(again.unwrap().number(), theirs);
    }
    sound(&s);
}

#[test]
fn what_a_dead_task_made_is_gone_before_it_is_released() {
    let (mut s, [_, client, other]) = trio();
    let [e, n] = [s.endpoint_create(client), s.notification_create(client)].map(|made| made.unwrap().number());
    let rights = Rights::CALL | Rights::SIGNAL | Rights::WAIT | Rights::GRANT;
    let [e, n] = [e, n].map(|number| {
        let object = s.handle(client, number).unwrap().object;
        s.handle_insert(Row::new(2), Handle::new(object, rights)).unwrap().number()
    });
    let timer = s.timer_create(other, n, 1).unwrap().number();
    s.timer_set(other, timer, Some(1)).unwrap();
    s.blame(Row::new(1), None, DeathKind::Killed);
    s.die(Row::new(1));
    run(&mut s, other);
    assert_eq!(call(&mut s, other, e, Message::default()), Err(Status::BadHandle));
    assert_eq!(send(&mut s, other, e, Message::default()), Err(Status::BadHandle));
    assert_eq!(wait(&mut s, other, n, 1), Err(Status::BadHandle));
    assert_eq!(s.poll(other, n, 1), Err(Status::BadHandle));
    assert_eq!(s.notification_handle(other, n, Rights::SIGNAL), Err(Status::BadHandle));
    s.now += 1_000_000;
    s.tick();
    sound(&s);
    reap(&mut s, 1);
    sound(&s);
}

#[test]
fn without_a_supervisor_the_kernel_releases_the_dead_itself() {
    let (mut s, [_, server, client]) = large();
    call(&mut s, client, PEER, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    for row in [1, 0] {
        s.blame(Row::new(row), None, DeathKind::Exception);
        s.die(Row::new(row));
    }
    for _ in 0..100 {
        s.collect(1);
        sound(&s);
    }
    assert_eq!(woken(&s, client), Some(Status::PeerDied));
    assert_eq!((s.tasks[Row::new(0)].threads, s.tasks[Row::new(1)].threads), (0, 0));
    assert_eq!([0, 1].map(|row| s.tasks[Row::new(row)].release), [Release::Done; 2]);
}

#[test]
fn d12_a_start_that_is_given_up_gives_everything_back() {
    let (mut s, [boss, ..]) = large();
    kill(&mut s, 2);
    reaped(&mut s, Row::new(2));
    let before = (s.frames.free(), s.tasks[Row::new(2)].handles.live(), s.endpoints.live());
    for supervisor_dies in [false, true] {
        begin(&mut s, 2).unwrap();
        let life = s.tasks[Row::new(2)].id(Row::new(2));
        for _ in 0..3 {
            s.frames.alloc(&mut s.tasks[Row::new(2)].start.kept).unwrap();
        }
        assert_eq!((s.begin(Row::new(2)), s.reap(Row::new(2))), (Err(Status::AlreadyRunning), Err(Status::NoSuchTask)));
        assert_eq!(s.thread_start(Row::new(2), TrapFrame::default(), 0), Err(Status::Ceiling));
        sound(&s);
        if supervisor_dies {
            run(&mut s, boss);
            s.step_set(boss, Step::Spawn(life));
            kill(&mut s, 0);
        } else {
            kill(&mut s, 2);
        }
        assert_eq!(s.tasks[Row::new(2)].state, TaskState::Dead);
        assert_eq!(s.tasks[Row::new(2)].fault.kind, DeathKind::Killed as u32);
        reaped(&mut s, Row::new(2));
        s.collect(u32::MAX);
        assert_eq!((s.frames.free(), s.tasks[Row::new(2)].handles.live(), s.endpoints.live()), before);
    }
    // A step of a start that is over touches no later one.
    begin(&mut s, 2).unwrap();
    let old = abi::TaskId { generation: s.tasks[Row::new(2)].generation - 1, ..s.tasks[Row::new(2)].id(Row::new(2)) };
    s.step_abandon(Row::new(0), Step::Spawn(old));
    assert_eq!(s.tasks[Row::new(2)].state, TaskState::Starting);
    sound(&s);
}
