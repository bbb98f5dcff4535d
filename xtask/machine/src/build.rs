//! Builds what runs on the bare machine: the kernel, and the ramdisk that the boot loader hands it.

use crate::archive::{self, File};
use crate::children;
use crate::direct;
use crate::loader::{Firmware, ImageBuilder};
use crate::manifest::{Source, System};
use crate::outside;
use crate::paths::{self, Paths};
use crate::tasks;
use crate::toolchain::{METAL, Toolchain, shield};
use crate::ui::say;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The file that describes the system.
pub const SYSTEM_TOML: &str = "userspace/system.toml";

/// What to build.
pub struct Config<'a> {
    /// The workspace.
    pub paths: &'a Paths,
    /// The compiler.
    pub toolchain: &'a Toolchain,
    /// Task crates from outside the repository, as given by `--with`.
    pub with: &'a [PathBuf],
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel with its symbols, for reports.
    pub kernel: PathBuf,
    /// The kernel as it is booted: without anything that only a debugger reads, because the loader reads it slowly.
    pub boot_kernel: PathBuf,
    /// The boot archive.
    pub ramdisk: PathBuf,
    /// The programs in it with their symbols, by the names of their tasks.
    pub tasks: BTreeMap<String, PathBuf>,
}

/// Checks the directories given by `--with`, before anything takes long.
///
/// # Errors
/// When one is no task crate.
pub fn check_with(with: &[PathBuf]) -> Result<()> {
    with.iter().try_for_each(|dir| Source::outside(dir).map(drop))
}

/// Builds the whole system.
///
/// # Errors
/// When something does not compile or fit together: what is wrong was printed or is in the error.
pub fn build(config: &Config) -> Result<Built> {
    build_system(config, SYSTEM_TOML, "ramdisk.tar")
}

/// Builds the kernel and the system that a file of the workspace describes; its archive gets a name of its own.
///
/// # Errors
/// As [`build`].
pub fn build_system(config: &Config, system_toml: &str, archive_name: &str) -> Result<Built> {
    build_with_files(config, system_toml, archive_name, &[])
}

/// Builds the kernel and the tasks of a system, and an archive with further files in it.
///
/// # Errors
/// As [`build`].
pub fn build_with_files(config: &Config, system_toml: &str, archive_name: &str, more: &[File]) -> Result<Built> {
    let system = System::load(&config.paths.root.join(system_toml), config.with)?;
    build_loaded(config, &system, archive_name, more)
}

/// Builds the kernel and a system that was read already.
///
/// # Errors
/// As [`build`].
pub fn build_loaded(config: &Config, system: &System, archive_name: &str, more: &[File]) -> Result<Built> {
    build_with_kernel(config, "kernel", &[], system, (archive_name, more), &[])
}

/// Builds the system that a file of the workspace describes with the kernel that can check itself (kernel/src/verify.rs).
///
/// # Errors
/// As [`build`].
pub fn build_verified(config: &Config, system_toml: &str, archive_name: &str) -> Result<Built> {
    let system = System::load(&config.paths.root.join(system_toml), config.with)?;
    build_with_kernel(config, "kernel-verify", &["--features", "verify"], &system, (archive_name, &[]), &[])
}

/// Builds the system that a file of the workspace describes with the kernel that has no assembly for messages (feature `plain`).
///
/// # Errors
/// As [`build`].
pub fn build_plain(config: &Config, system_toml: &str, archive_name: &str) -> Result<Built> {
    let system = System::load(&config.paths.root.join(system_toml), config.with)?;
    build_with_kernel(config, "kernel-plain", &["--features", "plain"], &system, (archive_name, &[]), &[])
}

/// Builds a system that was read already with the kernel that notes how long interrupts are off (kernel/src/latency.rs).
///
/// # Errors
/// As [`build`].
pub fn build_measured(config: &Config, system: &System, archive_name: &str) -> Result<Built> {
    build_with_kernel(config, "kernel-latency", &["--features", "latency"], system, (archive_name, &[]), &[])
}

/// Builds the kernel and a system that was read already, whose programs cargo builds with `words` too.
///
/// # Errors
/// As [`build`].
pub fn build_with_words(config: &Config, system: &System, archive_name: &str, words: &[&str]) -> Result<Built> {
    build_with_kernel(config, "kernel", &[], system, (archive_name, &[]), words)
}

fn build_with_kernel(
    config: &Config,
    name: &str,
    features: &[&str],
    system: &System,
    (archive_name, more): (&str, &[File]),
    words: &[&str],
) -> Result<Built> {
    system.gets_from_outside().iter().for_each(say);
    let programs = compile(config, &[&["build", "--package", "kernel", "--bin", name], features].concat())?;
    let kernel = programs.get(name).with_context(|| format!("the package `kernel` has no program `{name}`"))?.clone();
    let boot_kernel = stripped(config, &kernel)?;
    for (dir, _) in system.outside() {
        outside::prepare(&config.paths.metal(), dir)?;
    }
    let tasks = tasks::build(system, |task| compile(config, &[task, words].concat()))?;
    paths::create_dir(&config.paths.images())?;
    let ramdisk = config.paths.images().join(archive_name);
    archive::pack(system, &tasks, more, &config.paths.root, &ramdisk)?;
    Ok(Built { kernel, boot_kernel, ramdisk, tasks })
}

