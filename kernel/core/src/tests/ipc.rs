//! Calls, sent messages, replies: each outcome and each error.

use super::*;
use crate::thread::ThreadIndex;
use abi::TaskId;
use abi::message::Sender;

const WORDS: [u64; 4] = [11, 22, 33, 44];

/// The client calls, the server receives: its token.
fn received(s: &mut System, server: ThreadIndex, client: ThreadIndex, words: [u64; 4]) -> u64 {
    call(s, client, PEER, Message::words(words)).unwrap();
    recv(s, server, OWN, 0).unwrap();
    frame(s, server).r8
}

#[test]
fn a_call_waits_for_a_receiver_and_then_for_the_reply() {
    let (mut s, [server, client, _]) = trio();
    call(&mut s, client, PEER, Message::words(WORDS)).unwrap();
    let endpoint = s.tasks[Row::new(0)].endpoint.unwrap();
    assert_eq!(state(&s, client), State::Sending(endpoint.index()));
    recv(&mut s, server, OWN, 0).unwrap();
    let f = *frame(&mut s, server);
    assert_eq!((f.words(), f.rsi, f.r10), (WORDS, 7, 0));
    assert_eq!(Sender::from_u64(f.rdi), Sender { task: TaskId { index: 1, generation: 1 }, badge: 0 });
    assert_eq!(state(&s, client), State::Replying(Row::new(0)));
    let answer = Message { label: 3, words: [1, 2, 3, 4], ..Default::default() };
    reply(&mut s, server, f.r8, answer).unwrap();
    assert_eq!((woken(&s, client), frame(&mut s, client).words()), (Some(Status::Ok), [1, 2, 3, 4]));
    assert_eq!(frame(&mut s, client).rsi, 3);
    sound(&s);
}

#[test]
fn a_call_finds_the_receiver_that_waits_longest() {
    let (mut s, [server, client, other]) = trio();
    let second = thread(&mut s, 0);
    recv(&mut s, server, OWN, 0).unwrap();
    recv(&mut s, second, OWN, 0).unwrap();
    call(&mut s, client, PEER, Message::words(WORDS)).unwrap();
    call(&mut s, other, PEER, Message::words([5; 4])).unwrap();
    assert_eq!((frame(&mut s, server).words(), frame(&mut s, second).words()), (WORDS, [5; 4]));
    assert_eq!((state(&s, client), state(&s, other)), (State::Replying(Row::new(0)), State::Replying(Row::new(0))));
    assert_eq!(s.threads.at(server).unwrap().last_received, [7, TaskId { index: 1, generation: 1 }.to_u32()]);
    assert_eq!(s.threads.at(client).unwrap().last_sent, [7, PEER.to_u32()]);
    sound(&s);
}

#[test]
fn callers_are_received_in_their_order_and_answered_in_any() {
    let (mut s, [server, client, other]) = trio();
    call(&mut s, other, PEER, Message::words([1; 4])).unwrap();
    call(&mut s, client, PEER, Message::words([2; 4])).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let first = frame(&mut s, server).r8;
    assert_eq!(frame(&mut s, server).words(), [1; 4]);
    recv(&mut s, server, OWN, 0).unwrap();
    let second = frame(&mut s, server).r8;
    reply(&mut s, server, second, Message::words([20; 4])).unwrap();
    assert_eq!((woken(&s, client), woken(&s, other)), (Some(Status::Ok), None));
    reply(&mut s, server, first, Message::words([10; 4])).unwrap();
    assert_eq!((frame(&mut s, client).words(), frame(&mut s, other).words()), ([20; 4], [10; 4]));
    sound(&s);
}

