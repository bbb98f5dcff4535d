//! The handling of clients' requests.

use crate::{Phase, Supervisor, Task, Waiter};
use abi::error::DeathKind;
use abi::{Status, TaskId};
use rt::proto::{Asker, In};
use rt::time::now_ns;
use supervisor::protocol::{Call, Outcome, Refusal, Server, Told};
use supervisor::{Plan, State};

/// Number of waiting clients from which on those that died meanwhile are removed.
const MANY_WAITERS: usize = 64;

impl Server for Supervisor {
    fn kill(&mut self, _: Asker, task: TaskId) -> Result<(), Refusal> {
        self.kill_life(task)
    }

    fn kill_named(&mut self, _: Asker, name: In) -> Result<(), Refusal> {
        match self.tasks[self.named(name)?].phase {
            Phase::Running(id) => self.kill_life(id),
            _ => Err(Refusal::NoSuchTask),
        }
    }

    fn spawn(&mut self, call: Call<TaskId>, name: In, argument: In) -> Outcome<TaskId> {
        let asked = self.named(name).and_then(|index| Ok((index, argument.text().ok_or(Refusal::BadRequest)?)));
        let (index, argument) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return Err(refusal).into(),
        };
        // A life may have ended without a notification having been received yet.
        self.look_for_death(index);
        let task = &mut self.tasks[index];
        match task.phase {
            Phase::Running(id) => Err(Refusal::RunsAlready(id)).into(),
            Phase::Reaping { .. } if task.spawn_request.is_some() => {
                Err(Refusal::RunsAlready(TaskId { index: index as u16, generation: task.newest })).into()
            }
            Phase::Reaping { .. } => {
                let (deferred, outcome) = call.defer();
                task.argument = argument;
                task.spawn_request = Some(deferred);
                outcome
            }
            Phase::Idle | Phase::Waiting { .. } => {
                task.argument = argument;
                self.spawn_on_request(index).into()
            }
        }
    }

    fn wait(&mut self, call: Call<DeathKind>, id: TaskId) -> Outcome<DeathKind> {
        if id.index == rt::me().index {
            return Err(Refusal::NotAllowed).into();
        }
        let Some(task) = self.tasks.get(usize::from(id.index)) else { return Err(Refusal::NoSuchTask).into() };
        if id.generation == 0 || id.generation > task.newest {
            return Err(Refusal::NoSuchTask).into();
        }
        let done_with = self.is_done_with(id);
        match task.ended {
            Some((generation, kind)) if generation == id.generation && done_with => Ok(kind).into(),
            _ if generation_is_older(id.generation, task) && done_with => Ok(DeathKind::Alive).into(),
            _ => {
                if self.waiters.len() >= MANY_WAITERS {
                    self.waiters.retain(|waiter| waiter.deferred.is_awaited());
                }
                let (deferred, outcome) = call.defer();
                self.waiters.push(Waiter { id, deferred });
                outcome
            }
        }
    }

    fn state(&mut self, _: Asker, index: usize) -> Result<Told, Refusal> {
        if index >= self.tasks.len() {
            return Err(Refusal::NoSuchTask);
        }
        // A life may have ended without a notification having been received yet.
        self.look_for_death(index);
        let task = &self.tasks[index];
        let plan = match task.phase {
            Phase::Running(_) => Plan::Runs,
            Phase::Waiting { respawn_ns } | Phase::Reaping { respawn_ns: Some(respawn_ns) } => {
                Plan::Restart { in_ms: respawn_ns.saturating_sub(now_ns()).div_ceil(crate::NS_PER_MS) }
            }
            Phase::Reaping { respawn_ns: None } if task.spawn_request.is_some() => Plan::Restart { in_ms: 0 },
            Phase::Idle | Phase::Reaping { respawn_ns: None } if task.history.given_up => Plan::GivenUp,
            Phase::Idle | Phase::Reaping { respawn_ns: None } => Plan::Nothing,
        };
        let (ended, kind) = task.ended.unwrap_or((0, DeathKind::Alive));
        let state = State {
            plan,
            restarts: task.history.restarts,
            given_up: task.history.given_up,
            backoff_ms: task.history.next_delay_ms(),
            ended,
            kind: kind as u16,
            vector: task.vector as u16,
            ended_ns: task.ended_ns,
        };
        Ok(state.tell())
    }
}

impl Supervisor {
    /// Begins a life at a client's request: without a second try, and earlier deaths do not count.
    pub(crate) fn spawn_on_request(&mut self, index: usize) -> Result<TaskId, Refusal> {
        self.tasks[index].history.pardon();
        self.spawn(index).map_err(|status| {
            self.clear_up_after_start(index, None);
            Refusal::Kernel(status)
        })
    }

    fn kill_life(&self, id: TaskId) -> Result<(), Refusal> {
        if id.index == rt::me().index {
            return Err(Refusal::NotAllowed);
        }
        match rt::task::kill(id, DeathKind::Killed) {
            Ok(()) => Ok(()),
            Err(Status::NoSuchTask) => Err(Refusal::NoSuchTask),
            Err(status) => Err(Refusal::Kernel(status)),
        }
    }

    /// The row of the task with this name.
    fn named(&self, name: In) -> Result<usize, Refusal> {
        let name = name.text().ok_or(Refusal::BadRequest)?;
        self.tasks.iter().position(|task| task.name() == name).ok_or(Refusal::NoSuchTask)
    }
}

/// Whether this life ended before the newest one that has ended.
fn generation_is_older(generation: u32, task: &Task) -> bool {
    task.ended.is_some_and(|(ended, _)| generation < ended)
}
