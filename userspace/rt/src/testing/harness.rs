//! A driver under test: the harness grants it hardware, sends requests, advances time, and ends
//! lives.

use super::deaths::Deaths;
use super::device::{Device, Line, PortRange, sample_lines};
use super::fuse::{self, Blown};
use super::kernel::{self, FIRST_CLIENT, Frames, Kernel, Outcome, Range};
use super::qemu::Machine;
use crate::Status;
use crate::driver::{self, Driver, Outgoing};
use crate::exec::Lend;
use crate::ipc::{CallError, Endpoint, Kinds, Reply};
use crate::port::Port;
use crate::syscall::{CallFailure, Message, Received};
use abi::TaskId;
use abi::message::{Header, Lease, ReplyToken, Sender, bits};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The most turns of a driver in which no request is completed.
const MOST_TURNS: usize = 100_000;

/// The lowest number of an endpoint of a client.
const ENDPOINTS: u32 = 0x4000_0000;

/// What a driver under test is granted, as in its table of `system.toml`. [`Harness::start`] starts
/// the driver.
pub struct Harness {
    kernel: Kernel,
    outside: Box<dyn FnMut() -> bool>,
    deaths: Deaths,
}

impl Harness {
    /// A harness for the task with this name, without any grants.
    pub fn new(name: &str) -> Harness {
        Harness { kernel: Kernel::new(name), outside: Box::new(|| false), deaths: Deaths::none() }
    }

    /// Grants ports, as `ports = { NAME = { base = BASE, len = LEN } }` does. `device` is the
    /// device behind them: a model, [`FakePorts`](crate::port::FakePorts), or QEMU's
    /// [`Ports`](super::qemu::Ports). Offsets count from `base`.
    pub fn ports(mut self, name: &str, base: u16, len: u16, device: impl Port + 'static) -> Harness {
        let device = Rc::new(RefCell::new(device));
        self.kernel.ports.push(PortRange { name: String::from(name), base, len, device });
        self
    }

    /// Grants an interrupt line, as `irqs = { NAME = ... }` does. `level` returns its level. It is
    /// called after each access to a device, before each turn of the driver, and after
    /// [`Harness::outside`]. The driver is notified when the line rises, and not again before it
    /// has acknowledged. A line that falls and rises between two of these calls is not noticed; for
    /// those of QEMU's devices use [`Harness::qemu_irq`].
    pub fn irq(mut self, name: &str, level: impl Fn() -> bool + 'static) -> Harness {
        self.kernel.lines.push(Line::new(name, Rc::new(move || (level(), 0))));
        self
    }

    /// Grants an interrupt line of a QEMU machine: number `line` of its 8259s. Each rise counts, also
    /// one after a fall within the same access, as an edge-triggered controller would notice it.
    pub fn qemu_irq(mut self, name: &str, machine: &Machine, line: usize) -> Harness {
        let machine = machine.clone();
        self.kernel.lines.push(Line::new(name, Rc::new(move || (machine.level(line), machine.rises(line)))));
        self
    }

    /// Grants a range of plain memory, zeroed at first, as `ranges = [{ name = NAME, len = LEN }]`
    /// does.
    pub fn range(self, name: &str, len: usize) -> Harness {
        self.add_range(name, len, None)
    }

    /// Grants a range with a device behind it, as `ranges = [{ name = NAME, len = LEN }]` does.
    pub fn device(self, name: &str, len: usize, device: impl Device + 'static) -> Harness {
        self.add_range(name, len, Some(Rc::new(RefCell::new(device))))
    }

    fn add_range(mut self, name: &str, len: usize, device: Option<Rc<RefCell<dyn Device>>>) -> Harness {
        let frames = Rc::new(RefCell::new(Frames::new(len)));
        self.kernel.ranges.push(Range { name: String::from(name), frames, device });
        self
    }

    /// Gives the driver kept memory, which outlives it, as `keep = LEN` does.
    pub fn keep(mut self, len: usize) -> Harness {
        self.kernel.keep = Some(Rc::new(RefCell::new(Frames::new(len))));
        self
    }

