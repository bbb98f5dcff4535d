//! Where things are: the workspace, its build directory, and short-lived files.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The directories that every command needs, found once at start.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The workspace: the directory of the top `Cargo.toml`.
    pub root: PathBuf,
    /// cargo's build directory for the host, which also holds everything that xtask makes.
    pub target: PathBuf,
}

impl Paths {
    /// Finds the workspace from what cargo tells the program it runs, and the build directory from cargo's own rules.
    ///
    /// # Errors
    /// When the current directory is gone, or the workspace is.
    pub fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = workspace_of(&package).with_context(|| {
            format!(
                "there is no workspace around {}; run `cargo xtask` from a checkout of the project",
                package.display()
            )
        })?;
        let root = root.to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => resolved(&std::path::absolute(dir).context("cannot resolve CARGO_TARGET_DIR")?),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The build directory of everything that runs on the bare machine. It is not the host's own, so that two
    /// compilers never rebuild each other's files, nor wait for each other's lock.
    #[must_use]
    pub fn metal(&self) -> PathBuf {
        self.target.join("metal")
    }

    /// Finished disk images and what goes into them.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.target.join("images")
    }

    /// The logs of each test.
    #[must_use]
    pub fn test_logs(&self) -> PathBuf {
        self.target.join("test-logs")
    }

    /// A path as the user would write it: relative to the current directory where it is below it.
    #[must_use]
    pub fn shown(path: &Path) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(&here).unwrap_or(path).display().to_string()
    }
}

/// The workspace of a package: the directory around it that has a lock file too, which cargo keeps beside the top `Cargo.toml` alone.
fn workspace_of(package: &Path) -> Option<&Path> {
    package.ancestors().skip(1).find(|dir| ["Cargo.toml", "Cargo.lock"].iter().all(|file| dir.join(file).is_file()))
}

/// The one name of a directory, however it is written and from wherever it is named; it need not be there yet. What lies in a directory of another
/// name is something else for cargo, and is built anew.
fn resolved(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|there| Some((there.canonicalize().ok()?, path.strip_prefix(there).ok()?)));
    real.map_or_else(|| path.to_path_buf(), |(real, rest)| real.components().chain(rest.components()).collect())
}

/// Checks that the build directory can be written.
///
/// # Errors
/// When it cannot; the error says where it is, and how to have another one.
pub fn check_target(paths: &Paths) -> Result<()> {
    let target = &paths.target;
    let made = create_dir(target).and_then(|()| tempfile::tempfile_in(target).map(drop).map_err(Into::into));
    made.with_context(|| {
        format!(
            "everything is built in {}, which cannot be written: make it so, or set CARGO_TARGET_DIR to another directory",
            target.display()
        )
    })
}

/// Checks that temporary files can be made: compilers, linkers and QEMU need them too, and say less clearly what is wrong.
///
/// # Errors
/// When they cannot; the error says where that was, and how to change it.
pub fn check_temporary() -> Result<()> {
    let dir = std::env::temp_dir();
    check_temporary_in(&dir)
}

fn check_temporary_in(dir: &Path) -> Result<()> {
    let made = tempfile::tempfile_in(dir).map(drop);
    made.with_context(|| {
        format!(
            "temporary files belong in {}, but none can be made there: make that directory, free some space on its disk, or set TMPDIR to \
             another one",
            dir.display()
        )
    })
}

/// Creates a directory and its parents, with an error that says which.
///
/// # Errors
/// When the directory cannot be made.
pub fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the directory {}", dir.display()))
}

/// Writes a file so that no reader ever sees half of it, with an error that says which.
///
/// # Errors
/// When the disk is full or the directory cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("part");
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| disk_error(&error, path))
}

/// Turns an I/O error into a sentence that says what to do, above all for a full disk.
#[must_use]
pub fn disk_error(error: &std::io::Error, path: &Path) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => anyhow::anyhow!(
            "the disk is full while writing {}; free some space (a build needs about 1.5 GB, a run 50 MB) and try again",
            path.display()
        ),
        _ => anyhow::anyhow!("cannot write {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_directory_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("file"), "").expect("written");
        let paths = |target: &str| Paths { root: dir.path().into(), target: dir.path().join(target) };
        assert!(check_target(&paths("new/target")).is_ok());
        let error = format!("{:#}", check_target(&paths("file/target")).expect_err("below a file"));
        assert!(error.contains("/file/target") && error.contains("CARGO_TARGET_DIR"), "{error}");
    }

    #[test]
    fn the_workspace_is_found_from_each_of_its_packages() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        std::fs::create_dir_all(root.join("xtask/machine")).expect("made");
        for file in ["Cargo.toml", "xtask/Cargo.toml", "xtask/machine/Cargo.toml"] {
            std::fs::write(root.join(file), "").expect("written");
        }
        assert_eq!(workspace_of(&root.join("xtask")), None);
        std::fs::write(root.join("Cargo.lock"), "").expect("written");
        for package in ["xtask", "xtask/machine"] {
            assert_eq!(workspace_of(&root.join(package)), Some(root), "{package}");
        }
    }

    #[test]
    fn a_directory_has_one_name_however_it_is_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir_all(dir.path().join("checkout/kernel")).expect("made");
        std::os::unix::fs::symlink("checkout", dir.path().join("link")).expect("made");
        for written in ["x/target", "checkout/../x/target", "checkout/kernel/../../x/target", "link/../x/target"] {
            for there in [false, true] {
                // As text: paths are equal that cargo tells apart.
                let found = resolved(&dir.path().join(written)).display().to_string();
                assert_eq!(found, real.join("x/target").display().to_string(), "{written}, {there}");
                std::fs::create_dir_all(real.join("x/target")).expect("made");
            }
            std::fs::remove_dir_all(real.join("x")).expect("removed");
        }
        assert_eq!(resolved(&dir.path().join("link/target")), real.join("checkout/target"));
        assert_eq!(resolved(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn a_place_for_temporary_files_that_is_none_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(check_temporary_in(dir.path()).is_ok());
        let error = format!("{:#}", check_temporary_in(&dir.path().join("none")).expect_err("it is not there"));
        assert!(error.contains("/none") && error.contains("TMPDIR") && error.contains("No such file"), "{error}");
    }
}
