//! Functions that cause faults: one for each kind, with a name that tells what it does, so that a
//! crash report shows it.
//!
//! A task that calls one of these dies there. If the processor raises no exception after all, the
//! function returns.
#![no_std]
#![warn(missing_docs)]

pub mod kinds;

pub use kinds::{KINDS, Kind};

/// The names of [`KINDS`], in the same order.
pub const NAMES: [&str; KINDS.len()] = {
    let (mut names, mut kind) = ([""; KINDS.len()], 0);
    while kind < names.len() {
        names[kind] = KINDS[kind].name;
        kind += 1;
    }
    names
};

/// The kind with this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_name() {
        for (i, expected) in KINDS.iter().enumerate() {
            assert_eq!(kind(expected.name).map(|found| found.what), Some(expected.what));
            assert!(KINDS[..i].iter().all(|other| other.name != expected.name), "{} stands twice", expected.name);
        }
        assert!(kind("").is_none() && kind("nul").is_none());
    }

    #[test]
    #[should_panic(expected = "the task was asked to panic")]
    fn the_panic_says_why() {
        kinds::give_up_with_a_panic();
    }
}
