//! What QEMU boots without a disk: a small program that it starts by itself (`kernel/pvh`), and one file with kernel and boot archive.

use crate::build::{Config, compile, stripped};
use crate::paths;
use anyhow::{Context, Result};
use pvh::module::pack;
use std::path::{Path, PathBuf};

/// The name of the program beside the images.
const PROGRAM: &str = "pvh";

/// Builds the program and puts it among the images; a second time only where its source or the compiler has changed.
///
/// # Errors
/// When it does not compile.
pub fn program(config: &Config) -> Result<PathBuf> {
    let programs = compile(config, &["build", "--package", "pvh"])?;
    let built = stripped(config, programs.get("pvh").context("the package `pvh` has no program `pvh`")?)?;
    let new = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let place = config.paths.images().join(PROGRAM);
    // Here, before images are written side by side. Machines that run have it open: it is replaced only by another.
    if !std::fs::read(&place).is_ok_and(|old| old == new) {
        paths::create_dir(&config.paths.images())?;
        paths::write_whole(&place, &new)?;
    }
    Ok(built)
}

/// Where the program of an image is.
#[must_use]
pub fn beside(image: &Path) -> PathBuf {
    image.with_file_name(PROGRAM)
}

/// Writes kernel and archive to `image`, as [`pvh::module`] describes it. The program is [`beside`] it already.
///
/// # Errors
/// When a file cannot be read, or the disk is full.
pub fn write(kernel: &Path, archive: &Path, image: &Path) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    paths::write_whole(image, &pack(&read(archive)?, &read(kernel)?))
}
