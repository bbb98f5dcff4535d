//! Writes numbered lines to the serial line. What arrives at the other end, the host judges.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;
use driver_serial::{Client, Error};
use fault_injection::client::{Chaos, Order, lines};
use rt::ipc::Endpoint;

rt::entry!(run);

/// Most lines in a write.
const MOST_LINES: u64 = 4;
/// After so many writes on the average it waits until all is on the line.
const FLUSH_EVERY: u64 = 4;

struct Writer {
    chaos: Chaos,
    serial: Client,
    /// The next line.
    next: u32,
    /// All before it have left the driver.
    arrived: u32,
}

fn run() {
    let serial = Client::new(Endpoint::peer("serial").expect("the task table lists no peer `serial`"));
    let mut writer = Writer { chaos: Chaos::peer(), serial, next: 0, arrived: 0 };
    loop {
        match writer.chaos.report(writer.next, writer.arrived, &[]) {
            Order::GoOn => {
                writer.chaos.think();
                writer.chaos.begin();
                writer.some_lines();
                writer.chaos.end();
            }
            Order::Repeat(from, repair) => {
                writer.chaos.begin();
                // Ends what may be half a line.
                writer.write(format!("\n!{repair} {from} {}\n", writer.next).as_bytes());
                (writer.next, writer.arrived) = (from, from);
                writer.chaos.end();
            }
            Order::Finish => {
                writer.write(format!("\n.{}\n", writer.next).as_bytes());
                writer.flush();
                writer.chaos.report(writer.next, writer.arrived, &[]);
                writer.chaos.rest();
            }
        }
    }
}

impl Writer {
    fn some_lines(&mut self) {
        let count = 1 + self.chaos.random().below(MOST_LINES) as u32;
        self.write(&lines(self.next, count));
        self.next += count;
        if self.chaos.random().once_in(FLUSH_EVERY) {
            self.flush();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match self.serial.write(bytes) {
            Ok(count) if count == bytes.len() => {}
            Ok(_) | Err(Error::Refused(_)) => self.chaos.refused(),
            Err(Error::Call(_)) => rt::exit(1),
        }
    }

    fn flush(&mut self) {
        match self.serial.flush() {
            Ok(()) => self.arrived = self.next,
            Err(Error::Refused(_)) => self.chaos.refused(),
            Err(Error::Call(_)) => rt::exit(1),
        }
    }
}
