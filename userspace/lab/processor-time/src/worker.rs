//! Works, in the way that its argument says: as one who wants the processor always, or so that a scheduler that looks only now and then would
//! not see it work.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::message::{Header, ReplyToken};
use alloc::boxed::Box;
use alloc::vec::Vec;
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::sync::Mutex;
use rt::syscall as sys;
use rt::thread::JoinHandle;
use rt::time::{Timer, now_ns, ticks};

rt::entry!(run);

const MS: u64 = 1_000_000;
/// From one tick of the timer to the next, in nanoseconds: 1193 cycles of the 8254, of which a second has 1,193,182.
const TICK: u64 = 999_847;
/// How long before a tick a thread gets out of its way.
const BEFORE: u64 = 10_000;
/// Where more passes between two readings of the counter, an interrupt has come between them: without one they are some ten instructions apart,
/// and a tick is fifty more. In the counter's cycles, of which an instruction takes four on the machine of these tests.
const GAP: u64 = 120;
/// Threads of a task: so many that each runs once in more than a period, where a tick belongs to one of them.
const THREADS: usize = 112;
/// Threads that are born and die at a time.
const LINES: usize = 7;
/// How many threads call, and how many answer.
const PAIRS: usize = 100;

fn run() {
    match rt::arg() {
        "spin" => spin(),
        "many" => {
            for _ in 1..THREADS {
                start(spin);
            }
            spin()
        }
        "hand-over" => hand_over(),
        "between-ticks" => between_ticks(),
        "births" => {
            for _ in 0..LINES {
                born();
            }
            Notification::own().wait(1);
        }
        "lives" => work_until(now_ns() + 8 * MS),
        "call" => {
            for _ in 1..PAIRS {
                start(call);
            }
            call()
        }
        "serve" => {
            for _ in 1..PAIRS {
                start(serve);
            }
            serve()
        }
        _ => rt::exit(2),
    }
}

fn start(f: impl FnOnce() + Send + 'static) -> JoinHandle {
    match rt::thread::spawn(f, 1, rt::info().priority as u8) {
        Ok(thread) => thread,
        Err(_) => rt::exit(3),
    }
}

fn note() -> Notification {
    Notification::create().unwrap_or_else(|_| rt::exit(4))
}

/// A few instructions that take no time to emulate: a pause, or a look at the clock, ends what QEMU translates as one piece.
fn turn_round() {
    for round in 0..40 {
        core::hint::black_box(round);
    }
}

fn spin() {
    loop {
        turn_round();
    }
}

fn work_until(ns: u64) {
    while now_ns() < ns {
        turn_round();
    }
}

/// Waits for a tick, which shows as a gap in the time of the thread, and works until just before the next one.
fn work_until_before_a_tick() {
    let mut last = ticks();
    loop {
        let now = ticks();
        if now - last > GAP {
            break;
        }
        last = now;
    }
    work_until(now_ns() + TICK - BEFORE);
}

/// Each thread works from just before a tick until just before the next one, and hands over to another.
fn hand_over() {
    let notes: &'static [Notification] = Box::leak((0..THREADS).map(|_| note()).collect());
    let link = |own: usize| {
        let mut begun = own == 0;
        loop {
            if !core::mem::take(&mut begun) {
                notes[own].wait(1);
            }
            work_until_before_a_tick();
            let _ = notes[(own + 1) % THREADS].signal(1);
        }
    };
    for own in 1..THREADS {
        start(move || link(own));
    }
    link(0)
}

/// Each thread is woken by its timer, and sleeps again before the next tick. Another one is woken by that.
fn between_ticks() {
    let begin = now_ns() + 20 * TICK;
    let sleeper = move |own: usize| {
        let note = note();
        let timer = Timer::on(note, 0).unwrap_or_else(|_| rt::exit(5));
        let mut next = begin + own as u64 * TICK;
        loop {
            timer.arm_at(next);
            note.wait(1);
            work_until(now_ns() + 700_000);
            next = now_ns() + THREADS as u64 * TICK - TICK;
        }
    };
    for own in 1..THREADS {
        start(move || sleeper(own));
    }
    sleeper(0)
}

/// Those that have been born, the newest last.
static BORN: Mutex<Vec<JoinHandle>> = Mutex::new(Vec::new());

/// A thread that begins another one, just before the tick, and ends.
fn born() {
    let child = start(|| {
        work_until_before_a_tick();
        born();
    });
    let mut all = BORN.lock();
    all.push(child);
    // Whose thread has been gone for so long has nothing left to do.
    let ended = if all.len() > 2 * LINES { Some(all.remove(0)) } else { None };
    drop(all);
    if let Some(ended) = ended {
        ended.join();
    }
}

fn call() {
    let Some(peer) = Endpoint::peer("accomplice") else { rt::exit(6) };
    loop {
        work_until_before_a_tick();
        let _ = peer.call(1, [0; 4]);
    }
}

fn serve() {
    let mut token = ReplyToken::NONE;
    loop {
        match sys::reply_recv(Endpoint::own().0, token, Header::new(0), [0; 4], 0, 0) {
            Ok(received) => token = received.token,
            Err(_) => rt::exit(7),
        }
        work_until_before_a_tick();
    }
}
