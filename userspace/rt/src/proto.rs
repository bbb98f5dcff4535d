//! What [`protocol!`](crate::protocol) is made of: values in words, memory lent, handles passed, replies owed.

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
mod words;

pub use client::{Ask, Failure, Numbers, Policy, Refuse, answer, call};
pub use describe::{join, length};
pub use handles::{Owned, Passable, taken};
pub use served::{Dispatch, Served};
pub use server::{Args, Asker, Call, FromCall, In, Out, Outcome, Owed, Queue, Respond};
pub use words::{Pack, Unpack, Words, from_words, place, to_words};

/// Outcome of every protocol: the operation is unknown, or has other arguments than these.
pub const BAD_REQUEST: u16 = crate::OUTCOME_BAD_REQUEST;
/// Outcome of every protocol: memory is lent for another use than the operation's, is too short or too long, or cannot be reached.
pub const BAD_LEASE: u16 = 0xfffc;
/// Outcome of every protocol: a request of the same kind of this task waits already.
pub const BUSY: u16 = 0xfffd;
/// Label of every protocol: asks for the protocol's hash.
pub const ASK_HASH: u16 = 0xffff;

/// Whether no number is there twice.
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
