//! The executor of the runtime: timers, requests, calls, cancellation, and rest.

use crate::support::{Context, Outcome, SPARE_BIT, ask, check, peer, row, same, status, used, warm_up};
use abi::Status;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use assist::patient;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::Poll;
use rt::exec::{self, Exec, Lend, join, join_all, select, timeout, yield_now};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::sync::{AsyncMutex, Semaphore, channel};
use rt::time::{Timer, now_ns};

const MS: u64 = 1_000_000;

/// For how long the machine may stand still, where others use the processor it is emulated on.
const STANDSTILL_MS: u64 = 500;

/// How often a test is done again whose time the machine has slept away.
const TRIES: usize = 10;

/// None is early, all come in their order, and at one of a few tries none is late: at the others the machine stood still.
pub fn a_thousand_timers() -> Outcome {
    let mut latest = u64::MAX;
    for _ in 0..TRIES {
        latest = latest_of_a_thousand()?;
        if latest < STANDSTILL_MS * MS {
            return Ok(());
        }
    }
    Err(alloc::format!("at each of {TRIES} tries a timer was late, at the last by {latest} ns"))
}

/// By how many nanoseconds the latest was late.
fn latest_of_a_thousand() -> Result<u64, String> {
    let fired = Rc::new(RefCell::new(Vec::new()));
    exec::run(|exec| async move {
        let start = exec.now_ns() + 50 * MS;
        let sleeps: Vec<_> = (0..1000_u64)
            .map(|i| (i * 7919) % 1000)
            .map(|number| {
                let (exec, fired) = (exec.clone(), fired.clone());
                exec.clone().spawn(async move {
                    let deadline = start + number * MS / 2;
                    exec.sleep_until(deadline).await;
                    fired.borrow_mut().push((number, exec.now_ns().checked_sub(deadline)));
                })
            })
            .collect();
        join_all(sleeps).await;
        let fired = fired.take();
        same!(fired.len(), 1000, "timers that fired");
        let mut latest = 0;
        for (at, (number, late)) in (0..).zip(fired) {
            same!(number, at, "the timer that fired as number {at}");
            latest = latest.max(late.ok_or_else(|| alloc::format!("timer {number} was early"))?);
        }
        Ok(latest)
    })
}

/// The last one comes first, and so on: exactly so at one of a few tries, at the others the machine stood still, several were due at
/// once, and their threads took turns.
pub fn a_hundred_requests_are_answered_out_of_order() -> Outcome {
    for _ in 0..TRIES {
        if a_hundred_requests()? {
            return Ok(());
        }
    }
    Err(alloc::format!("at none of {TRIES} tries the replies came in the order in which they were due"))
}

/// Whether they came in the order in which they were due.
fn a_hundred_requests() -> Result<bool, String> {
    const COUNT: u64 = 100;
    /// Milliseconds between two answers.
    const APART_MS: u64 = 20;
    let server = peer("patient")?;
    let order = Rc::new(RefCell::new(Vec::new()));
    let done = order.clone();
    let replies = exec::run_with(COUNT as usize, |exec| async move {
        let calls = (0..COUNT).map(|number| {
            let (exec, done) = (exec.clone(), done.clone());
            async move {
                // The first call is answered last.
                let words = [1000 + (COUNT - number) * APART_MS, number, !number, 7];
                let reply = exec.call(server, patient::LATER, words).await.reply;
                done.borrow_mut().push(number);
                reply.is_ok_and(|reply| reply.label == 0 && reply.words == words)
            }
        });
        join_all(calls).await
    });
    same!(replies.iter().filter(|right| **right).count(), COUNT as usize, "right replies");
    let [_, most, ..] = ask(server, patient::HELD, [0; 4])?;
    same!(most, COUNT, "callers that the server held at once");
    let order = order.take();
    for (place, number) in order.iter().rev().enumerate() {
        let away = number.abs_diff(place as u64);
        check!(away <= STANDSTILL_MS / APART_MS, "reply {number} came {away} places from its own");
    }
    Ok(order.into_iter().eq((0..COUNT).rev()))
}

