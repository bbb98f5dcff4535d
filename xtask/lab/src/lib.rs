//! The laboratory's half on this machine: it builds the systems of `userspace/lab`, boots them in QEMU, and judges what comes of it.
//!
//! What `userspace/lab/NAME` does inside the system, the module of that name here has done and looks at: it boots it, has the tests of
//! `cargo xtask test system` that are about it, and the command, where there is one.
//!
//! | in `userspace/lab` | here | tests | command |
//! |---|---|---|---|
//! | `conformance` | [`conformance`] | `system::MODULE`, `system::plain` | |
//! | `lifecycle-stress` | [`lifecycle_stress`] | `system::trials` | |
//! | `processor-time` | [`processor_time`] | `system::shares` | |
//! | `noisy-neighbours` | [`noisy_neighbours`] | `system::outside::hostile_programs_harm_nobody` | |
//! | `request-fuzz` | [`request_fuzz`] | `system::outside::senseless_requests_harm_no_server` | |
//! | `crash-reports` | [`crash_reports`] | `system::reports` | |
//! | `fault-injection` | [`fault_injection`] | `system::chaos` | `cargo xtask chaos` |
//! | `syscall-fuzz` | [`syscall_fuzz`] | `system::fuzz` | `cargo xtask fuzz` |
//! | `bench` | [`bench`](mod@bench) | `system::bench` | `cargo xtask bench` |
//!
//! [`matrix`] boots the conformance suite and the noisy neighbours on machines of many kinds; [`with`] does to the tasks of a crate from
//! outside (`--with DIR`) what is done to the drivers of this system.

#![warn(missing_docs)]

use ::fault_injection::Random;

pub mod bench;
pub mod conformance;
pub mod crash_reports;
pub mod fault_injection;
mod inside;
pub mod lifecycle_stress;
pub mod matrix;
pub mod noisy_neighbours;
pub mod processor_time;
pub mod request_fuzz;
pub mod syscall_fuzz;
pub mod with;

/// A run from a seed in batches of at most `most`: the seed and the count of each. The first has the seed itself, the others have seeds that
/// follow from it.
fn batches(seed: u64, count: u64, most: u64) -> Vec<(u64, u64)> {
    let mut seeds = Random::new(seed);
    let (mut left, mut batches) = (count, Vec::new());
    while left > 0 {
        let count = left.min(most);
        // Short enough to be typed.
        let seed = if batches.is_empty() { seed } else { seeds.next() >> 24 };
        batches.push((seed, count));
        left -= count;
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// What holds no program, but what those of several others have in common.
    const LIBRARY: &str = "seeded";

    #[test]
    fn every_guest_has_its_half_here() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(package.join("../../userspace/lab")).expect("the laboratory's guests");
        let names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names.iter().filter(|name| *name != LIBRARY) {
            let half = package.join("src").join(name.replace('-', "_")).with_extension("rs");
            assert!(half.is_file(), "{name} has no {}", half.display());
        }
    }
}
