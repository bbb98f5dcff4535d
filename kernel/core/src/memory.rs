//! Memory objects: frames, a granted physical range, or the boot archive; and where they are mapped.

use crate::addr::PhysAddr;
use crate::arena::Id;
use crate::frames::{Chain, Frame, Fresh};
use crate::handles::{Handle, Object};
use crate::row::Row;
use crate::step::Create;
use crate::system::System;
use abi::Status;
use abi::manifest::{Grant, GrantKind};
use abi::message::Rights;

/// How the processor reaches memory that is mapped: its memory type (Intel SDM vol. 3A, section 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Write-back: cached. For RAM, and nothing else.
    WriteBack,
    /// Uncached: each access reaches the device, in the order of the program. For registers.
    Uncached,
    /// Write-combining: not cached, but writes are collected and may reach the device together and in another order. For frame buffers.
    WriteCombining,
}

impl Caching {
    /// What a task's physical range is mapped as, by its record's flags; `combines` says whether the processor lets a page choose
    /// write-combining. Where it does not, the range is uncached: that is slower, and never wrong.
    pub const fn of_range(flags: u32, combines: bool) -> Caching {
        if combines && flags & Grant::WRITE_COMBINING != 0 { Caching::WriteCombining } else { Caching::Uncached }
    }
}

/// Where a memory object's bytes are.
#[derive(Debug)]
pub enum Backing {
    /// Frames of its own.
    Frames(Chain),
    /// A physical range: device memory, or the boot archive.
    Physical {
        /// First byte, page-aligned.
        base: PhysAddr,
        /// How the processor reaches it.
        caching: Caching,
    },
}

/// A memory object.
#[derive(Debug)]
pub struct Memory {
    /// Its size in pages.
    pub pages: u32,
    /// What is behind it.
    pub backing: Backing,
    /// First physical address where the whole is contiguous.
    pub physical: Option<PhysAddr>,
    /// Handles that name it.
    pub handles: u32,
    /// Mappings of it.
    pub mappings: u32,
    /// The row that it belongs to over all lives (`keep`), if any: then it is never freed.
    pub kept_by: Option<Row>,
}

/// A mapping of a memory object in a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub addr: u64,
    /// Pages.
    pub pages: u32,
    /// What is mapped.
    pub memory: Id<Memory>,
    /// Whether the page tables are being filled or cleared.
    pub changing: bool,
}

impl Mapping {
    /// One past the last address.
    pub fn end(&self) -> u64 {
        self.addr + u64::from(self.pages) * abi::PAGE_SIZE as u64
    }
}

impl System {
    /// How many frames a task is charged for holding a handle to this object: none for what is not made of frames.
    fn charge_of(memory: &Memory) -> u32 {
        match (&memory.backing, memory.kept_by) {
            (Backing::Frames(_), None) => memory.pages,
            _ => 0,
        }
    }

    /// Takes a frame for a task, charged to it, which goes back with its life: for its image, its stack or its page tables. What is in it is
    /// what was there. Errors: NoSuchTask, QuotaFrames, OutOfMemory.
    pub fn task_frame(&mut self, row: Row) -> Result<Fresh, Status> {
        let task = self.tasks.get_mut(row)?;
        task.frames.take(1, Status::QuotaFrames)?;
        let frame = self.frames.alloc(&mut task.chain);
        if frame.is_none() {
            task.frames.give(1);
        }
        frame.ok_or(Status::OutOfMemory)
    }

    /// Takes a frame of the memory that is to outlive a task, whose life begins and keeps it aside until all are there. What is in it is what
    /// was there. Errors: NoSuchTask, OutOfMemory.
    pub fn kept_frame(&mut self, row: Row) -> Result<Fresh, Status> {
        let task = self.tasks.get_mut(row)?;
        self.frames.alloc(&mut task.start.kept).ok_or(Status::OutOfMemory)
    }

    /// Makes the memory that outlives a task of the frames that are there for it, `pages` of them, in its first life. Does nothing where it has
    /// some already, or is to have none. Errors: NoSuchTask, QuotaObjects.
    pub fn keep_memory(&mut self, row: Row, pages: u32) -> Result<(), Status> {
        let task = self.tasks.get_mut(row)?;
        if pages == 0 || task.keep.is_some() {
            return Ok(());
        }
        if !self.memories.has_room() {
            return Err(Status::QuotaObjects);
        }
        let backing = Backing::Frames(core::mem::take(&mut task.start.kept));
        let memory = Memory { pages, backing, physical: None, handles: 0, mappings: 0, kept_by: Some(row) };
        task.keep = self.memories.insert(memory);
        Ok(())
    }

