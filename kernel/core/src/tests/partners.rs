//! The checks of the fast paths of calls and answers that are about the thread that is to run next.

use super::fast::{acquainted, try_answer, try_call};
use super::quick::use_up;
use super::{OWN, PEER, frame, recv, run, state, thread};
use crate::Row;
use crate::System;
use crate::thread::{State, ThreadIndex};
use abi::message::ReplyToken;

/// Changes the state.
pub type Change = fn(&mut System, [ThreadIndex; 3]);

/// What keeps the one that is to run next from running at once, in a call by `other` to `server` and in the answer.
fn obstacles(next: usize) -> [(Change, &'static str); 3] {
    match next {
        0 => [
            (|s, _| use_up(s, Row::new(0)), "its task's slice is used up"),
            (|s, [server, ..]| s.set_priority(server, 20), "somebody ready is more important"),
            (|s, [_, _, other]| s.threads.at_mut(other).unwrap().mask = 0, "nothing"),
        ],
        _ => [
            (|s, _| use_up(s, Row::new(2)), "its task's slice is used up"),
            (|s, [.., other]| s.set_priority(other, 20), "somebody ready is more important"),
            (|s, [_, _, other]| s.threads.at_mut(other).unwrap().mask = 0, "nothing"),
        ],
    }
}

/// As [`acquainted`], and the client is ready.
fn with_a_third() -> (System, [ThreadIndex; 3]) {
    let (mut s, threads @ [_, client, other]) = acquainted();
    run(&mut s, other);
    s.signal_task(Row::new(1), 1);
    assert_eq!(state(&s, client), State::Ready);
    s.set_priority(client, 10);
    (s, threads)
}

#[test]
fn a_call_goes_fast_only_to_one_who_may_run() {
    for (change, why) in obstacles(0) {
        let (mut s, threads @ [.., other]) = with_a_third();
        run(&mut s, other);
        change(&mut s, threads);
        assert_eq!(try_call(&mut s, other, PEER, 7), why == "nothing", "{why}");
    }
    let (mut s, [server, _, other]) = acquainted();
    let second = thread(&mut s, 0);
    recv(&mut s, second, OWN, 1).unwrap();
    assert!(!try_call(&mut s, other, PEER, 7), "two wait");
    s.signal_task(Row::new(0), 1);
    assert_eq!(state(&s, server), State::Ready);
    assert!(!try_call(&mut s, other, PEER, 7), "one waits, and another one of its level is ready");
    s.set_priority(server, 3);
    assert!(try_call(&mut s, other, PEER, 7), "one waits");
    let (mut s, [.., other]) = acquainted();
    s.signal_task(Row::new(0), 1);
    assert!(!try_call(&mut s, other, PEER, 7), "nobody waits");
    let (mut s, [.., other]) = acquainted();
    s.threads.at_mut(other).unwrap().token = ReplyToken(u64::MAX << 16 | u64::from(other.number()));
    assert!(!try_call(&mut s, other, PEER, 7), "the numbers begin again");
}

#[test]
fn an_answer_goes_fast_only_to_one_who_may_run() {
    for (change, why) in obstacles(1) {
        let (mut s, threads @ [server, _, other]) = with_a_third();
        assert!(try_call(&mut s, other, PEER, 7));
        let token = frame(&mut s, server).r8;
        change(&mut s, threads);
        assert_eq!(try_answer(&mut s, server, OWN, token, 0, 1), why == "nothing", "{why}");
    }
    let called = || {
        let (mut s, threads @ [server, _, other]) = with_a_third();
        assert!(try_call(&mut s, other, PEER, 7));
        let token = frame(&mut s, server).r8;
        (s, threads, token)
    };
    let (mut s, [server, ..], token) = called();
    s.signal_task(Row::new(0), 1);
    assert!(!try_answer(&mut s, server, OWN, token, 0, 1), "one of the bits is set");
    assert!(try_answer(&mut s, server, OWN, token, 0, 2), "another one is set");
    let (mut s, [server, client, _], token) = called();
    super::call(&mut s, client, PEER, super::Message::default()).unwrap();
    assert!(!try_answer(&mut s, server, OWN, token, 0, 1), "somebody is queued");
    let (mut s, [server, ..], token) = called();
    let second = thread(&mut s, 0);
    recv(&mut s, second, OWN, 1).unwrap();
    assert!(!try_answer(&mut s, server, OWN, token, 0, 1), "another one receives");
    let (mut s, [server, ..], token) = called();
    run(&mut s, server);
    let closed = s.handle_dup(server, OWN, u64::MAX, 0).unwrap().number();
    s.handle_close(server, closed).unwrap();
    assert!(!try_answer(&mut s, server, OWN, token, 0, 1), "it was cached before a handle was closed");
}
