//! The supervisor task. It has the right to start, end and reap tasks, and makes no calls: no
//! driver can block it.
//!
//! It works in turns. A turn is caused by a notification (a death, the timer) or by a request; it
//! does a bounded amount of work and sets the timer for the rest, so that requests are served in
//! between. Reports are printed only in turns that the timer causes: the next life of a dead task
//! does not wait for them. A report needs only the kernel's record of the dead task, which is
//! copied as soon as the death is noticed.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod requests;

use abi::error::{DeathKind, FaultRecord};
use abi::manifest::{Restart, TaskRecord};
use abi::message::{ReplyToken, bits};
use abi::task::{Activity, TaskState, TaskStatus};
use abi::{PAGE_SIZE, Status, TaskId, name_str};
use alloc::string::String;
use alloc::vec::Vec;
use rt::archive::Archive;
use rt::ipc::Request;
use rt::proto::Deferred;
use rt::syscall::CallFailure;
use rt::time::{Timer, now_ns};
use rt::{Answer, Driver, println};
use supervisor::Refusal;
use supervisor::policy::{self, History, Verdict};
use supervisor::report::{Crash, Next};
use supervisor::reports::{Death, Due, Reports};

rt::driver!(Supervisor);

/// Notification bit of the supervisor's timer.
const TIMER_BIT: u32 = 32;
/// Most calls of `reap` in a turn; each frees a bounded number of frames.
const REAPS_PER_TURN: usize = 64;
/// Most reports printed in a turn.
const REPORTS_PER_TURN: usize = 4;
/// How long reports wait, in nanoseconds: the next life of a dead task, and those that wait for its
/// answers, go first.
const REPORT_DELAY_NS: u64 = NS_PER_MS;
const NS_PER_MS: u64 = 1_000_000;

/// The supervisor's view of the task in a row of the task table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Dead or never started, and nothing is planned.
    Idle,
    /// Running, in this life.
    Running(TaskId),
    /// Dead, or its start failed half-way; it is being reaped. `respawn_ns`: the time of its next
    /// start, if one is planned.
    Reaping { respawn_ns: Option<u64> },
    /// Reaped; to be started again at this time.
    Waiting { respawn_ns: u64 },
}

/// One row of the task table.
struct Task {
    record: TaskRecord,
    phase: Phase,
    history: History,
    /// The argument of the task's last spawn, which a restart repeats.
    argument: String,
    /// Generation of the newest life, 0 before the first.
    newest: u32,
    /// Generation of the newest life that has ended, and how it ended.
    ended: Option<(u32, DeathKind)>,
    /// Exception vector of that life's end, 0 for none.
    vector: u32,
    /// Time of that life's end, in nanoseconds since boot.
    ended_ns: u64,
    /// The request of a client for a new life while the old one is still being reaped.
    spawn_request: Option<Deferred<TaskId, Refusal>>,
    /// When the task was last seen in a call to another task, in nanoseconds since boot.
    blocked_ns: u64,
}

/// A client that waits for the end of a life.
struct Waiter {
    id: TaskId,
    deferred: Deferred<DeathKind, Refusal>,
}

struct Supervisor {
    archive: Option<Archive>,
    tasks: Vec<Task>,
    reports: Reports,
    waiters: Vec<Waiter>,
    timer: Option<Timer>,
    /// When reports are printed next, in nanoseconds since boot; `None` if there are none.
    reports_ns: Option<u64>,
    /// Milliseconds between two questions for signs of life; `None` if no task is watched.
    pulse_ms: Option<u64>,
    /// Time of the next question for signs of life, in nanoseconds since boot; `None` if no task is
    /// watched.
    heartbeat_ns: Option<u64>,
    /// The length of the scheduler's period in nanoseconds.
    period_ns: u64,
}

/// Lets the heap take the memory for reports from the kernel at the beginning: the text of a report
/// is built of many small blocks, and their sizes depend on the death. So the supervisor's memory
/// does not depend on which tasks have died.
fn make_room_for_reports() {
    let sizes = (4..=11).map(|power| 1_usize << power);
    let blocks: Vec<Vec<u8>> =
        sizes.flat_map(|size| (0..(8192 / size).clamp(8, 64)).map(move |_| Vec::with_capacity(size))).collect();
    core::hint::black_box(&blocks);
}

