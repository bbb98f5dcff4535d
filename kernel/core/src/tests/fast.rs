//! The assembly, its twin and the general path, side by side: in many states of a small system, the same call leads to the same state.

use super::world::{FAST, Mode, Op, World, table};
use super::{
    By, Message, NOTE, OWN, PEER, Random, altered, call, frame, host, kill, reap, recv, reply, run, spawn, state, trio,
};
use crate::Row;
use crate::System;
use crate::endpoint::Endpoint;
use crate::handles::{Handle, Object};
use crate::number::HandleNumber;
use crate::queue::Queue;
use crate::thread::{State, ThreadIndex};
use abi::Status;
use abi::message::{Header, Lease, ReplyToken, Rights};
use std::fmt::Write;

/// All of the state that a call or a reply can change, but for what only tells, or what only a queued call uses.
pub fn everything(s: &System) -> String {
    let mut text = format!("{:?} {} {}\n", s.sched, s.counters.idle, s.calls);
    for (id, t) in s.threads.iter() {
        let sender = if matches!(t.state, State::Sending(_)) { t.sender } else { 0 };
        // What is lent means nothing before the call is made.
        let calls = matches!(t.state, State::Sending(_) | State::Replying(_));
        let lent = t.leases.get(..Header(t.frame.rsi).leases()).filter(|_| calls).unwrap_or_default();
        writeln!(text, "{id:?} {:?} {:?} {sender:#x} {lent:?} {:?}", t.frame, t.state, t.token).unwrap();
        writeln!(text, "{:?} {} {:?} {:#x}", t.budget, t.effective, t.link, t.mask).unwrap();
        writeln!(text, "{:?} {:?} {:?} {:?}", t.last_received, t.last_sent, t.calls, t.receives).unwrap();
        writeln!(text, "{:?} {:?} {} {:?}", t.signals, t.polls, t.extras, t.step).unwrap();
    }
    s.endpoints.iter().for_each(|e| writeln!(text, "{e:?}").unwrap());
    s.notifications.iter().for_each(|n| writeln!(text, "{n:?}").unwrap());
    for task in s.tasks.iter() {
        let handles: Vec<_> = task.handles.numbered().collect();
        writeln!(text, "{:?} {:?} {handles:?}", task.state, task.heartbeat).unwrap();
    }
    text
}

/// Some time passes before every step; often enough for a budget to end, or a period. An interrupt of the timer that is due then comes after the
/// step.
fn pass_time(world: &mut World, at: usize) {
    let s = &mut world.s;
    s.now += [1_000, 400_000, 0, 6_000_000, 1_000, 30_000, 60_000_000][at % 7];
    s.sched.deadline.at = s.sched.deadline.at.max(s.now + 1);
}

fn go(world: &mut World, at: usize, op: Op) {
    pass_time(world, at);
    world.advance(op).unwrap_or_else(|e| panic!("{e} at step {at}"));
}

/// Goes the path. Returns the state afterwards; what was done directly, and how often another thread has been handed the core.
fn after(mode: Mode, path: &[Op], by: By) -> (String, ([u64; FAST], u64)) {
    let mut world = World::new(table(), mode);
    world.by = by;
    for (at, &op) in path.iter().enumerate() {
        go(&mut world, at, op);
    }
    // A path that refuses has charged whoever runs.
    world.s.charge();
    (everything(&world.s), (world.went_fast, world.s.counters.switches))
}

