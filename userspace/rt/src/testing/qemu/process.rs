//! QEMU as a process that never outlives the test, nor do its files: not on return, not on panic,
//! not when the test is killed.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program.
const QEMU: &str = "qemu-system-x86_64";

/// The file of what it says of its own failures.
const WORDS: &str = "words";

/// Longest path of a Unix socket: `sun_path` has 108 bytes, the last of which is 0 (unix(7)).
const LONGEST: usize = 107;

/// Waits until the test's end of its input closes, which it does with the test. A line before that
/// says that there is nothing left to do.
const GUARD: &str = r#"trap '' INT TERM HUP; read -r done && exit; kill -9 "$1"; rm -rf -- "$2""#;

/// A directory of its own for a machine's sockets and files.
pub fn directory() -> PathBuf {
    static MACHINES: AtomicU32 = AtomicU32::new(0);
    let number = MACHINES.fetch_add(1, Ordering::Relaxed);
    let name = format!("enigma-qemu-{}-{number}", std::process::id());
    let mut dir = env::temp_dir().join(&name);
    if dir.join("registers").as_os_str().len() > LONGEST {
        dir = Path::new("/tmp").join(&name);
    }
    // A process of this number that was killed, guard and all, may have left one.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
    dir
}

pub struct Process {
    qemu: Child,
    guard: Child,
    dir: PathBuf,
}

impl Process {
    /// Starts QEMU with files in `dir`, which it takes over.
    pub fn start(arguments: &[&str], dir: PathBuf) -> Process {
        let path = env::var_os("PATH").unwrap_or_default();
        let program = env::split_paths(&path).map(|dir| dir.join(QEMU)).find(|program| program.is_file());
        let Some(program) = program else {
            let _ = fs::remove_dir_all(&dir);
            panic!("{QEMU} is not on PATH: this test runs over its device models; `cargo xtask setup` installs it");
        };
        let words = fs::File::create(dir.join(WORDS)).expect("a file in a directory just made");
        let mut qemu = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", &format!("{}", qemu.id())])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Process { qemu, guard, dir },
            Err(error) => {
                let _ = (qemu.kill(), qemu.wait());
                panic!("cannot start sh: {error}");
            }
        }
    }

    /// The number of QEMU's process.
    #[cfg(test)]
    pub fn id(&self) -> u32 {
        self.qemu.id()
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of what QEMU says of its own failures.
    pub fn words(&self) -> PathBuf {
        self.dir.join(WORDS)
    }

    /// # Panics
    /// Where QEMU has ended.
    pub fn check(&mut self) {
        if let Ok(Some(status)) = self.qemu.try_wait() {
            let words = fs::read_to_string(self.words()).unwrap_or_default();
            panic!("QEMU does not start ({status}): {}", words.trim());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What has ended already cannot be ended.
        let _ = (self.qemu.kill(), self.qemu.wait());
        if let Some(mut input) = self.guard.stdin.take() {
            let _ = input.write_all(b"done\n");
        }
        let _ = self.guard.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
