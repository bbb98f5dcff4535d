//! `cargo xtask chaos`: faults are done to running drivers while clients work, and what comes of it is judged. See `docs/chaos.md`.
//!
//! The faults are split into batches, each of which is a boot of its own with a seed of its own. The first has the seed that was given, so
//! that any batch can be repeated alone.

mod batch;
mod line;
mod log;
mod report;
mod system_tests;

use crate::with::{self, Outside};
use ::fault_injection::{Driver, Random};
use anyhow::{Result, bail};
use batch::{Batch, Outcome};
use machine::build::{Built, Config, build_system, check_with, with_loader, write_image};
use machine::hardware::Hardware;
use machine::harness::{in_parallel, machine};
use machine::loader::Firmware;
use machine::paths::{self, Paths};
use machine::qemu::Machine;
use machine::toolchain::install::{Needs, Ready, ensure};
use machine::ui::say;
use report::Summary;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
pub use system_tests::test;

/// The system that is booted.
const SYSTEM: &str = "userspace/lab/fault-injection/system.toml";

/// Faults in a batch: so many that the boot is a small part of it, and few enough that a failure repeats soon.
const BATCH: u32 = 500;

/// Faults, where nothing else is said.
pub(crate) const COUNT: u32 = 1000;

/// Kills of a driver from outside, where nothing else is said.
const KILLS: u32 = 20;

/// What to do.
pub struct Options {
    /// The driver that faults are done to; all where it is none.
    pub task: Option<String>,
    /// Crates from outside, of which the driver is a task.
    pub with: Vec<PathBuf>,
    /// The machine that they are booted on.
    pub hardware: Hardware,
    /// From which all follows.
    pub seed: u64,
    /// Faults; so many as suits the driver where it is none.
    pub count: Option<u32>,
    /// Machines at the same time.
    pub jobs: usize,
    /// Where to write the figures.
    pub json: Option<PathBuf>,
    /// Whether what is missing may be installed.
    pub install: bool,
}

