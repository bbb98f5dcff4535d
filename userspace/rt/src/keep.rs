//! Typed kept memory: what a task's next life finds as this one left it, after any instruction.
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
//!     // The first life, or one that found rubbish: everything is empty. Set the device up, and then:
//!     keep.set_ready(0);
//! }
//! ```
//!
//! - Every store is ordered, and none is torn ([`Cell`]).
//! - A step takes effect by its last store. What was stored before it lies where nobody looks; a step that was cut short is done again.
//! - Positions count since the first boot and wrap. A place is a position modulo a size, so none leads outside, whatever is read back.
//! - The first word says that the rest makes sense ([`Stamp`]): it holds a hash of the declared layout. Fields may be appended to a
//!   declaration: the others keep what they hold. After any other change, or damage, the next life starts clean and says so.
//!
//! | field | for |
//! |---|---|
//! | [`Cell`] | one number |
//! | [`Ring`] | elements between one who appends and one who takes |
//! | [`Inbox`] | elements that come in, for readers who number their reads: each gets every element exactly once |
//! | [`LastDone`] | requests of one step, each done exactly once |
//! | [`Journal`] | requests of many steps, each step done exactly once |
//! | [`Double`] | a state that changes in many places at once |
//! | [`Blob`] | a text, or other bytes |
//!
//! On the host every store is a step of [`fuse`], so that a test ends a life before each of them, and [`damage`] changes bits.

use crate::memory::Memory;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, compiler_fence};

#[cfg(not(target_os = "none"))]
pub mod damage;
mod double;
#[cfg(not(target_os = "none"))]
pub mod fuse;
mod journal;
mod macros;
mod ring;
#[cfg(test)]
mod tests;

pub use abi::task::MAX_TASKS;
pub use double::{Blob, Bytes, Double};
pub use journal::{Begin, Journal, LastDone};
pub use ring::{CHUNK, Inbox, Ring, Run, low_bytes};

mod sealed {
    /// Of the integers alone.
    pub trait Sealed {}
}
use sealed::Sealed;

/// What fits into a [`Cell`]: `u8`, `u16`, `u32` and `u64`.
pub trait Word: Copy + Default + PartialEq + Sealed + 'static {
    /// Its atomic.
    type Atomic: 'static;
    /// Its width in bits.
    const BITS: u64;
    /// Reads it.
    fn load(from: &Self::Atomic) -> Self;
    /// Writes it.
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

/// One value. Reads are whole; stores are whole, and in the order in which they are made, also beside port accesses.
#[repr(transparent)]
pub struct Cell<T: Word>(T::Atomic);

impl<T: Word> Cell<T> {
    /// The value.
    #[inline]
    pub fn get(&self) -> T {
        T::load(&self.0)
    }

    /// Stores a value. The fences keep the compiler from moving the store across a port access, which it may take for unrelated.
    #[inline]
    pub fn put(&self, value: T) {
        #[cfg(not(target_os = "none"))]
        fuse::tick();
        compiler_fence(Ordering::SeqCst);
        T::store(&self.0, value);
        compiler_fence(Ordering::SeqCst);
    }

    /// The atomic itself, for [`Port::read16_into`](crate::port::Port::read16_into) and its like.
    pub fn atomic(&self) -> &T::Atomic {
        &self.0
    }
}

/// What kept memory is made of. [`kept!`](crate::kept) implements it for a struct of such fields.
///
/// # Safety
/// Every bit pattern is a valid value. Whatever of it changes, changes behind a shared reference (through atomics, or an `UnsafeCell`).
/// It is aligned to 8 bytes at most.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept",
    label = "not a field of kept memory",
    note = "kept memory is made of `Cell<u8|u16|u32|u64>`, `Ring`, `Inbox`, `Journal`, `LastDone`, `Double`, `Blob`, `Bytes`, arrays of \
            these, and structs that `rt::kept!` declares as `part struct`"
)]
pub unsafe trait Kept: Sized + 'static {
    /// A hash of the layout.
    const SHAPE: u64;
    /// Forgets everything.
    fn clear(&self);
    /// Whether what is read fits together.
    fn is_sound(&self) -> bool {
        true
    }
}

// SAFETY: every bit pattern is such an atomic, which may change behind a shared reference, and is aligned to its size, 8 bytes at most:
// `Word` is sealed.
unsafe impl<T: Word> Kept for Cell<T> {
    const SHAPE: u64 = T::BITS;
    fn clear(&self) {
        self.put(T::default());
    }
}