/// Every kind of await point, alone and combined, over the kernel.
async fn everything(exec: &Exec, server: Endpoint, passed: &RefCell<usize>) {
    let mark = || *passed.borrow_mut() += 1;
    exec.sleep_ms(1).await;
    mark();
    exec.bits(1 << SPARE_BIT).await;
    mark();
    let lent = vec![Lend::Write(vec![0; 600])];
    let _ = exec.call_with(server, patient::FILL_LATER, [2, 0xee, 0, 0], lent).await;
    mark();
    let own = exec.clone();
    exec.spawn(async move { own.call(server, patient::LATER, [2, 0, 0, 0]).await }).await;
    mark();
    join(exec.sleep_ms(1), exec.call(server, patient::LATER, [2, 0, 0, 0])).await;
    mark();
    select(exec.bits(1 << (SPARE_BIT + 1)), exec.sleep_ms(1)).await;
    mark();
    let _ = timeout(exec, 1, exec.request()).await;
    mark();
    let _ = timeout(exec, 1, exec.call(server, patient::LATER, [5, 0, 0, 0])).await;
    mark();
    join_all((1..4).map(|ms| exec.sleep_ms(ms))).await;
    mark();
    yield_now().await;
    mark();
    between_threads(&mark).await;
}

/// Waiting for a thread, by all of `rt::sync`.
async fn between_threads(mark: &impl Fn()) {
    let mutex = Arc::new(AsyncMutex::new(0));
    let ((to, from_thread), (to_thread, from)) = (channel(1), channel(1));
    let (held, permits) = (mutex.clone(), Arc::new(Semaphore::new(0)));
    let given = permits.clone();
    // It does nothing before it is told, and ends at whatever point the other side is gone.
    let thread = Beside::run(move || {
        let mut guard = held.lock_blocking();
        let first = from.recv();
        // The other side waits by now.
        rt::time::sleep_ms(10);
        if first != Ok(1) || to.send(2).is_err() {
            return;
        }
        rt::time::sleep_ms(10);
        *guard = 3;
        drop(guard);
        rt::time::sleep_ms(10);
        let _ = (from.recv(), from.recv());
        rt::time::sleep_ms(10);
        given.release();
    });
    let Ok(_thread) = thread else { return };
    let (sender, receiver) = (to_thread, from_thread);
    let _ = sender.send_async(1).await;
    let first = receiver.recv_async().await;
    mark();
    // The first of these has room, the second has not before the thread takes the first.
    let full = async { (sender.send_async(4).await.is_ok(), sender.send_async(5).await.is_ok()) };
    let (guard, sent) = join(mutex.lock(), full).await;
    let right = first == Ok(2) && *guard == 3 && sent == (true, true);
    drop(guard);
    if right {
        mark();
    }
    permits.acquire().await.map(rt::sync::Permit::forget).unwrap_or_default();
    mark();
}

/// A thread that is waited for in the end, whatever happens to the future that made it.
struct Beside(Option<rt::thread::JoinHandle>);

impl Beside {
    fn run(f: impl FnOnce() + Send + 'static) -> Result<Beside, Status> {
        rt::thread::spawn(f, 4, rt::info().priority as u8).map(|thread| Beside(Some(thread)))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            thread.join();
        }
    }
}

/// How many await points that are.
const POINTS: usize = 13;

/// Polls a future, and drops it where it waits and `stop` says so; its value, where it came to its end.
pub async fn cut<F: Future>(future: F, mut stop: impl FnMut() -> bool) -> Option<F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if stop() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Cuts it behind so many points, where it waits for the `wait`th time there; says behind how many that was, and whether it came to its end.
fn one_cut(server: Endpoint, point: usize, wait: usize) -> Result<(usize, bool), String> {
    Notification::own().poll(3 << SPARE_BIT);
    let bell = Timer::new(SPARE_BIT).context("timer")?;
    bell.arm_in_ms(3);
    let (passed, mut waits) = (RefCell::new(0), 0);
    let whole = exec::run(|exec| {
        let passed = &passed;
        async move {
            let stop = || {
                waits += usize::from(*passed.borrow() == point);
                *passed.borrow() > point || waits > wait
            };
            cut(everything(&exec, server, passed), stop).await.is_some()
        }
    });
    Ok((passed.into_inner(), whole))
}

