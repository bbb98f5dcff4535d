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
        /// There is no such entry point in the firmware's memory.
        Absent = 1 "this machine's firmware has no SMBIOS entry point of 32 bits",
        /// The offset is not one of a cell of four bytes.
        BadOffset(offset: u64) = 2 "an offset is a multiple of 4 below 0x10000, not {offset:#x}",
    }

    // In brackets: the label, and what a client does when the driver dies over the request (here: asks again).
    /// Says where the firmware's tables are that describe the machine.
    [1 idempotent] fn find() -> Tables;

    /// Reads four bytes of the device's memory.
    [2 idempotent] fn read(offset: u64) -> u64;
}

rt::words! {
    /// What [`Client::find`] tells.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Tables {
        /// Version of the specification: 100 * major + minor.
        pub version: u64,
        /// Physical address of the first.
        pub address: u64,
        /// Bytes of all.
        pub len: u64,
        /// How many there are.
        pub count: u64,
    }
}
