//! Processor time is a task's: whatever its threads do to be elsewhere when somebody looks, they get its slice in each period and no more while
//! others want theirs.
//!
//! The tests here let time pass as a machine does: threads work, the timer interrupts when it was armed for, and system calls take a little. They
//! look only at what each task got.

use super::*;
use crate::period::{OVERRUN_NS, PERIOD_NS, SLICE_NS};
use crate::sched::SEARCHED;
use crate::thread::ThreadIndex;
use abi::task::LEVELS;
use proptest::prelude::*;
use std::collections::HashMap;

const MS: u64 = 1_000_000;
/// What a system call takes, in nanoseconds.
const CALL: u64 = 500;
/// How often the whole state is looked at, in nanoseconds.
const CHECKED: u64 = 13 * MS;
/// How long before an interrupt of the timer a thread gets out of its way.
const BEFORE: u64 = 5_000;

/// A machine on which threads work.
struct Machine {
    s: System,
    /// When the timer has interrupted.
    interrupts: Vec<u64>,
    /// How much each thread has to do before it asks what comes next; none, where it has begun or been woken.
    work: HashMap<ThreadIndex, u64>,
    fast: bool,
    /// Time that each row had in this period, and how much of it at its priorities.
    had: Vec<[u64; 2]>,
    /// For each period that is over: the time that each row had in it, and how much of that at its priorities.
    periods: Vec<Vec<[u64; 2]>>,
}

impl Machine {
    /// Tasks of these priorities, each with a first thread.
    fn new(priorities: &[u8], fast: bool) -> Self {
        let records: Vec<_> = priorities
            .iter()
            .map(|&priority| {
                let mut r = record("task", priority, &[]);
                (r.handle_quota, r.object_quota) = (2_000, 2_000);
                r
            })
            .collect();
        let mut s = system(&records);
        for row in 0..priorities.len() {
            spawn(&mut s, row as u16);
        }
        let had = vec![[0; 2]; priorities.len()];
        Machine { s, interrupts: Vec::new(), work: HashMap::new(), fast, had, periods: Vec::new() }
    }

    /// Time passes for whoever runs. What it had is counted to the period in which it had it.
    fn pass(&mut self, until: u64) {
        while until / PERIOD_NS > self.s.now / PERIOD_NS {
            self.pass_in_period((self.s.now / PERIOD_NS + 1) * PERIOD_NS);
            let had = core::mem::replace(&mut self.had, vec![[0; 2]; self.s.tasks.len()]);
            self.periods.push(had);
        }
        self.pass_in_period(until);
    }

    fn pass_in_period(&mut self, until: u64) {
        let passed = until - self.s.now;
        if let Some(t) = self.s.current().and_then(|t| self.s.threads.at(t)) {
            let had = &mut self.had[t.task.index()];
            had[0] += passed;
            had[1] += if usize::from(t.effective) < LEVELS { passed } else { 0 };
        }
        self.s.now = until;
    }

    /// Who runs, for whom the timer is armed.
    fn choose(&mut self) -> Option<ThreadIndex> {
        loop {
            let chosen = self.s.schedule(SEARCHED);
            // Interrupts are let in where it takes long, and none happens to come.
            if chosen.is_none() && self.s.undecided() {
                continue;
            }
            let armed = if chosen.is_some() { arm(&mut self.s) } else { self.s.arm_idle() };
            assert!(armed.is_none_or(|at| at == self.s.sched.deadline.at));
            return chosen;
        }
    }

    /// Until then, whoever has nothing to do is told by `next`, which gives it work or lets it do something.
    fn run(&mut self, until: u64, mut next: impl FnMut(&mut Machine, ThreadIndex)) {
        while self.s.now < until {
            let current = self.choose();
            let left = current.map(|t| self.work.get(&t).copied().unwrap_or(0));
            let done = left.map_or(u64::MAX, |left| self.s.now + left);
            let interrupt = self.interrupt_at();
            if done < interrupt {
                let thread = current.unwrap();
                self.pass(done);
                self.work.insert(thread, 0);
                self.s.charge();
                next(self, thread);
                let now = self.s.now;
                self.pass((now + CALL).min(self.interrupt_at()));
                continue;
            }
            // The time after which nothing happens any more.
            let interrupt = interrupt.min(until);
            if let (Some(thread), Some(left)) = (current, left) {
                self.work.insert(thread, left - (interrupt - self.s.now));
            }
            let counted = self.s.now / CHECKED;
            self.pass(interrupt);
            if self.s.sched.deadline.at <= interrupt {
                self.interrupts.push(interrupt);
                self.s.timer_interrupt();
            }
            if self.s.now / CHECKED != counted {
                sound(&self.s);
            }
        }
    }