    /// The memory object of a physical range of a task's, by its number in the record; made for the first life, kept for all. `combines` says
    /// whether the processor lets a page choose write-combining. Errors: NoSuchTask, QuotaObjects.
    pub fn range_memory(&mut self, row: Row, number: usize, combines: bool) -> Result<Id<Memory>, Status> {
        let task = self.tasks.get_mut(row)?;
        let range = *task.record.of(GrantKind::Range).nth(number).ok_or(Status::NoSuchTask)?;
        let place = task.ranges.get_mut(number).ok_or(Status::NoSuchTask)?;
        if let Some(id) = *place {
            return Ok(id);
        }
        let base = PhysAddr::new(range.base);
        let backing = Backing::Physical { base, caching: Caching::of_range(range.flags, combines) };
        let pages = (range.len / abi::PAGE_SIZE as u64) as u32;
        let memory = Memory { pages, backing, physical: Some(base), handles: 0, mappings: 0, kept_by: Some(row) };
        let id = self.memories.insert(memory).ok_or(Status::QuotaObjects)?;
        *place = Some(id);
        Ok(id)
    }

    /// Makes the memory object of the boot archive, which is nobody's own and is never freed. `None` where there is no room for it.
    pub fn archive_memory(&mut self, base: PhysAddr, bytes: u64) -> Option<Id<Memory>> {
        let pages = bytes.div_ceil(abi::PAGE_SIZE as u64) as u32;
        let backing = Backing::Physical { base, caching: Caching::WriteBack };
        let kept_by = Some(Row::new(0));
        self.memories.insert(Memory { pages, backing, physical: None, handles: 0, mappings: 0, kept_by })
    }

    /// Begins to make a memory object of `pages` frames for the task `row`, which is charged for them. The caller takes the frames, zeroes
    /// them, and comes to [`System::memory_finish`], or to [`System::memory_abandon`]. Nothing is begun where not all of it is there.
    /// Errors: QuotaHandles, QuotaFrames, OutOfMemory.
    pub fn memory_begin(&mut self, row: Row, pages: u32, contiguous: bool) -> Result<Create, Status> {
        let task = self.tasks.get_mut(row)?;
        if !task.handles.has_room() || !self.memories.has_room() {
            return Err(Status::QuotaHandles);
        }
        if self.frames.free() + u64::from(self.garbage.len()) < u64::from(pages) {
            return Err(Status::OutOfMemory);
        }
        task.frames.take(pages, Status::QuotaFrames)?;
        Ok(Create { pages, contiguous: contiguous || pages == 1, ..Create::default() })
    }

    /// Takes the next frame of a memory object that is being made, to be zeroed; `None`: they are all there. What others have dropped is cleared
    /// away meanwhile, as much as is taken. Errors: OutOfMemory.
    pub fn memory_frame(&mut self, create: &mut Create) -> Result<Option<Fresh>, Status> {
        if create.zeroed == create.pages {
            return Ok(None);
        }
        self.collect(1);
        let frame = match create.first {
            Some(first) => Fresh::of_run(first, create.zeroed),
            None if create.contiguous => {
                let first = self.frames.alloc_contiguous(&mut create.chain, create.pages);
                create.first = first;
                Fresh::of_run(first.ok_or(Status::OutOfMemory)?, 0)
            }
            None => self.frames.alloc(&mut create.chain).ok_or(Status::OutOfMemory)?,
        };
        create.zeroed += 1;
        Ok(Some(frame))
    }

    /// Makes the memory object whose frames are there. Where that fails, nothing stays of it. Errors: QuotaHandles.
    pub fn memory_finish(&mut self, row: Row, mut create: Create) -> Result<u32, Status> {
        let has_room = self.tasks.at(row).is_some_and(|t| t.handles.has_room()) && self.memories.has_room();
        if !has_room {
            self.memory_abandon(row, create);
            return Err(Status::QuotaHandles);
        }
        let physical = create.first.map(Frame::address);
        let pages = create.pages;
        let backing = Backing::Frames(core::mem::take(&mut create.chain));
        let memory = Memory { pages, backing, physical, handles: 1, mappings: 0, kept_by: None };
        let id = self.memories.insert(memory).ok_or(Status::QuotaHandles)?;
        let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
        let task = self.tasks.get_mut(row)?;
        task.handles.insert(Handle::new(Object::Memory(id), rights))
    }

    /// Gives back what a memory object has taken that will not be made.
    pub fn memory_abandon(&mut self, row: Row, mut create: Create) {
        self.frames.join(&mut self.garbage, &mut create.chain);
        if let Some(task) = self.tasks.at_mut(row) {
            task.frames.give(create.pages);
        }
    }

