//! Notifications, timers, threads.

use crate::support::{Background, Context, Outcome, SPARE_BIT, check, eventually, same, want_error, warm_up};
use abi::Status;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rt::notify::Notification;
use rt::syscall as sys;
use rt::time::{Timer, now_ns, sleep_ms};

const MS: u64 = 1_000_000;

/// What the clock may be late on a busy emulated machine, in milliseconds.
const LATE_MS: u64 = 500;

pub fn bits_are_taken_once() -> Outcome {
    let note = Notification::create().context("notification")?;
    same!(note.poll(u64::MAX), 0, "bits of a fresh notification");
    note.signal(0b1011).context("signal")?;
    note.signal(1 << 63).context("signal")?;
    same!(note.poll(0b10), 0b10, "one bit");
    same!(note.wait(0b11 | 1 << 63), 1 | 1 << 63, "two of three bits");
    same!(note.poll(u64::MAX), 0b1000, "what is left");
    same!(note.poll(u64::MAX), 0, "nothing more");
    want_error(note.try_wait(0), Status::BadArgument, "wait for no bit")?;
    sys::handle_close(note.0).context("close")
}

pub fn a_signal_wakes_who_waits() -> Outcome {
    let note = Notification::create().context("notification")?;
    let waiter = Background::run(move || note.try_wait(0b110))?;
    sleep_ms(30);
    note.signal(0b1).context("signal of another bit")?;
    sleep_ms(30);
    want_error(note.try_wait(0b1000), Status::Busy, "a second thread waits")?;
    note.signal(0b100).context("signal")?;
    same!(waiter.finish("the waiting thread")?, Ok(0b100), "bits that it got");
    same!(note.poll(u64::MAX), 1, "bits that it left");
    sys::handle_close(note.0).context("close")
}

pub fn time_never_goes_back() -> Outcome {
    let start = now_ns();
    let mut last = start;
    for reading in 0..100_000 {
        let now = now_ns();
        check!(now >= last, "reading {reading}: {now} after {last}");
        last = now;
    }
    check!(last > start, "it stands still");
    Ok(())
}

pub fn the_two_clocks_agree() -> Outcome {
    let before = now_ns();
    let kernel = rt::task::system_info().context("system_info")?.uptime_ns;
    let after = now_ns();
    // A tick of the kernel's own clock is a few milliseconds.
    let slack = 20 * MS;
    check!(
        (before.saturating_sub(slack)..=after + slack).contains(&kernel),
        "the kernel says {kernel}, the page {before} to {after}"
    );
    Ok(())
}

pub fn timers_are_not_early() -> Outcome {
    let note = Notification::create().context("notification")?;
    let timer = Timer::on(note, SPARE_BIT).context("timer")?;
    for ms in [0, 1, 2, 5, 10, 33, 100] {
        let start = now_ns();
        let deadline = start + ms * MS;
        timer.arm_at(deadline);
        same!(note.wait(u64::MAX), 1 << SPARE_BIT, "bits of a timer");
        let now = now_ns();
        check!(now >= deadline, "a timer of {ms} ms came {} ns early", deadline - now);
        check!(now - deadline < LATE_MS * MS, "a timer of {ms} ms came {} ms late", (now - deadline) / MS);
    }
    drop(timer);
    sys::handle_close(note.0).context("close")
}

pub fn timers_move_and_stop() -> Outcome {
    let note = Notification::create().context("notification")?;
    let timer = Timer::on(note, SPARE_BIT).context("timer")?;
    timer.arm_in_ms(30);
    timer.disarm();
    sleep_ms(60);
    same!(note.poll(u64::MAX), 0, "bits of a stopped timer");
    timer.arm_in_ms(20);
    timer.arm_in_ms(150);
    sleep_ms(60);
    same!(note.poll(u64::MAX), 0, "bits of a timer that was moved");
    same!(note.wait(u64::MAX), 1 << SPARE_BIT, "bits at its second deadline");
    timer.arm_at(0);
    same!(note.wait(u64::MAX), 1 << SPARE_BIT, "bits of a deadline in the past");
    sleep_ms(30);
    same!(note.poll(u64::MAX), 0, "bits after it fired: it fires once");
    timer.arm_at(u64::MAX);
    sleep_ms(10);
    same!(note.poll(u64::MAX), 0, "bits of a deadline at the end of time");
    want_error(sys::timer_create(note.0, 60), Status::BadArgument, "timer on bit 60")?;
    want_error(sys::timer_create(note.0, u32::MAX), Status::BadArgument, "timer on bit 2^32-1")?;
    drop(timer);
    sys::handle_close(note.0).context("close")
}

