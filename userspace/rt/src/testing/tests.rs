//! The harness, by drivers that keep their promises and drivers that do not.

use super::*;
use crate::callers::{Callers, Subscribers};
use crate::exec::Lend;
use crate::ipc::{CallError, Handle, Kinds, Loan, Request, Rights};
use crate::irq::Irq;
use crate::memory::{Mapping, Memory};
use crate::notify::Notification;
use crate::port::{FakePorts, IoPorts, Port};
use crate::time::Timer;
use crate::{Answer, Driver, Status};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

const PRINTER: u16 = 0x378;

/// A printer, which prints what is written to it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn ports(&self) -> FakePorts {
        let (paper, mut ports) = (self.0.clone(), FakePorts::new());
        ports.hook(move |access| {
            match access {
                crate::fake::Access::Write(0, byte) => paper.lock().unwrap().push(byte as u8),
                crate::fake::Access::Read(1) => return Some(paper.lock().unwrap().len() as u32),
                _ => {}
            }
            None
        });
        ports
    }
}

/// Prints each byte that is lent with request 1, numbered by word 0. How much is printed it keeps, or forgets to.
struct Printer<const KEEPS: bool> {
    port: IoPorts,
    keep: Mapping,
}

impl<const KEEPS: bool> Driver for Printer<KEEPS> {
    fn init() -> Self {
        let keep = Memory::keep().and_then(|memory| memory.map(true).ok()).expect("memory to keep");
        Printer { port: IoPorts::granted(PRINTER, 2).expect("a printer"), keep }
    }

    fn request(&mut self, request: &Request) -> Answer {
        let [number, ..] = request.words;
        let mut bytes = [0; 16];
        let Ok(count) = request.read(0, 0, &mut bytes) else { return Answer::refuse(1) };
        // Kept: the number of the write, and how much paper there was when it began, as one store.
        let begun = self.keep.read_u64(0);
        if !KEEPS || begun >> 32 != number {
            self.keep.write_u64(0, number << 32 | u64::from(self.port.read8(1)));
        }
        let done = self.port.read8(1).wrapping_sub(self.keep.read_u64(0) as u8) as usize;
        for byte in bytes.iter().take(count).skip(done) {
            self.port.write8(0, *byte);
        }
        Answer::ok([count as u64, 0, 0, 0])
    }
}

fn print_with<const KEEPS: bool>(deaths: &Deaths) -> Vec<u8> {
    let paper = Paper::default();
    let driver = Harness::new("printer")
        .ports("printer", PRINTER, 2, paper.ports())
        .keep(8)
        .deaths(deaths)
        .start::<Printer<KEEPS>>();
    for (number, text) in [(1, &b"one, "[..]), (2, b"two")] {
        let reply = driver.client(0).call_retrying(1, [number, 0, 0, 0], &mut [Loan::Read(text)]).expect("an answer");
        assert_eq!((reply.label, reply.words[0]), (0, text.len() as u64));
    }
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
    paper.0.lock().unwrap().clone()
}

#[test]
fn a_driver_that_keeps_how_far_it_was_does_everything_once_whenever_it_dies() {
    let mut seen = 0;
    let steps = every_death(|deaths| {
        assert_eq!(print_with::<true>(deaths), b"one, two");
        seen += 1;
    });
    assert!((20..200).contains(&steps), "{steps} steps");
    assert_eq!(seen, steps + 2, "one without a death, and one for each step and beyond");
    // Of every third step, each is tried, and the steps are counted as exactly.
    for stride in [1, 3, 7, steps as usize, 1000] {
        let mut died = 0;
        let tried = every_nth_death(stride, |deaths| {
            assert_eq!(print_with::<true>(deaths), b"one, two");
            died += deaths.count() as u64;
        });
        assert_eq!(tried, Tried { deaths: steps.div_ceil(stride as u64), steps });
        assert_eq!(tried.deaths, died);
    }
    let mut pairs = 0;
    every_two_deaths(3, 12, |deaths| {
        assert_eq!(print_with::<true>(deaths), b"one, two");
        pairs += usize::from(deaths.count() == 2);
    });
    assert!(pairs > 50, "{pairs} trials with two deaths");
}

#[test]
fn a_driver_that_forgets_how_far_it_was_is_found_out() {
    let doubled = Cell::new(0);
    every_death(|deaths| doubled.set(doubled.get() + usize::from(print_with::<false>(deaths) != b"one, two")));
    assert!(doubled.get() > 0);
}

