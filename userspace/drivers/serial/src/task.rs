//! The serial driver's task: handles interrupts and requests; the rings are in kept memory.

use crate::device::{Errors, PORTS, Uart};
use crate::keep::Keep;
use crate::writes::{CHUNK, feed};
use crate::{Call, Info, Outcome, Queue, Refusal, Server};
use rt::abi::TaskId;
use rt::callers::Subscribers;
use rt::irq::{Irq, Left};
use rt::keep::{Begin, Run, low_bytes};
use rt::notify::Notification;
use rt::port::IoPorts;
use rt::proto::{Asker, In, Out, Owned};
use rt::time::Timer;
use rt::{Bit, Driver, Status};

/// Notification bit of the timer that checks whether the transmitter is empty, for which there is
/// no interrupt.
const FLUSH: Bit = Bit::new(32);

/// Notification bit that the driver sets for itself if it handles an interrupt in several parts.
const AGAIN: Bit = Bit::new(33);

/// Milliseconds between two checks of the transmitter: the time of about 12 bytes at 115200 baud.
const FLUSH_MS: u64 = 1;

/// The driver's state.
pub struct Serial {
    line: Line,
    irq: Irq,
    timer: Timer,
    writers: Queue<Write, usize>,
    readers: Queue<Read, usize>,
    /// Requests that wait until all bytes up to a position are sent.
    flushers: Queue<u32>,
    subscribers: Subscribers,
    /// The errors that have been logged.
    said: Errors,
}

/// The device and its rings.
struct Line {
    uart: Uart<IoPorts>,
    keep: &'static Keep,
    chunk: [u8; CHUNK],
}

struct Write {
    number: u64,
    bytes: In,
    /// How many bytes are in the transmit ring; `None` before the write's turn.
    progress: Option<u32>,
}

struct Read {
    number: u64,
    buffer: Out,
    wait: bool,
}

