//! System calls that go on. The kernel runs with interrupts off; what would take it longer than [`LONGEST`] instructions is done in
//! steps, between which interrupts are let in and more important threads get their turn.
//!
//! What is left of a system call lies in its thread ([`Thread::step`](crate::thread::Thread::step)), which stays running or ready, and has the
//! mark [`STEP`] in its extras. Whenever it is its turn, the kernel does one more step before it leaves for another turn, or for ring 3 where
//! the call is done. The thread executes nothing meanwhile: what a debugger does to its registers holds when the call is done,
//! but for those that the call returns. Where the thread dies, [`System::step_abandon`] gives back what the step holds.

use crate::frames::{Chain, Frame};
use crate::system::System;
use crate::thread::STEP;
use abi::TaskId;
use abi::error::DeathKind;

/// Instructions for which interrupts are off at the most.
pub const LONGEST: u64 = 20_000;
/// Accesses to ports in that time.
pub const MOST_PORTS: u64 = 64;

/// What is left of a system call.
#[derive(Debug)]
pub enum Step {
    /// `memory_create`: see [`System::memory_begin`].
    Create(Create),
    /// `recv` by this handle, with this mask, where dead callers are in the way: see [`System::recv`].
    Receive(u64, u64),
    /// `task_expect`, that this row has no next life: see [`System::expect`].
    Expect(u16),
    /// `task_spawn` of this life, which starts: see [`crate::task::Start`].
    Spawn(TaskId),
}

/// A memory object that is being made.
#[derive(Debug, Default)]
pub struct Create {
    /// The frames taken so far.
    pub chain: Chain,
    /// How many the object has, for which the task is charged already.
    pub pages: u32,
    /// Whether the frames are to be side by side.
    pub contiguous: bool,
    /// How many of them are there and zeroed.
    pub zeroed: u32,
    /// The first frame, where they are side by side and taken.
    pub first: Option<Frame>,
}

impl System {
    /// Leaves what is left of a thread's system call in the thread, which runs or is ready.
    pub fn step_set(&mut self, thread: u16, step: Step) {
        if let Some(t) = self.threads.at_mut(thread) {
            t.step = Some(step);
            t.extras |= STEP;
        }
    }

    /// Takes what is left of a thread's system call.
    pub fn step_take(&mut self, thread: u16) -> Option<Step> {
        let t = self.threads.at_mut(thread)?;
        t.extras &= !STEP;
        t.step.take()
    }

    /// Gives back what the step of a thread of this row holds, which dies.
    pub(crate) fn step_abandon(&mut self, row: u16, step: Step) {
        match step {
            Step::Create(create) => self.memory_abandon(row, create),
            Step::Receive(..) | Step::Expect(_) => {}
            // Nobody goes on with it.
            Step::Spawn(life) => {
                if self.tasks.get(life.index as usize).is_some_and(|t| t.starts(life)) {
                    self.blame(life.index, None, DeathKind::Killed);
                    self.die(life.index);
                }
            }
        }
    }
}
