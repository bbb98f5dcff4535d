//! Arrays of values in lent memory, where one value is as many words of 8 bytes as it takes in a
//! message.

use super::server::{In, Out};
use super::words::{Words, from_words, to_words};
use abi::Status;
use alloc::vec::Vec;

/// The number of bytes of one value in lent memory: 8 for each word, at most 32.
pub const fn size_in_memory<T: Words>() -> usize {
    T::BITS.div_ceil(64) as usize * WORD
}

/// Bytes in a word.
const WORD: usize = size_of::<u64>();

/// The bytes of one value, in an array with room for the largest.
fn encoded<T: Words>(value: &T) -> [u8; 4 * WORD] {
    let mut bytes = [0; 4 * WORD];
    let words = to_words(value).map(u64::to_le_bytes);
    bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
    bytes
}

/// The values as bytes, to be lent as `&[u8]`; the server reads them by [`In::values`].
pub fn to_bytes<T: Words>(values: &[T]) -> Vec<u8> {
    values.iter().flat_map(|value| encoded(value).into_iter().take(size_in_memory::<T>())).collect()
}

/// The values in these bytes, which a server has written by [`Out::write_values`]: up to the first
/// that is not valid. Bytes after the last whole value are left out.
pub fn values<T: Words>(bytes: &[u8]) -> impl Iterator<Item = T> + '_ {
    bytes.chunks_exact(size_in_memory::<T>().max(1)).map_while(|bytes| {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        from_words(words)
    })
}

impl Out {
    /// How many values of this type fit into the memory.
    pub fn room_for<T: Words>(&self) -> usize {
        self.len() as usize / size_in_memory::<T>().max(1)
    }

    /// Copies values to the memory, the first of them to the place of value number `first`, and
    /// returns the number of bytes that are filled then, for an answer `Filled`. The client reads
    /// them by [`values`].
    ///
    /// ```
    /// # use rt::proto::{Asker, In, Out, values};
    /// # use rt::keep::Ring;
    /// rt::words! {
    ///     /// A key.
    ///     #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    ///     pub struct Key { pub code: u8, pub moved: i32 }
    /// }
    /// rt::protocol! {
    ///     /// A keyboard.
    ///     pub protocol keys;
    ///     refusals {}
    ///     /// The keys that were pressed, at most as many as fit.
    ///     [1 idempotent] fn pressed(keys: &mut [u8]) -> Filled;
    /// }
    /// struct Keyboard(Vec<Key>);
    /// impl Server for Keyboard {
    ///     fn pressed(&mut self, _: Asker, keys: Out) -> Result<usize, Refusal> {
    ///         let count = self.0.len().min(keys.room_for::<Key>());
    ///         keys.write_values(0, &self.0[..count]).map_err(|_| Refusal::BadLease)
    ///     }
    /// }
    /// let mut keyboard = Keyboard(vec![Key { code: 30, moved: -1 }; 5]);
    /// rt::fake::fake_peer(rt::ipc::Endpoint(7), move |request| Ok(dispatch(&mut keyboard, request)));
    /// let mut room = [0; 3 * rt::proto::size_in_memory::<Key>()];
    /// let filled = Client::new(rt::ipc::Endpoint(7)).pressed(&mut room)?;
    /// let keys: Vec<Key> = values(&room[..filled]).collect();
    /// assert_eq!(keys, [Key { code: 30, moved: -1 }; 3]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Out::write_all`]; [`Status::LeaseBounds`] if they do not fit.
    pub fn write_values<T: Words>(&self, first: usize, values: &[T]) -> Result<usize, Status> {
        let size = size_in_memory::<T>();
        let mut at = first.checked_mul(size).ok_or(Status::LeaseBounds)?;
        // As many at a time as 512 bytes have room for.
        for some in values.chunks((16 * 4 * WORD).checked_div(size).unwrap_or(1)) {
            let (mut bytes, mut filled) = ([0; 16 * 4 * WORD], 0);
            for (to, value) in bytes.chunks_exact_mut(size.max(1)).zip(some) {
                to.iter_mut().zip(encoded(value)).for_each(|(to, from)| *to = from);
                filled += size;
            }
            self.write_all(at, bytes.get(..filled).unwrap_or_default())?;
            at += filled;
        }
        Ok(at)
    }
}

impl In {
    /// Copies all values that a client has lent as [`to_bytes`] gives them: up to the first that is
    /// not valid. Their number is within the bounds that the operation declares.
    ///
    /// # Errors
    /// The errors of [`In::to_vec`].
    pub fn values<T: Words>(&self) -> Result<Vec<T>, Status> {
        self.to_vec().map(|bytes| values(&bytes).collect())
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "not all parts of the protocol are used")]
mod tests {
    use super::super::{Asker, In, Out};
    use super::*;
    use crate::fake::fake_peer;
    use crate::ipc::Endpoint;
    use alloc::vec;

    crate::words! {
        /// Two words.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Pair { pub kind: Kind, pub moved: i64 }
    }
    crate::words! {
        /// No value is 0.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { Odd = 1, Even = 2 }
    }
    crate::protocol! {
        /// Turns pairs round.
        protocol turner;
        refusals {
            /// There is no room.
            Full = 1 "full",
        }
        /// Writes the pairs in the opposite order.
        [1 idempotent] fn turn(pairs: &[u8], turned: &mut [u8]) -> Filled;
    }

    struct Turner;

    impl Server for Turner {
        fn turn(&mut self, _: Asker, pairs: In, turned: Out) -> Result<usize, Refusal> {
            let mut pairs: Vec<Pair> = pairs.values().map_err(|_| Refusal::BadLease)?;
            pairs.reverse();
            if pairs.len() > turned.room_for::<Pair>() {
                return Err(Refusal::Full);
            }
            // In two parts, as a ring gives them.
            let (first, second) = pairs.split_at(pairs.len() / 3);
            turned.write_values(0, first).map_err(|_| Refusal::BadLease)?;
            turned.write_values(first.len(), second).map_err(|_| Refusal::BadLease)
        }
    }

    #[test]
    fn arrays_of_values_go_both_ways() {
        fake_peer(Endpoint(79), |request| Ok(dispatch(&mut Turner, request)));
        let client = Client::new(Endpoint(79));
        for count in [0, 1, 2, 3, 40, 100] {
            let pair = |number: i64| Pair { kind: [Kind::Even, Kind::Odd][number as usize % 2], moved: -number };
            let pairs: Vec<_> = (0..count).map(pair).collect();
            let bytes = to_bytes(&pairs);
            assert_eq!(bytes.len(), pairs.len() * 16);
            // Three bytes more than there are values for.
            let mut room = vec![0xff; bytes.len() + 3];
            assert_eq!(client.turn(&bytes, &mut room), Ok(bytes.len()));
            let turned: Vec<Pair> = values(&room[..bytes.len()]).collect();
            assert!(turned.iter().rev().eq(&pairs), "{turned:?}");
            assert_eq!(room[bytes.len()..], [0xff; 3]);
        }
        let bytes = to_bytes(&[Pair { kind: Kind::Odd, moved: 1 }; 3]);
        assert_eq!(client.turn(&bytes, &mut [0; 47]), Err(Error::Refused(Refusal::Full)));
        // What is no value ends the array.
        assert_eq!(client.turn(&[0; 16], &mut [0; 64]), Ok(0));
        assert_eq!(values::<Pair>(&[bytes.as_slice(), &[0; 16], &bytes].concat()).count(), 3);
    }
}