impl Driver for Supervisor {
    fn init() -> Self {
        let archive = Archive::map();
        let records = archive.as_ref().map_or(&[][..], Archive::tasks);
        if records.is_empty() {
            println!("no task table: nothing to start");
        }
        let timer = Timer::new(TIMER_BIT).inspect_err(|status| println!("no timer: {status}")).ok();
        let pulse_ms = policy::heartbeat_ms(records.iter().map(|record| record.heartbeat_ms));
        let period_ns = rt::task::system_info().map_or(0, |info| info.period_ns);
        let heartbeat_ns = pulse_ms.map(|ms| now_ns() + ms * NS_PER_MS);
        let tasks: Vec<_> = records.iter().copied().map(Task::new).collect();
        make_room_for_reports();
        let reports = Reports::new(tasks.len());
        let mut supervisor = Supervisor {
            archive,
            tasks,
            reports,
            waiters: Vec::new(),
            timer,
            reports_ns: None,
            pulse_ms,
            heartbeat_ns,
            period_ns,
        };
        rt::described!(supervisor::protocol);
        supervisor.start_all();
        supervisor.turn(false);
        supervisor
    }

    fn notified(&mut self, set: u64) {
        if set & bits::TASK_EVENT != 0 {
            for index in 0..self.tasks.len() {
                self.look_for_death(index);
            }
        }
        self.turn(set & 1 << TIMER_BIT != 0);
    }

    fn request(&mut self, request: &Request) -> Answer {
        // A sent message has no caller who could learn its result.
        if request.token == ReplyToken::NONE {
            return Answer::Deferred;
        }
        let answer = supervisor::protocol::dispatch(self, request);
        self.turn(false);
        answer
    }
}

impl Task {
    fn new(record: TaskRecord) -> Self {
        Task {
            record,
            phase: Phase::Idle,
            history: History::default(),
            argument: String::new(),
            newest: 0,
            ended: None,
            vector: 0,
            ended_ns: 0,
            spawn_request: None,
            blocked_ns: 0,
        }
    }

    fn name(&self) -> &str {
        name_str(&self.record.name)
    }

    fn policy(&self) -> Restart {
        Restart::from_u8(self.record.restart)
    }

    fn began(&mut self, id: TaskId) {
        self.phase = Phase::Running(id);
        self.newest = id.generation;
        self.blocked_ns = now_ns();
        self.history.started(now_ns());
    }
}

impl Supervisor {
    /// Starts the tasks that the table marks for it, callees first.
    fn start_all(&mut self) {
        let me = rt::me();
        let order = policy::start_order(self.tasks.len(), |row| {
            self.tasks.get(row).into_iter().flat_map(|task| task.record.peers()).map(usize::from)
        });
        for index in order {
            if index == usize::from(me.index) {
                self.tasks[index].began(me);
            } else if self.tasks[index].record.flags & TaskRecord::START != 0 {
                if let Err(status) = self.spawn(index) {
                    self.spawn_failed(index, status);
                }
            } else {
                // No caller should wait for a task that is started only on request.
                self.expect(index, false);
            }
        }
    }

    /// Does what is due, and sets the timer for the rest. Reports are printed only if the `timer`
    /// has caused this turn.
    fn turn(&mut self, timer: bool) {
        let mut budget = REAPS_PER_TURN;
        for index in 0..self.tasks.len() {
            self.reap(index, &mut budget);
            if let Phase::Waiting { respawn_ns } = self.tasks[index].phase
                && respawn_ns <= now_ns()
                && let Err(status) = self.spawn(index)
            {
                self.spawn_failed(index, status);
            }
        }
        if self.heartbeat_ns.is_some_and(|due| due <= now_ns()) {
            for index in 0..self.tasks.len() {
                self.check_pulse(index);
            }
            self.heartbeat_ns = self.pulse_ms.map(|ms| now_ns() + ms * NS_PER_MS);
        }
        // Without a timer there is no later turn.
        if timer && self.reports_ns.is_some_and(|due| due <= now_ns()) || self.timer.is_none() {
            self.reports_ns = None;
            self.print_reports();
        }
        self.arm_timer();
    }

    fn arm_timer(&mut self) {
        let plans = self.tasks.iter().filter_map(|task| match task.phase {
            Phase::Idle | Phase::Running(_) => None,
            // The rest, beyond this turn's budget, soon.
            Phase::Reaping { .. } => Some(0),
            Phase::Waiting { respawn_ns } => Some(respawn_ns),
        });
        let plans = plans.min();
        if let Some(next) = self.reports.next_ns() {
            self.reports_ns.get_or_insert_with(|| next.max(now_ns() + REPORT_DELAY_NS));
        }
        let Some(timer) = &self.timer else { return };
        match plans.into_iter().chain(self.heartbeat_ns).chain(self.reports_ns).min() {
            Some(due) => timer.arm_at(due),
            None => timer.disarm(),
        }
    }

