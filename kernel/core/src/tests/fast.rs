//! The fast paths and the general one, side by side: in many states of a small system, the same call leads to the same state.

use super::world::{Mode, Op, World, table};
use super::{Message, OWN, Random, recv, run, trio};
use crate::handles::Handle;
use abi::message::{ReplyToken, Rights};
use std::fmt::Write;

/// All of the state that a call or a reply can change.
fn everything(world: &World) -> String {
    let s = &world.s;
    let mut text = format!("{:?} {:?} {}\n", s.sched, s.counters, s.calls);
    s.threads.iter().for_each(|t| writeln!(text, "{t:?}").unwrap());
    s.endpoints.iter().for_each(|e| writeln!(text, "{e:?}").unwrap());
    s.notifications.iter().for_each(|n| writeln!(text, "{n:?}").unwrap());
    for task in &s.tasks {
        let handles: Vec<_> = task.handles.numbered().collect();
        writeln!(text, "{:?} {} {:?} {:?} {handles:?}", task.state, task.cpu, task.spent, task.heartbeat).unwrap();
    }
    text
}

/// Some time passes before every step; often enough for a budget to end, or a period.
fn pass_time(world: &mut World, at: usize) {
    world.s.now += [1_000, 4_000_000, 0, 11_000_000, 60_000_000][at % 5];
}

fn go(world: &mut World, at: usize, op: Op) {
    pass_time(world, at);
    world.advance(op).unwrap_or_else(|e| panic!("{e} at step {at}"));
}

/// Goes the path, then lets the running thread call or answer; by the fast path if it wants to. Returns the state afterwards and
/// whether it did.
fn after(mode: Mode, path: &[Op], op: Op, fast: bool) -> (String, bool) {
    let mut world = World::new(table(), mode);
    for (at, &op) in path.iter().enumerate() {
        go(&mut world, at, op);
    }
    pass_time(&mut world, path.len());
    let (Op::Call { t, n, .. } | Op::ReplyRecv { t, n, .. }) = op else { panic!("{op:?}") };
    let s = &mut world.s;
    let frame = super::frame(s, t);
    Message::words([1, 2, 3, 4]).put(frame);
    frame.rdi = n;
    let done = match op {
        Op::ReplyRecv { token, mask, .. } => {
            (frame.r12, frame.r14) = (token, mask);
            let done = fast && s.fast_reply_recv(t).is_some();
            if !done {
                let _ = s.reply(t, ReplyToken(token));
                let _ = s.recv(t, n, mask);
            }
            done
        }
        _ => {
            let done = fast && s.fast_call(t).is_some();
            if !done {
                let _ = s.call(t, &[]);
            }
            done
        }
    };
    let _ = s.schedule();
    (everything(&world), done)
}

#[test]
fn both_paths_do_the_same() {
    let walks = if cfg!(debug_assertions) { 150 } else { 1_500 };
    let (mut calls, mut replies, mut general) = (0, 0, 0);
    for seed in 1..=walks {
        for mode in [Mode::Scheduled, Mode::Rich] {
            let mut random = Random(seed * 0x9e37_79b9);
            let mut world = World::new(table(), mode);
            let mut path = Vec::new();
            for _ in 0..40 {
                for op in world.ops() {
                    if !matches!(op, Op::Call { give: None, .. } | Op::ReplyRecv { .. }) {
                        continue;
                    }
                    let (wanted, _) = after(mode, &path, op, false);
                    let (found, fast) = after(mode, &path, op, true);
                    let differ = found.lines().zip(wanted.lines()).find(|(a, b)| a != b);
                    assert!(found == wanted, "{op:?}: {differ:#?}\nafter {path:?}");
                    match (fast, op) {
                        (true, Op::Call { .. }) => calls += 1,
                        (true, _) => replies += 1,
                        _ => general += 1,
                    }
                }
                let op = world.pick(&mut random);
                go(&mut world, path.len(), op);
                path.push(op);
            }
        }
    }
    println!("{calls} calls and {replies} replies by the fast path, {general} by the general one");
    assert!(calls > walks && replies > walks && general > walks, "{calls}, {replies}, {general}");
}

#[test]
fn what_the_general_path_refuses_the_fast_one_leaves_to_it() {
    let (mut s, [server, client, other]) = trio();
    recv(&mut s, server, OWN, 1).unwrap();
    recv(&mut s, client, OWN, 1).unwrap();
    run(&mut s, other);
    let object = |s: &crate::System, n| s.handle(other, n).unwrap().object;
    let mute = Handle { object: object(&s, 2), rights: Rights::GRANT | Rights::RECV, badge: 0 };
    let mute = u64::from(s.handle_insert(2, mute).unwrap());
    let try_call = |s: &mut crate::System, thread, number, header| {
        let f = super::frame(s, thread);
        (f.rdi, f.rsi) = (number, header);
        let before = (s.threads.at(thread).unwrap().frame, s.calls);
        let done = s.fast_call(thread).is_some();
        assert!(done || before == (s.threads.at(thread).unwrap().frame, s.calls), "something changed");
        done
    };
    for (number, header, why) in [
        (mute, 7, "no right to call"),
        (1, 7, "no endpoint"),
        (99, 7, "no handle"),
        (2, 7 | 1 << 16, "leases or a handle"),
        (2, 7 | 1 << 63, "a forged header"),
    ] {
        assert!(!try_call(&mut s, other, number, header), "{why}");
    }
    // The more important one has a handle to the less important one, which waits.
    let upwards = s.handle_insert(0, Handle { object: object(&s, 3), rights: Rights::CALL, badge: 0 }).unwrap();
    let token = {
        assert!(try_call(&mut s, other, 2, 7), "nothing is in the way of this one");
        super::frame(&mut s, server).r12
    };
    assert!(!try_call(&mut s, server, upwards.into(), 7), "against the order of calls");

    let deaf = Handle { object: s.handle(server, OWN).unwrap().object, rights: Rights::CALL, badge: 0 };
    let deaf = u64::from(s.handle_insert(0, deaf).unwrap());
    let try_answer = |s: &mut crate::System, number, token, header| {
        let f = super::frame(s, server);
        (f.rdi, f.rsi, f.r12, f.r14) = (number, header, token, 1);
        s.fast_reply_recv(server).is_some()
    };
    assert!(!try_answer(&mut s, deaf, token, 0), "no right to receive");
    assert!(!try_answer(&mut s, OWN, token ^ 1 << 16, 0), "another call's token");
    assert!(!try_answer(&mut s, OWN, 0, 0), "no token");
    assert!(!try_answer(&mut s, OWN, token, 1 << 16), "leases or a handle");
    assert!(try_answer(&mut s, OWN, token, 0), "nothing is in the way of this one");
    super::sound(&s);
}
