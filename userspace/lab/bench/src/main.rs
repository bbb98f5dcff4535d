//! The client: measures one operation after the other, and prints the samples.
//!
//! The argument, where there is one, is a part of the names of what to measure.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::message::bits;
use bench::{DOORBELL_BIT, Samples, WARM, calibrate, label, mark, measure, measure_checked};
use rt::ipc::{Endpoint, Kind, Loan, close};
use rt::notify::Notification;
use rt::println;
use rt::time::ticks;
use supervisor::Supervisor;

rt::entry!(run);

/// Samples of a short operation, and of one that takes a timer's or a driver's help.
const MANY: usize = 2000;
const FEW: usize = 100;
const LIVES: usize = 20;
/// Instructions between two readings of the counter in a loop of ten: less than any interrupt takes, and more than the loop.
const GAP: u64 = 20;
/// Longer than the scheduler's period.
const PERIOD_MS: u64 = 110;

/// An operation's names, as the results have them, and what measures them.
type Bench = fn() -> Result<(), &'static str>;

fn run() {
    calibrate::print();
    let all: [(&str, Bench); 9] = [
        ("poll_empty_notification", poll),
        ("ipc_cross_0w ipc_cross_4w", ipc_cross),
        ("ipc_same_4w", ipc_same),
        ("ipc_cross_512b_both lease_4096b", leases),
        ("notify_wake", wake),
        ("irq_to_driver", interrupt),
        ("yield_switch", yields),
        ("turn_end", turn),
        ("driver_restart", restart),
    ];
    let wanted = rt::arg();
    for (names, bench) in all.iter().filter(|(names, _)| names.contains(wanted)) {
        // A new period, with a budget that nobody has touched.
        rt::time::sleep_ms(PERIOD_MS);
        if let Err(reason) = bench() {
            println!("failed {names} {reason}");
        }
    }
    println!("done");
    if let Some(power) = Endpoint::peer("power") {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn poll() -> Result<(), &'static str> {
    let own = Notification::own();
    measure("poll_empty_notification", MANY, || own.poll(bits::FREE_MASK));
    Ok(())
}

fn peer(name: &str) -> Result<Endpoint, &'static str> {
    Endpoint::peer(name).ok_or("there is no such peer")
}

fn ipc_cross() -> Result<(), &'static str> {
    let peer = peer("peer")?;
    measure_checked("ipc_cross_0w", MANY, || peer.call(label::ECHO, [0; 4]).is_ok(), |done| done);
    let words = [1, 2, 3, 4];
    let call = || peer.call(label::ECHO, words).map(|reply| reply.words);
    measure_checked("ipc_cross_4w", MANY, call, |reply| reply == Ok(words));
    Ok(())
}

/// The server is a thread of this task.
fn ipc_same() -> Result<(), &'static str> {
    let endpoint = Endpoint::create().map_err(|_| "no endpoint")?;
    let server = rt::thread::spawn(move || bench::echo(endpoint), 4, 10).map_err(|_| "no thread")?;
    let words = [1, 2, 3, 4];
    let call = || endpoint.call(label::ECHO, words).map(|reply| reply.words);
    measure_checked("ipc_same_4w", MANY, call, |reply| reply == Ok(words));
    let stopped = endpoint.call(label::YIELD, [0; 4]).map_err(|_| "the server does not stop");
    server.join();
    let _ = close(endpoint.0);
    stopped.map(drop)
}

fn leases() -> Result<(), &'static str> {
    let peer = peer("peer")?;
    let (out, mut back) = ([5; 512], [0; 512]);
    measure("ipc_cross_512b_both", MANY, || {
        peer.call_with(label::EXCHANGE, [0; 4], &mut [Loan::Read(&out), Loan::Write(&mut back)]).is_ok()
    });
    if back != out {
        return Err("other bytes came back");
    }
    let page = [7; 4096];
    let mut taken = 0;
    measure("lease_4096b", MANY, || {
        taken = peer.call_with(label::TAKE, [0; 4], &mut [Loan::Read(&page)]).map_or(0, |reply| reply.words[0]);
    });
    if taken == 4096 { Ok(()) } else { Err("not all was read") }
}

