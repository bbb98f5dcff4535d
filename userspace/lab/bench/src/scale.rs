//! In the supervisor's place: a round trip beside more and more tasks, threads, handles and clients.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::TaskId;
use abi::error::DeathKind;
use abi::message::{Header, ReplyToken, Rights, bits};
use alloc::format;
use alloc::vec::Vec;
use bench::{Samples, calibrate, label, measure};
use rt::Status;
use rt::ipc::{Endpoint, close};
use rt::notify::Notification;
use rt::println;
use rt::thread::set_own_priority;
use rt::time::{sleep_ms, ticks};

rt::entry!(run);

/// The rows of the task table, as scale.toml has them; copies of the last follow.
const POWER: usize = 1;
const PEER: usize = 2;
const CROWD: usize = 3;
const IDLE: usize = 4;

/// Round trips that are measured at each point.
const ROUNDS: usize = 200;
/// Longer than the scheduler's period.
const PERIOD_MS: u64 = 110;
/// The task's own priority, and one behind that of all clients.
const OWN: u8 = 10;
const LAST: u8 = 30;

fn run() {
    calibrate::print();
    if let Err(status) = rt::task::spawn(PEER, "").map_err(|_| Status::NoSuchTask).and_then(|_| all()) {
        println!("failed scale {status}");
    }
    println!("done");
    if rt::task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn all() -> Result<(), Status> {
    let peer = Endpoint::peer("peer").ok_or(Status::NoSuchTask)?;
    tasks(peer)?;
    threads(peer)?;
    handles(peer)?;
    queued()
}

/// Round trips in a period of their own.
fn trips(name: &str, peer: Endpoint) {
    sleep_ms(PERIOD_MS);
    let words = [1, 2, 3, 4];
    measure(name, ROUNDS, || peer.call(label::ECHO, words).is_ok_and(|reply| reply.words == words));
}

/// With tasks that wait: this one and `peer` are two. As many as the table has rows for.
fn tasks(peer: Endpoint) -> Result<(), Status> {
    let mut lives: Vec<TaskId> = Vec::new();
    let mut measured = usize::MAX;
    let mut rows = [POWER, CROWD].into_iter().chain(IDLE..);
    for wanted in [2, 16, 64, 128, 256, 512, 1024] {
        while lives.len() + 2 < wanted {
            match rt::task::spawn(rows.next().unwrap_or(usize::MAX), "") {
                Ok(life) => lives.push(life),
                // The table has no more rows.
                Err(Status::NoSuchTask) => break,
                Err(status) => return Err(status),
            }
        }
        if alive(|info| info.tasks)? != lives.len() as u32 + 2 {
            return Err(Status::NoSuchTask);
        }
        if lives.len() + 2 < wanted && lives.len() == measured {
            break;
        }
        measured = lives.len();
        trips(&format!("tasks_{}", measured + 2), peer);
    }
    lives.into_iter().try_for_each(end)
}

/// With threads that wait.
fn threads(peer: Endpoint) -> Result<(), Status> {
    for wanted in [16, 128, 1024] {
        // This one, that of `peer`, and the one with which the task begins.
        let life = rt::task::spawn(CROWD, &format!("wait {}", wanted - 3))?;
        sleep_ms(PERIOD_MS);
        if alive(|info| info.threads)? != wanted {
            return Err(Status::QuotaObjects);
        }
        trips(&format!("threads_{wanted}"), peer);
        end(life)?;
    }
    Ok(())
}

/// With more handles in the table, by the one that was made last.
fn handles(peer: Endpoint) -> Result<(), Status> {
    let mut made: Vec<Endpoint> = Vec::new();
    for wanted in [1, 100, 10_000] {
        while made.len() < wanted {
            made.push(peer.duplicate(Rights::CALL, 0)?);
        }
        trips(&format!("handles_{wanted}"), *made.last().unwrap_or(&peer));
    }
    made.into_iter().try_for_each(|handle| close(handle.0))
}

/// Clients of another task, all of which wait at this task's endpoint. From one answer to the next request: the client that was
/// answered runs at once, being more important, and comes back to the end of the queue.
fn queued() -> Result<(), Status> {
    for clients in [1, 4, 16, 64, 256] {
        set_own_priority(LAST)?;
        let life = rt::task::spawn(CROWD, &format!("call {clients}"))?;
        sleep_ms(PERIOD_MS);
        let own = Endpoint::own().0;
        let answer = |token| rt::syscall::reply_recv(own, token, Header::new(0), [0; 4], 0, 0).map(|got| got.token);
        let mut token = answer(ReplyToken::NONE)?;
        let overhead = calibrate::pair();
        let mut samples = Samples::new(format!("queued_{clients}"), ROUNDS);
        for _ in 0..ROUNDS {
            let before = ticks();
            token = answer(token)?;
            samples.add((ticks() - before).saturating_sub(overhead));
        }
        samples.print();
        set_own_priority(OWN)?;
        end(life)?;
    }
    Ok(())
}

/// Ends a life, and waits until all that it had is free.
fn end(life: TaskId) -> Result<(), Status> {
    rt::task::kill(life, DeathKind::Killed)?;
    // Deaths are told by a bit, which may stand for several.
    Notification::own().poll(bits::TASK_EVENT);
    while rt::task::reap(life.index.into())? != 0 {}
    Ok(())
}

fn alive(what: impl Fn(&abi::task::SystemInfo) -> u32) -> Result<u32, Status> {
    rt::task::system_info().map(|info| what(&info))
}
