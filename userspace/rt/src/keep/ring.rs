//! Elements on their way.

use super::{Cell, Kept, Word, mix};
use abi::TaskId;

/// Elements between one who appends and one who takes, `N` at most. Appending is many stores that nobody sees and one that makes
/// them count, along with 32 bits of state of the one who appends.
#[repr(C)]
pub struct Ring<T: Word, const N: usize> {
    /// Position after the last element; in the upper half the state.
    head: Cell<u64>,
    tail: Cell<u32>,
    reserved: Cell<u32>,
    cells: [Cell<T>; N],
}

impl<T: Word, const N: usize> Ring<T, N> {
    const SIZE: u32 = {
        assert!(N.is_power_of_two() && N <= 1 << 31, "a ring's size is a power of two");
        N as u32
    };

    /// Elements in it.
    pub fn len(&self) -> u32 {
        self.head().wrapping_sub(self.tail())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more fit.
    pub fn room(&self) -> u32 {
        Self::SIZE.saturating_sub(self.len())
    }

    /// Position after the last element: how many were appended.
    pub fn head(&self) -> u32 {
        self.head.get() as u32
    }

    /// Position of the first element: how many were taken.
    pub fn tail(&self) -> u32 {
        self.tail.get()
    }

    /// What was stored with the head.
    pub fn state(&self) -> u32 {
        (self.head.get() >> 32) as u32
    }

    /// The cell of a position.
    #[inline]
    pub fn cell(&self, position: u32) -> &Cell<T> {
        // Never out of bounds, and the compiler sees it: `SIZE` is `N`, and a power of two.
        &self.cells[(position % Self::SIZE) as usize]
    }

    /// The first element.
    pub fn first(&self) -> Option<T> {
        (!self.is_empty()).then(|| self.cell(self.tail()).get())
    }

    /// Takes the first element away.
    pub fn advance(&self) {
        if !self.is_empty() {
            self.tail.put(self.tail().wrapping_add(1));
        }
    }

    /// Takes away all before this position.
    pub fn advance_to(&self, position: u32) {
        self.tail.put(position);
    }

    /// Appends what fits, and says how many that is. One store makes them count.
    pub fn push(&self, elements: &[T]) -> usize {
        let head = self.head();
        let count = elements.len().min(self.room() as usize);
        for (element, offset) in elements.iter().take(count).zip(0..) {
            self.cell(head.wrapping_add(offset)).put(*element);
        }
        self.publish(head.wrapping_add(count as u32), self.state());
        count
    }

    /// Makes count what was stored in the cells up to this position, and a new state, by one store.
    pub fn publish(&self, head: u32, state: u32) {
        self.head.put((state as u64) << 32 | head as u64);
    }
}

// SAFETY: it is made of cells, in C's layout.
unsafe impl<T: Word, const N: usize> Kept for Ring<T, N> {
    const SHAPE: u64 = mix(mix(1, T::BITS), Self::SIZE as u64);
    fn clear(&self) {
        self.head.put(0);
        self.tail.put(0);
        // The free cell of an inbox; the others are written before they count.
        self.cell(0).put(T::default());
    }
    fn is_sound(&self) -> bool {
        self.len() <= Self::SIZE
    }
}

crate::words! {
    /// Elements of a stream that were given.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Run {
        /// The position of the first: how many came before it since the first boot, modulo 2^32.
        pub first: u32,
        /// How many.
        pub count: u32,
    }
}

/// Most elements that [`Inbox::read`] gives at a time.
pub const CHUNK: usize = 256;

/// A ring whose readers number their reads: what is given stays until a read with another number shows that the answer arrived.
/// One cell is always free, and zero, for who stores an element by one instruction ([`Inbox::slot`]).
#[repr(C)]
pub struct Inbox<T: Word, const N: usize> {
    last: Cell<u64>,
    pub(super) given: Cell<u32>,
    reserved: Cell<u32>,
    pub(super) ring: Ring<T, N>,
}

impl<T: Word, const N: usize> Inbox<T, N> {
    /// The ring.
    pub fn ring(&self) -> &Ring<T, N> {
        &self.ring
    }

    /// Whether there is nothing: everything was taken, and its taking has shown.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Elements that nobody was given yet.
    pub fn unread(&self) -> u32 {
        self.ring.head().wrapping_sub(self.given.get())
    }

    /// How many more fit.
    pub fn room(&self) -> u32 {
        self.ring.room().saturating_sub(1)
    }

    /// The free cell. It is zero, and whoever fills it stores something else.
    pub fn slot(&self) -> &Cell<T> {
        self.ring.cell(self.ring.head())
    }

    /// Appends what is in [`Inbox::slot`], if anything is. Returns whether it was.
    pub fn accept(&self) -> bool {
        if self.slot().get() == T::default() || self.room() == 0 {
            return false;
        }
        let next = self.ring.head().wrapping_add(1);
        self.ring.cell(next).put(T::default());
        self.ring.publish(next, self.ring.state());
        true
    }

    /// Gives up to `capacity` elements to a reader, through `give` (number of the first, elements), and returns how many. A read with the number of
    /// the last one is given the same again, and whatever came after it; number 0 is none.
    ///
    /// # Errors
    /// Those of `give`.
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

    /// Gives up to `capacity` elements from a position on, through `give` (number of the first, elements), to a reader who keeps the position up to which it has
    /// taken them, in memory that outlives it: what lies before is dropped. Where nothing lies at that position, since another reader has taken
    /// it or an earlier life of this driver has lost it, it begins with what there is.
    ///
    /// # Errors
    /// Those of `give`.
    pub fn read_from<E>(
        &self,
        position: u32,
        capacity: usize,
        give: impl FnMut(usize, &[T]) -> Result<(), E>,
    ) -> Result<Run, E> {
        // A numbered read is not repeated by this one.
        self.last.put(0);
        if position.wrapping_sub(self.ring.tail()) <= self.ring.len() {
            // Stored before the tail: a position before the tail would be damage.
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
                *element = self.ring.cell(tail.wrapping_add(offset)).get();
            }
            give(done, &chunk[..wanted])?;
            done += wanted;
        }
        self.given.put(tail.wrapping_add(count as u32));
        Ok(count)
    }
}

// SAFETY: it is made of cells, in C's layout.
unsafe impl<T: Word, const N: usize> Kept for Inbox<T, N> {
    const SHAPE: u64 = mix(2, Ring::<T, N>::SHAPE);
    fn clear(&self) {
        self.last.put(0);
        self.given.put(0);
        self.ring.clear();
    }
    fn is_sound(&self) -> bool {
        let len = self.ring.len();
        len < Ring::<T, N>::SIZE && self.given.get().wrapping_sub(self.ring.tail()) <= len
    }
}

/// For [`Inbox::read`] and [`Inbox::read_from`] of elements that are bytes with flags above them: gives the bytes alone.
pub fn low_bytes<E>(mut give: impl FnMut(usize, &[u8]) -> Result<(), E>) -> impl FnMut(usize, &[u16]) -> Result<(), E> {
    move |offset, part| {
        let mut bytes = [0; CHUNK];
        for (byte, element) in bytes.iter_mut().zip(part) {
            *byte = *element as u8;
        }
        give(offset, &bytes[..part.len()])
    }
}
