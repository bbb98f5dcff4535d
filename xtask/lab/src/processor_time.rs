//! What `userspace/lab/processor-time` measures of the time that tasks get: the tests `system::shares::NAME`.

use crate::inside::Inside;
use anyhow::Result;
use machine::build::Config;
use machine::harness::{Report, Wanted};
use machine::toolchain::install::Ready;

/// Tasks that try to get more processor time than their slice, and a victim. Their time is counted, so that a run repeats exactly.
const SHARES: Inside = Inside {
    name: "shares",
    toml: "userspace/lab/processor-time/system.toml",
    memory: "64M",
    counted: Some(2),
    tag: "[judge] ",
};

/// The names of the tests of processor time, which have a machine of their own too.
const NAMES: [&str; 7] = [
    "system::shares::d23_a_spinning_task",
    "system::shares::d23_a_hundred_spinning_threads",
    "system::shares::d23_hand_over_before_the_tick",
    "system::shares::d23_work_between_ticks",
    "system::shares::d23_births_and_deaths",
    "system::shares::d23_many_lives",
    "system::shares::d23_client_and_server",
];

/// Runs those that are wanted.
///
/// # Errors
/// When the system does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if NAMES.iter().any(|name| wanted.matches(name)) {
        SHARES.test(config, wanted, report, ready)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_processor_time_have_their_names() {
        let judge = include_str!("../../../userspace/lab/processor-time/src/judge.rs");
        let named = |name: &str| judge.contains(&format!("name: \"{name}\", "));
        assert!(NAMES.iter().all(|name| named(name.strip_prefix("system::shares::").expect("a test's name"))));
        assert_eq!(judge.matches("name: \"d").count(), NAMES.len());
    }
}
