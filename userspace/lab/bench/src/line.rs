//! A driver that notes when it runs after an interrupt of the second serial port, a 16550 (PC16550D data sheet).
//!
//! In loopback a byte that was sent comes back; as the receiver's FIFO waits for fourteen, the interrupt is that of the time-out, which
//! comes four characters later: by then nobody is in a driver.
#![cfg_attr(target_os = "none", no_std, no_main)]

use bench::label;
use rt::ipc::Request;
use rt::irq::Irq;
use rt::port::{IoPorts, Port};
use rt::time::ticks;
use rt::{Answer, Driver};

rt::driver!(Line);

/// The ports, and the registers as offsets into them.
const PORTS: u16 = 0x2f8;
const DATA: u16 = 0;
const INTERRUPTS: u16 = 1;
const FIFO: u16 = 2;
const FORMAT: u16 = 3;
const MODEM: u16 = 4;
const STATUS: u16 = 5;

struct Line {
    ports: IoPorts,
    irq: Irq,
    woken: u64,
}

impl Driver for Line {
    fn init() -> Self {
        let (Some(mut ports), Some(irq)) = (IoPorts::granted(PORTS, 8), Irq::named("rx")) else {
            panic!("system.toml gives no port or no line")
        };
        // 115,200 baud, 8N1; FIFOs on and empty, an interrupt at fourteen bytes; loopback, OUT2 (the line's gate); bytes received.
        for (port, value) in
            [(FORMAT, 0x80), (DATA, 1), (INTERRUPTS, 0), (FORMAT, 3), (FIFO, 0xc7), (MODEM, 0x1b), (INTERRUPTS, 1)]
        {
            ports.write8(port, value);
        }
        Line { ports, irq, woken: 0 }
    }

    fn notified(&mut self, bits: u64) {
        if bits & self.irq.bits() != 0 {
            self.woken = ticks();
            while self.ports.read8(STATUS) & 1 != 0 {
                self.ports.read8(DATA);
            }
            self.irq.ack();
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::ARM => {
                self.ports.write8(DATA, b'x');
                Answer::ok([ticks(), 0, 0, 0])
            }
            label::WOKEN => Answer::ok([self.woken, 0, 0, 0]),
            _ => Answer::bad_request(),
        }
    }
}