#[test]
fn all_ways_do_the_same() {
    let walks = if cfg!(debug_assertions) { 150 } else { 1_500 };
    let mut went = [0; FAST];
    for seed in 1..=walks {
        for mode in [Mode::Scheduled, Mode::Rich] {
            let mut random = Random(seed * 0x9e37_79b9);
            let mut world = World::new(table(), mode);
            let mut path = Vec::new();
            for at in 0..40 {
                // Whatever has a fast path and can happen now is tried in both ways, after both ways to come here; of what is no message
                // one thing.
                let ops = world.ops();
                let message = |op: &Op| matches!(op, Op::Call { give: None, .. } | Op::ReplyRecv { .. });
                let other =
                    |op: &Op| matches!(op, Op::Signal { .. } | Op::Poll { .. } | Op::Yield { .. } | Op::Interrupt(_));
                let others: Vec<Op> = ops.iter().copied().filter(other).collect();
                for op in ops.into_iter().filter(message).chain(others.get(random.below(others.len().max(1))).copied())
                {
                    path.push(op);
                    let (wanted, _) = after(mode, &path, By::General);
                    let ways = [By::Direct, By::Assembly].map(|by| after(mode, &path, by));
                    for (found, _) in &ways {
                        let differ = found.lines().zip(wanted.lines()).find(|(a, b)| a != b);
                        assert!(*found == wanted, "{differ:#?}\nafter {path:?}");
                    }
                    let [(_, direct), (_, assembly)] = ways;
                    assert_eq!(
                        assembly, direct,
                        "the assembly refuses what its twin does, or does what that refuses: {path:?}"
                    );
                    went.iter_mut().zip(direct.0).for_each(|(went, direct)| *went += direct);
                    path.pop();
                }
                let op = world.pick(&mut random);
                go(&mut world, at, op);
                path.push(op);
            }
        }
    }
    println!(
        "calls, queued calls, replies, replies with others queued, signals, turns, interrupts and polls: {went:?}"
    );
    assert!(went.iter().all(|&went| went > walks / 10), "{went:?}");
}

/// The server waits, and client and other have been answered once: each has its lookup cached.
pub fn acquainted() -> (System, [ThreadIndex; 3]) {
    let (mut s, threads) = trio();
    let [server, client, other] = threads;
    recv(&mut s, client, OWN, 1).unwrap();
    recv(&mut s, server, OWN, 1).unwrap();
    call(&mut s, other, PEER, Message::default()).unwrap();
    let token = frame(&mut s, server).r8;
    reply(&mut s, server, token, Message::default()).unwrap();
    recv(&mut s, server, OWN, 1).unwrap();
    (s, threads)
}

/// Tries a call by the fast path.
pub fn try_call(s: &mut System, thread: ThreadIndex, number: HandleNumber, header: u64) -> bool {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi) = (number.to_u64(), header);
    tried(s, By::Assembly, host::call)
}

/// Tries an answer by the fast path.
pub fn try_answer(
    s: &mut System,
    thread: ThreadIndex,
    number: HandleNumber,
    token: u64,
    header: u64,
    mask: u64,
) -> bool {
    run(s, thread);
    let f = frame(s, thread);
    (f.rdi, f.rsi, f.r8, f.r9) = (number.to_u64(), header, token, mask);
    tried(s, By::Assembly, host::reply_recv)
}

/// Whether the twin would do it is seen by having the assembly refuse or do it, and the twin where that has refused.
fn tried(s: &mut System, by: By, path: fn(&mut System, By) -> bool) -> bool {
    s.charge();
    let before = everything(s);
    let done = path(s, by);
    if !done {
        assert!(before == everything(s), "refused, but more than the account changed");
        assert!(!path(s, By::Direct), "the twin does what the assembly refuses");
        assert!(before == everything(s), "refused, but more than the account changed");
    }
    done
}

