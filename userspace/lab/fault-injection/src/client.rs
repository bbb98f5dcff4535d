//! The clients' side of the talk with `chaos`, and the pauses between what they do.

use crate::{Random, label, order};
use alloc::vec::Vec;
use rt::ipc::{Endpoint, Loan};
use rt::time::{now_ns, sleep_ms};

/// Most milliseconds that a client sleeps between two things that it does.
const MOST_SLEEP_MS: u64 = 6;
/// Most rounds of an empty loop before it does something: about two ticks of the clock, so that what the driver then does falls anywhere
/// between two ticks.
const MOST_ROUNDS: u64 = 40_000;

/// What a client is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    GoOn,
    /// Do it over from this line on; the number of the repair.
    Repeat(u32, u32),
    /// Come to an end.
    Finish,
}

/// The task `chaos`, as its clients see it.
#[derive(Debug)]
pub struct Chaos {
    endpoint: Endpoint,
    random: Random,
    seeded: bool,
    began_ns: u64,
    ended_ns: u64,
}

impl Chaos {
    /// It.
    ///
    /// # Panics
    /// Where `system.toml` does not let this task call it.
    pub fn peer() -> Chaos {
        let endpoint = Endpoint::peer("chaos").expect("the task table lists no peer `chaos`");
        Chaos { endpoint, random: Random::new(0), seeded: false, began_ns: 0, ended_ns: 0 }
    }

    /// Numbers that follow from the run's seed, once something was reported.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Something begins.
    pub fn begin(&mut self) {
        self.began_ns = now_ns();
    }

    /// It is done.
    pub fn end(&mut self) {
        self.ended_ns = now_ns();
    }

    /// Reports what was done last, and asks what is to be done next.
    pub fn report(&mut self, next: u32, arrived: u32, typed: &[u8]) -> Order {
        self.ask(label::REPORT, next.into(), arrived.into(), typed)
    }

    /// A driver's answer that it never gives.
    pub fn refused(&mut self) {
        self.ask(label::REFUSED, 0, 0, &[]);
    }

    /// The screen is not what it should be.
    pub fn wrong(&mut self, missing: u32, doubled: u32) {
        self.ask(label::WRONG, missing.into(), doubled.into(), &[]);
    }

    fn ask(&mut self, label: u16, third: u64, fourth: u64, bytes: &[u8]) -> Order {
        let words = [self.began_ns, self.ended_ns, third, fourth];
        let Ok(reply) = self.endpoint.call_with(label, words, &mut [Loan::Read(bytes)]) else {
            // Without `chaos` there is nothing to work for.
            rt::exit(1);
        };
        let [what, argument, seed, _] = reply.words;
        if !self.seeded {
            (self.random, self.seeded) = (Random::new(seed), true);
        }
        match what {
            order::REPEAT => Order::Repeat(argument as u32, (argument >> 32) as u32),
            order::FINISH => Order::Finish,
            _ => Order::GoOn,
        }
    }

    /// Lets some time pass.
    pub fn think(&mut self) {
        if self.random.once_in(2) {
            sleep_ms(1 + self.random.below(MOST_SLEEP_MS));
        }
        for _ in 0..self.random.below(MOST_ROUNDS) {
            core::hint::spin_loop();
        }
    }

    /// Waits for ever.
    pub fn rest(&mut self) -> ! {
        loop {
            self.report(0, 0, &[]);
        }
    }
}

/// Letters of the line of this number, on the serial line and on the screen.
pub const fn letters(number: u32) -> usize {
    4 + (number as usize * 7) % 50
}

/// The bytes of a few lines.
pub fn lines(from: u32, count: u32) -> Vec<u8> {
    (from..from + count).flat_map(|n| (crate::line::line(n, letters(n)) + "\n").into_bytes()).collect()
}
