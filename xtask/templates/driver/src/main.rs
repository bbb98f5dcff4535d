//! The task: joins the device to timer, interrupts and clients. Only what needs the kernel is here; the rest is in `device.rs`.
//!
//! It is callbacks, which suits a device. A server in which a request waits for one thing after the other is shorter as futures, on
//! `rt::exec`: `docs/async.md` in Enigma's tree shows one.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use {{crate}}::device::Ticker;
use {{crate}}::{label, outcome};
use rt::ipc::{Pending, Request};
use rt::{Answer, Driver, time};

/// The notification bit of the timer. Bits 0 to 31 are for interrupts, 32 to 58 are free for the task.
const TICK: u32 = 32;

/// Most clients that can wait for a tick at the same time: what a client can make the driver keep must have a limit.
const MAX_WAITING: usize = 16;

struct Task {
    ticker: Ticker,
    timer: time::Timer,
    waiting: Vec<Pending>,
    // A device with hardware has, after its table in the manifest has got `ports` and `irqs`:
    // registers: Indexed<rt::port::IoPorts>,
    // alarm: rt::irq::Irq,
}

impl Driver for Task {
    fn init() -> Self {
        let timer = time::Timer::new(TICK).expect("a timer within the quota");
        let ticker = Ticker::new(time::now_ns());
        timer.arm_at(ticker.next());
        rt::println!("{{name}}: a tick every {} ms", ticker.period_ms());
        Task {
            ticker,
            timer,
            waiting: Vec::new(),
            // registers: Indexed::new(rt::port::IoPorts::granted(0x70, 2).expect("ports 0x70 and 0x71 in the manifest")),
            // alarm: rt::irq::Irq::named("alarm").expect("a line called alarm in the manifest"),
        }
    }

    fn notified(&mut self, bits: u64) {
        if bits & 1 << TICK != 0 {
            if self.ticker.advance(time::now_ns()) > 0 {
                for client in self.waiting.drain(..) {
                    // A client that died meanwhile is no reason to stop.
                    let _ = client.reply(0, [self.ticker.ticks(), 0, 0, 0]);
                }
            }
            self.timer.arm_at(self.ticker.next());
        }
        // if bits & self.alarm.bits() != 0 {
        //     self.registers.read(0x0C); // makes the device let go of the line
        //     self.alarm.ack(); // lets the line fire again
        // }
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::READ => Answer::ok([self.ticker.ticks(), self.ticker.period_ms(), 0, 0]),
            label::SET_PERIOD => match self.ticker.set_period(time::now_ns(), request.words[0]) {
                Ok(()) => {
                    self.timer.arm_at(self.ticker.next());
                    Answer::ok([0; 4])
                }
                Err(_) => Answer::Reply(outcome::BAD_PERIOD, [0; 4]),
            },
            label::WAIT if self.waiting.len() == MAX_WAITING => Answer::Reply(outcome::TOO_MANY, [0; 4]),
            label::WAIT => {
                self.waiting.push(request.pending());
                Answer::Later
            }
            _ => Answer::bad_request(),
        }
    }
}

rt::driver!(Task);
