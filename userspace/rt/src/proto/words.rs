//! Encodes values in the words of a message.

use super::{mix, mix_text};
use abi::error::DeathKind;
use abi::{Status, TaskId};
use core::convert::Infallible;

/// A value that fits into four words.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not travel in the words of a message",
    label = "not a value of a protocol",
    note = "values of a protocol are `u8` to `u64`, `i8` to `i64`, `usize`, `bool`, `TaskId`, `Status`, pairs, and what `rt::words!` declares; \
            memory is lent as `&[u8]` or `&mut [u8]`, handles are passed as in `passing name: Notification[SIGNAL]`"
)]
pub trait Words: Sized {
    /// The number of bits of the value.
    const BITS: u32;
    /// Whether the value begins a new word.
    const WHOLE: bool;
    /// A hash of the layout.
    const SHAPE: u64;
    /// The type as text, for people: see [`crate::described!`].
    const TEXT: &'static str = "?";
    /// Appends the value.
    fn pack(&self, to: &mut Pack);
    /// Takes the value; `None` if the bits are not a valid value.
    fn unpack(from: &mut Unpack) -> Option<Self>;
    /// If the value is a number of bytes, limits it to `room`; other values stay the same.
    #[doc(hidden)]
    #[inline(always)]
    fn at_most(self, room: usize) -> Self {
        let _ = room;
        self
    }
}

/// The bit position of a value of this type that follows `at` bits: it is within one word if the
/// value fits there.
pub const fn place<T: Words>(at: u32) -> u32 {
    place_bits(at, T::BITS, T::WHOLE)
}

#[inline(always)]
const fn place_bits(at: u32, bits: u32, whole: bool) -> u32 {
    if whole || at % 64 + bits > 64 { at.next_multiple_of(64) } else { at }
}

/// Four words that are being filled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pack {
    words: [u64; 4],
    at: u32,
}

impl Pack {
    /// Four words of zeros.
    pub const fn new() -> Pack {
        Pack { words: [0; 4], at: 0 }
    }

    /// Continues with the next word, unless at the beginning of one.
    #[inline(always)]
    pub fn whole(&mut self) {
        self.at = self.at.next_multiple_of(64);
    }

    /// Appends a number of `bits` bits, which must not be larger.
    #[inline(always)]
    pub fn push(&mut self, bits: u32, value: u64) {
        self.at = place_bits(self.at, bits, false);
        if let Some(word) = self.words.get_mut(self.at as usize / 64) {
            *word |= value << (self.at % 64);
        }
        self.at += bits;
    }

    /// The words.
    pub const fn words(self) -> [u64; 4] {
        self.words
    }
}

/// Four words that are being decoded.
#[derive(Clone, Copy, Debug)]
pub struct Unpack {
    words: [u64; 4],
    at: u32,
}

impl Unpack {
    /// Begins to decode these words.
    pub const fn new(words: [u64; 4]) -> Unpack {
        Unpack { words, at: 0 }
    }

    /// Continues with the next word, unless at the beginning of one.
    #[inline(always)]
    pub fn whole(&mut self) {
        self.at = self.at.next_multiple_of(64);
    }

    /// Takes a number of `bits` bits.
    #[inline(always)]
    pub fn pull(&mut self, bits: u32) -> u64 {
        self.at = place_bits(self.at, bits, false);
        let word = self.words.get(self.at as usize / 64).copied().unwrap_or(0);
        let value = word >> (self.at % 64);
        self.at += bits;
        if bits < 64 { value & ((1 << bits) - 1) } else { value }
    }
}

macro_rules! scalars {
    ($($type:ty)*) => {$(
        impl Words for $type {
            const BITS: u32 = <$type>::BITS;
            const WHOLE: bool = false;
            const SHAPE: u64 = <$type>::BITS as u64;
            const TEXT: &'static str = stringify!($type);
            #[inline(always)]
            fn pack(&self, to: &mut Pack) {
                to.push(<$type>::BITS, *self as u64);
            }
            #[inline(always)]
            fn unpack(from: &mut Unpack) -> Option<Self> {
                Some(from.pull(<$type>::BITS) as $type)
            }
        }
    )*};
}