/// Does it all and prints what came of it. The exit code says whether all that must be zero is.
///
/// # Errors
/// When something does not build, or there is no such driver.
pub fn chaos(paths: &Paths, options: &Options) -> Result<ExitCode> {
    if !options.with.is_empty() {
        return outside(paths, options);
    }
    let count = options.count.unwrap_or(COUNT);
    let drivers = drivers(options.task.as_deref())?;
    let begun = Instant::now();
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let (built, image) = system(&config)?;
    let batches = batches(options.seed, count, &drivers);
    let built_in = begun.elapsed();
    let outcomes = run(paths, &ready, &built, &image, &batches, options.jobs)?;
    let summary = Summary::new(&outcomes);
    print!("{}", summary.text());
    say(format!("{:.0} s, of which {:.0} s to build", begun.elapsed().as_secs_f32(), built_in.as_secs_f32()));
    if let Some(path) = &options.json {
        let json = summary.to_json(options.seed, count, &drivers);
        paths::write_whole(path, format!("{json:#}\n").as_bytes())?;
    }
    for line in summary.failures(options.task.as_deref()) {
        println!("{line}");
    }
    println!("{}", summary.verdict());
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Refuses a machine of the user's own where no crate from outside is to run on it.
///
/// # Errors
/// When it is described and there is no such crate, or is wrong.
pub fn check_hardware(hardware: &Hardware, with: &[PathBuf]) -> Result<()> {
    if with.is_empty() && *hardware != Hardware::default() {
        bail!(
            "--cpu, --machine, --disk, --qemu and -v are for --with DIR: faults to this tree's drivers are counted in instructions of one \
             certain machine"
        );
    }
    hardware.check(Firmware::Pvh.board())
}

/// Kills a task from outside at moments that follow from the seed. Nothing is known of its protocol, so there are no clients whose bytes
/// could be counted: judged is that it comes back each time, that nobody else is harmed, and that no memory is lost.
fn outside(paths: &Paths, options: &Options) -> Result<ExitCode> {
    check_with(&options.with)?;
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    options.hardware.check_cpu(&ready.programs)?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &options.with };
    let outside = Outside::build(&config)?;
    let names: Vec<_> = outside.tasks().map(|task| task.name.value.clone()).collect();
    let wanted = options.task.as_deref();
    let tasks: Vec<_> = outside.tasks().filter(|task| wanted.is_none_or(|name| name == task.name.value)).collect();
    if tasks.is_empty() {
        bail!("--with brings no task `{}`; its tasks are {}", wanted.unwrap_or_default(), names.join(", "));
    }
    let count = options.count.unwrap_or(KILLS);
    let limit = Duration::from_secs(120) + Duration::from_secs(35) * count;
    let (mut good, mut figures) = (true, Vec::new());
    for task in tasks {
        let name = &task.name.value;
        let logs = paths.target.join("chaos").join(name);
        let _ = std::fs::remove_dir_all(&logs);
        let machine = Machine { hardware: options.hardware.clone(), ..machine(outside.image(), logs.clone()) };
        let mut guest = outside.boot(&machine, &ready, task, limit)?;
        let done = with::kills(&mut guest, task, &mut Random::new(options.seed), u64::from(count));
        let done = done.and_then(|away| guest.power_off(Duration::from_secs(30)).map(|()| away));
        match done {
            Ok(mut away) => {
                // The first is not counted: it is for what a first restart takes once.
                let first = usize::from(!away.is_empty());
                away.drain(..first);
                away.sort();
                let ms = |at: usize| away.get(at).map_or(0, Duration::as_millis);
                let (least, middle, most) = (ms(0), ms(away.len() / 2), ms(away.len().saturating_sub(1)));
                println!(
                    "{name}: {count} kills, {} restarts, back after {least} / {middle} / {most} ms; no memory lost, nobody else harmed",
                    away.len()
                );
                figures.push(serde_json::json!({ "task": name, "kills": count, "restarts": away.len(), "back_ms": [least, middle, most] }));
            }
            Err(error) => {
                good = false;
                println!("{name}: FAILED: {error:#}\nlogs: {}", Paths::shown(&logs));
                figures.push(serde_json::json!({ "task": name, "kills": count, "failed": format!("{error:#}") }));
            }
        }
    }
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", serde_json::Value::Array(figures)).as_bytes())?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The drivers that a name stands for.
fn drivers(task: Option<&str>) -> Result<Vec<Driver>> {
    let Some(name) = task else { return Ok(Driver::ALL.into()) };
    let names = Driver::ALL.map(Driver::name).join(", ");
    match Driver::named(name) {
        Some(driver) => Ok(vec![driver]),
        None => bail!("nothing can be done to `{name}`: the drivers are {names}"),
    }
}

/// Builds the system; returns it with its disk image.
///
/// # Errors
/// When it does not build.
pub(crate) fn system(config: &Config) -> Result<(Built, PathBuf)> {
    let (builder, built) = with_loader(config, Firmware::Pvh, || build_system(config, SYSTEM, "chaos.tar"))?;
    let image = config.paths.images().join("chaos-bios.img");
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok((built, image))
}

/// The batches, each with all of `drivers`.
#[must_use]
pub(crate) fn batches(seed: u64, count: u32, drivers: &[Driver]) -> Vec<Batch> {
    let batches = crate::batches(seed, count.into(), BATCH.into()).into_iter();
    batches.map(|(seed, count)| Batch { seed, count: count as u32, drivers: drivers.to_vec() }).collect()
}

/// Runs the batches; tells of each as it ends.
fn run(
    paths: &Paths,
    ready: &Ready,
    built: &Built,
    image: &std::path::Path,
    batches: &[Batch],
    jobs: usize,
) -> Result<Vec<Outcome>> {
    let logs = paths.target.join("chaos");
    let _ = std::fs::remove_dir_all(&logs);
    let outcomes = Mutex::new(Vec::new());
    let numbered: Vec<_> = batches.iter().enumerate().collect();
    in_parallel(&numbered, jobs, |(number, batch)| {
        let begun = Instant::now();
        let outcome = batch.run(ready, built, image, &logs.join(format!("{number}")))?;
        let verdict = if outcome.is_good() { "good" } else { "FAILED" };
        let (many, seed, took) = (outcome.faults.len(), batch.seed, begun.elapsed().as_secs_f32());
        say(format!("batch {} of {}: seed {seed}, {many} faults, {verdict} ({took:.1} s)", number + 1, batches.len()));
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((*number, outcome));
        Ok(())
    })?;
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, _)| *number);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_repeats_alone() {
        let all = batches(7, 2 * BATCH + 3, &Driver::ALL);
        assert_eq!(all.iter().map(|batch| batch.count).collect::<Vec<_>>(), [BATCH, BATCH, 3]);
        assert_eq!(all[0].seed, 7);
        for batch in &all {
            assert_eq!(batches(batch.seed, batch.count, &Driver::ALL).as_slice(), std::slice::from_ref(batch));
        }
        assert_ne!(all[1].seed, all[2].seed);
        assert_eq!(batches(7, 0, &Driver::ALL), []);
    }

    #[test]
    fn drivers_go_by_their_names() {
        assert_eq!(drivers(None).expect("all"), Driver::ALL);
        assert_eq!(drivers(Some("vga")).expect("one"), [Driver::Vga]);
        assert!(drivers(Some("console")).expect_err("not this").to_string().contains("serial, keyboard, vga"));
    }
}