    /// Lets the driver call a peer, as `calls = [NAME]` does. `answer` answers each request (label
    /// and words) with a label and words.
    pub fn peer(self, name: &str, mut answer: impl FnMut(u16, [u64; 4]) -> (u16, [u64; 4]) + 'static) -> Harness {
        self.mortal_peer(name, move |label, words| Some(answer(label, words)))
    }

    /// Lets the driver call a peer that may die, as `calls = [NAME]` does. `answer` answers each
    /// request (label and words) with a label and words; with `None` the peer dies over it, before
    /// or after it has done what it is asked, and its next life gets the next request. The driver
    /// is notified of that ([`bits::PEER`]).
    pub fn mortal_peer(
        mut self,
        name: &str,
        answer: impl FnMut(u16, [u64; 4]) -> Option<(u16, [u64; 4])> + 'static,
    ) -> Harness {
        self.kernel.peers.push((String::from(name), Rc::new(RefCell::new(Box::new(answer)))));
        self
    }

    /// Sets what happens outside when the driver has nothing to do and a client waits: for
    /// instance, the model of a serial line transfers a byte. `moves` returns whether anything
    /// happened; if not, time advances to the next timer.
    pub fn outside(mut self, moves: impl FnMut() -> bool + 'static) -> Harness {
        self.outside = Box::new(moves);
        self
    }

    /// Sets when the driver dies: see [`every_death`](super::every_death).
    pub fn deaths(mut self, deaths: &Deaths) -> Harness {
        self.deaths = deaths.clone();
        self
    }

    /// Starts the driver on this thread and runs its `init`, unless it dies in that.
    ///
    /// # Panics
    /// If this thread runs a driver already.
    pub fn start<D: Driver + 'static>(self) -> Running {
        let Harness { kernel, outside, deaths } = self;
        kernel::install(kernel);
        let runner = Runner { driver: None, init: || Box::new(Life(D::init())), takes: D::TAKES, deaths, outside };
        RUNNER.set(Some(Rc::new(RefCell::new(runner))));
        let running = Running { generations: Cell::new([1; CLIENTS]) };
        CALLERS.set([1; CLIENTS]);
        sample_lines();
        running.turn();
        running
    }
}

/// The number of clients of a driver under test.
pub const CLIENTS: usize = 8;

std::thread_local! {
    static RUNNER: Cell<Option<Rc<RefCell<Runner>>>> = const { Cell::new(None) };
    /// The generation of each client.
    static CALLERS: Cell<[u32; CLIENTS]> = const { Cell::new([1; CLIENTS]) };
}

fn runner() -> Option<Rc<RefCell<Runner>>> {
    let runner = RUNNER.take();
    RUNNER.set(runner.clone());
    runner
}

/// A driver's lives, whatever type the driver has.
trait Lives {
    fn step(&mut self, received: Received) -> Outgoing;
}

struct Life<D>(D);

impl<D: Driver> Lives for Life<D> {
    fn step(&mut self, received: Received) -> Outgoing {
        driver::step(&mut self.0, received)
    }
}

struct Runner {
    driver: Option<Box<dyn Lives>>,
    init: fn() -> Box<dyn Lives>,
    takes: Kinds,
    deaths: Deaths,
    outside: Box<dyn FnMut() -> bool>,
}

impl Runner {
    /// Lets one event happen; returns false if none can, until a client makes a request.
    fn turn(&mut self) -> bool {
        if self.driver.is_none() {
            kernel::with(Kernel::begin_life);
            fuse::set(self.deaths.next());
            let init = self.init;
            self.driver = self.live(init);
            return true;
        }
        // The test may have moved a device since the last turn.
        sample_lines();
        let note = kernel::with(|kernel| {
            kernel.fire_timers();
            core::mem::take(&mut kernel.bits)
        });
        if let Some(set) = note.filter(|&set| set != 0) {
            self.step(notified(set));
            return true;
        }
        if let Some(received) = kernel::with(|kernel| kernel.receive(self.takes)).flatten() {
            self.step(received);
            return true;
        }
        let moved = (self.outside)();
        // A line that has risen is something that happened, whatever `outside` says.
        if sample_lines() || moved {
            return true;
        }
        kernel::with(|kernel| match kernel.next_deadline() {
            Some(deadline) => {
                kernel.now = kernel.now.max(deadline);
                true
            }
            None => false,
        })
        .unwrap_or(false)
    }