impl Driver for Serial {
    fn init() -> Self {
        let ports = IoPorts::named("uart").filter(|ports| ports.len() >= PORTS).expect("eight ports called `uart`");
        let irq = Irq::named("rx").expect("the task table grants no interrupt `rx`");
        let timer = Timer::new(FLUSH).expect("no timer");
        let keep = rt::keep::open::<Keep>();
        let base = ports.base();
        let mut uart = Uart::start(ports, keep);
        irq.settle(|| Left::more(uart.service().more));
        if !uart.is_present() {
            rt::println!("no UART at {base:#x}");
        } else if uart.is_warm() {
            rt::println!("going on with {} bytes unsent, {} unread", keep.tx.len(), keep.rx.unread());
        } else if !uart.is_exact() {
            rt::println!("the bus is narrow: a restart may double or lose the byte in flight");
        }
        Serial {
            line: Line { uart, keep, chunk: [0; CHUNK] },
            irq,
            timer,
            writers: Queue::default(),
            readers: Queue::default(),
            flushers: Queue::default(),
            subscribers: Subscribers::default(),
            said: Errors::default(),
        }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.irq.bits() | AGAIN.mask()) != 0 {
            self.interrupt();
        }
        if FLUSH.is_in(bits) {
            self.answer_flushers();
        }
    }

    fn pulse(&mut self) {
        self.interrupt();
        // The interrupt that was lost may have been the transmitter's, which is not repeated.
        if self.line.uart.kick() {
            self.writers.serve(|task, write| self.line.advance(task, write));
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
}

impl Server for Serial {
    fn write(&mut self, call: Call<usize>, bytes: In) -> Outcome<usize> {
        if !self.line.uart.is_present() {
            return Err(Refusal::NoDevice).into();
        }
        let write = Write { number: call.from.number, bytes, progress: None };
        self.writers.ask_in_turn(call, write, |task, write| self.line.advance(task, write))
    }

    fn read(&mut self, call: Call<usize>, buffer: Out, wait: bool) -> Outcome<usize> {
        let read = Read { number: call.from.number, buffer, wait };
        self.readers.ask(call, read, |task, read| self.line.give(task, read))
    }

    fn subscribe(&mut self, from: Asker, bits: u64, notification: Owned<Notification>) -> Result<(), Refusal> {
        // The dead life may not have taken the bytes that it was given.
        self.subscribers.add_owned(from, bits, notification, !self.line.keep.rx.is_empty());
        Ok(())
    }

    fn info(&mut self, _: Asker) -> Result<Info, Refusal> {
        let Line { uart, keep, .. } = &self.line;
        Ok(Info {
            unread: keep.rx.unread(),
            unsent: keep.tx.len(),
            sent: keep.tx.tail(),
            errors: uart.errors(),
            present: uart.is_present(),
            restarted: uart.is_warm(),
            exact: uart.is_exact(),
        })
    }

    fn flush(&mut self, call: Call<()>) -> Outcome<()> {
        let position = self.line.keep.tx.head();
        let outcome =
            self.flushers.ask(call, position, |_, position| self.line.uart.flushed(*position).then_some(Ok(())));
        self.look_again();
        outcome
    }

    fn cancel(&mut self, from: Asker) -> Result<(), Refusal> {
        self.readers.end(from.task, Ok(0));
        Ok(())
    }

    fn read_from(&mut self, _: Asker, position: u32, buffer: Out) -> Result<Run, Refusal> {
        let Line { uart, keep, .. } = &mut self.line;
        let run = keep.rx.read_from(position, buffer.len() as usize, to(buffer));
        uart.received_room();
        run.map_err(|_| Refusal::BadLease)
    }
}

impl Serial {
    fn interrupt(&mut self) {
        let serviced = self.irq.drain(AGAIN, || {
            let serviced = self.line.uart.service();
            (Left::more(serviced.more), serviced)
        });
        if serviced.received {
            self.subscribers.signal();
            self.readers.serve(|task, read| self.line.give(task, read));
        }
        if serviced.sent {
            // The rest waits for the next interrupt, which comes because the ring is full.
            self.writers.serve(|task, write| self.line.advance(task, write));
            self.answer_flushers();
        }
    }

    fn answer_flushers(&mut self) {
        self.flushers.serve(|_, position| self.line.uart.flushed(*position).then_some(Ok(())));
        self.look_again();
    }

    /// Sets the timer for the next check, if a request waits for that.
    fn look_again(&self) {
        if !self.flushers.is_empty() {
            self.timer.arm_in_ms(FLUSH_MS);
        }
    }
}

impl Line {
    /// Continues a write as far as the transmit ring has room; returns the answer if that ends it.
    fn advance(&mut self, task: TaskId, write: &mut Write) -> Option<Result<usize, Refusal>> {
        let len = write.bytes.len();
        let mut progress = match write.progress {
            Some(progress) => progress,
            None => match self.keep.begin_write(task, write.number) {
                Begin::Done => return Some(Ok(len as usize)),
                // More than the write's length: the kept memory is damaged.
                Begin::From(progress) if progress > len => 0,
                Begin::From(progress) => progress,
            },
        };
        let fed =
            feed(self.keep, len, &mut progress, &mut self.chunk, |offset, buffer| write.bytes.read(offset, buffer));
        write.progress = Some(progress);
        let answer = match fed {
            Ok(false) => None,
            Ok(true) => {
                self.keep.end_write(task, write.number);
                Some(Ok(len as usize))
            }
            Err(_) => {
                self.keep.drop_write();
                Some(Err(Refusal::BadLease))
            }
        };
        self.uart.kick();
        answer
    }

    /// Gives a reader the received bytes; `None` if there are none and it waits.
    fn give(&mut self, task: TaskId, read: &mut Read) -> Option<Result<usize, Refusal>> {
        let Read { number, buffer, wait } = *read;
        let given = self.keep.rx.read(task, number, buffer.len() as usize, to(buffer));
        self.uart.received_room();
        match given {
            Ok(0) if wait && !buffer.is_empty() => None,
            given => Some(given.map_err(|_| Refusal::BadLease)),
        }
    }
}

/// Writes bytes to the memory that a reader lent.
fn to(buffer: Out) -> impl FnMut(usize, &[u16]) -> Result<(), Status> {
    low_bytes(move |offset, bytes| buffer.write_all(offset, bytes))
}