fn wake() -> Result<(), &'static str> {
    let peer = peer("peer")?;
    let reply = peer.call_for(Kind::Notification, label::DOORBELL, [0; 4], &mut []);
    let handle = reply.ok().and_then(|reply| reply.handle).ok_or("no doorbell")?;
    let mut samples = Samples::new("notify_wake", MANY);
    for round in 0..MANY {
        if round == WARM {
            mark("notify_wake");
        }
        let before = ticks();
        Notification(handle.number).signal(DOORBELL_BIT).map_err(|_| "no signal")?;
        samples.add(woken(peer)? - before);
    }
    samples.print();
    let _ = close(handle.number);
    Ok(())
}

/// When the server was woken last.
fn woken(server: Endpoint) -> Result<u64, &'static str> {
    server.call(label::WOKEN, [0; 4]).map(|reply| reply.words[0]).map_err(|_| "the server does not answer")
}

/// Reads the counter until it jumps: somebody else ran. Returns the last reading before that.
fn until_a_gap(end: u64) -> Option<(u64, u64)> {
    let mut last = ticks();
    while last < end {
        let now = ticks();
        if now - last > GAP {
            return Some((last, now));
        }
        last = now;
    }
    None
}

fn interrupt() -> Result<(), &'static str> {
    let line = peer("line")?;
    let mut samples = Samples::new("irq_to_driver", FEW);
    for round in 0..FEW {
        if round == FEW / 2 {
            mark("irq_to_driver");
        }
        let armed = line.call(label::ARM, [0; 4]).map_err(|_| "the driver does not answer")?.words[0];
        let mut end = ticks() + 2_000_000;
        // A timer tick is a gap too: the right one is that in which the driver ran.
        while let Some((before, after)) = until_a_gap(end) {
            let woken = woken(line)?;
            if (before..after).contains(&woken) && woken > armed {
                samples.add(woken - before);
                end = 0;
            }
        }
    }
    samples.print();
    Ok(())
}

fn yields() -> Result<(), &'static str> {
    let turns = peer("turns")?;
    // More turns than are measured: the other's last one must not fall among them.
    let count = MANY as u64 + 100;
    turns.call(label::YIELD, [count, 10, 0, 0]).map_err(|_| "no answer")?;
    let overhead = calibrate::pair();
    let mut samples = Samples::new("yield_switch", MANY);
    for round in 0..MANY {
        if round == WARM {
            mark("yield_switch");
        }
        let before = ticks();
        rt::syscall::yield_now();
        // There and back: two switches.
        samples.add((ticks() - before - overhead) / 2);
    }
    samples.print();
    for _ in 0..200 {
        rt::syscall::yield_now();
    }
    Ok(())
}

/// With nobody else to run and no timer that is due, what the end of its turn takes from the running thread.
fn turn() -> Result<(), &'static str> {
    let round = {
        let mut last = ticks();
        let mut least = u64::MAX;
        for _ in 0..100 {
            let now = ticks();
            least = least.min(now - last);
            last = now;
        }
        least
    };
    let mut samples = Samples::new("turn_end", FEW);
    for _ in 0..FEW {
        // No interrupt within that long: none comes.
        let lost = until_a_gap(ticks() + 20_000_000).map_or(0, |(before, after)| after - before - round);
        samples.add(lost);
    }
    samples.print();
    Ok(())
}

fn restart() -> Result<(), &'static str> {
    let supervisor = Supervisor::peer().ok_or("no supervisor")?;
    let serial = driver_serial::Client::new(peer("serial")?);
    let mut samples = Samples::new("driver_restart", LIVES);
    for _ in 0..LIVES {
        let before = ticks();
        supervisor.kill_named("serial").map_err(|_| "the supervisor refuses")?;
        let info = serial.info().map_err(|_| "the next life does not answer")?;
        samples.add(ticks() - before);
        if !info.restarted {
            return Err("it was not restarted");
        }
    }
    samples.print();
    Ok(())
}
