//! `cargo xtask image`: disk images to keep, or to boot elsewhere.

use crate::build::{Config, check_with, system_image};
use crate::loader::Firmware;
use crate::paths::{self, Paths};
use crate::toolchain::install::{Needs, ensure};
use crate::ui::say;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Writes a BIOS image, and a UEFI image if asked for, to `out` or the build directory; prints their paths.
///
/// # Errors
/// When something is missing, does not build, or the disk is full.
pub fn image(paths: &Paths, uefi: bool, out: Option<&Path>, with: &[PathBuf], install: bool) -> Result<()> {
    check_with(with)?;
    let ready = ensure(Needs { qemu: false, uefi: false, clippy: false, install })?;
    say(ready.toolchain.summary());
    let config = Config { paths, toolchain: &ready.toolchain, with };
    let firmwares: &[Firmware] = if uefi { &[Firmware::Bios, Firmware::Uefi] } else { &[Firmware::Bios] };
    for firmware in firmwares {
        let (_, image) = system_image(&config, *firmware)?;
        let path = match out {
            Some(dir) => {
                paths::create_dir(dir)?;
                let copy = dir.join(format!("enigma-{}.img", firmware.name()));
                std::fs::copy(&image, &copy).map_err(|error| paths::disk_error(&error, &copy))?;
                copy
            }
            None => image,
        };
        println!("{}", Paths::shown(&path));
    }
    Ok(())
}
