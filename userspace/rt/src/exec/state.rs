//! The executor itself. Its access to the system is behind [`Platform`], so that it can be tested
//! on the host.

use super::calls::{CallFuture, Job, Lend};
use super::waits::{Bits, NextRequest, ReceivedRequest, Sleep};
use crate::ipc::{Endpoint, Event, Handle, Request};
use crate::irq::Irq;
use crate::lock::Mutex;
use abi::message::bits;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};
use core::fmt;
use core::mem;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

/// The bits that the runtime handles itself.
const RUNTIME_BITS: u64 = bits::HEARTBEAT | bits::RUNTIME;

/// The access to the system that the executor needs.
pub trait Platform {
    /// Nanoseconds since boot.
    fn now(&self) -> u64;
    /// Takes the bits that are set, without waiting.
    fn poll(&mut self) -> u64;
    /// Waits for bits, and for requests if `wanted`, until `deadline` (nanoseconds since boot) at
    /// the latest.
    fn wait(&mut self, wanted: bool, deadline: Option<u64>) -> Event;
    /// Makes a function that ends a `wait` from another thread.
    fn waker(&self) -> Box<dyn Fn() + Send + Sync>;
    /// Submits a call, which is made after the next `poll` or `wait`.
    fn submit(&mut self, job: Job);
    /// The only submitted call, if no other is being made and the task has no other thread that
    /// could wake a future meanwhile.
    fn alone(&mut self) -> Option<Job> {
        None
    }
    /// Drops abandoned calls that have not begun.
    fn drop_abandoned(&mut self);
}

/// The queue of futures that are ready to be polled. Wakers of all threads append to it.
struct Ready {
    queue: Mutex<VecDeque<u64>>,
    /// Whether the executor is waiting, or about to wait.
    idle: AtomicBool,
    waker: Box<dyn Fn() + Send + Sync>,
}

impl Ready {
    fn push(&self, id: u64) {
        self.queue.lock().push_back(id);
        if self.idle.swap(false, Ordering::SeqCst) {
            (self.waker)();
        }
    }
}

/// The waker of one future.
struct Alarm {
    id: u64,
    /// Whether the future is in the queue already.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.ready.push(self.id);
        }
    }
}

/// A spawned future and its waker; without the future while that is being polled.
struct Spawned {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    alarm: Arc<Alarm>,
}

#[derive(Default)]
pub(super) struct State {
    /// The last number used to name a future, a sleep or a waiter; 0 names the main future.
    last: u64,
    spawned: BTreeMap<u64, Spawned>,
    pub(super) timers: BTreeMap<(u64, u64), Waker>,
    /// Bits that have arrived and were not taken.
    pub(super) bits: u64,
    pub(super) bit_waiters: Waiters<(u64, Waker)>,
    /// Requests that have arrived and were not taken.
    pub(super) requests: VecDeque<Request>,
    pub(super) request_waiters: Waiters<Waker>,
}

/// Futures that wait, by name, in the order of their arrival. They are few.
pub(super) struct Waiters<T>(Vec<(u64, T)>);

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Waiters(Vec::new())
    }
}

impl<T> Waiters<T> {
    /// Adds a waiter, or replaces it.
    pub(super) fn enter(&mut self, name: u64, waiter: T) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = waiter,
            None => self.0.push((name, waiter)),
        }
    }

    pub(super) fn leave(&mut self, name: u64) {
        self.0.retain(|(other, _)| *other != name);
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, waiter)| waiter)
    }
}

impl State {
    /// Whether only another thread can make a future ready.
    fn waits_for_threads_alone(&self) -> bool {
        self.timers.is_empty() && self.bit_waiters.0.is_empty() && self.request_waiters.0.is_empty()
    }

    pub(super) fn name(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Notified(bits) => {
                let bits = bits & !RUNTIME_BITS;
                self.bits |= bits;
                let waiting = self.bit_waiters.all().filter(|(mask, _)| mask & bits != 0);
                waiting.for_each(|(_, waker)| waker.wake_by_ref());
            }
            Event::Request(request) => {
                self.requests.push_back(request);
                self.request_waiters.all().for_each(Waker::wake_by_ref);
            }
        }
    }
}

struct Core<P: ?Sized> {
    state: RefCell<State>,
    ready: Arc<Ready>,
    platform: RefCell<P>,
}

