//! The order in which tasks are started, and the decision after a task's death. Works on times in
//! nanoseconds that the caller passes.

use abi::error::DeathKind;
use abi::manifest::Restart;
use alloc::vec::Vec;

/// Milliseconds before the second restart in a row; each further one waits twice as long. The first
/// restart is immediate.
pub const FIRST_DELAY_MS: u64 = 50;
/// Longest wait before a restart, in milliseconds.
pub const MAX_DELAY_MS: u64 = 5_000;
/// Length of a life, in nanoseconds, after which the delays begin anew.
pub const GOOD_LIFE_NS: u64 = 10_000_000_000;
/// This many deaths within [`LOOP_WINDOW_NS`] are a crash loop.
pub const LOOP_DEATHS: usize = 8;
/// Window of the crash loop, in nanoseconds.
pub const LOOP_WINDOW_NS: u64 = 30_000_000_000;
/// For tasks that are restarted for ever: the number of deaths after which the task is still
/// restarted at once, however short its lives are.
pub const FOREVER_AT_ONCE: u64 = 50;
/// For tasks that are restarted for ever: the least average time from one life to the next, in
/// nanoseconds. Each life is work for the supervisor, and for every peer, which is notified of it:
/// a task that dies at once takes no more of their time than that of this rate of lives.
pub const FOREVER_NS: u64 = 20_000_000;

/// Rows of the task table in the order in which to start them: a callee comes before its callers,
/// and apart from that the table's own order is kept. `calls(row)` are the rows that `row` may
/// call; rows out of range are ignored. A cycle, which the build refuses, does not stop the others:
/// its rows come in table order.
pub fn start_order<I: Iterator<Item = usize>>(count: usize, calls: impl Fn(usize) -> I) -> Vec<usize> {
    let mut order = Vec::with_capacity(count);
    let mut placed = alloc::vec![false; count];
    while order.len() < count {
        let ready = (0..count).find(|&row| {
            !placed[row] && calls(row).all(|peer| peer == row || placed.get(peer).copied().unwrap_or(true))
        });
        let Some(row) = ready.or_else(|| placed.iter().position(|&done| !done)) else {
            break;
        };
        placed[row] = true;
        order.push(row);
    }
    order
}

/// Longest time between two questions of the supervisor for signs of life, in milliseconds.
pub const HEARTBEAT_MS: u64 = 250;

/// Milliseconds between two questions for signs of life if the watched tasks have these limits:
/// short enough to detect a hang within one and a half of the shortest limit. `None` if no task is
/// watched (a limit of 0).
pub fn heartbeat_ms(limits: impl Iterator<Item = u32>) -> Option<u64> {
    let shortest = limits.filter(|&limit| limit != 0).min()?;
    Some((u64::from(shortest) / 2).clamp(1, HEARTBEAT_MS))
}

/// Whether a task that should show a sign of life every `limit_ms` milliseconds has failed to:
/// `waiting_ns` is the time since the question, `free_ns` the time for which the task was not seen
/// in a call to another task. A task that waits for an answer is not hung; the task that owes the
/// answer may be. Nor is a task hung that had no time to answer: it is sure of its slice only
/// within each period of the scheduler (`period_ns` nanoseconds), so it has at least two periods.
pub fn is_hung(waiting_ns: u64, free_ns: u64, limit_ms: u32, period_ns: u64) -> bool {
    let limit_ns = (u64::from(limit_ms) * 1_000_000).max(period_ns.saturating_mul(2));
    limit_ms != 0 && waiting_ns.min(free_ns) > limit_ns
}

/// The decision after a death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// Start the task again after this many milliseconds.
    Restart {
        /// Milliseconds from the death on.
        delay_ms: u64,
    },
    /// The task stays dead by its restart policy.
    Stay,
    /// The task would be restarted, but dies again and again: it is started only on request.
    GiveUp,
}

/// The history of one task, on which its restarts depend.
#[derive(Clone, Debug, Default)]
pub struct History {
    started_ns: u64,
    /// How many deaths there were since the last life longer than [`GOOD_LIFE_NS`].
    in_a_row: u32,
    /// Times of the last deaths, oldest first.
    deaths: Vec<u64>,
    /// For a task that is restarted for ever: the time up to which its deaths so far would have
    /// lasted at one in [`FOREVER_NS`].
    forever_ns: u64,
    /// How many lives were begun after the first one.
    pub restarts: u64,
    /// Whether the supervisor has given the task up.
    pub given_up: bool,
    lives: u64,
}

impl History {
    /// Records the begin of a life.
    pub fn started(&mut self, now_ns: u64) {
        self.started_ns = now_ns;
        self.restarts = self.lives;
        self.lives += 1;
        self.given_up = false;
    }

    /// Forgets earlier deaths, because a client asked for the task.
    pub fn pardon(&mut self) {
        self.in_a_row = 0;
        self.deaths.clear();
        self.given_up = false;
    }

