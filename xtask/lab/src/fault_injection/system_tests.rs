//! Faults done to the drivers while their clients work: a few hundred of what `cargo xtask chaos` does by the thousand, and the proof that a
//! seed gives the same run again.

use super::batch::{self, Batch};
use ::fault_injection::Driver;
use anyhow::Result;
use machine::build::Config;
use machine::harness::{Outcome, Report, Wanted, in_parallel};
use machine::toolchain::install::Ready;
use std::path::Path;
use std::time::Instant;

const ALL: &str = "system::chaos::drivers_are_hurt_and_nothing_is_lost";
const AGAIN: &str = "system::chaos::a_seed_gives_the_same_run_again";

/// The names of the tests.
const NAMES: [&str; 2] = [ALL, AGAIN];

/// A batch of the first test, of a seed that nothing depends on.
const BATCH: (u64, u32) = (20_261_124, 250);
/// Those of the second.
const TWICE: (u64, u32) = (77, 40);

/// Runs those that are wanted.
///
/// # Errors
/// When the system does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let tests: Vec<_> = NAMES.into_iter().filter(|name| wanted.matches(name)).collect();
    if tests.is_empty() {
        return Ok(());
    }
    let (built, image) = super::system(config)?;
    in_parallel(&tests, wanted.jobs, |name| {
        let logs = report.logs(name)?;
        let begun = Instant::now();
        let run = |(seed, count), dir: &str| {
            let batch = Batch { seed, count, drivers: Driver::ALL.into() };
            batch.run(ready, &built, &image, &logs.join(dir))
        };
        let outcome = match *name {
            ALL => run(BATCH, "all").map(|outcome| good(&outcome)),
            _ => repeats(|dir| Ok(good(&run(TWICE, dir)?)), &logs),
        };
        let outcome = outcome.unwrap_or_else(|error| Err(format!("{error:#}")));
        report.verdict(name, &outcome, Some(begun.elapsed()), &logs);
        Ok(())
    })
}

/// Whether a run is the same as an earlier one. QEMU handles the guest's timers in a thread of its own, too, so that on a busy host a run may
/// differ; of a few, two are the same.
fn repeats(run: impl Fn(&str) -> Result<Outcome>, logs: &Path) -> Result<Outcome> {
    const RUNS: [&str; 4] = ["once", "again", "third", "fourth"];
    let mut differ = Ok(());
    for (number, dir) in RUNS.iter().enumerate() {
        if let Err(reason) = run(dir)? {
            return Ok(Err(reason));
        }
        for earlier in &RUNS[..number] {
            match same(&logs.join(earlier), &logs.join(dir)) {
                Ok(()) => return Ok(Ok(())),
                found => differ = found,
            }
        }
    }
    Ok(differ)
}

fn good(outcome: &batch::Outcome) -> Outcome {
    if outcome.is_good() {
        return Ok(());
    }
    Err(format!("seed {}: {:?}\n{}", outcome.seed, outcome.zeros, outcome.reasons.join("\n")))
}

/// Whether two runs said, wrote and showed the same.
fn same(one: &Path, other: &Path) -> Outcome {
    for file in ["kernel.log", "serial.log", "screen"] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap_or_default();
        let (a, b) = (read(one), read(other));
        if a.is_empty() || a != b {
            let at = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            return Err(format!("{file} differs after {at} bytes of {} and {}", a.len(), b.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_a_few_must_be_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let logs = dir.path();
        // What the runs say, one after the other.
        let tried = |said: &[&str]| {
            let next = std::cell::Cell::new(0);
            let outcome = repeats(
                |name| {
                    std::fs::create_dir_all(logs.join(name))?;
                    for file in ["kernel.log", "serial.log", "screen"] {
                        std::fs::write(logs.join(name).join(file), said[next.get()])?;
                    }
                    next.set(next.get() + 1);
                    Ok(Ok(()))
                },
                logs,
            );
            (outcome.expect("written").is_ok(), next.get())
        };
        assert_eq!(tried(&["a", "a"]), (true, 2));
        assert_eq!(tried(&["a", "b", "c", "b"]), (true, 4));
        assert_eq!(tried(&["a", "b", "c", "d"]), (false, 4));
    }

    #[test]
    fn runs_that_differ_are_told_apart() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
        let [one, other] = [0, 1].map(|i| dirs[i].path());
        for dir in [one, other] {
            for file in ["kernel.log", "serial.log", "screen"] {
                std::fs::write(dir.join(file), "the same").expect("written");
            }
        }
        assert_eq!(same(one, other), Ok(()));
        std::fs::write(other.join("screen"), "the some").expect("written");
        assert!(same(one, other).expect_err("one byte").contains("screen differs after 5"));
        std::fs::write(one.join("kernel.log"), "").expect("written");
        std::fs::write(other.join("kernel.log"), "").expect("written");
        assert!(same(one, other).is_err(), "nothing is no run");
    }
}
