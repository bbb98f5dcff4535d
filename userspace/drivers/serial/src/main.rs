//! The serial driver: interrupts on one side, requests on the other, the rings in kept memory between them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::{Status, TaskId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use driver_serial::device::Uart;
use driver_serial::keep::{Begin, Keep};
use driver_serial::ports::Com1;
use driver_serial::writes::feed;
use driver_serial::{Info, label, outcome};
use rt::ipc::{Pending, Request};
use rt::irq::Irq;
use rt::memory::Memory;
use rt::notify::Notification;
use rt::time::Timer;
use rt::{Answer, Driver};

rt::driver!(Serial);

/// Notification bit of the timer that looks whether the transmitter has run dry, of which there is no interrupt.
const FLUSH_BIT: u32 = 32;

/// Notification bit by which the driver calls itself when an interrupt's work was cut into parts.
const AGAIN: u64 = 1 << 33;

/// Milliseconds between two looks at the transmitter: the time of about 12 bytes at 115200 baud.
const FLUSH_MS: u64 = 1;

/// Most goes at the interrupts that were pending before the driver's start.
const STALE_GOES: usize = 64;

struct Serial {
    uart: Uart<Com1>,
    keep: &'static Keep,
    irq: Irq,
    timer: Timer,
    writers: VecDeque<Waiting<Write>>,
    readers: VecDeque<Waiting<Read>>,
    flushers: VecDeque<Waiting<u32>>,
    subscribers: Vec<Subscriber>,
}

/// A request that is answered later. A task has at most one of each kind, so there are never more than tasks.
struct Waiting<T> {
    task: TaskId,
    pending: Pending,
    what: T,
}

struct Write {
    sequence: u64,
    len: u32,
    /// Bytes in the transmit ring; `None` before its turn has come.
    progress: Option<u32>,
}

struct Read {
    sequence: u32,
    capacity: usize,
}

struct Subscriber {
    task: TaskId,
    notification: u32,
    bits: u64,
}

impl Driver for Serial {
    fn init() -> Self {
        let ports = Com1::granted().expect("the task table grants no ports 0x3f8 to 0x3ff");
        let irq = Irq::named("rx").expect("the task table grants no interrupt `rx`");
        let timer = Timer::new(FLUSH_BIT).expect("no timer");
        let keep = kept_memory();
        let mut uart = Uart::start(ports, keep);
        // The last life may have left the interrupt line high, and the controller only sees it rise.
        for _ in 0..STALE_GOES {
            if !uart.service().more {
                break;
            }
        }
        irq.ack();
        if !uart.is_present() {
            rt::println!("no UART at 0x3f8");
        } else if uart.is_warm() {
            rt::println!("going on with {} bytes unsent, {} unread", keep.tx_len(), keep.rx_len());
        } else if !uart.is_exact() {
            rt::println!("the bus is narrow: a restart may double or lose the byte in flight");
        }
        Serial {
            uart,
            keep,
            irq,
            timer,
            writers: VecDeque::new(),
            readers: VecDeque::new(),
            flushers: VecDeque::new(),
            subscribers: Vec::new(),
        }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.irq.bits() | AGAIN) != 0 {
            self.interrupt();
        }
        if bits & 1 << FLUSH_BIT != 0 {
            self.answer_flushers();
        }
    }

    fn pulse(&mut self) {
        self.interrupt();
        // The interrupt that was lost may have been the transmitter's, which comes only once.
        if self.uart.kick() {
            self.answer_writers();
            self.answer_flushers();
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::WRITE => self.write(request),
            label::READ => self.read(request),
            label::SUBSCRIBE => self.subscribe(request),
            label::INFO => Answer::ok(self.info().to_words()),
            label::FLUSH => self.flush(request),
            label::CANCEL => self.cancel(request.sender.task),
            _ => Answer::bad_request(),
        }
    }

    fn takes_handle(label: u16) -> bool {
        label == label::SUBSCRIBE
    }
}