    /// Begins a life of a task that is reaped.
    fn spawn(&mut self, index: usize) -> Result<TaskId, Status> {
        self.expect(index, true);
        let task = &mut self.tasks[index];
        let id = rt::task::spawn_detailed(index, &task.argument).map_err(|CallFailure { status, value }| {
            match status {
                Status::BadImage => println!("{} cannot be started: {status} (reason {value})", task.name()),
                _ => println!("{} cannot be started: {status}", task.name()),
            }
            status
        })?;
        task.began(id);
        Ok(id)
    }

    /// Handles the kernel's refusal to start a task.
    fn spawn_failed(&mut self, index: usize, status: Status) {
        let now = now_ns();
        let task = &mut self.tasks[index];
        let verdict = match status {
            Status::NoMoreLives => task.history.give_up(),
            _ => task.history.start_failed(task.policy(), now),
        };
        let respawn_ns = match verdict {
            Verdict::Restart { delay_ms } => Some(now + delay_ms * NS_PER_MS),
            Verdict::Stay => None,
            Verdict::GiveUp => {
                println!("{} is given up: it failed too often", task.name());
                None
            }
        };
        self.clear_up_after_start(index, respawn_ns);
    }

    /// Reaps a task after a start that failed half-way, which leaves the same as a death.
    fn clear_up_after_start(&mut self, index: usize, respawn_ns: Option<u64>) {
        self.tasks[index].phase = Phase::Reaping { respawn_ns };
        if respawn_ns.is_none() {
            self.expect(index, false);
        }
    }

    /// Tells the kernel whether callers of a task may wait for its next life.
    fn expect(&self, index: usize, next_life: bool) {
        if let Err(status) = rt::task::expect(index, next_life) {
            println!("expectation of {} not set: {status}", self.tasks[index].name());
        }
    }

    /// If the task's life has ended: decides what follows, queues the report, and begins to reap
    /// it.
    fn look_for_death(&mut self, index: usize) {
        let Phase::Running(id) = self.tasks[index].phase else {
            return;
        };
        let dead =
            rt::task::status(index).is_ok_and(|status| TaskState::from_u32(status.state) == Some(TaskState::Dead));
        if !dead {
            return;
        }
        let record = rt::task::fault(index).unwrap_or_else(|status| {
            println!("no fault record of {}: {status}", self.tasks[index].name());
            zeroed_record(id)
        });
        let kind = DeathKind::from_u32(record.kind);
        let now = now_ns();
        let task = &mut self.tasks[index];
        task.ended = Some((id.generation, kind));
        task.vector = record.vector;
        task.ended_ns = record.time_ns;
        let verdict = task.history.died(task.policy(), kind, record.error_code as u32 as i32, now);
        let (next, respawn_ns) = match verdict {
            Verdict::Restart { delay_ms } => (Next::Restart { delay_ms }, Some(now + delay_ms * NS_PER_MS)),
            Verdict::Stay => (Next::Stay, None),
            Verdict::GiveUp => (Next::GivenUp, None),
        };
        task.phase = Phase::Reaping { respawn_ns };
        if respawn_ns.is_none() {
            self.expect(index, false);
        }
        self.reports.add(Death { record: FaultRecord { task: id.to_u32(), ..record }, next });
    }

    /// Prints the reports that may be printed now, a few in a turn, so that restarts and clients
    /// are served in between. Answers clients that waited for them.
    fn print_reports(&mut self) {
        for _ in 0..REPORTS_PER_TURN {
            let Some(due) = self.reports.due(now_ns()) else { break };
            let bytes = match due {
                Due::Report(death) => {
                    let bytes = self.report(&death);
                    self.release_waiters(death.id(), DeathKind::from_u32(death.record.kind));
                    bytes
                }
                Due::Unreported { row, count } => {
                    let name = self.tasks.get(usize::from(row)).map_or("?", Task::name);
                    let line =
                        alloc::format!("{name} died {count} times more, too fast for reports: `ps` counts its lives");
                    println!("{line}");
                    self.cost(&line)
                }
            };
            self.reports.printed(bytes);
        }
    }

