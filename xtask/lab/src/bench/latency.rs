//! `cargo xtask bench latency`: the longest stretch with interrupts off of every system call, exception and interrupt.
//!
//! A kernel that notes its stretches (kernel/src/latency.rs) runs a system that has as much of everything as the task table accepts, and a task that
//! provokes the worst of each (userspace/lab/bench/src/latency.rs). Time is counted in instructions, so that two runs give the same.

use super::{boot, fill, page};
use abi::Syscall;
use abi::error::exception_name;
use abi::syscall::{LATENCY_OTHER, LATENCY_VECTORS};
use abi::task::{LONGEST_STRETCH, MOST_PORTS};
use anyhow::{Context, Result, bail};
use machine::build::{self, Built, Config, with_loader, write_image};
use machine::loader::Firmware;
use machine::manifest::System;
use machine::paths::{self, Paths};
use machine::toolchain::install::Ready;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What it is called on the command line.
pub const NAME: &str = "latency";
/// What the table on the page is between.
const BEGIN: &str = "<!-- table: latency -->";
const END: &str = "<!-- end -->";
/// The vector of line 0: the first that is not an exception's.
const LINES: u64 = 32;

/// The longest stretch that began in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Instructions.
    pub longest: u64,
    /// What was done then.
    pub scene: String,
    /// The most port accesses of a stretch.
    pub ports: u64,
}

/// All of them, by their cause: see [`abi::syscall::LATENCY_READ`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretches(pub BTreeMap<u64, Stretch>);

/// What a cause is called.
fn name(cause: u64) -> String {
    match cause.checked_sub(LATENCY_VECTORS) {
        None if cause == LATENCY_OTHER => "no system call".to_owned(),
        None => Syscall::from_u64(cause).map_or_else(|| format!("system call {cause}"), |call| call.name().to_owned()),
        Some(LINES) => "the timer's interrupt".to_owned(),
        Some(vector) if vector > LINES => format!("interrupt of line {}", vector - LINES),
        Some(vector) => exception_name(vector as u32).to_owned(),
    }
}

impl Stretches {
    /// What the task `latency` has printed.
    ///
    /// # Errors
    /// When something failed there, or it did not come to its end.
    pub fn read(log: &str) -> Result<Self> {
        let mut all = Self::default();
        let mut done = false;
        for line in log.lines() {
            let Some((task, text)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else { continue };
            let words: Vec<_> = text.split_whitespace().collect();
            let number = |word: &str| word.parse::<u64>().with_context(|| format!("`{line}` has no number there"));
            match (task, &words[..]) {
                (NAME, ["latency", scene, cause, longest, ports]) => {
                    let (longest, ports) = (number(longest)?, number(ports)?);
                    let stretch = all.0.entry(number(cause)?).or_default();
                    if longest > stretch.longest {
                        (stretch.longest, stretch.scene) = (longest, (*scene).to_owned());
                    }
                    stretch.ports = stretch.ports.max(ports);
                }
                (NAME, ["done"]) => done = true,
                (_, ["failed", ..]) => bail!("{line}"),
                _ => {}
            }
        }
        if !done || all.0.is_empty() {
            bail!("the task `{NAME}` did not come to its end");
        }
        Ok(all)
    }

    /// What is longer than promised.
    #[must_use]
    pub fn over(&self) -> Vec<String> {
        let over = self.0.iter().filter(|(_, s)| s.longest > LONGEST_STRETCH || s.ports > MOST_PORTS);
        over.map(|(&cause, s)| {
            format!(
                "{}: {} instructions ({}) and {} port accesses with interrupts off, at most {LONGEST_STRETCH} and {MOST_PORTS} are promised",
                name(cause),
                s.longest,
                s.scene,
                s.ports
            )
        })
        .collect()
    }

    /// For people, the longest first.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut out = format!("{:<28} {:>12} {:>6}  provoked by\n", "interrupts off", "instructions", "ports");
        for (cause, stretch) in self.in_order() {
            let Stretch { longest, scene, ports } = stretch;
            let _ = writeln!(out, "{:<28} {longest:>12} {ports:>6}  {scene}", name(cause));
        }
        out
    }

    fn in_order(&self) -> Vec<(u64, &Stretch)> {
        let mut rows: Vec<_> = self.0.iter().map(|(&cause, stretch)| (cause, stretch)).collect();
        rows.sort_by_key(|(cause, stretch)| (std::cmp::Reverse(stretch.longest), *cause));
        rows
    }

    fn table(&self) -> String {
        let mut out =
            String::from("| interrupts off | instructions | port accesses | provoked by |\n|---|---:|---:|---|\n");
        for (cause, stretch) in self.in_order() {
            let Stretch { longest, scene, ports } = stretch;
            let _ = writeln!(out, "| {} | {longest} | {ports} | `{scene}` |", name(cause));
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let row = |(cause, s): (u64, &Stretch)| json!({ "name": name(cause), "instructions": s.longest, "ports": s.ports, "scene": s.scene });
        json!({ "longest": self.in_order().into_iter().map(row).collect::<Vec<_>>() })
    }

    /// Puts the table on the page that shows it.
    ///
    /// # Errors
    /// When the page has no place for it, or cannot be written.
    pub fn accept(&self, paths: &Paths) -> Result<()> {
        let path = paths.root.join(page::PAGE);
        let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", page::PAGE))?;
        let (before, rest) = old.split_once(BEGIN).with_context(|| format!("{} has no line {BEGIN}", page::PAGE))?;
        let (_, after) = rest.split_once(END).with_context(|| format!("in {} nothing ends the table", page::PAGE))?;
        paths::write_whole(&path, format!("{before}{BEGIN}\n{}{END}{after}", self.table()).as_bytes())
    }
}

/// Builds the system, boots it, and reads what it found; the logs go to the directory `logs`.
///
/// # Errors
/// When something does not build, or the measurement failed.
pub fn run(config: &Config, ready: &Ready, logs: &Path) -> Result<Stretches> {
    let (image, built) = image(config)?;
    let log = boot(ready, &built, image, "2G", logs)?;
    Stretches::read(&log).with_context(|| format!("the log is in {}", Paths::shown(logs)))
}

fn image(config: &Config) -> Result<(PathBuf, Built)> {
    let mut system = System::load(&config.paths.root.join("userspace/lab/bench/latency.toml"), config.with)?;
    fill(&mut system);
    let (builder, built) =
        with_loader(config, Firmware::Pvh, || build::build_measured(config, &system, "bench-latency.tar"))?;
    let image = config.paths.images().join("bench-latency-bios.img");
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok((image, built))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Enigma\n[latency] latency a 24 700 0\n[latency] latency b 24 900 2\n[latency] latency b 97 20001 65\n[latency] done\n";

    #[test]
    fn the_longest_of_all_scenes_counts() {
        let all = Stretches::read(LOG).expect("a good log");
        let expected = Stretch { longest: 900, scene: "b".to_owned(), ports: 2 };
        assert_eq!(all.0.get(&24), Some(&expected));
        assert_eq!(all.over().len(), 1, "one is too long");
        assert!(all.shown().contains("the timer's interrupt") && all.shown().contains("memory_create"));
    }

    #[test]
    fn what_failed_is_no_measurement() {
        for bad in ["", "[latency] latency a 24 700 0\n", &format!("{LOG}[burden] failed burden hold NoRights\n")] {
            assert!(Stretches::read(bad).is_err(), "{bad}");
        }
    }
}
