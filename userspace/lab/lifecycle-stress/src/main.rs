//! The judge: has the supervisor's place, and tries demands that take lives by the thousand. Each trial prints one line, as the suite's do;
//! the last one done, the machine is switched off.
//!
//! The file `filter` of the boot archive, where there is one, is a part of the full names of the trials to run.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod bench;
mod cycles;
mod memory;
mod ports;
mod registers;

use bench::Outcome;
use rt::println;

rt::entry!(run);

/// A trial's name and what it does.
type Trial = (&'static str, fn() -> Outcome);

/// Every trial, in the order in which they run. `xtask/lab/src/lifecycle_stress.rs` has their names, too.
const TRIALS: &[Trial] = &[
    ("d02_a_spawns_argument", memory::spawn_arguments),
    ("d08_ports_of_others", ports::borders),
    ("d08_every_port", ports::every_port),
    ("d10_a_million_switches", registers::a_million_switches),
    ("d11_a_canary_is_found_nowhere", memory::canary),
    ("d12_ten_thousand_lives", cycles::ten_thousand_lives),
    ("d12_large_lives", cycles::large_lives),
    ("d16_a_storm_is_one_interrupt", registers::storm),
];

fn run() {
    let archive = rt::archive::Archive::map();
    let filter = archive.and_then(|archive| core::str::from_utf8(archive.file("filter")?).ok()).unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    for (name, trial) in TRIALS.iter().filter(|(name, _)| alloc::format!("system::trials::{name}").contains(filter)) {
        println!("run system::trials::{name}");
        match trial() {
            Ok(()) => {
                passed += 1;
                println!("test system::trials::{name} ... ok");
            }
            Err(reason) => {
                failed += 1;
                println!("test system::trials::{name} ... FAILED: {reason}");
            }
        }
    }
    println!("suite: {passed} passed, {failed} failed");
    if let Err(reason) = bench::switch_off() {
        println!("test system::trials::switch_off ... FAILED: {reason}");
    }
}
