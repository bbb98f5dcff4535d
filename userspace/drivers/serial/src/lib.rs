//! The serial line's protocol. Bytes are for one reader: with several, each gets some of them.
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
    /// The driver, as a client sees it. Every byte goes out, or comes in, exactly once, even if the driver dies meanwhile. One thread of a
    /// task writes, and one reads (it may be another one). [`io::AsyncClient`] is for futures.
    pub protocol serial;

    refusals {
        /// No UART answers at the ports.
        NoDevice = 3 "no UART answers",
    }

    /// Sends all of `bytes`: answered when the driver has them, which may be before they are on the line. How many these are.
    [1 numbered later] fn write(bytes: &[u8]) -> usize;

    /// Takes bytes that came in, at most as many as fit into `buffer`; with `wait`, at least one. How many came.
    [2 numbered later] fn read(buffer: &mut [u8], wait: bool) -> Filled;

    /// Has `bits` set in a notification (which the caller may GRANT) whenever bytes come in, and at once where some wait. Replaces the
    /// task's last one. Holds until the driver's death: subscribe again when [`abi::message::bits::PEER`] comes.
    [3 idempotent] fn subscribe(bits: u64) passing notification: Notification[SIGNAL];

    /// The state of the line.
    [4 idempotent] fn info() -> Info;

    /// Waits until everything that the driver has accepted so far has left the UART.
    [5 idempotent later] fn flush();

    /// Has the read of this task that waits answered now, without bytes.
    [6 idempotent] fn cancel();

    /// Takes bytes that came in, from a position on, at most as many as fit into `buffer`. What lies before the position is dropped: a reader that
    /// keeps the position up to which it has taken bytes, in memory that outlives it, gets each exactly once, whoever of the two dies. Where nothing
    /// lies at that position, it begins with what there is.
    [7 idempotent] fn read_from(position: u32, buffer: &mut [u8]) -> Run;
}

rt::words! {
    /// State of the line.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Info {
        /// Bytes that came in and were given to nobody yet.
        pub unread: u32,
        /// Bytes that wait to be sent.
        pub unsent: u32,
        /// Bytes sent since the first boot, modulo 2^32.
        pub sent: u32,
        /// A UART answers.
        pub present: bool,
        /// The driver went on from an earlier life.
        pub restarted: bool,
        /// A death of the driver at any instant neither doubles nor loses a byte.
        pub exact: bool,
        /// Errors since the driver's start.
        pub errors: Errors,
    }
}
