//! The hostile programs on machines of many kinds: what a processor has or lacks, and where memory ends, must make no difference to them.

use crate::{conformance, noisy_neighbours};
use anyhow::Result;
use machine::build::{Built, Config};
use machine::hardware::{Board, Hardware};
use machine::harness::{Report, Wanted, in_parallel};
use machine::loader::Firmware;
use machine::qemu::Machine;
use machine::toolchain::install::{Needs, Ready, ensure};
use std::path::PathBuf;

/// A machine of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Combination {
    /// The processor, as QEMU names it.
    cpu: &'static str,
    firmware: Firmware,
    board: Board,
    /// Processors.
    smp: u32,
    /// As QEMU takes it.
    memory: &'static str,
    /// Whether it is one of the few that are always tested.
    always: bool,
}

/// From a processor without SMEP and SMAP to one with all that QEMU emulates.
const MODELS: [&str; 6] = ["qemu64", "Nehalem", "Haswell", "Skylake-Client", "EPYC", "max"];

/// Below the hole for devices, up to it and beyond it, and far beyond it.
const MEMORIES: [&str; 3] = ["256M", "4G", "6G"];

/// Those that are always tested: each model without some protection, each size of memory, each board, each firmware.
const ALWAYS: [(&str, Board, &str); 4] = [
    ("qemu64", Board::Pc, "256M"),
    ("Haswell", Board::Pc, "4G"),
    ("EPYC", Board::Pc, "6G"),
    ("Nehalem", Board::Q35, "4G"),
];

/// The tests of the suite that are run on each: parts of their full names. What a task can do to the kernel depends on the processor
/// and on memory; what servers and clients do to each other does not.
const PARTS: [&str; 7] = ["::hostile::", "::pointers::", "::d01_", "::d04_", "::d07_", "::d21_", "::d22_"];

/// The test of the programs that come with `--with`.
const OUTSIDE: &str = "outside::hostile_programs_harm_nobody";

/// Every machine.
fn combinations() -> Vec<Combination> {
    let one = |cpu, firmware: Firmware, smp, memory| {
        let board = firmware.board();
        Combination { cpu, firmware, board, smp, memory, always: ALWAYS.contains(&(cpu, board, memory)) }
    };
    let mut all = Vec::new();
    for cpu in MODELS {
        all.extend(MEMORIES.map(|memory| one(cpu, Firmware::Bios, 2, memory)));
        all.push(one(cpu, Firmware::Uefi, 2, "4G"));
        // Boards and firmwares the other way round.
        all.push(Combination { board: Board::Q35, ..one(cpu, Firmware::Bios, 1, "512M") });
    }
    all
}

impl Combination {
    /// What the names of its tests begin with, for example `system::matrix::Haswell::bios-pc-2-4G`.
    fn prefix(&self) -> String {
        let Self { cpu, firmware, board, smp, memory, .. } = self;
        format!("system::matrix::{cpu}::{}-{}-{smp}-{memory}", firmware.name(), board.name())
    }

    /// The name of a test of the suite here.
    fn name(&self, test: &str) -> String {
        format!("{}::{}", self.prefix(), test.strip_prefix("system::").unwrap_or(test))
    }

    /// Whether any test here can be wanted. What the suite's tests are called it knows itself.
    fn may_match(&self, wanted: &Wanted) -> bool {
        let Some(filter) = wanted.filter.as_deref() else { return true };
        let prefix = self.prefix();
        let module = |part: &str| filter.contains(part.trim_matches(':'));
        let inside = PARTS.iter().any(|part| module(part)) || OUTSIDE.contains(filter);
        match filter.find("matrix") {
            Some(_) => prefix.contains(filter) || filter.starts_with(&prefix),
            None => prefix.contains(filter) || (inside && !filter.starts_with("system::")),
        }
    }

    fn machine(&self, wanted: &Wanted, image: PathBuf, logs: PathBuf) -> Machine {
        let hardware =
            Hardware { cpu: Some(self.cpu.to_owned()), machine: Some(self.board), ..wanted.hardware.clone() };
        let (firmware, smp, memory) = (self.firmware, self.smp, self.memory.to_owned());
        Machine { firmware, smp, memory, hardware, ..wanted.machine(image, logs) }
    }
}

