//! Handle tables: the 32-bit numbers by which a task names objects, with the rights that each carries.
//!
//! A handle's number holds its slot in the lower bits, as many as the table's size needs, and in the others how often the slot was used
//! before, so that a closed handle is not taken for the next one in its slot. The free slot that has been free longest is used next. So a number
//! comes back after 2^26 uses of one slot in a table of 64 handles, after 2^18 in the largest, of 16,384; of a table that is half
//! free, after some two thousand million handles.

use crate::arena::Id;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::system::Endpoint;
use crate::thread::Thread;
use crate::timer::Timer;
use abi::Status;
use abi::message::{Kind, Rights};
use alloc::vec::Vec;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An endpoint.
    Endpoint(Id<Endpoint>),
    /// A notification.
    Notification(Id<Notification>),
    /// A memory object.
    Memory(Id<Memory>),
    /// An interrupt line.
    Interrupt(u8),
    /// A timer.
    Timer(Id<Timer>),
    /// A thread of the same task.
    Thread(Id<Thread>),
    /// The system: spawning, states, logs.
    System,
}

impl Object {
    /// Its kind, as the headers of messages tell it.
    pub const fn kind(&self) -> Kind {
        match self {
            Object::Endpoint(_) => Kind::Endpoint,
            Object::Notification(_) => Kind::Notification,
            Object::Memory(_) => Kind::Memory,
            Object::Interrupt(_) => Kind::Interrupt,
            Object::Timer(_) => Kind::Timer,
            Object::Thread(_) => Kind::Thread,
            Object::System => Kind::System,
        }
    }
}

/// A handle: object, rights, badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// What it names.
    pub object: Object,
    /// What it allows.
    pub rights: Rights,
    /// Of an endpoint: what a server sees of it.
    pub badge: u32,
    /// Of a notification: the bits that can be set by it.
    pub bits: u64,
}

impl Handle {
    /// A handle without a badge, by which all bits can be set.
    pub const fn new(object: Object, rights: Rights) -> Self {
        Handle { object, rights, badge: 0, bits: u64::MAX }
    }
}

#[derive(Clone, Copy)]
struct Slot {
    uses: u32,
    next_free: u16,
    handle: Option<Handle>,
}

const NONE: u16 = u16::MAX;

/// A task's handles.
pub struct HandleTable {
    slots: Vec<Slot>,
    /// The slot that has been free longest, and the one that became free last; the others are linked between them.
    free: u16,
    last_free: u16,
    live: u16,
    quota: u16,
}

impl HandleTable {
    /// An empty table for at most `quota` handles. All the memory it will ever need is taken now.
    pub fn new(quota: u16) -> Self {
        HandleTable { slots: Vec::with_capacity(quota.into()), free: NONE, last_free: NONE, live: 0, quota }
    }

    /// Bits of a number that are the slot.
    #[inline]
    const fn slot_bits(&self) -> u32 {
        u16::BITS - self.quota.saturating_sub(1).leading_zeros()
    }

    const fn number(&self, index: u16, uses: u32) -> u32 {
        uses << self.slot_bits() | index as u32
    }

    /// Bytes of its slots.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Handles in use.
    pub fn live(&self) -> u16 {
        self.live
    }

    /// Most handles.
    pub fn quota(&self) -> u16 {
        self.quota
    }

    /// Whether another handle fits.
    pub fn has_room(&self) -> bool {
        self.live < self.quota
    }

    /// Adds a handle; returns its number. Errors: QuotaHandles.
    pub fn insert(&mut self, handle: Handle) -> Result<u32, Status> {
        if !self.has_room() {
            return Err(Status::QuotaHandles);
        }
        let index = self.free;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            self.free = slot.next_free;
            slot.handle = Some(handle);
            let uses = slot.uses;
            self.live += 1;
            return Ok(self.number(index, uses));
        }
        let index = self.slots.len() as u16;
        if !crate::push(&mut self.slots, Slot { uses: 0, next_free: NONE, handle: Some(handle) }) {
            return Err(Status::QuotaHandles);
        }
        self.live += 1;
        Ok(self.number(index, 0))
    }

    /// The slot that a number names, whether there is a handle in it or not.
    #[inline]
    pub(crate) fn slot_of(&self, number: u64) -> u64 {
        number & ((1 << self.slot_bits()) - 1)
    }

    /// The handle of this number. Errors: BadHandle.
    #[inline]
    pub fn get(&self, number: u64) -> Result<Handle, Status> {
        match self.slots.get(self.slot_of(number) as usize) {
            Some(Slot { uses, handle: Some(handle), .. }) if u64::from(*uses) == number >> self.slot_bits() => {
                Ok(*handle)
            }
            _ => Err(Status::BadHandle),
        }
    }

    /// Takes a handle out. Errors: BadHandle.
    pub fn remove(&mut self, number: u64) -> Result<Handle, Status> {
        self.get(number)?;
        let index = self.slot_of(number) as u16;
        let most = u32::MAX >> self.slot_bits();
        let slot = self.slots.get_mut(index as usize).ok_or(Status::BadHandle)?;
        let handle = slot.handle.take().ok_or(Status::BadHandle)?;
        slot.uses = slot.uses.wrapping_add(1) & most;
        slot.next_free = NONE;
        if self.free == NONE {
            self.free = index;
        } else if let Some(last) = self.slots.get_mut(self.last_free as usize) {
            last.next_free = index;
        }
        self.last_free = index;
        self.live -= 1;
        Ok(handle)
    }

    /// The number of the handle in the last slot that was ever used.
    #[cfg(test)]
    pub(crate) fn last_number(&self) -> u32 {
        self.slots.last().map_or(0, |s| self.number(self.slots.len() as u16 - 1, s.uses))
    }

    /// Whether it has no slot: it is as it was made.
    #[inline(always)]
    pub fn is_bare(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes the last slots out as long as there are handles in them of which `ends` accepts what they name. Nothing but what [`HandleTable::pop`]
    /// took out is put into a table that is being emptied.
    #[inline(always)]
    pub fn pop_while(&mut self, mut ends: impl FnMut(&Object) -> bool) {
        self.free = NONE;
        let ending = |slot: &&Slot| slot.handle.as_ref().is_some_and(|handle| ends(&handle.object));
        let count = self.slots.iter().rev().take_while(ending).count();
        self.slots.truncate(self.slots.len() - count);
        self.live -= count as u16;
    }

    /// Takes the last slot out, and the handle in it if there is one. `None` where there is no slot: the table is as it was made. Nothing but
    /// [`HandleTable::put_back`] is put into a table that is being emptied.
    #[inline]
    pub fn pop(&mut self) -> Option<Option<Handle>> {
        self.free = NONE;
        let handle = self.slots.pop()?.handle;
        self.live -= u16::from(handle.is_some());
        Some(handle)
    }

    /// Puts the handle back that [`HandleTable::pop`] has just taken out.
    pub fn put_back(&mut self, handle: Handle) {
        self.live += u16::from(crate::push(&mut self.slots, Slot { uses: 0, next_free: NONE, handle: Some(handle) }));
    }

    /// All handles with their numbers.
    #[cfg(test)]
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, Handle)> {
        let number = |(i, s): (usize, &Slot)| s.handle.map(|h| (u64::from(self.number(i as u16, s.uses)), h));
        self.slots.iter().enumerate().filter_map(number)
    }

    /// All handles.
    pub fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.slots.iter().filter_map(|s| s.handle.as_ref())
    }
}
