//! The fast paths and the general one, side by side: in many states of a small system, the same call leads to the same state.

use super::world::{Mode, Op, World, table};
use super::{OWN, Random, recv, run, trio};
use crate::handles::Handle;
use abi::message::Rights;
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
    // What a thread remembers of handles changes nothing but speed.
    text.replace("Some(Route)", "None")
}

/// Some time passes before every step; often enough for a budget to end, or a period.
fn pass_time(world: &mut World, at: usize) {
    world.s.now += [1_000, 400_000, 0, 6_000_000, 1_000, 30_000, 60_000_000][at % 7];
}

fn go(world: &mut World, at: usize, op: Op) {
    pass_time(world, at);
    world.advance(op).unwrap_or_else(|e| panic!("{e} at step {at}"));
}

/// Goes the path, by the fast paths or without them. Returns the state afterwards and what went by the fast paths.
fn after(mode: Mode, path: &[Op], fast: bool) -> (String, [u64; 2]) {
    let mut world = World::new(table(), mode);
    world.fast = fast;
    for (at, &op) in path.iter().enumerate() {
        go(&mut world, at, op);
    }
    (everything(&world), world.went_fast)
}

#[test]
fn both_paths_do_the_same() {
    let walks = if cfg!(debug_assertions) { 150 } else { 1_500 };
    let mut went = [0; 2];
    for seed in 1..=walks {
        for mode in [Mode::Scheduled, Mode::Rich] {
            let mut random = Random(seed * 0x9e37_79b9);
            let mut world = World::new(table(), mode);
            let mut path = Vec::new();
            for at in 0..40 {
                // Whatever can be called or answered now is tried in both ways, after both ways to come here.
                let message = |op: &Op| matches!(op, Op::Call { give: None, .. } | Op::ReplyRecv { .. });
                for op in world.ops().into_iter().filter(message) {
                    path.push(op);
                    let (wanted, _) = after(mode, &path, false);
                    let (found, fast) = after(mode, &path, true);
                    let differ = found.lines().zip(wanted.lines()).find(|(a, b)| a != b);
                    assert!(found == wanted, "{differ:#?}\nafter {path:?}");
                    went = [went[0] + fast[0], went[1] + fast[1]];
                    path.pop();
                }
                let op = world.pick(&mut random);
                go(&mut world, at, op);
                path.push(op);
            }
        }
    }
    println!("{} calls and {} replies by the fast path", went[0], went[1]);
    assert!(went.iter().all(|&went| went > walks / 2), "{went:?}");
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
        let done = s.fast_call(number, header).is_some();
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
        s.fast_reply_recv(number, header, token, 1).is_some()
    };
    assert!(!try_answer(&mut s, deaf, token, 0), "no right to receive");
    assert!(!try_answer(&mut s, OWN, token ^ 1 << 16, 0), "another call's token");
    assert!(!try_answer(&mut s, OWN, 0, 0), "no token");
    assert!(!try_answer(&mut s, OWN, token, 1 << 16), "leases or a handle");
    assert!(try_answer(&mut s, OWN, token, 0), "nothing is in the way of this one");
    super::sound(&s);
}