// SAFETY: an array is as its elements are.
unsafe impl<T: Kept, const N: usize> Kept for [T; N] {
    const SHAPE: u64 = mix(T::SHAPE, N as u64);
    fn clear(&self) {
        self.iter().for_each(T::clear);
    }
    fn is_sound(&self) -> bool {
        self.iter().all(T::is_sound)
    }
}

/// Takes another number into a hash (FNV-1a, a word at a time).
pub const fn mix(hash: u64, with: u64) -> u64 {
    (hash ^ with).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

/// Takes a text into a hash.
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

/// The first word of kept memory, set once the rest makes sense: in bits 0 to 3 flags of the owner's, in bits 4 to 7 the same inverted, in
/// bits 8 to 15 the number of fields, above that a hash of their layout.
#[repr(transparent)]
pub struct Stamp(Cell<u64>);

impl Stamp {
    const FLAGS: u64 = 0xf;
    const CHECK: u64 = 0xf0;

    const fn version(fields: usize, shape: u64) -> u64 {
        // Never 0, which is what the first boot finds.
        (shape ^ shape << 16) & !0xffff | 1 << 63 | (fields as u64 & 0xff) << 8
    }

    /// Whether this word is the stamp of so many fields of this layout, with any flags.
    pub const fn is_of(fields: usize, shape: u64, word: u64) -> bool {
        word & !(Self::FLAGS | Self::CHECK) == Self::version(fields, shape)
            && (word & Self::CHECK) >> 4 == !word & Self::FLAGS
    }

    /// How many fields the word speaks of.
    const fn fields(word: u64) -> usize {
        (word >> 8 & 0xff) as usize
    }

    /// Sets it.
    pub fn set(&self, fields: usize, shape: u64, flags: u32) {
        let flags = flags as u64;
        self.0.put(Self::version(fields, shape) | flags & Self::FLAGS | (!flags & Self::FLAGS) << 4);
    }

    /// The word.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// The flags.
    pub fn flags(&self) -> u32 {
        (self.get() & Self::FLAGS) as u32
    }

    /// Takes it back: nothing makes sense from here on.
    pub fn clear(&self) {
        self.0.put(0);
    }
}

/// What a life finds in kept memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing: this is the first life that came so far.
    Nothing,
    /// What the last life left.
    Same,
    /// What a life of a program with fewer fields left: so many.
    Grown(usize),
    /// It is of another layout, or the stamp is damaged.
    Other,
    /// It is of this layout, and does not fit together.
    Damaged,
}

/// The whole of a task's kept memory: a [`Stamp`] and fields. [`kept!`](crate::kept) declares it, and gives it methods of the same names.
pub trait State: Kept {
    /// The hashes of the layout's first 0, 1, 2, ... fields.
    const SHAPES: &'static [u64];

    /// Its stamp.
    fn stamp(&self) -> &Stamp;
    /// Forgets the fields from this number on.
    fn clear_from(&self, field: usize);
    /// Whether the fields before this number fit together.
    fn is_sound_before(&self, field: usize) -> bool;

    /// What is in it.
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

    /// Takes up what an earlier life left, and says whether there was anything to go on from; else everything is empty. What cannot be taken up is said.
    fn resume(&self) -> bool {
        let found = self.found();
        match found {
            Found::Same => return true,
            Found::Grown(fields) => {
                // A life that ends before the stamp finds the same again.
                self.clear_from(fields);
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
}

#[cold]
fn say(what: &str) {
    crate::println!("what was kept {what}: starting over");
}

/// The kept memory of this task as a `T`; without any, memory of its own that does not outlive it, which is said. [`State::resume`] is next.
///
/// # Panics
/// Where `T` wants more than 8 bytes' alignment.
pub fn open<T: State>() -> &'static T {
    let (memory, kept) = Memory::kept(size_of::<T>());
    if !kept {
        crate::println!(
            "no memory that outlives this task (`keep` in its table; {} pages): a restart forgets everything",
            size_of::<T>().div_ceil(abi::PAGE_SIZE)
        );
    }
    at(memory).expect("the memory is as large as the state")
}

/// A `T` in this memory; `None` where that is too small or not aligned.
pub fn at<T: Kept>(memory: &'static mut [u8]) -> Option<&'static T> {
    let place = memory.as_mut_ptr().cast::<T>();
    if memory.len() < size_of::<T>() || !place.is_aligned() {
        return None;
    }
    // SAFETY: the memory is exclusively borrowed for ever, large enough, and aligned; every bit pattern is a `T`, and what of it changes,
    // changes behind shared references (`Kept`).
    Some(unsafe { &*place })
}
