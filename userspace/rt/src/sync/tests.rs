//! Between real threads, and, future by future, against what must hold after every step.

use super::*;
use crate::parker::calls;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use proptest::prelude::*;
use std::thread;

const SOON: Duration = Duration::from_millis(60);

#[test]
fn nobody_in_the_way_nothing_is_a_system_call() {
    let before = calls();
    let (mutex, semaphore, (sender, receiver)) = (AsyncMutex::new(0), Semaphore::new(2), channel(2));
    for number in 0..100 {
        *mutex.lock_blocking() += 1;
        drop(block_on(semaphore.acquire()).expect("open"));
        sender.send(number).expect("room");
        assert_eq!(receiver.recv(), Ok(number));
    }
    assert_eq!((calls(), mutex.into_inner()), (before, 100));
}

#[test]
fn every_value_comes_once_and_in_its_senders_order() {
    const SENDERS: usize = 4;
    const RECEIVERS: usize = 3;
    const VALUES: usize = 5_000;
    for capacity in [1, 2, 7] {
        let (sender, receiver) = channel(capacity);
        let got: Vec<Vec<(usize, usize)>> = thread::scope(|scope| {
            for number in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..VALUES).for_each(|value| sender.send((number, value)).expect("somebody listens"))
                });
            }
            drop(sender);
            let receive = |number: usize| {
                let receiver = receiver.clone();
                // Every way to receive.
                move || {
                    let next = || match number % 2 {
                        0 => receiver.recv(),
                        _ => block_on(receiver.recv_async()),
                    };
                    core::iter::from_fn(|| next().ok()).collect()
                }
            };
            let threads: Vec<_> = (0..RECEIVERS).map(|number| scope.spawn(receive(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
        });
        for one in &got {
            for sender in 0..SENDERS {
                let values: Vec<_> = one.iter().filter(|(from, _)| *from == sender).map(|(_, value)| *value).collect();
                assert!(values.is_sorted_by(|a, b| a < b), "values of sender {sender} out of order");
            }
        }
        let mut all: Vec<_> = got.concat();
        all.sort_unstable();
        let wanted: Vec<_> = (0..SENDERS).flat_map(|from| (0..VALUES).map(move |value| (from, value))).collect();
        assert!(all == wanted, "{} values instead of {}", all.len(), wanted.len());
    }
}

#[test]
fn who_sends_faster_waits() {
    let (sender, receiver) = channel(3);
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let before = calls();
            for value in 0..10 {
                sender.send(value).expect("somebody listens");
                sent.fetch_add(1, Ordering::SeqCst);
            }
            calls() - before
        });
        for taken in 0..7 {
            thread::sleep(SOON);
            assert_eq!(sent.load(Ordering::SeqCst), 3 + taken, "values sent while {taken} were taken");
            assert_eq!(receiver.recv(), Ok(taken));
        }
    });
    assert_eq!(receiver.try_recv(), Ok(7));
}

#[test]
fn the_other_side_learns_that_one_is_gone() {
    let (sender, receiver) = channel(2);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.try_send(1).expect("room");
    sender.try_send(2).expect("room");
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.clone().send(4));
        thread::sleep(SOON);
        drop(receiver);
        assert_eq!(waiting.join().expect("it ends"), Err(SendError(4)));
    });
    assert_eq!(sender.try_send(5), Err(TrySendError::Closed(5)));
    assert_eq!((sender.send(6), block_on(sender.send_async(7))), (Err(SendError(6)), Err(SendError(7))));

    let (sender, receiver) = channel(2);
    sender.send(1).expect("room");
    let second = sender.clone();
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| receiver.clone().recv());
        thread::sleep(SOON);
        second.send(2).expect("it listens");
        assert_eq!(waiting.join().expect("it ends"), Ok(2));
        let waiting = scope.spawn(|| receiver.clone().recv());
        thread::sleep(SOON);
        drop(second);
        assert_eq!(waiting.join().expect("it ends"), Err(Closed));
    });
    assert_eq!((receiver.try_recv(), receiver.recv()), (Err(TryRecvError::Closed), Err(Closed)));
}

