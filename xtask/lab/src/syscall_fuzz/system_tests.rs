//! System calls at random, on a kernel that checks itself: what `cargo xtask fuzz` does, as tests.

use super::{Batch, system};
use anyhow::Result;
use machine::build::Config;
use machine::harness::{Outcome, Report, Wanted};
use machine::toolchain::install::Ready;
use std::time::Instant;

const MILLION: &str = "system::fuzz::a_million_system_calls";
const AGAIN: &str = "system::fuzz::the_same_seed_gives_the_same_run";

/// Runs those that are wanted.
///
/// # Errors
/// When something does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if ![MILLION, AGAIN].iter().any(|name| wanted.matches(name)) {
        return Ok(());
    }
    let (built, image) = system(config)?;
    let boot = |batch: Batch, logs: &std::path::Path| {
        let outcome = batch.run(ready, &built, &image, logs).map_err(|error| format!("{error:#}"))?;
        if outcome.reasons.is_empty() {
            return Ok(outcome);
        }
        Err(format!("{}\nagain: {}", outcome.reasons.join("\n"), batch.again()))
    };
    if wanted.matches(MILLION) {
        let (begun, logs) = (Instant::now(), report.logs(MILLION)?);
        let outcome = boot(Batch { seed: 1, count: 1_000_000 }, &logs).and_then(|outcome| {
            let count =
                |what: &str| outcome.lives.iter().filter(|(of, _)| of == what).map(|(_, count)| *count).sum::<u64>();
            // The run must have been what it is meant to be.
            let many = count("lives") >= 100 && count("killed") >= 20 && count("exited") >= 5 && outcome.checks >= 20;
            if many { Ok(()) } else { Err(format!("too little happened: {outcome:?}")) }
        });
        report.verdict(MILLION, &outcome, Some(begun.elapsed()), &logs);
    }
    if wanted.matches(AGAIN) {
        let (begun, logs) = (Instant::now(), report.logs(AGAIN)?);
        let run = |seed: u64, dir: &str| boot(Batch { seed, count: 30_000 }, &logs.join(dir));
        let three = || Ok((run(2, "first")?, run(2, "second")?, run(3, "other")?));
        let outcome: Outcome = three().and_then(|(first, second, other)| match () {
            () if first != second => Err(format!("seed 2 gave two different runs:\n{first:?}\n{second:?}")),
            () if first.hash == other.hash => Err(format!("seeds 2 and 3 gave the same run:\n{first:?}")),
            () => Ok(()),
        });
        report.verdict(AGAIN, &outcome, Some(begun.elapsed()), &logs);
    }
    Ok(())
}
