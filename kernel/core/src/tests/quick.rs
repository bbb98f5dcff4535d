//! Each check of the fast paths of notifications, interrupts, turns and ticks: without the one thing, the path is taken; with it, the general
//! path is to decide, and nothing has changed.

use super::fast::everything;
use super::partners::Change;
use super::{
    By, NOTE, OWN, altered, frame, host, interrupt, kill, note, recv, run, sound, spawn, state, thread, trio, wait,
};
use crate::Row;
use crate::System;
use crate::handles::{Handle, Object};
use crate::lines::{Line, LineOwner};
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::thread::{State, ThreadIndex};
use abi::Status;
use abi::error::DeathKind;
use abi::message::{Header, Rights, bits};

const SLICE_NS: u64 = crate::period::SLICE_NS;

/// The trio, of which the last two may signal the first; the handle by which they do.
fn with_notification() -> (System, [ThreadIndex; 3], HandleNumber) {
    let (mut s, threads) = trio();
    let object = s.handle(threads[0], NOTE).unwrap().object;
    let handles =
        [1, 2].map(|row| s.handle_insert(Row::new(row), Handle::new(object, Rights::SIGNAL)).unwrap().number());
    assert_eq!(handles[0].to_u64() + 1, handles[1].to_u64(), "the second has one peer more");
    (s, threads, handles[0])
}

/// Runs a path by the assembly; where that refuses, its twin must too, and nothing may have changed.
fn tried(s: &mut System, path: impl Fn(&mut System, By) -> bool) -> bool {
    s.charge();
    let before = everything(s);
    let done = path(s, By::Assembly);
    if !done {
        s.charge();
        assert!(before == everything(s), "refused, but more than the account changed");
        assert!(!path(s, By::Direct), "the twin does what the assembly refuses");
        assert!(before == everything(s), "refused, but more than the account changed");
    }
    sound(s);
    done
}

fn signals(s: &mut System, thread: ThreadIndex, handle: HandleNumber, bits: u64) -> bool {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi) = (handle.to_u64(), bits);
    tried(s, host::signal)
}

/// Whether a poll finds nothing, by a handle whose lookup is cached.
fn polls(s: &mut System, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> bool {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi) = (handle.to_u64(), mask);
    let found = host::poll(s, By::Assembly);
    assert_eq!(found, host::poll(s, By::Direct), "the assembly and its twin");
    found && s.poll_running(handle, mask) == Ok(0)
}

#[test]
fn a_poll_goes_fast_only_by_its_own_handle_and_finds_nothing() {
    let (mut s, [server, ..], _) = with_notification();
    assert!(!polls(&mut s, server, NOTE, 1), "nothing is cached");
    assert_eq!(s.poll(server, NOTE, 1), Ok(0));
    assert!(polls(&mut s, server, NOTE, 1), "nothing is in the way of this one");
    let mute = s.handle_dup(server, NOTE, Rights::SIGNAL.bits().into(), 0).unwrap().number();
    for (number, why) in
        [(mute, "no right to wait"), (OWN, "no notification"), (altered(NOTE, 1 << 16), "an old handle's number")]
    {
        assert!(!polls(&mut s, server, number, 1), "{why}");
    }
    s.signal_task(Row::new(0), 0b10);
    assert!(polls(&mut s, server, NOTE, 1), "another bit");
    assert!(!polls(&mut s, server, NOTE, 0b110), "one of the bits is set");
    s.handle_close(server, mute).unwrap();
    assert!(!polls(&mut s, server, NOTE, 1), "a handle was closed");
}

