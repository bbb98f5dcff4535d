//! What the tasks of the chaos system share, and what `cargo xtask chaos` needs to judge a run: the lines that are written and typed, who
//! asks whom for what, the faults, and the judges of keys, screen and counters. No system calls here, so the host tests it.
//!
//! The method is described in `docs/chaos.md`.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod client;
pub mod fault;
pub mod keys;
pub mod line;
pub mod rows;

pub use seeded::Random;

/// Requests to the task `chaos` by its clients.
pub mod label {
    /// A client has done something, or begins. Words: when it began and ended (ticks), its next line, the lines that have surely arrived.
    /// Lease 0, from the reader: what was typed. The answer's words: a [`super::order`], its argument, and a seed.
    pub const REPORT: u16 = 1;
    /// A driver gave an answer that it never gives; words as in [`REPORT`].
    pub const REFUSED: u16 = 2;
    /// The painter: the screen is not what it should be; words: 0, 0, lines missing, lines doubled.
    pub const WRONG: u16 = 3;
}

/// What `chaos` has a client do next.
pub mod order {
    /// Go on.
    pub const GO_ON: u64 = 0;
    /// Do it over from this line on; in the upper half of the argument the number of the repair.
    pub const REPEAT: u64 = 1;
    /// Come to an end.
    pub const FINISH: u64 = 2;
}

/// The drivers, and the faults that are done to them: the rows of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// The serial line.
    Serial,
    /// The keyboard.
    Keyboard,
    /// The screen.
    Vga,
}

impl Driver {
    /// All of them.
    pub const ALL: [Driver; 3] = [Driver::Serial, Driver::Keyboard, Driver::Vga];

    /// Its task's name.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::Serial => "serial",
            Driver::Keyboard => "keyboard",
            Driver::Vga => "vga",
        }
    }

    /// The task that works with it.
    pub const fn client(self) -> &'static str {
        match self {
            Driver::Serial => "writer",
            Driver::Keyboard => "reader",
            Driver::Vga => "painter",
        }
    }

    /// The driver of this name.
    pub fn named(name: &str) -> Option<Driver> {
        Driver::ALL.into_iter().find(|driver| driver.name() == name)
    }
}
