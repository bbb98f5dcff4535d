//! In the supervisor's place: starts the fuzzers, wakes, kills and buries them, has the kernel check itself, and looks for leaks when all are
//! dead. What it prints, `cargo xtask chaos --syscalls` reads.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::error::DeathKind;
use abi::message::bits;
use abi::syscall::{VERIFY_CHECK, VERIFY_TALLY};
use abi::task::TaskState;
use abi::{Status, TaskId};
use alloc::format;
use alloc::string::ToString;
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::println;
use rt::task;
use rt::time::Timer;
use seeded::leaks::Counters;
use seeded::told;
use syscall_fuzz::{Random, Registers};

rt::entry!(run);

/// The rows of the task table, as system.toml has them.
const POWER: usize = 1;
const FUZZERS: core::ops::Range<usize> = 2..8;

/// The bit of the timer by which it looks after them.
const TICK: u32 = 32;

/// So many ticks without processor time, and a fuzzer counts as stuck: all its threads wait for what does not come.
const PATIENCE: u32 = 4;

/// The kernel checks itself once in so many system calls.
const CHECK_EVERY: u64 = 20_000;

/// Where a seed is told: see `cargo xtask chaos`.
const TOLD: &[u8] = b"opt/enigma/syscalls";

/// A fuzzer.
#[derive(Clone, Copy, Default)]
struct Fuzzer {
    cpu_ns: u64,
    idle: u32,
}

/// How lives ended.
#[derive(Default)]
struct Deaths {
    exited: u32,
    panicked: u32,
    faulted: u32,
    killed: u32,
    stuck: u32,
}

struct Boss {
    random: Random,
    fuzzers: [Fuzzer; FUZZERS.end],
    deaths: Deaths,
    lives: u32,
    checks: u32,
}

fn run() {
    let told = told::text(TOLD);
    let mut words = told.as_deref().unwrap_or_default().split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(seed)), Some(Ok(count))) = (words.next(), words.next()) else {
        println!("failed there is no seed");
        return;
    };
    println!("seed {seed} count {count}");
    let (random, deaths) = (Random::new(seed), Deaths::default());
    let mut boss = Boss { random, fuzzers: Default::default(), deaths, lives: 0, checks: 0 };
    if let Err(status) = boss.fuzz(count) {
        println!("failed {status}");
    }
    println!("over");
    if task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

/// Has the kernel check itself: it panics where something is wrong. Returns how many calls there were by the general path, and the sum over them.
fn verify(number: u64) -> Result<[u64; 2], Status> {
    let mut regs = Registers::new(number);
    // SAFETY: touches no memory of the task.
    unsafe { regs.call() };
    if regs.rax == Status::Ok as u64 { Ok([regs.rdx, regs.rsi]) } else { Err(Status::BadSyscall) }
}

/// While `boss` has used up its share of the processor, a fuzzer may die between two of its calls.
fn unless_gone(done: Result<(), Status>) -> Result<(), Status> {
    if done == Err(Status::NoSuchTask) { Ok(()) } else { done }
}

fn counters() -> Result<Counters, Status> {
    let rows = FUZZERS.map(|row| task::status(row).map(|status| (row.to_string(), status)));
    let rows = rows.collect::<Result<alloc::vec::Vec<_>, _>>()?;
    Ok(Counters::new(&task::system_info()?, rows.into_iter()))
}

impl Boss {
    fn fuzz(&mut self, count: u64) -> Result<(), Status> {
        let timer = Timer::new(TICK)?;
        // What is made in a row's first life, and with the first look at the counters, stays.
        FUZZERS.into_iter().try_for_each(|row| self.begin(row))?;
        self.bury_all()?;
        counters()?;
        let before = counters()?;
        FUZZERS.into_iter().try_for_each(|row| self.begin(row))?;
        let mut next_check = 0;
        loop {
            timer.arm_in_ms(1);
            Notification::own().wait(bits::TASK_EVENT | 1 << TICK);
            for row in FUZZERS {
                self.look_after(row)?;
            }
            let [calls, _] = verify(VERIFY_TALLY)?;
            if calls >= next_check {
                self.check()?;
                next_check = calls + CHECK_EVERY;
            }
            if calls >= count {
                break;
            }
        }
        timer.disarm();
        self.bury_all()?;
        let [calls, sum] = verify(VERIFY_TALLY)?;
        self.check()?;
        let Deaths { exited, panicked, faulted, killed, stuck } = self.deaths;
        println!(
            "lives {} exited {exited} panicked {panicked} faulted {faulted} killed {killed} stuck {stuck}",
            self.lives
        );
        for leak in before.compare(&counters()?) {
            println!("leak {} {} {} {}", leak.who, leak.what, leak.values[0], leak.values[1]);
        }
        println!("calls {calls} hash {sum:016x} checks {}", self.checks);
        Ok(())
    }

    fn check(&mut self) -> Result<(), Status> {
        self.checks += 1;
        verify(VERIFY_CHECK).map(|_| ())
    }

    fn begin(&mut self, row: usize) -> Result<(), Status> {
        let seed = self.random.next();
        task::spawn(row, &format!("{seed}"))?;
        self.lives += 1;
        if let Some(fuzzer) = self.fuzzers.get_mut(row) {
            *fuzzer = Fuzzer::default();
        }
        Ok(())
    }

    /// Once a tick, and whenever a task has died.
    fn look_after(&mut self, row: usize) -> Result<(), Status> {
        let status = task::status(row)?;
        if status.state == TaskState::Dead as u32 {
            self.note(row)?;
            // Before there is a next life that could pass for the one that somebody waits for.
            self.check()?;
            while task::reap(row)? != 0 {}
            return self.begin(row);
        }
        let id = TaskId::from_u32(status.id);
        let Some(fuzzer) = self.fuzzers.get_mut(row) else { return Ok(()) };
        fuzzer.idle = if fuzzer.cpu_ns == status.cpu_ns { fuzzer.idle + 1 } else { 0 };
        fuzzer.cpu_ns = status.cpu_ns;
        if fuzzer.idle > PATIENCE {
            self.deaths.stuck += 1;
            return unless_gone(task::kill(id, DeathKind::Hung));
        }
        match self.random.below(200) {
            0 => return unless_gone(task::kill(id, DeathKind::Killed)),
            // Whoever is queued there hears that nobody will come; then that somebody will after all.
            1 => task::expect(row, self.random.once_in(2))?,
            2..=20 => {}
            _ => unless_gone(task::signal(row, syscall_fuzz::values::bits(&mut self.random)))?,
        }
        Ok(())
    }

    fn note(&mut self, row: usize) -> Result<(), Status> {
        match DeathKind::from_u32(task::fault(row)?.kind) {
            DeathKind::Exited => self.deaths.exited += 1,
            DeathKind::Panicked => self.deaths.panicked += 1,
            DeathKind::Exception => self.deaths.faulted += 1,
            _ => self.deaths.killed += 1,
        }
        Ok(())
    }

    /// Ends all fuzzers, and frees all they had.
    fn bury_all(&mut self) -> Result<(), Status> {
        for row in FUZZERS {
            let status = task::status(row)?;
            if status.state == TaskState::Running as u32 {
                unless_gone(task::kill(TaskId::from_u32(status.id), DeathKind::Killed))?;
            }
            while task::reap(row)? != 0 {}
            task::expect(row, true)?;
        }
        Ok(())
    }
}
