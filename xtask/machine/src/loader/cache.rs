//! Where built boot loaders are kept: in the user's cache directory, for all checkouts, each with a checksum.
//!
//! A directory `KEY` holds the program `image-builder`, `checksum` and the log of the build. It appears by being renamed, whole, so that nobody
//! sees half of one, and whoever builds holds a lock, `KEY.lock`, so that the second of two waits for the first.

use crate::paths::{self, Paths};
use crate::ui::say;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The program that is kept.
pub const PROGRAM: &str = "image-builder";
const CHECKSUM: &str = "checksum";

/// The directory of all loaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    dir: PathBuf,
}

/// What is there under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// The program, undamaged.
    Good(PathBuf),
    /// Something else than was put there; in words.
    Damaged(String),
    /// Nothing.
    Nothing,
}

/// Nobody else builds for the same key while this is held.
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The user's, or where that cannot be written one in the build directory, which is said.
    ///
    /// # Errors
    /// When neither can be written.
    pub fn open(paths: &Paths) -> Result<Self> {
        let own = paths.target.join("loader");
        let base = base(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from), std::env::home_dir());
        let Some(dir) = base.map(|base| base.join("enigma/loader")) else {
            say(format!("there is no home directory: the boot loader is kept in {}", Paths::shown(&own)));
            return Self::at(own);
        };
        Self::at(dir.clone()).or_else(|error| {
            say(format!("{error:#}: the boot loader is kept in {}, for this checkout alone", Paths::shown(&own)));
            Self::at(own)
        })
    }

    /// The one at `dir`, which must be one that can be written.
    fn at(dir: PathBuf) -> Result<Self> {
        paths::create_dir(&dir)?;
        tempfile::tempfile_in(&dir).with_context(|| format!("{} cannot be written", dir.display()))?;
        Ok(Self { dir })
    }

    /// Where what belongs to a key is.
    #[must_use]
    pub fn dir(&self, key: &str) -> PathBuf {
        self.dir.join(key)
    }

    /// What is there, looked at whole.
    #[must_use]
    pub fn find(&self, key: &str) -> Kept {
        let dir = self.dir(key);
        let program = dir.join(PROGRAM);
        let Ok(bytes) = std::fs::read(&program) else {
            return if dir.exists() { Kept::Damaged("the program is missing".to_owned()) } else { Kept::Nothing };
        };
        match std::fs::read_to_string(dir.join(CHECKSUM)) {
            Ok(said) if said == checksum(&bytes) => Kept::Good(program),
            Ok(said) => Kept::Damaged(format!("it has {}, but should have {}", checksum(&bytes).trim(), said.trim())),
            Err(_) => Kept::Damaged("it has no checksum".to_owned()),
        }
    }

    /// Waits until nobody else builds for this key.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn lock(&self, key: &str) -> Result<Lock> {
        let path = self.dir.join(format!("{key}.lock"));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| paths::disk_error(&error, &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            say("another build of the same boot loader is under way: waiting for it");
            // Where the file system has no locks, two builds do the same work, and one of them is kept.
            let _ = flock(&file, FlockOperation::LockExclusive);
        }
        Ok(Lock { _file: file })
    }

    /// A directory to build in, beside the others, which is removed when it goes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn workshop(&self) -> Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new().prefix(".building-").tempdir_in(&self.dir);
        let dir = dir.map_err(|error| paths::disk_error(&error, &self.dir))?;
        crate::children::remove_on_signal(dir.path());
        Ok(dir)
    }

    /// Keeps a program and the log of its build under a key, in place of what is there.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn keep(&self, key: &str, program: &Path, log: &Path) -> Result<PathBuf> {
        let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let new = self.workshop()?;
        let full = |error: std::io::Error| paths::disk_error(&error, new.path());
        std::fs::copy(program, new.path().join(PROGRAM)).map_err(full)?;
        std::fs::copy(log, new.path().join("build.log")).map_err(full)?;
        std::fs::write(new.path().join(CHECKSUM), checksum(&bytes)).map_err(full)?;
        let place = self.dir(key);
        let _ = std::fs::remove_dir_all(&place);
        std::fs::rename(new.path(), &place).map_err(|error| paths::disk_error(&error, &place))?;
        Ok(place.join(PROGRAM))
    }
}