scalars!(u8 u16 u32 u64);

/// Signed numbers, as their two's complement of the same width.
macro_rules! signed {
    ($($type:ty: $bits:ty),*) => {$(
        impl Words for $type {
            const BITS: u32 = <$type>::BITS;
            const WHOLE: bool = false;
            const SHAPE: u64 = mix_text(<$type>::BITS as u64, "signed");
            const TEXT: &'static str = stringify!($type);
            #[inline(always)]
            fn pack(&self, to: &mut Pack) {
                self.cast_unsigned().pack(to);
            }
            #[inline(always)]
            fn unpack(from: &mut Unpack) -> Option<Self> {
                <$bits>::unpack(from).map(<$bits>::cast_signed)
            }
        }
    )*};
}

signed!(i8: u8, i16: u16, i32: u32, i64: u64);

impl Words for usize {
    const BITS: u32 = 64;
    const WHOLE: bool = false;
    const SHAPE: u64 = 64;
    const TEXT: &'static str = "u64";
    #[inline(always)]
    fn pack(&self, to: &mut Pack) {
        (*self as u64).pack(to);
    }
    #[inline(always)]
    fn unpack(from: &mut Unpack) -> Option<Self> {
        usize::try_from(from.pull(64)).ok()
    }
    #[inline(always)]
    fn at_most(self, room: usize) -> Self {
        self.min(room)
    }
}

impl Words for bool {
    const BITS: u32 = 1;
    const WHOLE: bool = false;
    const SHAPE: u64 = 1;
    const TEXT: &'static str = "bool";
    #[inline(always)]
    fn pack(&self, to: &mut Pack) {
        to.push(1, *self as u64);
    }
    #[inline(always)]
    fn unpack(from: &mut Unpack) -> Option<Self> {
        Some(from.pull(1) == 1)
    }
}

impl Words for () {
    const BITS: u32 = 0;
    const WHOLE: bool = false;
    const SHAPE: u64 = 0;
    const TEXT: &'static str = "()";
    fn pack(&self, _: &mut Pack) {}
    fn unpack(_: &mut Unpack) -> Option<Self> {
        Some(())
    }
}

/// The answer type of an operation that never succeeds.
impl Words for Infallible {
    const BITS: u32 = 0;
    const WHOLE: bool = false;
    const SHAPE: u64 = u64::MAX;
    const TEXT: &'static str = "never";
    fn pack(&self, _: &mut Pack) {
        match *self {}
    }
    fn unpack(_: &mut Unpack) -> Option<Self> {
        None
    }
}

impl Words for TaskId {
    const BITS: u32 = 32;
    const WHOLE: bool = false;
    const SHAPE: u64 = mix_text(32, "TaskId");
    const TEXT: &'static str = "TaskId";
    fn pack(&self, to: &mut Pack) {
        self.to_u32().pack(to);
    }
    fn unpack(from: &mut Unpack) -> Option<Self> {
        u32::unpack(from).map(TaskId::from_u32)
    }
}

impl Words for Status {
    const BITS: u32 = 32;
    const WHOLE: bool = false;
    const SHAPE: u64 = mix_text(32, "Status");
    const TEXT: &'static str = "Status";
    fn pack(&self, to: &mut Pack) {
        (*self as u32).pack(to);
    }
    fn unpack(from: &mut Unpack) -> Option<Self> {
        u32::unpack(from).and_then(Status::from_u32)
    }
}

