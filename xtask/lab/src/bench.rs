//! `cargo xtask bench`: what the kernel's operations cost, counted in guest instructions.
//!
//! QEMU counts the guest's time in its instructions (`-icount shift=0`), so one tick of the time-stamp counter is one instruction, and
//! two runs give the same figures. Several systems are booted: some with the supervisor and drivers of the real one, others in which
//! the task that measures has the supervisor's place.

pub mod code;
mod figures;
mod heap;
mod latency;
mod page;
mod plot;
mod record;
mod report;
mod stub;
mod system_tests;
mod trace;

use abi::manifest::rules::{MAX_ALL_OBJECTS, MAX_HANDLES};
use abi::task::MAX_TASKS;
use anyhow::{Context, Result, bail};
use figures::NAMES;
use goblin::elf::Elf;
use goblin::elf::section_header::SHF_EXECINSTR;
use machine::build::{self, Built, Config, compile, with_loader, write_image};
use machine::harness::machine;
use machine::loader::Firmware;
use machine::manifest::{System, Task};
use machine::paths::{self, Paths};
use machine::qemu::{End, Machine};
use machine::symbols::{Symbols, panic_report};
use machine::toolchain::install::{Needs, Ready, ensure};
use machine::ui::say;
use report::Report;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
pub use system_tests::test;

/// A system that is booted to measure something.
struct Measured {
    /// Its file in `userspace/lab/bench`, and the name of its archive and image.
    name: &'static str,
    /// The figures that come from it: names, or one of [`GROUPS`].
    gives: &'static [&'static str],
    /// The guest's memory.
    memory: &'static str,
}

/// Beside single figures: what a whole group is called.
const GROUPS: [&str; 4] = ["scale", "throughput", "async", TRACE];

/// The group of operations that are followed instruction by instruction, the system in which they are, and the one that is listed.
const TRACE: &str = "trace";
const TRACED: &str = "system";
const LISTED: &str = "ipc_cross_0w";

/// The systems, in the order in which they are booted.
const SYSTEMS: [Measured; 6] = [
    Measured {
        name: "system",
        gives: &[
            "poll_empty_notification",
            "ipc_cross_0w",
            "ipc_cross_4w",
            "ipc_same_4w",
            "ipc_cross_512b_both",
            "lease_4096b",
            "notify_wake",
            "irq_to_driver",
            "yield_switch",
            "turn_end",
            "driver_restart",
        ],
        memory: "128M",
    },
    Measured { name: "kernel", gives: &["fault_to_supervisor", "boot_to_first_task", "spawn_task"], memory: "128M" },
    Measured { name: "scale", gives: &["scale"], memory: "1G" },
    Measured { name: "flow", gives: &["throughput"], memory: "128M" },
    Measured { name: "direct", gives: &["throughput"], memory: "128M" },
    Measured { name: "async", gives: &["async"], memory: "128M" },
];

/// The name of the figure that is read off the kernel's file.
const TEXT: &str = "kernel_text_bytes";

/// The committed figures, with which the tests compare.
pub(crate) const BASELINE: &str = "userspace/lab/bench/baseline.json";

/// The task of which the scale curve's system gets copies, until the task table is full.
const COPIED: &str = "idle";

/// How long one of them may take; it takes ten seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// What to measure, and what to do with it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A part of the names of the figures, or a group, if not all.
    pub name: Option<String>,
    /// Whether allocations are to be recorded anew; for the heaps alone.
    pub record: bool,
    /// Where to write the figures.
    pub json: Option<PathBuf>,
    /// Figures of an earlier run.
    pub compare: Option<PathBuf>,
    /// Where to draw them.
    pub svg: Option<PathBuf>,
    /// Where to write each instruction of a round trip.
    pub listing: Option<PathBuf>,
    /// Whether the figures are to be the committed ones from now on.
    pub accept: bool,
    /// Whether what is missing may be installed.
    pub install: bool,
}

/// What is to be measured: everything, one group, or the figures with a part of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a>(pub Option<&'a str>);

