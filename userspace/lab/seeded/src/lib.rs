//! What systems in which everything follows from a seed have in common: the numbers, what the host tells a run, and whether all came back.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod leaks;
pub mod random;
pub mod told;

pub use random::Random;
