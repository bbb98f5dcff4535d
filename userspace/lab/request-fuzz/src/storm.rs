//! Asks every server for everything: random labels, words, loans and handles, from several threads, then dies in the middle of it.
//!
//! What these servers may rightly do for a client would hide what they do wrong, so that is left out: [`allowed`].
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use rt::abi::message::Rights;
use rt::ipc::{CallError, Endpoint, Handle, Loan, close};
use rt::memory::Memory;
use rt::notify::Notification;
use rt::{Status, thread, time};

rt::entry!(run);

const SERVERS: [&str; 6] = ["serial", "keyboard", "vga", "power", "console", "supervisor"];
const THREADS: u64 = 4;
/// Requests of each thread.
const REQUESTS: u64 = 400;

/// Answers, and servers that died over a request.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static DIED: AtomicU64 = AtomicU64::new(0);

/// Xorshift (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    /// Numbers at which something may happen, and any.
    fn word(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(8),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            3 => (1 << self.below(64)) - 1,
            4 => self.below(1 << 20),
            _ => self.next(),
        }
    }
}

fn run() {
    let seed = rt::name().bytes().fold(0x9E37_79B9_7F4A_7C15_u64, |seed, byte| seed.rotate_left(9) ^ u64::from(byte));
    let priority = rt::info().priority as u8;
    let threads: Vec<_> = (1..=THREADS)
        .filter_map(|number| {
            thread::spawn(move || storm(&mut Random(seed.wrapping_mul(2 * number + 1))), 8, priority).ok()
        })
        .collect();
    threads.into_iter().for_each(thread::JoinHandle::join);
    rt::println!("{} answers, {} deaths", ANSWERED.load(Ordering::Relaxed), DIED.load(Ordering::Relaxed));
    // Dies with as many calls under way as there are, lending memory in each: escape sequences without an end, and reads that wait, of which
    // what is typed next must be safe.
    for (name, label) in [("vga", 1), ("console", 1), ("keyboard", 2), ("serial", 2)] {
        let calls = move || {
            let bytes = [b'\x1b'; 4096];
            while let Some(server) = Endpoint::peer(name) {
                let _ = server.call_with(label, [1, 0, 0, 0], &mut [Loan::Read(&bytes)]);
            }
        };
        let _ = thread::spawn(calls, 8, priority);
    }
    time::sleep_ms(50);
}

fn storm(random: &mut Random) {
    let notification = Notification::create().ok();
    let memory = Memory::create(1).ok();
    let mut room = [0_u8; 3 * 1024];
    for _ in 0..REQUESTS {
        let name = SERVERS[random.below(6) as usize];
        let Some(server) = Endpoint::peer(name) else { continue };
        let label = if random.below(4) == 0 { random.word() as u16 } else { random.below(12) as u16 };
        let mut words = [random.word(), random.word(), random.word(), random.word()];
        if matches!((name, label), ("serial" | "keyboard", 2)) {
            // It is not to wait for somebody to type.
            words[0] = 0;
        }
        for byte in &mut room[..64] {
            *byte = random.next() as u8;
        }
        if !allowed(name, label, words) {
            continue;
        }
        let reply = {
            let mut loans = Vec::new();
            let mut rest: &mut [u8] = &mut room;
            for _ in 0..random.below(5) {
                let len = [0, 1, 2, 7, 512, 700][random.below(6) as usize];
                let Some((part, others)) = core::mem::take(&mut rest).split_at_mut_checked(len) else { break };
                rest = others;
                // A line that is read, or bytes that are written, would be missed by others: these loans are the wrong way round.
                loans.push(match (name, label) {
                    ("serial" | "keyboard", 2) => Loan::Read(part),
                    ("serial" | "console", 1) => Loan::Write(part),
                    _ => match random.below(3) {
                        0 => Loan::Read(part),
                        1 => Loan::Write(part),
                        _ => Loan::Both(part),
                    },
                });
            }
            let rights = [Rights::all(), Rights::SIGNAL, Rights::empty()][random.below(3) as usize];
            let handle = match random.below(6) {
                0 => notification.map(|notification| Handle::notification(notification.0, rights)),
                1 => memory.as_ref().map(|memory| Handle::memory(memory.0, rights)),
                2 => Some(Handle::endpoint(server.0, rights)),
                // The header lies.
                3 => Some(Handle::notification(Endpoint::own().0, rights)),
                _ => None,
            };
            match handle {
                Some(handle) => server.call_handle(label, words, &mut loans, handle),
                None => server.call_with(label, words, &mut loans),
            }
        };
        match reply {
            Ok(reply) => {
                ANSWERED.fetch_add(1, Ordering::Relaxed);
                if let Some(handle) = reply.handle {
                    let _ = close(handle.number);
                }
            }
            Err(CallError::Died { .. }) => {
                DIED.fetch_add(1, Ordering::Relaxed);
                rt::println!("{name} died over {label} {words:x?}");
            }
            Err(CallError::Failed(
                Status::BadArgument | Status::NoRights | Status::BadHandle | Status::WrongKind | Status::HandleRefused,
            )) => {}
            Err(error) => rt::println!("{name} {label}: {error:?}"),
        }
    }
}

/// Not what the server is there for: to switch off, to end and start tasks, to wait for one, to read somebody's line, to clear it all, to have Ctrl-C, a
/// screen on which black is black, another layout.
fn allowed(name: &str, label: u16, words: [u64; 4]) -> bool {
    match (name, label) {
        ("power", 1 | 2) | ("supervisor", 1..=3) | ("console", 2 | 4 | 6) => false,
        ("vga" | "console", 3 | 5) | ("keyboard", 4) => words[0] > 255,
        _ => true,
    }
}