#[test]
fn what_nobody_will_take_is_dropped_with_the_last_receiver() {
    let value = Arc::new(());
    let (sender, receiver) = channel(4);
    for _ in 0..3 {
        sender.send(value.clone()).expect("room");
    }
    let second = receiver.clone();
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 4);
    drop(second);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn threads_and_futures_share_a_mutex() {
    let mutex = AsyncMutex::new([0_usize; 2]);
    thread::scope(|scope| {
        for number in 0..6 {
            let mutex = &mutex;
            scope.spawn(move || {
                for _ in 0..3_000 {
                    let mut both = if number % 2 == 0 { mutex.lock_blocking() } else { block_on(mutex.lock()) };
                    let [first, second] = *both;
                    assert_eq!(first, second, "somebody else was inside");
                    both[0] = first + 1;
                    if number == 3 {
                        thread::yield_now();
                    }
                    both[1] = second + 1;
                }
            });
        }
    });
    assert_eq!(mutex.into_inner(), [18_000; 2]);
}

/// A waker that notes that it was used.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future under test, and whether it was woken since it was polled last.
struct Tried<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    flag: Arc<Flag>,
}

impl<T> Tried<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Tried<T> {
        Tried { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    fn poll(&mut self) -> Poll<T> {
        self.flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.flag.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    Recv,
    TrySend,
    TryRecv,
    /// Polls one that waits, woken or not.
    PollSend(usize),
    PollRecv(usize),
    /// Cancels one.
    DropSend(usize),
    DropRecv(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => Just(Step::Send),
            4 => Just(Step::Recv),
            1 => Just(Step::TrySend),
            1 => Just(Step::TryRecv),
            3 => (0..8_usize).prop_map(Step::PollSend),
            3 => (0..8_usize).prop_map(Step::PollRecv),
            2 => (0..8_usize).prop_map(Step::DropSend),
            2 => (0..8_usize).prop_map(Step::DropRecv),
        ],
        0..120,
    )
}

/// What was sent, and when it arrived.
#[derive(Default)]
struct Ledger {
    sent: VecDeque<u32>,
    taken: usize,
}

impl Ledger {
    fn taken(&mut self, value: u32) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.sent.pop_front(), Some(value), "another value than the next one");
        self.taken += 1;
        Ok(())
    }
}