#[test]
fn a_call_fails_as_documented() {
    let (mut s, [server, client, other]) = trio();
    let m = Message::words(WORDS);
    assert_eq!(call(&mut s, client, HandleNumber::from_register(99), m), Err(Status::BadHandle));
    assert_eq!(call(&mut s, client, NOTE, m), Err(Status::WrongKind));
    let object = s.handle(client, PEER).unwrap().object;
    let mute = s.handle_insert(Row::new(1), Handle::new(object, Rights::GRANT)).unwrap().number();
    assert_eq!(call(&mut s, client, mute, m), Err(Status::NoRights));
    let upwards = Handle::new(s.handle(other, HandleNumber::from_register(3)).unwrap().object, Rights::CALL);
    let upwards = s.handle_insert(Row::new(0), upwards).unwrap().number();
    assert_eq!(call(&mut s, server, upwards, m), Err(Status::CallOrder), "to a less important task");
    for header in [Header::NOTIFICATION, Header::HANDLE_LOST, Header::HANDLE_REFUSED, 1 << 26, 1 << 27, 1 << 63] {
        run(&mut s, client);
        frame(&mut s, client).rdi = PEER.to_u64();
        frame(&mut s, client).rsi = header;
        assert_eq!(s.call(client, &[]), Err(Status::BadArgument), "{header:#x}");
        assert_eq!(s.send(client), Err(Status::BadArgument), "{header:#x}");
        assert_eq!(s.reply(client, ReplyToken(0)), Err(Status::BadArgument), "{header:#x}");
    }
    assert_eq!(
        call(&mut s, client, PEER, m.giving(HandleNumber::from_register(99), Rights::all())),
        Err(Status::BadHandle)
    );
    assert_eq!(call(&mut s, client, PEER, m.giving(mute, Rights::all())), Ok(()));
    sound(&s);
}

#[test]
fn a_call_within_a_task_is_allowed_and_to_an_equal_one_is_not() {
    let mut s = system(&[record("a", 3, &[]), record("b", 3, &[0])]);
    let [a, b] = [0, 1].map(|row| spawn(&mut s, row));
    assert_eq!(call(&mut s, b, PEER, Message::default()), Err(Status::CallOrder));
    let helper = thread(&mut s, 0);
    assert_eq!(call(&mut s, helper, OWN, Message::words(WORDS)), Ok(()));
    recv(&mut s, a, OWN, 0).unwrap();
    let token = frame(&mut s, a).r8;
    assert_eq!(reply(&mut s, a, token, Message::words([9; 4])), Ok(()));
    assert_eq!(frame(&mut s, helper).words(), [9; 4]);
    sound(&s);
}

#[test]
fn a_call_to_the_dead_waits_for_the_next_life_or_is_refused() {
    let (mut s, [_, client, other]) = trio();
    kill(&mut s, 0);
    assert_eq!(call(&mut s, client, PEER, Message::words(WORDS)), Ok(()));
    assert_eq!(send(&mut s, other, PEER, Message::default()), Err(Status::WouldBlock));
    reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(frame(&mut s, server).words(), WORDS, "the next life answers");
    kill(&mut s, 0);
    s.expect(Row::new(0), false).unwrap();
    assert_eq!(call(&mut s, other, PEER, Message::default()), Err(Status::PeerGone));
    assert_eq!(send(&mut s, other, PEER, Message::default()), Err(Status::PeerGone));
    sound(&s);
}

#[test]
fn a_sent_message_arrives_only_where_somebody_waits() {
    let (mut s, [server, client, _]) = trio();
    assert_eq!(send(&mut s, client, PEER, Message::words(WORDS)), Err(Status::WouldBlock));
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(send(&mut s, client, PEER, Message::words(WORDS)), Ok(()));
    let f = *frame(&mut s, server);
    assert_eq!((woken(&s, server), f.words(), f.r8), (Some(Status::Ok), WORDS, 0));
    assert_eq!(state(&s, client), State::Running);
    assert_eq!(reply(&mut s, server, f.r8, Message::default()), Err(Status::StaleReply));
    assert_eq!(send(&mut s, client, HandleNumber::from_register(99), Message::default()), Err(Status::BadHandle));
    assert_eq!(send(&mut s, client, NOTE, Message::default()), Err(Status::WrongKind));
    let object = s.handle(client, PEER).unwrap().object;
    let mute = s.handle_insert(Row::new(1), Handle::new(object, Rights::GRANT)).unwrap().number();
    assert_eq!(send(&mut s, client, mute, Message::default()), Err(Status::NoRights));
    frame(&mut s, client).rdi = PEER.to_u64();
    frame(&mut s, client).rsi = Header::new(1).with_leases(1).0;
    assert_eq!(s.send(client), Err(Status::BadArgument), "a sent message lends nothing");
    sound(&s);
}

