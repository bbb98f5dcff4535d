//! What the trials need: rows by name, lives that are begun, watched and reaped.

use abi::Status;
use abi::error::{DeathKind, FaultRecord};
use abi::manifest::GrantKind;
use abi::message::bits;
use abi::task::TaskState;
use alloc::format;
use alloc::string::{String, ToString};
use rt::notify::Notification;
use rt::syscall as sys;

/// How a trial ends: with nothing, or with the reason why it failed.
pub type Outcome = Result<(), String>;

/// Longest that a life that is to end by itself may take, in milliseconds.
const PATIENCE_MS: u64 = 120_000;

/// A result whose error becomes the reason of the failure, behind what was being done.
pub trait Context<T> {
    /// `what` was being done.
    fn context(self, what: &str) -> Result<T, String>;
}

impl<T> Context<T> for Result<T, Status> {
    fn context(self, what: &str) -> Result<T, String> {
        self.map_err(|status| format!("{what}: {status}"))
    }
}

/// The judge's system handle.
pub fn system() -> Result<u32, String> {
    let entry = rt::entries().iter().find(|entry| entry.kind == GrantKind::System as u32);
    entry.map(|entry| entry.handle).ok_or_else(|| "the judge has no system handle".to_string())
}

/// A task's row.
pub fn row(name: &str) -> Result<usize, String> {
    let archive = rt::archive::Archive::map().ok_or("the judge has no boot archive")?;
    archive.find(name).ok_or_else(|| format!("there is no task {name}"))
}

/// Begins a life.
pub fn begin(row: usize, argument: &str) -> Outcome {
    rt::task::spawn(row, argument).map(drop).context("spawn")
}

/// Whether a life is over.
pub fn is_over(row: usize) -> Result<bool, String> {
    let status = rt::task::status(row).context("task_status")?;
    Ok(TaskState::from_u32(status.state) != Some(TaskState::Running))
}

/// Waits until a life is over, and buries it; returns its record.
pub fn end(row: usize) -> Result<FaultRecord, String> {
    let late = rt::time::Timer::new(40).context("timer")?;
    late.arm_in_ms(PATIENCE_MS);
    while !is_over(row)? {
        if Notification::own().wait(bits::TASK_EVENT | 1 << 40) & 1 << 40 != 0 {
            kill(row)?;
            return Err(format!("a life in row {row} goes on after {PATIENCE_MS} ms"));
        }
    }
    let record = rt::task::fault(row).context("task_fault")?;
    bury(row)?;
    Ok(record)
}

/// Frees what a dead life leaves.
pub fn bury(row: usize) -> Outcome {
    while rt::task::reap(row).context("task_reap")? != 0 {}
    Ok(())
}

/// Ends the life that runs in a row, if one does, and reaps it.
pub fn kill(row: usize) -> Outcome {
    let status = rt::task::status(row).context("task_status")?;
    match TaskState::from_u32(status.state) {
        Some(TaskState::Running) => {
            match rt::task::kill(abi::TaskId::from_u32(status.id), DeathKind::Killed) {
                // It may have ended by itself since then.
                Ok(()) | Err(Status::NoSuchTask) => bury(row),
                Err(status) => Err(status).context("task_kill"),
            }
        }
        Some(TaskState::Dead) => bury(row),
        _ => Ok(()),
    }
}

/// A life from its begin to its end; the code with which it exits.
pub fn live(row: usize, argument: &str) -> Result<i32, String> {
    begin(row, argument)?;
    exit_code(&end(row)?)
}

/// The code of a life that exited.
pub fn exit_code(record: &FaultRecord) -> Result<i32, String> {
    match DeathKind::from_u32(record.kind) {
        DeathKind::Exited => Ok(record.error_code as i32),
        kind => {
            Err(format!("it ended as {kind:?}, vector {} at {:#x}: {}", record.vector, record.rip, record.message()))
        }
    }
}

/// Ends the machine the clean way. Whoever comes back from this has failed.
pub fn switch_off() -> Outcome {
    let power = row("power")?;
    begin(power, "")?;
    let peer = rt::ipc::Endpoint::peer("power").ok_or("the judge may not call power")?;
    let Err(error) = driver_power::Client::new(peer).shutdown();
    Err(error.to_string())
}

/// Closes a handle.
pub fn close(handle: u32) -> Outcome {
    sys::handle_close(handle).context("close")
}
