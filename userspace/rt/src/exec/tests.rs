//! The executor over a platform that is a script: its clock moves when nothing else happens.

use super::*;
use crate::ipc::{CallError, Endpoint, Event, Handle, Reply, Rights};
use crate::sync::{AsyncMutex, Semaphore, channel};
use crate::syscall::Message;
use abi::message::{Header, ReplyToken, Sender, bits};
use abi::{Status, TaskId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::Poll;

const MS: u64 = 1_000_000;

#[derive(Default)]
struct Script {
    now: u64,
    events: VecDeque<Event>,
    /// Whether requests were wanted, in each wait.
    waits: Vec<bool>,
    polls: usize,
    jobs: VecDeque<Job>,
    makes_calls_itself: bool,
    /// Bits for the next poll.
    set: u64,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Script>>);

impl Platform for Fake {
    fn now(&self) -> u64 {
        self.0.borrow().now
    }

    fn poll(&mut self) -> u64 {
        let mut script = self.0.borrow_mut();
        script.polls += 1;
        core::mem::take(&mut script.set)
    }

    fn wait(&mut self, wanted: bool, deadline: Option<u64>) -> Event {
        let mut script = self.0.borrow_mut();
        script.waits.push(wanted);
        // Requests stay where they are until somebody wants one.
        let next = script.events.iter().position(|event| wanted || matches!(event, Event::Notified(_)));
        if let Some(event) = next.and_then(|next| script.events.remove(next)) {
            return event;
        }
        if let Some(job) = script.jobs.pop_front() {
            drop(script);
            job.finish(reply(7, None));
            return Event::Notified(bits::RUNTIME);
        }
        script.now = deadline.expect("nothing will ever happen");
        Event::Notified(bits::RUNTIME)
    }

    fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }

    fn submit(&mut self, job: Job) {
        self.0.borrow_mut().jobs.push_back(job);
    }

    fn alone(&mut self) -> Option<Job> {
        let mut script = self.0.borrow_mut();
        let alone = script.makes_calls_itself && script.jobs.len() == 1;
        if alone { script.jobs.pop_front() } else { None }
    }

    fn drop_abandoned(&mut self) {
        self.0.borrow_mut().jobs.retain(|job| !job.is_abandoned());
    }
}

fn start() -> (Fake, Exec) {
    let fake = Fake::default();
    (fake.clone(), Exec::new(fake))
}

fn reply(label: u16, handle: Option<u32>) -> Result<Reply, CallError> {
    let handle = handle.map(|number| Handle::notification(number, Rights::SIGNAL));
    Ok(Reply { label, words: [0; 4], handle, lost: false })
}

fn request(number: u64) -> Event {
    let sender = Sender { task: TaskId { index: 5, generation: 2 }, badge: 9 };
    let message = Message { header: Header::new(1), words: [number, 0, 0, 0], handle: 0 };
    Event::from(crate::syscall::Received { sender, token: ReplyToken::new(7, number + 1), message })
}

/// Polls a future once, which must not be done then.
async fn once<F: Future>(mut future: Pin<&mut F>) {
    let pending = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await;
    assert!(pending, "it is done already");
}

#[test]
fn a_thousand_timers_fire_in_order_and_nobody_polls() {
    let (fake, exec) = start();
    let seen = Rc::new(RefCell::new(Vec::new()));
    exec.block_on(async {
        // 7919 is prime, so that the deadlines come in no order.
        let sleeps = (0..1000_u64).map(|i| (i * 7919) % 1000).map(|ms| {
            let (exec, seen) = (exec.clone(), seen.clone());
            exec.clone().spawn(async move {
                exec.sleep_until(ms * MS + 1).await;
                seen.borrow_mut().push((ms, exec.now_ns()));
            })
        });
        join_all(sleeps.collect::<Vec<_>>()).await;
    });
    let wanted: Vec<_> = (0..1000).map(|ms| (ms, ms * MS + 1)).collect();
    assert_eq!(*seen.borrow(), wanted);
    assert_eq!(fake.0.borrow().waits.len(), 1000, "one wait for each deadline");
    assert_eq!(exec.held(), [0; 5]);
}