#[test]
fn a_signal_goes_fast_only_by_its_own_handle() {
    let (mut s, [server, client, other], handle) = with_notification();
    assert!(!signals(&mut s, client, handle, 1), "nothing is cached");
    s.cache_notification(client, handle, Rights::SIGNAL).unwrap();
    assert!(signals(&mut s, client, handle, 1), "nothing is in the way of this one");
    assert!(signals(&mut s, client, handle, 4), "nor of the next");
    assert_eq!(s.notifications.get(note(&s, 0)).unwrap().word, 5);
    let deaf = Handle::new(s.handle(server, NOTE).unwrap().object, Rights::WAIT);
    let deaf = s.handle_insert(Row::new(1), deaf).unwrap().number();
    for (number, why) in
        [(deaf, "no right to signal"), (OWN, "no notification"), (altered(handle, 1 << 16), "an old handle's number")]
    {
        assert!(!signals(&mut s, client, number, 1), "{why}");
    }
    assert!(
        !signals(&mut s, other, HandleNumber::from_register(handle.to_u64() + 1), 1),
        "each thread has its own cache"
    );
    // By this handle, bits 1 and 2 alone can be set.
    let few = Handle { bits: 0b110, ..s.handle(client, handle).unwrap() };
    let few = s.handle_insert(Row::new(1), few).unwrap().number();
    s.cache_notification(client, few, Rights::SIGNAL).unwrap();
    assert!(signals(&mut s, client, few, 0b110), "nothing is in the way of this one");
    for set in [1, 0b111, 1 << 3, 1 << 63, u64::MAX] {
        assert!(!signals(&mut s, client, few, set), "{set:#x}: a bit that cannot be set by it");
    }
    s.cache_notification(client, handle, Rights::SIGNAL).unwrap();
    run(&mut s, client);
    s.handle_close(client, handle).unwrap();
    assert!(!signals(&mut s, client, handle, 1), "the handle was closed");
}

/// One waits for bits 1 and 2, by `recv` or `wait`; the client's signal of bit 1 would wake it.
fn waiting(by_recv: bool) -> (System, [ThreadIndex; 3], HandleNumber) {
    let (mut s, threads @ [server, client, _], handle) = with_notification();
    s.cache_notification(client, handle, Rights::SIGNAL).unwrap();
    frame(&mut s, server).rsi = 77;
    match by_recv {
        true => recv(&mut s, server, OWN, 0b11).unwrap(),
        false => wait(&mut s, server, NOTE, 0b11).unwrap(),
    }
    (s, threads, handle)
}

#[test]
fn a_signal_runs_who_waits() {
    for by_recv in [true, false] {
        let (mut s, [server, client, _], handle) = waiting(by_recv);
        run(&mut s, client);
        s.now += 10;
        assert!(signals(&mut s, client, handle, 0b101), "nothing is in the way of this one");
        assert_eq!((s.current(), state(&s, client)), (Some(server), State::Ready));
        let f = frame(&mut s, server);
        assert_eq!((f.rax, if by_recv { f.r12 } else { f.rdx }), (0, 1));
        assert_eq!(frame(&mut s, server).rsi, if by_recv { Header::NOTIFICATION } else { 77 }, "by recv: {by_recv}");
        assert_eq!(s.notifications.get(note(&s, 0)).unwrap().word, 4, "the bit that nobody waits for stays");
        assert_eq!(s.cpu(Row::new(1)), 10);
    }
}

#[test]
fn a_signal_runs_only_the_one_that_is_to_run() {
    let changes: [(Change, &str); 7] = [
        (|s, [server, ..]| s.threads.at_mut(server).unwrap().mask = 0b110, "it waits for other bits"),
        (|s, _| use_up(s, Row::new(0)), "its task's slice is used up"),
        (|s, [server, ..]| s.set_priority(server, 5), "it is as important"),
        (|s, [server, ..]| s.set_priority(server, 9), "it is less important"),
        (|s, [_, client, other]| [client, other].into_iter().for_each(|t| s.set_priority(t, 7)), "others are ready"),
        (|s, _| s.signal_task(Row::new(0), 0), "nothing"),
        (|s, [server, ..]| s.threads.at_mut(server).unwrap().mask = bits::HEARTBEAT | 1, "nothing"),
    ];
    for by_recv in [true, false] {
        for (change, why) in changes {
            let (mut s, threads @ [_, client, _], handle) = waiting(by_recv);
            run(&mut s, client);
            change(&mut s, threads);
            assert_eq!(signals(&mut s, client, handle, 1), why == "nothing", "{why}, by recv: {by_recv}");
        }
        let (mut s, [server, client, _], handle) = waiting(by_recv);
        s.threads.at_mut(server).unwrap().mask |= bits::HEARTBEAT;
        assert!(!signals(&mut s, client, handle, bits::HEARTBEAT), "an answer to a heartbeat, by recv: {by_recv}");
        // A second one that waits, by the same means or by the other.
        let (mut s, [_, client, _], handle) = waiting(by_recv);
        let second = thread(&mut s, 0);
        recv(&mut s, second, OWN, 0b100).unwrap();
        assert!(!signals(&mut s, client, handle, 0b101), "two wait, by recv: {by_recv}");
    }
}

