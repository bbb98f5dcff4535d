//! Panics at a certain time, or at once where that is over: so many of them die in the same moment.
#![cfg_attr(target_os = "none", no_std, no_main)]

use rt::notify::Notification;
use rt::time::{Timer, now_ns};

rt::entry!(run);

/// In nanoseconds since boot.
const WHEN_NS: u64 = 5_000_000_000;
const BIT: u32 = 7;

fn run() {
    if let Ok(timer) = Timer::new(BIT) {
        timer.arm_at(WHEN_NS);
        while now_ns() < WHEN_NS {
            Notification::own().wait(1 << BIT);
        }
    }
    // Many short lines, each of which costs its writer more than it is long.
    panic!("this is the end\n{}", "a\n".repeat(24));
}
