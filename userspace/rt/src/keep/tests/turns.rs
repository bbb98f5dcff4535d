//! A driver that gives its device one job at a time, as docs/surviving.md shows it: calls wait for
//! their turn in a queue, and the job of the first is promised.

use crate::fake::Access;
use crate::irq::{Irq, Left};
use crate::keep::{LastDone, MAX_TASKS, Promise};
use crate::port::{FakePorts, IoPorts, Port};
use crate::proto::Served;
use crate::testing::{Deaths, Harness, Running, every_death, every_two_deaths};
use crate::{Bit, Driver};
use abi::TaskId;
use alloc::vec::Vec;
use jobs::{Call, Outcome, Queue, Refusal, Server};
use std::sync::{Arc, Mutex};

#[allow(dead_code, reason = "not all parts of the protocol are used")]
mod jobs {
    crate::protocol! {
        /// Does jobs.
        pub protocol jobs;
        refusals {
            /// The device does not do it.
            NotDone = 1 "the device refuses the job",
        }
        /// Does this job.
        [1 numbered later] fn work(job: u8);
    }
}

crate::kept! {
    pub struct Keep {
        done: LastDone<MAX_TASKS>,
        promise: Promise<u8, 0>,
    }
}

/// Writing 0 resets the device, and anything else is a job; reading tells why its line is high.
const JOB: u16 = 0;
const WHY: u16 = 1;
/// Of the latter: the job is done, or it is refused.
const DONE: u32 = 1;
const REFUSED: u32 = 2;
/// A job that the device refuses.
const BAD: u8 = 99;

#[derive(Default)]
struct Machine {
    job: Option<u8>,
    why: u32,
    /// The jobs done, without immediate repetitions.
    log: Vec<u8>,
}

struct Device {
    port: IoPorts,
    keep: &'static Keep,
    /// Whether the device has refused this life's last job.
    refused: bool,
}

struct Job {
    number: u64,
    job: u8,
    /// Whether this life has given it to the device.
    given: bool,
}

impl Device {
    /// Continues the first call: returns its answer, or gives its job to the device.
    fn advance(&mut self, task: TaskId, call: &mut Job) -> Option<Result<(), Refusal>> {
        let Keep { done, promise, .. } = self.keep;
        if done.is_done(task, call.number) {
            return Some(Ok(()));
        }
        if call.given && promise.is_free() {
            return Some(if self.refused { Err(Refusal::NotDone) } else { Ok(()) });
        }
        // Not while an earlier life's job is being done, which may be this one.
        if promise.make(task, call.number, &call.job, &[]) {
            call.given = true;
            self.port.write8(JOB, call.job);
        }
        None
    }

    /// Whether the device was done with its job.
    fn service(&mut self) -> bool {
        let why = u32::from(self.port.read8(WHY));
        self.refused = why == REFUSED;
        match why {
            DONE => drop(self.keep.promise.end(&self.keep.done)),
            REFUSED => self.keep.promise.abandon(),
            _ => return false,
        }
        true
    }
}

struct Task {
    device: Device,
    line: Irq,
    waiting: Queue<Job>,
}

const AGAIN: Bit = Bit::new(33);

impl Driver for Task {
    fn init() -> Self {
        let port = IoPorts::named("machine").expect("ports");
        let mut device = Device { port, keep: crate::keep::open_or(|_: &Keep| {}), refused: false };
        let line = Irq::named("ready").expect("a line");
        device.port.write8(JOB, 0);
        if let Some(pending) = device.keep.promise.pending() {
            device.port.write8(JOB, pending.arguments);
        }
        Task { device, line, waiting: Queue::default() }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.line.bits() | AGAIN.mask()) != 0
            && self.line.drain(AGAIN, || (Left::Nothing, self.device.service()))
        {
            self.waiting.serve(|task, call| self.device.advance(task, call));
        }
    }
}

