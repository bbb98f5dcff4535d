//! Bounded storage for kernel objects, which are named by index and generation: a stale name is an error, never another object.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// The name of a `T` in an [`Arena`].
pub struct Id<T> {
    index: u16,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The slot. Two objects never share one at the same time.
    pub const fn index(self) -> u16 {
        self.index
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Id<T> {}
impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
    next_free: u16,
}

const NONE: u16 = u16::MAX;

/// A fixed number of slots, allocated once: inserting never allocates.
pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: u16,
    live: usize,
}

impl<T> Arena<T> {
    /// An arena of `capacity` slots, less than 65,535.
    pub fn new(capacity: u16) -> Self {
        let slots = (0..capacity)
            .map(|i| Slot { generation: 0, value: None, next_free: if i + 1 == capacity { NONE } else { i + 1 } })
            .collect();
        Arena { slots, free: if capacity == 0 { NONE } else { 0 }, live: 0 }
    }

    /// Puts a value in a free slot; `None` where there is no free slot.
    pub fn insert(&mut self, value: T) -> Option<Id<T>> {
        let index = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        self.free = slot.next_free;
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = Some(value);
        self.live += 1;
        Some(Id { index, generation: slot.generation, kind: PhantomData })
    }

    /// Whether another value fits.
    pub fn has_room(&self) -> bool {
        self.free != NONE
    }

    /// Takes a value out; its name is stale from now on.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.next_free = self.free;
        self.free = id.index;
        self.live -= 1;
        Some(value)
    }

    /// The value of this name.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.index as usize).filter(|s| s.generation == id.generation)?.value.as_ref()
    }

    /// The value of this name.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)?.value.as_mut()
    }

    /// The value in this slot, whatever its generation.
    #[inline]
    pub fn at(&self, index: u16) -> Option<&T> {
        self.slots.get(index as usize)?.value.as_ref()
    }

    /// The value in this slot, whatever its generation.
    #[inline]
    pub fn at_mut(&mut self, index: u16) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    /// The values in two slots, to change both; `None` where they are the same or one is empty.
    #[inline]
    pub fn pair_mut(&mut self, a: u16, b: u16) -> Option<(&mut T, &mut T)> {
        let [a, b] = self.slots.get_disjoint_mut([a as usize, b as usize]).ok()?;
        Some((a.value.as_mut()?, b.value.as_mut()?))
    }

    /// The present name of the value in this slot.
    pub fn id_at(&self, index: u16) -> Option<Id<T>> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref()?;
        Some(Id { index, generation: slot.generation, kind: PhantomData })
    }

    /// Values alive.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Slots.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// All values, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|s| s.value.as_mut())
    }

    /// All values with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.slots.iter().enumerate().filter_map(|(i, s)| {
            let id = Id { index: i as u16, generation: s.generation, kind: PhantomData };
            s.value.as_ref().map(|v| (id, v))
        })
    }
}