pub fn many_timers_fire_in_order() -> Outcome {
    let note = Notification::create().context("notification")?;
    // Armed out of order; 10 ms apart, which is more than a tick.
    let mut timers = alloc::vec::Vec::new();
    let start = now_ns() + 30 * MS;
    for bit in [3, 0, 4, 1, 2] {
        let timer = Timer::on(note, bit).context("timer")?;
        timer.arm_at(start + u64::from(bit) * 10 * MS);
        timers.push(timer);
    }
    let mut seen = 0;
    while seen != 0b11111 {
        let new = note.wait(u64::MAX);
        check!(new & seen == 0, "bits {new:#b} again after {seen:#b}");
        seen |= new;
        // Whatever has fired, everything with an earlier deadline has, too.
        check!((seen + 1).is_power_of_two(), "bits {seen:#b}: not in order");
    }
    drop(timers);
    sys::handle_close(note.0).context("close")
}

pub fn threads_share_memory() -> Outcome {
    let sum = Arc::new(AtomicU64::new(0));
    let threads: alloc::vec::Vec<_> = (1..=4_u64)
        .map(|value| {
            let sum = sum.clone();
            Background::run(move || {
                for _ in 0..1_000 {
                    sum.fetch_add(value, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread?.finish("a thread")?;
    }
    same!(sum.load(Ordering::Relaxed), 10_000, "sum of four threads");
    Ok(())
}

pub fn threads_leave_nothing_behind() -> Outcome {
    let me = rt::me().index.into();
    // The first one may make the heap grow.
    warm_up()?;
    let before = rt::task::status(me).context("status")?;
    for _ in 0..100 {
        Background::run(|| {})?.finish("a thread")?;
    }
    let counters = |status: abi::task::TaskStatus| [status.threads, status.objects, status.handles, status.frames];
    // The last thread says that it is done just before it ends.
    let mut after = [0; 4];
    eventually("the end of a hundred threads", 1_000, || {
        after = counters(rt::task::status(me).context("status")?);
        Ok(after[0] == before.threads)
    })?;
    same!(after, counters(before), "threads, kernel objects, handles, frames");
    Ok(())
}

pub fn priorities_have_a_ceiling() -> Outcome {
    let own = rt::info().priority as u8;
    check!(own > 0, "the suite is as important as can be");
    want_error(rt::thread::set_own_priority(own - 1), Status::Ceiling, "priority above the own")?;
    want_error(rt::thread::set_own_priority(32), Status::BadArgument, "priority 32")?;
    let thread = rt::thread::spawn(|| {}, 8, own - 1).map(drop);
    want_error(thread, Status::Ceiling, "a thread with a priority above the own")?;
    rt::thread::set_own_priority(31).context("priority 31")?;
    rt::thread::set_own_priority(own).context("the own priority")
}

/// A thread that computes for ever neither stops its equals nor one that is more important.
pub fn d09_a_spinning_thread_loses_only_its_share() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = {
        let stop = stop.clone();
        Background::run(move || {
            let mut turns = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                turns += 1;
                core::hint::spin_loop();
            }
            turns
        })?
    };
    let start = now_ns();
    let mut turns = 0_u64;
    while now_ns() - start < 300 * MS {
        turns += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let others = spinner.finish("the spinning thread")?;
    check!(turns > 0 && others > 0, "{turns} turns here, {others} there");
    Ok(())
}

pub fn registers_survive_switches() -> Outcome {
    let check = |seed: u64| move || (0..200_000_u64).find(|&i| mixed(seed, i) != expected(seed, i));
    let threads = [1, 2, 3].map(|seed| Background::run(check(seed)));
    for thread in threads {
        same!(thread?.finish("a computing thread")?, None, "first wrong result");
    }
    Ok(())
}

/// Keeps a value of its own in every register that a program may use, and folds them into one.
#[cfg(target_arch = "x86_64")]
fn mixed(seed: u64, i: u64) -> u64 {
    let mut value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i;
    // SAFETY: touches only registers that are declared.
    unsafe {
        core::arch::asm!(
            "lea rcx, [rax + 1]", "lea rdx, [rax + 2]", "lea rsi, [rax + 3]", "lea rdi, [rax + 4]",
            "lea r8, [rax + 5]", "lea r9, [rax + 6]", "lea r10, [rax + 7]", "lea r11, [rax + 8]",
            "lea r12, [rax + 9]", "lea r13, [rax + 10]", "lea r14, [rax + 11]", "lea r15, [rax + 12]",
            "add rax, rcx", "add rax, rdx", "add rax, rsi", "add rax, rdi", "add rax, r8", "add rax, r9",
            "add rax, r10", "add rax, r11", "add rax, r12", "add rax, r13", "add rax, r14", "add rax, r15",
            inout("rax") value, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            options(nomem, nostack),
        );
    }
    value
}

fn expected(seed: u64, i: u64) -> u64 {
    let value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i;
    value.wrapping_mul(13).wrapping_add(78)
}
