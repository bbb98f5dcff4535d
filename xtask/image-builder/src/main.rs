//! Writes disk images: `image-builder --kernel ELF --ramdisk FILE [--bios OUT] [--uefi OUT]`.
//!
//! `cargo xtask` is the only caller, so the arguments are parsed by hand and the crate stays small. The boot loader
//! itself (its stages for BIOS, its EFI program for UEFI) is inside this program once it is built.

use anyhow::{Context, Result, bail};
use bootloader::{BootConfig, DiskImageBuilder};
use bootloader_boot_config::LevelFilter;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    kernel: Option<PathBuf>,
    ramdisk: Option<PathBuf>,
    bios: Option<PathBuf>,
    uefi: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = std::ffi::OsString>) -> Result<Self> {
        let mut found = Self::default();
        while let Some(flag) = words.next() {
            let slot = match flag.to_str() {
                Some("--kernel") => &mut found.kernel,
                Some("--ramdisk") => &mut found.ramdisk,
                Some("--bios") => &mut found.bios,
                Some("--uefi") => &mut found.uefi,
                _ => bail!("unknown argument {flag:?}"),
            };
            *slot = Some(words.next().with_context(|| format!("{flag:?} wants a path"))?.into());
        }
        Ok(found)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args_os().skip(1))?;
    let kernel = arguments.kernel.context("--kernel is missing")?;
    let mut builder = DiskImageBuilder::new(kernel);
    if let Some(ramdisk) = arguments.ramdisk {
        builder.set_ramdisk(ramdisk);
    }
    // The serial line and the screen belong to drivers in ring 3: the loader says nothing on either.
    let mut config = BootConfig::default();
    config.frame_buffer_logging = false;
    config.serial_logging = false;
    config.log_level = LevelFilter::Off;
    builder.set_boot_config(&config);

    if let Some(path) = arguments.bios {
        write_bios(&builder, &path)?;
    }
    if let Some(path) = arguments.uefi {
        write_uefi(&builder, &path)?;
    }
    Ok(())
}

#[cfg(feature = "bios")]
fn write_bios(builder: &DiskImageBuilder, path: &Path) -> Result<()> {
    builder.create_bios_image(path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(not(feature = "bios"))]
fn write_bios(_: &DiskImageBuilder, _: &Path) -> Result<()> {
    bail!("this image builder was built without the `bios` feature")
}

#[cfg(feature = "uefi")]
fn write_uefi(builder: &DiskImageBuilder, path: &Path) -> Result<()> {
    builder.create_uefi_image(path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(not(feature = "uefi"))]
fn write_uefi(_: &DiskImageBuilder, _: &Path) -> Result<()> {
    bail!("this image builder was built without the `uefi` feature")
}
