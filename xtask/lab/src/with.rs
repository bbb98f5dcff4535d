//! What `cargo xtask test --with DIR` does with the tasks of a crate from outside: the boots, kills and senseless requests that the drivers of
//! this system go through. Nothing is known of the crate's protocol: judged is that the task lives, that it comes back, and that
//! nobody else is harmed and nothing is lost with it.

use ::fault_injection::Random;
use abi::manifest::Restart;
use anyhow::{Context, Result, bail, ensure};
use machine::build::{Built, Config, SYSTEM_TOML, build_system, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, Outcome, Report, Wanted, image};
use machine::loader::Firmware;
use machine::manifest::{System, Task};
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use supervisor::policy::{LOOP_DEATHS, LOOP_WINDOW_NS};

/// How long a command, and a restart with all its back-off, may take on a busy machine.
const COMMAND: Duration = Duration::from_secs(30);
/// How long the whole of a test may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How long a task is watched that has nothing to do.
const QUIET: Duration = Duration::from_secs(3);
/// How many times it is killed in the test.
const KILLS: u64 = 3;
/// How many requests it gets, and how long each may wait for an answer.
const REQUESTS: usize = 24;
const ANSWER: Duration = Duration::from_secs(2);
/// By how many KiB free memory may differ between two moments, for the logs and heaps of the others.
const SLACK: u64 = 64;

/// What the runtime says in a task's log whose kept memory is too small (`rt::keep::open`).
const FORGETS: &str = "a restart forgets everything";

/// A test of a task.
type Check = fn(&mut Guest, &Task) -> Result<()>;

const TESTS: [(&str, Check); 4] = [
    ("it_boots_beside_the_others", boots),
    ("it_lives_with_nothing_to_do", quiet),
    ("it_comes_back_when_it_is_killed", |guest, task| kills(guest, task, &mut Random::new(1), KILLS).map(drop)),
    ("no_request_ends_it", requests),
];

/// The system with the crates in it, built.
pub(crate) struct Outside {
    system: System,
    built: Built,
    image: PathBuf,
}

impl Outside {
    /// Builds it.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build(config: &Config) -> Result<Self> {
        let system = System::load(&config.paths.root.join(SYSTEM_TOML), config.with)?;
        let build = || build_system(config, SYSTEM_TOML, "with.tar");
        let (builder, built) = with_loader(config, Firmware::Pvh, build)?;
        let image = image(config.paths, &builder, &built, Firmware::Pvh, "test-with")?;
        Ok(Self { system, built, image })
    }

    /// The tasks from outside.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.system.tasks.iter().filter(|task| task.outside.is_some())
    }

    /// Boots it, and starts a task that is not started at boot.
    ///
    /// # Errors
    /// When there is no prompt.
    pub(crate) fn boot(&self, machine: &Machine, ready: &Ready, task: &Task, limit: Duration) -> Result<Guest> {
        let mut guest = Guest::boot(machine, &ready.programs, Some(&self.built.kernel), limit)?;
        guest.wait_prompt(BOOT)?;
        if !task.start.value {
            guest.run(&format!("spawn {}", task.name.value), COMMAND)?;
        }
        Ok(guest)
    }

    /// Its image.
    #[must_use]
    pub(crate) fn image(&self) -> PathBuf {
        self.image.clone()
    }
}

/// Runs the tests that are wanted, on every task of the crates.
///
/// # Errors
/// When something does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let outside = Outside::build(config)?;
    for task in outside.tasks() {
        for (test, check) in TESTS {
            let name = format!("system::with::{}::{test}", task.name.value);
            if !wanted.matches(&name) {
                continue;
            }
            let (logs, begun) = (report.logs(&name)?, Instant::now());
            let attempt = || {
                let machine = wanted.machine(outside.image(), logs.clone());
                let mut guest = outside.boot(&machine, ready, task, LIMIT)?;
                check(&mut guest, task)?;
                guest.power_off(COMMAND)
            };
            let outcome: Outcome = attempt().map_err(|error: anyhow::Error| {
                format!(
                    "{error:#}\nWhat {} printed is in kernel.log, in the lines that begin with [{0}].",
                    task.name.value
                )
            });
            report.verdict(&name, &outcome, Some(begun.elapsed()), &logs);
        }
    }
    Ok(())
}

/// What `ps` says of a task.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    alive: bool,
    given_up: bool,
    restarts: u64,
}