/// Polls the futures that were woken until none is.
fn settle<T>(
    futures: &mut Vec<Tried<T>>,
    mut done: impl FnMut(T) -> Result<(), TestCaseError>,
) -> Result<bool, TestCaseError> {
    let mut moved = false;
    while let Some(at) = futures.iter().position(Tried::is_woken) {
        moved = true;
        if let Poll::Ready(value) = futures[at].poll() {
            drop(futures.remove(at));
            done(value)?;
        }
    }
    Ok(moved)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However senders and receivers come, are polled and are cancelled: values arrive once, in the order in which they were sent; no more
    /// are under way than may be; who was cancelled has done nothing; and who can go on is told.
    #[test]
    fn a_channel_neither_loses_nor_forgets(capacity in 1..4_usize, steps in steps()) {
        let (sender, receiver) = channel::<u32>(capacity);
        let (sender, receiver) = (Box::leak(Box::new(sender)) as &Sender<u32>, Box::leak(Box::new(receiver)) as &Receiver<u32>);
        let mut next = 0;
        let mut sends: Vec<Tried<Option<u32>>> = Vec::new();
        let mut recvs: Vec<Tried<Result<u32, Closed>>> = Vec::new();
        let ledger = RefCell::new(Ledger::default());
        let sent = |value: Option<u32>| { ledger.borrow_mut().sent.extend(value); Ok(()) };
        let taken = |value: Result<u32, Closed>| ledger.borrow_mut().taken(value.expect("it is open"));
        for step in steps {
            match step {
                Step::Send => {
                    next += 1;
                    let value = next;
                    sends.push(Tried::new(async move { sender.send_async(value).await.ok().map(|()| value) }));
                }
                Step::Recv => recvs.push(Tried::new(receiver.recv_async())),
                Step::TrySend => {
                    next += 1;
                    if sender.try_send(next).is_ok() {
                        sent(Some(next))?;
                    }
                }
                Step::TryRecv => if let Ok(value) = receiver.try_recv() { taken(Ok(value))?; },
                Step::PollSend(at) if at < sends.len() => if let Poll::Ready(value) = sends[at].poll() {
                    drop(sends.remove(at));
                    sent(value)?;
                },
                Step::PollRecv(at) if at < recvs.len() => if let Poll::Ready(value) = recvs[at].poll() {
                    drop(recvs.remove(at));
                    taken(value)?;
                },
                Step::DropSend(at) if at < sends.len() => drop(sends.remove(at)),
                Step::DropRecv(at) if at < recvs.len() => drop(recvs.remove(at)),
                _ => {}
            }
            prop_assert!(ledger.borrow().sent.len() <= capacity, "{} values under way", ledger.borrow().sent.len());
        }
        // Polling only who was woken, everything comes to rest where nobody can go on.
        while settle(&mut sends, sent)? | settle(&mut recvs, taken)? {}
        let under_way = ledger.borrow().sent.len();
        prop_assert!(recvs.is_empty() || under_way == 0, "{} wait although {under_way} values are there", recvs.len());
        prop_assert!(sends.is_empty() || under_way == capacity, "{} wait although there is room", sends.len());
        prop_assert_eq!(receiver.held(), [[sends.len(), 0], [recvs.len(), 0]], "who waits, and turns given to nobody");
        // Nothing is left of those that are dropped, and every value comes out.
        drop((sends, recvs));
        prop_assert_eq!(receiver.held(), [[0; 2]; 2]);
        while let Ok(value) = receiver.try_recv() {
            taken(Ok(value))?;
        }
        prop_assert_eq!(ledger.borrow().sent.len(), 0);
    }

    /// Permits are neither made nor lost, and go to who has waited longest.
    #[test]
    fn a_semaphore_is_fair(permits in 0..3_usize, steps in prop::collection::vec((0..5_u8, 0..8_usize), 0..120)) {
        let semaphore: &'static Semaphore = Box::leak(Box::new(Semaphore::new(permits)));
        let mut waiting: Vec<(usize, Tried<Result<Permit<'static>, Closed>>)> = Vec::new();
        let mut held = Vec::new();
        // The order in which they were first polled, and those that were cancelled since.
        let (mut order, mut number) = (VecDeque::new(), 0);
        for (what, at) in steps {
            match what {
                0 => {
                    number += 1;
                    let mut one = Tried::new(semaphore.acquire());
                    match one.poll() {
                        Poll::Ready(permit) => {
                            prop_assert!(order.is_empty(), "one came before those who wait");
                            held.push(permit.expect("it is open"));
                        }
                        Poll::Pending => {
                            order.push_back(number);
                            waiting.push((number, one));
                        }
                    }
                }
                1 if at < held.len() => drop(held.swap_remove(at)),
                2 => if let Some(permit) = semaphore.try_acquire() {
                    prop_assert!(order.is_empty(), "one came before those who wait");
                    held.push(permit);
                },
                3 if at < waiting.len() => {
                    let (name, one) = waiting.remove(at);
                    drop(one);
                    order.retain(|other| *other != name);
                }
                _ => {}
            }
            while let Some(at) = waiting.iter().position(|(_, one)| one.is_woken()) {
                let (name, mut one) = waiting.remove(at);
                match one.poll() {
                    Poll::Ready(permit) => {
                        prop_assert_eq!(order.pop_front(), Some(name), "not the one who has waited longest");
                        held.push(permit.expect("it is open"));
                    }
                    Poll::Pending => prop_assert!(false, "woken for nothing"),
                }
            }
            prop_assert_eq!(held.len() + semaphore.permits(), permits, "permits");
            prop_assert!(waiting.is_empty() || semaphore.permits() == 0, "one waits although there is a permit");
        }
        drop(waiting);
        held.clear();
        prop_assert_eq!((semaphore.permits(), semaphore.held()), (permits, [0; 2]));
    }
}
