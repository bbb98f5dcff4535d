//! Prints what could look like another task's line: see `lies`.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[path = "lies.rs"]
mod lies;

rt::entry!(run);

fn run() {
    lies::all(|text| rt::print!("{text}"));
}
