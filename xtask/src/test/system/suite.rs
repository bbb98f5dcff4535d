//! What runs inside the system: systems without console and shell, of which a task tests what tasks can and cannot do. It prints
//! its verdicts, which end up in the kernel's log, and switches the machine off.

use anyhow::{Result, anyhow};
use machine::build::{Built, Config, build_plain, build_with_files, with_loader};
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
    name: &'static str,
    /// The file that describes it.
    toml: &'static str,
    /// The machine's memory, as QEMU takes it.
    memory: &'static str,
    /// Where its time is counted in instructions: of how many nanoseconds each is, as a power of 2.
    counted: Option<u32>,
    /// How the kernel marks what the task prints that tests. No other task can print a line that begins so.
    tag: &'static str,
}

/// The suite, with the drivers and the supervisor of the real system.
pub const SUITE: Inside = Inside {
    name: "suite",
    toml: "userspace/lab/conformance/system.toml",
    memory: "256M",
    counted: None,
    tag: "[suite] ",
};

/// The trials, of which a task in the supervisor's place begins and ends lives by the thousand. There is little memory, so that all of it
/// can be looked at.
pub const TRIALS: Inside = Inside {
    name: "trials",
    toml: "userspace/lab/lifecycle-stress/system.toml",
    memory: "64M",
    counted: None,
    tag: "[judge] ",
};

/// The names of the trials: they take a machine of their own, which is not booted for any other.
pub const TRIAL_NAMES: [&str; 8] = [
    "system::trials::d02_a_spawns_argument",
    "system::trials::d08_ports_of_others",
    "system::trials::d08_every_port",
    "system::trials::d10_a_million_switches",
    "system::trials::d11_a_canary_is_found_nowhere",
    "system::trials::d12_ten_thousand_lives",
    "system::trials::d12_large_lives",
    "system::trials::d16_a_storm_is_one_interrupt",
];

/// Tasks that try to get more processor time than their slice, and a victim. Their time is counted, so that a run repeats exactly.
pub const SHARES: Inside = Inside {
    name: "shares",
    toml: "userspace/lab/processor-time/system.toml",
    memory: "64M",
    counted: Some(2),
    tag: "[judge] ",
};

/// The names of the tests of processor time, which have a machine of their own too.
pub const SHARES_NAMES: [&str; 7] = [
    "system::shares::d23_a_spinning_task",
    "system::shares::d23_a_hundred_spinning_threads",
    "system::shares::d23_hand_over_before_the_tick",
    "system::shares::d23_work_between_ticks",
    "system::shares::d23_births_and_deaths",
    "system::shares::d23_many_lives",
    "system::shares::d23_client_and_server",
];

/// Whether the filter can mean a test of the suite. What those are called the suite knows itself, but their names begin with those of its source
/// files: for a test of anything else it need not be built.
#[must_use]
pub fn may_match(config: &Config, wanted: &Wanted) -> bool {
    let filter = wanted.filter.as_deref().and_then(|filter| filter.strip_prefix("system::"));
    let source = config.paths.root.join(SUITE.toml).with_file_name("suite/src");
    let (Some(filter), Ok(files)) = (filter, std::fs::read_dir(source)) else { return true };
    files.flatten().any(|file| file.path().file_stem().is_some_and(|module| begins(filter, &module.to_string_lossy())))
}

/// Whether a name in this module can contain `filter`, both without their `system::`.
fn begins(filter: &str, module: &str) -> bool {
    match filter.split_once("::") {
        Some((wanted, _)) => wanted == module,
        None => module.starts_with(filter),
    }
}

/// Boots one of them and reports its verdicts as they are in the log when it has ended.
///
/// # Errors
/// When it does not build.
pub fn run(inside: &Inside, config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let Inside { name, memory, counted, .. } = inside;
    // With a filter it runs only what is wanted.
    let parts: Vec<_> = wanted.filter.iter().map(String::as_str).collect();
    let (built, image) = inside.build(config, Firmware::Pvh, name, &parts)?;
    let logs = report.logs(&format!("system::{name}"))?;
    let machine = match counted {
        // What it counts must not depend on a processor or a disk that somebody wants for the others.
        Some(_) => harness::machine(image, logs.clone()),
        None => wanted.machine(image, logs.clone()),
    };
    let machine = Machine { memory: (*memory).to_owned(), counted: *counted, ..machine };
    for verdict in inside.boot(&machine, ready, &built)? {
        // What went wrong with the whole is told whatever is wanted.
        if wanted.matches(&verdict.name) || verdict.took.is_some() {
            report.verdict(&verdict.name, &verdict.outcome, verdict.took, &logs);
        }
    }
    Ok(())
}

/// The test that runs the whole suite on a kernel whose messages go by the Rust that says what the assembly must do.
pub const ON_PLAIN: &str = "system::plain::the_whole_suite";

/// Boots the suite on the kernel with the feature `plain`: one verdict on all of it.
///
/// # Errors
/// When it does not build.
pub fn run_plain(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let begun = Instant::now();
    let (builder, built) = with_loader(config, Firmware::Pvh, || build_plain(config, SUITE.toml, "suite-plain.tar"))?;
    let image = image(config.paths, &builder, &built, Firmware::Pvh, "test-suite-plain")?;
    let logs = report.logs(ON_PLAIN)?;
    let machine = Machine { memory: SUITE.memory.to_owned(), ..wanted.machine(image, logs.clone()) };
    let verdicts = SUITE.boot(&machine, ready, &built)?;
    let failed: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict.outcome.as_ref().err().map(|why| format!("{}: {why}", verdict.name)))
        .collect();
    let outcome = match (verdicts.is_empty(), failed.is_empty()) {
        (true, _) => Err("no test ran".to_owned()),
        (_, true) => Ok(()),
        _ => Err(failed.join("\n")),
    };
    report.verdict(ON_PLAIN, &outcome, Some(begun.elapsed()), &logs);
    Ok(())
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

    #[test]
    fn the_suite_is_left_out_where_the_filter_names_something_else() {
        for filter in ["ipc", "ipc::", "ipc::words_round_trip", "i", ""] {
            assert!(begins(filter, "ipc"), "{filter}");
        }
        for filter in ["console", "ipc2", "ipcs::", "console::ipc", "commands::ipc::x"] {
            assert!(!begins(filter, "ipc"), "{filter}");
        }
    }

    #[test]
    fn the_trials_have_their_names() {
        let judge = include_str!("../../../../userspace/lab/lifecycle-stress/src/main.rs");
        let named = |name: &str| judge.contains(&format!("(\"{name}\", "));
        assert!(TRIAL_NAMES.iter().all(|name| named(name.strip_prefix("system::trials::").expect("a trial's name"))));
        assert_eq!(judge.matches("(\"d").count(), TRIAL_NAMES.len());
    }

    #[test]
    fn the_tests_of_processor_time_have_their_names() {
        let judge = include_str!("../../../../userspace/lab/processor-time/src/judge.rs");
        let named = |name: &str| judge.contains(&format!("name: \"{name}\", "));
        assert!(SHARES_NAMES.iter().all(|name| named(name.strip_prefix("system::shares::").expect("a test's name"))));
        assert_eq!(judge.matches("name: \"d").count(), SHARES_NAMES.len());
    }

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