#[test]
fn bits_are_kept_until_somebody_asks_and_given_once() {
    let (fake, exec) = start();
    let all = bits::HEARTBEAT | bits::RUNTIME | 0b1101;
    fake.0.borrow_mut().events.push_back(Event::Notified(all));
    exec.block_on(async {
        assert_eq!(exec.bits(0b0100).await, 0b0100);
        assert_eq!(exec.bits(0b0111).await, 0b0001);
        let (first, second) = (exec.bits(0b1000), timeout(&exec, 5, exec.bits(u64::MAX)));
        assert_eq!(join(first, second).await, (0b1000, Err(Elapsed)), "heartbeats stay with the runtime");
    });
    assert_eq!(exec.held(), [0; 5]);
}

#[test]
fn requests_are_taken_only_when_wanted_and_answered_in_any_order() {
    let (fake, exec) = start();
    fake.0.borrow_mut().events.extend((0..100).map(request));
    let answered = Rc::new(RefCell::new(Vec::new()));
    exec.block_on(async {
        exec.sleep_ms(1).await;
        assert_eq!((fake.0.borrow().events.len(), &fake.0.borrow().waits[..]), (100, &[false][..]));
        let mut handlers = Vec::new();
        for _ in 0..100 {
            let asked = exec.request().await;
            let (exec, answered) = (exec.clone(), answered.clone());
            handlers.push(exec.clone().spawn(async move {
                exec.sleep_ms(100 - asked.words[0]).await;
                answered.borrow_mut().push(asked.words[0]);
                assert_eq!(asked.answer(0, [0; 4]), Err(Status::BadSyscall), "the host has no kernel");
            }));
        }
        join_all(handlers).await;
    });
    assert_eq!(*answered.borrow(), (0..100).rev().collect::<Vec<_>>());
    assert_eq!(exec.held(), [0; 5]);
}

#[test]
fn a_request_that_came_for_someone_who_is_gone_goes_to_the_next() {
    let (fake, exec) = start();
    fake.0.borrow_mut().events.push_back(request(3));
    exec.block_on(async {
        {
            let mut first = pin!(exec.request());
            once(first.as_mut()).await;
            yield_now().await;
            // The kernel is asked when nothing is ready, for the one who waits. Then that one goes.
            exec.sleep_ms(1).await;
        }
        assert_eq!(exec.held()[4], 1);
        assert_eq!(exec.request().await.words[0], 3);
    });
    assert!(fake.0.borrow().polls > 0, "who yields does not keep events out");
}

#[test]
fn calls_bring_reply_and_memory_back() {
    let (_fake, exec) = start();
    exec.block_on(async {
        let lent = vec![Lend::Read(vec![1, 2]), Lend::Write(vec![3])];
        let called = exec.call_with(Endpoint(9), 1, [0; 4], lent).await;
        assert_eq!(called.reply, reply(7, None));
        assert_eq!(called.lent.into_iter().map(Lend::into_inner).collect::<Vec<_>>(), [vec![1, 2], vec![3]]);
    });
}

#[test]
fn a_dropped_call_keeps_its_memory_until_it_has_ended() {
    let (fake, exec) = start();
    exec.block_on(async {
        let call = exec.call_with(Endpoint(9), 1, [0; 4], vec![Lend::Write(vec![0; 64])]);
        let mut call = Box::pin(call);
        once(call.as_mut()).await;
        // A thread has taken the job: its memory is lent.
        let job = fake.0.borrow_mut().jobs.pop_front().expect("it was submitted");
        drop(call);
        assert!(job.is_abandoned());
        job.finish(reply(0, None));
        // One that nobody has taken is forgotten at once, and one that was never polled is not submitted.
        let mut call = Box::pin(exec.call(Endpoint(9), 1, [0; 4]));
        once(call.as_mut()).await;
        assert_eq!(fake.0.borrow().jobs.len(), 1);
        drop(call);
        assert_eq!(fake.0.borrow().jobs.len(), 0);
        drop(exec.call(Endpoint(9), 1, [0; 4]));
        assert_eq!(fake.0.borrow().jobs.len(), 0);
    });
}

#[test]
fn bits_can_be_taken_without_waiting() {
    let (fake, exec) = start();
    exec.block_on(async {
        assert_eq!(exec.take_bits(u64::MAX), 0);
        fake.0.borrow_mut().set = 7 | bits::RUNTIME;
        assert_eq!((exec.take_bits(3), exec.take_bits(3)), (3, 0));
        // The other one is there for who waits for it.
        assert_eq!(exec.bits(u64::MAX).await, 4);
        assert_eq!(fake.0.borrow().waits.len(), 0);
    });
}

