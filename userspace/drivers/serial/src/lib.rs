//! The serial line's protocol. Only one client should read: with several, each gets some of the
//! bytes.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod device;
pub mod io;
pub mod keep;
#[cfg(test)]
mod model;
#[cfg(test)]
mod same_on_qemu;
pub mod task;
#[cfg(test)]
mod task_tests;
#[cfg(test)]
mod tests;
pub mod writes;

use device::Errors;
use rt::keep::Run;
use rt::notify::Notification;

rt::protocol! {
    /// The serial driver's requests. Every byte is sent, or received, exactly once, even if the
    /// driver dies meanwhile. One thread of a task writes, and one reads (it may be another one).
    /// [`io::AsyncClient`] is for futures.
    pub protocol serial;

    refusals {
        /// No UART answers at the ports.
        NoDevice = 3 "no UART answers",
    }

    /// Sends all of `bytes`, and returns their number when the driver has them, which may be before
    /// they are on the line.
    [1 numbered later] fn write(bytes: &[u8]) -> usize;

    /// Takes received bytes, at most as many as fit into `buffer`; with `wait`, waits for at least
    /// one. Returns their number.
    [2 numbered later] fn read(buffer: &mut [u8], wait: bool) -> Filled;

    /// Subscribes: `bits` are set in a notification (which the caller may GRANT) whenever bytes
    /// come in, and at once if some wait. Replaces the task's previous subscription. Ends with the
    /// driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    [3 idempotent] fn subscribe(bits: u64) passing notification: Notification[SIGNAL];

    /// State of the line.
    [4 idempotent] fn info() -> Info;

    /// Waits until all bytes that the driver has accepted so far have left the UART.
    [5 idempotent later] fn flush();

    /// Ends the waiting read of this task at once, without bytes.
    [6 idempotent] fn cancel();

    /// Takes received bytes from a position on, at most as many as fit into `buffer`. The bytes
    /// before the position are dropped: a reader that keeps the position up to which it has taken
    /// bytes, in memory that outlives it, gets each exactly once, whichever of reader and driver
    /// dies. If there is no byte at that position, begins with the oldest byte.
    [7 idempotent] fn read_from(position: u32, buffer: &mut [u8]) -> Run;
}

rt::words! {
    /// State of the line.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Info {
        /// Bytes that were received and given to no client yet.
        pub unread: u32,
        /// Bytes that wait to be sent.
        pub unsent: u32,
        /// Bytes sent since the first boot, modulo 2^32.
        pub sent: u32,
        /// Whether a UART answers.
        pub present: bool,
        /// Whether the driver continued from an earlier life.
        pub restarted: bool,
        /// Whether no byte is doubled or lost if the driver dies, at any instant.
        pub exact: bool,
        /// Errors since the driver's start.
        pub errors: Errors,
    }
}