impl Words for DeathKind {
    const BITS: u32 = 32;
    const WHOLE: bool = false;
    const SHAPE: u64 = mix_text(32, "DeathKind");
    const TEXT: &'static str = "DeathKind";
    fn pack(&self, to: &mut Pack) {
        (*self as u32).pack(to);
    }
    fn unpack(from: &mut Unpack) -> Option<Self> {
        u32::unpack(from).map(DeathKind::from_u32)
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    const BITS: u32 = {
        let at = place::<B>(A::BITS);
        at + B::BITS
    };
    const WHOLE: bool = true;
    const SHAPE: u64 = mix(A::SHAPE, B::SHAPE);
    #[inline(always)]
    fn pack(&self, to: &mut Pack) {
        to.whole();
        self.0.pack(to);
        self.1.pack(to);
    }
    #[inline(always)]
    fn unpack(from: &mut Unpack) -> Option<Self> {
        from.whole();
        Some((A::unpack(from)?, B::unpack(from)?))
    }
}

/// Declares a struct, or an enum without data, that can be passed in the words of a message
/// ([`Words`](crate::proto::Words)). Fields are in their order, each in the first word that has
/// room for all of it. An enum's numbers are literals. It can also be an element of a
/// [`Ring`](crate::keep::Ring), and the arguments of a [`Promise`](crate::keep::Promise).
#[macro_export]
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)? }
    ) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type,)+ }

        const _: u32 = <$name as $crate::proto::Words>::BITS;

        impl $crate::proto::Words for $name {
            const BITS: u32 = {
                let at = 0;
                $(let at = $crate::proto::place::<$type>(at) + <$type as $crate::proto::Words>::BITS;)+
                assert!(at <= 256, concat!("more than four words: ", stringify!($name)));
                at
            };
            const WHOLE: bool = true;
            const SHAPE: u64 = {
                let hash = 5;
                $(let hash = $crate::proto::mix($crate::proto::mix_text(hash, stringify!($field)), <$type as $crate::proto::Words>::SHAPE);)+
                hash
            };
            const TEXT: &'static str = $crate::__joined!(
                "{", $(concat!(stringify!($field), ":"), <$type as $crate::proto::Words>::TEXT, ",",)+ "}"
            );
            #[inline(always)]
            fn pack(&self, to: &mut $crate::proto::Pack) {
                to.whole();
                $($crate::proto::Words::pack(&self.$field, to);)+
            }
            #[inline(always)]
            fn unpack(from: &mut $crate::proto::Unpack) -> Option<Self> {
                from.whole();
                Some($name { $($field: $crate::proto::Words::unpack(from)?),+ })
            }
        }

        $crate::__element!($name);
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $value:literal),+ $(,)? }
    ) => {
        $(#[$meta])*
        $vis enum $name { $($(#[$variant_meta])* $variant = $value,)+ }

        impl $crate::proto::Words for $name {
            const BITS: u32 = 32;
            const WHOLE: bool = false;
            const SHAPE: u64 = {
                let hash = 6;
                $(let hash = $crate::proto::mix($crate::proto::mix_text(hash, stringify!($variant)), $value);)+
                hash
            };
            const TEXT: &'static str = concat!($(stringify!($variant), "=", stringify!($value), "|"),+);
            #[inline(always)]
            fn pack(&self, to: &mut $crate::proto::Pack) {
                to.push(32, match self { $($name::$variant => $value),+ });
            }
            #[inline(always)]
            fn unpack(from: &mut $crate::proto::Unpack) -> Option<Self> {
                match from.pull(32) {
                    $($value => Some($name::$variant),)+
                    _ => None,
                }
            }
        }

        $crate::__element!($name);
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "what travels in words is declared as `pub struct Name { field: Type, ... }` or `pub enum Name { Variant = 1, ... }`"
        );
    };
}

/// The words that encode a value.
#[inline(always)]
pub fn to_words<T: Words>(value: &T) -> [u64; 4] {
    let mut pack = Pack::new();
    value.pack(&mut pack);
    pack.words()
}

/// The value that these words encode, the inverse of [`to_words`]; `None` if it is not valid.
#[inline(always)]
pub fn from_words<T: Words>(words: [u64; 4]) -> Option<T> {
    T::unpack(&mut Unpack::new(words))
}
