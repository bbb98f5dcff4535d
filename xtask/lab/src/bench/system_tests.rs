//! What `cargo xtask bench --compare userspace/lab/bench/baseline.json` says, as tests. The figures are counted instructions, so that they are
//! the same on every machine, however busy.

use super::BASELINE;
use crate::bench;
use anyhow::Result;
use machine::build::Config;
use machine::harness::{Outcome, Report, Wanted};
use machine::toolchain::install::Ready;
use std::time::Instant;

const GROWTH: &str = "system::bench::no_figure_grows_by_more_than_5_percent";
const LIMITS: &str = "system::bench::limits_are_kept";
const AGAIN: &str = "system::bench::two_runs_give_the_same_figures";
const LONGEST: &str = "system::bench::d24_no_stretch_is_longer_than_20_000";
const BOOT_CODE: &str = "system::bench::boot_code_is_reached_by_the_boot_alone";

/// The tests' names.
const NAMES: [&str; 5] = [GROWTH, LIMITS, AGAIN, LONGEST, BOOT_CODE];

/// The figures that are measured twice.
const TWICE: &str = "ipc_cross";

/// Runs those that are wanted.
///
/// # Errors
/// When something does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if !NAMES.iter().any(|name| wanted.matches(name)) {
        return Ok(());
    }
    let logs = report.logs("system::bench")?;
    let verdict = |name: &str, begun: Instant, outcome: Outcome| {
        if wanted.matches(name) {
            report.verdict(name, &outcome, Some(begun.elapsed()), &logs);
        }
    };
    let none = |worse: Vec<String>| if worse.is_empty() { Ok(()) } else { Err(worse.join("\n")) };
    if wanted.matches(BOOT_CODE) {
        let leading = bench::leading_into_the_boot(config).map_err(|error| format!("{error:#}"));
        verdict(BOOT_CODE, Instant::now(), leading.and_then(none));
    }
    if wanted.matches(LONGEST) {
        let begun = Instant::now();
        let found = bench::latency::run(config, ready, &logs.join("latency")).map_err(|error| format!("{error:#}"));
        verdict(LONGEST, begun, found.and_then(|found| none(found.over())));
    }
    if ![GROWTH, LIMITS, AGAIN].iter().any(|name| wanted.matches(name)) {
        return Ok(());
    }
    let begun = Instant::now();
    let measured = bench::Report::load(&config.paths.root.join(BASELINE)).and_then(|old| {
        let all = wanted.matches(GROWTH) || wanted.matches(LIMITS);
        let part = if all { None } else { Some(TWICE) };
        Ok((old, bench::run(config, ready, bench::Wanted(part), &logs.join("first"))?))
    });
    let (old, now) = match measured {
        Ok(both) => both,
        Err(error) => {
            for name in [GROWTH, LIMITS, AGAIN] {
                verdict(name, begun, Err(format!("{error:#}")));
            }
            return Ok(());
        }
    };
    if now.compiler != old.compiler && wanted.matches(GROWTH) {
        machine::ui::say(bench::no_growth(&now, &old));
    }
    verdict(GROWTH, begun, none([now.gone_since(&old), now.grown_since(&old)].concat()));
    verdict(LIMITS, begun, none(now.over_since(&old)));
    if wanted.matches(AGAIN) {
        let begun = Instant::now();
        let again = bench::run(config, ready, bench::Wanted(Some(TWICE)), &logs.join("second"));
        let outcome = again.map_err(|error| format!("{error:#}")).and_then(|again| none(again.differs_from(&now)));
        verdict(AGAIN, begun, outcome);
    }
    Ok(())
}
