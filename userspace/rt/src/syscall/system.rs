//! The system calls that take the system handle: other tasks, the machine's counters, the log rings.

use super::{CallFailure, plain2, plain3, plain4, plain5};
use abi::{Status, Syscall, TaskId};
use core::mem::MaybeUninit;

/// Reads a log ring; returns how many bytes, and the position of the first of them.
///
/// # Errors
/// As [`Syscall::LogRead`].
pub fn log_read(system: u32, index: u64, position: u64, buf: &mut [u8]) -> Result<(usize, u64), Status> {
    // SAFETY: the kernel writes to `buf` alone, which is borrowed for writing.
    unsafe { plain5(Syscall::LogRead, system as u64, index, position, buf.as_mut_ptr() as u64, buf.len() as u64) }
        .values()
        .map(|(count, first)| (count as usize, first))
}

/// Starts a task of the table; the value of an error is the loader's reason where the status is [`Status::BadImage`].
///
/// # Errors
/// As [`Syscall::TaskSpawn`].
pub fn task_spawn(system: u32, index: usize, arg: &[u8]) -> Result<TaskId, CallFailure> {
    // SAFETY: the kernel only reads `arg`.
    let raw = unsafe { plain4(Syscall::TaskSpawn, system as u64, index as u64, arg.as_ptr() as u64, arg.len() as u64) };
    match raw.value() {
        Ok(id) => Ok(TaskId::from_u32(id as u32)),
        Err(status) => Err(CallFailure { status, value: raw.rdx }),
    }
}

/// Ends a task.
///
/// # Errors
/// As [`Syscall::TaskKill`].
pub fn task_kill(system: u32, task: TaskId, kind: u32) -> Result<(), Status> {
    // SAFETY: touches no memory of the task.
    unsafe { plain3(Syscall::TaskKill, system as u64, task.to_u32() as u64, kind as u64) }.done()
}

/// Frees some frames of a dead task; returns how many are left.
///
/// # Errors
/// As [`Syscall::TaskReap`].
pub fn task_reap(system: u32, index: usize) -> Result<u64, Status> {
    // SAFETY: touches no memory of the task.
    unsafe { plain2(Syscall::TaskReap, system as u64, index as u64) }.value()
}

/// Says whether a task will have a next life.
///
/// # Errors
/// As [`Syscall::TaskSetRestart`].
pub fn task_set_restart(system: u32, index: usize, expected: bool) -> Result<(), Status> {
    // SAFETY: touches no memory of the task.
    unsafe { plain3(Syscall::TaskSetRestart, system as u64, index as u64, expected as u64) }.done()
}

/// Sets bits in a task's notification.
///
/// # Errors
/// As [`Syscall::TaskSignal`].
pub fn task_signal(system: u32, index: usize, bits: u64) -> Result<(), Status> {
    // SAFETY: touches no memory of the task.
    unsafe { plain3(Syscall::TaskSignal, system as u64, index as u64, bits) }.done()
}

/// Reads a task's state.
///
/// # Errors
/// As [`Syscall::TaskStatus`].
pub fn task_status(system: u32, index: usize) -> Result<abi::task::TaskStatus, Status> {
    let mut status = abi::task::TaskStatus::default();
    // SAFETY: the kernel writes one `TaskStatus`, of which every bit pattern is valid, to a place that is borrowed for writing.
    unsafe { plain3(Syscall::TaskStatus, system as u64, index as u64, &raw mut status as u64) }.done()?;
    Ok(status)
}

/// Reads a dead task's record.
///
/// # Errors
/// As [`Syscall::TaskFault`].
pub fn task_fault(system: u32, index: usize) -> Result<abi::error::FaultRecord, Status> {
    let mut record = MaybeUninit::<abi::error::FaultRecord>::uninit();
    // SAFETY: the kernel writes one `FaultRecord`, of which every bit pattern is valid, to a place that is borrowed for writing.
    unsafe { plain3(Syscall::TaskFault, system as u64, index as u64, record.as_mut_ptr() as u64) }.done()?;
    // SAFETY: the call succeeded, so all of it is written.
    Ok(unsafe { record.assume_init() })
}

/// Reads the machine's counters.
///
/// # Errors
/// As [`Syscall::SystemInfo`].
pub fn system_info(system: u32) -> Result<abi::task::SystemInfo, Status> {
    let mut info = abi::task::SystemInfo::default();
    // SAFETY: the kernel writes one `SystemInfo`, of which every bit pattern is valid, to a place that is borrowed for writing.
    unsafe { plain2(Syscall::SystemInfo, system as u64, &raw mut info as u64) }.done()?;
    Ok(info)
}