/// Reads the line of a task in what `ps` printed. Its state may be two words, and one of them another task's name.
fn seen(lines: &[String], name: &str) -> Option<Seen> {
    let line = lines.iter().find(|line| line.split_whitespace().next() == Some(name))?;
    let words: Vec<_> = line.split_whitespace().skip(1).collect();
    let mut numbers = words.iter().filter_map(|word| word.parse::<u64>().ok());
    let restarts = numbers.nth(1)?;
    let given_up = words.starts_with(&["given", "up"]);
    Some(Seen { alive: !given_up && !["dead", "off"].contains(words.first()?), given_up, restarts })
}

fn ask(guest: &mut Guest, name: &str) -> Result<Seen> {
    let lines = guest.run("ps", COMMAND)?.lines;
    seen(&lines, name).with_context(|| format!("`ps` does not show {name}:\n{}", lines.join("\n")))
}

/// The tasks of the system itself: none of them has died.
fn others(guest: &mut Guest) -> Result<()> {
    let lines = guest.run("ps", COMMAND)?.lines;
    for name in ["serial", "keyboard", "vga", "console", "shell"] {
        let other = seen(&lines, name).with_context(|| format!("no {name} in `ps`"))?;
        ensure!(other.alive && other.restarts == 0, "{name} was harmed:\n{}", lines.join("\n"));
    }
    Ok(())
}

/// Whether its program is one that ends by itself when it has done its work.
fn ends(task: &Task) -> bool {
    matches!(task.restart, Restart::Never | Restart::OnFailure)
}

/// It lives, or has ended as a program does that has done its work; the others live.
fn boots(guest: &mut Guest, task: &Task) -> Result<()> {
    let name = &task.name.value;
    let seen = ask(guest, name)?;
    ensure!(!seen.given_up && seen.restarts == 0, "{name} died at once: {seen:?}");
    let log = guest.kernel_log();
    if let Some(forgets) = log.lines().find(|line| line.contains(&format!("[{name}] {FORGETS}"))) {
        bail!("what {name} keeps does not outlive it; in its table: {forgets}");
    }
    ensure!(seen.alive || ends(task), "{name} does not run: {seen:?}");
    others(guest)
}

/// It dies of nothing, and is found by no missed heartbeat.
fn quiet(guest: &mut Guest, task: &Task) -> Result<()> {
    let name = &task.name.value;
    let watched = QUIET.max(Duration::from_millis(u64::from(task.heartbeat_ms.value) * 4));
    std::thread::sleep(watched.min(Duration::from_secs(60)));
    let seen = ask(guest, name)?;
    let log = guest.kernel_log();
    ensure!(
        seen.restarts == 0 && !seen.given_up && (seen.alive || ends(task)),
        "{name} did not live through {} s with nothing to do: {seen:?}\n{log}",
        watched.as_secs()
    );
    others(guest)
}

