//! Locks and channels between threads, over the kernel.

use crate::support::{Background, Context, Outcome, check, same, status, used, warm_up};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rt::exec::{self, join};
use rt::sync::{Closed, Mutex, Semaphore, block_on, channel};
use rt::thread::JoinHandle;
use rt::time::{now_ns, sleep_ms};

const MS: u64 = 1_000_000;

/// Stack of a thread, in pages.
const STACK: usize = 4;

fn spawn(f: impl FnOnce() + Send + 'static) -> Result<JoinHandle, alloc::string::String> {
    rt::thread::spawn(f, STACK, rt::info().priority as u8).context("thread")
}

/// While a lock is held for long, those who wait for it do not run.
pub fn a_contended_lock_takes_no_time() -> Outcome {
    let (lock, waiting) = (Arc::new(Mutex::new(0)), Arc::new(AtomicU64::new(0)));
    let mut held = lock.lock();
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (lock, waiting) = (lock.clone(), waiting.clone());
        threads.push(spawn(move || {
            waiting.fetch_add(1, Ordering::SeqCst);
            *lock.lock() += 1;
        })?);
    }
    sleep_ms(50);
    same!(waiting.load(Ordering::SeqCst), 4, "threads that have come");
    let own = rt::me().index.into();
    let before = status(own)?.cpu_ns;
    sleep_ms(500);
    let taken = status(own)?.cpu_ns - before;
    *held += 10;
    drop(held);
    threads.into_iter().for_each(JoinHandle::join);
    same!(*lock.lock(), 14, "what all of them did");
    check!(taken < 5 * MS, "the task took {taken} ns of 500 ms in which it had nothing to do");
    Ok(())
}

/// Threads that want a lock all the time have it in turn.
pub fn a_lock_goes_round() -> Outcome {
    const THREADS: usize = 4;
    let (turns, stop) = (Arc::new(Mutex::new([0_u64; THREADS])), Arc::new(AtomicBool::new(false)));
    let mut threads = Vec::new();
    for number in 0..THREADS {
        let (turns, stop) = (turns.clone(), stop.clone());
        threads.push(spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut turns = turns.lock();
                // Whoever is interrupted here has the others wait.
                let end = now_ns() + MS / 10;
                while now_ns() < end {}
                if let Some(own) = turns.get_mut(number) {
                    *own += 1;
                }
            }
        })?);
    }
    sleep_ms(400);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(JoinHandle::join);
    let turns = *turns.lock();
    let (least, most) = (turns.iter().min(), turns.iter().max());
    // Before the first interruption one of them has it as often as it likes, for one time slice of 10 ms.
    check!(least.zip(most).is_some_and(|(least, most)| *least > 10 && *most < least + 150), "turns: {turns:?}");
    Ok(())
}

/// A more important thread that wants the lock must not keep its holder from running: a lock that spins would stop here for good.
pub fn who_is_less_important_gets_on_with_its_lock() -> Outcome {
    let own = rt::info().priority as u8;
    let (lock, held) = (Arc::new(Mutex::new(0_u64)), Arc::new(Semaphore::new(0)));
    let (inner, entered) = (lock.clone(), held.clone());
    let work = move || {
        let mut value = inner.lock();
        entered.release();
        // It has all of this before it when the other one comes.
        let end = now_ns() + 30 * MS;
        while now_ns() < end {
            *value += 1;
        }
    };
    let thread = rt::thread::spawn(work, STACK, own + 10).context("thread")?;
    held.acquire_blocking().context("semaphore")?.forget();
    let start = now_ns();
    let worked = *lock.lock();
    let took = now_ns() - start;
    thread.join();
    check!(worked > 0, "it had done nothing");
    check!(took < 2_000 * MS, "the lock took {took} ns");
    Ok(())
}

pub fn values_go_through_a_channel_once() -> Outcome {
    const SENDERS: u64 = 3;
    const VALUES: u64 = 2_000;
    let (sender, receiver) = channel(4);
    let mut threads = Vec::new();
    for from in 0..SENDERS {
        let sender = sender.clone();
        threads.push(spawn(move || {
            for value in 0..VALUES {
                if sender.send((from, value)).is_err() {
                    return;
                }
            }
        })?);
    }
    drop(sender);
    let second = receiver.clone();
    let other = Background::run(move || {
        let mut got = Vec::new();
        while let Ok(value) = second.recv() {
            got.push(value);
        }
        got
    })?;
    let mut got = Vec::new();
    let end = loop {
        match receiver.recv() {
            Ok(value) => got.push(value),
            Err(error) => break error,
        }
    };
    same!(end, Closed, "how it ended");
    let others = other.finish("the other receiver")?;
    threads.into_iter().for_each(JoinHandle::join);
    for one in [&got, &others] {
        for from in 0..SENDERS {
            let in_order = one.iter().filter(|(sender, _)| *sender == from).is_sorted();
            check!(in_order, "values of sender {from} came out of order");
        }
    }
    got.extend(others);
    got.sort_unstable();
    let all = (0..SENDERS).flat_map(|from| (0..VALUES).map(move |value| (from, value)));
    check!(got.iter().copied().eq(all), "{} values came, of {}", got.len(), SENDERS * VALUES);
    Ok(())
}

/// A thread blocks on either side of a channel whose other side is awaited; timers of the executor go on meanwhile.
pub fn threads_and_futures_share_a_channel() -> Outcome {
    const VALUES: u64 = 500;
    let ((there, received), (sender, back)) = (channel(2), channel(2));
    let thread = spawn(move || {
        while let Ok(value) = received.recv() {
            if sender.send(value + 1).is_err() {
                return;
            }
        }
    })?;
    let (sum, ticks) = exec::run(|exec| async move {
        let ticking = {
            let exec = exec.clone();
            exec.clone().spawn(async move {
                for _ in 0..5 {
                    exec.sleep_ms(1).await;
                }
                5_u64
            })
        };
        let sending = async move {
            for value in 0..VALUES {
                if there.send_async(value).await.is_err() {
                    return;
                }
            }
        };
        let receiving = async {
            let mut sum = 0;
            while let Ok(value) = back.recv_async().await {
                sum += value;
            }
            sum
        };
        let ((), sum) = join(sending, receiving).await;
        (sum, ticking.await)
    });
    thread.join();
    same!((sum, ticks), ((1..=VALUES).sum::<u64>(), 5), "sum of the values, and ticks beside");
    Ok(())
}

/// Neither notifications nor anything else is left of threads that have waited in every way.
pub fn blocking_leaves_nothing_behind() -> Outcome {
    warm_up()?;
    let round = || -> Outcome {
        let (lock, (sender, receiver)) = (Arc::new(Mutex::new(0)), channel(1));
        let mut held = lock.lock();
        let mut threads = Vec::new();
        for _ in 0..6 {
            let (lock, sender) = (lock.clone(), sender.clone());
            threads.push(spawn(move || {
                *lock.lock() += 1;
                let _ = sender.send(1);
                let _ = block_on(sender.send_async(2));
            })?);
        }
        drop(sender);
        sleep_ms(2);
        *held += 1;
        drop(held);
        let mut sum = 0;
        while let Ok(value) = receiver.recv() {
            sum += value;
        }
        threads.into_iter().for_each(JoinHandle::join);
        same!((sum, *lock.lock()), (18, 7), "sum of the values, and of the threads");
        Ok(())
    };
    round()?;
    let before = used()?;
    for _ in 0..10 {
        round()?;
    }
    same!(used()?, before, "handles, objects, frames");
    Ok(())
}
