//! `cargo xtask lint`: formatting, and clippy with warnings denied, on host and bare-metal code.

use crate::doc;
use anyhow::{Result, bail};
use machine::build::{Config, metal};
use machine::children;
use machine::paths::Paths;
use machine::toolchain::install::{Needs, ensure};
use machine::toolchain::shield;
use machine::ui::say;
use std::process::Command;

/// The packages that are for this machine alone.
const ON_THE_HOST: [&str; 3] = ["xtask", "lab", "machine"];

/// Runs all checks, and fails if one of them did.
///
/// # Errors
/// When something is missing, or a check fails: what it found was printed.
pub fn lint(paths: &Paths, install: bool) -> Result<()> {
    let ready = ensure(Needs { qemu: false, uefi: false, clippy: true, install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    let mut failed = Vec::new();
    let mut check = |what: &'static str, command: &mut Command| -> Result<()> {
        say(format!("lint: {what}"));
        if !children::spawn_build(command)?.wait()?.success() {
            failed.push(what);
        }
        Ok(())
    };
    let manifest = paths.root.join("Cargo.toml");
    let own = |words: &[&str], more: &[&str]| -> Result<Command> {
        let mut command = shield::host(paths)?;
        command.args(words).arg("--manifest-path").arg(&manifest).args(more);
        Ok(command)
    };
    check("formatting", &mut own(&["fmt", "--all", "--check"], &[])?)?;
    // The kernel's tests are kernels of their own, so it is left to the bare-metal run.
    let host = ["clippy", "--quiet", "--target", "host-tuple", "--workspace", "--exclude", "kernel", "--all-targets"];
    check("clippy on the host", &mut own(&host, &["--", "-D", "warnings"])?)?;
    let mut bare = vec!["clippy", "--quiet", "--workspace", "--lib", "--bins"];
    bare.extend(ON_THE_HOST.iter().flat_map(|package| ["--exclude", package]));
    let mut bare = metal(&config, &bare)?;
    check("clippy on the bare machine", bare.args(["--", "-D", "warnings"]))?;
    let verified = ["clippy", "--quiet", "--package", "kernel", "--bin", "kernel-verify", "--features", "verify"];
    check("clippy on the kernel that checks itself", metal(&config, &verified)?.args(["--", "-D", "warnings"]))?;
    let measured = ["clippy", "--quiet", "--package", "kernel", "--bin", "kernel-latency", "--features", "latency"];
    check("clippy on the kernel that measures", metal(&config, &measured)?.args(["--", "-D", "warnings"]))?;
    let plain = ["clippy", "--quiet", "--package", "kernel", "--bin", "kernel-plain", "--features", "plain"];
    check(
        "clippy on the kernel without assembly for messages",
        metal(&config, &plain)?.args(["--", "-D", "warnings"]),
    )?;
    let kernels = ["clippy", "--quiet", "-Zpanic-abort-tests", "--package", "kernel", "--tests"];
    check("clippy on the test kernels", metal(&config, &kernels)?.args(["--", "-D", "warnings"]))?;
    say("lint: the reference");
    if let Err(error) = doc::write(paths) {
        say(format!("{error:#}"));
        failed.push("the reference");
    }
    if !failed.is_empty() {
        bail!("lint failed: {}; see above", failed.join(", "));
    }
    say("lint: nothing found");
    Ok(())
}
