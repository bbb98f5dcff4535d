//! The system calls about memory objects and mappings, and the steps in which they are done: see
//! [`kernel_core::step`].

use crate::arch::paging::{self, TABLE_SPAN, Table, UserFlags};
use crate::kernel::Kernel;
use crate::syscall::{Done, Outcome, pair, value};
use abi::{PAGE_SIZE, Status};
use kernel_core::Row;
use kernel_core::addr::{PhysAddr, TableRoot, UserAddr};
use kernel_core::handles::Object;
use kernel_core::memory::{Backing, Caching};
use kernel_core::number::HandleNumber;
use kernel_core::step::{Clear, Create, Fill, Step};
use kernel_core::thread::ThreadIndex;

const PAGE: u64 = PAGE_SIZE as u64;

/// The most pages of one `memory_create`.
const MAX_PAGES: u64 = 256;
/// The most pages that are zeroed in one step.
const ZERO_STEP: usize = 10;
/// The most pages that are mapped in one step.
const FILL_STEP: u32 = 100;
/// The most pages that are unmapped in one step. Each is flushed, which takes far longer than an
/// ordinary instruction.
const CLEAR_STEP: u32 = 100;

impl Kernel {
    /// Performs `memory_create`: allocates frames to the task and fills them with zeros.
    pub(crate) fn memory_create(&mut self, thread: ThreadIndex, pages: u64, contiguous: bool) -> Outcome {
        let row = self.sys.row_of(thread)?;
        if pages == 0 || pages > MAX_PAGES {
            return Err(Status::BadArgument);
        }
        let create = self.sys.memory_begin(row, pages as u32, contiguous)?;
        self.create_step(row, create)
    }

    /// A step of `memory_create`: takes and zeroes some frames.
    pub(crate) fn create_step(&mut self, row: Row, mut create: Create) -> Outcome {
        for _ in 0..ZERO_STEP {
            match self.sys.memory_frame(&mut create) {
                Ok(Some(frame)) => _ = paging::zero(frame),
                Ok(None) => return value(self.sys.memory_finish(row, create)?.to_u32()),
                Err(error) => {
                    self.sys.memory_abandon(row, create);
                    return Err(error);
                }
            }
        }
        Ok(Done::Again(Step::Create(create)))
    }

    /// Performs `memory_map`: maps the pages of an object in the task's address space.
    pub(crate) fn memory_map(
        &mut self,
        thread: ThreadIndex,
        handle: HandleNumber,
        addr: UserAddr,
        writable: bool,
    ) -> Outcome {
        let row = self.sys.row_of(thread)?;
        let mapping = self.sys.memory_map(row, handle, addr, writable)?;
        let next = self.sys.memory(mapping.memory).ok().and_then(|memory| match &memory.backing {
            Backing::Frames(chain) => chain.first(),
            Backing::Physical { .. } => None,
        });
        self.fill_step(row, Fill { addr: mapping.addr, writable, done: 0, next })
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
            let at = fill.addr.plus(u64::from(fill.done) * PAGE);
            let here = match table.filter(|_| !at.is_aligned(TABLE_SPAN)) {
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
        value(fill.addr.number())
    }

    /// The lowest-level page table for an address of a task; missing tables are charged to its
    /// quota. Errors: NoSuchTask, QuotaFrames, OutOfMemory.
    fn table_for(&mut self, row: Row, root: TableRoot, at: UserAddr) -> Result<Table, Status> {
        paging::table_for(root, at, || self.sys.task_frame(row).map(paging::zero))
    }

    /// Maps a page of a task; page tables are charged to its quota. Errors: NoSuchTask,
    /// QuotaFrames, OutOfMemory.
    pub(crate) fn map_page(
        &mut self,
        row: Row,
        root: TableRoot,
        at: UserAddr,
        phys: PhysAddr,
        flags: UserFlags,
    ) -> Result<(), Status> {
        let table = self.table_for(row, root, at)?;
        paging::set_user(table, at, phys, flags);
        Ok(())
    }

    /// Performs `memory_unmap`: removes a mapping.
    pub(crate) fn memory_unmap(&mut self, thread: ThreadIndex, addr: UserAddr) -> Outcome {
        let row = self.sys.row_of(thread)?;
        self.sys.memory_leave(row, addr)?;
        self.clear_step(row, Clear { addr, done: 0, status: Status::Ok })
    }

    /// A step of `memory_unmap`: unmaps some pages, and removes the mapping after the last of them,
    /// because its frames may be freed then.
    pub(crate) fn clear_step(&mut self, row: Row, mut clear: Clear) -> Outcome {
        let root = self.root_of(row)?;
        let mapping = self.sys.task(row)?.mapping(clear.addr)?;
        let end = mapping.pages.min(clear.done + CLEAR_STEP);
        paging::unmap_user(root, clear.addr.plus(u64::from(clear.done) * PAGE), u64::from(end - clear.done));
        clear.done = end;
        if clear.done < mapping.pages {
            return Ok(Done::Again(Step::Clear(clear)));
        }
        self.sys.memory_unmap(row, clear.addr)?;
        if clear.status == Status::Ok { Ok(Done::Quiet) } else { Err(clear.status) }
    }

    /// Performs `memory_info`: returns the number of pages, and the physical address of an object
    /// that has a known one.
    pub(crate) fn memory_info(&self, thread: ThreadIndex, handle: HandleNumber) -> Outcome {
        let Object::Memory(id) = self.sys.handle(thread, handle)?.object else { return Err(Status::WrongKind) };
        let memory = self.sys.memory(id)?;
        pair(memory.pages.into(), memory.physical.map_or(u64::MAX, PhysAddr::number))
    }
}
