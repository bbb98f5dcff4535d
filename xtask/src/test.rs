//! `cargo xtask test`: one line for each test, and a last one with the sums.

pub mod host;
pub mod kernel;
pub mod system;

use anyhow::{Result, bail};
use machine::build::check_with;
use machine::harness::{Report, Wanted};
use machine::loader::Firmware;
use machine::paths::Paths;
use machine::toolchain::install::{Needs, Ready, ensure};
use machine::ui::say;
use std::process::ExitCode;

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
    let (passed, failed) = report.sums();
    let failed = failed + broken.len();
    println!("{passed} passed, {failed} failed");
    if passed + failed == 0 {
        bail!("no test has {:?} in its name", wanted.filter.as_deref().unwrap_or_default());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
