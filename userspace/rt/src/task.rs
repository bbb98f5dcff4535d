//! What a task with the system handle can do to others. Tasks are named by their row in the task table, lives by [`TaskId`].
//!
//! Every function returns [`Status::NoRights`] where the task has no system handle, or not for this.

use crate::syscall;
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::GrantKind;
use abi::task::{SystemInfo, TaskStatus};
use abi::{Status, TaskId};

/// The row that means the kernel's own log, for [`log_read`].
pub const KERNEL_LOG: usize = abi::syscall::KERNEL_LOG as usize;

/// The system handle.
fn system() -> Result<u32, Status> {
    crate::entry_of(GrantKind::System).map(|entry| entry.handle).ok_or(Status::NoRights)
}

/// Starts a task with an argument of at most [`abi::info::ARG_LEN`] bytes; returns its new life.
///
/// # Errors
/// Those of [`abi::Syscall::TaskSpawn`].
pub fn spawn(index: usize, arg: &str) -> Result<TaskId, Status> {
    spawn_detailed(index, arg).map_err(|failure| failure.status)
}

/// Starts the task of a row with an argument; the value of an error is the loader's reason where the status is [`Status::BadImage`].
///
/// # Errors
/// As [`spawn`].
pub fn spawn_detailed(index: usize, arg: &str) -> Result<TaskId, syscall::CallFailure> {
    let system = system().map_err(|status| syscall::CallFailure { status, value: 0 })?;
    syscall::task_spawn(system, index, arg.as_bytes())
}

/// Ends a life; `kind` is what its record will say, [`DeathKind::Killed`] or [`DeathKind::Hung`].
///
/// # Errors
/// [`Status::NoSuchTask`] where that life is over already, and those of [`abi::Syscall::TaskKill`].
pub fn kill(task: TaskId, kind: DeathKind) -> Result<(), Status> {
    syscall::task_kill(system()?, task, kind as u32)
}

/// Releases some of what a dead task held, its frames last; returns how much is left: again until 0.
///
/// # Errors
/// [`Status::NoSuchTask`] where it is not dead.
pub fn reap(index: usize) -> Result<u64, Status> {
    syscall::task_reap(system()?, index)
}

/// Says whether a task will have a next life, for which its callers wait.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn expect(index: usize, expected: bool) -> Result<(), Status> {
    syscall::task_set_restart(system()?, index, expected)
}

/// Sets bits in a task's own notification.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn signal(index: usize, bits: u64) -> Result<(), Status> {
    syscall::task_signal(system()?, index, bits)
}

/// A task's state.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn status(index: usize) -> Result<TaskStatus, Status> {
    syscall::task_status(system()?, index)
}

/// The record that a task's death left.
///
/// # Errors
/// [`Status::NoSuchTask`], [`Status::WouldBlock`] where there is none.
pub fn fault(index: usize) -> Result<FaultRecord, Status> {
    syscall::task_fault(system()?, index)
}

/// The machine's counters.
///
/// # Errors
/// Only [`Status::NoRights`].
pub fn system_info() -> Result<SystemInfo, Status> {
    syscall::system_info(system()?)
}

/// Reads a task's log ring, or the kernel's ([`KERNEL_LOG`]), from a position on: bytes ever written before it. Returns how many
/// bytes, and the position at which to go on. Text that is lost is skipped.
///
/// # Errors
/// Those of [`abi::Syscall::LogRead`].
pub fn log_read(index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
    let (count, first) = syscall::log_read(system()?, index as u64, position, buf)?;
    Ok((count, first.saturating_add(count as u64)))
}