/// Lends, waits, tells: request 1 waits for the line, which brings a byte; 2 subscribes; 3 sets a timer and answers when it rings; 4 fills memory.
struct Parker {
    port: IoPorts,
    line: Irq,
    timer: Timer,
    waiting: Callers<()>,
    slept: Callers<()>,
    subscribers: Subscribers,
    pulses: u64,
}

const TIMER: u32 = 40;

impl Driver for Parker {
    const TAKES: Kinds = Kinds::NOTIFICATION;

    fn init() -> Self {
        let port = IoPorts::granted(PRINTER, 1).expect("a port");
        let (line, timer) = (Irq::named("ring").expect("a line"), Timer::new(TIMER).expect("a timer"));
        let (waiting, slept) = (Callers::default(), Callers::default());
        Parker { port, line, timer, waiting, slept, subscribers: Subscribers::default(), pulses: 0 }
    }

    fn notified(&mut self, bits: u64) {
        if bits & self.line.bits() != 0 {
            let byte = self.port.read8(0).into();
            self.line.ack();
            self.subscribers.signal();
            self.waiting.serve(|_| Some((0, [byte, 0, 0, 0])));
        }
        if bits & 1 << TIMER != 0 {
            self.slept.serve(|_| Some((0, [crate::time::now_ns(), 0, 0, 0])));
        }
    }

    fn pulse(&mut self) {
        self.pulses += 1;
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            1 => self.waiting.ask(request, (), 9, |_| None),
            2 if self.subscribers.add(request, false) => Answer::ok([self.pulses, 0, 0, 0]),
            3 => {
                self.timer.arm_in_ms(request.words[0]);
                self.slept.ask(request, (), 9, |_| None)
            }
            4 => match request.write(0, 1, b"filled") {
                Ok(count) => Answer::ok([count as u64, 0, 0, 0]),
                Err(status) => Answer::refuse(status as u16),
            },
            _ => Answer::bad_request(),
        }
    }
}

/// A device with a byte for each time that it is rung, and a line that is high while it has any.
#[derive(Clone, Default)]
struct Ringer(Arc<Mutex<Vec<u8>>>);

impl Ringer {
    fn start(&self, deaths: &Deaths) -> Running {
        let (device, line) = (self.0.clone(), self.0.clone());
        let mut ports = FakePorts::new();
        ports.hook(move |_| Some(device.lock().unwrap().pop().unwrap_or(0).into()));
        let harness =
            Harness::new("bell").ports("bell", PRINTER, 1, ports).irq("ring", move || !line.lock().unwrap().is_empty());
        harness.deaths(deaths).start::<Parker>()
    }
}

#[test]
fn deferred_answers_come_when_the_line_rises_and_each_task_has_its_own() {
    let ringer = Ringer::default();
    let driver = ringer.start(&Deaths::none());
    let asked: Vec<_> = (0..3).map(|client| driver.ask(client, 1, [0; 4], vec![])).collect();
    driver.settle();
    assert!(asked.iter().all(|asked| driver.answer(*asked).is_none()));
    driver.client_dies(1);
    ringer.0.lock().unwrap().push(7);
    driver.settle();
    let answers: Vec<_> =
        asked.iter().map(|asked| driver.answer(*asked).map(|it| it.reply.map(|reply| reply.words[0]))).collect();
    assert_eq!(answers, [Some(Ok(7)), None, Some(Ok(7))]);
    // The next life of the client waits anew, and is told the next byte alone.
    let again = driver.ask(1, 1, [0; 4], vec![]);
    driver.settle();
    assert!(driver.answer(again).is_none());
    driver.kill();
    let died = driver.answer(again).expect("the driver died over it").reply;
    assert_eq!(died, Err(CallError::Died { generation: 1 }));
    driver.settle();
    assert_eq!(driver.lives(), 2);
}

#[test]
fn a_line_is_edge_triggered_and_masked_until_it_is_acknowledged() {
    let ringer = Ringer::default();
    let driver = ringer.start(&Deaths::none());
    let wait = |client| {
        let asked = driver.ask(client, 1, [0; 4], vec![]);
        driver.settle();
        driver.answer(asked).map(|answered| answered.reply.map(|reply| reply.words[0]))
    };
    // Two bytes: the driver takes one, and the line stays high. It has not risen again, so nothing more comes.
    ringer.0.lock().unwrap().extend([1, 2]);
    super::device::sample_lines();
    driver.settle();
    assert_eq!(*ringer.0.lock().unwrap(), [1]);
    assert_eq!(wait(0), None);
    ringer.0.lock().unwrap().clear();
    super::device::sample_lines();
    ringer.0.lock().unwrap().push(3);
    super::device::sample_lines();
    assert!(ringer.0.lock().unwrap().len() == 1);
    driver.settle();
    assert!(ringer.0.lock().unwrap().is_empty());
}

