//! What the tests of the kernel and of the system have in common: which of them are wanted, the machine that they run on, and the lines that say
//! what came of them.

use crate::build::{Built, write_image};
use crate::hardware::Hardware;
use crate::loader::{Firmware, ImageBuilder};
use crate::paths::{self, Paths};
use crate::qemu::{Accel, Display, Machine};
use anyhow::Result;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the system may take from power-on to the prompt. It takes three seconds, and much more on a busy machine.
pub const BOOT: Duration = Duration::from_secs(60);

/// How long the whole of a test may take that says nothing else.
pub const LIMIT: Duration = Duration::from_secs(180);

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
    /// Whether tests of this kind are to be run.
    #[must_use]
    pub fn kind(&self, kind: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
    }

    /// The machine that a test boots an image on.
    #[must_use]
    pub fn machine(&self, image: PathBuf, logs: PathBuf) -> Machine {
        Machine { hardware: self.hardware.clone(), ..machine(image, logs) }
    }

    /// Whether the test of this full name is to be run.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|part| name.contains(part))
    }
}

/// The machine that tests run on: emulated, so that they see the same everywhere.
#[must_use]
pub fn machine(image: PathBuf, logs: PathBuf) -> Machine {
    Machine {
        image,
        firmware: Firmware::Pvh,
        memory: "128M".to_owned(),
        smp: 1,
        accel: Accel::Tcg,
        display: Display::None,
        counted: None,
        told: None,
        debugged: false,
        traced: false,
        hardware: Hardware::default(),
        keeps_disks: true,
        reboots: false,
        logs,
    }
}

/// Writes the disk image of a system that was built, for a test; `name` and the firmware's are what it is called. Returns its path.
///
/// # Errors
/// When it cannot be written.
pub fn image(paths: &Paths, builder: &ImageBuilder, built: &Built, firmware: Firmware, name: &str) -> Result<PathBuf> {
    let image = paths.images().join(format!("{name}-{}.img", firmware.name()));
    write_image(builder, firmware, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok(image)
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
    /// A report of nothing yet. `logs` is the directory below which the logs of all tests are.
    #[must_use]
    pub fn new(logs: PathBuf) -> Self {
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

    /// Performs a test, which gets the directory for its logs, and prints its line.
    ///
    /// # Errors
    /// When the logs cannot be kept. A test that fails is no error.
    pub fn perform(&self, name: &str, test: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let logs = self.logs(name)?;
        let begun = Instant::now();
        let outcome = test(&logs).map_err(|error| format!("{error:#}"));
        self.verdict(name, &outcome, Some(begun.elapsed()), &logs);
        Ok(())
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

    /// How many tests have passed so far, and how many have failed.
    #[must_use]
    pub fn sums(&self) -> (usize, usize) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
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
