//! The mappings of memory objects in a task, in the order of their addresses.

use crate::addr::UserAddr;
use crate::memory::Mapping;
use abi::PAGE_SIZE;
use abi::task::{INFO_ADDR, MAP_BASE, STACK_TOP};
use alloc::vec::Vec;

// Mappings lie from `MAP_BASE` to `INFO_ADDR` and never overlap.
const _: () = assert!(MAP_BASE < INFO_ADDR && INFO_ADDR < STACK_TOP);

/// The mappings of a task: a list sorted by address. A lookup is a binary search. Insertion and
/// removal move at most as many entries as the quota of objects allows; `docs/performance.md` has
/// measurements with the largest quota.
#[derive(Clone, Debug)]
pub struct Mappings(Vec<Mapping>);

impl Mappings {
    /// A list with room for `capacity` mappings; it never grows.
    pub fn new(capacity: u16) -> Self {
        Mappings(Vec::with_capacity(capacity.into()))
    }

    /// Size of the list in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Mapping>()
    }

    /// The number of mappings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no mapping.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All mappings, in ascending order of their addresses.
    pub fn iter(&self) -> core::slice::Iter<'_, Mapping> {
        self.0.iter()
    }

    /// The position of the first mapping that ends above this address.
    fn place(&self, addr: UserAddr) -> usize {
        self.0.partition_point(|m| m.end() <= addr)
    }

    /// The mapping that contains this address.
    pub fn holding(&self, addr: UserAddr) -> Option<&Mapping> {
        self.0.get(self.place(addr)).filter(|m| m.addr <= addr)
    }

    /// The mapping that begins at this address.
    pub fn get(&self, addr: UserAddr) -> Option<&Mapping> {
        self.0.get(self.place(addr)).filter(|m| m.addr == addr)
    }

    /// The mapping that begins at this address, mutable; its address and size must stay.
    pub fn get_mut(&mut self, addr: UserAddr) -> Option<&mut Mapping> {
        let place = self.place(addr);
        self.0.get_mut(place).filter(|m| m.addr == addr)
    }

    /// Removes the mapping with the highest address and returns it.
    pub fn pop(&mut self) -> Option<Mapping> {
        self.0.pop()
    }

    /// Whether a mapping of `size` bytes may be placed at an address: page-aligned, in range, and
    /// overlapping no other.
    pub fn is_free(&self, addr: UserAddr, size: u64) -> bool {
        addr.number() >= MAP_BASE
            && addr.is_aligned(PAGE_SIZE as u64)
            && addr.checked_plus(size).is_some_and(|end| {
                end.number() <= INFO_ADDR && self.0.get(self.place(addr)).is_none_or(|above| end <= above.addr)
            })
    }

    /// The lowest address of a gap of `size` bytes, at `MAP_BASE` or with an unmapped page before
    /// it.
    pub fn lowest_gap(&self, size: u64) -> UserAddr {
        let mut at = UserAddr::new(MAP_BASE);
        for mapping in &self.0 {
            if at.checked_plus(size).is_some_and(|end| end <= mapping.addr) {
                break;
            }
            at = mapping.end().plus(PAGE_SIZE as u64);
        }
        at
    }

    /// Adds a mapping, whose addresses must be free. Returns false if the list is full.
    pub fn insert(&mut self, mapping: Mapping) -> bool {
        let room = self.0.len() < self.0.capacity();
        if room {
            self.0.insert(self.place(mapping.addr), mapping);
        }
        room
    }

    /// Removes the mapping that begins at this address and returns it.
    pub fn remove(&mut self, addr: UserAddr) -> Option<Mapping> {
        let place = self.place(addr);
        self.0.get(place).filter(|m| m.addr == addr)?;
        Some(self.0.remove(place))
    }
}