#[test]
fn receiving_fails_as_documented() {
    let (mut s, [_, client, _]) = trio();
    assert_eq!(recv(&mut s, client, HandleNumber::from_register(99), 0), Err(Status::BadHandle));
    assert_eq!(recv(&mut s, client, NOTE, 0), Err(Status::WrongKind));
    assert_eq!(recv(&mut s, client, PEER, 0), Err(Status::NoRights));
    sound(&s);
}

#[test]
fn a_notification_goes_before_messages() {
    let (mut s, [server, client, _]) = trio();
    call(&mut s, client, PEER, Message::words(WORDS)).unwrap();
    s.signal(note(&s, 0), 0b11);
    recv(&mut s, server, OWN, 0b01).unwrap();
    let f = *frame(&mut s, server);
    assert_eq!((f.rax, f.rdi, f.rsi, f.r12, f.r8), (0, 0, Header::NOTIFICATION, 1, 0));
    recv(&mut s, server, OWN, 0b01).unwrap();
    assert_eq!(frame(&mut s, server).words(), WORDS, "the other bit was not asked for");
    sound(&s);
}

#[test]
fn a_badge_tells_the_client() {
    let (mut s, [server, client, _]) = trio();
    let badged = s.handle_dup(client, PEER, u64::MAX, 0xdead_beef).unwrap().number();
    call(&mut s, client, badged, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(Sender::from_u64(frame(&mut s, server).rdi).badge, 0xdead_beef);
}

#[test]
fn a_reply_is_good_once_and_only_for_whom_it_was_meant() {
    let (mut s, [server, client, other]) = trio();
    let token = received(&mut s, server, client, WORDS);
    for wrong in [0, token + (1 << 16), token ^ 1, token | 0xffff, u64::MAX] {
        assert_eq!(reply(&mut s, server, wrong, Message::default()), Err(Status::StaleReply), "{wrong:#x}");
    }
    assert_eq!(reply(&mut s, other, token, Message::default()), Err(Status::StaleReply), "another task's token");
    let bad = Message::default().giving(HandleNumber::from_register(99), Rights::all());
    assert_eq!(reply(&mut s, server, token, bad), Err(Status::BadHandle));
    assert_eq!(state(&s, client), State::Replying(Row::new(0)));
    assert_eq!(reply(&mut s, server, token, Message::words(WORDS)), Ok(()));
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply));
    sound(&s);
}

#[test]
fn a_late_reply_does_not_reach_the_next_thread_in_the_callers_slot() {
    let (mut s, [server, client, _]) = trio();
    let late = received(&mut s, server, client, [1; 4]);
    kill(&mut s, 1);
    reap(&mut s, 1);
    let next = spawn(&mut s, 1);
    assert_eq!(next, client, "the slot is used again");
    let token = received(&mut s, server, next, [2; 4]);
    assert_ne!(late, token);
    assert_eq!(reply(&mut s, server, late, Message::words([66; 4])), Err(Status::StaleReply));
    assert_eq!(state(&s, next), State::Replying(Row::new(0)));
    sound(&s);
}

#[test]
fn a_reply_to_the_dead_is_stale() {
    let (mut s, [server, client, _]) = trio();
    let token = received(&mut s, server, client, WORDS);
    kill(&mut s, 1);
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply));
    sound(&s);
}

#[test]
fn a_reply_of_a_later_life_is_stale() {
    let (mut s, [server, client, _]) = trio();
    let token = received(&mut s, server, client, WORDS);
    kill(&mut s, 0);
    assert_eq!(woken(&s, client), Some(Status::PeerDied));
    reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply));
    let next = received(&mut s, server, client, WORDS);
    assert_eq!(reply(&mut s, server, token, Message::default()), Err(Status::StaleReply));
    assert_eq!(reply(&mut s, server, next, Message::default()), Ok(()));
    sound(&s);
}

