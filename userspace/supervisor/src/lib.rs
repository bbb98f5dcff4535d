//! The supervisor: starts the system's tasks, reports their deaths, restarts them, and kills those that hang.
//!
//! This crate holds its protocol with a client stub ([`Supervisor`]) and its logic; `main.rs` is the task. The logic touches no
//! system call, so the host tests it.
//!
//! Requests (label, words, leases) and their answers:
//!
//! | request | asks | answer |
//! |---|---|---|
//! | [`KILL`] | words\[0\] a [`TaskId`], or lease 0 (READ) a name | - |
//! | [`SPAWN`] | lease 0 (READ) a name, lease 1 (READ) its argument | words\[0\] the new [`TaskId`] |
//! | [`WAIT`] | words\[0\] a [`TaskId`] | once that life has ended, is reported and cleared away: words\[0\] its [`DeathKind`] |
//! | [`STATE`] | words\[0\] a row of the task table | words\[0\] restarts, \[1\] bit 0: given up, above it: when the newest end was, in nanoseconds since boot, \[2\] back-off in milliseconds, from bit 56 what comes next (0 nothing, 1 it runs, 2 a restart, 3 given up), \[3\] the newest end: [`DeathKind`], from bit 16 the vector, from bit 32 the life |
//!
//! The answer's label is 0 where that was done, otherwise a [`Refusal`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod decode;
pub mod lines;
pub mod policy;
pub mod report;
pub mod reports;
pub mod symbols;

use abi::error::DeathKind;
use abi::{Status, TaskId};
use core::fmt;
use rt::ipc::{CallError, Endpoint, Loan, Reply};

/// Ends a life. It counts as any other death: a task whose policy says so is restarted.
pub const KILL: u16 = 1;
/// Starts a task that does not run; earlier crashes are forgiven.
pub const SPAWN: u16 = 2;
/// Waits for the end of a life.
pub const WAIT: u16 = 3;
/// Asks how often a task was restarted.
pub const STATE: u16 = 4;

/// Why a request was refused: the label of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no task of this name or row, or the life is not the current one (label 1).
    NoSuchTask,
    /// The task runs already, in this life (label 2).
    RunsAlready(TaskId),
    /// The kernel refused (label 3, words\[0\] the status).
    Kernel(Status),
    /// Nobody may ask for that, such as killing the supervisor (label 4).
    NotAllowed,
    /// No such request, or not in this form (label 0xffff).
    BadRequest,
}

impl Refusal {
    /// Label and first word of the answer.
    pub fn encode(self) -> (u16, u64) {
        match self {
            Self::NoSuchTask => (1, 0),
            Self::RunsAlready(id) => (2, id.to_u32().into()),
            Self::Kernel(status) => (3, status as u32 as u64),
            Self::NotAllowed => (4, 0),
            Self::BadRequest => (0xffff, 0),
        }
    }

    /// The inverse of [`Refusal::encode`]; `None` for label 0. Unknown labels read as [`Refusal::BadRequest`].
    pub fn decode(label: u16, word: u64) -> Option<Self> {
        Some(match label {
            0 => return None,
            1 => Self::NoSuchTask,
            2 => Self::RunsAlready(TaskId::from_u32(word as u32)),
            3 => Self::Kernel(Status::from_u32(word as u32).unwrap_or(Status::BadArgument)),
            4 => Self::NotAllowed,
            _ => Self::BadRequest,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTask => f.write_str("there is no such task, or that life of it has ended"),
            Self::RunsAlready(id) => write!(f, "the task runs already (life {})", id.generation),
            Self::Kernel(status) => write!(f, "the kernel refused: {status}"),
            Self::NotAllowed => f.write_str("the supervisor does not allow that"),
            Self::BadRequest => f.write_str("the supervisor does not know this request"),
        }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The supervisor said no.
    Refused(Refusal),
    /// The call itself failed.
    Call(CallError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Call(error) => write!(f, "the supervisor cannot be asked: {error}"),
        }
    }
}

/// What is to become of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Plan {
    /// Nothing: it has ended and is not restarted, or was never started.
    #[default]
    Nothing,
    /// It runs.
    Runs,
    /// It has died, or could not be started, and is started again.
    Restart {
        /// Milliseconds from now on.
        in_ms: u64,
    },
    /// It died, or could not be started, too often, and waits for somebody to ask for it.
    GivenUp,
}

/// Where a [`Plan`] stands in its word; below it are the milliseconds.
const PLAN_SHIFT: u32 = 56;

impl Plan {
    /// The third word of the answer to [`STATE`]: the plan, and the wait before the next life, now or after the next death.
    pub fn encode(self, backoff_ms: u64) -> u64 {
        let (code, ms) = match self {
            Self::Nothing => (0, backoff_ms),
            Self::Runs => (1, backoff_ms),
            Self::Restart { in_ms } => (2, in_ms),
            Self::GivenUp => (3, backoff_ms),
        };
        code << PLAN_SHIFT | ms.min((1 << PLAN_SHIFT) - 1)
    }

