//! Who runs, and for how long.

use super::*;
use crate::period::{LEAST_SLICE_NS, OVERRUN_NS, PERIOD_NS, SLICE_NS, shares};
use crate::sched::{BACKGROUND, SEARCHED};
use crate::thread::ThreadIndex;

const MS: u64 = 1_000_000;

/// Ticks every millisecond; who runs after each.
fn ticks(s: &mut System, count: u64) -> Vec<Option<ThreadIndex>> {
    (0..count)
        .map(|_| {
            s.now += MS;
            s.tick();
            let next = s.schedule(SEARCHED);
            sound(s);
            next
        })
        .collect()
}

fn share(ran: &[Option<ThreadIndex>], thread: ThreadIndex) -> usize {
    ran.iter().filter(|r| **r == Some(thread)).count()
}

#[test]
fn the_most_important_runs_and_is_preempted_in_place() {
    let mut s = system(&[record("a", 3, &[]), record("b", 5, &[]), record("c", 5, &[])]);
    assert_eq!(s.schedule(SEARCHED), None);
    let b = spawn(&mut s, 1);
    assert_eq!(s.schedule(SEARCHED), Some(b));
    let c = spawn(&mut s, 2);
    assert_eq!(s.schedule(SEARCHED), Some(b), "an equal one waits");
    let a = spawn(&mut s, 0);
    assert_eq!(s.schedule(SEARCHED), Some(a));
    assert_eq!(state(&s, b), State::Ready);
    recv(&mut s, a, OWN, 1).unwrap();
    assert_eq!(s.schedule(SEARCHED), Some(b), "who was preempted keeps its turn");
    s.signal_task(Row::new(0), 1);
    assert_eq!(s.schedule(SEARCHED), Some(a));
    assert_eq!(state(&s, c), State::Ready);
    assert_eq!(s.counters.switches, 4);
    sound(&s);
}

#[test]
fn yielding_lets_the_next_of_the_level_run() {
    let mut s = system(&[record("a", 3, &[]), record("b", 3, &[]), record("c", 5, &[])]);
    let [a, b, _] = [0, 1, 2].map(|row| spawn(&mut s, row));
    let ran: Vec<_> = (0..4)
        .map(|_| {
            let now = s.schedule(SEARCHED);
            s.yield_now();
            now.unwrap()
        })
        .collect();
    assert_eq!(ran, [a, b, a, b], "and nobody of a lower level");
    sound(&s);
}

#[test]
fn nobody_is_starved_by_one_who_never_waits() {
    let mut s = system(&[record("hog", 1, &[]), record("meek", 9, &[])]);
    let [hog, meek] = [0, 1].map(|row| spawn(&mut s, row));
    let _ = s.schedule(SEARCHED);
    let ran = ticks(&mut s, 1_000);
    assert!((100..1_000).contains(&share(&ran, hog)));
    assert!(share(&ran, meek) >= 300, "it ran {} of 1000 ticks", share(&ran, meek));
}

#[test]
fn a_spinning_thread_has_its_slice_in_each_period_and_shares_what_is_left() {
    let mut s = system(&[record("a", 1, &[]), record("b", 1, &[])]);
    let [a, b] = [0, 1].map(|row| spawn(&mut s, row));
    let _ = s.schedule(SEARCHED);
    let ran = ticks(&mut s, 1_000);
    for t in [a, b] {
        assert!((400..=600).contains(&share(&ran, t)), "{t} ran {} of 1000", share(&ran, t));
    }
    assert_eq!(s.cpu(Row::new(0)) + s.cpu(Row::new(1)), 1_000 * MS);
}

