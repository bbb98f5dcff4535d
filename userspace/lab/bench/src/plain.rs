//! What `latency` starts where a small program does: otherwise the same as `burden`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[path = "latency/burden.rs"]
mod burden;

rt::entry!(run);

fn run() {
    burden::run()
}
