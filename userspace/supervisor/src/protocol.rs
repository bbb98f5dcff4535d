//! The supervisor's protocol.

use abi::error::DeathKind;
use abi::info::ARG_LEN;
use abi::{NAME_LEN, Status, TaskId};

rt::protocol! {
    /// The supervisor, as a client sees it. [`crate::Supervisor`] takes names as text.
    pub protocol supervisor;

    refusals {
        /// There is no task of this name or row, or the life is not the current one.
        NoSuchTask = 1 "there is no such task, or that life of it has ended",
        /// The task runs already, in this life.
        RunsAlready(task: TaskId) = 2 "the task runs already (life {})" (task.generation),
        /// The kernel refused.
        Kernel(status: Status) = 3 "the kernel refused: {status}",
        /// Nobody may ask for that, such as killing the supervisor.
        NotAllowed = 4 "the supervisor does not allow that",
    }

    /// Ends this life. It counts as any other death: a task whose policy says so is restarted.
    [1 once] fn kill(task: TaskId);

    /// Starts the task of this name, which does not run, with this argument; earlier crashes are forgiven.
    [2 once later] fn spawn(name: &[u8; ..=NAME_LEN], argument: &[u8; ..=ARG_LEN]) -> TaskId;

    /// Waits until this life has ended, is reported and cleared away. How it ended.
    [3 once later] fn wait(task: TaskId) -> DeathKind;

    /// What the supervisor knows about this row of the task table.
    [4 once] fn state(row: usize) -> Told;

    /// Ends the current life of the task of this name.
    [5 once] fn kill_named(name: &[u8; ..=NAME_LEN]);
}

rt::words! {
    /// What is to become of a task.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Planned {
        /// Nothing.
        Nothing = 0,
        /// It runs.
        Runs = 1,
        /// It is started again.
        Restart = 2,
        /// It died too often.
        GivenUp = 3,
    }
}

rt::words! {
    /// A [`crate::State`], as it travels.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Told {
        /// Lives begun after the first one.
        pub restarts: u32,
        /// Generation of the newest life that has ended, 0 for none.
        pub ended: u32,
        /// When that was, in nanoseconds since boot.
        pub ended_ns: u64,
        /// What comes next.
        pub plan: Planned,
        /// Milliseconds before its next life, now or after its next death.
        pub wait_ms: u32,
        /// [`DeathKind`] of that end.
        pub kind: u16,
        /// Its exception vector.
        pub vector: u16,
        /// It died too often and is not restarted any more.
        pub given_up: bool,
    }
}
