//! In the supervisor's place: starts a task, hears of its death, buries it, and measures all that.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::message::bits;
use bench::{Samples, calibrate};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::println;
use rt::time::ticks;

rt::entry!(run);

/// The rows of the task table, as system.toml has them.
const POWER: usize = 1;
const SHORT: usize = 2;
const LIVES: usize = 100;

fn run() {
    calibrate::print();
    match rt::task::system_info() {
        Ok(info) => println!("result boot_to_first_task {0} {0} {0} 1 100", info.boot_ticks),
        Err(status) => println!("failed boot_to_first_task {status}"),
    }
    if let Err(status) = lives() {
        println!("failed spawn_task fault_to_supervisor {status}");
    }
    println!("done");
    if rt::task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn lives() -> Result<(), abi::Status> {
    let mut spawned = Samples::new("spawn_task", LIVES);
    let mut faulted = alloc::vec::Vec::with_capacity(LIVES);
    for _ in 0..LIVES {
        let before = ticks();
        let spawning = rt::task::spawn(SHORT, "");
        spawning?;
        Notification::own().wait(bits::TASK_EVENT);
        let record = rt::task::fault(SHORT)?;
        let heard = ticks();
        // rsi and rdi are the fifth and sixth of the registers.
        let [_, _, _, _, last, first, ..] = record.registers;
        spawned.add(first - before);
        faulted.push(heard - last);
        while rt::task::reap(SHORT)? != 0 {}
    }
    spawned.print();
    let mut samples = Samples::new("fault_to_supervisor", LIVES);
    faulted.into_iter().for_each(|ticks| samples.add(ticks));
    samples.print();
    Ok(())
}
