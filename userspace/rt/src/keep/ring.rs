//! Queues of elements in kept memory.

use super::{Cell, Element, Kept, Word, mix};
use abi::TaskId;

/// A queue of at most `N` elements between one writer and one reader: numbers, or structs that
/// [`words!`](crate::words) declares. `N` is a power of two. Elements are stored to cells
/// that are not in use yet; one store then appends them, together with 32 bits of state of the
/// writer.
#[repr(C)]
pub struct Ring<T: Element, const N: usize> {
    /// The position after the last element; in the upper 32 bits the writer's state.
    head: Cell<u64>,
    tail: Cell<u32>,
    reserved: Cell<u32>,
    cells: [T::Place; N],
}

impl<T: Element, const N: usize> Ring<T, N> {
    const SIZE: u32 = {
        assert!(N.is_power_of_two() && N <= 1 << 31, "a ring's size is a power of two");
        N as u32
    };

    /// The number of elements.
    pub fn len(&self) -> u32 {
        self.head().wrapping_sub(self.tail())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more elements fit.
    pub fn room(&self) -> u32 {
        Self::SIZE.saturating_sub(self.len())
    }

    /// The position after the last element: how many were appended.
    pub fn head(&self) -> u32 {
        self.head.get() as u32
    }

    /// The position of the first element: how many were removed.
    pub fn tail(&self) -> u32 {
        self.tail.get()
    }

    /// The state that was stored with the head.
    pub fn state(&self) -> u32 {
        (self.head.get() >> 32) as u32
    }

    /// The cell at a position, or the cells if the elements are structs.
    #[inline]
    pub fn cell(&self, position: u32) -> &T::Place {
        // The index is in range, which the compiler knows: `SIZE` is `N`, and a power of two.
        &self.cells[(position % Self::SIZE) as usize]
    }

    /// The first element.
    pub fn first(&self) -> Option<T> {
        if self.is_empty() { None } else { T::read_from(self.cell(self.tail())) }
    }

    /// All elements, from the first to the last; they stay in the ring.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let tail = self.tail();
        (0..self.len()).map_while(move |offset| T::read_from(self.cell(tail.wrapping_add(offset))))
    }

    /// The last element.
    pub fn last(&self) -> Option<T> {
        if self.is_empty() { None } else { T::read_from(self.cell(self.head().wrapping_sub(1))) }
    }

    /// Removes the first element.
    pub fn advance(&self) {
        if !self.is_empty() {
            self.tail.put(self.tail().wrapping_add(1));
        }
    }

    /// Removes all elements before this position.
    pub fn advance_to(&self, position: u32) {
        self.tail.put(position);
    }

    /// Appends as many elements as fit, and returns their number. One store appends them all.
    pub fn push(&self, elements: &[T]) -> usize {
        let head = self.head();
        let count = elements.len().min(self.room() as usize);
        for (element, offset) in elements.iter().take(count).zip(0..) {
            #[cfg(not(target_os = "none"))]
            super::fuse::tick_at(offset as usize, count);
            element.write_to(self.cell(head.wrapping_add(offset)));
        }
        self.publish(head.wrapping_add(count as u32), self.state());
        count
    }

    /// Appends the elements that were stored to the cells up to position `head`, and sets a new
    /// state, by one store.
    pub fn publish(&self, head: u32, state: u32) {
        self.head.put((state as u64) << 32 | head as u64);
    }
}

// SAFETY: it consists of cells and of places, which are `Kept`, in C's layout.
unsafe impl<T: Element, const N: usize> Kept for Ring<T, N> {
    const SHAPE: u64 = mix(mix(1, T::SHAPE), Self::SIZE as u64);
    fn clear(&self) {
        self.head.put(0);
        self.tail.put(0);
        // This is the free cell of an inbox; the others are written before they are in use.
        self.cell(0).clear();
    }
    fn is_sound(&self) -> bool {
        self.len() <= Self::SIZE && (T::TOTAL || self.iter().count() == self.len() as usize)
    }
}

crate::words! {
    /// Elements of a stream that were given to a reader.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Run {
        /// The position of the first: how many came before it since the first boot, modulo 2^32.
        pub first: u32,
        /// The number of elements.
        pub count: u32,
    }
}

/// The most elements that [`Inbox::read`] passes to `give` at a time.
pub const CHUNK: usize = 256;

/// A queue whose readers number their reads: elements that were given stay until a read with
/// another number shows that the reply was received. One cell is always free and zero, for code
/// that stores an element by one instruction ([`Inbox::slot`]). Elements are numbers, or `Copy` and
/// `Default` structs that [`words!`](crate::words) declares; at most [`CHUNK`] of them are on the
/// stack at a time.
#[repr(C)]
pub struct Inbox<T: Element, const N: usize> {
    last: Cell<u64>,
    pub(super) given: Cell<u32>,
    reserved: Cell<u32>,
    pub(super) ring: Ring<T, N>,
}

impl<T: Word, const N: usize> Inbox<T, N> {
    /// The free cell. It is zero, and only other values are stored to it.
    pub fn slot(&self) -> &Cell<T> {
        self.ring.cell(self.ring.head())
    }

