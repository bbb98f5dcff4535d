//! The shell: a prompt, and commands that show and control the system.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod commands;
pub mod format;
pub mod parse;
pub mod protocol;
pub mod shell;
pub mod world;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
