//! The system calls that take the system handle: on other tasks, the counters of the system, and
//! log rings.

use super::{CallFailure, plain2, plain3, plain4, plain5};
use abi::{Status, Syscall, TaskId};
use core::mem::MaybeUninit;

/// Reads a log ring from a position on; returns the number of bytes, and the position of the first
/// of them.
///
/// # Errors
/// The errors of [`Syscall::LogRead`].
pub fn log_read(system: u32, index: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
    // SAFETY: the kernel writes only to `buf`, which is borrowed for writing.
    unsafe { plain5(Syscall::LogRead, system as u64, index, position, buf.as_mut_ptr() as u64, buf.len() as u64) }
        .values()
        .map(|(count, first)| (count as usize, first))
}

/// Starts a task of the table. If the error's status is [`Status::BadImage`], its value is the
/// loader's reason.
///
/// # Errors
/// The errors of [`Syscall::TaskSpawn`].
pub fn task_spawn(system: u32, index: usize, arg: &[u8]) -> Result<TaskId, CallFailure> {
    // SAFETY: the kernel only reads `arg`.
    let raw = unsafe { plain4(Syscall::TaskSpawn, system as u64, index as u64, arg.as_ptr() as u64, arg.len() as u64) };
    match raw.value() {
        Ok(id) => Ok(TaskId::from_u32(id as u32)),
        Err(status) => Err(CallFailure { status, value: raw.rdx }),
    }
}

/// Kills a task; `kind` is the [`DeathKind`](abi::error::DeathKind) to record.
///
/// # Errors
/// The errors of [`Syscall::TaskKill`].
pub fn task_kill(system: u32, task: TaskId, kind: u32) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain3(Syscall::TaskKill, system as u64, task.to_u32() as u64, kind as u64) }.done()
}

/// Releases some of what a dead task held; returns how much is left.
///
/// # Errors
/// The errors of [`Syscall::TaskReap`].
pub fn task_reap(system: u32, index: usize) -> Result<u64, Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain2(Syscall::TaskReap, system as u64, index as u64) }.value()
}

/// Sets whether a task will have another life.
///
/// # Errors
/// The errors of [`Syscall::TaskSetRestart`].
pub fn task_set_restart(system: u32, index: usize, expected: bool) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain3(Syscall::TaskSetRestart, system as u64, index as u64, expected as u64) }.done()
}

/// Sets bits in a task's permanent notification.
///
/// # Errors
/// The errors of [`Syscall::TaskSignal`].
pub fn task_signal(system: u32, index: usize, bits: u64) -> Result<(), Status> {
    // SAFETY: the call does not access the task's memory.
    unsafe { plain3(Syscall::TaskSignal, system as u64, index as u64, bits) }.done()
}

/// Reads a task's status.
///
/// # Errors
/// The errors of [`Syscall::TaskStatus`].
pub fn task_status(system: u32, index: usize) -> Result<abi::task::TaskStatus, Status> {
    let mut status = abi::task::TaskStatus::default();
    // SAFETY: the kernel writes one `TaskStatus`, for which every bit pattern is valid, to memory
    // that is borrowed for writing.
    unsafe { plain3(Syscall::TaskStatus, system as u64, index as u64, &raw mut status as u64) }.done()?;
    Ok(status)
}

/// Reads the record of a task's last death.
///
/// # Errors
/// The errors of [`Syscall::TaskFault`].
pub fn task_fault(system: u32, index: usize) -> Result<abi::error::FaultRecord, Status> {
    let mut record = MaybeUninit::<abi::error::FaultRecord>::uninit();
    // SAFETY: the kernel writes one `FaultRecord`, for which every bit pattern is valid, to memory
    // that is borrowed for writing.
    unsafe { plain3(Syscall::TaskFault, system as u64, index as u64, record.as_mut_ptr() as u64) }.done()?;
    // SAFETY: the call succeeded, so the whole record is written.
    Ok(unsafe { record.assume_init() })
}

/// Reads the counters of the system.
///
/// # Errors
/// The errors of [`Syscall::SystemInfo`].
pub fn system_info(system: u32) -> Result<abi::task::SystemInfo, Status> {
    let mut info = abi::task::SystemInfo::default();
    // SAFETY: the kernel writes one `SystemInfo`, for which every bit pattern is valid, to memory
    // that is borrowed for writing.
    unsafe { plain2(Syscall::SystemInfo, system as u64, &raw mut info as u64) }.done()?;
    Ok(info)
}
