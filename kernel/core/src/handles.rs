//! Handle tables: the small integers by which a task names objects, with the rights that each carries.
//!
//! A handle's number holds its slot (lower 16 bits) and how often the slot was used before (upper 16 bits), so that a closed
//! handle is not taken for the next one in its slot.

use crate::arena::Id;
use crate::memory::Memory;
use crate::notify::Notification;
use crate::system::Endpoint;
use crate::thread::Thread;
use crate::timer::Timer;
use abi::Status;
use abi::message::Rights;
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

/// A handle: object, rights, badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// What it names.
    pub object: Object,
    /// What it allows.
    pub rights: Rights,
    /// What a server sees of it.
    pub badge: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    uses: u16,
    next_free: u16,
    handle: Option<Handle>,
}

const NONE: u16 = u16::MAX;

/// A task's handles.
pub struct HandleTable {
    slots: Vec<Slot>,
    free: u16,
    live: u16,
    quota: u16,
}

impl HandleTable {
    /// An empty table for at most `quota` handles. All the memory it will ever need is taken now.
    pub fn new(quota: u16) -> Self {
        HandleTable { slots: Vec::with_capacity(quota.into()), free: NONE, live: 0, quota }
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
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let index = self.free;
            self.free = slot.next_free;
            slot.handle = Some(handle);
            self.live += 1;
            return Ok(u32::from(slot.uses) << 16 | u32::from(index));
        }
        let index = self.slots.len() as u32;
        if !crate::push(&mut self.slots, Slot { uses: 0, next_free: NONE, handle: Some(handle) }) {
            return Err(Status::QuotaHandles);
        }
        self.live += 1;
        Ok(index)
    }

    /// The handle of this number. Errors: BadHandle.
    #[inline]
    pub fn get(&self, number: u64) -> Result<Handle, Status> {
        match self.slots.get((number & 0xffff) as usize) {
            Some(Slot { uses, handle: Some(handle), .. }) if u64::from(*uses) == number >> 16 => Ok(*handle),
            _ => Err(Status::BadHandle),
        }
    }

    /// Takes a handle out. Errors: BadHandle.
    pub fn remove(&mut self, number: u64) -> Result<Handle, Status> {
        self.get(number)?;
        let index = (number & 0xffff) as u16;
        let slot = self.slots.get_mut(index as usize).ok_or(Status::BadHandle)?;
        let handle = slot.handle.take().ok_or(Status::BadHandle)?;
        slot.uses = slot.uses.wrapping_add(1);
        slot.next_free = self.free;
        self.free = index;
        self.live -= 1;
        Ok(handle)
    }

    /// Takes any handle out, until there is none.
    pub fn pop(&mut self) -> Option<Handle> {
        while let Some(slot) = self.slots.pop() {
            if let Some(handle) = slot.handle {
                self.live -= 1;
                return Some(handle);
            }
        }
        self.free = NONE;
        None
    }

    /// All handles with their numbers.
    #[cfg(test)]
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, Handle)> {
        let number = |i: usize, s: &Slot| (u64::from(s.uses) << 16 | i as u64, s.handle);
        self.slots.iter().enumerate().map(move |(i, s)| number(i, s)).filter_map(|(n, h)| h.map(|h| (n, h)))
    }

    /// All handles.
    pub fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.slots.iter().filter_map(|s| s.handle.as_ref())
    }
}
