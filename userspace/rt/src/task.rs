//! Operations on other tasks, for a task with the system handle. A row of the task table names a
//! task, a [`TaskId`] names one of its lives.
//!
//! Every function returns [`Status::NoRights`] if the task has no system handle, or one without the
//! needed right.

use crate::syscall;
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::GrantKind;
use abi::task::{SystemInfo, TaskStatus};
use abi::{Status, TaskId};

/// The row that stands for the kernel's own log, for [`log_read`].
pub const KERNEL_LOG: usize = abi::syscall::KERNEL_LOG as usize;

/// The number of the system handle. Errors: NoRights (the task has none).
fn system() -> Result<u32, Status> {
    crate::entry_of(GrantKind::System).map(|entry| entry.handle).ok_or(Status::NoRights)
}

/// Starts a task with an argument of at most [`abi::info::ARG_LEN`] bytes; returns its new life.
///
/// # Errors
/// The errors of [`abi::Syscall::TaskSpawn`].
pub fn spawn(index: usize, arg: &str) -> Result<TaskId, Status> {
    spawn_detailed(index, arg).map_err(|failure| failure.status)
}

/// Starts the task of a row with an argument. If the error's status is [`Status::BadImage`], its
/// value is the loader's reason.
///
/// # Errors
/// The errors of [`spawn`].
pub fn spawn_detailed(index: usize, arg: &str) -> Result<TaskId, syscall::CallFailure> {
    let system = system().map_err(|status| syscall::CallFailure { status, value: 0 })?;
    syscall::task_spawn(system, index, arg.as_bytes())
}

/// Kills a life; `kind` is the cause in its death record, [`DeathKind::Killed`] or
/// [`DeathKind::Hung`].
///
/// # Errors
/// [`Status::NoSuchTask`] if that life is already over, and those of [`abi::Syscall::TaskKill`].
pub fn kill(task: TaskId, kind: DeathKind) -> Result<(), Status> {
    syscall::task_kill(system()?, task, kind as u32)
}

/// Releases some of what a dead task held, its frames last; returns how much is left. The caller
/// repeats this until it is 0.
///
/// # Errors
/// [`Status::NoSuchTask`] if the task is not dead.
pub fn reap(index: usize) -> Result<u64, Status> {
    syscall::task_reap(system()?, index)
}

/// Sets whether a task will have another life, for which its callers wait.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn expect(index: usize, expected: bool) -> Result<(), Status> {
    syscall::task_set_restart(system()?, index, expected)
}

/// Sets bits in a task's permanent notification.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn signal(index: usize, bits: u64) -> Result<(), Status> {
    syscall::task_signal(system()?, index, bits)
}

/// The status of a task.
///
/// # Errors
/// [`Status::NoSuchTask`].
pub fn status(index: usize) -> Result<TaskStatus, Status> {
    syscall::task_status(system()?, index)
}

/// The record of a task's last death.
///
/// # Errors
/// [`Status::NoSuchTask`], [`Status::WouldBlock`] if there is none.
pub fn fault(index: usize) -> Result<FaultRecord, Status> {
    syscall::task_fault(system()?, index)
}

/// The counters of the system.
///
/// # Errors
/// Only [`Status::NoRights`].
pub fn system_info() -> Result<SystemInfo, Status> {
    syscall::system_info(system()?)
}

/// Reads a task's log ring, or the kernel's ([`KERNEL_LOG`]), from a position on, counted in bytes
/// ever written. Returns the number of bytes, and the position to continue at. Overwritten text is
/// skipped.
///
/// # Errors
/// The errors of [`abi::Syscall::LogRead`].
pub fn log_read(index: usize, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
    let (count, first) = syscall::log_read(system()?, index as u64, position, buf)?;
    Ok((count, first.saturating_add(count as u64)))
}
