//! What the executor and `rt::sync` cost, beside a call that blocks.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec;
use bench::{Samples, WARM, calibrate, label, measure, measure_checked};
use core::cell::RefCell;
use rt::exec::{Exec, Lend, join_all};
use rt::ipc::Endpoint;
use rt::println;
use rt::sync::{AsyncMutex, Mutex, channel};
use rt::time::ticks;

rt::entry!(run);

/// Samples of each.
const MANY: usize = 400;
/// Calls under way at once.
const AT_ONCE: u64 = 8;
/// Longer than the scheduler's period: what is measured next has a budget that nobody has touched.
const PERIOD_MS: u64 = 110;
/// A bit that nobody sets.
const NEVER: u64 = 1 << 40;
const WORDS: [u64; 4] = [1, 2, 3, 4];

fn run() {
    calibrate::print();
    let done = blocking().and_then(|()| rt::exec::run(futures)).and_then(|()| threads());
    if let Err(reason) = done {
        println!("failed async {reason}");
    }
    println!("done");
    if let Some(power) = Endpoint::peer("power") {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn peer(name: &str) -> Result<Endpoint, &'static str> {
    Endpoint::peer(name).ok_or("there is no such peer")
}

/// Calls that block, to a server that is callbacks and to one that is futures; a lock that is free.
fn blocking() -> Result<(), &'static str> {
    let (peer, served) = (peer("peer")?, peer("served")?);
    for (name, server, label) in [
        ("async_blocking_call", peer, label::ECHO),
        ("async_served_call", served, label::ECHO),
        ("async_served_spawned", served, label::ECHO_SPAWNED),
    ] {
        rt::time::sleep_ms(PERIOD_MS);
        let call = || server.call(label, WORDS).map(|reply| reply.words);
        measure_checked(name, MANY, call, |reply| reply == Ok(WORDS));
    }
    let (plain, other) = (Mutex::new(0_u64), AsyncMutex::new(0_u64));
    measure("async_mutex_blocking", MANY, || *plain.lock() += 1);
    rt::exec::run(|_| sampled("async_mutex", 1, async || *other.lock().await += 1));
    Ok(())
}

/// Measures what is done in futures, `parts` times at once.
async fn sampled<T>(name: &str, parts: u64, mut operation: impl AsyncFnMut() -> T) {
    rt::time::sleep_ms(PERIOD_MS);
    for _ in 0..WARM {
        operation().await;
    }
    let overhead = calibrate::pair();
    // All of them within one budget.
    let count = MANY / parts as usize;
    let mut samples = Samples::new(name, count);
    for _ in 0..count {
        let before = ticks();
        operation().await;
        samples.add((ticks() - before).saturating_sub(overhead) / parts);
    }
    samples.print();
}

/// Calls as futures: first where nothing else is waited for, then beside something that is.
async fn futures(exec: Exec) -> Result<(), &'static str> {
    let peer = peer("peer")?;
    let call = async || exec.call(peer, label::ECHO, WORDS).await.reply.map(|reply| reply.words) == Ok(WORDS);
    let failed = RefCell::new(None);
    let check = |name, done: bool| _ = (!done).then(|| failed.replace(Some(name)));
    let page = RefCell::new(vec![7; 4096]);
    let lend = async || {
        let mut called = exec.call_with(peer, label::TAKE, [0; 4], vec![Lend::Read(page.take())]).await;
        check("a lease", called.reply.is_ok_and(|reply| reply.words[0] == 4096));
        page.replace(called.lent.pop().map(Lend::into_inner).unwrap_or_default());
    };
    sampled("async_call_alone", 1, async || check("a call", call().await)).await;
    sampled("async_lease_4096b_alone", 1, &lend).await;
    let other = exec.clone();
    let _waiting = exec.spawn(async move { other.bits(NEVER).await });
    sampled("async_pool_call", 1, async || check("a call", call().await)).await;
    sampled("async_pool_lease_4096b", 1, &lend).await;
    sampled("async_pool_call_of_8", AT_ONCE, async || {
        let done = join_all((0..AT_ONCE).map(|_| call())).await;
        check("eight calls", done.iter().all(|done| *done));
    })
    .await;
    let (sender, receiver) = channel::<u64>(4);
    sampled("async_channel_ready", 1, async || {
        let done = sender.send_async(5).await.is_ok() && receiver.recv_async().await == Ok(5);
        check("a channel", done);
    })
    .await;
    failed.take().map_or(Ok(()), Err)
}

/// Two threads with a channel each way; each waits every time.
fn threads() -> Result<(), &'static str> {
    let (there, asked) = channel::<u64>(1);
    let (answer, back) = channel::<u64>(1);
    let echo = move || {
        while let Ok(value) = asked.recv() {
            if answer.send(value).is_err() {
                return;
            }
        }
    };
    let thread = rt::thread::spawn(echo, 4, rt::info().priority as u8).map_err(|_| "no thread")?;
    rt::time::sleep_ms(PERIOD_MS);
    measure_checked(
        "async_channel_threads",
        MANY,
        || there.send(5).is_ok().then(|| back.recv()),
        |got| got == Some(Ok(5)),
    );
    drop(there);
    thread.join();
    Ok(())
}
