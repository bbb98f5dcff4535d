//! Functions that cause faults: one for each kind, with a name that tells what it does, so that a
//! crash report shows it.
//!
//! A task that calls one of these dies there. If the processor raises no exception after all, the
//! function returns.
#![no_std]
#![warn(missing_docs)]

pub mod kinds;

/// A kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The kind's name, as the `fault` command takes it.
    pub name: &'static str,
    /// What the function does, in a few words.
    pub what: &'static str,
    /// The function that causes the fault.
    pub commit: fn(),
}

/// All kinds of faults.
pub const KINDS: &[Kind] = &[
    Kind { name: "null-read", what: "read from address 0", commit: kinds::read_the_null_page },
    Kind { name: "write-code", what: "overwrite an instruction", commit: kinds::write_to_code },
    Kind { name: "jump-data", what: "execute a variable", commit: kinds::execute_data },
    Kind { name: "divide", what: "divide by zero", commit: kinds::divide_by_zero },
    Kind { name: "invalid-opcode", what: "execute ud2", commit: kinds::execute_no_instruction },
    Kind { name: "port", what: "read a port that is not granted", commit: kinds::read_a_foreign_port },
    Kind { name: "cli", what: "turn interrupts off", commit: kinds::turn_interrupts_off },
    Kind { name: "kernel-read", what: "read the kernel's memory", commit: kinds::read_the_kernel },
    Kind { name: "stack-overflow", what: "recurse without end", commit: kinds::overflow_the_stack },
    Kind { name: "breakpoint", what: "execute int3", commit: kinds::hit_a_breakpoint },
    Kind { name: "alignment", what: "misaligned access with RFLAGS.AC set", commit: kinds::access_misaligned },
    Kind { name: "panic", what: "panic!", commit: kinds::give_up_with_a_panic },
];

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
