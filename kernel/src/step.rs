//! The steps of system calls that are done in steps: see [`kernel_core::step`]. Those of memory
//! objects and mappings are in [`crate::memory`].

use crate::arch::cpu;
use crate::kernel::Kernel;
use crate::loader;
use crate::log;
use crate::syscall::{Done, Outcome, value};
use abi::TaskId;
use kernel_core::Row;
use kernel_core::number::HandleNumber;
use kernel_core::step::{Show, Step, TELL_STEP, Tell};
use kernel_core::thread::ThreadIndex;

impl Kernel {
    /// Does the next step of the running thread's system call.
    #[cold]
    pub fn go_on(&mut self, thread: ThreadIndex) {
        let Some(step) = self.sys.step_take(thread) else { return };
        let outcome = self.sys.row_of(thread).and_then(|row| match step {
            Step::Create(create) => self.create_step(row, create),
            Step::Receive(handle, mask) => self.receive(thread, handle, mask),
            Step::Expect(row) => self.expect(row, false),
            Step::Spawn(life) => self.spawn_step(life),
            Step::Fill(fill) => self.fill_step(row, fill),
            Step::Clear(clear) => self.clear_step(row, clear),
            Step::Close(handle) => self.close(thread, handle),
            Step::Show(show) => self.show_step(row, show),
            Step::Tell(tell) => Ok(self.tell_step(tell)),
        });
        self.conclude(thread, outcome);
    }

    /// `recv`, or a step of it.
    pub(crate) fn receive(&mut self, thread: ThreadIndex, handle: HandleNumber, mask: u64) -> Outcome {
        let done = self.sys.recv(thread, handle, mask)?;
        Ok(if done { Done::Elsewhere } else { Done::Again(Step::Receive(handle, mask)) })
    }

    /// `task_set_restart`, or a step of it.
    pub(crate) fn expect(&mut self, row: Row, expected: bool) -> Outcome {
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

    /// `handle_close`, or a step of it.
    pub(crate) fn close(&mut self, thread: ThreadIndex, handle: HandleNumber) -> Outcome {
        let done = self.sys.handle_leave(thread, handle)?;
        Ok(if done { Done::Quiet } else { Done::Again(Step::Close(handle)) })
    }

    /// A step of `log_write`: shows some of the text on the port. When all is shown, begins to
    /// signal the tasks that read logs.
    pub(crate) fn show_step(&mut self, row: Row, mut show: Show) -> Outcome {
        let begun = cpu::now();
        let (owner, done) = log::show(self.sys.tasks(), row, &mut show);
        // Another task's text that comes first is that task's to pay for.
        if owner != row {
            self.sys.set_now(begun);
            self.sys.charge();
            self.sys.set_now(cpu::now());
            self.sys.charge_to(owner);
        }
        if !done {
            return Ok(Done::Again(Step::Show(show)));
        }
        let tell = Tell { rows: self.sys.take_log_listeners(), value: show.value };
        Ok(self.tell_step(tell))
    }

    /// A step of `log_write`: signals some of the tasks that read logs.
    pub(crate) fn tell_step(&mut self, mut tell: Tell) -> Done {
        if self.sys.tell_some(&mut tell, TELL_STEP) {
            return Done::Value(Some(tell.value), None);
        }
        Done::Again(Step::Tell(tell))
    }
}