/// The server waits for its line, whose lookup is cached; the client runs.
fn driver() -> (System, [ThreadIndex; 3]) {
    let (mut s, threads @ [server, client, _]) = trio();
    assert!(s.lines.claim(Line::new(4), LineOwner { row: Row::new(0), bits: 1 << 4 }));
    recv(&mut s, server, OWN, u64::MAX).unwrap();
    run(&mut s, client);
    (s, threads)
}

fn fires(s: &mut System, line: Line) -> bool {
    tried(s, |s, by| host::interrupt(s, line, by))
}

#[test]
fn an_interrupt_goes_fast_only_to_whom_the_line_belongs() {
    let (mut s, [server, client, _]) = driver();
    assert!(fires(&mut s, Line::new(4)), "nothing is in the way of this one");
    assert_eq!((s.current(), state(&s, client), frame(&mut s, server).r12), (Some(server), State::Ready, 1 << 4));
    assert!(fires(&mut s, Line::new(4)), "nobody waits");
    assert_eq!(s.notifications.get(note(&s, 0)).unwrap().word, 1 << 4);
    assert!(!fires(&mut s, Line::new(5)), "nobody's line");

    // The driver may wait by other means.
    let (mut s, [server, client, _]) = driver();
    s.signal_task(Row::new(0), 1);
    wait(&mut s, server, NOTE, u64::MAX).unwrap();
    run(&mut s, client);
    assert!(fires(&mut s, Line::new(4)), "it waits for its notification");
    assert_eq!((s.current(), frame(&mut s, server).rdx), (Some(server), 1 << 4));

    // A debugger has it lost, once.
    let (mut s, _) = driver();
    s.debug_interrupt(Row::new(0), 4, abi::syscall::INTERRUPT_DROP).unwrap_err();
    assert!(s.tasks[Row::new(0)].record.add(abi::manifest::Grant::irq("rx", 4, 4)));
    s.debug_interrupt(Row::new(0), 4, abi::syscall::INTERRUPT_DROP).unwrap();
    assert!(!fires(&mut s, Line::new(4)), "it is to be lost");
    assert!(!s.interrupt(Line::new(4)) && s.interrupt(Line::new(4)), "it is lost, and the next one is not");

    // The line is given up, and taken by another.
    let (mut s, [_, client, other]) = driver();
    s.lines.release(Row::new(0));
    assert!(!fires(&mut s, Line::new(4)), "nobody's line");
    assert!(s.lines.claim(Line::new(4), LineOwner { row: Row::new(1), bits: 2 }));
    run(&mut s, other);
    assert!(!interrupt(&mut s, Line::new(9), By::Direct));
    assert!(fires(&mut s, Line::new(4)), "it is cached, and nobody waits");
    assert_eq!((s.current(), state(&s, client)), (Some(other), State::Ready));
    assert_eq!(s.notifications.get(note(&s, 1)).unwrap().word, 2);

    // Its owner is gone.
    let (mut s, _) = driver();
    s.lines.release(Row::new(0));
    kill(&mut s, 0);
    assert!(!fires(&mut s, Line::new(4)), "its owner is dead");

    // A line that sets no ordinary bit is not cached.
    let (mut s, _) = driver();
    assert!(s.lines.claim(Line::new(6), LineOwner { row: Row::new(0), bits: bits::HEARTBEAT }));
    assert!(!fires(&mut s, Line::new(6)), "a heartbeat is noted");
}

