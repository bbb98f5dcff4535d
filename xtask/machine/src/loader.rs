//! The boot loader: built once for each compiler and loader version, by the crate in `xtask/image-builder`.
//!
//! The result is one program that holds the loader's stages and writes disk images with them, kept in the user's cache for all checkouts
//! ([`cache`]). As long as it is there, nothing is asked of cargo: its no-op would cost more than writing the image.

mod cache;
mod proof;

use crate::hardware::Board;
use crate::paths::{self, Paths};
use crate::toolchain::{PINNED_LOADER, Toolchain, shield};
use crate::ui::{Step, say};
use anyhow::{Context, Result, bail};
use cache::{Cache, Kept};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// What an image is booted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// None: QEMU starts the kernel by itself, by the PVH protocol. It is no disk image, and takes a tenth of the time.
    Pvh,
    /// The PC's old one, QEMU's default.
    Bios,
    /// UEFI, by OVMF in QEMU.
    Uefi,
}

impl Firmware {
    /// What the flags `--bios` and `--uefi` ask for, of which the command line takes one.
    #[must_use]
    pub fn chosen(bios: bool, uefi: bool) -> Self {
        match (bios, uefi) {
            (_, true) => Self::Uefi,
            (true, false) => Self::Bios,
            (false, false) => Self::Pvh,
        }
    }

    /// The name of the feature of loader and image builder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pvh => "pvh",
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }

    /// The board that has it, where nothing else is said.
    #[must_use]
    pub fn board(self) -> Board {
        match self {
            Self::Pvh | Self::Bios => Board::Pc,
            Self::Uefi => Board::Q35,
        }
    }
}

/// The program that writes images.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    program: PathBuf,
}

/// How long its build takes, for the user.
pub const BUILD_TAKES: &str = "four to ten minutes, once for this compiler";

impl ImageBuilder {
    /// Finds the program in the user's cache, or builds it.
    ///
    /// # Errors
    /// When the build fails (the log's end is in the error) or the disk is full.
    pub fn get(paths: &Paths, toolchain: &Toolchain, firmware: Firmware) -> Result<Self> {
        let (cache, key) = (Cache::open(paths)?, key(paths, toolchain, firmware)?);
        if let Kept::Good(program) = cache.find(&key) {
            return Ok(Self { program });
        }
        let _lock = cache.lock(&key)?;
        let program = match cache.find(&key) {
            // Somebody else built it meanwhile.
            Kept::Good(program) => program,
            Kept::Damaged(how) => {
                say(format!("the boot loader in {} is damaged ({how}): it is built again", cache.dir(&key).display()));
                build(paths, toolchain, firmware, &cache, &key)?
            }
            Kept::Nothing => build(paths, toolchain, firmware, &cache, &key)?,
        };
        Ok(Self { program })
    }

    /// The one that needs no boot loader, with the program that QEMU starts.
    #[must_use]
    pub(crate) fn direct(program: PathBuf) -> Self {
        Self { program }
    }

    /// Where the program will be put when it is built, if it is not there.
    ///
    /// # Errors
    /// When no cache can be written, or the source is missing.
    pub fn missing(paths: &Paths, toolchain: &Toolchain, firmware: Firmware) -> Result<Option<PathBuf>> {
        let (cache, key) = (Cache::open(paths)?, key(paths, toolchain, firmware)?);
        Ok((!matches!(cache.find(&key), Kept::Good(_))).then(|| cache.dir(&key)))
    }

    /// The program itself; it changes when the loader does.
    #[must_use]
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Writes an image that boots `kernel` and hands it `ramdisk`.
    ///
    /// # Errors
    /// When a file is missing or the disk is full.
    pub(crate) fn write(&self, kernel: &Path, ramdisk: &Path, firmware: Firmware, image: &Path) -> Result<()> {
        if firmware == Firmware::Pvh {
            return crate::direct::write(kernel, ramdisk, image);
        }
        let temporary = image.with_extension("part");
        let done = Command::new(&self.program)
            .arg("--kernel")
            .arg(kernel)
            .arg("--ramdisk")
            .arg(ramdisk)
            .arg(format!("--{}", firmware.name()))
            .arg(&temporary)
            // The loader's library makes the file system in a temporary file first; beside the image there is room.
            .env("TMPDIR", image.parent().unwrap_or(Path::new(".")))
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr);
            let full = if text.contains("No space left") { "the disk is full; free 50 MB and try again: " } else { "" };
            let _ = std::fs::remove_file(&temporary);
            bail!("cannot write the disk image {}: {full}{}", image.display(), text.trim());
        }
        std::fs::rename(&temporary, image).map_err(|error| paths::disk_error(&error, image))
    }
}