impl Serial {
    fn interrupt(&mut self) {
        let serviced = self.uart.service();
        if serviced.more && Notification::own().signal(AGAIN).is_ok() {
            // The interrupt stays masked until the rest is done.
        } else {
            self.irq.ack();
        }
        if serviced.received {
            self.subscribers.retain(notify);
            self.answer_readers();
        }
        if serviced.sent {
            self.answer_writers();
            self.answer_flushers();
        }
    }

    // ---- Writing ----

    fn write(&mut self, request: &Request) -> Answer {
        let Ok(Ok(len)) = request.lease_len(0).map(u32::try_from) else {
            return refuse(outcome::BAD_LEASE);
        };
        if !self.uart.is_present() {
            return refuse(outcome::NO_DEVICE);
        }
        if !may_wait(&mut self.writers, request.sender.task) {
            return refuse(outcome::BUSY);
        }
        let what = Write { sequence: request.words[0], len, progress: None };
        let mut write = Waiting { task: request.sender.task, pending: request.pending(), what };
        if self.writers.is_empty()
            && let Some((label, words)) = self.advance(&mut write)
        {
            return Answer::Reply(label, words);
        }
        self.writers.push_back(write);
        Answer::Later
    }

    /// Moves a write on as far as the transmit ring has room; the reply where that ends it.
    fn advance(&mut self, write: &mut Waiting<Write>) -> Option<(u16, [u64; 4])> {
        let Waiting { task, pending, what } = write;
        let mut progress = match what.progress {
            Some(progress) => progress,
            None => match self.keep.begin_write(*task, what.sequence) {
                Begin::Done => return Some((0, [what.len as u64, 0, 0, 0])),
                // More than there is: what was kept is damaged.
                Begin::From(progress) if progress > what.len => 0,
                Begin::From(progress) => progress,
            },
        };
        let fed = feed(self.keep, what.len, &mut progress, |offset, buffer| pending.read(0, offset, buffer));
        what.progress = Some(progress);
        let reply = match fed {
            Ok(false) => None,
            Ok(true) => {
                self.keep.end_write(*task, what.sequence);
                Some((0, [what.len as u64, 0, 0, 0]))
            }
            Err(_) => {
                self.keep.drop_write();
                Some((outcome::BAD_LEASE, [progress as u64, 0, 0, 0]))
            }
        };
        self.uart.kick();
        reply
    }

    /// Goes on with the writes that wait for room, in their order. What then does not fit waits for the next interrupt, which
    /// comes because the ring is full.
    fn answer_writers(&mut self) {
        while let Some(mut write) = self.writers.pop_front() {
            match self.advance(&mut write) {
                // A caller that is gone wants no answer.
                Some((label, words)) => {
                    let _ = write.pending.reply(label, words);
                }
                None => {
                    self.writers.push_front(write);
                    return;
                }
            }
        }
    }

    // ---- Reading ----

    fn read(&mut self, request: &Request) -> Answer {
        let Ok(capacity) = request.lease_len(0) else {
            return refuse(outcome::BAD_LEASE);
        };
        let [wait, sequence, ..] = request.words;
        let sequence = sequence as u32;
        let task = request.sender.task;
        if !may_wait(&mut self.readers, task) {
            return refuse(outcome::BUSY);
        }
        let given =
            self.keep.read(task, sequence, capacity, |offset, bytes| all(request.write(0, offset, bytes), bytes));
        self.uart.received_room();
        match given {
            Ok(0) if wait != 0 && capacity != 0 => {
                let what = Read { sequence, capacity };
                self.readers.push_back(Waiting { task, pending: request.pending(), what });
                Answer::Later
            }
            Ok(count) => Answer::ok([count as u64, 0, 0, 0]),
            Err(_) => refuse(outcome::BAD_LEASE),
        }
    }

    fn answer_readers(&mut self) {
        while self.keep.rx_len() > 0 {
            let Some(Waiting { task, pending, what }) = self.readers.pop_front() else {
                return;
            };
            let given = self
                .keep
                .read(task, what.sequence, what.capacity, |offset, bytes| all(pending.write(0, offset, bytes), bytes));
            let (label, count) = given.map_or((outcome::BAD_LEASE, 0), |count| (0, count));
            // A caller that is gone wants no answer.
            let _ = pending.reply(label, [count as u64, 0, 0, 0]);
            self.uart.received_room();
        }
    }

