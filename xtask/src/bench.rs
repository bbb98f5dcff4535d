//! `cargo xtask bench`: what the kernel's operations cost, counted in guest instructions.
//!
//! QEMU counts the guest's time in its instructions (`-icount shift=0`), so one tick of the time-stamp counter is one instruction, and
//! two runs give the same figures. Two systems are booted: one with the supervisor and drivers of the real one, and one in which
//! the task that measures has the supervisor's place.

mod figures;
mod heap;
mod plot;
mod record;

use crate::build::{Built, Config, build_system, with_loader, write_image};
use crate::loader::Firmware;
use crate::paths::{self, Paths};
use crate::qemu::{End, Machine};
use crate::symbols::{Symbols, panic_report};
use crate::test::kernel::machine;
use crate::toolchain::install::{Needs, Ready, ensure};
use crate::ui::say;
use anyhow::{Context, Result, bail};
use figures::{Figure, Figures, NAMES};
use goblin::elf::Elf;
use goblin::elf::section_header::SHF_EXECINSTR;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The systems that are booted, and the names of their archives.
const SYSTEMS: [(&str, &str); 2] =
    [("userspace/bench/system.toml", "bench"), ("userspace/bench/kernel.toml", "bench-kernel")];

/// The name of the figure that is read off the kernel's file.
const TEXT: &str = "kernel_text_bytes";

/// How long one of them may take; it takes ten seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// What to measure, and what to do with it.
pub struct Options {
    /// A part of the names of the figures, if not all.
    pub name: Option<String>,
    /// Whether allocations are to be recorded anew; for the heaps alone.
    pub record: bool,
    /// Where to write the figures.
    pub json: Option<PathBuf>,
    /// Figures of an earlier run.
    pub compare: Option<PathBuf>,
    /// Where to draw them.
    pub svg: Option<PathBuf>,
    /// Whether what is missing may be installed.
    pub install: bool,
}

/// Builds, boots, measures, prints. The exit code says whether a figure grew where there is something to compare with.
///
/// # Errors
/// When something does not build, a name is unknown, a measurement failed, or ticks are not instructions.
pub fn bench(paths: &Paths, options: &Options) -> Result<ExitCode> {
    if options.name.as_deref() == Some("heap") {
        return heap::bench(paths, options);
    }
    if options.record {
        bail!("--record goes with `cargo xtask bench heap`");
    }
    let wanted = |name: &str| options.name.as_deref().is_none_or(|part| name.contains(part));
    if let Some(part) = options.name.as_deref().filter(|_| !NAMES.iter().any(|anchor| wanted(anchor.name))) {
        let names: Vec<_> = NAMES.iter().map(|anchor| anchor.name).collect();
        bail!("no figure's name contains `{part}`; they are {}", names.join(", "));
    }
    let old = options.compare.as_deref().map(Figures::load).transpose()?;
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let logs = paths.target.join("bench");
    let mut figures = run(&config, &ready, &logs)?;
    figures.keep(wanted);
    let grown = old.as_ref().map(|old| figures.grown_since(old)).unwrap_or_default();
    print!("{}", figures.table(old.as_ref()));
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", figures.to_json()).as_bytes())?;
    }
    if let Some(path) = &options.svg {
        paths::write_whole(path, plot::svg(&figures).as_bytes())?;
    }
    for one in &grown {
        say(format!("GREW: {one}"));
    }
    Ok(if grown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures everything; the logs go to the directory `logs`.
///
/// # Errors
/// As [`bench`].
pub fn run(config: &Config, ready: &Ready, logs: &Path) -> Result<Figures> {
    let mut all = Figures::default();
    for (system, name) in SYSTEMS {
        let (builder, built) =
            with_loader(config, Firmware::Bios, || build_system(config, system, &format!("{name}.tar")))?;
        if all.is_empty() {
            all.push(Figure::single(TEXT, text_bytes(&built.kernel)?));
        }
        let image = config.paths.images().join(format!("{name}-bios.img"));
        write_image(&builder, Firmware::Bios, &built.boot_kernel, &built.ramdisk, &image)?;
        let log = boot(ready, &built, image, &logs.join(name))?;
        all.read(&log).with_context(|| format!("{system}, whose log is in {}", Paths::shown(&logs.join(name))))?;
    }
    all.in_order();
    Ok(all)
}

/// Runs one of the systems to its end; returns what it logged.
fn boot(ready: &Ready, built: &Built, image: PathBuf, logs: &Path) -> Result<String> {
    let _ = std::fs::remove_dir_all(logs);
    let machine = Machine { counted: true, ..machine(image, logs.to_path_buf()) };
    let mut qemu = machine.start(&ready.programs)?;
    qemu.go()?;
    let end = qemu.wait(LIMIT)?;
    qemu.stop();
    let log = std::fs::read(logs.join("kernel.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    if let Some(report) = panic_report(&log) {
        let named = Symbols::load(&built.kernel).map_or_else(|_| report.to_owned(), |symbols| symbols.annotate(report));
        bail!("the kernel panicked:\n{named}");
    }
    match end {
        Some(End::PoweredOff) => Ok(log),
        Some(end) => bail!("{end} while measuring; its log is in {}", Paths::shown(logs)),
        None => bail!("not done after {} s; its log is in {}", LIMIT.as_secs(), Paths::shown(logs)),
    }
}

/// Bytes of code in a program.
fn text_bytes(program: &Path) -> Result<u64> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("{} is no ELF file", program.display()))?;
    let code = |flags: u64| flags & u64::from(SHF_EXECINSTR) != 0;
    Ok(elf.section_headers.iter().filter(|section| code(section.sh_flags)).map(|section| section.sh_size).sum())
}
