//! System calls that go on. The kernel runs with interrupts off; what would take it longer than [`abi::task::LONGEST_STRETCH`] instructions is done in
//! steps, between which interrupts are let in and more important threads get their turn.
//!
//! What is left of a system call lies in its thread ([`Thread::step`](crate::thread::Thread::step)), which stays running or ready, and has the
//! mark [`STEP`] in its extras. Whenever it is its turn, the kernel does one more step before it leaves for another turn, or for ring 3 where
//! the call is done. The thread executes nothing meanwhile: what a debugger does to its registers holds when the call is done,
//! but for those that the call returns. Where the thread dies, [`System::step_abandon`] gives back what the step holds.

use crate::frames::{Chain, Frame};
use crate::row::{Row, RowSet};
use crate::system::System;
use crate::thread::STEP;
use abi::error::DeathKind;
use abi::message::bits;
use abi::{Status, TaskId};

/// What is left of a system call.
#[derive(Debug)]
pub enum Step {
    /// `memory_create`: see [`System::memory_begin`].
    Create(Create),
    /// `recv` by this handle, with this mask, where dead callers are in the way: see [`System::recv`].
    Receive(u64, u64),
    /// `task_set_restart`, that this row has no next life: see [`System::expect`].
    Expect(Row),
    /// `task_spawn` of this life, which starts: see [`crate::task::Start`].
    Spawn(TaskId),
    /// `memory_map`: see [`System::memory_map`].
    Fill(Fill),
    /// `memory_unmap`: see [`System::memory_leave`].
    Clear(Clear),
    /// `handle_close` of this handle: see [`System::handle_leave`].
    Close(u64),
    /// `log_write`: its text goes to the port.
    Show(Show),
    /// Its readers hear of it: see [`System::tell_some`].
    Tell(Tell),
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

/// A mapping whose page tables are being filled.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Its address.
    pub addr: u64,
    /// Whether the task may write.
    pub writable: bool,
    /// How many of its pages are there.
    pub done: u32,
    /// The frame of the next, where the object is made of frames.
    pub next: Option<Frame>,
}

/// A mapping whose page tables are being cleared.
#[derive(Clone, Copy, Debug)]
pub struct Clear {
    /// Its address.
    pub addr: u64,
    /// How many of its pages are gone.
    pub done: u32,
    /// What the system call says then: Ok, or why the mapping was not made.
    pub status: Status,
}

/// Text of a task's, from its ring to the port.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// Where it begins, in bytes ever written to the ring.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Whether it is under way.
    pub begun: bool,
    /// What the system call returns in `rdx` then: how many bytes it has taken.
    pub value: u64,
}

/// Tasks that are to hear of a line in a log.
#[derive(Clone, Copy, Debug)]
pub struct Tell {
    /// Their rows.
    pub rows: RowSet,
    /// What the system call returns in `rdx` then.
    pub value: u64,
}

/// Tasks that hear of a line in one step.
pub const TELL_STEP: u32 = 12;

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
    pub(crate) fn step_abandon(&mut self, row: Row, step: Step) {
        match step {
            Step::Create(create) => self.memory_abandon(row, create),
            Step::Receive(..) | Step::Expect(_) => {}
            // Nobody goes on with it.
            Step::Spawn(life) => {
                if self.task(Row::of(life)).is_ok_and(|t| t.starts(life)) {
                    self.blame(Row::of(life), None, DeathKind::Killed);
                    self.die(Row::of(life));
                }
            }
            // The mapping and the page tables go with the life.
            Step::Fill(_) | Step::Clear(_) => {}
            Step::Close(_) => {}
            // The text is in the ring; with the next one the rest of it is shown too.
            Step::Show(_) => {
                let listeners = self.take_log_listeners();
                self.untold.add(listeners);
            }
            Step::Tell(tell) => self.untold.add(tell.rows),
        }
    }

    /// Has up to `most` of the tasks hear of it. True when all have.
    pub fn tell_some(&mut self, tell: &mut Tell, most: u32) -> bool {
        for _ in 0..most {
            let Some(row) = tell.rows.pop() else { break };
            self.signal_task(row, bits::LOG);
        }
        tell.rows.is_empty()
    }
}
