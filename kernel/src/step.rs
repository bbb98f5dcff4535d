//! The steps of system calls that are done in steps: see [`kernel_core::step`].

use crate::arch::cpu;
use crate::arch::paging::{self, TABLE_SPAN, Table, UserFlags};
use crate::kernel::Kernel;
use crate::loader;
use crate::log;
use crate::syscall::{Done, Outcome, value};
use abi::{PAGE_SIZE, Status, TaskId};
use kernel_core::Row;
use kernel_core::addr::{PhysAddr, TableRoot};
use kernel_core::memory::{Backing, Caching};
use kernel_core::step::{Clear, Create, Fill, Show, Step, TELL_STEP, Tell};

const PAGE: u64 = PAGE_SIZE as u64;

/// The most pages that are zeroed in one step.
const ZERO_STEP: usize = 10;
/// The most pages that are mapped in one step.
const FILL_STEP: u32 = 100;
/// The most pages that are unmapped in one step. Each is flushed, which takes far longer than an
/// ordinary instruction.
const CLEAR_STEP: u32 = 100;

impl Kernel {
    /// Does the next step of the running thread's system call.
    #[cold]
    pub fn go_on(&mut self, thread: u16) {
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
    pub(crate) fn receive(&mut self, thread: u16, handle: u64, mask: u64) -> Outcome {
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

    /// A step of `memory_create`: takes and zeroes some frames.
    pub(crate) fn create_step(&mut self, row: Row, mut create: Create) -> Outcome {
        for _ in 0..ZERO_STEP {
            match self.sys.memory_frame(&mut create) {
                Ok(Some(frame)) => _ = paging::zero(frame),
                Ok(None) => return value(self.sys.memory_finish(row, create)?),
                Err(error) => {
                    self.sys.memory_abandon(row, create);
                    return Err(error);
                }
            }
        }
        Ok(Done::Again(Step::Create(create)))
    }

    /// A step of `memory_map`: maps some pages. If that fails, the mapping is undone.
    pub(crate) fn fill_step(&mut self, row: Row, mut fill: Fill) -> Outcome {
        let root = self.root_of(row)?;
        let mapping = self.sys.task(row)?.mapping(fill.addr)?;
        let memory = self.sys.memory(mapping.memory)?;
        let (base, caching) = match memory.backing {
            Backing::Frames(_) => (PhysAddr::default(), Caching::WriteBack),
            Backing::Physical { base, caching } => (base, caching),
        };
        let flags = UserFlags { writable: fill.writable, executable: false, caching };
        let (end, mut table) = (mapping.pages.min(fill.done + FILL_STEP), None);
        while fill.done < end {
            let at = fill.addr + u64::from(fill.done) * PAGE;
            let here = match table.filter(|_| !at.is_multiple_of(TABLE_SPAN)) {
                Some(table) => table,
                None => match self.table_for(row, root, at) {
                    Ok(table) => table,
                    Err(status) => return self.clear_step(row, Clear { addr: fill.addr, done: 0, status }),
                },
            };
            table = Some(here);
            let phys = match fill.next {
                Some(frame) => frame.address(),
                None => base.plus(u64::from(fill.done) * PAGE),
            };
            paging::set_user(here, at, phys, flags);
            fill.next = fill.next.and_then(|frame| self.sys.next_frame(frame));
            fill.done += 1;
        }
        if fill.done < mapping.pages {
            return Ok(Done::Again(Step::Fill(fill)));
        }
        self.sys.memory_settled(row, fill.addr);
        value(fill.addr)
    }

    /// The lowest-level page table for an address of a task; missing tables are charged to its
    /// quota. Errors: NoSuchTask, QuotaFrames, OutOfMemory.
    fn table_for(&mut self, row: Row, root: TableRoot, at: u64) -> Result<Table, Status> {
        paging::table_for(root, at, || self.sys.task_frame(row).map(paging::zero))
    }

    /// Maps a page of a task; page tables are charged to its quota. Errors: NoSuchTask,
    /// QuotaFrames, OutOfMemory.
    pub(crate) fn map_page(
        &mut self,
        row: Row,
        root: TableRoot,
        at: u64,
        phys: PhysAddr,
        flags: UserFlags,
    ) -> Result<(), Status> {
        let table = self.table_for(row, root, at)?;
        paging::set_user(table, at, phys, flags);
        Ok(())
    }

    /// A step of `memory_unmap`: unmaps some pages, and removes the mapping after the last of them,
    /// because its frames may be freed then.
    pub(crate) fn clear_step(&mut self, row: Row, mut clear: Clear) -> Outcome {
        let root = self.root_of(row)?;
        let mapping = self.sys.task(row)?.mapping(clear.addr)?;
        let end = mapping.pages.min(clear.done + CLEAR_STEP);
        paging::unmap_user(root, clear.addr + u64::from(clear.done) * PAGE, u64::from(end - clear.done));
        clear.done = end;
        if clear.done < mapping.pages {
            return Ok(Done::Again(Step::Clear(clear)));
        }
        self.sys.memory_unmap(row, clear.addr)?;
        if clear.status == Status::Ok { Ok(Done::Quiet) } else { Err(clear.status) }
    }

    /// `handle_close`, or a step of it.
    pub(crate) fn close(&mut self, thread: u16, handle: u64) -> Outcome {
        let done = self.sys.handle_leave(thread, handle)?;
        Ok(if done { Done::Quiet } else { Done::Again(Step::Close(handle)) })
    }

    /// A step of `log_write`: shows some of the text on the port. When all is shown, begins to
    /// signal the tasks that read logs.
    pub(crate) fn show_step(&mut self, row: Row, mut show: Show) -> Outcome {
        // Another task's text that comes first is that task's to pay for.
        self.sys.set_now(cpu::now());
        self.sys.charge();
        let (owner, done) = log::show(self.sys.tasks(), row, &mut show);
        if owner != row {
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