/// Runs those that are wanted.
///
/// # Errors
/// When something does not build, or the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    // Who names a machine wants that one.
    if wanted.hardware.cpu.is_some() || wanted.hardware.machine.is_some() {
        return Ok(());
    }
    let all = combinations().into_iter();
    let tested: Vec<_> = all.filter(|one| (wanted.matrix || one.always) && one.may_match(wanted)).collect();
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let tested: Vec<_> = tested.iter().filter(|one| one.firmware == firmware).collect();
        if tested.is_empty() {
            continue;
        }
        if firmware == Firmware::Uefi {
            ensure(Needs { qemu: true, uefi: true, clippy: false, install: wanted.install })?;
        }
        let inside = conformance::SUITE.build(config, firmware, "matrix", &PARTS)?;
        let outside = noisy_neighbours::build(config, firmware)?;
        in_parallel(&tested, wanted.jobs, |one| on(one, &inside, &outside, wanted, report, ready))?;
    }
    Ok(())
}

/// Runs both on one machine.
fn on(
    one: &Combination,
    inside: &(Built, PathBuf),
    outside: &(Built, PathBuf),
    wanted: &Wanted,
    report: &Report,
    ready: &Ready,
) -> Result<()> {
    let outside_name = one.name(OUTSIDE);
    // A filter that names the one test needs no boot for the others.
    let only_outside = wanted.filter.as_deref().is_some_and(|filter| filter.contains("outside::"));
    if !only_outside {
        let logs = report.logs(&format!("{}::suite", one.prefix()))?;
        let machine = one.machine(wanted, inside.1.clone(), logs.clone());
        let verdicts = conformance::SUITE.boot(&machine, ready, &inside.0)?;
        for verdict in verdicts {
            let name = one.name(&verdict.name);
            if wanted.matches(&name) || verdict.took.is_some() {
                report.verdict(&name, &verdict.outcome, verdict.took, &logs);
            }
        }
    }
    if wanted.matches(&outside_name) {
        report.perform(&outside_name, |logs| {
            let machine = one.machine(wanted, outside.1.clone(), logs.to_owned());
            noisy_neighbours::harm_nobody(&machine, ready, &outside.0)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_every_model_with_every_size_of_memory_and_the_few_have_each_of_all() {
        let all = combinations();
        for cpu in MODELS {
            for memory in MEMORIES {
                assert!(all.iter().any(|one| one.cpu == cpu && one.memory == memory && one.smp == 2), "{cpu} {memory}");
            }
            assert!(all.iter().any(|one| one.cpu == cpu && one.firmware == Firmware::Uefi), "{cpu}");
        }
        let few: Vec<_> = all.iter().filter(|one| one.always).collect();
        assert_eq!(few.len(), ALWAYS.len());
        assert!(MEMORIES.iter().all(|memory| few.iter().any(|one| one.memory == *memory)));
        assert!(
            [Firmware::Bios, Firmware::Uefi].iter().all(|firmware| few.iter().any(|one| one.firmware == *firmware))
        );
        let mut names: Vec<_> = all.iter().map(Combination::prefix).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert_eq!(all[0].name("system::hostile::d01_x"), "system::matrix::qemu64::bios-pc-2-256M::hostile::d01_x");
    }

    #[test]
    fn machines_are_booted_only_for_tests_that_may_be_wanted() {
        let first = &combinations()[0];
        let may = |filter: &str| {
            let filter = Some(filter.to_owned());
            let hardware = Hardware::default();
            first.may_match(&Wanted {
                kind: None,
                filter,
                hardware,
                matrix: true,
                with: Vec::new(),
                jobs: 1,
                install: false,
            })
        };
        for filter in
            ["matrix", "system::matrix::qemu64", "qemu64::bios", "2-256M", "d21_", "hostile", "outside::hostile"]
        {
            assert!(may(filter), "{filter}");
        }
        assert!(may("system::matrix::qemu64::bios-pc-2-256M::hostile::d01_every_exception"));
        for filter in ["system::hostile", "system::matrix::Haswell", "futures", "d12_", "system::boot", "4G"] {
            assert!(!may(filter), "{filter}");
        }
    }
}
