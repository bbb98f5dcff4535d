//! Child processes that never outlive us: not on return, not on panic, not on a signal, not when we are killed.

use anyhow::{Context, Result};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, set_parent_process_death_signal, waitpid,
};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A child, and all that it starts if it leads a process group of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Target {
    pid: Pid,
    group: bool,
}

impl Target {
    fn signal(self, signal: Signal) {
        // It may have ended by itself already.
        let _ = if self.group { kill_process_group(self.pid, signal) } else { kill_process(self.pid, signal) };
    }
}

/// Every child that runs, for the thread that handles signals.
static RUNNING: Mutex<Vec<Target>> = Mutex::new(Vec::new());

/// Directories of sockets and other short-lived files, for the same moment.
static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has a directory removed when the process ends by a signal; its owner removes it in all other cases.
pub(crate) fn remove_on_signal(dir: &Path) {
    DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner).push(dir.to_path_buf());
}

/// Removes the directories that are still there.
pub(crate) fn remove_directories() {
    for dir in DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// A child process that is killed when this value goes.
pub struct Guarded {
    child: Child,
    target: Target,
    status: Option<ExitStatus>,
}

/// Starts a build whose processes die with us: cargo starts compilers, and build scripts that start cargo again, and
/// ends none of them when it is ended.
///
/// # Errors
/// When the program cannot be started; the error names it.
pub fn spawn_build(command: &mut Command) -> Result<Guarded> {
    start(command.process_group(0), true)
}

/// Starts a command whose process dies with us.
///
/// # Errors
/// When the program cannot be started; the error names it.
pub fn spawn(command: &mut Command) -> Result<Guarded> {
    start(command, false)
}

fn start(command: &mut Command, group: bool) -> Result<Guarded> {
    let parent = std::process::id();
    // SAFETY: the closure runs in the forked child before exec, where only async-signal-safe calls are sound: it makes
    // two system calls (prctl, getppid) through rustix, and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // We may have died between fork and prctl: then no signal will come.
            match rustix::process::getppid() {
                Some(pid) if pid.as_raw_nonzero().get().cast_unsigned() == parent => Ok(()),
                _ => Err(std::io::Error::from(std::io::ErrorKind::Interrupted)),
            }
        });
    }
    let child = command.spawn().with_context(|| {
        format!("cannot start {}: is it installed, and may it be run?", command.get_program().to_string_lossy())
    })?;
    let pid = Pid::from_raw(child.id().cast_signed()).context("a process without a number")?;
    let target = Target { pid, group };
    running(|all| all.push(target));
    Ok(Guarded { child, target, status: None })
}

impl Guarded {
    /// The child's standard output, if it was asked to be piped and not taken yet.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's standard error, if it was asked to be piped and not taken yet.
    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// The status, if the child has ended.
    ///
    /// # Errors
    /// When the system will not say.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("cannot wait for a child process")?;
            if self.status.is_some() {
                self.forget();
            }
        }
        Ok(self.status)
    }

    /// Waits for the child to end.
    ///
    /// # Errors
    /// When the system will not say.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = self.child.wait().context("cannot wait for a child process")?;
        self.status = Some(status);
        self.forget();
        Ok(status)
    }

    /// Waits for at most `limit`.
    ///
    /// # Errors
    /// When the system will not say.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the child: asks first, then kills.
    pub fn kill(&mut self) {
        if matches!(self.try_wait(), Ok(None)) {
            self.target.signal(Signal::TERM);
            if !matches!(self.wait_for(Duration::from_millis(500)), Ok(Some(_))) {
                self.target.signal(Signal::KILL);
                let _ = self.wait();
            }
        }
    }

    fn forget(&self) {
        running(|all| all.retain(|target| *target != self.target));
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills every child there is; for the moment before the process ends by a signal.
pub(crate) fn kill_all() {
    running(|all| {
        for target in all.drain(..) {
            target.signal(Signal::KILL);
            let _ = waitpid(Some(target.pid), WaitOptions::empty());
        }
    });
}

/// A panic while the list was held leaves the list as good as before.
fn running(change: impl FnOnce(&mut Vec<Target>)) {
    change(&mut RUNNING.lock().unwrap_or_else(PoisonError::into_inner));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_dies_with_its_guard() {
        let child = spawn(Command::new("sleep").arg("1000")).expect("sleep runs");
        let pid = child.target.pid;
        assert!(rustix::process::test_kill_process(pid).is_ok());
        drop(child);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_build_dies_with_all_that_it_started() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(std::process::Stdio::piped());
        let mut build = spawn_build(&mut shell).expect("sh runs");
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(build.stdout().expect("piped"));
        std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        let grandchild = Pid::from_raw(line.trim().parse().expect("a number")).expect("a process");
        assert!(rustix::process::test_kill_process(grandchild).is_ok());
        drop(build);
        // Its parent is gone, so it is for the system to bury it.
        let end = Instant::now() + Duration::from_secs(10);
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", grandchild.as_raw_nonzero()));
        while state().is_ok_and(|text| !text.contains(") Z ")) {
            assert!(Instant::now() < end, "it lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = spawn(&mut Command::new("no-such-program-at-all")).err().expect("it cannot start");
        assert!(format!("{error:#}").contains("no-such-program-at-all"));
    }

    #[test]
    fn waiting_has_a_limit() {
        let mut child = spawn(Command::new("sleep").arg("1000")).expect("sleep runs");
        assert!(child.wait_for(Duration::from_millis(20)).expect("a status").is_none());
        let mut quick = spawn(&mut Command::new("true")).expect("true runs");
        assert!(quick.wait_for(Duration::from_secs(10)).expect("a status").is_some_and(|status| status.success()));
    }
}
