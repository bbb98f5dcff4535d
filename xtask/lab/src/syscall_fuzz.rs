//! `cargo xtask fuzz`: system calls at random from several tasks at once, on a kernel that checks itself. See `docs/fuzzing.md`.
//!
//! The calls are split into batches, each of which is a boot of its own with a seed of its own. The machine counts its time in
//! instructions, so that the same seed gives the same run: a batch that fails repeats alone.

mod system_tests;

use anyhow::Result;
use machine::build::{Built, Config, build_verified, with_loader, write_image};
use machine::harness::{in_parallel, machine};
use machine::loader::Firmware;
use machine::paths::{self, Paths};
use machine::qemu::{End, Machine};
use machine::symbols::{Symbols, panic_report};
use machine::toolchain::install::{Needs, Ready, ensure};
use machine::ui::say;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
pub use system_tests::test;

/// The task into which another writes.
const DEBUGGED: &str = "right";

/// The system that is booted.
const SYSTEM: &str = "userspace/lab/syscall-fuzz/system.toml";

/// System calls in a batch.
const BATCH: u64 = 1_000_000;

/// System calls where nobody says how many.
pub const COUNT: u64 = 10_000_000;

/// An instruction takes 2 to the power of this nanoseconds of the guest's time, so that a tick of the clock falls into every few hundred calls.
const SHIFT: u32 = 2;

/// How long a batch may take without counting as hung. It takes less than a minute.
const LIMIT: Duration = Duration::from_secs(600);

/// What to do.
pub struct Options {
    /// From which all follows.
    pub seed: u64,
    /// System calls.
    pub count: u64,
    /// Machines at the same time.
    pub jobs: usize,
    /// Where to write the figures.
    pub json: Option<PathBuf>,
    /// Whether what is missing may be installed.
    pub install: bool,
}

/// A boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// From which all follows.
    pub seed: u64,
    /// System calls at least.
    pub count: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// System calls by the kernel's general path; those by the fast paths come on top.
    pub calls: u64,
    /// A sum over the results of all calls.
    pub hash: String,
    /// How often the kernel found its state in order.
    pub checks: u64,
    /// How many lives there were, and how they ended.
    pub lives: Vec<(String, u64)>,
    /// What was wrong, in words.
    pub reasons: Vec<String>,
}

