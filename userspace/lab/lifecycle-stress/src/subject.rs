//! What the judge does things to. The first word of the argument says what a life of it does.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod float;
mod hoard;
mod hold;

use abi::PAGE_SIZE;
use abi::message::Rights;
use assist::CANARY;
use core::str::SplitAsciiWhitespace;
use rt::ipc::{CallError, Endpoint, Event, Kinds};
use rt::irq::Irq;
use rt::notify::Notification;
use rt::port::{IoPorts, Port};
use rt::syscall as sys;

rt::entry!(run);

/// Exit code where the argument or the system's table makes no sense.
const USAGE: i32 = 2;
/// Exit code where something was not as it should be.
const WRONG: i32 = 1;

fn run() {
    let mut words = rt::arg().split_ascii_whitespace();
    match words.next().unwrap_or_default() {
        "keep" => keep(),
        "deaf" => deaf(),
        "client" => client(words.next().unwrap_or("holder")),
        "hoard" => hoard::hoard(number(&mut words)),
        "hold" => hold::hold(number(&mut words), number(&mut words)),
        "canary" => canary(number(&mut words) as usize),
        "storm" => storm(number(&mut words) != 0, number(&mut words)),
        "float" => float::keep_pattern(number(&mut words), number(&mut words)),
        "fresh" => rt::exit(if float::is_fresh() { 0 } else { WRONG }),
        "steal" => float::steal(),
        _ => rt::exit(USAGE),
    }
}

fn number(words: &mut SplitAsciiWhitespace<'_>) -> u64 {
    words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| rt::exit(USAGE))
}

/// Takes requests, gives up the handles that come along, answers none.
fn keep() -> ! {
    if Endpoint::own().takes(Kinds::NOTIFICATION).is_err() {
        rt::exit(WRONG);
    }
    loop {
        match Endpoint::own().receive(u64::MAX) {
            Ok(Event::Request(request)) => {
                if let Some(handle) = request.handle {
                    let _ = sys::handle_close(handle.number);
                }
            }
            Ok(Event::Notified(_)) => {}
            Err(_) => rt::exit(WRONG),
        }
    }
}

fn deaf() -> ! {
    loop {
        Notification::own().wait(1 << 50);
    }
}

/// Calls whichever life of a server there is. None answers: a call ends with its server.
fn client(server: &str) -> ! {
    let Some(server) = Endpoint::peer(server) else { rt::exit(USAGE) };
    loop {
        match server.call(7, [1, 2, 3, 4]) {
            Err(CallError::Died { .. }) => {}
            _ => rt::exit(WRONG),
        }
    }
}

/// Fills memory objects, its heap and its stack with [`CANARY`], and ends without clearing up.
fn canary(objects: usize) -> ! {
    const PAGES: usize = 64;
    for _ in 0..objects {
        let Ok(memory) = sys::memory_create(PAGES, false) else { rt::exit(USAGE) };
        // SAFETY: maps fresh memory, to which nothing refers yet, where the kernel likes.
        let Ok(address) = (unsafe { sys::memory_map(memory, 0, true) }) else { rt::exit(USAGE) };
        for at in 0..PAGES * PAGE_SIZE / size_of::<u64>() {
            // SAFETY: within the mapping, which is this function's own.
            unsafe { (address as *mut u64).add(at).write_volatile(CANARY) };
        }
    }
    let heap = alloc::vec![CANARY; 5_000];
    let stack = [CANARY; 1_000];
    core::hint::black_box((&heap, &stack));
    rt::exit(0)
}

/// Has its clock interrupt 1024 times a second (MC146818A data sheet) for some milliseconds, and acknowledges that, or never does. The exit
/// code is how often the interrupt came.
fn storm(acknowledges: bool, ms: u64) -> ! {
    let (Some(irq), Some(mut ports)) = (Irq::named("clock"), IoPorts::granted(0x70, 2)) else { rt::exit(USAGE) };
    let mut read = |register: u8| {
        ports.write8(0, register);
        ports.read8(1)
    };
    let (rate, control) = (read(0x0a), read(0x0b));
    let mut write = |register: u8, value: u8| {
        ports.write8(0, register);
        ports.write8(1, value);
    };
    write(0x0a, rate & 0xf0 | 6);
    write(0x0b, control | 0x40);
    // Whatever has fired before is not counted; the line is open from here on.
    ports.write8(0, 0x0c);
    ports.read8(1);
    Notification::own().poll(irq.bits());
    irq.ack();
    let (mut came, end) = (0, rt::time::now_ns() + ms * 1_000_000);
    while rt::time::now_ns() < end {
        // The clock raises its line again only once this register has been read.
        ports.write8(0, 0x0c);
        ports.read8(1);
        if Notification::own().poll(irq.bits()) != 0 {
            came += 1;
            if acknowledges {
                irq.ack();
            }
        }
        rt::time::sleep_ms(1);
    }
    rt::exit(came)
}

/// Rights that let a copy be made and used.
const ALL: Rights = Rights::all();
