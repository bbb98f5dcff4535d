//! The parts of a protocol that [`protocol!`](crate::protocol) uses: values in words, lent memory,
//! handles in messages, deferred replies.

pub use crate::exec::OUTCOME_CANCELLED as CANCELLED;
pub use crate::keep::{mix, mix_text};
pub use abi::message::{Kinds, MAX_LEASES, Rights, Sender};

mod client;
mod describe;
mod handles;
mod macros;
mod served;
mod server;
#[cfg(test)]
mod tests;
mod values;
mod words;

pub use client::{Ask, Failure, Numbers, Policy, Refuse, answer, call};
pub use describe::{join, length};
pub use handles::{Owned, Passable, taken};
pub use served::{Dispatch, Served};
pub use server::{Args, Asker, Call, Deferred, FromCall, In, Out, Outcome, Queue, Respond};
pub use values::{size_in_memory, to_bytes, values};
pub use words::{Pack, Unpack, Words, from_words, place, to_words};

/// Outcome in every protocol: the operation is unknown, or its arguments are not as declared.
pub const BAD_REQUEST: u16 = crate::OUTCOME_BAD_REQUEST;
/// Outcome in every protocol: lent memory has the wrong access, is too short or too long, or is not
/// accessible.
pub const BAD_LEASE: u16 = 0xfffc;
/// Outcome in every protocol: a request of the same kind by the same task already waits.
pub const BUSY: u16 = 0xfffd;
/// Label in every protocol: a request for the protocol's hash.
pub const ASK_HASH: u16 = 0xffff;

/// Whether all numbers are different.
pub const fn distinct(numbers: &[u16]) -> bool {
    let mut i = 0;
    while i < numbers.len() {
        let mut j = 0;
        while j < i {
            if numbers[i] == numbers[j] {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}