#[test]
fn a_handle_travels_with_fewer_rights() {
    let (mut s, [server, client, _]) = trio();
    let n = s.notification_create(client).unwrap().number();
    call(&mut s, client, PEER, Message::default().giving(n, Rights::SIGNAL | Rights::RECV)).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let f = *frame(&mut s, server);
    assert!(Header(f.rsi).has_handle());
    let got = s.handle(server, HandleNumber::from_register(f.r10 & 0xffff_ffff)).unwrap();
    assert_eq!(f.r10 >> 32, u64::from(Rights::SIGNAL.bits()), "the receiver sees its rights");
    assert_eq!((got.object, got.rights), (s.handle(client, n).unwrap().object, Rights::SIGNAL));
    sound(&s);
    kill(&mut s, 1);
    assert_eq!(
        s.notification_handle(server, HandleNumber::from_register(f.r10 & 0xffff_ffff), Rights::SIGNAL),
        Err(Status::BadHandle),
        "it dies with its maker"
    );
    sound(&s);
}

#[test]
fn nobody_else_waits_on_a_tasks_own_notification() {
    let (mut s, [server, client, _]) = trio();
    let made = s.notification_create(client).unwrap().number();
    for (given, rights) in [(NOTE, Rights::SIGNAL), (made, Rights::SIGNAL | Rights::WAIT)] {
        call(&mut s, client, PEER, Message::default().giving(given, Rights::SIGNAL | Rights::WAIT)).unwrap();
        recv(&mut s, server, OWN, 0).unwrap();
        let f = *frame(&mut s, server);
        assert_eq!(s.handle(server, HandleNumber::from_register(f.r10 & 0xffff_ffff)).unwrap().rights, rights);
        reply(&mut s, server, f.r8, Message::default()).unwrap();
    }
    sound(&s);
}

#[test]
fn a_handle_for_which_there_is_no_room_is_lost_and_the_message_arrives() {
    let (mut s, [server, client, _]) = trio();
    while s.handle_dup(server, NOTE, u64::MAX, 0).is_ok() {}
    let n = s.notification_create(client).unwrap().number();
    call(&mut s, client, PEER, Message::words(WORDS).giving(n, Rights::all())).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let f = *frame(&mut s, server);
    assert_eq!((f.rsi & Header::HANDLE, f.rsi & Header::HANDLE_LOST, f.r10), (0, Header::HANDLE_LOST, 0));
    assert_eq!(f.words(), WORDS);
    let m = memory(&mut s, 0, 1);
    assert_eq!(m, Err(Status::QuotaHandles));
    sound(&s);
}

#[test]
fn memory_that_the_receiver_cannot_pay_for_is_lost() {
    let (mut s, [server, client, _]) = trio();
    memory(&mut s, 0, 12).unwrap();
    let m = memory(&mut s, 1, 3).unwrap();
    call(&mut s, client, PEER, Message::default().giving(m, Rights::all())).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(frame(&mut s, server).rsi & Header::HANDLE_LOST, Header::HANDLE_LOST);
    sound(&s);
}

#[test]
fn a_handle_closed_while_its_call_is_queued_is_lost() {
    let (mut s, [server, client, _]) = trio();
    let second = thread(&mut s, 1);
    let n = s.notification_create(client).unwrap().number();
    call(&mut s, client, PEER, Message::default().giving(n, Rights::all())).unwrap();
    s.handle_close(second, n).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(frame(&mut s, server).rsi & Header::HANDLE_LOST, Header::HANDLE_LOST);
    sound(&s);
}

