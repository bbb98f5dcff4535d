//! What a loader that was just built must show before it is kept: it would be taken for good from then on.

use super::{Firmware, ImageBuilder};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// Checks that no compiler was told to build for another processor, and that an image written by `program` has what the firmware looks for.
/// `dir` is for temporary files.
///
/// # Errors
/// When anything is not as it should be.
pub fn check(program: &Path, firmware: Firmware, log: &Path, dir: &Path) -> Result<()> {
    let text = std::fs::read(log).context("cannot read the log of the build")?;
    untold(&String::from_utf8_lossy(&text))?;
    let (kernel, image) = (dir.join("kernel"), dir.join("proof.img"));
    std::fs::write(&kernel, [0; 4096]).context("cannot write")?;
    let builder = ImageBuilder { program: program.to_path_buf() };
    builder.write(&kernel, &kernel, firmware, &image)?;
    let bytes = std::fs::read(&image).context("there is no image")?;
    match firmware {
        Firmware::Bios => bios(&bytes),
        Firmware::Uefi => uefi(&bytes),
        Firmware::Pvh => bail!("no boot loader is built for it"),
    }
}

/// No line with which cargo runs a compiler names a processor: the loader runs on every one.
fn untold(log: &str) -> Result<()> {
    for line in log.lines().filter(|line| line.contains("Running `")) {
        if ["target-cpu=", "target-feature=+"].iter().any(|part| line.contains(part)) {
            bail!("a setting from outside told the compiler which processor to build for:\n  {}", line.trim());
        }
    }
    Ok(())
}

/// A master boot record: code, the signature 0x55AA at byte 510, and the four partitions' entries at byte 446, of which the first holds the
/// second stage and one the FAT partition. Source: bootloader 0.11, `src/bios/mbr.rs`.
fn bios(image: &[u8]) -> Result<()> {
    ensure!(image.get(510..512) == Some(&[0x55, 0xaa]), "the image has no boot signature");
    let code = image.get(..400).unwrap_or_default();
    ensure!(code.iter().filter(|byte| **byte != 0).count() > 100, "the boot sector has no code");
    let second = partition(image, 0).context("the image has no second stage")?;
    ensure!(second.iter().any(|byte| *byte != 0), "the second stage is empty");
    ensure!(image.windows(8).any(|bytes| bytes == b"BOOT-S~1" || bytes == b"BOOT-STA"), "there are no later stages");
    Ok(())
}

/// The bytes of a partition of a master boot record.
fn partition(image: &[u8], number: usize) -> Option<&[u8]> {
    let entry = image.get(446 + 16 * number..)?.get(..16)?;
    let sectors = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?) as usize * 512);
    let (start, len) = (sectors(8)?, sectors(12)?);
    image.get(start..start.checked_add(len)?).filter(|bytes| !bytes.is_empty())
}

/// A GUID partition table, whose header is in the second sector, and a program for x86-64 (PE format, machine 0x8664) in a FAT partition.
/// Source: UEFI Specification, sections 5.3 and 2.1.
fn uefi(image: &[u8]) -> Result<()> {
    ensure!(image.get(512..520) == Some(b"EFI PART"), "the image has no GUID partition table");
    let program = |at: usize| {
        let offset = image.get(at + 0x3c..at + 0x40)?.try_into().ok().map(u32::from_le_bytes)? as usize;
        Some(image.get(at + offset..at + offset + 6)? == b"PE\0\0\x64\x86")
    };
    let sectors = (0..image.len()).step_by(512).filter(|at| image.get(*at..at + 2) == Some(b"MZ"));
    let programs = sectors.filter(|at| program(*at) == Some(true)).count();
    ensure!(programs == 1, "the image has {programs} EFI programs for x86-64 instead of one");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_a_certain_processor_is_refused() {
        untold("   Compiling x\n     Running `rustc --crate-name x -C opt-level=s`\nnote: target-cpu=native\n")
            .expect("good");
        for flags in ["-C target-cpu=native", "-Ctarget-cpu=haswell", "-C target-feature=+avx2"] {
            let log = format!("[bootloader 0.11.15]      Running `CARGO=x rustc --crate-name x {flags}`\n");
            assert!(untold(&log).expect_err(flags).to_string().contains(flags));
        }
    }

    #[test]
    fn an_image_that_no_firmware_boots_is_refused() {
        let mut image = vec![0; 4096];
        assert!(bios(&image).is_err() && uefi(&image).is_err());
        image[..400].fill(0x90);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(bios(&image).is_err(), "no second stage");
        image[446 + 8] = 1;
        image[446 + 12] = 2;
        assert!(bios(&image).is_err(), "an empty second stage");
        image[600] = 1;
        assert!(bios(&image).is_err(), "no later stages");
        image[2048..2056].copy_from_slice(b"BOOT-S~1");
        bios(&image).expect("it is whole");
        image[446 + 12] = 200;
        assert!(bios(&image).is_err(), "a second stage beyond the end");

        let mut image = vec![0; 4096];
        image[512..520].copy_from_slice(b"EFI PART");
        image[1024..1026].copy_from_slice(b"MZ");
        image[1024 + 0x3c] = 0x80;
        image[1024 + 0x80..1024 + 0x86].copy_from_slice(b"PE\0\0\x64\x86");
        uefi(&image).expect("it is whole");
        image[1024 + 0x85] = 1;
        assert!(uefi(&image).is_err(), "another processor");
        image[1024 + 0x3c..1024 + 0x40].fill(0xff);
        assert!(uefi(&image).is_err(), "a broken program");
    }
}
