//! The supervisor's protocol.

use abi::error::DeathKind;
use abi::info::ARG_LEN;
use abi::{NAME_LEN, Status, TaskId};

rt::protocol! {
    /// The supervisor's requests. [`crate::Supervisor`] takes names as text.
    pub protocol supervisor;

    refusals {
        /// There is no task with this name or row, or the life is not the current one.
        NoSuchTask = 1 "there is no such task, or that life of it has ended",
        /// The task runs already, in this life.
        RunsAlready(task: TaskId) = 2 "the task runs already (life {})" (task.generation),
        /// The kernel refused the operation.
        Kernel(status: Status) = 3 "the kernel refused: {status}",
        /// The operation is allowed to no task, such as killing the supervisor.
        NotAllowed = 4 "the supervisor does not allow that",
    }

    /// Ends this life of a task. It counts as any other death: a task whose policy says so is
    /// restarted.
    [1 once] fn kill(task: TaskId);

    /// Starts the task with this name, which must not run, with this argument; earlier crashes no
    /// longer count.
    [2 once later] fn spawn(name: &[u8; ..=NAME_LEN], argument: &[u8; ..=ARG_LEN]) -> TaskId;

    /// Waits until this life has ended, and is reported and reaped. Returns how it ended.
    [3 once later] fn wait(task: TaskId) -> DeathKind;

    /// What the supervisor knows about the task in this row of the task table.
    [4 once] fn state(row: usize) -> Told;

    /// Ends the current life of the task with this name.
    [5 once] fn kill_named(name: &[u8; ..=NAME_LEN]);
}

rt::words! {
    /// What the supervisor plans for a task.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Planned {
        /// Nothing: the task has ended and is not restarted, or was never started.
        Nothing = 0,
        /// The task runs.
        Runs = 1,
        /// The task will be started again.
        Restart = 2,
        /// The task died too often, and is started only on request.
        GivenUp = 3,
    }
}

rt::words! {
    /// A [`crate::State`] in the form of the protocol.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Told {
        /// How many lives were begun after the first one.
        pub restarts: u32,
        /// Generation of the newest life that has ended, 0 for none.
        pub ended: u32,
        /// Time of the end of the life `ended`, in nanoseconds since boot.
        pub ended_ns: u64,
        /// What the supervisor plans for the task.
        pub plan: Planned,
        /// Milliseconds until the next life if a restart is planned; otherwise the delay after the
        /// next death.
        pub wait_ms: u32,
        /// [`DeathKind`] of the end of the life `ended`.
        pub kind: u16,
        /// Exception vector of the end of the life `ended`.
        pub vector: u16,
        /// Whether the task died too often and is not restarted any more.
        pub given_up: bool,
    }
}
