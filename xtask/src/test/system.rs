//! The tests of the whole system: what a person does at its serial line, keyboard and screen, and what the laboratory's systems tell.

mod commands;
mod debugger;
mod outside;
mod person;
mod program;

use anyhow::Result;
use machine::build::{Config, build, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, LIMIT, Report, Wanted, image, in_parallel};
use machine::loader::Firmware;
use machine::paths::Paths;
use machine::toolchain::install::{Needs, Ready, ensure};
use person::TESTS;

/// Builds the systems and runs the tests that are wanted.
///
/// # Errors
/// When something does not build.
pub fn run(paths: &Paths, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let config = Config { paths, toolchain: &ready.toolchain, with: &wanted.with };
    if !wanted.with.is_empty() {
        return lab::with::test(&config, wanted, report, ready);
    }
    let all = TESTS.iter().chain(&person::machines::TESTS);
    let tests: Vec<_> = all.filter(|test| (wanted.matrix || test.is_usual()) && wanted.matches(&test.full())).collect();
    lab::conformance::test(&config, wanted, report, ready)?;
    lab::lifecycle_stress::test(&config, wanted, report, ready)?;
    lab::processor_time::test(&config, wanted, report, ready)?;
    program::run(&config, wanted, report)?;
    outside::run(&config, wanted, report, ready)?;
    lab::noisy_neighbours::test(&config, wanted, report, ready)?;
    lab::matrix::test(&config, wanted, report, ready)?;
    lab::crash_reports::test(&config, wanted, report, ready)?;
    lab::request_fuzz::test(&config, wanted, report, ready)?;
    lab::fault_injection::test(&config, wanted, report, ready)?;
    lab::bench::test(&config, wanted, report, ready)?;
    debugger::run(wanted, report)?;
    commands::run(wanted, report)?;
    lab::syscall_fuzz::test(&config, wanted, report, ready)?;
    for firmware in [Firmware::Pvh, Firmware::Bios, Firmware::Uefi] {
        let tests: Vec<_> = tests.iter().filter(|test| test.firmware == firmware).collect();
        if tests.is_empty() {
            continue;
        }
        if firmware == Firmware::Uefi {
            ensure(Needs { qemu: true, uefi: true, clippy: false, install: wanted.install })?;
        }
        let (builder, built) = with_loader(&config, firmware, || build(&config))?;
        let image = image(paths, &builder, &built, firmware, "test-system")?;
        in_parallel(&tests, wanted.jobs, |test| {
            report.perform(&test.full(), |logs| {
                let usual = wanted.machine(image.clone(), logs.to_owned());
                let machine = test.machine(usual);
                let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
                guest.wait_prompt(BOOT)?;
                (test.run)(&mut guest)
            })
        })?;
    }
    Ok(())
}