    /// The cost of a line in this task's log allowance, in bytes.
    fn cost(&self, line: &str) -> usize {
        supervisor::reports::cost(abi::name_str(&rt::info().name), line)
    }

    /// Prints a report; returns its cost in this task's log allowance, in bytes.
    fn report(&self, Death { record, next }: &Death) -> usize {
        let Some(task) = self.tasks.get(usize::from(TaskId::from_u32(record.task).index)) else { return 0 };
        let file = |kind: &str| {
            let path = alloc::format!("{kind}/{}", task.name());
            self.archive.as_ref().and_then(|archive| archive.file(&path)).unwrap_or_default()
        };
        let (symbols, lines) = (file("sym"), file("lines"));
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name()).collect();
        let stack_bytes = u64::from(task.record.stack_frames) * PAGE_SIZE as u64;
        let lines =
            Crash { name: task.name(), record, symbols, lines, stack_bytes, next: *next, tasks: &names }.lines();
        lines.iter().for_each(|line| println!("{line}"));
        lines.iter().map(|line| self.cost(line)).sum()
    }

    /// Frees a dead task's frames, within this turn's budget. When all are free, answers the
    /// clients that waited for that.
    fn reap(&mut self, index: usize, budget: &mut usize) {
        let Phase::Reaping { respawn_ns } = self.tasks[index].phase else {
            return;
        };
        loop {
            if *budget == 0 {
                return;
            }
            *budget -= 1;
            match rt::task::reap(index) {
                // Not dead: the start failed before anything was created.
                Ok(0) | Err(Status::NoSuchTask) => break,
                Ok(_) => {}
                Err(status) => {
                    println!("{} is not cleared away: {status}", self.tasks[index].name());
                    break;
                }
            }
        }
        let task = &mut self.tasks[index];
        task.phase = respawn_ns.map_or(Phase::Idle, |respawn_ns| Phase::Waiting { respawn_ns });
        if let Some((generation, kind)) = task.ended {
            self.release_waiters(TaskId { index: index as u16, generation }, kind);
        }
        if let Some(deferred) = self.tasks[index].spawn_request.take() {
            // A client that died meanwhile takes no answer.
            let _ = deferred.answer(self.spawn_on_request(index));
        }
    }

    /// Answers the clients that wait for the end of a life, if it is reported and reaped.
    fn release_waiters(&mut self, id: TaskId, kind: DeathKind) {
        if !self.is_done_with(id) {
            return;
        }
        for waiter in self.waiters.extract_if(.., |waiter| waiter.id == id) {
            // A client that died meanwhile takes no answer.
            let _ = waiter.deferred.answer(Ok(kind));
        }
    }

    /// Whether a life that has ended is both reported and reaped.
    fn is_done_with(&self, id: TaskId) -> bool {
        let reaping = |task: &Task| matches!(task.phase, Phase::Reaping { .. }) && task.newest == id.generation;
        !self.reports.holds(id) && !self.tasks.get(usize::from(id.index)).is_some_and(reaping)
    }

    /// Asks a watched task for a sign of life, and kills it if it has not answered for too long.
    fn check_pulse(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let Phase::Running(id) = task.phase else {
            return;
        };
        let limit_ms = task.record.heartbeat_ms;
        if limit_ms == 0 {
            return;
        }
        let Ok(status) = rt::task::status(index) else {
            return;
        };
        if status.id != id.to_u32() || TaskState::from_u32(status.state) != Some(TaskState::Running) {
            return;
        }
        let now = now_ns();
        if in_a_call(&status) {
            task.blocked_ns = now;
        }
        let result =
            if policy::is_hung(status.heartbeat_ns, now.saturating_sub(task.blocked_ns), limit_ms, self.period_ns) {
                rt::task::kill(id, DeathKind::Hung)
            } else if status.heartbeat_ns == 0 {
                rt::task::signal(index, bits::HEARTBEAT)
            } else {
                Ok(())
            };
        if let Err(status) = result {
            println!("heartbeat of {}: {status}", task.name());
        }
    }
}

/// Whether the task waits for another task's answer.
fn in_a_call(status: &TaskStatus) -> bool {
    matches!(Activity::from_u32(status.activity), Activity::Sending | Activity::Replying)
}

fn zeroed_record(id: TaskId) -> FaultRecord {
    FaultRecord { task: id.to_u32(), ..zerocopy::FromZeros::new_zeroed() }
}