    /// When the timer interrupts, or at once if that is past.
    fn interrupt_at(&self) -> u64 {
        self.s.sched.deadline.at.max(self.s.now)
    }

    /// What is left until just before the timer's next interrupt that is not too near.
    fn until_interrupt(&self) -> u64 {
        let left = self.interrupt_at().min(self.s.now + MS) - self.s.now;
        if left > 2 * BEFORE { left - BEFORE } else { left + MS - BEFORE }
    }

    fn works(&mut self, thread: ThreadIndex, work: u64) {
        self.work.insert(thread, work);
    }

    /// A thread that ends makes room for others.
    fn ends(&mut self, thread: ThreadIndex) {
        self.work.remove(&thread);
        self.s.thread_exit(thread);
    }

    /// In each period each task had at most its slice and what it may be exceeded by at its priorities, the victim had its slice, and what was
    /// exceeded in one is missing in another.
    fn fair(&self, victim: usize) {
        assert!(self.periods.len() >= 5, "the test is too short");
        let mut sums = vec![0; self.s.tasks.len()];
        for (at, period) in self.periods.iter().enumerate() {
            for (row, &[_, slice]) in period.iter().enumerate() {
                assert!(
                    slice <= SLICE_NS + OVERRUN_NS + CALL,
                    "row {row} had {slice} ns at its priority in period {at}"
                );
                sums[row] += slice;
                let most = (at as u64 + 1) * SLICE_NS + OVERRUN_NS + CALL;
                assert!(sums[row] <= most, "row {row} had {} ns of {most} in {at} periods", sums[row]);
            }
            let [all, _] = period[victim];
            assert!(all >= SLICE_NS, "the victim had {all} ns in period {at}: {period:?}");
        }
    }
}

/// The victim spins, and nothing else.
fn spins(m: &mut Machine, thread: ThreadIndex) {
    m.works(thread, 50 * MS);
}

/// Further threads of a task, and a notification for each, beginning with the first thread; each waits for its own.
fn further(m: &mut Machine, row: Row, first: ThreadIndex, count: usize) -> HashMap<ThreadIndex, HandleNumber> {
    let mut notes = HashMap::new();
    for at in 0..count {
        let t = if at == 0 { first } else { thread(&mut m.s, row) };
        notes.insert(t, m.s.notification_create(first).unwrap().number());
    }
    notes
}

/// A hundred threads of which each hands over to the next just before the timer interrupts, so that it never meets one that has worked for long.
#[test]
fn d23_threads_that_hand_over_before_each_interrupt() {
    for fast in [false, true] {
        let mut m = Machine::new(&[1, 20], fast);
        let first = m.s.tasks[Row::new(0)].first_thread.unwrap().index();
        let notes = further(&mut m, Row::new(0), first, 112);
        let mut order: Vec<ThreadIndex> = notes.keys().copied().collect();
        order.sort_unstable();
        let mut works = std::collections::HashSet::new();
        let mut begun = false;
        m.run(1_005 * MS, |m, t| {
            let Some(&own) = notes.get(&t) else { return spins(m, t) };
            if !begun || works.insert(t) {
                begun |= t == order[111];
                if t == order[111] || begun {
                    return m.works(t, m.until_interrupt());
                }
                return wait(&mut m.s, t, own, 1).unwrap();
            }
            works.remove(&t);
            let at = order.iter().position(|&o| o == t).unwrap();
            let fast = m.fast;
            signal(&mut m.s, t, notes[&order[(at + 1) % 112]], 1, By::of(fast)).1.unwrap();
            wait(&mut m.s, t, own, 1).unwrap();
        });
        m.fair(1);
    }
}

/// Threads that are woken by a timer, work for a part of a millisecond, and sleep again before anything else is due.
#[test]
fn d23_threads_that_work_between_interrupts() {
    for fast in [false, true] {
        let mut m = Machine::new(&[1, 20], fast);
        let first = m.s.tasks[Row::new(0)].first_thread.unwrap().index();
        let notes = further(&mut m, Row::new(0), first, 20);
        let timers: HashMap<ThreadIndex, HandleNumber> =
            notes.iter().map(|(&t, &n)| (t, m.s.timer_create(first, n, 0).unwrap().number())).collect();
        let mut works = std::collections::HashSet::new();
        let mut turn = 0;
        m.run(1_005 * MS, |m, t| {
            let Some(&own) = notes.get(&t) else { return spins(m, t) };
            if works.insert(t) {
                return m.works(t, 700_000);
            }
            works.remove(&t);
            turn = (turn + 1).max(m.s.now / MS + 1);
            m.s.timer_set(t, timers[&t], Some(turn * MS)).unwrap();
            wait(&mut m.s, t, own, 1).unwrap();
        });
        m.fair(1);
    }
}