impl Wanted<'_> {
    /// Whether this figure or group is.
    fn takes(self, name: &str) -> bool {
        match self.0 {
            None => true,
            Some(group) if GROUPS.contains(&group) => name == group,
            Some(part) => name.contains(part) && !GROUPS.contains(&name),
        }
    }

    /// # Errors
    /// When there is nothing of that name.
    fn check(self) -> Result<()> {
        let mut names: Vec<_> = NAMES.iter().map(|anchor| anchor.name).chain(GROUPS).collect();
        if names.iter().any(|name| self.takes(name)) {
            return Ok(());
        }
        names.extend(["heap", latency::NAME]);
        bail!(
            "there is nothing to measure that is called `{}`; there are {}",
            self.0.unwrap_or_default(),
            names.join(", ")
        )
    }
}

/// Builds, boots, measures, prints. The exit code says whether a figure grew where there is something to compare with.
///
/// # Errors
/// When something does not build, a name is unknown, a measurement failed, or ticks are not instructions.
pub fn bench(paths: &Paths, options: &Options) -> Result<ExitCode> {
    if options.name.as_deref() == Some("heap") {
        return heap::bench(paths, options);
    }
    if options.name.as_deref() == Some(latency::NAME) {
        return longest(paths, options);
    }
    if options.record {
        bail!("--record goes with `cargo xtask bench heap`");
    }
    let wanted = Wanted(options.name.as_deref());
    wanted.check()?;
    if options.accept && options.name.is_some() {
        bail!("--accept takes all figures, so it goes with no name");
    }
    let old = options.compare.as_deref().map(Report::load).transpose()?;
    let boots = SYSTEMS.iter().any(|system| system.gives.iter().any(|name| wanted.takes(name)));
    let ready = ensure(Needs { qemu: boots, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let report = run(&config, &ready, wanted, &paths.target.join("bench"))?;
    print!("{}", shown(&report, old.as_ref()));
    if options.accept {
        accept(paths, &report)?;
    }
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", report.to_json()).as_bytes())?;
    }
    if let Some(path) = &options.listing {
        if report.listing.is_empty() {
            bail!("--listing goes with `trace`, or with all figures");
        }
        paths::write_whole(path, report.listing.as_bytes())?;
    }
    if let Some(path) = &options.svg {
        paths::write_whole(path, plot::svg(&report).as_bytes())?;
    }
    let mut worse = Vec::new();
    if let Some(old) = &old {
        if report.compiler != old.compiler {
            say(no_growth(&report, old));
        }
        worse = report.grown_since(old);
        worse.extend(report.over_since(old));
    }
    for one in &worse {
        say(format!("WORSE: {one}"));
    }
    Ok(if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The longest stretches with interrupts off. The exit code says whether all are as short as promised.
fn longest(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let found = latency::run(&config, &ready, &paths.target.join("bench").join(latency::NAME))?;
    print!("{}", found.shown());
    if options.accept {
        found.accept(paths)?;
    }
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", found.to_json()).as_bytes())?;
    }
    let over = found.over();
    over.iter().for_each(|one| say(format!("TOO LONG: {one}")));
    Ok(if over.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Commits the figures: the file that tests compare with, and the pages that show them.
fn accept(paths: &Paths, report: &Report) -> Result<()> {
    let write = |name: &str, text: String| paths::write_whole(&paths.root.join(name), text.as_bytes());
    write(BASELINE, format!("{:#}\n", report.to_json()))?;
    for name in [page::PAGE, page::ASYNC] {
        let old = std::fs::read_to_string(paths.root.join(name)).with_context(|| format!("cannot read {name}"))?;
        write(name, page::filled(&old, report))?;
    }
    write(page::PICTURE, plot::svg(report))?;
    write(page::LISTING, report.listing.clone())
}

/// Why no growth is looked for.
#[must_use]
pub(crate) fn no_growth(now: &Report, old: &Report) -> String {
    let (now, old) = (&now.compiler, &old.compiler);
    format!("built by {now}, the other figures by {old}: no growth is looked for, only whether limits are kept")
}

/// For people.
fn shown(report: &Report, old: Option<&Report>) -> String {
    let mut out = String::new();
    if !report.figures.is_empty() {
        out.push_str(&report.figures.table(old.map(|old| &old.figures)));
    }
    let line = |out: &mut String, name: &str, figure: &figures::Figure| {
        let figures::Figure { min, median, max, n, .. } = figure;
        let _ = writeln!(out, "{name:<24} {min:>9} {median:>9} {max:>9} {n:>9} {:>9}", figure.shown_switches());
    };
    let part = |out: &mut String, title: &str, columns: &[&str]| {
        out.push_str(if out.is_empty() { "" } else { "\n" });
        let _ = write!(out, "{title:<24}");
        columns.iter().for_each(|column| _ = write!(out, " {column:>9}"));
        out.push('\n');
    };
    if !report.scale.is_empty() {
        part(&mut out, "round trip beside", &["min", "median", "max", "n", "cr3"]);
    }
    for figure in &report.scale.0 {
        let report::Point { what, count } = report::Point::of(&figure.name);
        line(&mut out, &format!("{count} {what}"), figure);
    }
    if !report.futures.is_empty() {
        part(&mut out, "threads and futures", &["min", "median", "max", "n", "cr3"]);
    }
    report.futures.0.iter().for_each(|figure| line(&mut out, &figure.name, figure));
    if !report.flows.is_empty() {
        out.push_str(if out.is_empty() { "" } else { "\n" });
        let _ = writeln!(
            out,
            "{:<24} {:>9} {:>12} {:>9} {:>12}",
            "characters to a device", "count", "instructions", "each", "a second"
        );
    }
    for flow in &report.flows {
        let report::Flow { name, characters, instructions, .. } = flow;
        let _ =
            writeln!(out, "{name:<24} {characters:>9} {instructions:>12} {:>9.1} {:>12.0}", flow.each(), flow.rate());
    }
    if !report.traces.is_empty() {
        out.push_str(if out.is_empty() { "" } else { "\n" });
        let _ = write!(out, "{:<24} {:>6}", "followed step by step", "all");
        trace::Phase::NAMES.iter().for_each(|(_, name)| _ = write!(out, " {name:>6}"));
        out.push_str("    cr3 msr port fpu  code data\n");
    }
    for one in &report.traces {
        let _ = write!(out, "{:<24} {:>6}", one.name, one.instructions);
        let phase = |name| trace::Summary::count(&one.phases, name);
        trace::Phase::NAMES.iter().for_each(|(_, name)| _ = write!(out, " {:>6}", phase(name)));
        let of = |name| trace::Summary::count(&one.counts, name);
        let [cr3, msr, port, fpu] = ["cr3_writes", "msr_writes", "port_accesses", "fpu_saves"].map(of);
        let _ = writeln!(out, " {cr3:>6} {msr:>3} {port:>4} {fpu:>3} {:>5} {:>4}", of("code_lines"), of("data_lines"));
    }
    out
}

/// Measures what is wanted; the logs go to the directory `logs`.
///
/// # Errors
/// As [`bench`].
pub(crate) fn run(config: &Config, ready: &Ready, wanted: Wanted, logs: &Path) -> Result<Report> {
    let mut report = Report { compiler: format!("rustc {}", ready.toolchain.release), ..Report::default() };
    if wanted.takes(TEXT) {
        let programs = compile(config, &["build", "--package", "kernel", "--bin", "kernel"])?;
        let kernel = programs.get("kernel").context("the package `kernel` has no program of that name")?;
        report.figures.0.push(figures::Figure::single(TEXT, text_bytes(kernel)?));
    }
    for measured in SYSTEMS.iter().filter(|system| system.gives.iter().any(|name| wanted.takes(name))) {
        let (image, built) = image(config, measured.name)?;
        let logs = logs.join(measured.name);
        let log = boot(ready, &built, image, measured.memory, &logs)?;
        report
            .read(&log)
            .with_context(|| format!("{}.toml, whose log is in {}", measured.name, Paths::shown(&logs)))?;
        if measured.gives == ["throughput"] {
            all_was_sent(&report, measured.name, &logs)?;
        }
    }
    if wanted.takes(TRACE) {
        let (image, built) = image(config, TRACED)?;
        let logs = logs.join(TRACE);
        let machine = Machine { counted: Some(0), ..machine(image, logs.clone()) };
        let traces =
            trace::follow(ready, &built, &machine).with_context(|| format!("the log is in {}", Paths::shown(&logs)))?;
        for trace in &traces {
            if let (Some(figure), Some(pair)) = (report.figures.get(&trace.name), report.pair) {
                trace::check(trace, figure.median, pair)?;
            }
            // Of the operation alone, where the measuring task counts what lies between two samples too.
            if let Some(figure) = report.figures.0.iter_mut().find(|figure| figure.name == trace.name) {
                figure.switches = trace.counts.get("cr3_writes").map(|writes| writes * 100 / trace::times(&trace.name));
            }
        }
        report.listing =
            traces.iter().find(|trace| trace.name == LISTED).map(trace::Trace::listing).unwrap_or_default();
        report.traces = traces.iter().map(trace::Trace::summary).collect();
    }
    report.figures.0.retain(|figure| wanted.takes(&figure.name));
    report.figures.in_order();
    Ok(report)
}

/// Builds one of the systems of `userspace/lab/bench`, and puts it on a disk image.
fn image(config: &Config, name: &str) -> Result<(PathBuf, Built)> {
    let file = format!("userspace/lab/bench/{name}.toml");
    let mut system = System::load(&config.paths.root.join(&file), config.with)?;
    fill(&mut system);
    let (builder, built) =
        with_loader(config, Firmware::Pvh, || build::build_loaded(config, &system, &format!("bench-{name}.tar"), &[]))?;
    let image = config.paths.images().join(format!("bench-{name}-bios.img"));
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok((image, built))
}

/// Copies the task [`COPIED`], if there is one, until the task table is full: of tasks, of handles or of objects.
fn fill(system: &mut System) {
    let Some(copied) = system.task(COPIED).cloned() else { return };
    let sum = |of: fn(&Task) -> u32| system.tasks.iter().map(of).sum::<u32>();
    let (handles, objects) = (sum(|task| task.handles.value.into()), sum(|task| task.objects.into()));
    let fits = |most: u32, all: u32, each: u16| most.saturating_sub(all) / u32::from(each).max(1);
    let copies = fits(MAX_HANDLES, handles, copied.handles.value)
        .min(fits(MAX_ALL_OBJECTS, objects, copied.objects))
        .min((MAX_TASKS - system.tasks.len()) as u32);
    for number in 1..=copies {
        let mut copy = copied.clone();
        copy.name.value = format!("{COPIED}-{number}");
        system.tasks.push(copy);
    }
}

/// Whether as many bytes left the serial line as were counted.
fn all_was_sent(report: &Report, system: &str, logs: &Path) -> Result<()> {
    let through = if system == "direct" { "serial_direct" } else { "serial_driver" };
    let counted =
        report.flows.iter().filter(|flow| flow.name.starts_with(through)).map(|flow| flow.characters).sum::<u64>();
    let sent = std::fs::metadata(logs.join("serial.log")).map_or(0, |file| file.len());
    if sent != counted {
        bail!("{counted} characters were written, but {sent} left the serial line: {}", Paths::shown(logs));
    }
    Ok(())
}

/// Runs one of the systems to its end; returns what it logged.
fn boot(ready: &Ready, built: &Built, image: PathBuf, memory: &str, logs: &Path) -> Result<String> {
    let _ = std::fs::remove_dir_all(logs);
    let machine = Machine { counted: Some(0), memory: memory.to_owned(), ..machine(image, logs.to_path_buf()) };
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

/// The section of the kernel's code that only the boot runs, and that is free memory afterwards: see `kernel/boot.ld`.
const BOOT_TEXT: &str = "boot_text";

/// The sections of a program that hold code: names and addresses.
fn code_sections(program: &Path) -> Result<Vec<(String, Range<u64>)>> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("{} is no ELF file", program.display()))?;
    let code = elf.section_headers.iter().filter(|section| section.sh_flags & u64::from(SHF_EXECINSTR) != 0);
    let name = |at: usize| elf.shdr_strtab.get_at(at).unwrap_or_default().to_owned();
    Ok(code.map(|section| (name(section.sh_name), section.sh_addr..section.sh_addr + section.sh_size)).collect())
}

/// Bytes of code that stay in memory.
fn text_bytes(program: &Path) -> Result<u64> {
    let sections = code_sections(program)?;
    let stays = sections.iter().filter(|(name, _)| name != BOOT_TEXT);
    Ok(stays.map(|(_, section)| section.end - section.start).sum())
}

/// What of the kernel's code leads from the rest into the part that is gone after the boot.
///
/// # Errors
/// When the kernel does not build, has no such part, or llvm-objdump cannot read it.
pub(crate) fn leading_into_the_boot(config: &Config) -> Result<Vec<String>> {
    let programs = compile(config, &["build", "--package", "kernel", "--bin", "kernel"])?;
    let kernel = programs.get("kernel").context("the package `kernel` has no program of that name")?;
    let sections = code_sections(kernel)?;
    let (_, part) =
        sections.iter().find(|(name, _)| name == BOOT_TEXT).context("the kernel has no code for the boot alone")?;
    Ok(code::Code::load(kernel)?.leading_into(part))
}