#[test]
fn a_call_goes_fast_only_by_the_handle_it_went_by() {
    let (mut s, [server, client, other]) = acquainted();
    run(&mut s, other);
    let object = |s: &System, n| s.handle(other, n).unwrap().object;
    let mute = Handle::new(object(&s, PEER), Rights::GRANT | Rights::RECV);
    let mute = s.handle_insert(Row::new(2), mute).unwrap().number();
    let badged = Handle { badge: 5, ..Handle::new(object(&s, PEER), Rights::CALL) };
    let badged = s.handle_insert(Row::new(2), badged).unwrap().number();
    for (number, header, why) in [
        (mute, 7, "no right to call"),
        (badged, 7, "another badge"),
        (NOTE, 7, "no endpoint"),
        (HandleNumber::from_register(99), 7, "no handle"),
        (altered(PEER, 1 << 16), 7, "an old handle's number"),
        (altered(PEER, 1 << 32), 7, "no handle's number"),
        (PEER, 7 | 5 << 16, "too many leases"),
        (PEER, 7 | 1 << 20, "a handle on its way"),
        (PEER, 7 | 1 << 63, "a forged header"),
    ] {
        // Where so many leases are, they could be read.
        static TABLE: [Lease; 16] = [Lease { addr: 0, len: 0, access: 0 }; 16];
        frame(&mut s, other).r8 = TABLE.as_ptr() as u64;
        assert!(!try_call(&mut s, other, number, header), "{why}");
    }
    frame(&mut s, other).r8 = 0;
    assert!(!try_call(&mut s, other, PEER, 7 | 1 << 16), "leases that cannot be read");
    assert!(try_call(&mut s, other, PEER, 7), "nothing is in the way of this one");
    assert_eq!(
        (frame(&mut s, server).rdi, frame(&mut s, server).rsi),
        (s.tasks[Row::new(2)].id(Row::new(2)).to_u32().into(), 7)
    );
    assert!(!try_call(&mut s, server, HandleNumber::from_register(3), 7), "nothing is cached");
    assert_eq!(state(&s, client), State::Receiving(s.tasks[Row::new(1)].endpoint.unwrap().index()));
    super::sound(&s);
}

#[test]
fn what_is_lent_goes_along() {
    static LENT: [Lease; 2] =
        [Lease { addr: 0x1000, len: 100, access: Lease::READ }, Lease { addr: 0x2000, len: 50, access: Lease::WRITE }];
    let (mut s, [server, _, other]) = acquainted();
    assert!(!try_call(&mut s, other, PEER, 7 | 2 << 16), "that is no mere label");
    s.threads.at_mut(other).unwrap().leases[..2].copy_from_slice(&LENT);
    assert!(super::armed(&mut s, System::direct_call_lending));
    assert_eq!(s.threads.at(other).unwrap().leases[..2], LENT);
    assert_eq!(s.threads.at(other).unwrap().last_sent[0], 7);
    let f = *frame(&mut s, server);
    assert_eq!((f.rsi, s.threads.at(server).unwrap().last_received[0]), (7 | 2 << 16, 7));
    let token = ReplyToken(f.r8);
    assert_eq!(
        super::leases::lease(&s, server, token, HandleNumber::from_register(1).to_u64(), 10, Lease::WRITE),
        Ok((Row::new(2), 0x200a, 40))
    );
    assert!(try_answer(&mut s, server, OWN, token.0, 0, 1), "nothing is in the way of this one");
    assert_eq!(s.lease_info(server, token, 1), Err(Status::StaleReply));
    super::sound(&s);
}

#[test]
fn an_answer_goes_fast_only_to_whom_it_is_due() {
    let (mut s, [server, client, other]) = acquainted();
    // The client has a second endpoint, and what it has cached is its own.
    run(&mut s, other);
    let second = s.endpoint_create(client).unwrap().number();
    let deaf = Handle::new(s.handle(server, OWN).unwrap().object, Rights::CALL);
    let deaf = s.handle_insert(Row::new(0), deaf).unwrap().number();
    assert!(try_call(&mut s, other, PEER, 7), "nothing is in the way of this one");
    let token = frame(&mut s, server).r8;
    for (number, token, header, why) in [
        (deaf, token, 0, "no right to receive"),
        (altered(OWN, 1 << 16), token, 0, "an old handle's number"),
        (OWN, token ^ 1 << 16, 0, "another call's token"),
        (OWN, token ^ 1 << 63, 0, "no call's token"),
        (OWN, token | 0xfff0, 0, "no thread's token"),
        (OWN, token ^ 1, 0, "another thread's token"),
        (OWN, 0, 0, "no token"),
        (OWN, token, 1 << 16, "leases or a handle"),
    ] {
        assert!(!try_answer(&mut s, server, number, token, header, 1), "{why}");
    }
    // Whoever is not called does not answer; it has to be on the processor for that, and to have its lookup cached.
    s.signal_task(Row::new(1), 1);
    assert!(!try_answer(&mut s, client, OWN, token, 0, 2), "another server's token");
    assert!(!try_answer(&mut s, client, second, token, 0, 2), "another endpoint");
    recv(&mut s, client, OWN, 1).unwrap();
    assert!(try_answer(&mut s, server, OWN, token, 0, 1), "nothing is in the way of this one");
    super::sound(&s);
}

