//! The tests of `kernel/tests`: each a small kernel of its own, booted in QEMU.

use anyhow::{Context, Result};
use machine::build::{Config, compile, stripped, with_loader, write_image};
use machine::guest::Guest;
use machine::hardware::{Board, Hardware};
use machine::harness::{Outcome, Report, Wanted, in_parallel, verdict_line};
use machine::loader::{Firmware, ImageBuilder};
use machine::paths::{self, Paths};
use machine::qemu::{End, Machine, PANIC_VALUE};
use machine::toolchain::install::Ready;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long one of these kernels may run. The boot alone takes three seconds here, and much more on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What a test kernel writes to isa-debug-exit: see [`End::DebugExit`].
const SUCCESS: u32 = 0x10;
const FAILURE: u32 = 0x11;

/// Kernels that are booted on a second machine, too: the name of these tests, and that of the kernel.
const AGAIN: [(&str, &str); 2] =
    [("interrupt_lines_8259", "interrupt_lines"), ("timer_interrupt_8259", "timer_interrupt")];

/// The kernel whose tests these are.
fn kernel_of(name: &str) -> &str {
    AGAIN.iter().find(|(again, _)| *again == name).map_or(name, |(_, kernel)| kernel)
}

/// Builds all of them in one go, and boots those that are wanted.
///
/// # Errors
/// When they do not build.
pub fn run(paths: &Paths, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let names = names(&paths.root.join("kernel/tests"))?;
    let names = names.into_iter().chain(AGAIN.map(|(again, _)| again.to_owned()));
    // The names of single verdicts are not known before the boot: a kernel is booted if its verdicts may be wanted.
    let names: Vec<_> = names.filter(|name| may_match(wanted, name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    // Without the flag cargo would build the libraries a second time, to unwind, which no kernel does.
    let mut words = vec!["test", "--no-run", "-Zpanic-abort-tests", "--package", "kernel"];
    let kernels: BTreeSet<_> = names.iter().map(|name| kernel_of(name)).collect();
    words.extend(kernels.into_iter().flat_map(|name| ["--test", name]));
    let (builder, programs) = with_loader(&config, Firmware::Pvh, || compile(&config, &words))?;
    let ramdisk = paths.images().join("empty");
    paths::create_dir(&paths.images())?;
    paths::write_whole(&ramdisk, b"no ramdisk\n")?;
    in_parallel(&names, wanted.jobs, |name| {
        let kernel = kernel_of(name);
        let program = programs.get(kernel).with_context(|| format!("kernel/tests/{kernel}.rs was not built"))?;
        let boot = Boot { config: &config, builder: &builder, ready, program, ramdisk: &ramdisk };
        one(name, &boot, wanted, report)
    })
}

/// The tests by name: every `.rs` file of the directory.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.extension().is_some_and(|kind| kind == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Whether the filter can match any verdict of the kernel of this name.
fn may_match(wanted: &Wanted, name: &str) -> bool {
    let full = format!("kernel::{name}");
    match wanted.filter.as_deref() {
        None => true,
        // Either in the name of the kernel, or beginning in it, or it may be in the part that is not known yet.
        Some(part) => full.contains(part) || part.starts_with(&format!("{full}::")) || !part.contains("kernel::"),
    }
}

struct Boot<'a> {
    config: &'a Config<'a>,
    builder: &'a ImageBuilder,
    ready: &'a Ready,
    program: &'a Path,
    ramdisk: &'a Path,
}

/// What a kernel's machine has that the others' have not, where nobody asks for another.
fn own_hardware(name: &str, wanted: Hardware) -> Hardware {
    let mut own = Hardware::default();
    match name {
        // A processor without SMEP and SMAP: a task's code could run in ring 0, if it came there.
        "d21_call_gate" => own.cpu = Some("qemu64".to_owned()),
        // A machine with the 8259s and the 8254 alone.
        "interrupt_lines_8259" | "timer_interrupt_8259" => own.cpu = Some("max,-apic".to_owned()),
        // A host bridge that has PCI configuration in memory.
        "pci_configuration" => own.machine = Some(Board::Q35),
        // A bus behind a bridge, and one with a root of its own, with a device at the last place for one; and a device with virtio's first interface.
        "d21_nothing_is_inherited" => {
            own.qemu = vec![
            "-device virtio-rng-pci".to_owned(),
            "-device pci-bridge,id=behind,chassis_nr=1 -device edu,bus=behind,addr=1 -device edu,bus=behind,addr=1f"
                .to_owned(),
            "-device pxb,id=far,bus_nr=192,bus=pci.0 -device edu,bus=far,addr=2".to_owned(),
        ]
        }
        _ => {}
    }
    // The board of these devices is the usual one.
    own.qemu.retain(|_| wanted.machine.is_none());
    own.qemu.extend(wanted.qemu);
    Hardware { cpu: wanted.cpu.or(own.cpu), machine: own.machine.or(wanted.machine), qemu: own.qemu, ..wanted }
}

/// Boots one kernel and reports its verdicts.
fn one(name: &str, boot: &Boot, wanted: &Wanted, report: &Report) -> Result<()> {
    let full = format!("kernel::{name}");
    let logs = report.logs(&full)?;
    let image = boot.config.paths.images().join(format!("test-{name}.img"));
    let kernel = stripped(boot.config, boot.program)?;
    write_image(boot.builder, Firmware::Pvh, &kernel, boot.ramdisk, &image)?;
    let machine = wanted.machine(image, logs.clone());
    let machine = Machine { hardware: own_hardware(name, machine.hardware), ..machine };
    let mut guest = Guest::boot(&machine, &boot.ready.programs, Some(boot.program), LIMIT)?;
    let end = guest.wait_end(LIMIT);
    let took = guest.uptime();
    let log = guest.kernel_log();
    let verdicts: Vec<_> = log.lines().filter_map(verdict_line).collect();
    let outcome: Outcome = match &end {
        Ok(End::DebugExit(SUCCESS)) => Ok(()),
        // The verdict that failed says why.
        Ok(End::DebugExit(FAILURE)) if verdicts.iter().any(|(_, outcome)| outcome.is_err()) => Ok(()),
        Ok(End::DebugExit(FAILURE)) => Err(format!("it says that it failed, but not in what\n{log}")),
        Ok(end @ End::DebugExit(PANIC_VALUE)) => Err(format!("{:#}", guest.ended(end))),
        Ok(end) => Err(format!("it ended without a verdict: {:#}", guest.ended(end))),
        Err(error) => Err(format!("{error:#}")),
    };
    let mut any = false;
    for (verdict, outcome) in &verdicts {
        let verdict = if *verdict == name { full.clone() } else { format!("{full}::{verdict}") };
        if wanted.matches(&verdict) {
            any = true;
            report.verdict(&verdict, outcome, (verdicts.len() == 1).then_some(took), &logs);
        }
    }
    // A kernel that says nothing is one test; one that says something is one more only when its end is wrong.
    if outcome.is_err() || (!any && verdicts.is_empty()) {
        report.verdict(&full, &outcome, Some(took), &logs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_can_name_what_a_kernel_has_not_said_yet() {
        let wanted = |part: &str| Wanted {
            kind: None,
            filter: Some(part.to_owned()),
            hardware: Hardware::default(),
            matrix: false,
            with: Vec::new(),
            jobs: 1,
            install: false,
        };
        assert!(may_match(&wanted("heap"), "heap"));
        assert!(may_match(&wanted("many_boxes"), "heap"));
        assert!(may_match(&wanted("kernel::heap::many"), "heap"));
        assert!(!may_match(&wanted("kernel::paging"), "heap"));
        assert!(!may_match(&wanted("kernel::heap::many"), "paging"));
    }

    #[test]
    fn a_kernel_is_booted_again_on_other_hardware() {
        for (again, kernel) in AGAIN {
            assert_eq!((kernel_of(again), kernel_of(kernel)), (kernel, kernel));
            assert_ne!(own_hardware(again, Hardware::default()), own_hardware(kernel, Hardware::default()));
        }
    }

    #[test]
    fn tests_are_the_source_files() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for file in ["b.rs", "a.rs", "README.md"] {
            std::fs::write(dir.path().join(file), "").expect("written");
        }
        assert_eq!(names(dir.path()).expect("names"), ["a", "b"]);
        assert!(names(&dir.path().join("none")).is_err());
    }
}
