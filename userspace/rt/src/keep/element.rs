//! What a [`Ring`](super::Ring) has as elements.

use super::{Cell, Kept, Word};

/// An element of a [`Ring`](super::Ring) or an [`Inbox`](super::Inbox): `u8`, `u16`, `u32`, `u64`,
/// or what [`words!`](crate::words) declares, which takes 8 bytes for each of its words.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element of a ring",
    label = "not an element",
    note = "elements are `u8`, `u16`, `u32`, `u64`, and what `rt::words!` declares"
)]
pub trait Element: Sized + 'static {
    /// The cells of one element.
    type Place: Kept;
    /// A hash of the type.
    const SHAPE: u64;
    /// Whether any bit pattern is an element, so that none needs to be checked.
    const TOTAL: bool;
    /// Reads the element; `None` if the bits are none.
    fn read_from(from: &Self::Place) -> Option<Self>;
    /// Stores the element to cells that are not in use yet, in any order.
    fn write_to(&self, to: &Self::Place);
}

macro_rules! integers {
    ($($word:ty)*) => {$(
        impl Element for $word {
            type Place = Cell<$word>;
            const SHAPE: u64 = <$word as Word>::BITS;
            const TOTAL: bool = true;
            #[inline(always)]
            fn read_from(from: &Cell<$word>) -> Option<$word> {
                Some(from.get())
            }
            #[inline(always)]
            fn write_to(&self, to: &Cell<$word>) {
                to.store(*self);
            }
        }
    )*};
}

integers!(u8 u16 u32 u64);

/// Implements [`Element`] for a type that `words!` has declared.
#[doc(hidden)]
#[macro_export]
macro_rules! __element {
    ($name:ident) => {
        impl $crate::keep::Element for $name {
            type Place = [$crate::keep::Cell<u64>; (<$name as $crate::proto::Words>::BITS as usize).div_ceil(64)];
            const SHAPE: u64 = <$name as $crate::proto::Words>::SHAPE;
            const TOTAL: bool = false;
            #[inline]
            fn read_from(from: &Self::Place) -> Option<Self> {
                $crate::proto::from_words($crate::keep::load_words(from))
            }
            #[inline]
            fn write_to(&self, to: &Self::Place) {
                $crate::keep::store_words(to, $crate::proto::to_words(self));
            }
        }
    };
}
