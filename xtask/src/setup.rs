//! `cargo xtask setup`: gets everything that the other commands need, before they need it.

use crate::build::Config;
use crate::loader::{Firmware, ImageBuilder};
use crate::paths::Paths;
use crate::toolchain::install::{Needs, ensure};
use crate::ui::say;
use anyhow::Result;

/// Installs compiler, QEMU and (for UEFI) firmware, then builds the boot loader.
///
/// # Errors
/// When something is missing and cannot or must not be installed, or the loader cannot be built.
pub fn setup(paths: &Paths, uefi: bool, install: bool) -> Result<()> {
    let ready = ensure(Needs { qemu: true, uefi, clippy: false, install })?;
    say(format!("{}, {}", ready.toolchain.summary(), ready.programs.version()));
    if install {
        let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
        ImageBuilder::get(config.paths, config.toolchain, Firmware::Bios)?;
        if uefi {
            ImageBuilder::get(config.paths, config.toolchain, Firmware::Uefi)?;
        }
    }
    say("everything is there; next: cargo xtask run");
    Ok(())
}