/// Each thread starts the next one and ends, before the timer interrupts.
#[test]
fn d23_threads_that_are_born_and_die() {
    for lines in [1, 2, 7] {
        let mut m = Machine::new(&[1, 20], true);
        let mut works = std::collections::HashSet::new();
        m.run(1_005 * MS, |m, t| {
            if m.s.row_of(t) == Ok(Row::new(1)) {
                return spins(m, t);
            }
            if works.insert(t) {
                while m.s.tasks[Row::new(0)].threads < lines {
                    thread(&mut m.s, 0);
                }
                return m.works(t, m.until_interrupt());
            }
            works.remove(&t);
            // The last of many is new: it has a whole budget, if threads have them.
            let new = thread(&mut m.s, 0);
            works.remove(&new);
            m.work.remove(&new);
            m.ends(t);
        });
        m.fair(1);
    }
}

/// A task that ends and is begun again whenever it has used a part of its slice.
#[test]
fn d23_a_task_that_lives_many_lives() {
    let mut m = Machine::new(&[1, 20], true);
    m.run(1_005 * MS, |m, t| {
        if m.s.row_of(t) == Ok(Row::new(1)) {
            return spins(m, t);
        }
        if m.s.tasks[Row::new(0)].generation % 2 == 1 || m.s.cpu(Row::new(0)) % 7 == 0 {
            m.works(t, 3 * MS + MS / 2);
        }
        kill(&mut m.s, 0);
        reap(&mut m.s, 0);
        let next = spawn(&mut m.s, 0);
        m.works(next, 3 * MS + MS / 2);
    });
    m.fair(1);
}

/// Two tasks, of which one calls the other: each goes on for the other just before the timer interrupts, in a hundred threads.
#[test]
fn d23_tasks_that_hand_over_to_each_other() {
    for fast in [false, true] {
        let mut server = record("server", 1, &[]);
        (server.handle_quota, server.object_quota) = (500, 500);
        let mut client = record("client", 2, &[0]);
        (client.handle_quota, client.object_quota) = (500, 500);
        let mut m = Machine::new(&[1, 2, 20], fast);
        m.s = system(&[server, client, record("victim", 20, &[])]);
        for row in 0..3 {
            spawn(&mut m.s, row);
        }
        for row in [0, 1] {
            for _ in 0..100 {
                thread(&mut m.s, row);
            }
        }
        let mut works = std::collections::HashSet::new();
        m.run(1_005 * MS, |m, t| {
            let row = m.s.row_of(t).unwrap();
            if row == Row::new(2) {
                return spins(m, t);
            }
            if works.insert(t) {
                return m.works(t, m.until_interrupt());
            }
            works.remove(&t);
            if row == Row::new(1) {
                if fast_call(&mut m.s, t, PEER, Message::default(), By::of(m.fast)) == Went::Not {
                    call(&mut m.s, t, PEER, Message::default()).unwrap();
                }
                return;
            }
            let token = frame(&mut m.s, t).r8;
            let by = By::of(m.fast);
            if fast_reply_recv(&mut m.s, t, (OWN, token, 0), Message::default(), by) == Went::Not {
                let _ = reply(&mut m.s, t, token, Message::default());
                recv(&mut m.s, t, OWN, 0).unwrap();
            }
        });
        m.fair(2);
    }
}

/// Where all slices are used up, what is left goes to tasks in equal parts, of however many threads they are, and whether they wait for interrupts or not.
#[test]
fn d23_the_background_is_for_tasks_by_turns() {
    let mut m = Machine::new(&[1, 5, 20], true);
    for _ in 0..1_000 {
        thread(&mut m.s, 0);
    }
    let spinner = m.s.tasks[Row::new(1)].first_thread.unwrap().index();
    m.s.set_priority(spinner, 31);
    let first = m.s.tasks[Row::new(2)].first_thread.unwrap().index();
    let timer = m.s.timer_create(first, NOTE, 0).unwrap().number();
    let mut works = false;
    m.run(2_005 * MS, |m, t| {
        if t != first {
            return spins(m, t);
        }
        works = !works;
        if works {
            return m.works(t, m.until_interrupt());
        }
        let until = m.interrupt_at();
        m.s.timer_set(t, timer, Some(until)).unwrap();
        wait(&mut m.s, t, NOTE, 1).unwrap();
    });
    m.fair(1);
    let all: Vec<u64> = (0..3).map(|row| m.periods.iter().map(|p| p[row][0]).sum()).collect();
    for (row, had) in all.iter().enumerate().take(2) {
        assert!(had * 3 >= 2_000 * MS * 9 / 10, "row {row} had {had} of {all:?}");
    }
    assert!(all[2] < 2_000 * MS * 4 / 10, "who waits had more: {all:?}");
}