/// `reply` with a handle of each kind to a caller that wants `wants`; returns how the call ended, and what that cost the caller.
fn answered_with(kind: Kind, wants: Option<Kind>) -> (TrapFrame, u16, u32) {
    let (mut s, [server, client, _]) = trio();
    let given = match kind {
        Kind::Endpoint => s.endpoint_create(server).unwrap().number(),
        Kind::Notification => s.notification_create(server).unwrap().number(),
        _ => memory(&mut s, 0, 3).unwrap(),
    };
    let before = (s.tasks[Row::new(1)].handles.live(), s.tasks[Row::new(1)].frames.used());
    call(&mut s, client, PEER, Message { wants, ..Message::default() }).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let f = *frame(&mut s, server);
    assert_eq!(Header(f.rsi).wants(), wants, "the server sees what is wanted");
    assert_eq!(reply(&mut s, server, f.r8, Message::words(WORDS).giving(given, Rights::all())), Ok(()));
    sound(&s);
    let cost = (s.tasks[Row::new(1)].handles.live() - before.0, s.tasks[Row::new(1)].frames.used() - before.1);
    (*frame(&mut s, client), cost.0, cost.1)
}

#[test]
fn d25_a_caller_gets_no_handle_but_of_the_kind_that_it_wants() {
    let kinds = [Kind::Endpoint, Kind::Notification, Kind::Memory];
    for kind in kinds {
        for wants in [None].into_iter().chain((1..8).map(Kind::from_u64)) {
            let (f, handles, frames) = answered_with(kind, wants);
            assert_eq!((f.rax, f.words(), Header(f.rsi).label()), (0, WORDS, 7), "the answer itself arrives");
            if wants == Some(kind) {
                assert_eq!((Header(f.rsi).handle(), handles), (Some(kind), 1));
                assert_ne!(f.r10 >> 32, 0);
            } else {
                assert_eq!(f.rsi, 7 | Header::HANDLE_REFUSED, "{kind:?} for {wants:?}");
                assert_eq!((f.r10, handles, frames), (0, 0, 0), "{kind:?} for {wants:?} costs the caller");
            }
        }
    }
}

#[test]
fn d25_a_server_gets_no_handle_but_of_the_kinds_that_it_takes() {
    let kinds = [Kind::Endpoint, Kind::Notification, Kind::Memory];
    for takes in 0..8 {
        let takes = Kinds::from_bits_truncate(takes << 1);
        for kind in kinds {
            let (mut s, [server, client, _]) = trio();
            s.endpoint_takes(server, OWN, takes.bits().into()).unwrap();
            let given = match kind {
                Kind::Endpoint => s.endpoint_create(client).unwrap().number(),
                Kind::Notification => s.notification_create(client).unwrap().number(),
                _ => memory(&mut s, 1, 3).unwrap(),
            };
            let (handles, frames) = (s.tasks[Row::new(0)].handles.live(), s.tasks[Row::new(0)].frames.used());
            let message = Message::words(WORDS).giving(given, Rights::all());
            let taken = takes.contains(Kinds::of(Some(kind)));
            let expected = if taken { Err(Status::WouldBlock) } else { Err(Status::HandleRefused) };
            assert_eq!(send(&mut s, client, PEER, message), expected, "{kind:?} of {takes:?}");
            let called = call(&mut s, client, PEER, message);
            assert_eq!(called, if taken { Ok(()) } else { Err(Status::HandleRefused) }, "{kind:?} of {takes:?}");
            if taken {
                recv(&mut s, server, OWN, 0).unwrap();
                assert_eq!(Header(frame(&mut s, server).rsi).handle(), Some(kind));
            } else {
                assert!(matches!(state(&s, client), State::Running), "a refused caller goes on");
                assert_eq!(
                    (s.tasks[Row::new(0)].handles.live(), s.tasks[Row::new(0)].frames.used()),
                    (handles, frames)
                );
            }
            sound(&s);
        }
    }
}

