//! The macro [`kept!`](crate::kept).

/// Declares kept memory: a struct of [`Kept`](crate::keep::Kept) fields after a
/// [`Stamp`](crate::keep::Stamp), which implements [`State`](crate::keep::State) and has the
/// methods `resume`, `resume_or(new)`, `set_ready(flags)`, `flags`, `clear`, `is_sound`, `found`, `is_stamp(word)`.
///
/// `part struct` declares a field that consists of fields, without a stamp of its own.
///
/// Fields may be appended in a later version of the program; the others then keep their values.
#[macro_export]
macro_rules! kept {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[repr(C, align(8))]
        $vis struct $name {
            stamp: $crate::keep::Stamp,
            $($(#[$field_meta])* $field_vis $field: $type,)+
        }

        // An error in a field is reported here, and not only where the struct is used.
        const _: u64 = <$name as $crate::keep::Kept>::SHAPE;

        // SAFETY: a struct in C's layout has these properties if its fields have; they are `Kept`,
        // since their methods are called.
        unsafe impl $crate::keep::Kept for $name {
            const SHAPE: u64 = {
                let shapes = <Self as $crate::keep::State>::SHAPES;
                shapes[shapes.len() - 1]
            };
            fn clear(&self) {
                self.stamp.clear();
                $crate::keep::unstamped(|| $crate::keep::State::clear_from(self, 0));
            }
            fn is_sound(&self) -> bool {
                $crate::keep::State::found(self) == $crate::keep::Found::Same
            }
        }

        impl $crate::keep::State for $name {
            const SHAPES: &'static [u64] = &$crate::keep::shapes([
                $crate::keep::mix_text(0, stringify!($name)),
                $($crate::keep::mix_text(<$type as $crate::keep::Kept>::SHAPE, stringify!($field)),)+
            ]);
            fn stamp(&self) -> &$crate::keep::Stamp {
                &self.stamp
            }
            #[allow(unused_assignments)]
            fn clear_from(&self, field: usize) {
                let mut number = 0;
                $(
                    if number >= field {
                        $crate::keep::Kept::clear(&self.$field);
                    }
                    number += 1;
                )+
            }
            #[allow(unused_assignments)]
            fn is_sound_before(&self, field: usize) -> bool {
                let mut number = 0;
                $(
                    if number < field && !$crate::keep::Kept::is_sound(&self.$field) {
                        return false;
                    }
                    number += 1;
                )+
                true
            }
        }

        #[allow(dead_code)]
        impl $name {
            /// Takes over what an earlier life left, and returns whether there was a valid state;
            /// otherwise the state is reset.
            $vis fn resume(&self) -> bool {
                $crate::keep::State::resume(self)
            }

            /// Takes over what an earlier life left; if there was no valid state, starts with the
            /// values that `new` stores. Returns whether there was a valid state.
            $vis fn resume_or(&self, new: impl FnOnce(&Self)) -> bool {
                $crate::keep::State::resume_or(self, new)
            }

            /// Resets the state to empty.
            $vis fn clear(&self) {
                $crate::keep::Kept::clear(self);
            }

            /// Whether an earlier life has left a valid state: ready, and with consistent values.
            $vis fn is_sound(&self) -> bool {
                $crate::keep::Kept::is_sound(self)
            }

            /// What an earlier life left.
            $vis fn found(&self) -> $crate::keep::Found {
                $crate::keep::State::found(self)
            }

            /// Marks the state as valid, after the device was initialised: from here on a next life
            /// continues with it. `flags` are four bits to keep.
            $vis fn set_ready(&self, flags: u32) {
                let fields = <Self as $crate::keep::State>::SHAPES.len() - 1;
                self.stamp.set(fields, <Self as $crate::keep::Kept>::SHAPE, flags);
            }

            /// The flags given to `set_ready`.
            $vis fn flags(&self) -> u32 {
                self.stamp.flags()
            }

            /// Whether this word is the stamp of such memory that is ready, with any flags.
            $vis const fn is_stamp(word: u64) -> bool {
                let fields = <Self as $crate::keep::State>::SHAPES.len() - 1;
                $crate::keep::Stamp::is_of(fields, <Self as $crate::keep::Kept>::SHAPE, word)
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis part struct $name:ident { $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type,)+ }

        // SAFETY: a struct in C's layout has these properties if its fields have; they are `Kept`,
        // since their methods are called.
        unsafe impl $crate::keep::Kept for $name {
            const SHAPE: u64 = {
                let hash = 0;
                $(
                    let shape = $crate::keep::mix_text(<$type as $crate::keep::Kept>::SHAPE, stringify!($field));
                    let hash = $crate::keep::mix(hash, shape);
                )+
                hash
            };
            fn clear(&self) {
                $($crate::keep::Kept::clear(&self.$field);)+
            }
            fn is_sound(&self) -> bool {
                true $(&& $crate::keep::Kept::is_sound(&self.$field))+
            }
        }
    };
    ($($other:tt)*) => {
        ::core::compile_error!(concat!(
            "kept memory is declared as `pub struct Keep { field: Type, ... }`, or `pub part struct Part { ... }` for a part of it"
        ));
    };
}