    fn cancel(&mut self, task: TaskId) -> Answer {
        let waiting = self.readers.iter().position(|reader| reader.task == task);
        if let Some(Waiting { pending, .. }) = waiting.and_then(|at| self.readers.remove(at)) {
            // A caller that is gone wants no answer.
            let _ = pending.reply(0, [0; 4]);
        }
        Answer::ok([0; 4])
    }

    fn subscribe(&mut self, request: &Request) -> Answer {
        let Some(notification) = request.handle else {
            return refuse(outcome::NOT_SUBSCRIBED);
        };
        let subscriber = Subscriber { task: request.sender.task, notification, bits: request.words[0] };
        self.subscribers.retain(|other| {
            let keep = other.task.index != subscriber.task.index;
            if !keep {
                close(other.notification);
            }
            keep
        });
        if self.keep.rx_len() == 0 || notify(&subscriber) {
            self.subscribers.push(subscriber);
        }
        Answer::ok([0; 4])
    }

    // ---- The rest ----

    fn info(&self) -> Info {
        Info {
            unread: self.keep.rx_len(),
            unsent: self.keep.tx_len(),
            sent: self.keep.tx_sent(),
            errors: self.uart.errors(),
            present: self.uart.is_present(),
            restarted: self.uart.is_warm(),
            exact: self.uart.is_exact(),
        }
    }

    fn flush(&mut self, request: &Request) -> Answer {
        let position = self.keep.tx_accepted();
        if self.uart.flushed(position) {
            return Answer::ok([0; 4]);
        }
        let task = request.sender.task;
        if !may_wait(&mut self.flushers, task) {
            return refuse(outcome::BUSY);
        }
        self.flushers.push_back(Waiting { task, pending: request.pending(), what: position });
        self.timer.arm_in_ms(FLUSH_MS);
        Answer::Later
    }

    fn answer_flushers(&mut self) {
        while let Some(waiting) = self.flushers.pop_front() {
            if !self.uart.flushed(waiting.what) {
                self.flushers.push_front(waiting);
                self.timer.arm_in_ms(FLUSH_MS);
                return;
            }
            // A caller that is gone wants no answer.
            let _ = waiting.pending.reply(0, [0; 4]);
        }
    }
}

fn refuse(outcome: u16) -> Answer {
    Answer::Reply(outcome, [0; 4])
}

/// Whether a request of this task may join the queue: not beside another one of the same life. One of an earlier life of the task
/// has nobody left to answer and makes room.
fn may_wait<T>(queue: &mut VecDeque<Waiting<T>>, task: TaskId) -> bool {
    queue.retain(|other| other.task.index != task.index || other.task == task);
    queue.iter().all(|other| other.task != task)
}

/// A copy to a caller that came short means that the lease is shorter than it said.
fn all(copied: Result<usize, Status>, bytes: &[u8]) -> Result<(), Status> {
    if copied? == bytes.len() { Ok(()) } else { Err(Status::LeaseBounds) }
}

/// Signals a subscriber; one that is gone is given up.
fn notify(subscriber: &Subscriber) -> bool {
    let lives = Notification(subscriber.notification).signal(subscriber.bits).is_ok();
    if !lives {
        close(subscriber.notification);
    }
    lives
}

fn close(handle: u32) {
    // The handle is the driver's own: closing it can fail only where it is closed already.
    let _ = rt::ipc::close(handle);
}

/// The memory that outlives the driver; without any, memory of its own that does not.
fn kept_memory() -> &'static Keep {
    let kept = Memory::keep().and_then(|memory| memory.map(true).ok()).and_then(|mapping| Keep::open(mapping.leak()));
    kept.unwrap_or_else(|| {
        rt::println!("no memory to keep: a restart loses what is unsent and unread");
        let words = alloc::vec![0_u64; size_of::<Keep>().div_ceil(8)].leak();
        Keep::open(zerocopy::IntoBytes::as_mut_bytes(words)).expect("the memory is as large as the state")
    })
}
