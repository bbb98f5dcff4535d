//! A driver from outside: generated from the template, added with `--with`, asked from the shell.

use super::super::{Outcome, Report, Wanted, kernel::machine};
use super::{BOOT, LIMIT, image};
use crate::build::{Config, SYSTEM_TOML, build_system, with_loader};
use crate::guest::Guest;
use crate::loader::Firmware;
use crate::new;
use crate::toolchain::install::Ready;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// The test's name.
pub const NAME: &str = "system::outside::a_generated_driver_answers";

/// How long a command may take, on a busy machine.
const COMMAND: Duration = Duration::from_secs(20);

/// Runs the test, if it is wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn run(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if !wanted.matches(NAME) {
        return Ok(());
    }
    let logs = report.logs(NAME)?;
    let begun = Instant::now();
    let attempt = || {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let driver = dir.path().join("metronome");
        new::driver(config.paths, "metronome", Some(&driver))?;
        let with = [driver];
        let config = Config { with: &with, ..*config };
        let build = || build_system(&config, SYSTEM_TOML, "outside.tar");
        let (builder, built) = with_loader(&config, Firmware::Bios, build)?;
        let image = image(config.paths, &builder, &built, Firmware::Bios, "test-outside")?;
        let mut guest = Guest::boot(&machine(image, logs.clone()), &ready.programs, Some(&built.kernel), LIMIT)?;
        guest.wait_prompt(BOOT)?;
        answers(&mut guest)
    };
    let outcome: Outcome = attempt().map_err(|error: anyhow::Error| format!("{error:#}"));
    report.verdict(NAME, &outcome, Some(begun.elapsed()), &logs);
    Ok(())
}

fn answers(guest: &mut Guest) -> Result<()> {
    let mut says = |command: &str, part: &str| {
        let printed = guest.run(command, COMMAND)?.lines.join("\n");
        ensure!(printed.contains(part), "`{command}` does not print {part:?} but\n{printed}");
        Ok(())
    };
    says("call metronome 1", "outcome 0")?;
    // Its third request is answered at the next tick: by then the driver has been woken by its timer.
    says("call metronome 3", "outcome 0")?;
    says("caps metronome", "called by  shell")?;
    says("kill metronome", "killed metronome (life 1)")?;
    says("call metronome 1", "outcome 0")?;
    guest.power_off(COMMAND)
}
