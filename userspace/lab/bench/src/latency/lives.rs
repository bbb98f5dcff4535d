//! Lives that hold as much as a task can have, of each kind, ended in every way; and lines that interrupt.

use super::{BURDEN, PERIOD_MS, PLAIN, finish};
use abi::message::bits;
use abi::task::TaskState;
use alloc::format;
use rt::notify::Notification;
use rt::time::sleep_ms;
use rt::{Status, task};

/// Ways in which the largest life ends: by itself, and by exceptions; two are of the floating-point unit.
const LARGE: [&str; 7] = ["exit", "panic", "invalid", "page", "stack", "x87", "sse"];

/// Ways in which a life of a small program ends: by every exception that ring 3 can raise, and by `int` with numbers of every kind.
const SMALL: [&str; 17] = [
    "divide",
    "single-step",
    "break",
    "int-1",
    "int-nmi",
    "int-overflow",
    "int-double-fault",
    "int-timer",
    "int-line",
    "int-nothing",
    "int-last",
    "into",
    "bound",
    "unit",
    "protection",
    "segment",
    "alignment",
];

/// Lives that hold as much as a task can, ended in every way.
pub fn every_way() -> Result<(), Status> {
    LARGE.into_iter().try_for_each(|way| ended(BURDEN, way, ""))?;
    SMALL.into_iter().try_for_each(|way| ended(PLAIN, way, ""))?;
    killed(BURDEN, "")
}

/// Nothing but timers that are armed.
pub fn timers() -> Result<(), Status> {
    of_kind("timers")
}

/// Nothing but threads, which wait.
pub fn threads() -> Result<(), Status> {
    of_kind("threads")
}

/// Nothing but endpoints and notifications.
pub fn endpoints() -> Result<(), Status> {
    of_kind("endpoints")
}

/// A life that holds as many objects as it can of this kind, ended by itself, by an exception, and by another.
fn of_kind(kind: &str) -> Result<(), Status> {
    for way in ["exit", "invalid", "panic"] {
        ended(PLAIN, way, kind)?;
    }
    killed(PLAIN, kind)
}

/// Waits for a life to end, and until all that it had is free.
fn over(row: usize) -> Result<(), Status> {
    while task::status(row)?.state == TaskState::Running as u32 {
        Notification::own().wait(bits::TASK_EVENT);
    }
    task::fault(row)?;
    while task::reap(row)? != 0 {}
    Ok(())
}

fn ended(row: usize, way: &str, kind: &str) -> Result<(), Status> {
    task::spawn(row, &format!("hold {way} {kind}"))?;
    over(row)
}

fn killed(row: usize, kind: &str) -> Result<(), Status> {
    let life = task::spawn(row, &format!("hold wait {kind}"))?;
    sleep_ms(4 * PERIOD_MS);
    finish(life)
}

/// Lines that interrupt their driver, where as many threads wait for other bits as may, while it runs and while nobody does.
pub fn lines() -> Result<(), Status> {
    task::spawn(PLAIN, "lines")?;
    over(PLAIN)
}