    /// Records that a life ended at `now_ns` with this kind and, for an exit, this code; returns
    /// the decision.
    pub fn died(&mut self, policy: Restart, kind: DeathKind, exit_code: i32, now_ns: u64) -> Verdict {
        let failed = kind != DeathKind::Exited || exit_code != 0;
        match policy {
            Restart::Never => return Verdict::Stay,
            Restart::OnFailure if !failed => return Verdict::Stay,
            Restart::Forever => return Verdict::Restart { delay_ms: self.forever(now_ns) },
            Restart::OnFailure | Restart::Always => {}
        }
        if now_ns.saturating_sub(self.started_ns) > GOOD_LIFE_NS {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed_to_live(now_ns)
    }

    /// Records that the kernel refused to start the task at `now_ns`, which counts as a death;
    /// returns the decision.
    pub fn start_failed(&mut self, policy: Restart, now_ns: u64) -> Verdict {
        match policy {
            Restart::Never => return Verdict::Stay,
            // The refusal may be for lack of frames, which are freed later.
            Restart::Forever => return Verdict::Restart { delay_ms: self.forever(now_ns).max(FIRST_DELAY_MS) },
            Restart::OnFailure | Restart::Always => {}
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed_to_live(now_ns)
    }

    /// Gives the task up: it cannot be started at all.
    pub fn give_up(&mut self) -> Verdict {
        self.given_up = true;
        Verdict::GiveUp
    }

    /// The delay that the next death would cause, in milliseconds.
    pub fn next_delay_ms(&self) -> u64 {
        delay_ms(self.in_a_row.saturating_add(1))
    }

    /// The delay before the next life of a task that is restarted for ever, in milliseconds.
    fn forever(&mut self, now_ns: u64) -> u64 {
        self.forever_ns = self.forever_ns.max(now_ns).saturating_add(FOREVER_NS);
        self.forever_ns.saturating_sub(now_ns).saturating_sub(FOREVER_AT_ONCE * FOREVER_NS).div_ceil(1_000_000)
    }

    fn failed_to_live(&mut self, now_ns: u64) -> Verdict {
        self.deaths.retain(|&death| now_ns.saturating_sub(death) <= LOOP_WINDOW_NS);
        self.deaths.push(now_ns);
        if self.deaths.len() >= LOOP_DEATHS {
            self.given_up = true;
            return Verdict::GiveUp;
        }
        Verdict::Restart { delay_ms: delay_ms(self.in_a_row) }
    }
}

/// The delay before the restart that follows the `nth` death in a row (1 for the first), in
/// milliseconds.
fn delay_ms(nth: u32) -> u64 {
    match nth {
        0 | 1 => 0,
        n => FIRST_DELAY_MS.checked_shl(n - 2).filter(|&ms| n < 32 && ms <= MAX_DELAY_MS).unwrap_or(MAX_DELAY_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn order(calls: &[&[usize]]) -> Vec<usize> {
        start_order(calls.len(), |row| calls[row].iter().copied())
    }

    #[test]
    fn callees_start_before_callers() {
        // shell -> console -> {serial, vga}, shell -> supervisor
        assert_eq!(order(&[&[1, 4], &[2, 3], &[], &[], &[]]), [2, 3, 1, 4, 0]);
    }

    #[test]
    fn independent_tasks_keep_the_order_of_the_table() {
        assert_eq!(order(&[&[], &[], &[]]), [0, 1, 2]);
        assert_eq!(order(&[]), []);
    }

    #[test]
    fn a_cycle_or_a_bad_row_stops_nobody() {
        let found = order(&[&[1], &[0], &[]]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], 2, "who is in no cycle starts first");
        assert_eq!(order(&[&[200], &[1]]), [0, 1], "unknown peers and oneself do not count");
    }

    #[test]
    fn only_a_free_task_that_does_not_answer_hangs() {
        const PERIOD: u64 = S / 10;
        assert!(is_hung(501_000_000, S, 500, PERIOD));
        assert!(!is_hung(499_000_000, S, 500, PERIOD));
        assert!(!is_hung(S, 0, 500, PERIOD), "it waits for somebody else");
        assert!(!is_hung(u64::MAX, u64::MAX, 0, PERIOD), "it is not watched");
        assert!(is_hung(u64::MAX, u64::MAX, u32::MAX, PERIOD));
        assert!(
            !is_hung(199_000_000, S, 20, PERIOD),
            "others were more important for most of a period, and of the next"
        );
        assert!(is_hung(201_000_000, S, 20, PERIOD));
    }

    #[test]
    fn the_pulse_is_fast_enough_for_the_shortest_limit() {
        assert_eq!(heartbeat_ms([0, 0].into_iter()), None);
        assert_eq!(heartbeat_ms([2000, 0, 500].into_iter()), Some(HEARTBEAT_MS));
        assert_eq!(heartbeat_ms([2000, 30, 0].into_iter()), Some(15));
        assert_eq!(heartbeat_ms([1].into_iter()), Some(1));
    }

    #[test]
    fn forever_is_never_given_up() {
        let mut history = History::default();
        for death in 0..1000 {
            history.started(death * FOREVER_NS);
            let verdict = history.died(Restart::Forever, DeathKind::Exception, 0, death * FOREVER_NS);
            assert_eq!(verdict, Verdict::Restart { delay_ms: 0 });
        }
        assert_eq!(history.start_failed(Restart::Forever, 0), Verdict::Restart { delay_ms: 1000 * 20 + 20 - 1000 });
        let mut history = History::default();
        assert_eq!(history.start_failed(Restart::Forever, 0), Verdict::Restart { delay_ms: FIRST_DELAY_MS });
        assert!(!history.given_up);
    }

    /// A task that dies at the beginning of each life: restarted at once for a while, then at a
    /// limited rate; and at once again after a pause.
    #[test]
    fn forever_is_no_faster_than_its_peers_can_bear() {
        let (mut history, mut now, mut lives) = (History::default(), 0, 0);
        while now < 10 * S {
            lives += 1;
            let Verdict::Restart { delay_ms } = history.died(Restart::Forever, DeathKind::Exception, 0, now) else {
                panic!("given up")
            };
            assert_eq!(delay_ms == 0, lives <= FOREVER_AT_ONCE, "life {lives}");
            // Each life lasts for a tenth of a millisecond.
            now += delay_ms * 1_000_000 + 100_000;
        }
        let most = FOREVER_AT_ONCE + 10 * S / FOREVER_NS;
        assert!((most - 5..=most + 1).contains(&lives), "{lives} lives in ten seconds");
        now += FOREVER_AT_ONCE * FOREVER_NS;
        assert_eq!(
            history.died(Restart::Forever, DeathKind::Exception, 0, now),
            Verdict::Restart { delay_ms: 0 },
            "after a pause"
        );
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let delays: Vec<u64> = (1..=12).map(delay_ms).collect();
        assert_eq!(delays, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
        assert_eq!(delay_ms(u32::MAX), MAX_DELAY_MS);
        assert_eq!(delay_ms(66), MAX_DELAY_MS);
    }

    #[test]
    fn the_first_restart_is_immediate_and_a_good_life_resets_the_delay() {
        let mut history = History::default();
        history.started(0);
        assert_eq!(history.died(Restart::Always, DeathKind::Killed, 0, S), Verdict::Restart { delay_ms: 0 });
        history.started(S);
        assert_eq!(history.restarts, 1);
        assert_eq!(history.next_delay_ms(), 50);
        assert_eq!(history.died(Restart::Always, DeathKind::Panicked, 0, 2 * S), Verdict::Restart { delay_ms: 50 });
        history.started(2 * S);
        let long = 2 * S + GOOD_LIFE_NS + 1;
        assert_eq!(history.died(Restart::Always, DeathKind::Panicked, 0, long), Verdict::Restart { delay_ms: 0 });
    }

    #[test]
    fn eight_deaths_within_the_window_give_up_and_a_request_pardons() {
        let mut history = History::default();
        let mut now = 0;
        for death in 1..LOOP_DEATHS {
            history.started(now);
            now += S;
            assert!(
                matches!(history.died(Restart::Always, DeathKind::Exception, 0, now), Verdict::Restart { .. }),
                "death {death}"
            );
        }
        history.started(now);
        assert_eq!(history.died(Restart::Always, DeathKind::Exception, 0, now + S), Verdict::GiveUp);
        assert!(history.given_up);
        history.pardon();
        assert!(!history.given_up);
        history.started(now + 2 * S);
        assert_eq!(
            history.died(Restart::Always, DeathKind::Exception, 0, now + 3 * S),
            Verdict::Restart { delay_ms: 0 }
        );
    }

    #[test]
    fn slow_deaths_are_no_crash_loop() {
        let mut history = History::default();
        for death in 0..50 {
            history.started(death * 5 * S);
            let verdict = history.died(Restart::Always, DeathKind::Exception, 0, (death + 1) * 5 * S);
            assert!(matches!(verdict, Verdict::Restart { .. }), "death {death}: {verdict:?}");
        }
    }

    #[test]
    fn the_policy_decides_who_is_restarted() {
        let ends = [(DeathKind::Exited, 0), (DeathKind::Exited, 2), (DeathKind::Killed, 0), (DeathKind::Exception, 0)];
        let restarted =
            |policy| ends.map(|(kind, code)| History::default().died(policy, kind, code, 0) != Verdict::Stay);
        assert_eq!(restarted(Restart::Never), [false; 4]);
        assert_eq!(restarted(Restart::OnFailure), [false, true, true, true]);
        assert_eq!(restarted(Restart::Always), [true; 4]);
    }

    #[test]
    fn a_program_that_the_kernel_refuses_is_given_up_too() {
        let mut history = History::default();
        let verdicts: Vec<Verdict> = (0..LOOP_DEATHS).map(|_| history.start_failed(Restart::Always, 0)).collect();
        assert_eq!(verdicts[0], Verdict::Restart { delay_ms: 0 });
        assert_eq!(verdicts[LOOP_DEATHS - 1], Verdict::GiveUp);
        assert_eq!(History::default().start_failed(Restart::Never, 0), Verdict::Stay);
    }
}