#[test]
fn a_way_ends_with_what_it_leads_by() {
    // The handle is closed.
    let (mut s, [_, _, other]) = acquainted();
    run(&mut s, other);
    s.handle_close(other, PEER).unwrap();
    assert!(!try_call(&mut s, other, PEER, 7));

    // The server is gone, another life has begun and waits.
    let (mut s, [_, _, other]) = acquainted();
    kill(&mut s, 0);
    reap(&mut s, 0);
    let server = spawn(&mut s, 0);
    recv(&mut s, server, OWN, 1).unwrap();
    assert!(try_call(&mut s, other, PEER, 7), "a task's own endpoint outlives it");

    // An endpoint is gone, and another in its place.
    let (mut s, [server, _, other]) = acquainted();
    s.signal_task(Row::new(0), 1);
    run(&mut s, server);
    let ends = s.endpoint_create(server).unwrap().number();
    let object = s.handle(server, ends).unwrap().object;
    let theirs = s.handle_insert(Row::new(2), Handle::new(object, Rights::CALL)).unwrap().number();
    s.cache_to_call(other, theirs).unwrap();
    recv(&mut s, server, ends, 0).unwrap();
    assert!(try_call(&mut s, other, theirs, 7), "nothing is in the way of this one");
    let token = frame(&mut s, server).r8;
    reply(&mut s, server, token, Message::default()).unwrap();
    let Object::Endpoint(id) = object else { unreachable!() };
    recv(&mut s, server, ends, 0).unwrap();
    assert!(try_call(&mut s, other, theirs, 7), "nor of the next");
    let token = frame(&mut s, server).r8;
    reply(&mut s, server, token, Message::default()).unwrap();
    recv(&mut s, server, OWN, 0).unwrap();
    s.endpoint_destroy(id);
    let next = s.endpoints.insert(Endpoint { receivers: Queue::of(server), ..another_endpoint() }).unwrap();
    assert_eq!(next.index(), id.index());
    assert!(!try_call(&mut s, other, theirs, 7), "another is in its place");
    s.endpoints.remove(next).unwrap();
    s.endpoints.age((id.name() >> 16) + (1 << 32) - 1);
    s.endpoints.insert(Endpoint { receivers: Queue::of(server), ..another_endpoint() }).unwrap();
    assert!(!try_call(&mut s, other, theirs, 7), "another is in its place, 2^31 uses later");

    // The caller is gone: nobody is answered in its place, whether the place is empty or taken.
    let (mut s, [server, _, other]) = acquainted();
    assert!(try_call(&mut s, other, PEER, 7));
    let token = frame(&mut s, server).r8;
    kill(&mut s, 2);
    recv(&mut s, server, OWN, 1).unwrap();
    s.signal_task(Row::new(0), 1);
    assert!(!try_answer(&mut s, server, OWN, token, 0, 2), "the place is empty");
    reap(&mut s, 2);
    assert_eq!(spawn(&mut s, 2), other, "the same place");
    assert!(!try_answer(&mut s, server, OWN, token, 0, 2), "the place is taken");
    super::sound(&s);
}

/// One of row 0 that nobody has used.
fn another_endpoint() -> Endpoint {
    let (senders, receivers) = (Queue::default(), Queue::default());
    let takes = abi::message::Kinds::empty();
    Endpoint {
        receivers,
        senders,
        owner: Row::new(0),
        permanent: false,
        takes,
        served: true,
        bound: None,
        bits: 0,
        handles: 1,
    }
}

#[test]
fn an_empty_place_is_nobody() {
    // A thread ends in the middle of a call while others of its task go on; its place keeps what it was.
    let (mut s, [server, _, other]) = acquainted();
    assert!(try_call(&mut s, other, PEER, 7));
    let token = frame(&mut s, server).r8;
    let id = s.threads.id_at(other).unwrap();
    s.tasks[Row::new(2)].threads += 1;
    host::end_without_trace(&mut s, other);
    assert!(s.threads.get(id).is_none());
    assert!(!try_answer(&mut s, server, OWN, token, 0, 1));
}
