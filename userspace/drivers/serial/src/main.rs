//! The serial driver: interrupts on one side, requests on the other, the rings in kept memory between them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use driver_serial::device::{Errors, Uart};
use driver_serial::keep::{Begin, Keep};
use driver_serial::ports::Com1;
use driver_serial::writes::feed;
use driver_serial::{Info, label, outcome};
use rt::callers::{Caller, Callers, Ready, Subscribers};
use rt::ipc::{Kinds, Request};
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
    line: Line,
    irq: Irq,
    timer: Timer,
    writers: Callers<Write>,
    readers: Callers<Read>,
    /// Those who wait until all up to a position is sent.
    flushers: Callers<u32>,
    subscribers: Subscribers,
    /// The errors that were said.
    said: Errors,
}

/// The device, and its rings.
struct Line {
    uart: Uart<Com1>,
    keep: &'static Keep,
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
    wait: bool,
}

impl Driver for Serial {
    const TAKES: Kinds = Kinds::NOTIFICATION;

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
            line: Line { uart, keep },
            irq,
            timer,
            writers: Callers::default(),
            readers: Callers::default(),
            flushers: Callers::default(),
            subscribers: Subscribers::default(),
            said: Errors::default(),
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
        if self.line.uart.kick() {
            self.writers.serve(|write| self.line.advance(write));
            self.answer_flushers();
        }
        let errors = self.line.uart.errors();
        let bytes = errors.bytes_since(self.said);
        if bytes > 0 {
            self.said = errors;
            let Errors { overruns, parity, framing, .. } = errors;
            rt::println!(
                "{bytes} bytes came in damaged or not at all (so far {overruns} overruns, {parity} parity, {framing} framing)"
            );
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::WRITE => self.write(request),
            label::READ => self.read(request),
            label::SUBSCRIBE => self.subscribe(request),
            label::INFO => Answer::ok(self.line.info().to_words()),
            label::FLUSH => self.flush(request),
            label::CANCEL => {
                self.readers.cancel(request.sender.task);
                Answer::ok([0; 4])
            }
            _ => Answer::bad_request(),
        }
    }

    fn takes_handle(label: u16) -> bool {
        label == label::SUBSCRIBE
    }
}

impl Serial {
    fn interrupt(&mut self) {
        let serviced = self.line.uart.service();
        if serviced.more && Notification::own().signal(AGAIN).is_ok() {
            // The interrupt stays masked until the rest is done.
        } else {
            self.irq.ack();
        }
        if serviced.received {
            self.subscribers.signal();
            self.readers.serve(|read| self.line.give(read));
        }
        if serviced.sent {
            // What does not fit now waits for the next interrupt, which comes because the ring is full.
            self.writers.serve(|write| self.line.advance(write));
            self.answer_flushers();
        }
    }

    fn write(&mut self, request: &Request) -> Answer {
        let Ok(Ok(len)) = request.lease_len(0).map(u32::try_from) else {
            return Answer::refuse(outcome::BAD_LEASE);
        };
        if !self.line.uart.is_present() {
            return Answer::refuse(outcome::NO_DEVICE);
        }
        let write = Write { sequence: request.words[0], len, progress: None };
        self.writers.ask_in_turn(request, write, outcome::BUSY, |write| self.line.advance(write))
    }

    fn read(&mut self, request: &Request) -> Answer {
        let Ok(capacity) = request.lease_len(0) else {
            return Answer::refuse(outcome::BAD_LEASE);
        };
        let [wait, sequence, ..] = request.words;
        let read = Read { sequence: sequence as u32, capacity, wait: wait != 0 };
        self.readers.ask(request, read, outcome::BUSY, |read| self.line.give(read))
    }

    fn subscribe(&mut self, request: &Request) -> Answer {
        if self.subscribers.add(request, self.line.keep.rx_len() > 0) {
            Answer::ok([0; 4])
        } else {
            Answer::refuse(outcome::NOT_SUBSCRIBED)
        }
    }

    fn flush(&mut self, request: &Request) -> Answer {
        let position = self.line.keep.tx_accepted();
        let answer = self.flushers.ask(request, position, outcome::BUSY, |flush| self.line.flushed(flush));
        self.look_again();
        answer
    }

    fn answer_flushers(&mut self) {
        self.flushers.serve(|flush| self.line.flushed(flush));
        self.look_again();
    }

    /// Has the timer look again, if somebody waits for that.
    fn look_again(&self) {
        if !self.flushers.is_empty() {
            self.timer.arm_in_ms(FLUSH_MS);
        }
    }
}

impl Line {
    /// Moves a write on as far as the transmit ring has room; the answer where that ends it.
    fn advance(&mut self, write: &mut Caller<Write>) -> Option<Ready> {
        let Caller { task, pending, what } = write;
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
        let answer = match fed {
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
        answer
    }

    /// Gives a reader what there is; no answer where that is nothing and it waits.
    fn give(&mut self, read: &mut Caller<Read>) -> Option<Ready> {
        let Caller { task, pending, what } = read;
        let copy = |offset, bytes: &[u8]| pending.write_all(0, offset, bytes);
        let given = self.keep.read(*task, what.sequence, what.capacity, copy);
        self.uart.received_room();
        match given {
            Ok(0) if what.wait && what.capacity != 0 => None,
            Ok(count) => Some((0, [count as u64, 0, 0, 0])),
            Err(_) => Some((outcome::BAD_LEASE, [0; 4])),
        }
    }

    fn flushed(&mut self, flush: &mut Caller<u32>) -> Option<Ready> {
        self.uart.flushed(flush.what).then_some((0, [0; 4]))
    }

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
}

/// The memory that outlives the driver; without any, memory of its own that does not.
fn kept_memory() -> &'static Keep {
    let (memory, kept) = Memory::kept(size_of::<Keep>());
    if !kept {
        rt::println!("no memory to keep: a restart loses what is unsent and unread");
    }
    Keep::open(memory).expect("the memory is as large as the state")
}
