//! Bounded storage for kernel objects, which are named by index and generation: a stale name is an
//! error and never names another object.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// The name of a `T` in an [`Arena`]: eight bytes, aligned to two. The lower 16 bits are the index
/// of the slot, the upper 48 its generation.
#[repr(C, packed(2))]
pub struct Id<T> {
    name: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The slot. Two live objects never have the same.
    #[inline(always)]
    pub const fn index(self) -> Index<T> {
        Index::new(self.name as u16)
    }

    /// Byte offset of the object's slot from the first slot of the arena.
    pub(crate) const fn place(self) -> u32 {
        self.index().number as u32 * size_of::<Slot<T>>() as u32
    }

    /// The name as a number.
    #[inline(always)]
    pub(crate) const fn name(self) -> u64 {
        self.name
    }

    /// The name with this number.
    #[inline(always)]
    pub(crate) const fn of(name: u64) -> Self {
        Id { name, kind: PhantomData }
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
        self.name() == other.name()
    }
}
impl<T> Eq for Id<T> {}
impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}.{}", self.index().number, self.name() >> INDEX_BITS)
    }
}

/// The number of a slot of an [`Arena`], whatever value it holds: two bytes. It is kept instead of
/// a name where the value is not removed meanwhile, such as the endpoint at which a thread waits.
#[repr(transparent)]
pub struct Index<T> {
    number: u16,
    kind: PhantomData<fn() -> T>,
}

impl<T> Index<T> {
    /// The slot with this number.
    #[inline(always)]
    pub const fn new(number: u16) -> Self {
        Index { number, kind: PhantomData }
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.number
    }

    #[inline(always)]
    const fn at(self) -> usize {
        self.number as usize
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Index<T> {}
impl<T> PartialEq for Index<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Index<T> {}
impl<T> PartialOrd for Index<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Index<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}
impl<T> core::hash::Hash for Index<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}
impl<T> core::fmt::Display for Index<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.number.fmt(f)
    }
}
impl<T> core::fmt::Debug for Index<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// A slot of an [`Arena`], which holds a value or is free.
#[repr(C)]
pub(crate) struct Slot<T> {
    pub(crate) value: Option<T>,
    /// The [`Id::name`] of the value. Where there is none, the lower 16 bits are the index of the
    /// next free slot instead of this one's. The generation is odd while there is a value, and is
    /// incremented whenever one is inserted or removed, so no name of a value matches a free slot.
    pub(crate) name: u64,
}

/// Number of low bits of a name that are an index.
const INDEX_BITS: u32 = u16::BITS;
/// The last generation of a slot that has a value. A slot of which a value was removed with it is
/// not used again, so no name recurs. At a million values a second in one slot, that is after four
/// years.
const LAST: u64 = u64::MAX >> INDEX_BITS;

impl<T> Slot<T> {
    /// The name of the next value in this slot, whose index is `index`.
    #[inline(always)]
    const fn next(&self, index: u16) -> u64 {
        ((self.name >> INDEX_BITS) + 1) << INDEX_BITS | index as u64
    }

    /// Makes the slot, from which a value has been removed, the first of the free ones. Returns
    /// false if it is used up.
    #[inline(always)]
    fn retire(&mut self, free: u16) -> bool {
        let used_up = self.name >> INDEX_BITS == LAST;
        // Of a slot that is used up, the generation is even as that of any free one.
        self.name = if used_up { (LAST - 1) << INDEX_BITS | NONE as u64 } else { self.next(free) };
        !used_up
    }
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
            .map(|i| Slot { value: None, name: u64::from(if i + 1 == capacity { NONE } else { i + 1 }) })
            .collect();
        Arena { slots, free: if capacity == 0 { NONE } else { 0 }, live: 0, touched: 0 }
    }

    /// Puts a value in a free slot and returns its name; `None` if no slot is free.
    pub fn insert(&mut self, value: T) -> Option<Id<T>> {
        let index = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        self.free = slot.name as u16;
        slot.name = slot.next(index);
        slot.value = Some(value);
        self.live += 1;
        self.touched = self.touched.max(index + 1);
        Some(Id::of(slot.name))
    }

    /// Lets the free slots have this generation, as if they had been used so often.
    #[cfg(test)]
    pub(crate) fn age(&mut self, generation: u64) {
        for slot in self.slots.iter_mut().filter(|s| s.value.is_none()) {
            slot.name = (generation & !1) << INDEX_BITS | slot.name & u64::from(u16::MAX);
        }
    }

    /// Whether another value fits.
    pub fn has_room(&self) -> bool {
        self.free != NONE
    }

    /// Removes a value and returns it; its name is stale from now on. `None` if the name is stale.
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.index().at()).filter(|s| s.name == id.name())?;
        let value = slot.value.take()?;
        if slot.retire(self.free) {
            self.free = id.index().number;
        }
        self.live -= 1;
        Some(value)
    }

    /// Drops the value in a slot, whatever its generation; its name is stale from now on. Unlike
    /// [`Arena::remove`] it does not move the value.
    #[inline]
    pub(crate) fn clear(&mut self, index: Index<T>) {
        if let Some(slot) = self.slots.get_mut(index.at()).filter(|s| s.value.is_some()) {
            slot.value = None;
            if slot.retire(self.free) {
                self.free = index.number;
            }
            self.live -= 1;
        }
    }

    /// The value of this name; `None` if the name is stale.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.index().at()).filter(|s| s.name == id.name())?.value.as_ref()
    }

    /// The value of this name, mutable; `None` if the name is stale.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.slots.get_mut(id.index().at()).filter(|s| s.name == id.name())?.value.as_mut()
    }

    /// The values in two different slots, mutable, whatever their generations; `None` if one has no
    /// value.
    #[inline(always)]
    pub(crate) fn pair_mut(&mut self, a: Index<T>, b: Index<T>) -> Option<[&mut T; 2]> {
        let (a, b) = (a.number, b.number);
        let (low, rest) = self.slots.split_at_mut_checked(a.max(b).into())?;
        let (low, high) = (low.get_mut(usize::from(a.min(b)))?, rest.first_mut()?);
        let (first, second) = if a < b { (low, high) } else { (high, low) };
        Some([first.value.as_mut()?, second.value.as_mut()?])
    }

    /// The value in this slot, whatever its generation.
    #[inline]
    pub fn at(&self, index: Index<T>) -> Option<&T> {
        self.slots.get(index.at())?.value.as_ref()
    }

    /// The value in this slot, mutable, whatever its generation.
    #[inline]
    pub fn at_mut(&mut self, index: Index<T>) -> Option<&mut T> {
        self.slots.get_mut(index.at())?.value.as_mut()
    }

    /// The address of the first slot. No slot ever moves.
    pub fn base(&self) -> u64 {
        self.slots.as_ptr() as u64
    }

    /// The current name of the value in this slot.
    pub fn id_at(&self, index: Index<T>) -> Option<Id<T>> {
        let slot = self.slots.get(index.at())?;
        slot.value.as_ref()?;
        Some(Id::of(slot.name))
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
        self.slots.iter().take(self.touched.into()).filter_map(|s| s.value.as_ref().map(|v| (Id::of(s.name), v)))
    }
}