/// A task with a thousand threads that wait for a new slice, and others with one each: these have theirs at once, and it has its own.
#[test]
fn d23_a_thousand_threads_return_and_nobody_waits_for_them() {
    let mut m = Machine::new(&[2, 2, 3, 4], true);
    for _ in 0..1_000 {
        thread(&mut m.s, 0);
    }
    m.run(100 * MS, spins);
    let first = [1, 2, 3].map(|row| m.s.tasks[Row::new(row)].first_thread.unwrap().index());
    assert!(m.s.threads.iter().filter(|(_, t)| usize::from(t.effective) >= LEVELS).count() > 900, "they wait");
    assert_eq!(m.s.now, 100 * MS);
    for t in first {
        assert!(usize::from(m.s.threads.at(t).unwrap().effective) < LEVELS, "{t} waits behind the thousand");
    }
    m.run(1_005 * MS, spins);
    for victim in 0..4 {
        m.fair(victim);
    }
}

/// What a thread does next, by chance.
fn anything(
    m: &mut Machine,
    t: ThreadIndex,
    random: &mut Random,
    own: &mut HashMap<ThreadIndex, (HandleNumber, HandleNumber)>,
) {
    let row = m.s.row_of(t).unwrap();
    // Mostly it is gone when the timer interrupts.
    let work = match random.below(6) {
        0 => random.below(3 * MS as usize) as u64,
        1 => 12 * MS,
        2 => random.below(50_000) as u64,
        _ => m.until_interrupt(),
    };
    m.works(t, work);
    let (note, timer) = match own.get(&t) {
        Some(&own) => own,
        None => {
            let Ok(note) = m.s.notification_create(t) else { return };
            let Ok(timer) = m.s.timer_create(t, note.number(), 0) else { return };
            let made = (note.number(), timer.number());
            own.insert(t, made);
            made
        }
    };
    let fast = m.fast;
    let sleep = |m: &mut Machine, ticks: u64| {
        let until = m.s.now + MS + ticks * MS;
        m.s.timer_set(t, timer, Some(until)).unwrap();
        let _ = wait(&mut m.s, t, note, 1);
    };
    match random.below(9) {
        0 => sleep(m, random.below(20) as u64),
        1 | 2 => sleep(m, 0),
        3 | 4 => {
            // Another one of the task, if it waits, goes on.
            let others: Vec<HandleNumber> =
                own.iter().filter(|(o, _)| **o != t && m.s.row_of(**o) == Ok(row)).map(|(_, o)| o.0).collect();
            if !others.is_empty() {
                let mut others = others;
                others.sort_unstable_by_key(|number| number.to_u64());
                let _ = signal(&mut m.s, t, others[random.below(others.len())], 1, By::of(fast));
            }
            sleep(m, 3);
        }
        5 => drop(take_turns(&mut m.s, t, By::of(fast))),
        6 if m.s.tasks[row].threads < 60 => {
            let priority = m.s.tasks[row].record.priority + random.below(4) as u8;
            let new = m.s.thread_start(row, TrapFrame::default(), priority).unwrap().index();
            m.work.remove(&new);
            own.remove(&new);
        }
        7 if m.s.tasks[row].threads > 1 => {
            own.remove(&t);
            m.ends(t);
        }
        8 if random.below(40) == 0 => {
            let dead: Vec<ThreadIndex> =
                m.s.threads.iter().filter(|(_, t)| t.task == row).map(|(id, _)| id.index()).collect();
            for t in dead {
                own.remove(&t);
                m.work.remove(&t);
            }
            kill(&mut m.s, row);
            reap(&mut m.s, row);
            spawn(&mut m.s, row);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 4 } else { 100 },
        max_shrink_iters: 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn d23_whatever_tasks_do_each_has_its_slice_and_no_more(seed in any::<u64>().no_shrink(), fast in any::<bool>()) {
        let mut random = Random(seed | 1);
        let mut m = Machine::new(&[1, 1, 3, 5, 7, 20], fast);
        let mut own = HashMap::new();
        m.run(605 * MS, |m, t| if m.s.row_of(t) == Ok(Row::new(5)) { spins(m, t) } else { anything(m, t, &mut random, &mut own) });
        m.fair(5);
    }
}
