//! Typed kept memory: the next life of a task finds it as this one left it, whichever instruction
//! was the last.
//!
//! ```ignore
//! rt::kept! {
//!     /// What outlives the driver.
//!     pub struct Keep {
//!         writes: Journal<MAX_TASKS>,
//!         rx: Inbox<u16, 2048>,
//!         tx: Ring<u8, 8192>,
//!     }
//! }
//! let keep = rt::keep::open::<Keep>();
//! if !keep.resume() {
//!     // The first life, or the kept memory was invalid: everything is empty. Set the device up,
//!     // and then:
//!     keep.set_ready(0);
//! }
//! ```
//!
//! - Every store is ordered and atomic ([`Cell`]).
//! - A step takes effect with its last store. The stores before it go to cells that are not in use
//!   yet; a step that was interrupted is repeated.
//! - Positions count since the first boot and wrap. An index is a position modulo a size, so it is
//!   always in range, whatever is read back.
//! - The first word tells that the rest is valid ([`Stamp`]): it holds a hash of the declared
//!   layout. Fields may be appended to a declaration, and the others keep their values. After any
//!   other change, or damage, the next life starts with empty state and logs it.
//!
//! | field | for |
//! |---|---|
//! | [`Cell`] | one number |
//! | [`Ring`] | elements between one writer and one reader |
//! | [`Inbox`] | elements that arrive, for readers who number their reads: each gets every element exactly once |
//! | [`LastDone`] | requests of one step, each done exactly once |
//! | [`Journal`] | requests of many steps, each step done exactly once |
//! | [`Promise`] | one command, with its arguments and its data, that is promised before it is done |
//! | [`Double`] | a state that changes in many places at once |
//! | [`Blob`] | a text, or other bytes |
//!
//! On the host every store is a step of [`fuse`], so that a test can end a life before each of
//! them, and [`damage`] changes bits. What no next life reads counts fewer steps, so that large
//! states can be tested: clearing all fields is two steps, and storing a block of [`Bytes`] or the
//! elements of one [`Ring::push`] is three at most.

use crate::memory::Memory;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, compiler_fence};

#[cfg(not(target_os = "none"))]
pub mod damage;
mod double;
mod element;
#[cfg(not(target_os = "none"))]
pub mod fuse;
mod journal;
mod macros;
mod promise;
mod ring;
#[cfg(test)]
mod tests;

pub use abi::task::MAX_TASKS;
pub use double::{Blob, Bytes, Double};
pub use element::Element;
pub use journal::{Begin, Journal, LastDone, Unfinished};
pub use promise::{Pending, Promise};
pub use ring::{CHUNK, Inbox, Ring, Run, low_bytes};

mod sealed {
    /// Implemented only for the integers that [`Word`](super::Word) is for.
    pub trait Sealed {}
}
use sealed::Sealed;

/// The integers that fit into a [`Cell`]: `u8`, `u16`, `u32` and `u64`.
pub trait Word: Copy + Default + PartialEq + Sealed + Element<Place = Cell<Self>> + 'static {
    /// The atomic type of the same size.
    type Atomic: 'static;
    /// The width in bits.
    const BITS: u64;
    /// Reads the atomic.
    fn load(from: &Self::Atomic) -> Self;
    /// Writes the atomic.
    fn store(to: &Self::Atomic, value: Self);
}

macro_rules! words {
    ($($word:ty: $atomic:ty),*) => {$(
        impl Word for $word {
            type Atomic = $atomic;
            const BITS: u64 = <$word>::BITS as u64;
            #[inline(always)]
            fn load(from: &$atomic) -> $word {
                from.load(Ordering::Acquire)
            }
            #[inline(always)]
            fn store(to: &$atomic, value: $word) {
                to.store(value, Ordering::Release);
            }
        }

        impl Sealed for $word {}
    )*};
}

words!(u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64);

/// One number. Reads and stores are atomic, and stores take effect in program order, also relative
/// to port accesses.
#[repr(transparent)]
pub struct Cell<T: Word>(T::Atomic);

impl<T: Word> Cell<T> {
    /// Reads the number.
    #[inline]
    pub fn get(&self) -> T {
        T::load(&self.0)
    }

    /// Stores a number. The fences keep the compiler from moving the store across a port access,
    /// which it may regard as unrelated.
    #[inline]
    pub fn put(&self, value: T) {
        #[cfg(not(target_os = "none"))]
        fuse::tick();
        self.store(value);
    }

    #[inline(always)]
    fn store(&self, value: T) {
        compiler_fence(Ordering::SeqCst);
        T::store(&self.0, value);
        compiler_fence(Ordering::SeqCst);
    }

    /// The atomic itself, for [`Port::read16_into`](crate::port::Port::read16_into) and similar
    /// functions.
    pub fn atomic(&self) -> &T::Atomic {
        &self.0
    }
}

