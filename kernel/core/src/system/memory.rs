//! Memory objects and mappings: how they are made, mapped and given back.

use crate::addr::{PhysAddr, UserAddr};
use crate::arena::Id;
use crate::frames::{Frame, Fresh};
use crate::handles::{Handle, NewHandle, Object};
use crate::memory::{Backing, Caching, Mapping, Memory};
use crate::number::HandleNumber;
use crate::row::Row;
use crate::step::Create;
use crate::system::System;
use abi::Status;
use abi::manifest::GrantKind;
use abi::message::Rights;

impl System {
    /// The number of frames that a task is charged for a handle to this object: 0 if the object is
    /// not made of frames, or is kept by a row.
    fn charge_of(memory: &Memory) -> u32 {
        match (&memory.backing, memory.kept_by) {
            (Backing::Frames(_), None) => memory.pages,
            _ => 0,
        }
    }

    /// Takes a frame for the image, the stack or the page tables of a task, which is charged for it
    /// until its life is reaped. Its contents are undefined. Errors: NoSuchTask, QuotaFrames,
    /// OutOfMemory.
    pub fn task_frame(&mut self, row: Row) -> Result<Fresh, Status> {
        let task = self.tasks.get_mut(row)?;
        task.frames.take(1, Status::QuotaFrames)?;
        let frame = self.frames.alloc(&mut task.chain);
        if frame.is_none() {
            task.frames.give(1);
        }
        frame.ok_or(Status::OutOfMemory)
    }

    /// Takes a frame for the kept memory of a task that is being started. Its contents are
    /// undefined. Errors: NoSuchTask, OutOfMemory.
    pub fn kept_frame(&mut self, row: Row) -> Result<Fresh, Status> {
        let task = self.tasks.get_mut(row)?;
        self.frames.alloc(&mut task.start.kept).ok_or(Status::OutOfMemory)
    }

    /// Makes the kept memory of a row, of `pages` pages, from the frames taken by
    /// [`System::kept_frame`]. Does nothing if `pages` is 0 or the row has its kept memory already.
    /// Errors: NoSuchTask, QuotaObjects.
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

    /// The memory object of a task's physical range, by the position of the range in the record. It
    /// is made for the first life, and stays for all. `combines` tells whether the processor lets a
    /// page choose write-combining. Errors: NoSuchTask, QuotaObjects.
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

    /// Makes the memory object of the boot archive, which is never freed. `None` if there is no
    /// room for it.
    pub fn archive_memory(&mut self, base: PhysAddr, bytes: u64) -> Option<Id<Memory>> {
        let pages = bytes.div_ceil(abi::PAGE_SIZE as u64) as u32;
        let backing = Backing::Physical { base, caching: Caching::WriteBack };
        let kept_by = Some(Row::new(0));
        self.memories.insert(Memory { pages, backing, physical: None, handles: 0, mappings: 0, kept_by })
    }

    /// Begins to make a memory object of `pages` frames for the task in `row`, which is charged for
    /// them. The caller takes the frames with [`System::memory_frame`] and zeroes them, then calls
    /// [`System::memory_finish`] or [`System::memory_abandon`]. Errors: NoSuchTask, QuotaHandles,
    /// QuotaFrames, OutOfMemory.
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

