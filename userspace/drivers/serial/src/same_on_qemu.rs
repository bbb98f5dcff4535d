//! Tests that run both over the model of a UART and over QEMU's 16550A.

use crate::device::Uart;
use crate::keep::Keep;
use crate::model::Model;
use abi::{Status, TaskId};
use rt::keep::low_bytes;
use rt::port::Port;
use rt::testing::qemu::{Machine, PATIENCE, Ports};
use std::time::{Duration, Instant};
use std::vec::Vec;

const READER: TaskId = TaskId { index: 5, generation: 1 };

/// First port and interrupt line of COM1.
const COM1: u16 = 0x3f8;
const LINE: usize = 4;

/// A UART, with the other side of its line.
trait Bench {
    type Port: Port;
    fn port(&self) -> Self::Port;
    /// Sends bytes from the other side.
    fn send(&self, bytes: &[u8]);
    /// The bytes that the other side received since the previous call.
    fn received(&self) -> Vec<u8>;
    /// Whether the interrupt line is high.
    fn interrupt(&self) -> bool;
    /// Lets some characters' length of time pass, with traffic on the line.
    fn pass(&self);
}

impl Bench for Model {
    type Port = Model;
    fn port(&self) -> Model {
        self.clone()
    }
    fn send(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.extend(bytes);
    }
    fn received(&self) -> Vec<u8> {
        core::mem::take(&mut self.0.borrow_mut().line)
    }
    fn interrupt(&self) -> bool {
        self.0.borrow().interrupt()
    }
    fn pass(&self) {
        self.0.borrow_mut().run(16);
    }
}

impl Bench for Machine {
    type Port = Ports;
    fn port(&self) -> Ports {
        self.ports(COM1, 8)
    }
    fn send(&self, bytes: &[u8]) {
        Machine::send(self, bytes);
    }
    fn received(&self) -> Vec<u8> {
        Machine::received(self)
    }
    fn interrupt(&self) -> bool {
        self.level(LINE)
    }
    fn pass(&self) {
        self.run(Duration::from_millis(2));
    }
}

fn keep() -> &'static Keep {
    rt::keep::damage::memory(0)
}

fn text(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + salt) % 251) as u8).collect()
}

/// A life of the driver that works only on interrupts.
struct Life<'a, B: Bench> {
    bench: &'a B,
    keep: &'static Keep,
    uart: Uart<B::Port>,
    reads: u64,
}

impl<'a, B: Bench> Life<'a, B> {
    fn start(bench: &'a B, keep: &'static Keep, reads: u64) -> Self {
        let mut uart = Uart::start(bench.port(), keep);
        settle(&mut uart);
        Life { bench, keep, uart, reads }
    }

    /// Lets time pass, and serves an interrupt if the line is high then.
    fn turn(&mut self) {
        self.bench.pass();
        if self.bench.interrupt() {
            settle(&mut self.uart);
        }
    }

    /// Reads the bytes that were received.
    fn read(&mut self, got: &mut Vec<u8>) {
        self.reads += 1;
        let copy = |_: usize, part: &[u8]| -> Result<(), Status> {
            got.extend_from_slice(part);
            Ok(())
        };
        self.keep.rx.read(READER, self.reads, 100, low_bytes(copy)).expect("a vector has room");
        self.uart.received_room();
    }
}

/// Serves interrupts until none is pending.
fn settle<P: Port>(uart: &mut Uart<P>) {
    assert!((0..64).any(|_| !uart.service().more), "the interrupts come to no end");
}

/// Waits until `done`; the line may need a moment of the host's time.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
    }
}

fn set_up(bench: &impl Bench) {
    let uart = Uart::start(bench.port(), keep());
    assert!(uart.is_present() && !uart.is_warm());
    assert!(uart.is_exact(), "a 16-bit access reaches two registers");
    let mut port = bench.port();
    let line = port.read8(3);
    port.write8(3, line | 0x80);
    let divisor = [port.read8(0), port.read8(1)];
    port.write8(3, line);
    assert_eq!((divisor, line), ([1, 0], 3), "115200 baud, 8N1");
    assert_eq!((port.read8(1) & 0xb, port.read8(2) & 0xc0, port.read8(4)), (1, 0xc0, 0xb));
}

/// By interrupts alone: more bytes than fit a FIFO, and so few that only a timeout interrupt comes.
fn sends_and_receives(bench: &impl Bench) {
    let mut life = Life::start(bench, keep(), 0);
    assert!(!bench.interrupt());
    let (mut out, mut got) = (Vec::new(), Vec::new());
    for (len, salt) in [(3000, 1), (1, 2), (8, 3), (17, 4)] {
        let (there, back) = (text(len, salt), text(len, salt + 100));
        life.keep.tx.push(&there);
        life.uart.kick();
        bench.send(&back);
        until("all bytes go out and come in", || {
            life.turn();
            life.read(&mut got);
            out.extend(bench.received());
            out.len() >= len && got.len() >= len
        });
        assert_eq!((core::mem::take(&mut out), core::mem::take(&mut got)), (there, back));
    }
    let accepted = life.keep.tx.head();
    until("the transmitter runs dry", || {
        life.turn();
        life.uart.flushed(accepted)
    });
    assert!(!bench.interrupt(), "what is done does not interrupt");
    assert_eq!(life.uart.errors(), Default::default());
}

/// Checks that nothing is lost when lives end with bytes in both FIFOs and register values changed
/// in their last moments.
fn goes_on_from_life_to_life(bench: &impl Bench) {
    let keep = keep();
    let (there, back) = (text(400, 5), text(400, 6));
    let (mut out, mut got) = (Vec::new(), Vec::new());

    let mut reads = 0;
    for (number, part) in there.chunks(40).enumerate() {
        let mut life = Life::start(bench, keep, reads);
        assert_eq!(life.uart.is_warm(), number > 0);
        keep.tx.push(part);
        bench.send(&back[number * 40..][..40]);
        life.uart.kick();
        for _ in 0..number {
            life.turn();
        }
        life.read(&mut got);
        reads = life.reads;
        drop(life);
        if number % 2 == 1 {
            let mut port = bench.port();
            port.write8(3, 0x1f);
            port.write8(4, 0);
        }
    }
    let mut life = Life::start(bench, keep, reads);
    until("all bytes go out and come in", || {
        life.turn();
        life.read(&mut got);
        out.extend(bench.received());
        out.len() >= there.len() && got.len() >= back.len()
    });
    assert_eq!((out, got), (there, back));
}

mod model {
    use super::*;

    #[test]
    fn set_up_is_115200_8n1_with_fifos() {
        set_up(&Model::new(true, false));
    }

    #[test]
    fn bytes_go_both_ways_by_interrupts() {
        sends_and_receives(&Model::new(true, false));
        sends_and_receives(&Model::new(true, true));
    }

    #[test]
    fn the_next_life_goes_on_with_what_is_in_the_fifos() {
        goes_on_from_life_to_life(&Model::new(true, false));
        goes_on_from_life_to_life(&Model::new(true, true));
    }
}

mod qemu {
    use super::*;

    #[test]
    fn set_up_is_115200_8n1_with_fifos() {
        set_up(&Machine::start(&[]));
    }

    #[test]
    fn bytes_go_both_ways_by_interrupts() {
        sends_and_receives(&Machine::start(&[]));
    }

    #[test]
    fn the_next_life_goes_on_with_what_is_in_the_fifos() {
        goes_on_from_life_to_life(&Machine::start(&[]));
    }
}
