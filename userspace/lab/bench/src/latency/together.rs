//! Several things at once, each of which alone takes the kernel long.

use super::{BURDEN, IDLE, LATER, PERIOD_MS, PLAIN, finish, timers};
use abi::TaskId;
use abi::error::DeathKind;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use rt::ipc::close;
use rt::time::sleep_ms;
use rt::{Status, syscall, task};

/// Threads of a task that spins: more than a death releases at once.
const SPINNERS: u32 = 900;

/// Timers are due while every task of a full table has threads that wait for its next slice.
pub fn all_spin() -> Result<(), Status> {
    let mut lives = Vec::new();
    for row in IDLE.. {
        match task::spawn(row, "spin 6") {
            Ok(life) => lives.push(life),
            Err(Status::NoSuchTask) => break,
            Err(status) => return Err(status),
        }
    }
    lives.push(task::spawn(BURDEN, &format!("spin {SPINNERS}"))?);
    sleep_ms(4 * PERIOD_MS);
    timers()?;
    lives.into_iter().try_for_each(finish)
}

/// Timers are due while many threads are dead that were ready.
pub fn dead_spinners() -> Result<(), Status> {
    let life = task::spawn(BURDEN, &format!("spin {SPINNERS}"))?;
    sleep_ms(4 * PERIOD_MS);
    task::kill(life, DeathKind::Killed)?;
    timers()?;
    reaped(life)
}

/// A thread does long system calls in steps, while more important ones die that were ready, and what it has freed is garbage.
pub fn steps_and_deaths() -> Result<(), Status> {
    static ENDS: AtomicBool = AtomicBool::new(false);
    let steps = || {
        while !ENDS.load(Ordering::Relaxed) {
            let made = [false, true].map(|contiguous| syscall::memory_create(200, contiguous));
            for memory in made.into_iter().flatten() {
                let _ = close(memory);
            }
        }
    };
    let thread = rt::thread::spawn(steps, 8, LATER)?;
    for spinners in 44..72 {
        let life = task::spawn(PLAIN, &format!("spin {spinners}"))?;
        // Its slice is not used up yet, so all of them are ready.
        sleep_ms(2);
        task::kill(life, DeathKind::Killed)?;
        sleep_ms(1);
        reaped(life)?;
        sleep_ms(PERIOD_MS);
    }
    ENDS.store(true, Ordering::Relaxed);
    thread.join();
    Ok(())
}

fn reaped(life: TaskId) -> Result<(), Status> {
    while task::reap(life.index.into())? != 0 {}
    Ok(())
}
