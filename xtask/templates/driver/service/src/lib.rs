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
        /// The period is not within [`device::PERIODS`].
        BadPeriod(ms: u64) = 1 "a tick takes from 10 to 60000 ms, not {ms}",
    }

    // In brackets: the label, and what a client does when the driver dies over the request (here: asks again).
    /// Says how many ticks there were and how long each takes.
    [1 idempotent] fn read() -> Reading;

    /// Sets how many milliseconds a tick takes.
    [2 idempotent] fn set_period(ms: u64);

    // `later`: the answer comes when there is one.
    /// Waits for the next tick; says how many there were.
    [3 idempotent later] fn wait() -> u64;
}

rt::words! {
    /// What [`Client::read`] tells.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Reading {
        /// Ticks so far.
        pub ticks: u64,
        /// Milliseconds for each.
        pub period_ms: u64,
    }
}
