//! `cargo xtask doc`: the reference of what drivers are made of.

use anyhow::{Context, Result, bail};
use machine::build::SYSTEM_TOML;
use machine::children;
use machine::manifest::System;
use machine::paths::Paths;
use machine::toolchain::install::{Needs, ensure};
use machine::toolchain::shield;
use std::path::PathBuf;

/// The page to begin with: the runtime's.
const FIRST: &str = "rt/index.html";

/// What rustdoc is to refuse, and what it may let pass: a link from a public item to a private one is of use to who reads the source.
const FLAGS: [&str; 3] = ["-Dwarnings", "-Drustdoc::missing_crate_level_docs", "-Arustdoc::private_intra_doc_links"];

/// Writes the reference, and returns the page to begin with.
///
/// # Errors
/// When the task table is wrong, something is missing, something has no documentation, or a link leads nowhere: rustdoc has printed which.
pub fn doc(paths: &Paths, install: bool) -> Result<PathBuf> {
    ensure(Needs { qemu: false, uefi: false, clippy: false, install })?;
    write(paths)
}

/// As [`doc`], where all that it needs is there.
///
/// # Errors
/// As [`doc`].
pub fn write(paths: &Paths) -> Result<PathBuf> {
    let system = System::load(&paths.root.join(SYSTEM_TOML), &[])?;
    let mut command = shield::host(paths)?;
    // rustdoc takes flags from here as rustc does from CARGO_ENCODED_RUSTFLAGS: parted by the character 0x1f.
    command.env("CARGO_ENCODED_RUSTDOCFLAGS", FLAGS.join("\u{1f}"));
    command.args([
        "doc",
        "--quiet",
        "--no-deps",
        "--lib",
        "--target",
        "host-tuple",
        "--package",
        "abi",
        "--package",
        "rt",
    ]);
    for package in served(&system) {
        command.args(["--package", package]);
    }
    command.arg("--manifest-path").arg(paths.root.join("Cargo.toml"));
    let target = command.get_envs().find(|(name, _)| *name == "CARGO_TARGET_DIR").and_then(|(_, value)| value);
    let target = PathBuf::from(target.context("the build directory is not set")?);
    if !children::spawn_build(&mut command)?.wait()?.success() {
        bail!("the reference cannot be written; rustdoc has said above why");
    }
    let triple = std::fs::read_dir(&target).with_context(|| format!("cannot read {}", target.display()))?;
    let page = triple.flatten().map(|entry| entry.path().join("doc").join(FIRST)).find(|page| page.exists());
    page.with_context(|| format!("rustdoc has written no {FIRST} below {}", target.display()))
}

/// The packages of tasks that others call, each once: those that have a protocol.
fn served(system: &System) -> Vec<&str> {
    let called = system.tasks.iter().filter(|task| !system.callers(&task.name.value).is_empty());
    let mut packages: Vec<&str> = called.map(|task| task.package.value.as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_every_protocol() {
        let paths = Paths::find().expect("the checkout");
        let system = System::load(&paths.root.join(SYSTEM_TOML), &[]).expect("the table is good");
        let served = served(&system);
        for package in ["driver-serial", "driver-keyboard", "driver-vga", "driver-power", "console", "supervisor"] {
            assert!(served.contains(&package), "{package} is not among {served:?}");
        }
        assert!(!served.contains(&"shell"), "nobody calls the shell");
    }
}
