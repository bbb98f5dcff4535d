//! Every short sequence of steps of a small system, and long random ones.
//!
//! Three tasks, of which one may call another, two endpoints and more that they make, notifications bound and unbound, timers, memory, transfers,
//! leases, threads that come and go, deaths, lives to come. After every step all of `crate::system::check` is looked at, and each step is compared
//! with what it must do to everyone concerned, and that it does nothing to anyone else ([`World::apply`]).
//!
//! The search is written here, not left to the crate `stateright`: its models are values that are cloned and compared, and a [`crate::System`] is
//! neither. It holds the one frame table, and its threads hold addresses of its arenas, by which the fast paths go ([`crate::fast`]); a
//! clone's would lead into the original. So a state is reached again by its steps, from the beginning, and only its fingerprint
//! ([`World::canonical`]) is kept; and a step is judged by the state before it too, not by that behind it alone.

use super::world::{Mode, Op, World, table};
use super::{By, Random, check};
use proptest::prelude::*;
use std::collections::HashSet;

/// How many different states each search visits. Fewer in debug builds, to end soon.
const STATES: usize = if cfg!(debug_assertions) { 30_000 } else { 600_000 };

/// Breadth first over all sequences, one representative for all that lead to the same state. Returns states, steps taken, and the
/// length of the longest sequence all of whose predecessors were followed.
fn search(mode: Mode, fast: bool, piecemeal: bool) -> (usize, usize, usize) {
    let mut table = table();
    // Each state by how it was reached: from which one, by which step.
    let mut reached: Vec<(u32, Op, u8)> = vec![(0, Op::Tick, 0)];
    let mut known = HashSet::new();
    let mut world = World::new(table, mode);
    (world.by, world.piecemeal) = (By::of(fast), piecemeal);
    assert_eq!(check(&world.s), Ok(()));
    known.insert(world.canonical());
    table = world.into_table();
    let (mut next, mut steps) = (0, 0);
    while next < reached.len() && reached.len() < STATES {
        let mut path = Vec::new();
        let mut at = next;
        while at != 0 {
            path.push(reached[at].1);
            at = reached[at].0 as usize;
        }
        path.reverse();
        let replay = |table| {
            let mut world = World::new(table, mode);
            (world.by, world.piecemeal) = (By::of(fast), piecemeal);
            for &op in &path {
                world.advance(op).unwrap_or_else(|e| panic!("{e} after {path:?}"));
            }
            world
        };
        let mut world = replay(table);
        let here = world.canonical();
        for op in world.ops() {
            if let Err(what) = world.apply(op) {
                panic!("{what}\nafter {path:?}");
            }
            steps += 1;
            let there = world.canonical();
            if there == here {
                // Nothing happened, so the next step can be tried from here.
                continue;
            }
            if known.insert(there) {
                reached.push((next as u32, op, path.len() as u8 + 1));
            }
            world = replay(world.into_table());
        }
        table = world.into_table();
        next += 1;
    }
    let complete = reached[next.min(reached.len() - 1)].2;
    (reached.len(), steps, complete as usize)
}

#[test]
fn every_short_sequence_of_any_threads_steps() {
    let start = std::time::Instant::now();
    let (states, steps, depth) = search(Mode::AnyThread, false, false);
    println!("{states} states, {steps} steps, all sequences up to {depth}, {:?}", start.elapsed());
    assert!(depth >= 2 && states >= STATES);
}

#[test]
fn every_short_sequence_as_the_scheduler_has_it() {
    let start = std::time::Instant::now();
    let (states, steps, depth) = search(Mode::Scheduled, false, false);
    println!("{states} states, {steps} steps, all sequences up to {depth}, {:?}", start.elapsed());
    assert!(depth >= 3 && states >= STATES);
}

#[test]
fn every_short_sequence_by_the_fast_paths() {
    let (states, steps, depth) = search(Mode::Scheduled, true, false);
    println!("{states} states, {steps} steps, all sequences up to {depth}");
    assert!(depth >= 3 && states >= STATES);
}

/// Every unit of a release is a step of its own here, between which anything may happen.
#[test]
fn every_short_sequence_with_deaths_in_pieces() {
    for (mode, fast) in [(Mode::AnyThread, false), (Mode::Scheduled, true)] {
        let (states, steps, depth) = search(mode, fast, true);
        println!("{states} states, {steps} steps, all sequences up to {depth}");
        assert!(depth >= 2 && states >= STATES);
    }
}

/// A walk of so many steps; the error tells the last of them.
fn walk(seed: u64, steps: usize, mode: Mode, fast: bool, piecemeal: bool) -> Result<(), String> {
    let mut random = Random(seed | 1);
    let mut world = World::new(table(), mode);
    (world.by, world.piecemeal) = (By::of(fast), piecemeal);
    let mut last = Vec::new();
    for step in 0..steps {
        let op = world.pick(&mut random);
        last.push(op);
        world.apply(op).map_err(|e| format!("step {step}: {e}\nafter {:?}", &last[last.len().saturating_sub(25)..]))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 8 } else { 200 },
        max_shrink_iters: 16,
        ..ProptestConfig::default()
    })]

    #[test]
    fn long_random_walks(seed in any::<u64>().no_shrink(), steps in 1usize..3_000) {
        for (mode, fast) in [(Mode::Rich, false), (Mode::AnyThread, false), (Mode::Rich, true)] {
            for piecemeal in [false, true] {
                if let Err(what) = walk(seed, steps, mode, fast, piecemeal) {
                    return Err(TestCaseError::fail(format!("{mode:?}, in pieces: {piecemeal}: {what}")));
                }
            }
        }
    }
}