/// Nobody can know what a server takes that has never received: the call waits, and the server pays for nothing that it did not take then.
#[test]
fn d25_a_call_before_the_server_takes_anything_arrives_without_its_handle() {
    let (mut s, [server, client, _]) = trio();
    let endpoint = s.tasks[Row::new(0)].endpoint.unwrap();
    let e = s.endpoints.get_mut(endpoint).unwrap();
    (e.takes, e.served) = (Kinds::empty(), false);
    let n = s.notification_create(client).unwrap().number();
    call(&mut s, client, PEER, Message::words(WORDS).giving(n, Rights::all())).unwrap();
    let live = s.tasks[Row::new(0)].handles.live();
    recv(&mut s, server, OWN, 0).unwrap();
    let f = *frame(&mut s, server);
    assert_eq!((f.rsi, f.r10, f.words()), (7 | Header::HANDLE_REFUSED, 0, WORDS));
    assert_eq!(s.tasks[Row::new(0)].handles.live(), live);
    // From then on it is refused to the sender.
    reply(&mut s, server, f.r8, Message::default()).unwrap();
    let again = call(&mut s, client, PEER, Message::words(WORDS).giving(n, Rights::all()));
    assert_eq!(again, Err(Status::HandleRefused));
    sound(&s);
}

#[test]
fn d25_what_a_server_takes_stays_over_its_lives() {
    let (mut s, [server, client, _]) = trio();
    s.endpoint_takes(server, OWN, Kinds::NOTIFICATION.bits().into()).unwrap();
    kill(&mut s, 0);
    let n = s.notification_create(client).unwrap().number();
    let m = memory(&mut s, 1, 1).unwrap();
    let refused = call(&mut s, client, PEER, Message::default().giving(m, Rights::all()));
    assert_eq!(refused, Err(Status::HandleRefused));
    call(&mut s, client, PEER, Message::default().giving(n, Rights::all())).unwrap();
    reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    recv(&mut s, server, OWN, 0).unwrap();
    assert_eq!(Header(frame(&mut s, server).rsi).handle(), Some(Kind::Notification));
    sound(&s);
}

#[test]
fn a_header_that_names_another_kind_is_refused_before_anything_happens() {
    let (mut s, [server, client, _]) = trio();
    let n = s.notification_create(client).unwrap().number();
    for says in [1, 3, 4, 5, 6, 7] {
        let message = Message::default().giving(n, Rights::all()).saying(says);
        assert_eq!(call(&mut s, client, PEER, message), Err(Status::WrongKind), "{says}");
        assert_eq!(send(&mut s, client, PEER, message), Err(Status::WrongKind), "{says}");
    }
    call(&mut s, client, PEER, Message::default().wanting(Kind::Endpoint)).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    let (token, n) = (frame(&mut s, server).r8, s.notification_create(server).unwrap().number());
    let lie = Message::default().giving(n, Rights::all()).saying(Kind::Endpoint as u64);
    assert_eq!(reply(&mut s, server, token, lie), Err(Status::WrongKind));
    assert_eq!(woken(&s, client), None, "the caller still waits");
    // A reply has no answer that could bring anything, nor has a sent message.
    let wish = Message::default().wanting(Kind::Memory);
    assert_eq!(reply(&mut s, server, token, wish), Err(Status::BadArgument));
    assert_eq!(send(&mut s, server, OWN, wish), Err(Status::BadArgument));
    sound(&s);
}

#[test]
fn what_an_endpoint_takes_is_said_by_its_server_alone() {
    let (mut s, [server, client, _]) = trio();
    assert_eq!(s.endpoint_takes(client, PEER, 0), Err(Status::NoRights));
    assert_eq!(s.endpoint_takes(client, NOTE, 0), Err(Status::WrongKind));
    assert_eq!(s.endpoint_takes(client, HandleNumber::from_register(99), 0), Err(Status::BadHandle));
    for wrong in [1, 1 << 4, 1 << 7, 1 << 8, u64::MAX] {
        assert_eq!(s.endpoint_takes(server, OWN, wrong), Err(Status::BadArgument), "{wrong:#x}");
    }
    let e = s.endpoint_create(client).unwrap().number();
    let n = s.notification_create(client).unwrap().number();
    let gift = Message::default().giving(n, Rights::all());
    assert_eq!(call(&mut s, client, e, gift), Err(Status::HandleRefused), "one that is made takes nothing at first");
    assert_eq!(s.endpoint_takes(client, e, Kinds::NOTIFICATION.bits().into()), Ok(()));
    assert_eq!(call(&mut s, client, e, gift), Ok(()));
    sound(&s);
}