#[test]
fn timers_ring_when_nothing_else_happens_and_pulses_come_when_they_are_sent() {
    let driver = Ringer::default().start(&Deaths::none());
    let before = crate::time::now_ns();
    let reply = driver.client(0).call(3, [250, 0, 0, 0]).expect("the timer rings");
    assert!((250_000_000..251_000_000).contains(&(reply.words[0] - before)), "{} ns", reply.words[0] - before);
    driver.pulse();
    driver.pulse();
    let mine = Notification::create().expect("the test has notifications");
    let handle = Handle::notification(mine.0, Rights::SIGNAL);
    let reply = driver.client(0).call_handle(2, [0b100, 0, 0, 0], &mut [], handle).expect("it subscribes");
    assert_eq!(reply.words[0], 2);
}

#[test]
fn subscribers_are_signalled_until_they_die() {
    let ringer = Ringer::default();
    let driver = ringer.start(&Deaths::none());
    let mine = Notification::create().expect("the test has notifications");
    let handle = Handle::notification(mine.0, Rights::SIGNAL);
    driver.client(3).call_handle(2, [0b100, 0, 0, 0], &mut [], handle).expect("it subscribes");
    let ring = || {
        ringer.0.lock().unwrap().push(1);
        super::device::sample_lines();
        driver.settle();
        mine.poll(u64::MAX)
    };
    assert_eq!([ring(), ring()], [0b100; 2]);
    driver.client_dies(3);
    assert_eq!(ring(), 0);
    // A kind of handle that the driver does not take is refused to its sender.
    let refused = driver.client(0).call_handle(2, [1, 0, 0, 0], &mut [], Handle::memory(5, Rights::READ));
    assert!(matches!(refused, Err(CallError::Failed(Status::BadHandle | Status::HandleRefused))), "{refused:?}");
}

#[test]
fn leases_have_bounds_and_rights_and_end_with_the_call() {
    let driver = Ringer::default().start(&Deaths::none());
    let fill = |lend| {
        let asked = driver.ask(0, 4, [0; 4], vec![lend]);
        driver.settle();
        let Answered { reply, lent } = driver.answer(asked).expect("an answer");
        let reply = reply.expect("the driver lives");
        (reply.label, reply.words[0], lent)
    };
    assert_eq!(fill(Lend::Write(vec![b'.'; 8])), (0, 6, vec![b".filled.".to_vec()]));
    assert_eq!(fill(Lend::Both(vec![b'.'; 4])), (0, 3, vec![b".fil".to_vec()]));
    assert_eq!(fill(Lend::Write(vec![])), (Status::LeaseBounds as u16, 0, vec![vec![]]));
    assert_eq!(fill(Lend::Read(vec![b'.'; 8])), (Status::LeaseBounds as u16, 0, vec![b"........".to_vec()]));
    let mut mine = [b'-'; 9];
    driver.client(1).call_with(4, [0; 4], &mut [Loan::Write(&mut mine)]).expect("an answer");
    assert_eq!(&mine, b"-filled--");
}

#[test]
#[should_panic(expected = "the driver owes an answer to request 1, and nothing will ever happen")]
fn an_answer_that_can_never_come_is_told() {
    let driver = Ringer::default().start(&Deaths::none());
    let _ = driver.client(0).call(1, [0; 4]);
}

#[test]
fn a_panic_of_the_drivers_own_is_the_tests() {
    struct Panics;
    impl Driver for Panics {
        fn init() -> Self {
            Panics
        }
        fn request(&mut self, _: &Request) -> Answer {
            panic!("a mistake")
        }
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let driver = Harness::new("panics").start::<Panics>();
        let _ = driver.client(0).call(1, [0; 4]);
    }));
    assert_eq!(outcome.expect_err("it panics").downcast_ref::<&str>(), Some(&"a mistake"));
    // The next one on this thread is not hindered.
    assert_eq!(Ringer::default().start(&Deaths::none()).lives(), 1);
}

/// Counts in a device's memory, with what a peer says, and drops something.
struct Mapped(Mapping, Rc<()>);

impl Driver for Mapped {
    fn init() -> Self {
        let registers = Memory::range("registers").expect("a range").map(true).expect("it is mapped");
        Mapped(registers, Rc::new(()))
    }
    fn request(&mut self, request: &Request) -> Answer {
        let peer = crate::ipc::Endpoint::peer("adder").expect("a peer");
        let sum = peer.call(1, request.words).expect("it answers").words[0];
        self.0.write_u32(8, sum as u32);
        Answer::ok([self.0.read_u16(4).into(), 0, 0, 0])
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        panic!("a life that ends drops nothing: {}", Rc::strong_count(&self.1));
    }
}