    /// Takes the next frame of a memory object that is being made, which the caller zeroes; `None`
    /// when all have been taken. Also frees a frame of garbage for each one. Errors: OutOfMemory.
    pub fn memory_frame(&mut self, create: &mut Create) -> Result<Option<Fresh>, Status> {
        if create.zeroed == create.pages {
            return Ok(None);
        }
        self.frames.free_some(&mut self.garbage, 1);
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

    /// Makes the memory object from its frames, and returns its handle. If that fails, the frames
    /// are given back. Errors: QuotaHandles.
    pub fn memory_finish(&mut self, row: Row, mut create: Create) -> Result<NewHandle, Status> {
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

    /// Gives back the frames and the charge of a memory object that will not be made.
    pub fn memory_abandon(&mut self, row: Row, mut create: Create) {
        self.frames.join(&mut self.garbage, &mut create.chain);
        if let Some(task) = self.tasks.at_mut(row) {
            task.frames.give(create.pages);
        }
    }

    /// Checks that a task may map the object of `handle` at `addr` (0: the kernel chooses), and
    /// adds the mapping, marked as changing. The caller fills the page tables and then calls
    /// [`System::memory_settled`], or undoes the mapping with [`System::memory_unmap`]. Errors:
    /// NoSuchTask, BadHandle, WrongKind, NoRights, BadAddress, QuotaObjects.
    pub fn memory_map(
        &mut self,
        row: Row,
        handle: HandleNumber,
        addr: UserAddr,
        writable: bool,
    ) -> Result<Mapping, Status> {
        let task = self.tasks.get_mut(row)?;
        let handle = task.handles.get(handle)?;
        let Object::Memory(id) = handle.object else { return Err(Status::WrongKind) };
        let needed = if writable { Rights::READ | Rights::WRITE } else { Rights::READ };
        if !handle.rights.contains(needed) {
            return Err(Status::NoRights);
        }
        let memory = self.memories.get_mut(id).ok_or(Status::BadHandle)?;
        let size = u64::from(memory.pages) * abi::PAGE_SIZE as u64;
        let at = if addr != UserAddr::ANY {
            addr
        } else {
            // An unmapped page between neighbours catches overruns. With 90 TiB of address space it
            // suffices to go on upwards; only when the top is reached is the lowest gap searched.
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
        if addr == UserAddr::ANY {
            task.map_next = mapping.end().plus(abi::PAGE_SIZE as u64);
        }
        memory.mappings += 1;
        Ok(mapping)
    }

    /// Marks the mapping at `addr` as no longer changing: its page tables are filled.
    pub fn memory_settled(&mut self, row: Row, addr: UserAddr) {
        if let Some(mapping) = self.tasks.at_mut(row).and_then(|t| t.mappings.get_mut(addr)) {
            mapping.changing = false;
        }
    }

    /// Begins to unmap the mapping at `addr`: the caller clears the page tables, then calls
    /// [`System::memory_unmap`]. Errors: NoSuchTask, BadAddress, Busy (another thread maps or
    /// unmaps it).
    pub fn memory_leave(&mut self, row: Row, addr: UserAddr) -> Result<(), Status> {
        let task = self.tasks.get_mut(row)?;
        let mapping = task.mappings.get_mut(addr).ok_or(Status::BadAddress)?;
        if core::mem::replace(&mut mapping.changing, true) { Err(Status::Busy) } else { Ok(()) }
    }

    /// Removes the mapping at `addr`, whose page tables the caller has cleared. Errors: NoSuchTask,
    /// BadAddress.
    pub fn memory_unmap(&mut self, row: Row, addr: UserAddr) -> Result<Mapping, Status> {
        let task = self.tasks.get_mut(row)?;
        let mapping = task.mappings.remove(addr).ok_or(Status::BadAddress)?;
        self.mapping_dropped(row, mapping);
        Ok(mapping)
    }

    /// Removes one mapping of a dead life, whose page tables are no longer used. Returns false if
    /// there is none.
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

    /// Charges a task for another handle to a memory object. Errors: NoSuchTask, QuotaFrames,
    /// BadHandle.
    pub(crate) fn memory_hold(&mut self, row: Row, id: Id<Memory>) -> Result<(), Status> {
        let memory = self.memories.get_mut(id).ok_or(Status::BadHandle)?;
        let task = self.tasks.get_mut(row)?;
        task.frames.take(Self::charge_of(memory), Status::QuotaFrames)?;
        memory.handles += 1;
        Ok(())
    }

    /// Undoes [`System::memory_hold`], and frees the object if nothing refers to it any more.
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
