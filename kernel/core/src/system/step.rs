//! The steps of system calls that are done in steps: how they are kept, and given back when their
//! thread dies. See [`crate::step`].

use crate::row::Row;
use crate::step::{Step, Tell};
use crate::system::System;
use crate::thread::{STEP, ThreadIndex};
use abi::error::DeathKind;
use abi::message::bits;

impl System {
    /// Puts what is left of a thread's system call into the thread, which runs or is ready.
    pub fn step_set(&mut self, thread: ThreadIndex, step: Step) {
        if let Some(t) = self.threads.at_mut(thread) {
            t.step = Some(step);
            t.extras |= STEP;
        }
    }

    /// Takes what is left of a thread's system call out of the thread.
    pub fn step_take(&mut self, thread: ThreadIndex) -> Option<Step> {
        let t = self.threads.at_mut(thread)?;
        t.extras &= !STEP;
        t.step.take()
    }

    /// Gives back what a step holds. Its thread, of a task in this row, dies.
    pub(crate) fn step_abandon(&mut self, row: Row, step: Step) {
        match step {
            Step::Create(create) => self.memory_abandon(row, create),
            Step::Receive(..) | Step::Expect(_) => {}
            // Nobody else continues this start, so the life that is being started is killed.
            Step::Spawn(life) => {
                if self.task(Row::of(life)).is_ok_and(|t| t.starts(life)) {
                    self.blame(Row::of(life), None, DeathKind::Killed);
                    self.die(Row::of(life));
                }
            }
            // The mapping and its page tables are released with the life.
            Step::Fill(_) | Step::Clear(_) => {}
            Step::Close(_) => {}
            // The text is in the ring; what is not shown yet is shown with the next text.
            Step::Show(_) => {
                let listeners = self.take_log_listeners();
                self.untold.add(listeners);
            }
            Step::Tell(tell) => self.untold.add(tell.rows),
        }
    }

    /// Signals up to `most` of the tasks. Returns true when all have been signalled.
    pub fn tell_some(&mut self, tell: &mut Tell, most: u32) -> bool {
        for _ in 0..most {
            let Some(row) = tell.rows.pop() else { break };
            self.signal_task(row, bits::LOG);
        }
        tell.rows.is_empty()
    }
}