/// Does it all and prints what came of it. The exit code says whether all went well.
///
/// # Errors
/// When something does not build.
pub fn fuzz(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let begun = Instant::now();
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let (built, image) = system(&config)?;
    let batches = batches(options.seed, options.count);
    let logs = paths.target.join("fuzz");
    let _ = std::fs::remove_dir_all(&logs);
    let outcomes = Mutex::new(Vec::new());
    let numbered: Vec<_> = batches.iter().enumerate().collect();
    in_parallel(&numbered, options.jobs, |(number, batch)| {
        let begun = Instant::now();
        let outcome = batch.run(&ready, &built, &image, &logs.join(format!("{number}")))?;
        let verdict = if outcome.reasons.is_empty() { "good" } else { "FAILED" };
        let Outcome { calls, hash, .. } = &outcome;
        let took = begun.elapsed().as_secs_f32();
        say(format!(
            "batch {} of {}: seed {}, {calls} calls, hash {hash}, {verdict} ({took:.1} s)",
            number + 1,
            batches.len(),
            batch.seed
        ));
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((*number, **batch, outcome));
        Ok(())
    })?;
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, ..)| *number);
    say(format!("{:.0} s", begun.elapsed().as_secs_f32()));
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", to_json(options, &outcomes)).as_bytes())?;
    }
    let mut failed = 0;
    for (number, batch, outcome) in outcomes.iter().filter(|(.., outcome)| !outcome.reasons.is_empty()) {
        failed += 1;
        println!("batch {}, whose log is in {}:", number + 1, Paths::shown(&logs.join(format!("{number}"))));
        outcome.reasons.iter().for_each(|reason| println!("    {}", reason.replace('\n', "\n    ")));
        println!("    again: {}", batch.again());
    }
    let sum = |what: fn(&Outcome) -> u64| outcomes.iter().map(|(.., outcome)| what(outcome)).sum::<u64>();
    println!(
        "{} system calls, {} lives, {} checks of the kernel's state; {failed} of {} batches failed",
        sum(|outcome| outcome.calls),
        sum(|outcome| outcome.lives.iter().filter(|(what, _)| what == "lives").map(|(_, count)| count).sum()),
        sum(|outcome| outcome.checks),
        batches.len()
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(options: &Options, outcomes: &[(usize, Batch, Outcome)]) -> Value {
    let batches: Vec<_> = outcomes
        .iter()
        .map(|(_, batch, outcome)| {
            let lives: serde_json::Map<_, _> =
                outcome.lives.iter().map(|(what, count)| (what.clone(), json!(count))).collect();
            json!({
                "seed": batch.seed,
                "count": batch.count,
                "calls": outcome.calls,
                "hash": outcome.hash,
                "checks": outcome.checks,
                "lives": lives,
                "reasons": outcome.reasons,
            })
        })
        .collect();
    json!({ "seed": options.seed, "count": options.count, "batches": batches })
}

/// Builds the system; returns it with its disk image.
///
/// # Errors
/// When it does not build.
pub(crate) fn system(config: &Config) -> Result<(Built, PathBuf)> {
    let (builder, built) = with_loader(config, Firmware::Pvh, || build_verified(config, SYSTEM, "fuzz.tar"))?;
    let image = config.paths.images().join("fuzz-bios.img");
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok((built, image))
}

/// The batches.
#[must_use]
pub(crate) fn batches(seed: u64, count: u64) -> Vec<Batch> {
    crate::batches(seed, count, BATCH).into_iter().map(|(seed, count)| Batch { seed, count }).collect()
}

impl Batch {
    /// The command that does this batch alone.
    #[must_use]
    pub(crate) fn again(&self) -> String {
        format!("cargo xtask fuzz --seed {} --count {}", self.seed, self.count)
    }

    /// Boots it and judges. What it prints stays in the directory `logs`.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub(crate) fn run(&self, ready: &Ready, built: &Built, image: &Path, logs: &Path) -> Result<Outcome> {
        let _ = std::fs::remove_dir_all(logs);
        let told = Some(("opt/enigma/syscalls", format!("{} {}", self.seed, self.count)));
        let machine = Machine { counted: Some(SHIFT), told, ..machine(image.to_path_buf(), logs.to_path_buf()) };
        let mut qemu = machine.start(&ready.programs)?;
        qemu.go()?;
        let end = qemu.wait(LIMIT)?;
        qemu.stop();
        let log = std::fs::read(logs.join("kernel.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut outcome = self.judge(&log, end.as_ref());
        if let Some(report) = panic_report(&log) {
            let named =
                Symbols::load(&built.kernel).map_or_else(|_| report.to_owned(), |symbols| symbols.annotate(report));
            outcome.reasons.insert(0, format!("the kernel panicked:\n{named}"));
        }
        Ok(outcome)
    }

    /// The verdict on what it printed.
    #[must_use]
    pub(crate) fn judge(&self, log: &str, end: Option<&End>) -> Outcome {
        let mut outcome = Outcome::default();
        // Of the one that is debugged nothing can be believed: another writes into its memory and its registers.
        let fuzzers = log.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] succeeded "));
        for (task, what) in fuzzers.filter(|(task, _)| !["boss", DEBUGGED].contains(task)).take(10) {
            outcome.reasons.push(format!("a call of {task}'s succeeded {what}"));
        }
        // The kernel tags each line with its task: no fuzzer can speak for `boss`.
        for line in log.lines().filter_map(|line| line.strip_prefix("[boss] ")) {
            let words: Vec<_> = line.split_whitespace().collect();
            let number = |text: &str| text.parse().unwrap_or(0);
            match words[..] {
                ["calls", calls, "hash", hash, "checks", checks] => {
                    (outcome.calls, outcome.checks) = (number(calls), number(checks));
                    outcome.hash = hash.to_owned();
                }
                ["lives", ..] => {
                    outcome.lives =
                        words.chunks(2).map(|pair| (pair[0].to_owned(), number(pair[pair.len() - 1]))).collect();
                }
                ["leak", who, what, before, after] => {
                    outcome.reasons.push(format!("leak: {what} of {who}: {before} before, {after} after"));
                }
                ["seed", seed, "count", count] if (number(seed), number(count)) == (self.seed, self.count) => {}
                ["over"] => {}
                _ => outcome.reasons.push(format!("the task `boss` says: {line}")),
            }
        }
        match end {
            Some(End::PoweredOff) => {}
            Some(end) => outcome.reasons.push(end.to_string()),
            None => outcome.reasons.push(format!("hung: not over after {} s", LIMIT.as_secs())),
        }
        if outcome.calls < self.count {
            outcome.reasons.push(format!("{} of {} calls were made", outcome.calls, self.count));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Enigma\n[boss] seed 7 count 100\n[left] calls 9 hash 0 checks 1\n[boss] lives 5 exited 2 killed 3\n\
        [boss] calls 120 hash 00ff checks 3\n[boss] over\n";

    #[test]
    fn a_good_run_is_good() {
        let outcome = Batch { seed: 7, count: 100 }.judge(LOG, Some(&End::PoweredOff));
        assert_eq!((outcome.calls, outcome.hash.as_str(), outcome.checks), (120, "00ff", 3));
        assert_eq!(outcome.lives[2], ("killed".to_owned(), 3));
        assert_eq!(outcome.reasons, Vec::<String>::new());
    }

    #[test]
    fn who_is_debugged_is_the_one_that_is_not_believed() {
        let system =
            machine::manifest::System::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SYSTEM), &[]);
        let system = system.expect("the system is good");
        let debugged: Vec<_> = system.tasks.iter().flat_map(|task| &task.debug).map(|name| &name.value).collect();
        assert_eq!(debugged, [DEBUGGED]);
    }

    #[test]
    fn whatever_is_wrong_is_a_reason() {
        let reasons = |batch: Batch, log: &str, end| batch.judge(log, end).reasons;
        let batch = Batch { seed: 7, count: 100 };
        assert_eq!(reasons(batch, LOG, None).len(), 1, "hung");
        assert_eq!(reasons(batch, LOG, Some(&End::Reset)).len(), 1);
        assert_eq!(
            reasons(Batch { count: 1000, ..batch }, LOG, Some(&End::PoweredOff)).len(),
            2,
            "too few, another count"
        );
        assert_eq!(reasons(Batch { seed: 8, ..batch }, LOG, Some(&End::PoweredOff)).len(), 1, "another seed");
        let without = LOG.replace(
            "[left]",
            "[left] succeeded without the right: call 41 by 0x7\n[right] succeeded for nothing\n[left]",
        );
        let found = reasons(batch, &without, Some(&End::PoweredOff));
        assert_eq!(found, ["a call of left's succeeded without the right: call 41 by 0x7"]);
        let leak = LOG.replace("[boss] over", "[boss] leak machine frames 4 5");
        let found = reasons(batch, &leak, Some(&End::PoweredOff));
        assert_eq!(found, ["leak: frames of machine: 4 before, 5 after"]);
        assert_eq!(reasons(batch, "", Some(&End::PoweredOff)).len(), 1, "nothing was done");
    }

    #[test]
    fn a_batch_repeats_alone() {
        let all = batches(7, 2 * BATCH + 3);
        assert_eq!(all.iter().map(|batch| batch.count).collect::<Vec<_>>(), [BATCH, BATCH, 3]);
        assert!(all.iter().all(|batch| batches(batch.seed, batch.count) == [*batch]));
    }
}