/// What a program depends on: firmware, loader, compiler, and the source of the image builder with its lock file.
fn key(paths: &Paths, toolchain: &Toolchain, firmware: Firmware) -> Result<String> {
    let source = source(paths);
    let mut sum = crc32fast::Hasher::new();
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        let path = source.join(file);
        sum.update(&std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let (firmware, loader, compiler) = (firmware.name(), toolchain.loader, toolchain.key());
    Ok(format!("{firmware}-{loader}-{compiler}-{}-{:08x}", toolchain.host, sum.finalize()))
}

fn source(paths: &Paths) -> PathBuf {
    paths.root.join("xtask/image-builder")
}

/// Builds the loader and the program around it, and keeps only the program and the log.
fn build(paths: &Paths, toolchain: &Toolchain, firmware: Firmware, cache: &Cache, key: &str) -> Result<PathBuf> {
    say(format!("the boot loader takes {BUILD_TAKES}; it is kept in {}", cache.dir(key).display()));
    let name = firmware.name().to_uppercase();
    let mut step = Step::begin(format!("building the boot loader {} for {name}", toolchain.loader));
    // `cargo install`, which the loader's build script calls, takes the settings that lie above its home and above the directory it
    // builds in: so both are where there are none.
    let short = shield::temporary()?;
    let (home, temporary) = (short.path().join("home"), short.path().join("tmp"));
    shield::lay(&home, paths)?;
    paths::create_dir(&temporary)?;
    let work = cache.workshop()?;
    let manifest = manifest(paths, toolchain, work.path())?;
    let mut command = toolchain.cargo(paths)?;
    command
        // -vv: the output of the loader's build script too, in which most of the time goes.
        .args(["build", "-vv", "--release", "--features", firmware.name(), "--manifest-path"])
        .arg(&manifest)
        // Not by CARGO_TARGET_DIR, which the cargo in the build script would take for its own: each of the two would
        // wait for the other's lock.
        .arg("--target-dir")
        .arg(work.path().join("target"))
        // Where that one builds.
        .env("TMPDIR", &temporary)
        .env("CARGO_HOME", &home)
        // The stages are built with -Zbuild-std and target files, for which a stable compiler needs this.
        .env("RUSTC_BOOTSTRAP", "1");
    if toolchain.loader == PINNED_LOADER {
        command.arg("--locked");
    }
    // Debug information of the stages is in no image; without it the last stage is built in a fifth less time.
    command.env("CARGO_PROFILE_STAGE_3_DEBUG", "0").env("CARGO_PROFILE_STAGE_4_DEBUG", "0");
    command.env("RUSTC", toolchain.loader_rustc(paths)?);
    let log_path = work.path().join("build.log");
    let mut doing = "starting".to_owned();
    let status = run_logged(command, &log_path, |line| {
        // Also of the builds inside the build script, whose lines begin with its name.
        if let Some((_, what)) = line.and_then(|line| line.split_once("   Compiling ")) {
            doing = what.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        }
        step.progress(&doing);
    })?;
    // The directory of the build goes: what is said of it must stay.
    let kept_log = paths.target.join("loader.log");
    if !status.success() {
        paths::create_dir(&paths.target)?;
        std::fs::copy(&log_path, &kept_log).map_err(|error| paths::disk_error(&error, &kept_log))?;
        bail!(
            "the boot loader could not be built with {}; the log is {}, its end:\n{}\n\
             It needs the network once, for crates.io. If the compiler is new: it may need another loader release.",
            toolchain.summary(),
            kept_log.display(),
            tail(&kept_log, 25)
        );
    }
    let program = work.path().join("target/release").join(cache::PROGRAM);
    proof::check(&program, firmware, &log_path, work.path()).context("the boot loader that was built is not kept")?;
    let program = cache.keep(key, &program, &log_path)?;
    step.done();
    Ok(program)
}

/// The manifest to build: the committed one, or a copy that asks for another loader release.
fn manifest(paths: &Paths, toolchain: &Toolchain, dir: &Path) -> Result<PathBuf> {
    let source = source(paths);
    if toolchain.loader == PINNED_LOADER {
        return Ok(source.join("Cargo.toml"));
    }
    let copy = dir.join("source");
    paths::create_dir(&copy.join("src"))?;
    let read = |file: &str| {
        let path = source.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let manifest = read("Cargo.toml")?.replace(&format!("={PINNED_LOADER}"), &format!("={}", toolchain.loader));
    paths::write_whole(&copy.join("Cargo.toml"), manifest.as_bytes())?;
    paths::write_whole(&copy.join("src/main.rs"), read("src/main.rs")?.as_bytes())?;
    Ok(copy.join("Cargo.toml"))
}

/// Runs a command with all its output in a file. Shows each line of its standard error to `progress` as it comes, and
/// none every few seconds when nothing does.
///
/// # Errors
/// When it cannot be run or the log cannot be written. A failure of the command itself is in the status.
fn run_logged(
    mut command: Command,
    log_path: &Path,
    mut progress: impl FnMut(Option<&str>),
) -> Result<std::process::ExitStatus> {
    let full = |error: std::io::Error| paths::disk_error(&error, log_path);
    let mut log = std::fs::File::create(log_path).map_err(full)?;
    let stdout = log.try_clone().map_err(full)?;
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let mut child = crate::children::spawn_build(&mut command)?;
    let stderr = child.stderr().context("the output was not piped")?;
    let (sender, lines) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n') {
            if line.is_ok_and(|line| sender.send(line).is_err()) {
                break;
            }
        }
    });
    loop {
        match lines.recv_timeout(Duration::from_secs(2)) {
            Ok(line) => {
                log.write_all(&line).and_then(|()| log.write_all(b"\n")).map_err(full)?;
                progress(Some(&String::from_utf8_lossy(&line)));
            }
            Err(RecvTimeoutError::Timeout) => progress(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // It has sent its last line.
    let _ = reader.join();
    child.wait()
}

/// The last lines of a text file, indented, for an error message.
#[must_use]
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all.get(from..).unwrap_or_default().iter().map(|line| format!("  {line}\n")).collect()
}
