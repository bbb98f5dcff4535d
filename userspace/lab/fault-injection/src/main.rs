//! Does things to the drivers while their clients work, and judges what comes of it. See `docs/chaos.md`.
//!
//! Everything happens at ticks of the clock, and follows from the seed. What it prints, `cargo xtask chaos` reads.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod case;
mod config;
mod plan;
mod typist;
mod victim;
mod watch;

use abi::message::ReplyToken;
use alloc::string::String;
use alloc::vec::Vec;
use case::Case;
use config::Config;
use fault_injection::{Driver, Random, label, order};
use plan::Plan;
use rt::archive::Archive;
use rt::ipc::{Pending, Request};
use rt::time::{Timer, now_ns};
use rt::{Answer, println};
use seeded::leaks::Counters;
use supervisor::Supervisor;
use typist::Typist;
use victim::Victim;

rt::driver!(Chaos);

const TIMER_BIT: u32 = 32;
const MS: u64 = 1_000_000;

/// A client, as far as it is known here.
#[derive(Default)]
struct Client {
    row: usize,
    /// When it last got something done, or had nothing to do.
    progress_ns: u64,
    /// Its next line, and all that has surely arrived.
    next: u32,
    arrived: u32,
    /// What it is to be told next.
    order: Option<(u64, u64)>,
    /// It waits for an answer of ours: the counters are being read, or all is over.
    held: Option<Pending>,
    /// It was told to come to an end, and has.
    finished: bool,
    reports: u32,
}

/// What must stay zero.
#[derive(Default)]
struct Failures {
    /// Drivers that did not come back, or were not repaired.
    unrecovered: u32,
    /// Drivers that stopped serving without anything having been done to them.
    stalled: u32,
    /// Answers that a driver never gives, without anything having been done to it that explains them.
    refused: u32,
    /// Lines missing and doubled on the screen, without anything having been done to it that explains them.
    missing: u32,
    doubled: u32,
}

struct Chaos {
    boss: Supervisor,
    /// All drivers, in the order of [`Driver::ALL`], as the clients and the cases are.
    victims: Vec<Victim>,
    clients: [Client; 3],
    cases: [Option<Case>; 3],
    typist: Typist,
    plan: Plan,
    /// For the clients.
    seeds: Random,
    archive: Archive,
    before: Counters,
    failures: Failures,
    /// Windows in which the serial line may carry anything.
    windows: u32,
    /// At how many ticks in a row each driver has waited.
    quiet: [u32; 3],
    timer: Timer,
}

impl rt::Driver for Chaos {
    fn init() -> Self {
        let config = Config::read().expect("the host tells no seed, count and drivers");
        let archive = Archive::map().expect("no boot archive");
        let victim = |driver: Driver| Victim::new(driver, &archive).expect("a driver is not as it was expected");
        let row = |driver: Driver| archive.find(driver.client()).expect("a client is missing");
        let client = |driver| Client { row: row(driver), progress_ns: now_ns(), ..Client::default() };
        println!("begin {} {}", config.seed, config.count);
        let chaos = Chaos {
            boss: Supervisor::peer().expect("no supervisor"),
            victims: Driver::ALL.map(victim).into(),
            clients: Driver::ALL.map(client),
            cases: [None, None, None],
            typist: Typist::default(),
            seeds: Random::new(!config.seed),
            plan: Plan::new(&config),
            archive,
            before: Counters::default(),
            failures: Failures::default(),
            windows: 0,
            quiet: [0; 3],
            timer: Timer::new(TIMER_BIT).expect("no timer"),
        };
        chaos.timer.arm_at(now_ns());
        chaos
    }

    fn notified(&mut self, bits: u64) {
        if bits & 1 << TIMER_BIT != 0 {
            self.tick();
            self.timer.arm_at(now_ns());
        }
    }

    fn request(&mut self, request: &Request) -> Answer {
        let row = usize::from(request.sender.task.index);
        let Some(place) = self.clients.iter().position(|client| client.row == row) else {
            return Answer::bad_request();
        };
        if request.token == ReplyToken::NONE {
            return Answer::Deferred;
        }
        match request.label {
            label::REPORT => self.report(place, request),
            label::REFUSED => {
                match self.cases[place].as_mut().filter(|case| case.corrupts()) {
                    Some(case) => case.refused += 1,
                    None => self.failures.refused += 1,
                }
                Answer::ok([order::GO_ON, 0, 0, 0])
            }
            label::WRONG => {
                self.wrong(place, request.words[2] as u32, request.words[3] as u32);
                Answer::ok([order::GO_ON, 0, 0, 0])
            }
            _ => Answer::bad_request(),
        }
    }
}

impl Chaos {
    /// A client has done something, and is told what to do next.
    fn report(&mut self, place: usize, request: &Request) -> Answer {
        let [began_ns, ended_ns, third, fourth] = request.words;
        if place == Driver::Keyboard as usize {
            let mut keys = [0; 64];
            let count = request.read(0, 0, &mut keys).unwrap_or(0);
            self.arrived(&keys[..count], third);
        } else {
            (self.clients[place].next, self.clients[place].arrived) = (third as u32, fourth as u32);
        }
        let client = &mut self.clients[place];
        client.progress_ns = now_ns();
        client.reports += 1;
        self.served(place, began_ns, ended_ns);
        let client = &mut self.clients[place];
        if client.finished || self.plan.holds() && place != Driver::Keyboard as usize && client.order.is_none() {
            client.held = Some(request.pending());
            return Answer::Deferred;
        }
        let (what, argument) = client.order.take().unwrap_or((order::GO_ON, 0));
        client.finished = what == order::FINISH;
        Answer::ok([what, argument, self.seeds.next(), 0])
    }

    /// The screen is not what it should be.
    fn wrong(&mut self, place: usize, missing: u32, doubled: u32) {
        match self.cases[place].as_mut().filter(|case| case.corrupts()) {
            Some(case) => {
                case.still_wrong = case.stage == case::Stage::Repairing;
                case.damage = (case.damage.0.max(missing), case.damage.1.max(doubled));
            }
            None => {
                println!("wrong screen, {missing} missing, {doubled} doubled");
                self.failures.missing += missing.max(1);
                self.failures.doubled += doubled;
            }
        }
    }

    fn counters(&self) -> Counters {
        let info = rt::task::system_info().unwrap_or_default();
        let tasks = self.archive.tasks().iter().enumerate();
        let status = |(row, record): (usize, &abi::manifest::TaskRecord)| {
            (String::from(abi::name_str(&record.name)), rt::task::status(row).unwrap_or_default())
        };
        Counters::new(&info, tasks.map(status))
    }

    /// Prints the end of the run.
    fn finish(&mut self) {
        let leaks = self.before.compare(&self.counters());
        for leak in &leaks {
            println!("leak {} {} {} {}", leak.who, leak.what, leak.values[0], leak.values[1]);
        }
        self.typist.judge.end();
        let judge = &self.typist.judge;
        let f = &self.failures;
        println!("keys {} {} {}", self.typist.lines(), judge.lines.next, judge.lines.repeated);
        println!("zero unrecovered {} stalled {} refused {}", f.unrecovered, f.stalled, f.refused);
        println!("zero keyboard lost {} doubled {}", judge.wrong.lost, judge.wrong.extra);
        println!("zero vga lost {} doubled {}", f.missing, f.doubled);
        println!("end {} {}", self.plan.done(), leaks.len());
    }
}
