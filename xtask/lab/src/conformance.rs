//! The suite in `userspace/lab/conformance`, which tests inside the system what tasks can and cannot do: the tests `system::MODULE::NAME`, and
//! `system::plain::the_whole_suite`.

use crate::inside::Inside;
use anyhow::Result;
use machine::build::{Config, build_plain, with_loader};
use machine::harness::{Report, Wanted, image};
use machine::loader::Firmware;
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use std::time::Instant;

/// The suite, with the drivers and the supervisor of the real system.
pub(crate) const SUITE: Inside = Inside {
    name: "suite",
    toml: "userspace/lab/conformance/system.toml",
    memory: "256M",
    counted: None,
    tag: "[suite] ",
};

/// Runs those that are wanted.
///
/// # Errors
/// When something does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if may_match(config, wanted) {
        SUITE.test(config, wanted, report, ready)?;
    }
    if wanted.matches(ON_PLAIN) {
        on_plain(config, wanted, report, ready)?;
    }
    Ok(())
}

/// Whether the filter can mean a test of the suite. What those are called the suite knows itself, but their names begin with those of its source
/// files: for a test of anything else it need not be built.
fn may_match(config: &Config, wanted: &Wanted) -> bool {
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

/// The test that runs the whole suite on a kernel whose messages go by the Rust that says what the assembly must do.
const ON_PLAIN: &str = "system::plain::the_whole_suite";

/// Boots the suite on the kernel with the feature `plain`: one verdict on all of it.
fn on_plain(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
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
}
