//! Notifications: each outcome and each error.

use super::*;
use crate::addr::UserAddr;
use abi::message::{Kind, bits};

#[test]
fn bits_wait_until_they_are_taken() {
    let (mut s, [server, ..]) = trio();
    s.signal(note(&s, 0), 0b101);
    assert_eq!(s.poll(server, NOTE, 0b110), Ok(0b100));
    assert_eq!(s.poll(server, NOTE, 0b110), Ok(0));
    wait(&mut s, server, NOTE, 0b11).unwrap();
    assert_eq!((woken(&s, server), frame(&mut s, server).rdx), (Some(Status::Ok), 1));
    wait(&mut s, server, NOTE, 0b11).unwrap();
    assert_eq!(state(&s, server), State::Waiting(note(&s, 0).index()));
    s.signal(note(&s, 0), 0b100);
    assert_eq!(woken(&s, server), None, "not one of its bits");
    s.signal(note(&s, 0), 0b010);
    assert_eq!((woken(&s, server), frame(&mut s, server).rdx), (Some(Status::Ok), 0b10));
    assert_eq!(s.poll(server, NOTE, u64::MAX), Ok(0b100));
    sound(&s);
}

#[test]
fn waiting_and_polling_fail_as_documented() {
    let (mut s, [server, client, _]) = trio();
    let second = thread(&mut s, 0);
    assert_eq!(wait(&mut s, server, HandleNumber::from_register(99), 1), Err(Status::BadHandle));
    assert_eq!(wait(&mut s, server, OWN, 1), Err(Status::WrongKind));
    assert_eq!(wait(&mut s, server, NOTE, 0), Err(Status::BadArgument));
    let object = s.handle(server, NOTE).unwrap().object;
    let mute = s.handle_insert(Row::new(1), Handle::new(object, Rights::SIGNAL)).unwrap().number();
    assert_eq!(wait(&mut s, client, mute, 1), Err(Status::NoRights));
    assert_eq!(s.poll(client, mute, 1), Err(Status::NoRights));
    assert_eq!(s.poll(client, HandleNumber::from_register(99), 1), Err(Status::BadHandle));
    assert_eq!(s.poll(client, OWN, 1), Err(Status::WrongKind));
    wait(&mut s, server, NOTE, 1).unwrap();
    assert_eq!(wait(&mut s, second, NOTE, 2), Err(Status::Busy));
    sound(&s);
}

#[test]
fn one_signal_wakes_all_whose_bits_it_sets() {
    let (mut s, [server, ..]) = trio();
    let (second, third, fourth) = (thread(&mut s, 0), thread(&mut s, 0), thread(&mut s, 0));
    wait(&mut s, server, NOTE, 0b001).unwrap();
    recv(&mut s, second, OWN, 0b011).unwrap();
    recv(&mut s, third, OWN, 0b110).unwrap();
    recv(&mut s, fourth, OWN, 0b010).unwrap();
    s.signal(note(&s, 0), 0b111);
    assert_eq!(frame(&mut s, server).rdx, 0b001);
    assert_eq!([second, third].map(|t| frame(&mut s, t).r12), [0b010, 0b100]);
    assert_eq!([server, second, third, fourth].map(|t| woken(&s, t).is_some()), [true, true, true, false]);
    sound(&s);
}

#[test]
fn a_signal_for_another_receiver_passes_the_first() {
    let (mut s, [server, ..]) = trio();
    let second = thread(&mut s, 0);
    recv(&mut s, server, OWN, 0b01).unwrap();
    recv(&mut s, second, OWN, 0b10).unwrap();
    s.signal(note(&s, 0), 0b10);
    assert_eq!((woken(&s, server), woken(&s, second)), (None, Some(Status::Ok)));
    sound(&s);
}

#[test]
fn a_created_notification_is_charged_and_dies_with_its_last_handle() {
    let (mut s, [server, client, _]) = trio();
    let n = s.notification_create(server).unwrap().number();
    let second = thread(&mut s, 0);
    wait(&mut s, server, n, 1).unwrap();
    assert_eq!(s.tasks[Row::new(0)].objects.used(), 3);
    let copy = s.handle_dup(second, n, u64::MAX, 0).unwrap().number();
    s.handle_close(second, n).unwrap();
    assert_eq!(woken(&s, server), None);
    s.handle_close(second, copy).unwrap();
    assert_eq!(woken(&s, server), Some(Status::BadHandle));
    assert_eq!(s.tasks[Row::new(0)].objects.used(), 2);
    while s.notification_create(client).is_ok() {}
    assert_eq!(s.notification_create(client), Err(Status::QuotaHandles));
    assert_eq!(s.endpoint_create(client), Err(Status::QuotaHandles));
    sound(&s);
}