/// Waits until it lives again. Returns how long that took.
fn back(guest: &mut Guest, task: &Task, restarts: u64) -> Result<Duration> {
    let (name, begun) = (&task.name.value, Instant::now());
    loop {
        let seen = ask(guest, name)?;
        if seen.alive && seen.restarts > restarts {
            return Ok(begun.elapsed());
        }
        ensure!(!seen.given_up, "{name} was given up: it died too often, too soon");
        ensure!(begun.elapsed() < COMMAND, "{name} did not come back in {} s: {seen:?}", COMMAND.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kills it so many times, at moments that follow from `random`: each time it is back, and in the end no memory is lost. Returns how long it
/// was away each time.
///
/// # Errors
/// When it does not come back, somebody else is harmed, or memory is lost.
pub(crate) fn kills(guest: &mut Guest, task: &Task, random: &mut Random, count: u64) -> Result<Vec<Duration>> {
    let name = &task.name.value;
    let mut away = Vec::new();
    let mut free = None;
    let (begun, mut killed) = (Instant::now(), Vec::new());
    for number in 0..=count {
        std::thread::sleep(pause(&killed, begun.elapsed()));
        let before = ask(guest, name)?;
        if !before.alive {
            ensure!(ends(task), "{name} does not run before it is killed: {before:?}");
            // A program that has ended: what there is to kill is a new life.
            guest.run(&format!("spawn {name}"), COMMAND)?;
        }
        std::thread::sleep(Duration::from_millis(random.below(500)));
        let printed = guest.run(&format!("kill {name}"), COMMAND)?;
        killed.push(begun.elapsed());
        match task.restart {
            _ if printed.status != Some(0) && ends(task) => {}
            Restart::Never => {}
            _ => away.push(back(guest, task, before.restarts)?),
        }
        others(guest)?;
        // The first kill is for what a first restart takes once.
        let now = free_memory(guest)?;
        match free {
            None => free = Some(now),
            Some(free) if number == count => {
                ensure!(
                    now + SLACK >= free,
                    "{free} KiB were free after the first kill, {now} KiB are after {count} more"
                );
            }
            Some(_) => {}
        }
        std::thread::sleep(Duration::from_millis(1100));
    }
    Ok(away)
}

/// How long to wait before the next kill, when the earlier ones were at these times. Whoever dies again and again within moments is given up by the
/// supervisor, which is not what is tried here: so there are two deaths less than that in each of its windows, and a second besides.
fn pause(killed: &[Duration], now: Duration) -> Duration {
    let window = Duration::from_nanos(LOOP_WINDOW_NS) + Duration::from_secs(1);
    let first = killed.len().checked_sub(LOOP_DEATHS - 2).and_then(|first| killed.get(first));
    first.map_or(Duration::ZERO, |&first| (first + window).saturating_sub(now))
}

/// Requests that make no sense, from the shell where the task lets it call: whatever the answer is, or if there is none, it lives.
fn requests(guest: &mut Guest, task: &Task) -> Result<()> {
    let name = &task.name.value;
    if !task.clients.iter().any(|client| client.value == "shell") {
        // Nobody else would be there to ask: the shell is told so, and that is all that there is to see.
        let printed = guest.run(&format!("call {name} 1"), COMMAND)?;
        ensure!(printed.status != Some(0), "the shell may call {name}, which does not name it in `clients`");
        return others(guest);
    }
    let mut random = Random::new(2);
    for number in 0..REQUESTS {
        let label = if number < 12 { number as u64 } else { random.next() & 0xffff };
        let words: Vec<_> = (0..number % 5).map(|_| format!("{}", random.next() >> random.below(64))).collect();
        let command = format!("call {name} {label} {}", words.join(" "));
        guest.wait_prompt(COMMAND)?;
        guest.type_serial(command.trim_end())?;
        guest.serial.send(b"\r")?;
        if guest.wait_prompt(ANSWER).is_err() {
            guest.serial.send(b"\x03")?;
            guest.wait_prompt(COMMAND)?;
        }
        let seen = ask(guest, name)?;
        if seen.restarts > 0 || seen.given_up || !(seen.alive || ends(task)) {
            bail!("`{}` ended it: {seen:?}", command.trim_end());
        }
    }
    others(guest)
}

/// Free memory in KiB, as `mem` tells.
fn free_memory(guest: &mut Guest) -> Result<u64> {
    let lines = guest.run("mem", COMMAND)?.lines;
    let free = lines.iter().find_map(|line| line.trim_start().strip_prefix("free")?.split("KiB").next());
    let digits: String = free.context("`mem` tells no free memory")?.chars().filter(char::is_ascii_digit).collect();
    digits.parse().context("`mem` tells no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_kills_is_a_crash_loop() {
        for each in [0, 100, 2_000, 6_000] {
            let (mut killed, mut now) = (Vec::new(), Duration::ZERO);
            for _ in 0..40 {
                now += pause(&killed, now);
                killed.push(now);
                now += Duration::from_millis(each);
                let window = Duration::from_nanos(LOOP_WINDOW_NS);
                let deaths = killed.iter().filter(|&&at| at + window >= *killed.last().unwrap_or(&now)).count();
                assert!(deaths < LOOP_DEATHS - 1, "{deaths} deaths, one each {each} ms");
            }
            assert!(now <= Duration::from_secs(40 / 6 * 31 + 10).max(Duration::from_millis(40 * each)), "{now:?}");
        }
    }

    #[test]
    fn the_lines_of_ps_are_read() {
        let lines = [
            "NAME STATE PRIO RESTARTS CPU% NOW% MEMORY HNDL THRD",
            "mine waiting 3 0 0.0 0.0 12/128 4 1",
            "yours given up 3 7 0.0 0.0 0/128 0 0",
            "off off 3 0 0.0 0.0 0/9 0 0",
        ];
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(seen(&lines, "mine"), Some(Seen { alive: true, given_up: false, restarts: 0 }));
        assert_eq!(seen(&lines, "yours"), Some(Seen { alive: false, given_up: true, restarts: 7 }));
        assert_eq!(seen(&lines, "off").map(|seen| seen.alive), Some(false));
        assert_eq!(seen(&lines, "min"), None);
    }
}