/// The directory of caches by the XDG Base Directory Specification: the variable where it holds an absolute path, else `~/.cache`.
fn base(variable: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let home = home.filter(|home| home.is_absolute());
    variable.filter(|dir| dir.is_absolute()).or_else(|| Some(home?.join(".cache")))
}

fn checksum(bytes: &[u8]) -> String {
    format!("crc32 {:08x}, {} bytes\n", crc32fast::hash(bytes), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::at(dir.path().join("a/b")).expect("it can be written");
        std::fs::write(dir.path().join("program"), b"what was built").expect("written");
        std::fs::write(dir.path().join("log"), b"how").expect("written");
        (dir, cache)
    }

    fn keep(dir: &tempfile::TempDir, cache: &Cache) -> PathBuf {
        cache.keep("key", &dir.path().join("program"), &dir.path().join("log")).expect("kept")
    }

    #[test]
    fn what_is_kept_is_found_and_damage_is_noticed() {
        let (dir, cache) = cache();
        assert_eq!(cache.find("key"), Kept::Nothing);
        let program = keep(&dir, &cache);
        assert_eq!(cache.find("key"), Kept::Good(program.clone()));
        assert_eq!(std::fs::read_dir(&cache.dir).expect("it is there").count(), 1, "nothing else is left");
        // Every kind of damage: a bit, an end that is missing, an end that is too much, no program, no checksum.
        type Damage = fn(&Path);
        let damages: [Damage; 5] = [
            |program| std::fs::write(program, b"what was bujlt").expect("written"),
            |program| std::fs::write(program, b"what was").expect("written"),
            |program| std::fs::write(program, b"what was built\0").expect("written"),
            |program| std::fs::remove_file(program).expect("removed"),
            |program| std::fs::remove_file(program.with_file_name(CHECKSUM)).expect("removed"),
        ];
        for (number, damage) in damages.iter().enumerate() {
            damage(&program);
            assert!(matches!(cache.find("key"), Kept::Damaged(_)), "{number}");
            keep(&dir, &cache);
            assert!(matches!(cache.find("key"), Kept::Good(_)), "{number}");
        }
    }

    #[test]
    fn what_cannot_be_kept_whole_leaves_what_was_there() {
        let (dir, cache) = cache();
        let none = dir.path().join("no log");
        assert!(cache.keep("key", &dir.path().join("program"), &none).is_err());
        assert_eq!(cache.find("key"), Kept::Nothing);
        let program = keep(&dir, &cache);
        std::fs::write(dir.path().join("program"), b"what was built next").expect("written");
        assert!(cache.keep("key", &dir.path().join("program"), &none).is_err());
        assert_eq!(cache.find("key"), Kept::Good(program.clone()));
        assert_eq!(std::fs::read(&program).expect("it is there"), b"what was built");
        assert_eq!(std::fs::read_dir(&cache.dir).expect("it is there").count(), 1, "nothing else is left");
    }

    #[test]
    fn the_second_of_two_builders_waits_for_the_first() {
        let (_dir, cache) = cache();
        let lock = cache.lock("key").expect("locked");
        drop(cache.lock("other").expect("another key is another lock"));
        let theirs = cache.clone();
        let begun = Instant::now();
        let second = std::thread::spawn(move || {
            theirs.lock("key").expect("locked");
            begun.elapsed()
        });
        std::thread::sleep(Duration::from_millis(200));
        drop(lock);
        assert!(second.join().expect("it ends") >= Duration::from_millis(200));
    }

    #[test]
    fn the_users_cache_is_where_the_specification_says() {
        let (xdg, home) = (|path: &str| Some(PathBuf::from(path)), || Some(PathBuf::from("/home/u")));
        assert_eq!(base(xdg("/x"), home()), xdg("/x"));
        assert_eq!(base(xdg("relative"), home()), xdg("/home/u/.cache"));
        assert_eq!(base(xdg(""), home()), xdg("/home/u/.cache"));
        assert_eq!(base(None, home()), xdg("/home/u/.cache"));
        assert_eq!(base(None, None), None);
        assert_eq!(base(None, xdg("")), None);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_none() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("file"), "").expect("written");
        assert!(Cache::at(dir.path().join("file/below")).is_err());
    }
}