/// At every point, where it waits first, second and third there, as far as it does so often.
pub fn cancellation_at_every_await_point() -> Outcome {
    warm_up()?;
    let server = peer("patient")?;
    let counters = || used().map(|[handles, objects, _]| [handles, objects]);
    let before = counters()?;
    for (point, wait) in (0..=POINTS).flat_map(|point| (0..3).map(move |wait| (point, wait))) {
        // What it waits for first at a point comes a moment later, but where the machine stands still in that moment, it is there.
        let mut cut_there = false;
        for _ in 0..TRIES {
            let (passed, whole) = one_cut(server, point, wait)?;
            same!(counters()?, before, "handles and objects after {point} points, at wait {wait}");
            same!(
                whole,
                point == POINTS || passed == POINTS,
                "whether it came to its end, cut after {point} points at wait {wait}"
            );
            cut_there = passed == point || wait > 0;
            if cut_there {
                break;
            }
        }
        check!(cut_there, "it was never cut after {point} points");
    }
    let [held, ..] = ask(server, patient::HELD, [0; 4])?;
    same!(held, 0, "callers that the server holds in the end");
    Ok(())
}

/// The server writes to a lease whose call was dropped: to memory that is still the call's.
pub fn a_dropped_call_keeps_its_memory() -> Outcome {
    const LEN: usize = 300;
    let server = peer("patient")?;
    exec::run(|exec| async move {
        let lent = vec![Lend::Write(vec![0x11; LEN])];
        let call = exec.call_with(server, patient::FILL_LATER, [40, 0xee, 0, 0], lent);
        check!(timeout(&exec, 10, call).await.is_err(), "the server did not wait");
        // Whatever is allocated now does not lie where the server will write.
        let blocks: Vec<Vec<u8>> = (0..50).map(|_| vec![0x22; LEN]).collect();
        exec.sleep_ms(100).await;
        let [held, ..] = exec.call(server, patient::HELD, [0; 4]).await.reply.context("held")?.words;
        same!(held, 0, "callers that the server holds");
        let touched = blocks.iter().flatten().filter(|byte| **byte != 0x22).count();
        same!(touched, 0, "bytes that the server wrote elsewhere");
        // The same without a cut: what it writes comes back.
        let lent = vec![Lend::Write(vec![0x11; LEN])];
        let called = exec.call_with(server, patient::FILL_LATER, [1, 0xee, 0, 0], lent).await;
        same!(called.reply.context("call")?.words[0], LEN as u64, "bytes written");
        same!(called.lent, [Lend::Write(vec![0xee; LEN])], "what was lent");
        Ok(())
    })
}

/// It is watched, too: it lives on although it does nothing but wait.
pub fn an_idle_async_driver_takes_no_time() -> Outcome {
    let index = row("patient")?;
    let server = peer("patient")?;
    ask(server, patient::LATER, [1, 0, 0, 0])?;
    let mut taken = u64::MAX;
    for _ in 0..TRIES {
        let before = status(index)?;
        rt::time::sleep_ms(2_500);
        let after = status(index)?;
        same!(after.id, before.id, "its life");
        // Signs of life are all that it does: a few thousand instructions in two seconds and a half. Where the machine stands still while it
        // does so, they seem to take longer, but not each time.
        taken = after.cpu_ns - before.cpu_ns;
        if taken < 2 * MS {
            return Ok(());
        }
    }
    Err(alloc::format!("it takes {taken} ns in 2.5 s"))
}

/// No more calls are under way than were allowed: the others wait at home.
pub fn calls_are_limited() -> Outcome {
    const LIMIT: u64 = 3;
    let server = peer("patient")?;
    let start = now_ns();
    let most = exec::run_with(LIMIT as usize, |exec| async move {
        let watcher = {
            let exec = exec.clone();
            exec.clone().spawn(async move {
                let mut most = 0;
                loop {
                    let threads = status(rt::me().index.into()).map_or(u32::MAX, |status| status.threads);
                    most = most.max(threads);
                    if exec.now_ns() > start + 250 * MS {
                        return most;
                    }
                    exec.sleep_ms(5).await;
                }
            })
        };
        let calls = (0..12).map(|_| exec.call(server, patient::LATER, [50, 0, 0, 0]));
        let replies = join_all(calls).await;
        check!(replies.iter().all(|called| called.reply.is_ok()), "a call failed");
        Ok(watcher.await)
    })?;
    same!(u64::from(most), LIMIT + 1, "threads, with the one that runs the executor");
    let took = now_ns() - start;
    check!(took >= 4 * 50 * MS, "12 calls of 50 ms, 3 at a time, took {took} ns");
    Ok(())
}