struct Registers(Rc<RefCell<Vec<(usize, usize, u64)>>>);

impl Device for Registers {
    fn read(&mut self, offset: usize, width: usize) -> u64 {
        (offset * 100 + width) as u64
    }
    fn write(&mut self, offset: usize, width: usize, value: u64) {
        self.0.borrow_mut().push((offset, width, value));
    }
}

#[test]
fn a_device_behind_memory_sees_each_access_and_a_life_ends_before_any() {
    let steps = every_death(|deaths| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let harness = Harness::new("mapped").device("registers", 64, Registers(seen.clone()));
        let driver = harness.peer("adder", |_, [a, b, ..]| (0, [a + b, 0, 0, 0])).deaths(deaths).start::<Mapped>();
        let reply = driver.client(0).call_retrying(1, [4, 5, 0, 0], &mut []).expect("an answer");
        assert_eq!(reply.words[0], 402);
        assert_eq!(seen.borrow().last(), Some(&(8, 4, 9)));
    });
    // The range's size and its mapping; the call and its answer; two accesses; the answer to the client.
    assert_eq!(steps, 7);
}

/// Sends the bytes of word 0 over a UART, one at each interrupt: acknowledges it, and then writes the next byte, without a look at the UART's registers.
struct Sender {
    port: IoPorts,
    line: Irq,
    rest: u64,
}

impl Driver for Sender {
    fn init() -> Self {
        let mut port = IoPorts::named("uart").expect("ports");
        let line = Irq::named("uart").expect("a line");
        // Interrupts of an empty transmitter; the line on.
        port.write8(1, 2);
        port.write8(4, 8);
        Sender { port, line, rest: 0 }
    }

    fn notified(&mut self, bits: u64) {
        if bits & self.line.bits() != 0 {
            self.line.ack();
            self.send();
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        self.rest = request.words[0];
        self.send();
        Answer::ok([0; 4])
    }
}

impl Sender {
    fn send(&mut self) {
        if self.rest != 0 {
            self.port.write8(0, self.rest as u8);
            self.rest >>= 8;
        }
    }
}

/// QEMU's UART is empty again at once: its line falls and rises within the access that writes a byte.
#[test]
fn a_line_of_qemus_that_falls_and_rises_in_one_access_has_risen() {
    let machine = qemu::Machine::start(&[]);
    let harness = Harness::new("sender").ports("uart", 0x3f8, 8, machine.ports(0x3f8, 8));
    let driver = harness.qemu_irq("uart", &machine, 4).start::<Sender>();
    driver.client(0).call(1, [u64::from_le_bytes(*b"a longer"), 0, 0, 0]).expect("an answer");
    let mut sent = Vec::new();
    machine.until("all bytes are sent", || {
        driver.settle();
        sent.extend(machine.received());
        sent.len() >= 8
    });
    assert_eq!(sent, b"a longer");
}

/// Sets the bits of word 0 by a handle that is for those of word 1. Words 0 and 1 of the answer: the status, and what it then finds set.
struct Signaller;

impl Driver for Signaller {
    fn init() -> Self {
        Signaller
    }

    fn request(&mut self, request: &Request) -> Answer {
        let [set, limit, ..] = request.words;
        let handle = Notification::own().only(limit).expect("a copy");
        let status = Notification(handle.number).signal(set).map_or_else(|status| status, |()| Status::Ok);
        let timer = Timer::on(Notification(handle.number), 41).map_or_else(|status| status, |_| Status::Ok);
        let found = Notification::own().poll(u64::MAX);
        Answer::ok([status as u64, found, timer as u64, 0])
    }
}

/// As in the kernel: of a task's own notification, nobody else can set what interrupts and the kernel set.
#[test]
fn a_handle_sets_the_bits_that_it_is_for_and_no_others() {
    let driver = Harness::new("signaller").start::<Signaller>();
    let ask = |set: u64, limit: u64| driver.client(0).call(1, [set, limit, 0, 0]).expect("an answer").words;
    let (ok, refused) = (Status::Ok as u64, Status::NoRights as u64);
    assert_eq!(ask(1 << 40, 1 << 40), [ok, 1 << 40, refused, 0]);
    assert_eq!(ask(1 << 41, 3 << 40), [ok, 1 << 41, ok, 0]);
    assert_eq!(ask(3 << 40, 1 << 40), [refused, 0, refused, 0], "one of the two is not to be set: neither is");
    assert_eq!(ask(1 << 3, 1 << 3 | 1 << 40), [refused, 0, refused, 0], "an interrupt's");
}