#[test]
fn one_who_is_never_there_at_the_tick_uses_up_its_budget_too() {
    let mut s = system(&[record("dodger", 1, &[]), record("victim", 9, &[])]);
    let [dodger, victim] = [0, 1].map(|row| spawn(&mut s, row));
    let timer = s.timer_create(dodger, NOTE, 0).unwrap().number();
    let _ = s.schedule(SEARCHED);
    for tick in 0..1_000u64 {
        // It waits for the tick just before the tick, and the tick wakes it.
        if s.current() == Some(dodger) {
            s.now = tick * MS + MS - 1_000;
            s.timer_set(dodger, timer, Some(tick * MS + MS)).unwrap();
            wait(&mut s, dodger, NOTE, 1).unwrap();
            let _ = s.schedule(SEARCHED);
        }
        s.now = (tick + 1) * MS;
        s.tick();
        let _ = s.schedule(SEARCHED);
        sound(&s);
    }
    s.charge();
    let (victims, all) = (s.cpu(Row::new(1)), 1_000 * MS);
    assert!(victims > all / 4, "the victim had {victims} of {all} ns");
    assert!(state(&s, victim) != State::Waiting(note(&s, 1).index()));
}

#[test]
fn a_budget_is_filled_again_after_its_period() {
    let mut s = system(&[record("a", 1, &[]), record("b", 9, &[])]);
    let [a, b] = [0, 1].map(|row| spawn(&mut s, row));
    let _ = s.schedule(SEARCHED);
    ticks(&mut s, SLICE_NS / MS);
    assert_eq!(s.threads.at(a).unwrap().effective, BACKGROUND);
    assert_eq!(s.current(), Some(b));
    let ran = ticks(&mut s, (PERIOD_NS - SLICE_NS / 2) / MS);
    assert_eq!(s.threads.at(a).unwrap().effective, 1, "its own level again");
    assert!(share(&ran, a) > 0);
}

#[test]
fn a_priority_takes_effect_at_once() {
    let mut s = system(&[record("a", 3, &[]), record("b", 5, &[])]);
    let [a, b] = [0, 1].map(|row| spawn(&mut s, row));
    assert_eq!(s.schedule(SEARCHED), Some(a));
    s.set_priority(a, 9);
    assert_eq!(s.schedule(SEARCHED), Some(b), "the running one steps back");
    s.set_priority(a, 4);
    assert_eq!(s.schedule(SEARCHED), Some(a), "a ready one steps forward");
    recv(&mut s, a, OWN, 1).unwrap();
    let _ = s.schedule(SEARCHED);
    s.set_priority(a, 20);
    s.signal_task(Row::new(0), 1);
    assert_eq!(s.schedule(SEARCHED), Some(b), "a waiting one comes back at its new level");
    s.set_priority(ThreadIndex::new(99), 1);
    sound(&s);
}

#[test]
fn a_priority_set_in_the_background_counts_from_the_next_period() {
    let mut s = system(&[record("a", 1, &[]), record("b", 9, &[])]);
    let [a, _] = [0, 1].map(|row| spawn(&mut s, row));
    let _ = s.schedule(SEARCHED);
    ticks(&mut s, SLICE_NS / MS);
    s.set_priority(a, 7);
    assert_eq!(s.threads.at(a).unwrap().effective, BACKGROUND);
    sound(&s);
    ticks(&mut s, (PERIOD_NS - SLICE_NS / 2) / MS);
    assert_eq!(s.threads.at(a).unwrap().effective, 7);
}

#[test]
fn who_is_woken_while_nobody_runs_runs_at_once() {
    let mut s = system(&[record("a", 1, &[]), record("b", 5, &[]), record("c", 5, &[])]);
    let b = spawn(&mut s, 1);
    assert_eq!((s.current(), state(&s, b), s.counters.switches), (Some(b), State::Running, 1));
    sound(&s);
    // One as important waits its turn, one more important takes over, and whoever ran keeps its turn.
    let c = spawn(&mut s, 2);
    assert_eq!((s.schedule(SEARCHED), state(&s, c)), (Some(b), State::Ready));
    let a = spawn(&mut s, 0);
    assert_eq!((s.current(), s.schedule(SEARCHED), s.counters.switches), (Some(b), Some(a), 2));
    sound(&s);
    recv(&mut s, a, OWN, 0).unwrap();
    assert_eq!(s.schedule(SEARCHED), Some(b));
    // With somebody ready who is as important, it goes by turns.
    recv(&mut s, b, OWN, 1).unwrap();
    s.signal_task(Row::new(1), 1);
    assert_eq!((s.current(), s.schedule(SEARCHED), state(&s, b)), (None, Some(c), State::Ready));
    sound(&s);
}