    fn step(&mut self, received: Received) {
        // A life that ends runs no destructors.
        let Some(mut driver) = self.driver.take().map(ManuallyDrop::new) else { return };
        let lives = self.live(|| {
            let out = driver.step(received);
            if out.token != ReplyToken::NONE
                && let Err(status) = kernel::reply(out.token, out.header, out.words, out.transfer)
                && out.header.has_handle()
            {
                panic!("the driver cannot pass its answer's handle on: {status}");
            }
        });
        if lives.is_some() {
            self.driver = Some(ManuallyDrop::into_inner(driver));
        }
    }

    /// Runs code of the driver; returns `None` if its life ends in it.
    fn live<T>(&mut self, code: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(|| kernel::run_driver(code)));
        match result {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Blown>() => {
                self.deaths.ended(fuse::passed());
                self.deaths.happened();
                kernel::with(Kernel::end_life);
                None
            }
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// A notification with these bits, as the driver receives it.
fn notified(set: u64) -> Received {
    let message = Message { header: Header(Header::NOTIFICATION), words: [set, 0, 0, 0], handle: 0 };
    Received { sender: Sender { task: TaskId { index: 0, generation: 0 }, badge: 0 }, token: ReplyToken::NONE, message }
}

/// Makes a client's blocking call, for the clients of protocols. `None` if the endpoint is not one
/// of the harness.
pub fn call(endpoint: u32, header: Header, words: [u64; 4], leases: &[Lease], transfer: u64) -> Option<Outcome> {
    let client = endpoint.checked_sub(ENDPOINTS)? as usize;
    let runner = runner()?;
    let sender = sender(client);
    let token = kernel::with(|kernel| kernel.enqueue(sender, header, words, transfer, leases.to_vec()))?;
    for _ in 0..MOST_TURNS {
        if let Some((outcome, _)) = kernel::with(|kernel| kernel.take(token)).flatten() {
            return Some(outcome);
        }
        let moved = runner.borrow_mut().turn();
        let ended =
            kernel::with(|kernel| kernel.calls.iter().any(|call| call.token == token && call.outcome.is_some()));
        assert!(
            moved || ended == Some(true),
            "the driver owes an answer to request {}, and nothing will ever happen",
            header.label()
        );
    }
    panic!("the driver owes an answer to request {} after {MOST_TURNS} turns", header.label())
}

fn sender(client: usize) -> Sender {
    let generation = CALLERS.get().get(client).copied().unwrap_or(1);
    Sender { task: TaskId { index: FIRST_CLIENT + client as u16, generation }, badge: 0 }
}

/// A request that was made without waiting: [`Running::answer`] returns its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientCall(ReplyToken);

/// The result of a request.
#[derive(Debug)]
pub struct Answered {
    /// The reply; [`CallError::Died`] if the driver died over the request.
    pub reply: Result<Reply, CallError>,
    /// The memory that was lent, in the order of the loans.
    pub lent: Vec<Vec<u8>>,
}

/// A driver under test. It runs on the test's thread whenever the test needs it to, and ends when
/// this is dropped.
///
/// The test takes the role of the clients: those of the driver's own crate work with the endpoints
/// of [`Running::client`], including waiting and repeating.
pub struct Running {
    generations: Cell<[u32; CLIENTS]>,
}

impl Running {
    /// The endpoint by which one of [`CLIENTS`] tasks calls the driver.
    ///
    /// # Panics
    /// If there is no client of this number.
    pub fn client(&self, number: usize) -> Endpoint {
        assert!(number < CLIENTS, "there are {CLIENTS} clients");
        Endpoint(ENDPOINTS + number as u32)
    }

    /// The identifier of a client, as the driver gets it.
    pub fn task(&self, client: usize) -> TaskId {
        sender(client).task
    }

    /// Makes a request without waiting; the harness owns the memory until [`Running::answer`]
    /// returns it.
    pub fn ask(&self, client: usize, label: u16, words: [u64; 4], lent: Vec<Lend>) -> ClientCall {
        let lent = lent.into_iter().map(|lend| {
            let access = match &lend {
                Lend::Read(_) => Lease::READ,
                Lend::Write(_) => Lease::WRITE,
                Lend::Both(_) => Lease::READ | Lease::WRITE,
            };
            (lend.into_inner(), access)
        });
        let lent = lent.collect();
        let token = kernel::with(|kernel| kernel.enqueue_owned(sender(client), Header::new(label), words, lent));
        ClientCall(token.expect("the harness runs"))
    }

    /// The result of a request, if there is one yet; it is returned only once. A request whose
    /// client has died never has one.
    pub fn answer(&self, asked: ClientCall) -> Option<Answered> {
        let (outcome, lent) = kernel::with(|kernel| kernel.take(asked.0)).flatten()?;
        let reply = match outcome {
            Ok(message) => Ok(crate::ipc::reply_of(message)),
            Err(CallFailure { status: Status::PeerDied, value }) => Err(CallError::Died { generation: value as u32 }),
            Err(CallFailure { status, .. }) => Err(status.into()),
        };
        Some(Answered { reply, lent })
    }

    /// Lets one event happen: a life begins, the driver gets bits or a request, the outside does
    /// something, or time advances to the next timer. Returns false if none can.
    pub fn turn(&self) -> bool {
        runner().is_some_and(|runner| runner.borrow_mut().turn())
    }

    /// Lets events happen until none can.
    ///
    /// # Panics
    /// If that never ends.
    pub fn settle(&self) {
        assert!(
            (0..MOST_TURNS).any(|_| !self.turn()),
            "something happens for ever: {MOST_TURNS} turns were not enough"
        );
    }

    /// Sets bits of the driver's notification, and lets the driver take them.
    pub fn notify(&self, set: u64) {
        kernel::with(|kernel| kernel.bits |= set);
        self.turn();
    }

    /// Sends a heartbeat: [`Driver::pulse`] checks a device whose interrupt may have been lost.
    pub fn pulse(&self) {
        self.notify(bits::HEARTBEAT);
    }

    /// Notifies the driver that a peer that it calls has begun a new life.
    pub fn peer_died(&self) {
        self.notify(bits::PEER);
    }

    /// Advances the time by `ms` milliseconds; timers that are due expire at the driver's next
    /// turn.
    pub fn pass(&self, ms: u64) {
        kernel::with(|kernel| kernel.now += ms * 1_000_000);
    }

    /// Ends a client's life, its requests and its notifications; its next life has the same row.
    pub fn client_dies(&self, client: usize) {
        kernel::with(|kernel| kernel.forget_client(FIRST_CLIENT + client as u16));
        let mut generations = self.generations.get();
        if let Some(generation) = generations.get_mut(client) {
            *generation += 1;
        }
        self.generations.set(generations);
        CALLERS.set(generations);
    }

    /// Kills the driver, whatever it is doing.
    pub fn kill(&self) {
        if let Some(runner) = runner() {
            runner.borrow().deaths.ended(fuse::passed());
            core::mem::forget(runner.borrow_mut().driver.take());
            kernel::with(Kernel::end_life);
        }
    }

    /// The number of lives that have begun.
    pub fn lives(&self) -> u32 {
        kernel::with(|kernel| kernel.generation).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let steps = fuse::passed();
        fuse::set(None);
        if let Some(runner) = RUNNER.take() {
            // Its destructors would call a kernel that no longer exists.
            if let Ok(mut runner) = runner.try_borrow_mut() {
                runner.deaths.ended(steps);
                core::mem::forget(runner.driver.take());
            }
        }
        kernel::remove();
    }
}
