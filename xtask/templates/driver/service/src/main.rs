//! The task: joins the ticker to timer and clients. Only what needs the kernel is here; the rest is in `device.rs`.
//!
//! It is callbacks, which suits most servers. One in which a request waits for one thing after the other is shorter as futures, on
//! `rt::exec`: `docs/async.md` in Enigma's tree shows one.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use {{crate}}::device::{Keep, Ticker};
use {{crate}}::{Call, Outcome, Queue, Reading, Refusal, Server};
use rt::proto::Asker;
use rt::{Bit, Driver, time};

/// The notification bit of the timer. Bits 0 to 31 are for interrupts, 32 to 58 are free for the task.
const TICK: Bit = Bit::new(32);

struct Task {
    ticker: Ticker,
    timer: time::Timer,
    /// Who waits for a tick: one call of each task, so that no client makes the driver keep more and more.
    waiting: Queue<(), u64>,
}

impl Driver for Task {
    fn init() -> Self {
        let timer = time::Timer::new(TICK).expect("a timer within the quota");
        // What an earlier life counted is still there: see `Keep`.
        let ticker = Ticker::start(time::now_ns(), rt::keep::open::<Keep>());
        timer.arm_at(ticker.next());
        rt::println!("{{name}}: a tick every {} ms, {} so far", ticker.period_ms(), ticker.ticks());
        Task { ticker, timer, waiting: Queue::default() }
    }

    fn notified(&mut self, bits: u64) {
        if TICK.is_in(bits) {
            if self.ticker.advance(time::now_ns()) > 0 {
                self.waiting.serve(|_, ()| Some(Ok(self.ticker.ticks())));
            }
            self.timer.arm_at(self.ticker.next());
        }
    }
}

impl Server for Task {
    fn read(&mut self, _: Asker) -> Result<Reading, Refusal> {
        Ok(Reading { ticks: self.ticker.ticks(), period_ms: self.ticker.period_ms() })
    }

    fn set_period(&mut self, _: Asker, ms: u64) -> Result<(), Refusal> {
        self.ticker.set_period(time::now_ns(), ms).map_err(|_| Refusal::BadPeriod(ms))?;
        self.timer.arm_at(self.ticker.next());
        Ok(())
    }

    fn wait(&mut self, call: Call<u64>) -> Outcome<u64> {
        self.waiting.ask(call, (), |_, ()| None)
    }
}

rt::driver!(Task, serves {{crate}});

/// The whole driver, asked by clients, on the host: `rt::testing` plays the kernel.
#[cfg(test)]
mod tests {
    use super::*;
    use {{crate}}::{Client, Error, Protocol, label};
    use rt::proto::Served;
    use rt::testing::{Deaths, Harness, Running, every_death};

    /// Starts it with what its table in the manifest grants.
    fn start(deaths: &Deaths) -> Running {
        Harness::new("{{name}}").keep(size_of::<Keep>()).deaths(deaths).start::<Served<Task, Protocol>>()
    }

    #[test]
    fn clients_read_set_and_wait() {
        let driver = start(&Deaths::none());
        let client = Client::new(driver.client(0));
        assert_eq!(client.read(), Ok(Reading { ticks: 0, period_ms: 1000 }));
        assert_eq!(client.set_period(1), Err(Error::Refused(Refusal::BadPeriod(1))));
        assert_eq!(client.set_period(20), Ok(()));
        let asked = driver.ask(1, label::wait, [0; 4], Vec::new());
        driver.turn();
        assert!(driver.answer(asked).is_none(), "no tick yet");
        // Where nothing else can happen, a turn is that time goes on to the next timer.
        let answered = (0..4).find_map(|_| {
            driver.turn();
            driver.answer(asked)
        });
        let reply = answered.expect("a tick has come").reply.expect("the driver lives");
        assert_eq!((reply.label, reply.words[0]), (0, 1));
    }

    /// The harness ends the driver's life before each of its steps in turn: accesses to devices, stores to kept memory, answers.
    #[test]
    fn whenever_it_dies_the_next_life_goes_on() {
        every_death(|deaths| {
            let driver = start(deaths);
            let client = Client::new(driver.client(0));
            assert_eq!(client.set_period(20), Ok(()));
            driver.pass(50);
            let first = client.read().expect("the next life answers");
            driver.pass(50);
            let second = client.read().expect("the next life answers");
            assert_eq!((first.period_ms, second.period_ms), (20, 20));
            assert!(first.ticks <= second.ticks && second.ticks > 0, "{first:?}, {second:?}");
        });
    }
}