#[test]
fn time_is_charged_to_whoever_used_it() {
    let mut s = system(&[record("a", 3, &[])]);
    s.now = 500;
    assert_eq!(s.schedule(SEARCHED), None);
    s.now = 700;
    let a = spawn(&mut s, 0);
    assert_eq!(s.schedule(SEARCHED), Some(a));
    s.now = 1_000;
    recv(&mut s, a, OWN, 0).unwrap();
    assert_eq!((s.cpu(Row::new(0)), s.counters.idle), (300, 700));
    s.now = 1_500;
    s.charge();
    assert_eq!((s.cpu(Row::new(0)), s.counters.idle), (300, 1_200));
    assert_eq!(s.task_status(Row::new(0)).unwrap().cpu_ns, 300);
}

/// Processor time of the second row over a second in which the first does `evil` after each tick.
fn what_is_left(quota: u16, mut evil: impl FnMut(&mut System)) -> u64 {
    let mut hog = record("hog", 1, &[]);
    hog.object_quota = quota;
    let mut s = system(&[hog, record("victim", 9, &[])]);
    for row in [0, 1] {
        spawn(&mut s, row);
    }
    for _ in 0..1_000 {
        s.now += MS;
        s.tick();
        let _ = s.schedule(SEARCHED);
        evil(&mut s);
        let _ = s.schedule(SEARCHED);
        sound(&s);
    }
    s.charge();
    s.cpu(Row::new(1))
}

#[test]
fn d09_many_threads_share_the_budget_of_one() {
    for quota in [2, 30, 300] {
        let left = what_is_left(quota, |s| {
            let _ = s.thread_start(Row::new(0), TrapFrame::default(), 1);
        });
        assert!(left > 80 * MS, "the victim had {left} ns of a second beside {quota} threads");
    }
}

#[test]
fn a_thread_goes_on_with_the_budget_of_those_that_ended() {
    let left = what_is_left(30, |s| {
        let Some(current) = s.current().filter(|&t| s.row_of(t) == Ok(Row::new(0))) else { return };
        if s.cpu(Row::new(0)) % (4 * MS) > 7 * MS / 2 {
            s.thread_start(Row::new(0), TrapFrame::default(), 1).unwrap();
            s.thread_exit(current);
        }
    });
    assert!(left > 80 * MS, "the victim had {left} ns of a second");
}

#[test]
fn all_slices_together_leave_time() {
    for tasks in 0..=2000 {
        let (slice, period) = shares(tasks);
        assert!((LEAST_SLICE_NS..=SLICE_NS).contains(&slice) && period >= PERIOD_NS, "{tasks}: {slice} {period}");
        // Each may exceed its slice.
        let most = tasks as u64 * (slice + OVERRUN_NS);
        assert!(most * 10 <= period * 9 + 10, "{tasks} tasks take {most} of {period}");
    }
    assert_eq!(shares(3), (SLICE_NS, PERIOD_NS));
    assert_eq!(shares(8), (SLICE_NS, PERIOD_NS));
}

/// Eleven tasks more important than the last one spin: it gets its slice in every period.
#[test]
fn the_least_important_of_many_gets_its_share() {
    let records: Vec<_> = (0..12).map(|row| record("task", if row == 11 { 20 } else { 2 }, &[])).collect();
    let mut s = system(&records);
    for row in 0..12 {
        spawn(&mut s, row);
    }
    let (slice, period) = shares(12);
    ticks(&mut s, period / MS);
    s.charge();
    let before = s.cpu(Row::new(11));
    ticks(&mut s, 10 * period / MS);
    s.charge();
    let got = s.cpu(Row::new(11)) - before;
    assert!(got >= 9 * slice, "it got {got} ns of {}", 10 * slice);
}
