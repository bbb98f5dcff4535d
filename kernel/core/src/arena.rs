//! Bounded storage for kernel objects, which are named by index and generation: a stale name is an
//! error and never names another object.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// The name of a `T` in an [`Arena`]: six bytes, aligned to two.
#[repr(C, packed(2))]
pub struct Id<T> {
    pub(crate) index: u16,
    pub(crate) generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The number of the slot. Two live objects never have the same.
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Byte offset of the object's slot from the first slot of the arena.
    pub(crate) const fn place(self) -> u32 {
        self.index as u32 * size_of::<Slot<T>>() as u32
    }

    /// The name of the object at byte offset [`Id::place`] with this generation.
    pub(crate) const fn at_place(place: u32, generation: u32) -> Self {
        Id::of((place / size_of::<Slot<T>>() as u32) as u16, generation)
    }

    const fn of(index: u16, generation: u32) -> Self {
        Id { index, generation, kind: PhantomData }
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        self.generation
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
        self.index() == other.index() && self.generation() == other.generation()
    }
}
impl<T> Eq for Id<T> {}
impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}.{}", self.index(), self.generation())
    }
}

/// A slot of an [`Arena`], which holds a value or is free.
#[repr(C)]
pub(crate) struct Slot<T> {
    pub(crate) value: Option<T>,
    /// Odd while there is a value. It is incremented whenever a value is inserted or removed, so no
    /// name of a value matches a free slot.
    pub(crate) generation: u32,
    next_free: u16,
}

const NONE: u16 = u16::MAX;

/// A fixed number of slots, allocated once: inserting never allocates.
pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: u16,
    live: usize,
    /// Slots beyond this have never had a value.
    touched: u16,
}

impl<T> Arena<T> {
    /// Size of the slots in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// An arena of `capacity` slots, less than 65,534.
    pub fn new(capacity: u16) -> Self {
        let slots = (0..capacity)
            .map(|i| Slot { generation: 0, value: None, next_free: if i + 1 == capacity { NONE } else { i + 1 } })
            .collect();
        Arena { slots, free: if capacity == 0 { NONE } else { 0 }, live: 0, touched: 0 }
    }

    /// Puts a value in a free slot and returns its name; `None` if no slot is free.
    pub fn insert(&mut self, value: T) -> Option<Id<T>> {
        let index = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        self.free = slot.next_free;
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = Some(value);
        self.live += 1;
        self.touched = self.touched.max(index + 1);
        Some(Id::of(index, slot.generation))
    }

    /// Whether another value fits.
    pub fn has_room(&self) -> bool {
        self.free != NONE
    }

    /// Removes a value and returns it; its name is stale from now on. `None` if the name is stale.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation())?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = id.index;
        self.live -= 1;
        Some(value)
    }

    /// Drops the value in a slot, whatever its generation; its name is stale from now on. Unlike
    /// [`Arena::remove`] it does not move the value.
    #[inline]
    pub(crate) fn clear(&mut self, index: u16) {
        if let Some(slot) = self.slots.get_mut(index as usize).filter(|s| s.value.is_some()) {
            slot.value = None;
            slot.generation = slot.generation.wrapping_add(1);
            slot.next_free = self.free;
            self.free = index;
            self.live -= 1;
        }
    }

    /// The value of this name; `None` if the name is stale.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.index as usize).filter(|s| s.generation == id.generation())?.value.as_ref()
    }

    /// The value of this name, mutable; `None` if the name is stale.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation())?.value.as_mut()
    }

    /// The values in two different slots, mutable, whatever their generations; `None` if one has no
    /// value.
    #[inline(always)]
    pub(crate) fn pair_mut(&mut self, a: u16, b: u16) -> Option<[&mut T; 2]> {
        let (low, rest) = self.slots.split_at_mut_checked(a.max(b).into())?;
        let (low, high) = (low.get_mut(usize::from(a.min(b)))?, rest.first_mut()?);
        let (first, second) = if a < b { (low, high) } else { (high, low) };
        Some([first.value.as_mut()?, second.value.as_mut()?])
    }

    /// The value in this slot, whatever its generation.
    #[inline]
    pub fn at(&self, index: u16) -> Option<&T> {
        self.slots.get(index as usize)?.value.as_ref()
    }

    /// The value in this slot, mutable, whatever its generation.
    #[inline]
    pub fn at_mut(&mut self, index: u16) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    /// The address of the first slot. No slot ever moves.
    pub fn base(&self) -> u64 {
        self.slots.as_ptr() as u64
    }

    /// The current name of the value in this slot.
    pub fn id_at(&self, index: u16) -> Option<Id<T>> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref()?;
        Some(Id::of(index, slot.generation))
    }

    /// Number of values.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// All slots that have ever held a value are below this index, so a search can end there. Freed
    /// slots are reused first: therefore it is also the most values that were ever alive at once.
    #[inline]
    pub fn touched(&self) -> u16 {
        self.touched
    }

    /// Searches at most `most` slots from `from` on for a value that `wanted` accepts. Returns
    /// whether there is one, and the index behind the last slot that was searched.
    #[inline(always)]
    pub(crate) fn find(&self, from: u16, most: u16, wanted: impl Fn(&T) -> bool) -> (bool, u16) {
        let end = from.saturating_add(most).min(self.touched);
        let mut next = from;
        for slot in self.slots.get(from as usize..).unwrap_or_default() {
            if next >= end {
                break;
            }
            next += 1;
            if slot.value.as_ref().is_some_and(&wanted) {
                return (true, next);
            }
        }
        (false, next)
    }

    /// All values, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().take(self.touched.into()).filter_map(|s| s.value.as_mut())
    }

    /// All values with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.slots.iter().take(self.touched.into()).enumerate().filter_map(|(i, s)| {
            let id = Id::of(i as u16, s.generation);
            s.value.as_ref().map(|v| (id, v))
        })
    }
}
