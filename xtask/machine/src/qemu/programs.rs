//! QEMU and its firmware, as they are installed on this machine.

use crate::paths::Paths;
use crate::toolchain::find_program;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// UEFI firmware for QEMU: the code, and the empty variable store that goes with it.
#[derive(Clone, Debug)]
pub struct Ovmf {
    /// The code, which stays as it is.
    pub code: PathBuf,
    /// The variables as they are at first.
    pub vars: PathBuf,
}

/// The programs and files that run a machine, as far as they are installed.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `qemu-system-x86_64`.
    pub qemu: Option<PathBuf>,
    /// The firmware for `--uefi`.
    pub ovmf: Option<Ovmf>,
}

/// Where distributions put OVMF: Debian and Ubuntu, Fedora, Arch, then QEMU's own.
const OVMF_PLACES: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
];

/// The first QEMU that can be told what a guest's reset and shutdown are to do (`-action`).
const OLDEST: (u32, u32) = (6, 0);

impl Programs {
    /// Looks for them.
    #[must_use]
    pub(crate) fn find() -> Self {
        let ovmf = OVMF_PLACES.iter().find_map(|(code, vars)| {
            let found = Ovmf { code: code.into(), vars: vars.into() };
            (found.code.is_file() && found.vars.is_file()).then_some(found)
        });
        Self { qemu: find_program("qemu-system-x86_64"), ovmf }
    }

    /// QEMU's version, for the user.
    #[must_use]
    pub fn version(&self) -> String {
        match &self.qemu {
            None => "no QEMU".to_owned(),
            Some(_) => format!("QEMU {}", version(&self.said()).unwrap_or("of unknown version")),
        }
    }

    /// Checks that QEMU, where there is one, runs, and is new enough for what it is told to do.
    ///
    /// # Errors
    /// When it does not run, or is older than [`OLDEST`].
    pub(crate) fn check(&self) -> Result<()> {
        let Some(qemu) = &self.qemu else { return Ok(()) };
        let (place, said) = (Paths::shown(qemu), self.said());
        match version(&said) {
            None => bail!(
                "{place} does not say which version of QEMU it is, but: {:?}; mend it, or put another QEMU before it in PATH",
                said.trim()
            ),
            Some(version) if is_too_old(version) => bail!(
                "{place} is QEMU {version}, which is too old: {}.{} or newer is needed; install a newer one, or put it first in PATH",
                OLDEST.0,
                OLDEST.1
            ),
            Some(_) => Ok(()),
        }
    }

    /// What QEMU says when it is asked for its version, or why it cannot be asked.
    fn said(&self) -> String {
        let Some(qemu) = &self.qemu else { return String::new() };
        match Command::new(qemu).arg("--version").env_remove("LD_LIBRARY_PATH").output() {
            Ok(done) => String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// The version in `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)`.
fn version(said: &str) -> Option<&str> {
    let word = said.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    word.starts_with(|c: char| c.is_ascii_digit()).then_some(word)
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::script;

    #[test]
    fn versions_are_read_and_compared() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022\n";
        assert_eq!(version(said), Some("7.2.22"));
        assert_eq!(version("QEMU emulator version 10.0.2"), Some("10.0.2"));
        assert_eq!(version("error while loading shared libraries: version of what"), None);
        assert!(["4.2.1", "5.2.0", "2.11"].iter().all(|old| is_too_old(old)));
        assert!(!["6.0.0", "6.0", "7.2.22", "10.0.2", "11"].iter().any(|new| is_too_old(new)));
    }

    #[test]
    fn a_qemu_that_is_too_old_or_broken_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let check = |body: &str| {
            let qemu = dir.path().join("qemu-system-x86_64");
            script(&qemu, body).expect("a script");
            Programs { qemu: Some(qemu), ovmf: None }.check().map_err(|error| error.to_string())
        };
        assert_eq!(check("echo 'QEMU emulator version 8.2.2'\n"), Ok(()));
        let old = check("echo 'QEMU emulator version 4.2.1 (Debian 1:4.2-3ubuntu6)'\n").expect_err("too old");
        assert!(old.contains("qemu-system-x86_64 is QEMU 4.2.1") && old.contains("6.0 or newer"), "{old}");
        let broken = check("echo 'cannot open shared object file' >&2\nexit 127\n").expect_err("broken");
        assert!(broken.contains("cannot open shared object file") && broken.contains("PATH"), "{broken}");
        assert_eq!(Programs { qemu: None, ovmf: None }.check().map_err(|error| error.to_string()), Ok(()));
    }
}
