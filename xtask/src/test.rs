//! `cargo xtask test`: one line for each test, and a last one with the sums.

pub mod host;
pub mod kernel;
pub mod system;

use crate::build::check_with;
use crate::hardware::Hardware;
use crate::loader::Firmware;
use crate::paths::{self, Paths};
use crate::qemu::Machine;
use crate::toolchain::install::{Needs, Ready, ensure};
use crate::ui::say;
use anyhow::{Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Which tests to run, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `host`, `kernel` or `system`; all if it is none.
    pub kind: Option<String>,
    /// A part of the name.
    pub filter: Option<String>,
    /// What the machines of kernel and system tests are made of, but for those that count instructions.
    pub hardware: Hardware,
    /// Whether the hostile programs are run on every machine of the matrix; else they are on a few.
    pub matrix: bool,
    /// Crates from outside: only their tests are run, where there are any.
    pub with: Vec<PathBuf>,
    /// Machines at the same time.
    pub jobs: usize,
    /// Whether what is missing may be installed.
    pub install: bool,
}

impl Wanted {
    fn kind(&self, kind: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
    }

    /// The machine that a test boots an image on.
    #[must_use]
    pub fn machine(&self, image: PathBuf, logs: PathBuf) -> Machine {
        Machine { hardware: self.hardware.clone(), ..kernel::machine(image, logs) }
    }

    /// Whether the test of this full name is to be run.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|part| name.contains(part))
    }
}

/// What the two words behind `test` mean: a kind and a filter, either alone too.
///
/// # Errors
/// When there are two, and the first is no kind.
pub fn kind_and_filter(first: Option<String>, second: Option<String>) -> Result<(Option<String>, Option<String>)> {
    const KINDS: [&str; 3] = ["host", "kernel", "system"];
    match (first, second) {
        (Some(first), filter) if KINDS.contains(&first.as_str()) => Ok((Some(first), filter)),
        (Some(first), Some(_)) => bail!("there is no kind of tests `{first}`; the kinds are {}", KINDS.join(", ")),
        (filter, None) => Ok((None, filter)),
        (None, Some(filter)) => Ok((None, Some(filter))),
    }
}

/// What came of a test: nothing, or the reason why it failed.
pub type Outcome = Result<(), String>;

/// Collects verdicts and prints them as they come.
pub struct Report {
    logs: PathBuf,
    passed: AtomicUsize,
    failed: AtomicUsize,
    output: Mutex<()>,
}

impl Report {
    fn new(logs: PathBuf) -> Self {
        Self { logs, passed: AtomicUsize::new(0), failed: AtomicUsize::new(0), output: Mutex::new(()) }
    }

    /// The directory for the logs of one test, empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn logs(&self, name: &str) -> Result<PathBuf> {
        let dir = self.logs.join(name.replace("::", "/"));
        let _ = std::fs::remove_dir_all(&dir);
        paths::create_dir(&dir)?;
        Ok(dir)
    }

    /// Prints the line of a test, and below it what a failure has to say.
    pub fn verdict(&self, name: &str, outcome: &Outcome, took: Option<Duration>, log: &Path) {
        let time = took.map(|took| format!(" ({:.1} s)", took.as_secs_f32())).unwrap_or_default();
        let mut text = String::new();
        match outcome {
            Ok(()) => {
                self.passed.fetch_add(1, Ordering::Relaxed);
                text.push_str(&format!("test {name} ... ok{time}\n"));
            }
            Err(reason) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                text.push_str(&format!("test {name} ... FAILED{time}\n"));
                for line in reason.lines() {
                    text.push_str(&format!("    {line}\n"));
                }
                text.push_str(&format!("    log: {}\n", Paths::shown(log)));
            }
        }
        let _one_at_a_time = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Runs the tests and prints the sums.
