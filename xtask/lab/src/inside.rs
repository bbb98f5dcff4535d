//! What runs inside the system: systems without console and shell, of which a task tests what tasks can and cannot do. It prints
//! its verdicts, which end up in the kernel's log, and switches the machine off.

use anyhow::{Result, anyhow};
use machine::build::{Built, Config, build_with_files, with_loader};
use machine::guest::Guest;
use machine::harness::{self, Outcome, Report, Wanted, image, verdict_line};
use machine::loader::Firmware;
use machine::qemu::{End, Machine};
use machine::symbols::{Symbols, panic_report};
use machine::toolchain::install::Ready;
use machine::ui::say;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long all tests of one system may take together.
const LIMIT: Duration = Duration::from_secs(300);

/// A system whose tests run inside it.
pub struct Inside {
    /// What its archive, its image and its logs are called.
    pub name: &'static str,
    /// The file that describes it.
    pub toml: &'static str,
    /// The machine's memory, as QEMU takes it.
    pub memory: &'static str,
    /// Where its time is counted in instructions: of how many nanoseconds each is, as a power of 2.
    pub counted: Option<u32>,
    /// How the kernel marks what the task prints that tests. No other task can print a line that begins so.
    pub tag: &'static str,
}

/// What a boot says about one test.
pub struct Verdict {
    /// The test's full name.
    pub name: String,
    /// Whether it passed.
    pub outcome: Outcome,
    /// How long the whole boot took, where the verdict is about that.
    pub took: Option<Duration>,
}

impl Inside {
    /// Boots it and reports its verdicts as they are in the log when it has ended.
    ///
    /// # Errors
    /// When it does not build.
    pub fn test(&self, config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
        let Inside { name, memory, counted, .. } = self;
        // With a filter it runs only what is wanted.
        let parts: Vec<_> = wanted.filter.iter().map(String::as_str).collect();
        let (built, image) = self.build(config, Firmware::Pvh, name, &parts)?;
        let logs = report.logs(&format!("system::{name}"))?;
        let machine = match counted {
            // What it counts must not depend on a processor or a disk that somebody wants for the others.
            Some(_) => harness::machine(image, logs.clone()),
            None => wanted.machine(image, logs.clone()),
        };
        let machine = Machine { memory: (*memory).to_owned(), counted: *counted, ..machine };
        for verdict in self.boot(&machine, ready, &built)? {
            // What went wrong with the whole is told whatever is wanted.
            if wanted.matches(&verdict.name) || verdict.took.is_some() {
                report.verdict(&verdict.name, &verdict.outcome, verdict.took, &logs);
            }
        }
        Ok(())
    }

    /// Builds it, to run only tests of which a full name contains one of `parts`, where there are any. `name` is what archive and image are
    /// called.
    ///
    /// # Errors
    /// When it does not build.
    pub fn build(&self, config: &Config, firmware: Firmware, name: &str, parts: &[&str]) -> Result<(Built, PathBuf)> {
        let mut files = Vec::new();
        if !parts.is_empty() {
            files.push(("filter".to_owned(), parts.join("\n").into_bytes()));
        }
        let build = || build_with_files(config, self.toml, &format!("{name}.tar"), &files);
        let (builder, built) = with_loader(config, firmware, build)?;
        let image = image(config.paths, &builder, &built, firmware, &format!("test-{name}"))?;
        Ok((built, image))
    }

    /// Boots it on a machine, waits for its end, and returns the verdicts.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn boot(&self, machine: &Machine, ready: &Ready, built: &Built) -> Result<Vec<Verdict>> {
        let begun = Instant::now();
        let (end, log) =
            if machine.counted.is_some() { counted(machine, ready, built)? } else { attended(machine, ready, built)? };
        let found = read(&log, self.tag);
        for figure in found.figures {
            say(figure);
        }
        let plain = found.plain.map(|outcome| (PLAIN.to_owned(), outcome));
        let verdicts = found.verdicts.into_iter().chain(plain);
        let mut verdicts: Vec<_> = verdicts.map(|(name, outcome)| Verdict { name, outcome, took: None }).collect();
        let failure = match end {
            Ok(()) if found.complete => None,
            Ok(()) => Some("it switched the machine off before its last line".to_owned()),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(reason) = failure {
            // The test that ran then is the one to look at.
            let name = found.unfinished.unwrap_or_else(|| format!("system::{}", self.name));
            verdicts.push(Verdict { name, outcome: Err(reason), took: Some(begun.elapsed()) });
        }
        Ok(verdicts)
    }
}

