//! The kernel without assembly on the way of a message but what saves, restores and switches: `main.rs`, built with the feature `plain` under a name of
//! its own, so that nothing takes it for the real one.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[path = "main.rs"]
#[allow(unused_attributes, reason = "the file is the root of the real kernel")]
mod real;

#[cfg(not(target_os = "none"))]
fn main() {
    real::main();
}