/// A type that kept memory can consist of. [`kept!`](crate::kept) implements it for a struct of
/// such fields.
///
/// # Safety
/// Every bit pattern must be a valid value. All changes must be made through shared references
/// (atomics, or an `UnsafeCell`). The alignment must be at most 8 bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept",
    label = "not a field of kept memory",
    note = "kept memory is made of `Cell<u8|u16|u32|u64>`, `Ring`, `Inbox`, `Journal`, `LastDone`, `Promise`, `Double`, `Blob`, \
            `Bytes`, arrays of these, and structs that `rt::kept!` declares as `part struct`"
)]
pub unsafe trait Kept: Sized + 'static {
    /// A hash of the layout.
    const SHAPE: u64;
    /// Resets the state to empty.
    fn clear(&self);
    /// Whether the values are consistent.
    fn is_sound(&self) -> bool {
        true
    }
}

// SAFETY: every bit pattern is such an atomic, which changes through shared references and is
// aligned to its size, at most 8 bytes: `Word` is sealed.
unsafe impl<T: Word> Kept for Cell<T> {
    const SHAPE: u64 = T::BITS;
    fn clear(&self) {
        self.put(T::default());
    }
}

// SAFETY: the elements of the array have these properties.
unsafe impl<T: Kept, const N: usize> Kept for [T; N] {
    const SHAPE: u64 = mix(T::SHAPE, N as u64);
    fn clear(&self) {
        self.iter().for_each(T::clear);
    }
    fn is_sound(&self) -> bool {
        self.iter().all(T::is_sound)
    }
}

/// The first words of four, one in each cell; the others are 0.
#[doc(hidden)]
pub fn load_words(from: &[Cell<u64>]) -> [u64; 4] {
    let mut words = [0; 4];
    words.iter_mut().zip(from).for_each(|(word, cell)| *word = cell.get());
    words
}

/// Stores words to cells that no next life reads before a later store. It is no step of [`fuse`].
#[doc(hidden)]
pub fn store_words(to: &[Cell<u64>], words: [u64; 4]) {
    to.iter().zip(words).for_each(|(cell, word)| cell.store(word));
}

/// Combines a hash with another number (FNV-1a, a word at a time).
pub const fn mix(hash: u64, with: u64) -> u64 {
    (hash ^ with).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

/// Combines a hash with a text.
pub const fn mix_text(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = mix(hash, bytes[at] as u64);
        at += 1;
    }
    hash
}

/// The hashes of the first 1, 2, ... of these parts.
#[doc(hidden)]
pub const fn shapes<const N: usize>(mut parts: [u64; N]) -> [u64; N] {
    let mut at = 1;
    while at < N {
        parts[at] = mix(parts[at - 1], parts[at]);
        at += 1;
    }
    parts
}

/// The first word of kept memory, which is set once the rest is valid. Bits 0 to 3 are the owner's
/// flags, bits 4 to 7 the same inverted, bits 8 to 15 the number of fields; the upper bits are a
/// hash of their layout.
#[repr(transparent)]
pub struct Stamp(Cell<u64>);

impl Stamp {
    const FLAGS: u64 = 0xf;
    const CHECK: u64 = 0xf0;

    const fn version(fields: usize, shape: u64) -> u64 {
        // Never 0, which is the value at the first boot.
        (shape ^ shape << 16) & !0xffff | 1 << 63 | (fields as u64 & 0xff) << 8
    }

    /// Whether this word is the stamp of that many fields with this layout, with any flags.
    pub const fn is_of(fields: usize, shape: u64, word: u64) -> bool {
        word & !(Self::FLAGS | Self::CHECK) == Self::version(fields, shape)
            && (word & Self::CHECK) >> 4 == !word & Self::FLAGS
    }

    /// The number of fields in a stamp.
    const fn fields(word: u64) -> usize {
        (word >> 8 & 0xff) as usize
    }

    /// Sets the stamp: the memory is valid from now on.
    pub fn set(&self, fields: usize, shape: u64, flags: u32) {
        let flags = flags as u64;
        self.0.put(Self::version(fields, shape) | flags & Self::FLAGS | (!flags & Self::FLAGS) << 4);
    }

    /// The stamp as a word.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// The owner's flags.
    pub fn flags(&self) -> u32 {
        (self.get() & Self::FLAGS) as u32
    }

    /// Clears the stamp: the memory is no longer valid.
    pub fn clear(&self) {
        self.0.put(0);
    }
}

/// What a life finds in kept memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing: no earlier life has set the stamp.
    Nothing,
    /// The state that the last life left.
    Same,
    /// The state that a program with fewer fields left; the number of its fields.
    Grown(usize),
    /// Another layout, or a damaged stamp.
    Other,
    /// This layout, but inconsistent values.
    Damaged,
}

/// The whole kept memory of a task: a [`Stamp`] and fields. [`kept!`](crate::kept) declares it, and
/// defines methods with the same names.
pub trait State: Kept {
    /// The hashes of the layout of the first 0, 1, 2, ... fields.
    const SHAPES: &'static [u64];

