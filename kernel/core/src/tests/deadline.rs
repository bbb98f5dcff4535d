//! The timer interrupts when something is due, and only then.

use super::*;
use crate::deadline::NEVER;
use crate::period::{PERIOD_NS, SLICE_NS, SPACING_NS, TURN_NS};
use crate::sched::SEARCHED;

const MS: u64 = 1_000_000;

/// Lets the machine run until `until` while whoever runs does not enter the kernel. Returns when the timer interrupted.
fn run_until(s: &mut System, until: u64) -> Vec<u64> {
    let mut interrupts = Vec::new();
    loop {
        let chosen = s.schedule(SEARCHED);
        let _ = if chosen.is_some() { arm(s) } else { s.arm_idle() };
        let at = s.sched.deadline.at.max(s.now);
        if at >= until {
            s.set_now(until);
            return interrupts;
        }
        s.set_now(at);
        interrupts.push(at);
        s.timer_interrupt();
        sound(s);
    }
}

/// A system whose only thread waits for bit 0, which a timer sets.
fn sleeper() -> (System, ThreadIndex, HandleNumber) {
    let mut s = system(&[record("sleeper", 3, &[])]);
    let t = spawn(&mut s, 0);
    let timer = s.timer_create(t, NOTE, 0).unwrap().number();
    run(&mut s, t);
    (s, t, timer)
}

#[test]
fn an_idle_machine_takes_no_interrupt_that_no_task_asked_for() {
    let (mut s, t, timer) = sleeper();
    wait(&mut s, t, NOTE, 1).unwrap();
    assert_eq!(run_until(&mut s, 10_000 * MS), [], "nobody asked for one");
    assert_eq!(s.sched.deadline.at, NEVER);
    s.timer_set(t, timer, Some(17_000 * MS + 1)).unwrap();
    assert_eq!(run_until(&mut s, 17_000 * MS + 2), [17_000 * MS + 1], "its deadline, exactly");
    assert_eq!(state(&s, t), State::Running);
}

#[test]
fn a_timer_that_is_set_earlier_or_disarmed_moves_the_interrupt() {
    let (mut s, t, timer) = sleeper();
    s.timer_set(t, timer, Some(9 * MS)).unwrap();
    let _ = arm(&mut s);
    s.timer_set(t, timer, Some(5 * MS)).unwrap();
    assert_eq!(arm(&mut s), Some(5 * MS), "earlier than it was armed for");
    assert_eq!(arm(&mut s), None, "it is armed well");
    s.timer_set(t, timer, Some(8 * MS)).unwrap();
    assert_eq!(arm(&mut s), None, "one that comes too early is let come");
    wait(&mut s, t, NOTE, 1).unwrap();
    assert_eq!(s.schedule(SEARCHED), None);
    assert_eq!(s.arm_idle(), Some(8 * MS), "but not while nobody runs");
    assert_eq!(s.arm_idle(), None, "it is armed well");
}

#[test]
fn one_that_spins_is_interrupted_at_the_ends_of_its_slice_its_turns_and_the_period() {
    let mut s = system(&[record("spinner", 3, &[])]);
    spawn(&mut s, 0);
    let interrupts = run_until(&mut s, PERIOD_NS + 1);
    let turns = (SLICE_NS..PERIOD_NS).step_by(TURN_NS as usize);
    assert_eq!(interrupts, turns.chain([PERIOD_NS]).collect::<Vec<_>>());
}

#[test]
fn however_many_timers_are_due_interrupts_are_apart() {
    let mut s = system(&[record("flood", 3, &[])]);
    let t = spawn(&mut s, 0);
    run(&mut s, t);
    for at in 0..6 {
        let timer = s.timer_create(t, NOTE, at).unwrap().number();
        s.timer_set(t, timer, Some(MS + at * 10)).unwrap();
    }
    let interrupts = run_until(&mut s, 2 * MS);
    assert_eq!(interrupts.first(), Some(&MS), "the first is on time");
    assert!(interrupts.len() >= 2, "the others have come, too");
    for pair in interrupts.windows(2) {
        assert!(pair[1] - pair[0] >= SPACING_NS, "{pair:?}");
    }
    assert_eq!(s.notification_word(Row::new(0)).unwrap() & 63, 63, "all have set their bits");
}

#[test]
fn the_fast_paths_leave_one_whose_slice_ends_before_the_interrupt_to_the_general_path() {
    for by in [By::Direct, By::Assembly] {
        let (mut s, [server, client, _]) = trio();
        // The server waits, the client runs, and has the longer slice.
        recv(&mut s, server, OWN, 1).unwrap();
        run(&mut s, client);
        s.sched.accounts[0].charge(false, SLICE_NS - 5_000);
        s.now += 5_000 - SLICE_NS.min(5_000) + 1_000;
        s.charge();
        let _ = arm(&mut s);
        let armed = s.sched.deadline.at;
        assert_eq!(armed, s.now + SLICE_NS - 1_000, "the end of the client's slice");
        assert_eq!(fast_call(&mut s, client, PEER, Message::default(), by), Went::Not, "{by:?}");
        call(&mut s, client, PEER, Message::default()).unwrap();
        assert_eq!(s.schedule(SEARCHED), Some(server));
        assert_eq!(arm(&mut s), Some(s.now + 5_000), "the end of the server's");
    }
}

#[test]
fn who_is_woken_by_a_signal_or_given_way_to_must_have_time_until_the_interrupt_too() {
    for by in [By::Direct, By::Assembly] {
        for (left, goes) in [(4_999, false), (5_000, true)] {
            // One that waits, and is more important.
            let (mut s, [server, client, _]) = trio();
            s.cache_notification(server, NOTE, Rights::SIGNAL).unwrap();
            wait(&mut s, server, NOTE, 1).unwrap();
            let second = thread(&mut s, 0);
            s.set_priority(second, 9);
            s.unschedule(client);
            run(&mut s, second);
            s.sched.accounts[0].charge(false, SLICE_NS - left);
            s.sched.deadline.at = s.now + 5_000;
            s.charge();
            assert_eq!(signal(&mut s, second, NOTE, 1, by), (goes, Ok(())), "{by:?}, {left} left");
        }
        for (left, goes) in [(4_999, false), (5_000, true)] {
            // One of the same level.
            let mut s = system(&[record("a", 3, &[]), record("b", 3, &[])]);
            let [a, b] = [0, 1].map(|row| spawn(&mut s, row));
            run(&mut s, a);
            assert_eq!(state(&s, b), State::Ready);
            s.sched.accounts[1].charge(false, SLICE_NS - left);
            s.sched.deadline.at = s.now + 5_000;
            assert_eq!(take_turns(&mut s, a, by), goes, "{by:?}, {left} left");
        }
    }
}

#[test]
fn one_that_runs_again_after_a_period_has_ended_gets_its_slice_at_once() {
    let (mut s, t, timer) = sleeper();
    s.timer_set(t, timer, Some(PERIOD_NS + 55 * MS)).unwrap();
    wait(&mut s, t, NOTE, 3).unwrap();
    assert_eq!(run_until(&mut s, PERIOD_NS + 50 * MS), [], "nobody runs, and the end of the period is nothing");
    s.signal_task(Row::new(0), 2);
    assert_eq!(s.schedule(SEARCHED), Some(t));
    assert!(arm(&mut s).is_some_and(|at| at <= s.now), "the new period begins");
}
