//! The in-system suite: a system without console and shell, whose task `suite` tests what tasks can and cannot do. It
//! prints its verdicts, which end up in the kernel's log, and switches the machine off.

use super::super::{Outcome, Report, Wanted, kernel::machine, verdict_line};
use super::image;
use crate::build::{Config, build_with_files, with_loader};
use crate::guest::Guest;
use crate::loader::Firmware;
use crate::qemu::{End, Machine};
use crate::toolchain::install::Ready;
use anyhow::Result;
use std::time::Duration;

/// The file that describes that system.
const SYSTEM_TOML: &str = "userspace/tests/system.toml";

/// How long all of its tests may take together.
const LIMIT: Duration = Duration::from_secs(300);

/// How the kernel marks what the suite prints. No other task can print a line that begins so.
const TAG: &str = "[suite] ";

/// Boots the suite and reports its verdicts as they are in the log when it has ended.
///
/// # Errors
/// When it does not build.
pub fn run(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    // With a filter it runs only what is wanted.
    let filter = wanted.filter.iter().map(|filter| ("filter".to_owned(), filter.clone().into_bytes()));
    let files: Vec<_> = filter.collect();
    let build = || build_with_files(config, SYSTEM_TOML, "suite.tar", &files);
    let (builder, built) = with_loader(config, Firmware::Bios, build)?;
    let image = image(config.paths, &builder, &built, Firmware::Bios, "test-suite")?;
    let logs = report.logs("system::suite")?;
    let machine = Machine { memory: "256M".to_owned(), ..machine(image, logs.clone()) };
    let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
    let end = guest.wait_end(LIMIT);
    let found = read(&guest.kernel_log());
    for (name, outcome) in found.verdicts.iter().filter(|(name, _)| wanted.matches(name)) {
        report.verdict(name, outcome, None, &logs);
    }
    let failure = match end {
        Ok(End::PoweredOff) if found.complete => None,
        Ok(End::PoweredOff) => Some("it switched the machine off before its last line".to_owned()),
        Ok(end) => Some(format!("{:#}", guest.ended(&end))),
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(reason) = failure {
        // The test that ran then is the one to look at.
        let name = found.unfinished.unwrap_or_else(|| "system::suite".to_owned());
        report.verdict(&name, &Err(reason), Some(guest.uptime()), &logs);
    }
    Ok(())
}

/// What a log says about the suite.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    verdicts: Vec<(String, Outcome)>,
    /// The test that was begun and has no verdict.
    unfinished: Option<String>,
    /// Whether the suite said that it has done all.
    complete: bool,
}

fn read(log: &str) -> Found {
    let mut found = Found::default();
    for line in log.lines().filter_map(|line| line.trim_end().strip_prefix(TAG)) {
        if let Some((name, outcome)) = verdict_line(line) {
            found.verdicts.push((name.to_owned(), outcome));
            found.unfinished = None;
        } else if let Some(name) = line.strip_prefix("run ") {
            found.unfinished = Some(name.to_owned());
        } else if line.starts_with("suite: ") {
            found.complete = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suite_speaks_for_itself() {
        let log = "kernel: up\n[suite] run system::a\n[suite] test system::a ... ok\n[assist] test system::b ... ok\n\
            [suite] run system::c\n[suite] test system::c ... FAILED: no\n[suite] suite: 1 passed, 1 failed\n";
        let found = read(log);
        let verdicts = [("system::a".to_owned(), Ok(())), ("system::c".to_owned(), Err("no".to_owned()))];
        assert_eq!(found, Found { verdicts: verdicts.into(), unfinished: None, complete: true });
    }

    #[test]
    fn a_test_without_end_is_known_by_name() {
        let found = read("[suite] run system::a\n[suite] test system::a ... ok\n[suite] run system::hangs\n");
        assert_eq!((found.unfinished.as_deref(), found.complete), (Some("system::hangs"), false));
    }
}