/// On the host a call that is really made fails at once; one that the script answers has label 7.
#[test]
fn a_call_is_made_by_the_executors_own_thread_where_nothing_else_can_happen() {
    let (fake, exec) = start();
    fake.0.borrow_mut().makes_calls_itself = true;
    let call = || async { exec.call_with(Endpoint(9), 1, [0; 4], vec![Lend::Write(vec![5])]).await };
    let here = Err(CallError::Failed(Status::BadSyscall));
    exec.block_on(async {
        for _ in 0..3 {
            let called = call().await;
            assert_eq!((called.reply, called.lent), (here, vec![Lend::Write(vec![5])]));
        }
        // Nobody had to wait.
        assert_eq!(fake.0.borrow().waits.len(), 0);
        // Two at once; beside a sleep; beside bits; beside a request: the thread has something else to wait for.
        let (one, other) = join(call(), call()).await;
        assert_eq!((one.reply, other.reply), (reply(7, None), here), "the second is alone, once the first has ended");
        assert_eq!(join(call(), exec.sleep_ms(1)).await.0.reply, reply(7, None));
        assert!(matches!(select(exec.bits(1), call()).await, Either::Second(called) if called.reply == reply(7, None)));
        assert!(
            matches!(select(exec.request(), call()).await, Either::Second(called) if called.reply == reply(7, None))
        );
        // One that was dropped is not made.
        let mut dropped = Box::pin(call());
        once(dropped.as_mut()).await;
        drop(dropped);
        assert_eq!(call().await.reply, here);
        assert_eq!(fake.0.borrow().jobs.len(), 0);
    });
}

#[test]
fn a_dropped_task_is_cancelled_also_while_it_runs() {
    let (_fake, exec) = start();
    let marks = Rc::new(RefCell::new(Vec::new()));
    struct Mark(Rc<RefCell<Vec<u8>>>, u8);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    exec.block_on(async {
        let (own, mark) = (exec.clone(), Mark(marks.clone(), 1));
        let task = exec.spawn(async move {
            let _mark = mark;
            own.sleep_ms(1000).await;
        });
        yield_now().await;
        drop(task);
        assert_eq!(*marks.borrow(), [1]);
        // The task drops its own handle.
        let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let (handle, mark) = (own.clone(), Mark(marks.clone(), 2));
        *own.borrow_mut() = Some(exec.spawn(async move {
            let _mark = mark;
            drop(handle.borrow_mut().take());
            yield_now().await;
            unreachable!("it was cancelled");
        }));
        exec.sleep_ms(1).await;
        assert_eq!(*marks.borrow(), [1, 2]);
        // What runs on its own ends with the executor.
        let (own, mark) = (exec.clone(), Mark(marks.clone(), 3));
        exec.spawn(async move {
            let _mark = mark;
            own.sleep_ms(1000).await;
        })
        .detach();
        exec.sleep_ms(1).await;
    });
    assert_eq!(*marks.borrow(), [1, 2, 3]);
    assert_eq!(exec.held(), [0; 5]);
}

/// Every kind of await point, alone and combined.
async fn everything(exec: &Exec, trace: &RefCell<Vec<&'static str>>) {
    let mark = |what| trace.borrow_mut().push(what);
    exec.bits(1 << 40).await;
    mark("notified");
    exec.sleep_ms(1).await;
    mark("slept");
    let asked = exec.request().await;
    mark("asked");
    let _ = exec.call_with(Endpoint(9), 1, [0; 4], vec![Lend::Both(vec![0; 100])]).await.reply;
    mark("called");
    let own = exec.clone();
    exec.spawn(async move { own.sleep_ms(1).await }).await;
    mark("spawned");
    join(exec.sleep_ms(1), exec.call(Endpoint(9), 2, [0; 4])).await;
    mark("joined");
    select(exec.bits(1 << 41), exec.sleep_ms(2)).await;
    mark("selected");
    let _ = timeout(exec, 1, exec.request()).await;
    mark("timed out");
    join_all((1..4).map(|ms| exec.sleep_ms(ms))).await;
    mark("joined all");
    yield_now().await;
    mark("yielded");
    between_futures(exec, &mark).await;
    let _ = asked.answer(0, [0; 4]);
}

