//! Crates from outside that have the same name. They are built into the same directory, so that they share what they use; cargo tells them
//! apart by the times of their files alone, and would take a program of one for that of the other, whose sources are older.

use crate::paths::{create_dir, write_whole};
use anyhow::{Context, Result};
use std::path::Path;

/// Prepares the build of the crate in `dir` into the directory `target`: if a crate of the same name was built there from another directory,
/// what cargo knows of it is removed, and it is built again.
///
/// # Errors
/// When something there cannot be read or removed.
pub fn prepare(target: &Path, dir: &Path) -> Result<()> {
    // Of a crate that cannot be read, cargo says what is wrong.
    let Ok(text) = std::fs::read_to_string(dir.join("Cargo.toml")) else { return Ok(()) };
    let Ok(manifest) = text.parse::<toml_edit::DocumentMut>() else { return Ok(()) };
    let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else { return Ok(()) };
    let (note, dir) = (target.join("outside").join(name), dir.as_os_str().as_encoded_bytes());
    if std::fs::read(&note).is_ok_and(|last| last == dir) {
        return Ok(());
    }
    forget(target, &format!("{name}-"), 3)?;
    create_dir(&target.join("outside"))?;
    write_whole(&note, dir)
}

/// Removes what cargo knows of packages whose names begin with `prefix`: its directories `.fingerprint`, up to so many levels down.
fn forget(dir: &Path, prefix: &str, levels: u32) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    let known = dir.ends_with(".fingerprint");
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        if known && name.to_string_lossy().starts_with(prefix) {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        } else if !known && levels > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            forget(&path, prefix, levels - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_of_the_same_name_elsewhere_is_forgotten() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (target, one, other) = (place.path().join("target"), place.path().join("one"), place.path().join("other"));
        for dir in [&one, &other] {
            std::fs::create_dir(dir).expect("made");
            std::fs::write(dir.join("Cargo.toml"), "[package]\nname = \"driver-x\"\n").expect("written");
        }
        let known = ["release/.fingerprint/driver-x-01", "x86_64/release/.fingerprint/driver-x-02"];
        let others = "x86_64/release/.fingerprint/driver-y-03";
        let make = || known.iter().chain([&others]).for_each(|dir| create_dir(&target.join(dir)).expect("made"));
        let is_known = || known.map(|dir| target.join(dir).is_dir());
        make();
        prepare(&target, &one).expect("prepared");
        assert_eq!(is_known(), [false; 2], "nobody knows where that is from");
        make();
        prepare(&target, &one).expect("prepared");
        assert_eq!(is_known(), [true; 2], "the same again");
        prepare(&target, &other).expect("prepared");
        assert_eq!(is_known(), [false; 2], "another directory");
        assert!(target.join(others).is_dir(), "another crate");
        make();
        prepare(&target, &one).expect("prepared");
        assert_eq!(is_known(), [false; 2], "and back");
        prepare(&target, &place.path().join("none")).expect("cargo says that");
    }
}
