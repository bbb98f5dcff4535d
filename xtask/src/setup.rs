//! `cargo xtask setup`: gets everything that the other commands need, before they need it.

use anyhow::{Result, bail};
use machine::loader::{BUILD_TAKES, Firmware, ImageBuilder};
use machine::paths::Paths;
use machine::toolchain::install::{Needs, ensure};
use machine::ui::say;

/// Installs compiler, QEMU and (for UEFI) firmware, then builds the boot loader.
///
/// # Errors
/// When something is missing and cannot or must not be installed, or the loader cannot be built.
pub fn setup(paths: &Paths, uefi: bool, install: bool) -> Result<()> {
    let ready = ensure(Needs { qemu: true, uefi, clippy: false, install })?;
    say(format!("{}, {}", ready.toolchain.summary(), ready.programs.version()));
    let firmwares: &[Firmware] = if uefi { &[Firmware::Bios, Firmware::Uefi] } else { &[Firmware::Bios] };
    let mut missing = Vec::new();
    for &firmware in firmwares {
        if install {
            ImageBuilder::get(paths, &ready.toolchain, firmware)?;
        } else if let Some(dir) = ImageBuilder::missing(paths, &ready.toolchain, firmware)? {
            let firmware = firmware.name().to_uppercase();
            missing.push(format!(
                "the boot loader for {firmware} is not built yet, or is damaged; it belongs in {}",
                dir.display()
            ));
        }
    }
    if !missing.is_empty() {
        bail!(
            "{}\nTo build it, run `cargo xtask setup{}`: that takes {BUILD_TAKES}, and serves every checkout. Only disk images need it.",
            missing.join("\n"),
            if uefi { " --uefi" } else { "" }
        );
    }
    say("everything is there; next: cargo xtask run");
    Ok(())
}