    /// The stamp.
    fn stamp(&self) -> &Stamp;
    /// Resets the fields from this number on.
    fn clear_from(&self, field: usize);
    /// Whether the fields before this number are consistent.
    fn is_sound_before(&self, field: usize) -> bool;

    /// What the memory holds.
    fn found(&self) -> Found {
        let word = self.stamp().get();
        let fields = Stamp::fields(word);
        match Self::SHAPES.get(fields) {
            _ if word == 0 => Found::Nothing,
            Some(shape) if Stamp::is_of(fields, *shape, word) => {
                if !self.is_sound_before(fields) {
                    Found::Damaged
                } else if fields + 1 == Self::SHAPES.len() {
                    Found::Same
                } else {
                    Found::Grown(fields)
                }
            }
            _ => Found::Other,
        }
    }

    /// Takes over what an earlier life left, and returns whether there was a valid state; otherwise
    /// the state is reset. A state that cannot be taken over is reported in the log.
    fn resume(&self) -> bool {
        let found = self.found();
        match found {
            Found::Same => return true,
            Found::Grown(fields) => {
                // If the task dies before the stamp is set, its next life finds the same state
                // again.
                unstamped(|| self.clear_from(fields));
                self.stamp().set(Self::SHAPES.len() - 1, Self::SHAPE, self.stamp().flags());
                return true;
            }
            Found::Nothing => {}
            Found::Other => say("is of another layout, or damaged"),
            Found::Damaged => say("is damaged"),
        }
        self.clear();
        false
    }

    /// Does what [`State::resume`] does; if there was no valid state, calls `new`, which stores the
    /// values to start with, and sets the stamp with flags 0. If the task dies in between, its next
    /// life does so again. Returns whether there was a valid state.
    fn resume_or(&self, new: impl FnOnce(&Self)) -> bool {
        let resumed = self.resume();
        if !resumed {
            new(self);
            self.stamp().set(Self::SHAPES.len() - 1, Self::SHAPE, 0);
        }
        resumed
    }
}

/// Runs `clear`, which changes only what no stamp says is valid. In tests its stores are two steps,
/// so that a large state has no more of them than a small one.
#[doc(hidden)]
#[inline(always)]
pub fn unstamped(clear: impl FnOnce()) {
    #[cfg(target_os = "none")]
    clear();
    #[cfg(not(target_os = "none"))]
    fuse::whole(clear);
}

#[cold]
fn say(what: &str) {
    crate::println!("what was kept {what}: starting over");
}

/// The kept memory of this task as a `T`. If the task has none, returns ordinary memory that does
/// not outlive it, and logs that. The caller then calls [`State::resume`].
///
/// # Panics
/// If `T` requires an alignment above 8 bytes.
pub fn open<T: State>() -> &'static T {
    let (memory, kept) = Memory::kept(size_of::<T>());
    if !kept {
        let kib = |bytes: usize| bytes.div_ceil(abi::PAGE_SIZE) * abi::PAGE_SIZE / 1024;
        let has = Memory::keep().and_then(|memory| memory.info().ok()).map_or(0, |info| info.pages);
        let (has, needs) = (kib(has * abi::PAGE_SIZE), kib(size_of::<T>()));
        // `cargo xtask test --with` looks for the beginning of the text.
        if has == 0 {
            crate::println!("a restart forgets everything: write `keep = \"{needs}K\"`");
        } else {
            crate::println!("a restart forgets everything: `keep` is \"{has}K\", write \"{needs}K\"");
        }
    }
    at(memory).expect("the memory is as large as the state")
}

/// The kept memory of this task as a `T`, ready to be used: opens it, takes over what an earlier
/// life left, and if that is no valid state, starts with the values that `new` stores
/// ([`State::resume_or`]).
///
/// ```
/// rt::kept! {
///     pub struct Keep {
///         count: rt::keep::Cell<u64>,
///         hz: rt::keep::Cell<u32>,
///     }
/// }
/// let keep = rt::keep::open_or(|keep: &Keep| keep.hz.put(100));
/// assert_eq!((keep.count.get(), keep.hz.get()), (0, 100));
/// ```
///
/// # Panics
/// If `T` requires an alignment above 8 bytes.
pub fn open_or<T: State>(new: impl FnOnce(&T)) -> &'static T {
    let keep = open::<T>();
    keep.resume_or(new);
    keep
}

/// A `T` in this memory; `None` if the memory is too small, or not aligned.
pub fn at<T: Kept>(memory: &'static mut [u8]) -> Option<&'static T> {
    let place = memory.as_mut_ptr().cast::<T>();
    if memory.len() < size_of::<T>() || !place.is_aligned() {
        return None;
    }
    // SAFETY: the memory is exclusively borrowed permanently, large enough, and aligned; every bit
    // pattern is a `T`, and all changes are made through shared references (`Kept`).
    Some(unsafe { &*place })
}