/// Bits that a task can give away, of its own notification: neither an interrupt's nor the kernel's.
const GIVEN: u64 = 1 << 40 | 1 << 41;

/// The server gives the client a handle of a notification, with `bits`; the number that the client has it by.
fn given(s: &mut System, number: HandleNumber, bits: u64) -> HandleNumber {
    let [server, client] = [0, 1].map(|row| s.tasks[Row::new(row)].first_thread.unwrap().index());
    let copy = s.handle_dup(server, number, u64::MAX, bits).unwrap().number();
    call(s, client, PEER, Message::default().wanting(Kind::Notification)).unwrap();
    recv(s, server, OWN, 0).unwrap();
    let token = frame(s, server).r8;
    reply(s, server, token, Message::default().giving(copy, Rights::all())).unwrap();
    s.handle_close(server, copy).unwrap();
    HandleNumber::from_register(frame(s, client).r10 & 0xffff_ffff)
}

#[test]
fn d25_by_a_handle_no_bits_are_set_but_those_it_was_given_with() {
    for own in [true, false] {
        let (mut s, [server, client, _]) = trio();
        let number = if own { NOTE } else { s.notification_create(server).unwrap().number() };
        let (id, _) = s.notification_handle(server, number, Rights::WAIT).unwrap();
        let handle = given(&mut s, number, GIVEN);
        let copies = [
            handle,
            s.handle_dup(client, handle, u64::MAX, 0).unwrap().number(),
            s.handle_dup(client, handle, u64::MAX, u64::MAX).unwrap().number(),
            s.handle_dup(client, handle, u64::MAX, 1 << 40 | 1 << 5).unwrap().number(),
        ];
        for (copy, may) in copies.into_iter().zip([GIVEN, GIVEN, GIVEN, 1 << 40]) {
            for set in (0..64).map(|bit| 1 << bit).chain([0, GIVEN, u64::MAX, GIVEN | 1]) {
                let allowed = if set & !may == 0 { Ok(()) } else { Err(Status::NoRights) };
                for by in [By::General, By::Direct, By::Assembly] {
                    let (_, found) = signal(&mut s, client, copy, set, by);
                    assert_eq!(found, allowed, "{set:#x} by a handle for {may:#x}, own: {own}, by {by:?}");
                    let word = &mut s.notifications.get_mut(id).unwrap().word;
                    assert_eq!(core::mem::take(word), if allowed.is_ok() { set } else { 0 }, "all of them or none");
                }
            }
            for bit in 0..60 {
                let timer = s.timer_create(client, copy, bit);
                assert_eq!(timer.is_ok(), may & 1 << bit != 0, "a timer for bit {bit} by a handle for {may:#x}");
                if let Ok(timer) = timer {
                    s.handle_close(client, timer.number()).unwrap();
                } else {
                    assert_eq!(timer, Err(Status::NoRights));
                }
            }
        }
        sound(&s);
    }
}

/// Whatever a task gives away of its own notification without a word about bits: those of interrupts and of the kernel are not among them.
#[test]
fn d25_the_bits_of_interrupts_and_of_the_kernel_are_given_to_nobody() {
    let (mut s, [server, client, _]) = trio();
    for set in (0..64).map(|bit| 1 << bit) {
        assert_eq!(
            signal(&mut s, server, NOTE, set, By::General).1,
            Ok(()),
            "the task itself may set them all: {set:#x}"
        );
    }
    s.poll(server, NOTE, u64::MAX).unwrap();
    for bits in [0, u64::MAX] {
        let handle = given(&mut s, NOTE, bits);
        for set in (0..64).map(|bit| 1 << bit) {
            let allowed = if set & bits::FREE_MASK != 0 { Ok(()) } else { Err(Status::NoRights) };
            assert_eq!(signal(&mut s, client, handle, set, By::General).1, allowed, "{set:#x}");
        }
        s.handle_close(client, handle).unwrap();
    }
    // Of one that the task has made all bits are the task's own to give.
    let made = s.notification_create(server).unwrap().number();
    let handle = given(&mut s, made, 0);
    assert_eq!(signal(&mut s, client, handle, u64::MAX, By::General).1, Ok(()));
    sound(&s);
}