impl Server for Task {
    fn work(&mut self, call: Call<()>, job: u8) -> Outcome<()> {
        let job = Job { number: call.from.number, job, given: false };
        self.waiting.ask_in_turn(call, job, |task, call| self.device.advance(task, call))
    }
}

/// The driver over a machine.
fn start(deaths: &Deaths) -> (Running, Arc<Mutex<Machine>>) {
    let machine = Arc::new(Mutex::new(Machine::default()));
    let (device, line, outside) = (machine.clone(), machine.clone(), machine.clone());
    let mut ports = FakePorts::new();
    ports.hook(move |access| {
        let mut machine = device.lock().expect("one thread");
        match access {
            Access::Write(JOB, job) => (machine.job, machine.why) = (Some(job as u8).filter(|job| *job != 0), 0),
            Access::Read(WHY) => return Some(core::mem::take(&mut machine.why)),
            _ => {}
        }
        None
    });
    let moves = move || {
        let mut machine = outside.lock().expect("one thread");
        let Some(job) = machine.job.take() else { return false };
        machine.why = if job == BAD { REFUSED } else { DONE };
        if job != BAD && machine.log.last() != Some(&job) {
            machine.log.push(job);
        }
        true
    };
    let driver = Harness::new("jobs")
        .ports("machine", 0x300, 2, ports)
        .irq("ready", move || line.lock().expect("one thread").why != 0)
        .outside(moves)
        .keep(size_of::<Keep>())
        .deaths(deaths)
        .start::<Served<Task, jobs::Protocol>>();
    (driver, machine)
}

/// Three clients ask at once, each for two jobs, and repeat what was not answered; the last of them
/// without numbers, so that only its answers are counted.
fn works(deaths: &Deaths) {
    let (driver, machine) = start(deaths);
    let ask = |client: usize, round: u64| {
        let number = if client == 2 { 0 } else { round };
        driver.ask(client, 1, [client as u64 * 10 + round, number, 0, 0], Vec::new())
    };
    let mut waiting = [0, 1, 2].map(|client| (1, ask(client, 1)));
    while waiting.iter().any(|(round, _)| *round < 3) {
        driver.turn();
        for (client, (round, asked)) in waiting.iter_mut().enumerate() {
            let Some(answered) = driver.answer(*asked) else { continue };
            *round += u64::from(answered.reply.is_ok());
            if *round < 3 {
                *asked = ask(client, *round);
            }
        }
    }
    let log = &machine.lock().expect("one thread").log;
    for job in [1, 2, 11, 12] {
        assert_eq!(log.iter().filter(|done| **done == job).count(), 1, "job {job} in {log:?}");
    }
    assert!(log.contains(&21) && log.contains(&22), "{log:?}");
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
}

#[test]
fn jobs_take_turns_and_are_done_once_whenever_the_driver_dies() {
    let steps = every_death(works);
    assert!(steps > 50, "{steps} steps");
    every_two_deaths(2, 30, works);
}

/// Whether a client gives a request a number or not.
#[test]
fn a_job_that_the_device_refuses_does_not_pass_for_done() {
    every_death(|deaths| {
        let (driver, machine) = start(deaths);
        for (client, number) in [(0, 1), (1, 0)] {
            for (job, is_done) in [(BAD, false), (7, true)] {
                let mut asked = driver.ask(client, 1, [job.into(), number * 10 + u64::from(is_done), 0, 0], Vec::new());
                let reply = loop {
                    driver.turn();
                    match driver.answer(asked).map(|answered| answered.reply) {
                        Some(Ok(reply)) => break reply,
                        Some(Err(_)) => {
                            let words = [job.into(), number * 10 + u64::from(is_done), 0, 0];
                            asked = driver.ask(client, 1, words, Vec::new());
                        }
                        None => {}
                    }
                };
                assert_eq!(reply.label == 0, is_done, "job {job} of client {client}: {reply:?}");
            }
        }
        assert!(!machine.lock().expect("one thread").log.contains(&BAD));
    });
}
