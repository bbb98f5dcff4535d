//! Where memory objects are mapped in a task, in the order of the addresses.

use crate::memory::Mapping;
use abi::PAGE_SIZE;
use abi::task::{INFO_ADDR, MAP_BASE, STACK_TOP};
use alloc::vec::Vec;

// Mappings live between these two and never overlap.
const _: () = assert!(MAP_BASE < INFO_ADDR && INFO_ADDR < STACK_TOP);

/// The mappings of a task. A sorted list: what is asked for by address is found by halving, and the most that is ever moved or looked through is as
/// long as the quota of objects, which `docs/performance.md` measures at its largest.
#[derive(Clone, Debug)]
pub struct Mappings(Vec<Mapping>);

impl Mappings {
    /// Room for so many. It never grows.
    pub fn new(capacity: u16) -> Self {
        Mappings(Vec::with_capacity(capacity.into()))
    }

    /// Bytes of what it took of the heap.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Mapping>()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, from the lowest on.
    pub fn iter(&self) -> core::slice::Iter<'_, Mapping> {
        self.0.iter()
    }

    /// The place of the first that ends above this address.
    fn place(&self, addr: u64) -> usize {
        self.0.partition_point(|m| m.end() <= addr)
    }

    /// The one that holds this address.
    pub fn holding(&self, addr: u64) -> Option<&Mapping> {
        self.0.get(self.place(addr)).filter(|m| m.addr <= addr)
    }

    /// The one that begins at this address.
    pub fn get(&self, addr: u64) -> Option<&Mapping> {
        self.0.get(self.place(addr)).filter(|m| m.addr == addr)
    }

    /// The one that begins at this address, to change anything but its place.
    pub fn get_mut(&mut self, addr: u64) -> Option<&mut Mapping> {
        let place = self.place(addr);
        self.0.get_mut(place).filter(|m| m.addr == addr)
    }

    /// Takes the highest out.
    pub fn pop(&mut self) -> Option<Mapping> {
        self.0.pop()
    }

    /// Whether `size` bytes from an address on are a place for another mapping: whole pages, in range, and free.
    pub fn is_free(&self, addr: u64, size: u64) -> bool {
        addr >= MAP_BASE
            && addr.is_multiple_of(PAGE_SIZE as u64)
            && addr.checked_add(size).is_some_and(|end| {
                end <= INFO_ADDR && self.0.get(self.place(addr)).is_none_or(|above| end <= above.addr)
            })
    }

    /// The lowest address with room for `size` bytes, and a page before them that is in no mapping but at the very bottom.
    pub fn lowest_gap(&self, size: u64) -> u64 {
        let mut at = MAP_BASE;
        for mapping in &self.0 {
            if at.saturating_add(size) <= mapping.addr {
                break;
            }
            at = mapping.end() + PAGE_SIZE as u64;
        }
        at
    }

    /// Enters a mapping, whose place is free. False where there is no room for another.
    pub fn insert(&mut self, mapping: Mapping) -> bool {
        let room = self.0.len() < self.0.capacity();
        if room {
            self.0.insert(self.place(mapping.addr), mapping);
        }
        room
    }

    /// Takes the one out that begins at this address.
    pub fn remove(&mut self, addr: u64) -> Option<Mapping> {
        let place = self.place(addr);
        self.0.get(place).filter(|m| m.addr == addr)?;
        Some(self.0.remove(place))
    }
}
