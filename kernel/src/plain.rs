//! The kernel without assembly in the path of a message, except for saving and loading registers
//! and switching: `main.rs`, built with the feature `plain` under a name of its own, so that
//! nothing uses it in place of the real kernel.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[path = "main.rs"]
#[allow(unused_attributes, reason = "the file is the root of the real kernel")]
mod real;

#[cfg(not(target_os = "none"))]
fn main() {
    real::main();
}