///
/// # Errors
/// When something does not build or is missing. Failed tests are not an error but show in the exit code.
pub fn test(paths: &Paths, wanted: &Wanted) -> Result<ExitCode> {
    wanted.hardware.check(Firmware::Pvh.board())?;
    check_with(&wanted.with)?;
    let report = Report::new(paths.test_logs());
    // A kind that cannot even be built must not keep the others from being tested.
    let mut broken = Vec::new();
    let mut note = |kind: &str, done: Result<()>| {
        if let Err(error) = done {
            say(format!("error: the {kind} tests cannot be run: {error:#}"));
            broken.push(kind.to_owned());
        }
    };
    // Tests on the host run over QEMU's device models too.
    let ready: Ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: wanted.install })?;
    say(format!("{}, {}", ready.toolchain.summary(), ready.programs.version()));
    if wanted.kind("host") {
        note("host", host::run(paths, wanted, &report));
    }
    if wanted.kind("kernel") || wanted.kind("system") {
        wanted.hardware.check_cpu(&ready.programs)?;
        if wanted.kind("kernel") && wanted.with.is_empty() {
            note("kernel", kernel::run(paths, wanted, &report, &ready));
        }
        if wanted.kind("system") {
            note("system", system::run(paths, wanted, &report, &ready));
        }
    }
    let (passed, failed) =
        (report.passed.load(Ordering::Relaxed), report.failed.load(Ordering::Relaxed) + broken.len());
    println!("{passed} passed, {failed} failed");
    if passed + failed == 0 {
        bail!("no test has {:?} in its name", wanted.filter.as_deref().unwrap_or_default());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `work` on every item, on `jobs` threads.
///
/// # Errors
/// The first error of any; the others still ran.
pub fn in_parallel<T: Sync>(items: &[T], jobs: usize, work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(item) {
                        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// A verdict line of a guest: `test NAME ... ok` or `test NAME ... FAILED: REASON`.
#[must_use]
pub fn verdict_line(line: &str) -> Option<(&str, Outcome)> {
    let (name, result) = line.trim_end().strip_prefix("test ")?.split_once(" ... ")?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    match result {
        "ok" => Some((name, Ok(()))),
        _ => {
            let reason = result.strip_prefix("FAILED")?.trim_start_matches(':').trim();
            Some((name, Err(if reason.is_empty() { "no reason given".to_owned() } else { reason.to_owned() })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        assert_eq!(verdict_line("test heap::many_boxes ... ok"), Some(("heap::many_boxes", Ok(()))));
        assert_eq!(verdict_line("test a ... FAILED: 1 != 2\r"), Some(("a", Err("1 != 2".to_owned()))));
        assert_eq!(verdict_line("test a ... FAILED"), Some(("a", Err("no reason given".to_owned()))));
        for other in ["test result: ok. 1 passed", "[serial] test a ... ok", "test a b ... ok", "test a ... maybe", ""]
        {
            assert_eq!(verdict_line(other), None, "{other}");
        }
    }

    #[test]
    fn all_items_are_worked_on_even_after_an_error() {
        let done = AtomicUsize::new(0);
        let items: Vec<_> = (0..50).collect();
        let result = in_parallel(&items, 3, |item| {
            done.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(*item != 7, "seven");
            Ok(())
        });
        assert_eq!(result.expect_err("one failed").to_string(), "seven");
        assert_eq!(done.into_inner(), 50);
    }

    #[test]
    fn one_word_is_a_kind_or_a_filter() {
        let read = |first: &str, second: Option<&str>| {
            kind_and_filter(Some(first.to_owned()), second.map(str::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(read("host", None), Ok((Some("host".to_owned()), None)));
        assert_eq!(read("d08", None), Ok((None, Some("d08".to_owned()))));
        assert_eq!(read("system", Some("d08")), Ok((Some("system".to_owned()), Some("d08".to_owned()))));
        assert!(read("sytem", Some("d08")).is_err_and(|error| error.contains("host, kernel, system")));
    }

    #[test]
    fn kinds_and_filters() {
        let wanted = Wanted {
            kind: Some("host".to_owned()),
            filter: Some("ipc".to_owned()),
            hardware: Hardware::default(),
            matrix: false,
            with: Vec::new(),
            jobs: 1,
            install: false,
        };
        assert!(wanted.kind("host") && !wanted.kind("kernel"));
        assert!(wanted.matches("host::kernel-core::ipc::call") && !wanted.matches("host::abi"));
        let all = Wanted { kind: None, filter: None, ..wanted };
        assert!(all.kind("system") && all.matches("anything"));
    }

    #[test]
    fn the_machines_of_tests_are_as_the_flags_say_and_leave_disks_as_they_are() {
        let hardware = crate::hardware::tests::everything();
        let wanted = Wanted {
            kind: None,
            filter: None,
            hardware: hardware.clone(),
            matrix: false,
            with: Vec::new(),
            jobs: 1,
            install: false,
        };
        let machine = wanted.machine("image".into(), "logs".into());
        assert_eq!((machine.hardware, machine.keeps_disks), (hardware, true));
    }
}