    /// Appends the element in [`Inbox::slot`], if there is one. Returns whether there was.
    pub fn accept(&self) -> bool {
        if self.slot().get() == T::default() || self.room() == 0 {
            return false;
        }
        let next = self.ring.head().wrapping_add(1);
        self.ring.cell(next).put(T::default());
        self.ring.publish(next, self.ring.state());
        true
    }
}

impl<T: Element + Copy + Default, const N: usize> Inbox<T, N> {
    /// The queue itself.
    pub fn ring(&self) -> &Ring<T, N> {
        &self.ring
    }

    /// Whether there is no element, not even one that was given and not confirmed.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The number of elements that were not given to any reader yet.
    pub fn unread(&self) -> u32 {
        self.ring.head().wrapping_sub(self.given.get())
    }

    /// How many more elements fit.
    pub fn room(&self) -> u32 {
        self.ring.room().saturating_sub(1)
    }

    /// Appends as many elements as fit, and returns their number. One store appends them all. Not
    /// for a driver that stores elements by [`Inbox::slot`].
    pub fn push(&self, elements: &[T]) -> usize {
        let count = elements.len().min(self.room() as usize);
        if count > 0 {
            // The next free cell.
            self.ring.cell(self.ring.head().wrapping_add(count as u32)).clear();
            self.ring.push(elements.get(..count).unwrap_or_default());
        }
        count
    }

    /// Gives up to `capacity` elements to a reader by calling `give` (index of the first,
    /// elements), and returns their number. A read with the number of the last one is given the
    /// same elements again, and those that have arrived since; number 0 is never a repetition.
    ///
    /// # Errors
    /// Any error of `give`.
    pub fn read<E>(
        &self,
        task: TaskId,
        number: u64,
        capacity: usize,
        give: impl FnMut(usize, &[T]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let reader = (task.to_u32() as u64) << 32 | number as u32 as u64;
        if number == 0 || self.last.get() != reader {
            self.ring.advance_to(self.given.get());
            self.last.put(reader);
        }
        self.give(capacity, give)
    }

    /// Gives up to `capacity` elements from a position on by calling `give` (index of the first,
    /// elements), to a reader that keeps the position up to which it has taken elements in memory
    /// that outlives it. Elements before the position are removed. If there is no element at the
    /// position, since another reader has taken it or an earlier life of this driver has lost it,
    /// the run begins with the first element.
    ///
    /// # Errors
    /// Any error of `give`.
    pub fn read_from<E>(
        &self,
        position: u32,
        capacity: usize,
        give: impl FnMut(usize, &[T]) -> Result<(), E>,
    ) -> Result<Run, E> {
        // A later numbered read is not a repetition of this one.
        self.last.put(0);
        if position.wrapping_sub(self.ring.tail()) <= self.ring.len() {
            // Stored before the tail, since a position before the tail would be inconsistent.
            if self.given.get().wrapping_sub(self.ring.tail()) < position.wrapping_sub(self.ring.tail()) {
                self.given.put(position);
            }
            self.ring.advance_to(position);
        }
        let first = self.ring.tail();
        let count = self.give(capacity, give)?;
        Ok(Run { first, count: count as u32 })
    }

    fn give<E>(&self, capacity: usize, mut give: impl FnMut(usize, &[T]) -> Result<(), E>) -> Result<usize, E> {
        let tail = self.ring.tail();
        let count = (self.ring.len() as usize).min(capacity);
        let mut done = 0;
        while done < count {
            let mut chunk = [T::default(); CHUNK];
            let wanted = chunk.len().min(count - done);
            for (element, offset) in chunk.iter_mut().take(wanted).zip(done as u32..) {
                *element = T::read_from(self.ring.cell(tail.wrapping_add(offset))).unwrap_or_default();
            }
            give(done, &chunk[..wanted])?;
            done += wanted;
        }
        self.given.put(tail.wrapping_add(count as u32));
        Ok(count)
    }
}

// SAFETY: it consists of cells and of places, which are `Kept`, in C's layout.
unsafe impl<T: Element, const N: usize> Kept for Inbox<T, N> {
    const SHAPE: u64 = mix(2, Ring::<T, N>::SHAPE);
    fn clear(&self) {
        self.last.put(0);
        self.given.put(0);
        self.ring.clear();
    }
    fn is_sound(&self) -> bool {
        let len = self.ring.len();
        len < Ring::<T, N>::SIZE && self.ring.is_sound() && self.given.get().wrapping_sub(self.ring.tail()) <= len
    }
}

/// Adapts a `give` for bytes to [`Inbox::read`] and [`Inbox::read_from`] of elements that are bytes
/// with flags in the upper bits: passes on only the bytes.
pub fn low_bytes<E>(mut give: impl FnMut(usize, &[u8]) -> Result<(), E>) -> impl FnMut(usize, &[u16]) -> Result<(), E> {
    move |offset, part| {
        let mut bytes = [0; CHUNK];
        for (byte, element) in bytes.iter_mut().zip(part) {
            *byte = *element as u8;
        }
        give(offset, &bytes[..part.len()])
    }
}