    /// Checks that a task may map the object of `handle` at `addr` (0: the kernel's choice), and enters the mapping as changing. The caller
    /// then fills the page tables and comes to [`System::memory_settled`], or takes the mapping back with [`System::memory_unmap`].
    /// Errors: BadHandle, WrongKind, NoRights, BadAddress, QuotaObjects.
    pub fn memory_map(&mut self, row: Row, handle: u64, addr: u64, writable: bool) -> Result<Mapping, Status> {
        let task = self.tasks.get_mut(row)?;
        let handle = task.handles.get(handle)?;
        let Object::Memory(id) = handle.object else { return Err(Status::WrongKind) };
        let needed = if writable { Rights::READ | Rights::WRITE } else { Rights::READ };
        if !handle.rights.contains(needed) {
            return Err(Status::NoRights);
        }
        let memory = self.memories.get_mut(id).ok_or(Status::BadHandle)?;
        let size = u64::from(memory.pages) * abi::PAGE_SIZE as u64;
        let at = if addr != 0 {
            addr
        } else {
            // One unmapped page between neighbours catches overruns. Space is 90 TiB, so going on upwards is enough; only when
            // the top is reached is the lowest gap searched.
            let next = task.map_next;
            if task.mappings.is_free(next, size) { next } else { task.mappings.lowest_gap(size) }
        };
        if !task.mappings.is_free(at, size) {
            return Err(Status::BadAddress);
        }
        task.objects.take(1, Status::QuotaObjects)?;
        let mapping = Mapping { addr: at, pages: memory.pages, memory: id, changing: true };
        if !task.mappings.insert(mapping) {
            task.objects.give(1);
            return Err(Status::QuotaObjects);
        }
        if addr == 0 {
            task.map_next = mapping.end() + abi::PAGE_SIZE as u64;
        }
        memory.mappings += 1;
        Ok(mapping)
    }

    /// The page tables say what the mapping at `addr` says.
    pub fn memory_settled(&mut self, row: Row, addr: u64) {
        if let Some(mapping) = self.tasks.at_mut(row).and_then(|t| t.mappings.get_mut(addr)) {
            mapping.changing = false;
        }
    }

    /// Begins to take the mapping at `addr` away: the caller clears the page tables, then comes to [`System::memory_unmap`].
    /// Errors: BadAddress, Busy (another thread maps it, or takes it away).
    pub fn memory_leave(&mut self, row: Row, addr: u64) -> Result<(), Status> {
        let task = self.tasks.get_mut(row)?;
        let mapping = task.mappings.get_mut(addr).ok_or(Status::BadAddress)?;
        if core::mem::replace(&mut mapping.changing, true) { Err(Status::Busy) } else { Ok(()) }
    }

    /// Takes the mapping at `addr` out; the caller clears the page tables first. Errors: BadAddress.
    pub fn memory_unmap(&mut self, row: Row, addr: u64) -> Result<Mapping, Status> {
        let task = self.tasks.get_mut(row)?;
        let mapping = task.mappings.remove(addr).ok_or(Status::BadAddress)?;
        self.mapping_dropped(row, mapping);
        Ok(mapping)
    }

    /// Takes any mapping of a dead life out, whose page tables nobody uses any more. False where there is none.
    pub(crate) fn mapping_pop(&mut self, row: Row) -> bool {
        let mapping = self.tasks.at_mut(row).and_then(|t| t.mappings.pop());
        if let Some(mapping) = mapping {
            self.mapping_dropped(row, mapping);
        }
        mapping.is_some()
    }

    fn mapping_dropped(&mut self, row: Row, mapping: Mapping) {
        if let Some(task) = self.tasks.at_mut(row) {
            task.objects.give(1);
        }
        if let Some(memory) = self.memories.get_mut(mapping.memory) {
            memory.mappings -= 1;
        }
        self.memory_release(mapping.memory);
    }

    /// Charges a task for a further handle to a memory object. Errors: QuotaFrames, BadHandle.
    pub(crate) fn memory_hold(&mut self, row: Row, id: Id<Memory>) -> Result<(), Status> {
        let memory = self.memories.get_mut(id).ok_or(Status::BadHandle)?;
        let task = self.tasks.get_mut(row)?;
        task.frames.take(Self::charge_of(memory), Status::QuotaFrames)?;
        memory.handles += 1;
        Ok(())
    }

    /// Takes back what [`System::memory_hold`] charged, and frees the object where nothing refers to it any more.
    pub(crate) fn memory_drop(&mut self, row: Row, id: Id<Memory>) {
        if let (Some(memory), Some(task)) = (self.memories.get_mut(id), self.tasks.at_mut(row)) {
            task.frames.give(Self::charge_of(memory));
            memory.handles -= 1;
        }
        self.memory_release(id);
    }

    fn memory_release(&mut self, id: Id<Memory>) {
        let unused = self.memories.get(id).is_some_and(|m| m.handles == 0 && m.mappings == 0 && m.kept_by.is_none());
        if unused
            && let Some(memory) = self.memories.remove(id)
            && let Backing::Frames(mut chain) = memory.backing
        {
            self.frames.join(&mut self.garbage, &mut chain);
        }
    }
}