/// A handle to the executor, by which futures access it. Clones refer to the same executor.
#[derive(Clone)]
pub struct Exec(Rc<Core<dyn Platform>>);

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").finish_non_exhaustive()
    }
}

impl Exec {
    /// An executor on a platform.
    pub fn new(platform: impl Platform + 'static) -> Exec {
        let ready = Arc::new(Ready {
            queue: Mutex::new(VecDeque::new()),
            idle: AtomicBool::new(false),
            waker: platform.waker(),
        });
        Exec(Rc::new(Core { state: RefCell::default(), ready, platform: RefCell::new(platform) }))
    }

    /// Runs `main`, and the futures that it spawns, until `main` is ready. Spawned futures that are
    /// not ready then are cancelled.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = pin!(main);
        let alarm = self.alarm(0);
        let waker = Waker::from(alarm.clone());
        alarm.wake_by_ref();
        // The two queues are swapped, so that neither is allocated again.
        let mut ready = VecDeque::new();
        loop {
            mem::swap(&mut ready, &mut *self.0.ready.queue.lock());
            for id in ready.drain(..) {
                if id == 0 {
                    alarm.queued.store(false, Ordering::SeqCst);
                    if let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        self.cancel_all();
                        return value;
                    }
                } else {
                    self.poll_spawned(id);
                }
            }
            self.next_events();
        }
    }

    /// Delivers the events that have happened; waits for one if no future is ready.
    fn next_events(&self) {
        let ready = &self.0.ready;
        if ready.queue.lock().is_empty()
            && self.state().waits_for_threads_alone()
            && let Some(job) = self.alone()
        {
            // Only the end of this call can wake a future, so this thread makes it, which saves
            // waking another one.
            return job.perform();
        }
        let mut platform = self.0.platform.borrow_mut();
        let mut state = self.state();
        ready.idle.store(true, Ordering::SeqCst);
        let event = if ready.queue.lock().is_empty() {
            let deadline = state.timers.first_key_value().map(|((deadline, _), _)| *deadline);
            match deadline {
                Some(deadline) if deadline <= platform.now() => Event::Notified(0),
                _ => platform.wait(!state.request_waiters.0.is_empty() && state.requests.is_empty(), deadline),
            }
        } else {
            Event::Notified(platform.poll())
        };
        ready.idle.store(false, Ordering::SeqCst);
        state.deliver(event);
        let now = platform.now();
        while let Some(entry) = state.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            entry.remove().wake();
        }
    }

    fn alone(&self) -> Option<Job> {
        self.0.platform.borrow_mut().alone()
    }

    fn alarm(&self, id: u64) -> Arc<Alarm> {
        Arc::new(Alarm { id, queued: AtomicBool::new(false), ready: self.0.ready.clone() })
    }

    fn poll_spawned(&self, id: u64) {
        // A future may use the executor while it is polled or dropped, so the state must not be
        // borrowed then.
        let found = self.0.state.borrow_mut().spawned.get_mut(&id).and_then(|spawned| {
            spawned.alarm.queued.store(false, Ordering::SeqCst);
            spawned.future.take().map(|future| (future, Waker::from(spawned.alarm.clone())))
        });
        let Some((mut future, waker)) = found else { return };
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.0.state.borrow_mut();
        let over = if done {
            (Some(future), state.spawned.remove(&id))
        } else {
            match state.spawned.get_mut(&id) {
                Some(spawned) => {
                    spawned.future = Some(future);
                    return;
                }
                // The future was cancelled while it was polled.
                None => (Some(future), None),
            }
        };
        drop(state);
        drop(over);
    }

    fn cancel(&self, id: u64) {
        let spawned = self.0.state.borrow_mut().spawned.remove(&id);
        drop(spawned);
    }

    /// Drops every future, including those that others spawn while they are dropped, and answers
    /// requests that were not taken.
    fn cancel_all(&self) {
        loop {
            let one = self.0.state.borrow_mut().spawned.pop_first();
            match one {
                Some(one) => drop(one),
                None => break,
            }
        }
        let left = mem::take(&mut self.0.state.borrow_mut().requests);
        drop(left.into_iter().map(ReceivedRequest::from).collect::<Vec<_>>());
    }

    /// Runs a future concurrently with the others. Dropping the [`Task`] cancels it.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let slot = Rc::new(RefCell::new(Slot { value: None, waker: None }));
        let result = slot.clone();
        let future = async move {
            let value = future.await;
            let waker = {
                let mut slot = result.borrow_mut();
                slot.value = Some(value);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let id = self.0.state.borrow_mut().name();
        let alarm = self.alarm(id);
        let spawned = Spawned { future: Some(Box::pin(future)), alarm: alarm.clone() };
        self.0.state.borrow_mut().spawned.insert(id, spawned);
        alarm.wake();
        Task { exec: Some(self.clone()), id, slot }
    }

    /// Nanoseconds since boot.
    pub fn now_ns(&self) -> u64 {
        self.0.platform.borrow().now()
    }

    /// Waits until `deadline`, in nanoseconds since boot.
    pub fn sleep_until(&self, deadline: u64) -> Sleep {
        Sleep { exec: self.clone(), deadline, name: None }
    }

    /// Waits for `ms` milliseconds.
    pub fn sleep_ms(&self, ms: u64) -> Sleep {
        self.sleep_until(self.now_ns().saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Waits for bits of the task's notification; takes and returns those of the mask that are set.
    /// Bits that no future waits for are kept.
    pub fn bits(&self, mask: u64) -> Bits {
        Bits { exec: self.clone(), mask, name: None }
    }

    /// Takes and returns the bits of the mask that are set, without waiting.
    pub fn take_bits(&self, mask: u64) -> u64 {
        let set = self.0.platform.borrow_mut().poll();
        let mut state = self.0.state.borrow_mut();
        state.deliver(Event::Notified(set));
        let taken = state.bits & mask;
        state.bits &= !taken;
        taken
    }

    /// Waits for an interrupt of a line, which stays masked until [`Irq::ack`].
    pub fn interrupt(&self, irq: Irq) -> Bits {
        self.bits(irq.bits())
    }

    /// Waits for the next request at the task's permanent endpoint.
    pub fn request(&self) -> NextRequest {
        NextRequest { exec: self.clone(), name: None }
    }

    /// Calls a server: four words in each direction.
    pub fn call(&self, endpoint: Endpoint, label: u16, words: [u64; 4]) -> CallFuture {
        self.call_with(endpoint, label, words, Vec::new())
    }

    /// Calls a server with four words in each direction, and lends it memory, which is returned
    /// with the result.
    pub fn call_with(&self, endpoint: Endpoint, label: u16, words: [u64; 4], lent: Vec<Lend>) -> CallFuture {
        self.call_passing(endpoint, label, words, lent, None)
    }

    /// Calls a server, lends it memory as [`Exec::call_with`] does, and sends a handle.
    pub fn call_passing(
        &self,
        endpoint: Endpoint,
        label: u16,
        words: [u64; 4],
        lent: Vec<Lend>,
        handle: Option<Handle>,
    ) -> CallFuture {
        CallFuture::new(self.clone(), Job::new(endpoint, label, words, lent, handle))
    }

    pub(super) fn submit(&self, job: Job) {
        self.0.platform.borrow_mut().submit(job);
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.0.state.borrow_mut()
    }

    pub(super) fn drop_abandoned(&self) {
        self.0.platform.borrow_mut().drop_abandoned();
    }

    /// The numbers of futures, sleeps, waiters and requests that it holds: nothing may be left of a
    /// dropped one.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 5] {
        let state = self.0.state.borrow();
        [
            state.spawned.len(),
            state.timers.len(),
            state.bit_waiters.0.len(),
            state.request_waiters.0.len(),
            state.requests.len(),
        ]
    }
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// A future that runs concurrently with the others; awaiting it returns its value. Dropping it
/// cancels the future.
#[must_use = "dropping it cancels the future; `detach` lets it run"]
pub struct Task<T> {
    exec: Option<Exec>,
    id: u64,
    slot: Rc<RefCell<Slot<T>>>,
}

impl<T> Task<T> {
    /// Lets the future run until it is ready, or until the executor ends.
    pub fn detach(mut self) {
        self.exec = None;
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(exec) = &self.exec {
            exec.cancel(self.id);
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).finish_non_exhaustive()
    }
}