    /// The inverse of [`Plan::encode`].
    pub fn decode(word: u64) -> (Self, u64) {
        let ms = word & ((1 << PLAN_SHIFT) - 1);
        let plan = match word >> PLAN_SHIFT {
            1 => Self::Runs,
            2 => Self::Restart { in_ms: ms },
            3 => Self::GivenUp,
            _ => Self::Nothing,
        };
        (plan, ms)
    }
}

/// What [`STATE`] answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// What is to become of it.
    pub plan: Plan,
    /// Lives begun after the first one.
    pub restarts: u64,
    /// It died too often and is not restarted any more.
    pub given_up: bool,
    /// The wait before its next life, now or after its next death, in milliseconds.
    pub backoff_ms: u64,
    /// Generation of the newest life that has ended, 0 for none.
    pub ended: u32,
    /// [`DeathKind`] of that end.
    pub kind: u16,
    /// Its exception vector, where it was an exception.
    pub vector: u16,
    /// When that was, in nanoseconds since boot.
    pub ended_ns: u64,
}

/// The supervisor, as its clients see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supervisor(pub Endpoint);

impl Supervisor {
    /// The system's supervisor, if this task may call it.
    pub fn peer() -> Option<Self> {
        Endpoint::peer("supervisor").map(Supervisor)
    }

    /// Ends this life of a task. Errors: NoSuchTask, NotAllowed.
    pub fn kill(self, task: TaskId) -> Result<(), Error> {
        self.ask(KILL, task.to_u32().into(), &mut []).map(drop)
    }

    /// Ends the current life of the task of this name. Errors: NoSuchTask, NotAllowed.
    pub fn kill_named(self, name: &str) -> Result<(), Error> {
        self.ask(KILL, 0, &mut [Loan::Read(name.as_bytes())]).map(drop)
    }

    /// Starts the task of this name with this argument, of at most [`abi::info::ARG_LEN`] bytes.
    /// Errors: NoSuchTask, RunsAlready, Kernel.
    pub fn spawn(self, name: &str, argument: &str) -> Result<TaskId, Error> {
        let mut loans = [Loan::Read(name.as_bytes()), Loan::Read(argument.as_bytes())];
        let reply = self.ask(SPAWN, 0, &mut loans)?;
        Ok(TaskId::from_u32(reply.words[0] as u32))
    }

    /// Waits until this life has ended and its report is printed, and says how it ended: `Alive` where that was too many
    /// lives ago to know. Errors: NoSuchTask, NotAllowed.
    pub fn wait(self, task: TaskId) -> Result<DeathKind, Error> {
        let reply = self.ask(WAIT, task.to_u32().into(), &mut [])?;
        Ok(DeathKind::from_u32(reply.words[0] as u32))
    }

    /// What the supervisor knows about a row of the task table. Errors: NoSuchTask.
    pub fn state(self, index: usize) -> Result<State, Error> {
        let [restarts, given_up, next, end] = self.ask(STATE, index as u64, &mut [])?.words;
        let part = |shift: u32| (end >> shift) as u16;
        let (plan, backoff_ms) = Plan::decode(next);
        Ok(State {
            plan,
            restarts,
            given_up: given_up & 1 != 0,
            backoff_ms,
            ended: (end >> 32) as u32,
            kind: part(0),
            vector: part(16),
            ended_ns: given_up >> 1,
        })
    }

    fn ask(self, label: u16, word: u64, loans: &mut [Loan<'_>]) -> Result<Reply, Error> {
        let reply = self.0.call_with(label, [word, 0, 0, 0], loans).map_err(Error::Call)?;
        match Refusal::decode(reply.label, reply.words[0]) {
            None => Ok(reply),
            Some(refusal) => Err(Error::Refused(refusal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_survive_the_wire() {
        let id = TaskId { index: 3, generation: 9 };
        for refusal in [
            Refusal::NoSuchTask,
            Refusal::RunsAlready(id),
            Refusal::Kernel(Status::BadImage),
            Refusal::NotAllowed,
            Refusal::BadRequest,
        ] {
            let (label, word) = refusal.encode();
            assert_eq!(Refusal::decode(label, word), Some(refusal));
        }
        for plan in [Plan::Nothing, Plan::Runs, Plan::Restart { in_ms: 50 }, Plan::GivenUp] {
            assert_eq!(Plan::decode(plan.encode(50)), (plan, 50));
        }
        assert_eq!(Refusal::decode(0, 7), None);
        assert_eq!(Refusal::decode(3, u64::MAX), Some(Refusal::Kernel(Status::BadArgument)));
    }
}