#[test]
fn objects_are_bounded() {
    let mut small = record("small", 3, &[]);
    small.object_quota = 2;
    let mut s = system(&[small]);
    let t = spawn(&mut s, 0);
    assert!(s.endpoint_create(t).is_ok());
    assert_eq!(s.endpoint_create(t), Err(Status::QuotaObjects));
    assert_eq!(s.notification_create(t), Err(Status::QuotaObjects));
    assert_eq!(s.timer_create(t, NOTE, 0), Err(Status::QuotaObjects));
    assert_eq!(s.thread_start(Row::new(0), TrapFrame::default(), 3), Err(Status::QuotaObjects));
    let m = memory(&mut s, 0, 1).unwrap();
    assert_eq!(s.memory_map(Row::new(0), m, UserAddr::ANY, false).map(|_| ()), Err(Status::QuotaObjects));
    sound(&s);
}

#[test]
fn binding_joins_a_notification_to_an_endpoint() {
    let (mut s, [server, ..]) = trio();
    let e = s.endpoint_create(server).unwrap().number();
    let [a, b] = [0, 1].map(|_| s.notification_create(server).unwrap().number());
    let (id, _) = s.notification_handle(server, a, Rights::WAIT).unwrap();
    s.endpoint_bind(server, e, a).unwrap();
    s.signal(id, 4);
    recv(&mut s, server, e, 4).unwrap();
    assert_eq!(frame(&mut s, server).r12, 4);
    assert_eq!(s.endpoint_bind(server, e, a), Err(Status::Busy), "bound already");
    s.endpoint_bind(server, e, b).unwrap();
    s.signal(id, 4);
    recv(&mut s, server, e, 4).unwrap();
    assert_eq!(woken(&s, server), None, "the first is bound no longer");
    sound(&s);
}

#[test]
fn binding_fails_as_documented() {
    let (mut s, [server, client, _]) = trio();
    let second = thread(&mut s, 0);
    let e = s.endpoint_create(server).unwrap().number();
    let n = s.notification_create(server).unwrap().number();
    assert_eq!(s.endpoint_bind(server, HandleNumber::from_register(99), n), Err(Status::BadHandle));
    assert_eq!(s.endpoint_bind(server, n, n), Err(Status::WrongKind));
    assert_eq!(s.endpoint_bind(server, e, e), Err(Status::WrongKind));
    assert_eq!(s.endpoint_bind(server, e, NOTE), Err(Status::Busy), "a permanent notification");
    assert_eq!(s.endpoint_bind(server, OWN, n), Err(Status::Busy), "a permanent endpoint");
    assert_eq!(s.endpoint_bind(client, PEER, NOTE), Err(Status::NoRights), "no right to receive");
    let theirs = s.notification_create(client).unwrap().number();
    let object = s.handle(client, theirs).unwrap().object;
    let lent = s.handle_insert(Row::new(0), Handle::new(object, Rights::WAIT)).unwrap().number();
    assert_eq!(s.endpoint_bind(server, e, lent), Err(Status::NoRights), "another task's notification");
    wait(&mut s, server, n, 1).unwrap();
    assert_eq!(s.endpoint_bind(second, e, n), Err(Status::Busy), "somebody waits on it");
    let m = s.notification_create(second).unwrap().number();
    recv(&mut s, second, e, 0).unwrap();
    let third = thread(&mut s, 0);
    assert_eq!(s.endpoint_bind(third, e, m), Err(Status::Busy), "somebody receives");
    sound(&s);
}

#[test]
fn taking_the_heartbeat_is_the_answer() {
    let (mut s, [server, ..]) = trio();
    s.now = 100;
    s.signal_task(Row::new(0), bits::HEARTBEAT);
    s.now = 300;
    s.signal_task(Row::new(0), bits::HEARTBEAT);
    assert_eq!(s.task_status(Row::new(0)).unwrap().heartbeat_ns, 200, "the first one counts");
    assert_eq!(s.poll(server, NOTE, 1), Ok(0));
    assert_eq!(s.tasks[Row::new(0)].heartbeat, Some(100), "other bits are no sign of life");
    assert_eq!(s.poll(server, NOTE, bits::HEARTBEAT), Ok(bits::HEARTBEAT));
    assert_eq!((s.tasks[Row::new(0)].heartbeat, s.task_status(Row::new(0)).unwrap().heartbeat_ns), (None, 0));
    recv(&mut s, server, OWN, u64::MAX).unwrap();
    s.signal_task(Row::new(0), bits::HEARTBEAT);
    assert_eq!((woken(&s, server), s.tasks[Row::new(0)].heartbeat), (Some(Status::Ok), None), "taken at once by recv");
    wait(&mut s, server, NOTE, bits::HEARTBEAT).unwrap();
    s.signal_task(Row::new(0), bits::HEARTBEAT);
    assert_eq!((woken(&s, server), s.tasks[Row::new(0)].heartbeat), (Some(Status::Ok), None), "taken at once by wait");
    s.signal_task(Row::new(99), 1);
    sound(&s);
}
