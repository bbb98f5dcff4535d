//! Handle tables: the 32-bit numbers by which a task names objects, with the rights that each
//! carries.
//!
//! The lower bits of a handle's number, as many as the size of the table needs, are its slot. The
//! upper bits count how often the slot was used before, so that a closed handle is not mistaken for
//! the next one in its slot. The slot that has been free longest is used next. So a number recurs
//! after 2^26 uses of one slot in a table of 64 handles, and after 2^18 in the largest table, of
//! 16,384; in a table that is half free, after about two thousand million handles.

use crate::arena::Id;
use crate::endpoint::Endpoint;
use crate::lines::Line;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::number::HandleNumber;
use crate::thread::Thread;
use crate::timer::Timer;
use abi::Status;
use abi::message::{Kind, Rights};
use alloc::vec::Vec;

/// The number of a handle that was just added to a table. It has 32 bits, so that a `Result` with
/// it takes eight bytes.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewHandle(u32);

impl NewHandle {
    /// The number by which the task names the handle.
    #[inline(always)]
    pub const fn number(self) -> HandleNumber {
        HandleNumber::from_register(self.0 as u64)
    }

    /// The number, as messages and tables of 32-bit numbers hold it.
    #[inline(always)]
    pub const fn to_u32(self) -> u32 {
        self.0
    }
}

/// The object that a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An endpoint.
    Endpoint(Id<Endpoint>),
    /// A notification.
    Notification(Id<Notification>),
    /// A memory object.
    Memory(Id<Memory>),
    /// An interrupt line.
    Interrupt(Line),
    /// A timer.
    Timer(Id<Timer>),
    /// A thread of the same task.
    Thread(Id<Thread>),
    /// The system: rights to spawn, to query states, to read logs.
    System,
}

impl Object {
    /// The kind of the object, as message headers encode it.
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

/// A handle: an object, rights, and a badge or bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The object that the handle names.
    pub object: Object,
    /// The operations that the handle allows.
    pub rights: Rights,
    /// For an endpoint: the badge that the server is told with each message; 0 for none.
    pub badge: u32,
    /// For a notification: the bits that can be set through the handle.
    pub bits: u64,
}

impl Handle {
    /// A handle without a badge, through which all bits can be set.
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

/// The handles of a task.
pub struct HandleTable {
    slots: Vec<Slot>,
    /// The slot that has been free longest. The free slots are linked from it to `last_free`, the
    /// one that was freed last.
    free: u16,
    last_free: u16,
    live: u16,
    quota: u16,
}

impl HandleTable {
    /// An empty table for at most `quota` handles. It allocates all the memory that it will ever
    /// need.
    pub fn new(quota: u16) -> Self {
        HandleTable { slots: Vec::with_capacity(quota.into()), free: NONE, last_free: NONE, live: 0, quota }
    }

    /// The number of low bits of a handle's number that are the slot.
    #[inline]
    const fn slot_bits(&self) -> u32 {
        u16::BITS - self.quota.saturating_sub(1).leading_zeros()
    }

    const fn number(&self, index: u16, uses: u32) -> NewHandle {
        NewHandle(uses << self.slot_bits() | index as u32)
    }

    /// Size of the slots in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The number of handles in use.
    pub fn live(&self) -> u16 {
        self.live
    }

    /// The most handles that the table may hold.
    pub fn quota(&self) -> u16 {
        self.quota
    }

    /// Whether the table has room for another handle.
    pub fn has_room(&self) -> bool {
        self.live < self.quota
    }

    /// Adds a handle; returns its number. Errors: QuotaHandles.
    pub fn insert(&mut self, handle: Handle) -> Result<NewHandle, Status> {
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
    pub(crate) fn slot_of(&self, number: HandleNumber) -> u64 {
        number.to_u64() & ((1 << self.slot_bits()) - 1)
    }

    /// The handle of this number. Errors: BadHandle.
    #[inline]
    pub fn get(&self, number: HandleNumber) -> Result<Handle, Status> {
        match self.slots.get(self.slot_of(number) as usize) {
            Some(Slot { uses, handle: Some(handle), .. })
                if u64::from(*uses) == number.to_u64() >> self.slot_bits() =>
            {
                Ok(*handle)
            }
            _ => Err(Status::BadHandle),
        }
    }

    /// Removes a handle and returns it. Errors: BadHandle.
    pub fn remove(&mut self, number: HandleNumber) -> Result<Handle, Status> {
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

    /// The number of the handle in the highest slot that was ever used.
    #[cfg(test)]
    pub(crate) fn last_number(&self) -> HandleNumber {
        self.slots
            .last()
            .map_or(HandleNumber::from_register(0), |s| self.number(self.slots.len() as u16 - 1, s.uses).number())
    }

    /// Whether the table has no slots, as when it was made.
    #[inline(always)]
    pub fn is_bare(&self) -> bool {
        self.slots.is_empty()
    }

    /// Removes slots from the end while they hold handles whose objects `ends` accepts. This begins
    /// to empty the table: afterwards only [`HandleTable::put_back`] may add a handle.
    #[inline(always)]
    pub fn pop_while(&mut self, mut ends: impl FnMut(&Object) -> bool) {
        self.free = NONE;
        let ending = |slot: &&Slot| slot.handle.as_ref().is_some_and(|handle| ends(&handle.object));
        let count = self.slots.iter().rev().take_while(ending).count();
        self.slots.truncate(self.slots.len() - count);
        self.live -= count as u16;
    }

    /// Removes the last slot and returns the handle in it, if any; `None` if the table has no
    /// slots. This begins to empty the table: afterwards only [`HandleTable::put_back`] may add a
    /// handle.
    #[inline]
    pub fn pop(&mut self) -> Option<Option<Handle>> {
        self.free = NONE;
        let handle = self.slots.pop()?.handle;
        self.live -= u16::from(handle.is_some());
        Some(handle)
    }

    /// Puts back the handle that [`HandleTable::pop`] has just removed.
    pub fn put_back(&mut self, handle: Handle) {
        self.live += u16::from(crate::push(&mut self.slots, Slot { uses: 0, next_free: NONE, handle: Some(handle) }));
    }

    /// All handles with their numbers.
    #[cfg(test)]
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (HandleNumber, Handle)> {
        let number = |(i, s): (usize, &Slot)| s.handle.map(|h| (self.number(i as u16, s.uses).number(), h));
        self.slots.iter().enumerate().filter_map(number)
    }

    /// All handles.
    pub fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.slots.iter().filter_map(|s| s.handle.as_ref())
    }
}
