//! The steps of system calls that go on: see [`kernel_core::step`].

use crate::arch::paging;
use crate::kernel::Kernel;
use crate::loader;
use crate::syscall::{Done, Outcome, value};
use abi::{PAGE_SIZE, TaskId};
use kernel_core::step::{Create, Step};

/// Pages that are zeroed in one step.
const ZERO_STEP: usize = 12;

impl Kernel {
    /// Does one more step of the running thread's system call.
    #[cold]
    pub fn go_on(&mut self, thread: u16) {
        let Some(step) = self.sys.step_take(thread) else { return };
        let outcome = self.sys.row_of(thread).and_then(|row| match step {
            Step::Create(create) => self.create_step(row, create),
            Step::Receive(handle, mask) => self.receive(thread, handle, mask),
            Step::Expect(row) => self.expect(row, false),
            Step::Spawn(life) => self.spawn_step(life),
        });
        self.conclude(thread, outcome);
    }

    /// `recv`, or what is left of it.
    pub(crate) fn receive(&mut self, thread: u16, handle: u64, mask: u64) -> Outcome {
        let done = self.sys.recv(thread, handle, mask)?;
        Ok(if done { Done::Elsewhere } else { Done::Again(Step::Receive(handle, mask)) })
    }

    /// `task_expect`, or what is left of it.
    pub(crate) fn expect(&mut self, row: u16, expected: bool) -> Outcome {
        let done = self.sys.expect(row, expected)?;
        Ok(if done { Done::Quiet } else { Done::Again(Step::Expect(row)) })
    }

    /// A step of `task_spawn`.
    pub(crate) fn spawn_step(&mut self, life: TaskId) -> Outcome {
        match loader::step(self, life)? {
            true => value(life.to_u32()),
            false => Ok(Done::Again(Step::Spawn(life))),
        }
    }

    /// A step of `memory_create`: takes and zeroes some frames.
    pub(crate) fn create_step(&mut self, row: u16, mut create: Create) -> Outcome {
        for _ in 0..ZERO_STEP {
            match self.sys.memory_frame(&mut create) {
                Ok(Some(frame)) => paging::zero(u64::from(frame) * PAGE_SIZE as u64),
                Ok(None) => return value(self.sys.memory_finish(row, create)?),
                Err(error) => {
                    self.sys.memory_abandon(row, create);
                    return Err(error);
                }
            }
        }
        Ok(Done::Again(Step::Create(create)))
    }
}