#[test]
fn turns_are_taken_by_two() {
    let (mut s, [server, client, other]) = trio();
    run(&mut s, server);
    s.now += 10;
    assert!(tried(&mut s, host::take_turns), "nobody else");
    assert_eq!((s.current(), s.cpu(Row::new(0))), (Some(server), 10));
    let second = thread(&mut s, 0);
    s.now += 10;
    assert!(tried(&mut s, host::take_turns), "one other");
    assert_eq!((s.current(), state(&s, server), s.cpu(Row::new(0))), (Some(second), State::Ready, 20));
    let third = thread(&mut s, 0);
    assert!(!tried(&mut s, host::take_turns), "two others");
    s.set_priority(third, 2);
    assert!(tried(&mut s, host::take_turns), "the third one is less important");
    assert_eq!(s.current(), Some(server));
    assert_eq!([client, other].map(|t| state(&s, t)), [State::Ready; 2]);
    use_up(&mut s, Row::new(0));
    assert!(!tried(&mut s, host::take_turns), "its task's slice is used up");
}

#[test]
fn a_budget_counts_up_to_now() {
    let (mut s, [server, ..]) = trio();
    run(&mut s, server);
    s.now += SLICE_NS - 1;
    assert!(host::take_turns(&mut s, By::Assembly), "there is some left");
    s.now += 1;
    assert!(!host::take_turns(&mut s, By::Assembly), "the last of it has just been used");
    s.charge();
    assert_eq!(s.cpu(Row::new(0)), SLICE_NS);
    sound(&s);
}

/// A hand-over within a task: what the one who stops has just used is missing to the other.
#[test]
fn who_stops_is_charged_before_the_next_one_is_looked_at() {
    for (passed, goes) in [(SLICE_NS, false), (SLICE_NS - 1, true)] {
        let (mut s, [server, ..]) = trio();
        let second = thread(&mut s, 0);
        s.cache_notification(server, NOTE, Rights::SIGNAL).unwrap();
        s.set_priority(server, 3);
        wait(&mut s, second, NOTE, 1).unwrap();
        run(&mut s, server);
        let f = frame(&mut s, server);
        (f.rdi, f.rsi) = (NOTE.to_u64(), 1);
        s.now += passed;
        assert_eq!(host::signal(&mut s, By::Assembly), goes, "after {passed}");
        sound(&s);
    }
}

