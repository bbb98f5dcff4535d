//! Recording what tasks of the real system allocate: their runtime tells of each allocation on a port (the feature `trace` of `rt`).

use super::heap::TRACED;
use abi::manifest::Grant;
use anyhow::{Context, Result, bail};
use machine::build::{Built, Config, SYSTEM_TOML, build_with_words, with_loader, write_image};
use machine::guest::Guest;
use machine::harness::machine;
use machine::loader::Firmware;
use machine::manifest::{At, System};
use machine::paths;
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// What is typed while the recording runs.
const SESSION: [&str; 10] = [
    "help",
    "ps",
    "mem",
    "echo one two three; echo 'four five'",
    "caps console",
    "log serial",
    "uptime",
    "help ps",
    "fault null-read",
    "ps",
];

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Boots the real system with two tasks that tell, types a session, and writes what was told to `dir`.
///
/// # Errors
/// When something does not build, or the machine does not end as it should.
pub fn record(config: &Config, ready: &Ready, dir: &Path) -> Result<()> {
    let (builder, built) = with_loader(config, Firmware::Pvh, || build(config))?;
    let image = config.paths.images().join("traced-bios.img");
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    let logs = config.paths.target.join("bench").join("traced");
    let _ = std::fs::remove_dir_all(&logs);
    let machine = Machine { traced: true, ..machine(image, logs.clone()) };
    let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
    for command in SESSION {
        guest.run(command, LIMIT)?;
    }
    guest.run("shutdown", LIMIT)?;
    guest.wait_off(LIMIT)?;
    paths::create_dir(dir)?;
    for (task, port) in TRACED {
        let told = std::fs::read_to_string(logs.join(format!("trace-{port:x}"))).context("there is no trace")?;
        let steps = steps(&told).with_context(|| format!("what {task} told makes no sense"))?;
        paths::write_whole(&dir.join(format!("{task}.txt")), steps.as_bytes())?;
    }
    Ok(())
}

/// The real system, whose tasks [`TRACED`] have a port more and whose runtime tells.
fn build(config: &Config) -> Result<Built> {
    let mut system = System::load(&config.paths.root.join(SYSTEM_TOML), config.with)?;
    for (name, port) in TRACED {
        let Some(task) = system.tasks.iter_mut().find(|task| task.name.value == name) else {
            bail!("{SYSTEM_TOML} has no task `{name}`");
        };
        task.grants.push(At { value: Grant::ports("", port, 1), place: task.name.place.clone() });
    }
    build_with_words(config, &system, "traced.tar", &["--package", "rt", "--features", "rt/trace"])
}

/// Lines `+ADDRESS SIZE ALIGN`, `-ADDRESS`, `=ADDRESS ADDRESS SIZE` in hexadecimal, as steps by slots: see `userspace/lab/bench/src/replay.rs`.
fn steps(told: &str) -> Result<String> {
    let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
    let mut free: BTreeSet<usize> = BTreeSet::new();
    let mut out = String::new();
    for line in told.lines() {
        let numbers: Result<Vec<u64>, _> =
            line.get(1..).unwrap_or_default().split(' ').map(|word| u64::from_str_radix(word, 16)).collect();
        let numbers = numbers.with_context(|| format!("cannot be read: {line:?}"))?;
        match (line.chars().next(), &numbers[..]) {
            (Some('+'), &[address, size, align]) => {
                let slot = free.pop_first().unwrap_or(slots.len());
                if slots.insert(address, slot).is_some() {
                    bail!("{address:x} is allocated twice");
                }
                let _ = writeln!(out, "a {size} {align}");
            }
            (Some('-'), &[address]) => {
                let slot = slots.remove(&address).with_context(|| format!("{address:x} is not allocated"))?;
                free.insert(slot);
                let _ = writeln!(out, "f {slot}");
            }
            (Some('='), &[old, new, size]) => {
                let slot = slots.remove(&old).with_context(|| format!("{old:x} is not allocated"))?;
                slots.insert(new, slot);
                let _ = writeln!(out, "r {slot} {size}");
            }
            _ => bail!("cannot be read: {line:?}"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn addresses_become_slots() {
        let told = "+1000 20 8\n+2000 10 10\n-1000\n=2000 3000 ff\n+2000 1 1\n-3000\n";
        assert_eq!(steps(told).expect("it is whole"), "a 32 8\na 16 16\nf 0\nr 1 255\na 1 1\nf 1\n");
        for wrong in ["-1000\n", "+1000 1 1\n+1000 1 1\n", "+1000 1\n", "x\n", "=1 2 3\n"] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
