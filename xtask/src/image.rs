//! `cargo xtask image`: disk images to keep, or to boot elsewhere.

use anyhow::{Context, Result};
use machine::build::{Config, check_with, system_image};
use machine::hardware::{Hardware, shell_line};
use machine::loader::Firmware;
use machine::paths::{self, Paths};
use machine::qemu::{Programs, escaped};
use machine::toolchain::install::{Needs, ensure};
use machine::ui::say;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `image` was asked for; the command line's help tells what each means.
#[derive(Clone, Debug)]
pub struct Options {
    pub uefi: bool,
    pub out: Option<PathBuf>,
    pub with: Vec<PathBuf>,
    pub hardware: Hardware,
    pub install: bool,
}

/// Writes a BIOS image, and a UEFI image if asked for, to a directory of the user's or the build directory; prints their paths. Where a
/// machine is described, it says how each is booted on it.
///
/// # Errors
/// When something is missing, does not build, or the disk is full.
pub fn image(paths: &Paths, options: &Options) -> Result<()> {
    let Options { uefi, out, with, hardware, install } = options;
    let firmwares: &[Firmware] = if *uefi { &[Firmware::Bios, Firmware::Uefi] } else { &[Firmware::Bios] };
    firmwares.iter().try_for_each(|firmware| hardware.check(firmware.board()))?;
    check_with(with)?;
    let ready = ensure(Needs { qemu: false, uefi: false, clippy: false, install: *install })?;
    hardware.check_cpu(&ready.programs)?;
    say(ready.toolchain.summary());
    let config = Config { paths, toolchain: &ready.toolchain, with };
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
        if let Some(line) = line(hardware, *firmware, &path, &ready.programs)? {
            say(format!("to boot it: {line}"));
        }
    }
    Ok(())
}

/// How an image is booted on the machine that was described; nothing where none was.
fn line(hardware: &Hardware, firmware: Firmware, image: &Path, programs: &Programs) -> Result<Option<String>> {
    if *hardware == Hardware::default() {
        return Ok(None);
    }
    Ok(Some(shell_line(&command(hardware, firmware, image, programs)?)))
}

/// QEMU with an image, for a person: its serial line is on the terminal, its screen in a window.
fn command(hardware: &Hardware, firmware: Firmware, image: &Path, programs: &Programs) -> Result<Command> {
    let mut command = Command::new("qemu-system-x86_64");
    let board = firmware.board();
    command.args(["-machine", hardware.machine.unwrap_or(board).name()]);
    command.args(["-cpu", hardware.cpu.as_deref().unwrap_or("max"), "-m", "256M", "-serial", "mon:stdio"]);
    if firmware == Firmware::Uefi {
        let ovmf = programs.ovmf.as_ref();
        let (code, vars) = ovmf
            .map_or(("OVMF_CODE.fd".into(), "OVMF_VARS.fd".into()), |ovmf| (escaped(&ovmf.code), escaped(&ovmf.vars)));
        command.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={code}"));
        command.arg("-drive").arg(format!("if=pflash,format=raw,snapshot=on,file={vars}"));
    }
    let file = escaped(&std::path::absolute(image).context("there is no current directory")?);
    command.arg("-drive").arg(format!("if=none,id=boot,format=raw,file={file}"));
    command.args(["-device", "virtio-blk-pci,drive=boot,bootindex=0"]);
    command.args(hardware.disk_arguments(board, false)?).args(hardware.words()?);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_boots_an_image_has_what_was_asked_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = dir.path().join("a disk.img");
        std::fs::write(&disk, [0; 512]).expect("written");
        let hardware = Hardware {
            cpu: Some("Haswell".to_owned()),
            machine: None,
            disk: vec![disk],
            qemu: vec!["-device edu".to_owned()],
            verbose: true,
        };
        let programs = Programs { qemu: None, ovmf: None };
        let of = |hardware: &Hardware, firmware| {
            line(hardware, firmware, Path::new("/i/enigma.img"), &programs).expect("a line")
        };
        let line = |firmware| of(&hardware, firmware).expect("a machine was described");
        let bios = line(Firmware::Bios);
        assert!(bios.starts_with("qemu-system-x86_64 -machine pc -cpu Haswell "), "{bios}");
        assert!(bios.contains("file=/i/enigma.img") && bios.contains("/a disk.img'"), "{bios}");
        assert!(bios.ends_with("bus=ide.0,unit=0 -device edu"), "{bios}");
        let uefi = line(Firmware::Uefi);
        assert!(uefi.contains("-machine q35") && uefi.contains("OVMF_CODE.fd"), "{uefi}");
        assert_eq!(of(&Hardware::default(), Firmware::Bios), None);
        let usual = of(&Hardware { verbose: true, ..Hardware::default() }, Firmware::Bios).expect("it was asked for");
        assert!(usual.contains("-machine pc -cpu max "), "{usual}");
    }
}