#[test]
fn a_way_to_a_notification_ends_where_it_does() {
    let (mut s, [_, client, _], handle) = with_notification();
    s.cache_notification(client, handle, Rights::SIGNAL).unwrap();
    kill(&mut s, 0);
    super::reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    recv(&mut s, server, OWN, 1).unwrap();
    assert!(signals(&mut s, client, handle, 1), "a task's own notification outlives it, and the handle is good");
    assert_eq!((s.current(), frame(&mut s, server).r12), (Some(server), 1));
    // A notification of one's own, bound to another endpoint than before.
    let (mut s, [server, ..]) = trio();
    let [a, b] = [0, 1].map(|_| s.endpoint_create(server).unwrap().number());
    let n = s.notification_create(server).unwrap().number();
    s.cache_notification(server, n, Rights::SIGNAL).unwrap();
    s.cache_notification(server, n, Rights::WAIT).unwrap();
    s.endpoint_bind(server, a, n).unwrap();
    assert!(signals(&mut s, server, n, 1), "it is bound now, and nobody waits");
    assert!(!polls(&mut s, server, n, 1) && polls(&mut s, server, n, 2), "one of the bits is set");
    recv(&mut s, server, a, 1).unwrap();
    assert_eq!(frame(&mut s, server).r12, 1);
    s.handle_close(server, a).unwrap();
    assert!(!signals(&mut s, server, n, 1), "a handle was closed");
    s.endpoint_bind(server, b, n).unwrap();
    s.cache_notification(server, n, Rights::SIGNAL).unwrap();
    s.handle_close(server, n).unwrap();
    assert!(!signals(&mut s, server, n, 1), "it is gone");
    // Another task's, which ends with its maker, and others are made in its slot.
    let n = s.notification_create(server).unwrap().number();
    let object = s.handle(server, n).unwrap().object;
    let theirs = s.handle_insert(Row::new(1), Handle::new(object, Rights::SIGNAL | Rights::WAIT)).unwrap().number();
    let Object::Notification(id) = object else { unreachable!() };
    s.cache_notification(client, theirs, Rights::SIGNAL).unwrap();
    s.cache_notification(client, theirs, Rights::WAIT).unwrap();
    run(&mut s, client);
    assert!(polls(&mut s, client, theirs, 1) && signals(&mut s, client, theirs, 2), "nothing is in the way");
    s.notification_destroy(id);
    for uses in [0, 1 << 32] {
        s.notifications.age((id.name() >> 16) + uses + 1 - u64::from(uses != 0) * 2);
        let next = s.notifications.insert(Notification::new(Row::new(0), true)).unwrap();
        assert_eq!(next.index(), id.index());
        assert!(!polls(&mut s, client, theirs, 1), "another is in its place, {uses:#x} generations later");
        assert!(!signals(&mut s, client, theirs, 2), "another is in its place, {uses:#x} generations later");
        s.notifications.remove(next).unwrap();
    }
}

#[test]
fn while_the_dead_are_released_the_general_path_looks() {
    let (mut s, [server, client, _]) = trio();
    let n = s.notification_create(server).unwrap().number();
    let object = s.handle(server, n).unwrap().object;
    let theirs = s.handle_insert(Row::new(1), Handle::new(object, Rights::SIGNAL | Rights::WAIT)).unwrap().number();
    for right in [Rights::SIGNAL, Rights::WAIT] {
        s.cache_notification(client, theirs, right).unwrap();
    }
    assert!(signals(&mut s, client, theirs, 1) && polls(&mut s, client, theirs, 2), "nothing is in the way of these");
    s.blame(Row::new(0), None, DeathKind::Killed);
    s.die(Row::new(0));
    assert!(!signals(&mut s, client, theirs, 1) && !polls(&mut s, client, theirs, 2), "who made it is dead");
    assert_eq!(s.signal_by(client, theirs, 1), Err(Status::BadHandle));
    assert_eq!(s.poll_running(theirs, 2), Err(Status::BadHandle));
    s.cache_notification(client, NOTE, Rights::WAIT).unwrap();
    assert!(!polls(&mut s, client, NOTE, 1), "the dead are not released");
    super::reap(&mut s, 0);
    assert!(polls(&mut s, client, NOTE, 1), "they are");
    sound(&s);
    // The interrupt of a line, for which the driver waits, and for which it does not.
    for waits in [true, false] {
        let (mut s, [server, client, _]) = driver();
        if !waits {
            s.signal_task(Row::new(0), 1);
            run(&mut s, client);
            assert_eq!(state(&s, server), State::Ready);
        }
        s.blame(Row::new(2), None, DeathKind::Killed);
        s.die(Row::new(2));
        assert!(!fires(&mut s, Line::new(4)), "the dead are not released, waits: {waits}");
        super::reap(&mut s, 2);
        assert!(fires(&mut s, Line::new(4)), "they are, waits: {waits}");
    }
}

/// A row's slice is used up, as if one of its threads had run for so long.
pub fn use_up(s: &mut System, row: Row) {
    s.charge();
    let account = &mut s.sched.accounts[row.index()];
    account.charge(false, SLICE_NS);
    let of_all = SLICE_NS;
    s.now += of_all;
    s.sched.charged_to += of_all;
}
