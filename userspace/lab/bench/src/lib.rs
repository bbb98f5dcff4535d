//! What the measuring tasks share: the protocol between them, the samples, and the form in which they are printed.
//!
//! Under `-icount shift=0` the time-stamp counter counts guest instructions, so a sample is exact; what varies is whether a timer tick
//! fell into it.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod arena;
pub mod calibrate;
pub mod replay;
pub mod stackless;
pub mod throughput;

use abi::message::{Header, ReplyToken};
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use rt::ipc::Endpoint;
use rt::println;
use rt::time::ticks;

/// Requests to `peer`, `line` and `turns`.
pub mod label {
    /// To `peer`: the words come back.
    pub const ECHO: u16 = 1;
    /// To `peer`: reads lease 0 and fills lease 1, 512 bytes each.
    pub const EXCHANGE: u16 = 2;
    /// To `peer`: reads the 4096 bytes of lease 0.
    pub const TAKE: u16 = 3;
    /// To `peer`: answers with a handle (SIGNAL) of its notification.
    pub const DOORBELL: u16 = 4;
    /// To `peer` and `line`: when it last ran after a notification, in ticks.
    pub const WOKEN: u16 = 5;
    /// To `line`: has the device raise an interrupt a moment from now.
    pub const ARM: u16 = 6;
    /// To `turns`: answers, then yields as often as word 0 says at the priority in word 1.
    pub const YIELD: u16 = 7;
    /// To `served`: the words come back, from a future of the request's own.
    pub const ECHO_SPAWNED: u16 = 8;
}

/// The bit by which `bench` wakes `peer`.
pub const DOORBELL_BIT: u64 = 1 << 40;

/// Allocations of the real system's tasks, as `cargo xtask bench heap --record` found them.
pub const TRACES: [(&str, &str); 2] =
    [("shell", include_str!("../traces/shell.txt")), ("console", include_str!("../traces/console.txt"))];

/// What was measured of one operation.
pub struct Samples {
    name: String,
    values: Vec<u64>,
    switches: u64,
}

impl Samples {
    /// Room for `count` samples.
    pub fn new(name: impl Into<String>, count: usize) -> Samples {
        Samples { name: name.into(), values: Vec::with_capacity(count), switches: space_switches() }
    }

    /// Adds one.
    pub fn add(&mut self, ticks: u64) {
        self.values.push(ticks);
    }

    /// Prints minimum, median, maximum, number, and changes of the address space for each, in hundredths.
    pub fn print(mut self) {
        // The question itself goes through the kernel, but to no other task.
        let switches = space_switches() - self.switches;
        self.values.sort_unstable();
        let count = self.values.len() as u64;
        let (Some(min), Some(max)) = (self.values.first(), self.values.last()) else {
            println!("failed {} nothing was measured", self.name);
            return;
        };
        let median = self.values.get(self.values.len() / 2).unwrap_or(max);
        println!("result {} {min} {median} {max} {count} {}", self.name, switches * 100 / count);
    }
}

/// How often the address space has changed since boot.
fn space_switches() -> u64 {
    rt::task::system_info().map_or(0, |info| info.space_switches)
}

/// How often an operation is done before it is measured, or followed.
pub const WARM: usize = 50;

/// Tells whoever follows the machine step by step that the operation comes now, from one reading of the counter to the next: see
/// `xtask/lab/src/bench/trace.rs`.
pub fn mark(name: &str) {
    #[cfg(target_os = "none")]
    bench_mark(MARK, name.as_ptr(), name.len());
    #[cfg(not(target_os = "none"))]
    let _ = name;
}

/// By which a call of `bench_mark` is told from whatever another task has at the same address.
#[cfg(target_os = "none")]
const MARK: u64 = u64::from_le_bytes(*b"bench-me");

#[cfg(target_os = "none")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn bench_mark(_mark: u64, _name: *const u8, _len: usize) {
    core::arch::naked_asm!("ret");
}

/// Measures `operation` `count` times, after as many tries as make it hot.
pub fn measure<T>(name: &str, count: usize, operation: impl FnMut() -> T) {
    measure_checked(name, count, operation, |_| true);
}

/// Measures `operation` `count` times when it is hot; what it returns is checked each time, which is no part of what is measured.
pub fn measure_checked<T>(name: &str, count: usize, mut operation: impl FnMut() -> T, check: impl Fn(T) -> bool) {
    for _ in 0..count.min(WARM) {
        black_box(operation());
    }
    let overhead = calibrate::pair();
    let mut samples = Samples::new(name, count);
    mark(name);
    for _ in 0..count {
        let before = ticks();
        let result = black_box(operation());
        let after = ticks();
        if !check(result) {
            println!("failed {name} a wrong result");
            return;
        }
        samples.add((after - before).saturating_sub(overhead));
    }
    samples.print();
}

/// Answers on an endpoint until asked for anything but [`label::ECHO`].
pub fn echo(endpoint: Endpoint) {
    let (mut token, mut words) = (ReplyToken::NONE, [0; 4]);
    loop {
        let Ok(received) = rt::syscall::reply_recv(endpoint.0, token, Header::new(0), words, 0, 0) else { return };
        (token, words) = (received.token, received.message.words);
        if received.message.header.label() != label::ECHO {
            let _ = rt::syscall::reply(token, Header::new(0), words, 0);
            return;
        }
    }
}
