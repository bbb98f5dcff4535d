//! The supervisor: starts the system's tasks, reports their deaths, restarts them, and kills those
//! that hang.
//!
//! This crate has its [`protocol`], a client ([`Supervisor`]), and its logic; `main.rs` is the
//! task. The logic makes no system call, so it is tested on the host.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod decode;
pub mod lines;
pub mod policy;
pub mod protocol;
pub mod report;
pub mod reports;
pub mod symbols;

pub use protocol::{Error, Refusal, label};

use abi::TaskId;
use abi::error::DeathKind;
use protocol::{Planned, Told};
use rt::ipc::Endpoint;

/// What the supervisor plans for a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Plan {
    /// Nothing: the task has ended and is not restarted, or was never started.
    #[default]
    Nothing,
    /// The task runs.
    Runs,
    /// The task has died, or could not be started, and will be started again.
    Restart {
        /// Milliseconds from now on.
        in_ms: u64,
    },
    /// The task died, or could not be started, too often; it is started only on request.
    GivenUp,
}

/// The result of [`Supervisor::state`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// What the supervisor plans for the task.
    pub plan: Plan,
    /// How many lives were begun after the first one.
    pub restarts: u64,
    /// Whether the task died too often and is not restarted any more.
    pub given_up: bool,
    /// Milliseconds until the next life if a restart is planned; otherwise the delay after the next
    /// death.
    pub backoff_ms: u64,
    /// Generation of the newest life that has ended, 0 for none.
    pub ended: u32,
    /// [`DeathKind`] of the end of the life `ended`.
    pub kind: u16,
    /// Exception vector of the end of the life `ended`, if it was an exception.
    pub vector: u16,
    /// Time of the end of the life `ended`, in nanoseconds since boot.
    pub ended_ns: u64,
}

impl State {
    /// The state in the form of the protocol.
    pub fn tell(self) -> Told {
        let (plan, wait_ms) = match self.plan {
            Plan::Nothing => (Planned::Nothing, self.backoff_ms),
            Plan::Runs => (Planned::Runs, self.backoff_ms),
            Plan::Restart { in_ms } => (Planned::Restart, in_ms),
            Plan::GivenUp => (Planned::GivenUp, self.backoff_ms),
        };
        let State { restarts, given_up, ended, kind, vector, ended_ns, .. } = self;
        let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (restarts, wait_ms) = (short(restarts), short(wait_ms));
        Told { restarts, ended, ended_ns, plan, wait_ms, kind, vector, given_up }
    }
}

impl From<Told> for State {
    fn from(told: Told) -> State {
        let Told { restarts, ended, ended_ns, plan, wait_ms, kind, vector, given_up } = told;
        let backoff_ms = wait_ms.into();
        let plan = match plan {
            Planned::Nothing => Plan::Nothing,
            Planned::Runs => Plan::Runs,
            Planned::Restart => Plan::Restart { in_ms: backoff_ms },
            Planned::GivenUp => Plan::GivenUp,
        };
        State { plan, restarts: restarts.into(), given_up, backoff_ms, ended, kind, vector, ended_ns }
    }
}

/// A client of the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supervisor(pub Endpoint);

impl Supervisor {
    /// The peer `supervisor`, if this task may call it.
    pub fn peer() -> Option<Self> {
        Endpoint::peer("supervisor").map(Supervisor)
    }

    const fn ask(self) -> protocol::Client {
        protocol::Client::new(self.0)
    }

    /// Ends this life of a task. Errors: NoSuchTask, NotAllowed.
    pub fn kill(self, task: TaskId) -> Result<(), Error> {
        self.ask().kill(task)
    }

    /// Ends the current life of the task of this name. Errors: NoSuchTask, NotAllowed.
    pub fn kill_named(self, name: &str) -> Result<(), Error> {
        self.ask().kill_named(name.as_bytes())
    }

    /// Starts the task of this name with this argument, of at most [`abi::info::ARG_LEN`] bytes.
    /// Errors: NoSuchTask, RunsAlready, Kernel.
    pub fn spawn(self, name: &str, argument: &str) -> Result<TaskId, Error> {
        self.ask().spawn(name.as_bytes(), argument.as_bytes())
    }

    /// Waits until this life has ended and its report is printed, and returns how it ended: `Alive`
    /// if it ended too many lives ago to be known. Errors: NoSuchTask, NotAllowed.
    pub fn wait(self, task: TaskId) -> Result<DeathKind, Error> {
        self.ask().wait(task)
    }

    /// What the supervisor knows about the task in a row of the task table. Errors: NoSuchTask.
    pub fn state(self, index: usize) -> Result<State, Error> {
        self.ask().state(index).map(State::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Status;
    use rt::proto::Refuse;

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
            let rt::Answer::Reply(label, words) = refusal.encode() else { panic!("it is answered now") };
            assert_eq!(Refusal::decode(label, words), refusal);
        }
        assert_eq!(Refusal::decode(3, [u64::MAX; 4]), Refusal::Unknown(3), "no such status");
    }

    #[test]
    fn what_is_to_become_of_a_task_survives_the_wire() {
        for plan in [Plan::Nothing, Plan::Runs, Plan::Restart { in_ms: 50 }, Plan::GivenUp] {
            let (backoff_ms, ended_ns) = (50, u64::MAX);
            let state =
                State { plan, restarts: 7, given_up: true, backoff_ms, ended: 6, kind: 4, vector: 14, ended_ns };
            let words = rt::proto::to_words(&state.tell());
            assert_eq!(rt::proto::from_words::<Told>(words).map(State::from), Some(state));
        }
    }
}
