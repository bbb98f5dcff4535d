//! Deadlines in the past, and at the end of time.
#![cfg_attr(target_os = "none", no_std, no_main)]

use rt::notify::Notification;
use rt::time::{Timer, now_ns, sleep_ms, sleep_until};

rt::entry!(run);

const BIT: u32 = 7;

fn run() {
    let Ok(timer) = Timer::new(BIT) else { return };
    for deadline in [0, 1, now_ns(), now_ns() - 1] {
        timer.arm_at(deadline);
        Notification::own().wait(1 << BIT);
    }
    for deadline in [u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 63] {
        timer.arm_at(deadline);
        timer.arm_in_ms(deadline);
        sleep_ms(2);
        if Notification::own().poll(1 << BIT) != 0 {
            rt::println!("BROKEN: {deadline:#x} has come");
        }
    }
    for _ in 0..100_000 {
        timer.arm_at(0);
        timer.disarm();
    }
    sleep_until(0);
    rt::println!("waits for the end of time");
    sleep_ms(u64::MAX);
    rt::println!("BROKEN: the end of time has come");
}