/// Boots a machine with a serial line. Returns the kernel's log, and an error beside it where the machine was not switched off.
fn attended(machine: &Machine, ready: &Ready, built: &Built) -> Result<(Result<()>, String)> {
    let mut guest = Guest::boot(machine, &ready.programs, Some(&built.kernel), LIMIT)?;
    let end = guest.wait_off(LIMIT);
    Ok((end, guest.kernel_log()))
}

/// Boots a machine whose time is counted, and whose serial line nobody is at. Returns the kernel's log, and an error beside it where the machine
/// was not switched off.
fn counted(machine: &Machine, ready: &Ready, built: &Built) -> Result<(Result<()>, String)> {
    let mut qemu = machine.start(&ready.programs)?;
    qemu.go()?;
    let end = qemu.wait(LIMIT)?;
    qemu.stop();
    let log = std::fs::read(machine.logs.join("kernel.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    let named = |report: &str| Symbols::load(&built.kernel).map_or_else(|_| report.to_owned(), |s| s.annotate(report));
    let end = match (end, panic_report(&log)) {
        (_, Some(report)) => Err(anyhow!("the kernel panicked:\n{}", named(report))),
        (Some(End::PoweredOff), None) => Ok(()),
        (Some(end), None) => Err(anyhow!("{end}")),
        (None, None) => Err(anyhow!("the machine did not switch itself off in {} s", LIMIT.as_secs())),
    };
    Ok((end, log))
}

/// The test that looks at what the forger's lines have become in the log.
const PLAIN: &str = "system::hostile::d20_no_line_commands_a_terminal";

/// A word in every line of the task that forges lines.
const FORGED: &str = "counterfeit";

/// What a log says about the suite.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    verdicts: Vec<(String, Outcome)>,
    /// The test that was begun and has no verdict.
    unfinished: Option<String>,
    /// What was measured, a line for each test that tells it.
    figures: Vec<String>,
    /// Whether no line of the forger's has anything in it that a terminal obeys; nothing where it did not run.
    plain: Option<Outcome>,
    /// Whether the suite said that it has done all.
    complete: bool,
}

fn read(log: &str, tag: &str) -> Found {
    let mut found = Found::default();
    let controls = |line: &str| line.chars().any(|c| c.is_ascii_control() && c != '\t');
    for line in log.split('\n').filter(|line| line.starts_with("[assist] ") && line.contains(FORGED)) {
        let plain = found.plain.get_or_insert(Ok(()));
        if controls(line) {
            *plain = Err(format!("the log has the line {line:?}"));
        }
    }
    for line in log.lines().filter_map(|line| line.trim_end().strip_prefix(tag)) {
        if let Some((name, outcome)) = verdict_line(line) {
            found.verdicts.push((name.to_owned(), outcome));
            found.unfinished = None;
        } else if let Some(name) = line.strip_prefix("run ") {
            found.unfinished = Some(name.to_owned());
        } else if let Some(figure) = line.strip_prefix("figure ") {
            found.figures.push(figure.to_owned());
        } else if line.starts_with("suite: ") {
            found.complete = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::SUITE;

    #[test]
    fn only_the_suite_speaks_for_itself() {
        let log = "kernel: up\n[suite] run system::a\n[suite] test system::a ... ok\n[assist] test system::b ... ok\n\
            [suite] run system::c\n[suite] figure c: 5 ms\n[assist] figure d: 6 ms\n[suite] test system::c ... FAILED: no\n\
            [suite] suite: 1 passed, 1 failed\n";
        let found = read(log, SUITE.tag);
        let verdicts = [("system::a".to_owned(), Ok(())), ("system::c".to_owned(), Err("no".to_owned()))];
        assert_eq!(
            found,
            Found {
                verdicts: verdicts.into(),
                unfinished: None,
                figures: vec!["c: 5 ms".to_owned()],
                plain: None,
                complete: true
            }
        );
    }

    #[test]
    fn what_a_forger_writes_must_be_plain() {
        let plain = |log: &str| read(log, SUITE.tag).plain;
        assert_eq!(plain("[assist] text\n"), None);
        assert_eq!(plain("[assist] ?[suite] counterfeit??\n"), Some(Ok(())));
        assert!(plain("[assist] \r[suite] counterfeit\n").is_some_and(|outcome| outcome.is_err()));
        assert!(plain("[assist] counterfeit\x1b[2K\n[assist] counterfeit\n").is_some_and(|outcome| outcome.is_err()));
    }

    #[test]
    fn a_test_without_end_is_known_by_name() {
        let found =
            read("[suite] run system::a\n[suite] test system::a ... ok\n[suite] run system::hangs\n", SUITE.tag);
        assert_eq!((found.unfinished.as_deref(), found.complete), (Some("system::hangs"), false));
    }
}
