//! Arms all the timers it can have, all for the same moment, again and again.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use rt::notify::Notification;
use rt::time::{Timer, now_ns};

rt::entry!(run);

const BIT: u32 = 7;

fn run() {
    let timers: Vec<Timer> = core::iter::from_fn(|| Timer::new(BIT).ok()).collect();
    loop {
        let moment = now_ns() + 3_000_000;
        timers.iter().for_each(|timer| timer.arm_at(moment));
        Notification::own().wait(1 << BIT);
    }
}
