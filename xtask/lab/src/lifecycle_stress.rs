//! The trials in `userspace/lab/lifecycle-stress`, which begin and end lives by the thousand: the tests `system::trials::NAME`.

use crate::inside::Inside;
use anyhow::Result;
use machine::build::Config;
use machine::harness::{Report, Wanted};
use machine::toolchain::install::Ready;

/// The trials, of which a task in the supervisor's place begins and ends lives by the thousand. There is little memory, so that all of it
/// can be looked at.
const TRIALS: Inside = Inside {
    name: "trials",
    toml: "userspace/lab/lifecycle-stress/system.toml",
    memory: "64M",
    counted: None,
    tag: "[judge] ",
};

/// The names of the trials: they take a machine of their own, which is not booted for any other.
const NAMES: [&str; 8] = [
    "system::trials::d02_a_spawns_argument",
    "system::trials::d08_ports_of_others",
    "system::trials::d08_every_port",
    "system::trials::d10_a_million_switches",
    "system::trials::d11_a_canary_is_found_nowhere",
    "system::trials::d12_ten_thousand_lives",
    "system::trials::d12_large_lives",
    "system::trials::d16_a_storm_is_one_interrupt",
];

/// Runs those that are wanted.
///
/// # Errors
/// When the system does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if NAMES.iter().any(|name| wanted.matches(name)) {
        TRIALS.test(config, wanted, report, ready)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trials_have_their_names() {
        let judge = include_str!("../../../userspace/lab/lifecycle-stress/src/main.rs");
        let named = |name: &str| judge.contains(&format!("(\"{name}\", "));
        assert!(NAMES.iter().all(|name| named(name.strip_prefix("system::trials::").expect("a trial's name"))));
        assert_eq!(judge.matches("(\"d").count(), NAMES.len());
    }
}
