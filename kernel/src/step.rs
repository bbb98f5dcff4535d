//! The steps of system calls that go on: see [`kernel_core::step`].

use crate::arch::paging;
use crate::kernel::Kernel;
use crate::syscall::{Done, Outcome, value};
use abi::PAGE_SIZE;
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
        });
        self.conclude(thread, outcome);
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
