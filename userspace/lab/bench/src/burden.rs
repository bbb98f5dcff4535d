//! What `latency` starts: a program nearly as large as one may be, which holds as much as a task can, and ends in every way.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[path = "latency/burden.rs"]
mod burden;

rt::entry!(run);

/// So that the program is nearly as large as one may be: memory that begins as zero.
static mut LARGE: [u8; 15 << 20] = [0; 15 << 20];

fn run() {
    core::hint::black_box(&raw const LARGE);
    burden::run()
}