/// Waiting for another future, by all of [`crate::sync`].
async fn between_futures(exec: &Exec, mark: &impl Fn(&'static str)) {
    let beside = |future: Pin<Box<dyn Future<Output = ()>>>| {
        let own = exec.clone();
        exec.spawn(async move {
            own.sleep_ms(1).await;
            future.await;
        })
    };
    let (sender, receiver) = channel(1);
    let (from, to) = (receiver.clone(), sender.clone());
    let task = beside(Box::pin(async move { assert!(to.send_async(1).await.is_ok()) }));
    assert_eq!(receiver.recv_async().await, Ok(1));
    mark("received");
    task.await;
    sender.send_async(2).await.expect("room");
    let task = beside(Box::pin(async move { assert_eq!(from.recv_async().await, Ok(2)) }));
    sender.send_async(3).await.expect("it listens");
    mark("sent");
    task.await;
    let mutex = Rc::new(AsyncMutex::new(()));
    let (own, held) = (exec.clone(), mutex.clone());
    let task = exec.spawn(async move {
        let _guard = held.lock().await;
        own.sleep_ms(1).await;
    });
    yield_now().await;
    drop(mutex.lock().await);
    mark("locked");
    task.await;
    let permits = Rc::new(Semaphore::new(0));
    let given = permits.clone();
    let task = beside(Box::pin(async move { given.release() }));
    permits.acquire().await.expect("open").forget();
    mark("permitted");
    task.await;
}

/// Polls a future at most `most` times, then drops it; whether it came to its end.
async fn cut<F: Future>(future: F, most: usize) -> bool {
    let mut future = Box::pin(future);
    let mut polls = 0;
    poll_fn(move |context| {
        if polls == most {
            return Poll::Ready(false);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            // The last poll was the last: it is dropped where it waits.
            Poll::Pending if polls == most => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[test]
fn cancellation_leaves_nothing_behind_at_any_await_point() {
    let mut stops: Vec<usize> = Vec::new();
    for most in 0.. {
        let (fake, exec) = start();
        fake.0.borrow_mut().events.extend([Event::Notified(1 << 40), request(1)]);
        let trace = RefCell::new(Vec::new());
        let whole = exec.block_on(async {
            let whole = cut(everything(&exec, &trace), most).await;
            // Nothing of it is left: no future, no timer, no waiter, no call.
            let [spawned, timers, bits, wanting, requests] = exec.held();
            assert_eq!([spawned, timers, bits, wanting], [0; 4], "after {most} polls, {:?}", trace.borrow());
            assert!(fake.0.borrow().jobs.is_empty(), "after {most} polls");
            // What came and was not taken is there for the next.
            let asked = trace.borrow().contains(&"asked");
            let queued = fake.0.borrow().events.iter().filter(|event| matches!(event, Event::Request(_))).count();
            assert_eq!(requests + queued, usize::from(!asked), "after {most} polls");
            if !asked {
                assert_eq!(exec.request().await.words[0], 1);
            }
            whole
        });
        stops.push(trace.borrow().len());
        if whole {
            break;
        }
    }
    stops.dedup();
    assert_eq!(stops, (0..=14).collect::<Vec<_>>(), "it was cut at every await point");
}

#[test]
fn a_waker_on_another_thread_ends_the_wait() {
    use std::sync::mpsc::{Receiver, Sender, channel};
    struct Threaded {
        rung: Receiver<()>,
        bell: Sender<()>,
    }
    impl Platform for Threaded {
        fn now(&self) -> u64 {
            0
        }
        fn poll(&mut self) -> u64 {
            0
        }
        fn wait(&mut self, _: bool, _: Option<u64>) -> Event {
            self.rung.recv_timeout(std::time::Duration::from_secs(20)).expect("nobody rang");
            Event::Notified(bits::RUNTIME)
        }
        fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
            let bell = std::sync::Mutex::new(self.bell.clone());
            Box::new(move || bell.lock().expect("nobody panics").send(()).expect("it listens"))
        }
        fn submit(&mut self, job: Job) {
            std::thread::spawn(move || job.finish(reply(7, None)));
        }
        fn drop_abandoned(&mut self) {}
    }
    let (bell, rung) = channel();
    let exec = Exec::new(Threaded { rung, bell });
    exec.block_on(async {
        for _ in 0..2000 {
            let calls = (0..3).map(|_| exec.call(Endpoint(9), 1, [0; 4]));
            for called in join_all(calls.collect::<Vec<_>>()).await {
                assert_eq!(called.reply, reply(7, None));
            }
        }
    });
}
