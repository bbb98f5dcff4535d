//! What clients ask of the supervisor. See the library for the protocol.

use crate::{Phase, Supervisor, Task, Waiter};
use abi::error::DeathKind;
use abi::message::ReplyToken;
use abi::{Status, TaskId};
use alloc::string::String;
use rt::Answer;
use rt::ipc::Request;
use rt::time::now_ns;
use supervisor::{KILL, Plan, Refusal, SPAWN, STATE, WAIT};

/// Waiting clients beyond which those that died meanwhile are looked for.
const MANY_WAITERS: usize = 64;

impl Supervisor {
    /// Does what a request asks for, as far as that can be done now.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        // A sent message has nobody who could learn what became of it.
        if request.token == ReplyToken::NONE {
            return Answer::Later;
        }
        let answer = match request.label {
            KILL => self.kill(request),
            SPAWN => self.spawn_request(request),
            WAIT => self.wait(request),
            STATE => self.state(request.words[0]),
            _ => Err(Refusal::BadRequest),
        };
        answer.unwrap_or_else(refusal)
    }

    fn kill(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let id = if request.leases > 0 {
            let index = self.named(request)?;
            match self.tasks[index].phase {
                Phase::Running(id) => id,
                _ => return Err(Refusal::NoSuchTask),
            }
        } else {
            TaskId::from_u32(request.words[0] as u32)
        };
        if id.index == rt::me().index {
            return Err(Refusal::NotAllowed);
        }
        match rt::task::kill(id, DeathKind::Killed) {
            Ok(()) => Ok(done(0)),
            Err(Status::NoSuchTask) => Err(Refusal::NoSuchTask),
            Err(status) => Err(Refusal::Kernel(status)),
        }
    }

    fn spawn_request(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let index = self.named(request)?;
        let argument = if request.leases > 1 { lent_text(request, 1, abi::info::ARG_LEN)? } else { String::new() };
        // A life may have ended without its event having been taken yet.
        self.look_for_death(index);
        let task = &mut self.tasks[index];
        match task.phase {
            Phase::Running(id) => Err(Refusal::RunsAlready(id)),
            Phase::Reaping { .. } if task.spawn_request.is_some() => {
                Err(Refusal::RunsAlready(TaskId { index: index as u16, generation: task.newest }))
            }
            Phase::Reaping { .. } => {
                task.argument = argument;
                task.spawn_request = Some(request.pending());
                Ok(Answer::Later)
            }
            Phase::Idle | Phase::Waiting { .. } => {
                task.argument = argument;
                self.spawn_on_request(index).map(|id| done(id.to_u32().into()))
            }
        }
    }

    /// Begins a life because somebody asked for it: no second try, and old deaths do not count.
    pub(crate) fn spawn_on_request(&mut self, index: usize) -> Result<TaskId, Refusal> {
        self.tasks[index].history.pardon();
        self.spawn(index).map_err(|status| {
            self.clear_up_after_start(index, None);
            Refusal::Kernel(status)
        })
    }

    fn wait(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let id = TaskId::from_u32(request.words[0] as u32);
        if id.index == rt::me().index {
            return Err(Refusal::NotAllowed);
        }
        let task = self.tasks.get(usize::from(id.index)).ok_or(Refusal::NoSuchTask)?;
        if id.generation == 0 || id.generation > task.newest {
            return Err(Refusal::NoSuchTask);
        }
        let done_with = self.is_done_with(id);
        match task.ended {
            Some((generation, kind)) if generation == id.generation && done_with => Ok(done(kind as u32 as u64)),
            _ if generation_is_older(id.generation, task) && done_with => Ok(done(DeathKind::Alive as u32 as u64)),
            _ => {
                if self.waiters.len() >= MANY_WAITERS {
                    self.waiters.retain(|waiter| waiter.pending.lease_len(0) != Err(Status::StaleReply));
                }
                self.waiters.push(Waiter { id, pending: request.pending() });
                Ok(Answer::Later)
            }
        }
    }

    fn state(&mut self, index: u64) -> Result<Answer, Refusal> {
        let index = usize::try_from(index).ok().filter(|&index| index < self.tasks.len()).ok_or(Refusal::NoSuchTask)?;
        // A life may have ended without its event having been taken yet.
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
        let (life, kind) = task.ended.unwrap_or((0, DeathKind::Alive));
        let ended = u64::from(kind as u32) | u64::from(task.vector) << 16 | u64::from(life) << 32;
        let given_up = u64::from(task.history.given_up) | task.ended_ns << 1;
        let next = plan.encode(task.history.next_delay_ms());
        Ok(Answer::Reply(0, [task.history.restarts, given_up, next, ended]))
    }

    /// The row of the task whose name lease 0 holds.
    fn named(&self, request: &Request) -> Result<usize, Refusal> {
        let name = lent_text(request, 0, abi::NAME_LEN)?;
        self.tasks.iter().position(|task| task.name() == name).ok_or(Refusal::NoSuchTask)
    }
}

/// Whether this life ended before the newest one that has ended.
fn generation_is_older(generation: u32, task: &Task) -> bool {
    task.ended.is_some_and(|(ended, _)| generation < ended)
}

/// The text in a lease of at most `most` bytes.
fn lent_text(request: &Request, lease: usize, most: usize) -> Result<String, Refusal> {
    let length = request.lease_len(lease).map_err(|_| Refusal::BadRequest)?;
    if length > most {
        return Err(Refusal::Kernel(Status::BadArgument));
    }
    let mut text = alloc::vec![0; length];
    let read = request.read(lease, 0, &mut text).map_err(|_| Refusal::BadRequest)?;
    text.truncate(read);
    String::from_utf8(text).map_err(|_| Refusal::BadRequest)
}

fn done(word: u64) -> Answer {
    Answer::Reply(0, [word, 0, 0, 0])
}

fn refusal(refusal: Refusal) -> Answer {
    let (label, word) = refusal.encode();
    Answer::Reply(label, [word, 0, 0, 0])
}
