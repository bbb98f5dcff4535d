//! The `{{name}}` driver's protocol: what a client can ask, and [`Client`], which asks it.
//!
//! Client and server are made of this one declaration, so that they cannot drift apart. In the shell: `call {{name}} 1`.
#![no_std]
#![forbid(unsafe_code)]

pub mod device;

rt::protocol! {
    /// The driver, as a client sees it.
    pub protocol {{crate}} = "{{name}}";

    // Why a request is not done. `Busy`, `BadLease`, `BadRequest` and some others are there already.
    refusals {
        /// The device cannot interrupt at this rate: not a power of two within [`device::RATES`].
        BadRate(hz: u64) = 1 "the rate is a power of two from 2 to 1024 Hz, not {hz}",
    }

    // In brackets: the label, and what a client does when the driver dies over the request (here: asks again).
    /// Says how many interrupts there were, and at which rate they come.
    [1 idempotent] fn read() -> Reading;

    /// Sets how many times a second the device interrupts.
    [2 idempotent] fn set_rate(hz: u64);

    // `later`: the answer comes when there is one.
    /// Waits for the next interrupt; says how many there were.
    [3 idempotent later] fn wait() -> u64;
}

rt::words! {
    /// What [`Client::read`] tells.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Reading {
        /// Interrupts so far.
        pub interrupts: u64,
        /// Interrupts a second.
        pub hz: u64,
    }
}