/// Runs cargo for [`METAL`] with the given words, optimised, and returns the programs it made by the names of their
/// targets. Diagnostics go to the user as cargo writes them.
///
/// # Errors
/// When the build fails.
pub fn compile(config: &Config, words: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = metal(config, words)?;
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let mut child = children::spawn_build(&mut command)?;
    let stdout = child.stdout().context("cargo's output was not piped")?;
    let mut programs = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read cargo's output")?;
        if let Some((name, path)) = program(&line) {
            programs.insert(name, path);
        }
    }
    if !child.wait()?.success() {
        bail!("the build for {METAL} failed; see above for why (a full disk shows there too)");
    }
    Ok(programs)
}

/// Cargo for [`METAL`] with the given words, optimised.
///
/// # Errors
/// When the compiler's own directory cannot be made.
pub fn metal(config: &Config, words: &[&str]) -> Result<Command> {
    let mut command = config.toolchain.cargo(config.paths)?;
    command
        .args(words)
        .args(["--release", "--target", METAL])
        .env("CARGO_TARGET_DIR", config.paths.metal())
        .env("CARGO_ENCODED_RUSTFLAGS", shield::metal_flags(&config.paths.root)?)
        .stdin(Stdio::null());
    if !words.contains(&"--manifest-path") {
        command.arg("--manifest-path").arg(config.paths.root.join("Cargo.toml"));
    }
    // The libraries come as source, the same for every compiler and as small as they can be: building them is not stable yet, the
    // language used is.
    command
        .args([
            "-Zbuild-std=core,alloc,compiler_builtins",
            "-Zbuild-std-features=compiler-builtins-mem,optimize_for_size",
        ])
        .env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// A finished program, if that is what a line of cargo's JSON tells of.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value.get("reason")? != "compiler-artifact" {
        return None;
    }
    let path = value.get("executable")?.as_str()?;
    Some((value.get("target")?.get("name")?.as_str()?.to_owned(), PathBuf::from(path)))
}

/// A copy of a program without symbols and debug information, made anew only when the program is.
///
/// # Errors
/// When llvm-objcopy fails.
pub fn stripped(config: &Config, program: &Path) -> Result<PathBuf> {
    let copy = program.with_extension("stripped");
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    if time(&copy).is_some_and(|made| time(program).is_some_and(|built| made > built)) {
        return Ok(copy);
    }
    let done = config
        .toolchain
        .objcopy()
        .arg("--strip-all")
        .arg(program)
        .arg(&copy)
        .output()
        .context("cannot run llvm-objcopy")?;
    if !done.status.success() {
        bail!("llvm-objcopy cannot strip {}: {}", program.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(copy)
}

/// Builds the system and the boot loader at the same time, and puts both on a disk image.
///
/// # Errors
/// When either fails.
pub fn system_image(config: &Config, firmware: Firmware) -> Result<(Built, PathBuf)> {
    // What is wrong with the tasks is said before the first build of the loader, which takes minutes.
    System::load(&config.paths.root.join(SYSTEM_TOML), config.with)?;
    let (builder, built) = with_loader(config, firmware, || build(config))?;
    let image = config.paths.images().join(format!("enigma-{}.img", firmware.name()));
    write_image(&builder, firmware, &built.boot_kernel, &built.ramdisk, &image)?;
    Ok((built, image))
}

/// Gets the boot loader ready while `work` is done, where one is needed: both leave a processor idle for much of their time.
///
/// # Errors
/// When either fails.
pub fn with_loader<T>(
    config: &Config,
    firmware: Firmware,
    work: impl FnOnce() -> Result<T>,
) -> Result<(ImageBuilder, T)> {
    if firmware == Firmware::Pvh {
        let done = work()?;
        return Ok((ImageBuilder::direct(direct::program(config)?), done));
    }
    std::thread::scope(|scope| {
        let loader = scope.spawn(|| ImageBuilder::get(config.paths, config.toolchain, firmware));
        let done = work();
        if let (Err(error), false) = (&done, loader.is_finished()) {
            say(format!("error: {error:#}"));
            say("waiting for the boot loader all the same, so that the next try need not (Ctrl-C ends it)");
        }
        let loader = loader.join().unwrap_or_else(|_| bail!("building the boot loader ended in a panic"));
        let done = done?;
        Ok((loader?, done))
    })
}

/// Writes a disk image, unless it is there already with just this content.
///
/// # Errors
/// When it cannot be written.
pub fn write_image(
    builder: &ImageBuilder,
    firmware: Firmware,
    kernel: &Path,
    ramdisk: &Path,
    image: &Path,
) -> Result<()> {
    let mut stamp = String::new();
    for input in [builder.program(), kernel, ramdisk] {
        let data = input.metadata().with_context(|| format!("there is no {}", input.display()))?;
        stamp.push_str(&format!("{} {} {:?}\n", input.display(), data.len(), data.modified().ok()));
    }
    let stamp_path = image.with_extension("made-of");
    if image.is_file() && std::fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    if let Some(dir) = image.parent() {
        paths::create_dir(dir)?;
    }
    let _ = std::fs::remove_file(&stamp_path);
    builder.write(kernel, ramdisk, firmware, image)?;
    paths::write_whole(&stamp_path, stamp.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_lines() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"kernel"},"executable":"/t/kernel"}"#;
        assert_eq!(program(line), Some(("kernel".to_owned(), PathBuf::from("/t/kernel"))));
        assert_eq!(program(r#"{"reason":"compiler-artifact","target":{"name":"abi"},"executable":null}"#), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(program("text"), None);
    }
}
