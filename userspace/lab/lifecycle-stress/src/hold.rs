//! A life that holds some of everything, and ends in every state that a thread can be in.

use crate::{ALL, USAGE};
use abi::Status;
use abi::message::{Header, Kind, Rights, pack_transfer};
use assist::threads::{self, call_forever, receive_forever, wait_forever, yield_forever};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::syscall as sys;
use rt::thread::set_own_priority;

/// How many steps there are.
pub const STEPS: u64 = 16;
/// How many last states there are.
pub const ENDS: u64 = 8;
/// The last state in which steps were made one at a time, the judge in between.
const STEP_BY_STEP: u64 = 7;
/// The priority below which nobody is.
const LEAST: u8 = 31;

/// Takes `count` steps from the one of number `from` on, then waits for its end in the state `from` also says.
pub fn hold(from: u64, count: u64) -> ! {
    let end = from / STEPS % ENDS;
    if end == STEP_BY_STEP {
        let _ = set_own_priority(LEAST);
    }
    for number in 0..count {
        if step((from + number) % STEPS).is_err() {
            rt::exit(USAGE);
        }
        if end == STEP_BY_STEP {
            sys::yield_now();
        }
    }
    let peer = |name| Endpoint::peer(name).unwrap_or_else(|| rt::exit(USAGE));
    match end {
        0 => loop {
            // The client's call is received, and never answered.
            let _ = Endpoint::own().receive(0);
        },
        1 => _ = sys::wait(Notification::own().0, 1 << 50),
        2 => _ = peer("keeper").call(1, [0; 4]),
        3 => _ = peer("deaf").call(1, [0; 4]),
        4 => rt::time::sleep_ms(1 << 30),
        5 => rt::exit(0),
        // SAFETY: `ud2` does nothing but end this life.
        6 => unsafe { core::arch::asm!("ud2", options(nomem, nostack)) },
        _ => {
            let _ = threads::start(yield_forever, 0, LEAST);
            _ = sys::wait(Notification::own().0, 1 << 50);
        }
    }
    rt::exit(USAGE)
}

fn step(number: u64) -> Result<(), Status> {
    let peer = |name| Endpoint::peer(name).map(|peer| peer.0).ok_or(Status::BadHandle);
    match number {
        0 => sys::endpoint_create().map(drop),
        1 => sys::notification_create().map(drop),
        2 => sys::timer_arm(sys::timer_create(Notification::own().0, 3)?, u64::MAX >> 1),
        3 => map(sys::memory_create(3, false)?),
        4 => map(sys::memory_create(2, true)?),
        5 => sys::handle_dup(Notification::own().0, ALL, 0).map(drop),
        6 => sys::endpoint_bind(sys::endpoint_create()?, sys::notification_create()?),
        7 => threads::start(call_forever, peer("keeper")?.into(), 5).map(drop),
        8 => threads::start(call_forever, peer("deaf")?.into(), 5).map(drop),
        9 => threads::start(receive_forever, sys::endpoint_create()?.into(), 5).map(drop),
        10 => threads::start(wait_forever, sys::notification_create()?.into(), 5).map(drop),
        // A handle travels to somebody else.
        11 => {
            let transfer = pack_transfer(sys::notification_create()?, Rights::SIGNAL);
            match sys::send(peer("keeper")?, Header::new(1).with_handle(Kind::Notification), [0; 4], transfer) {
                Err(Status::WouldBlock) => Ok(()),
                other => other,
            }
        }
        // A call within the task, received and not answered.
        12 => {
            let endpoint = sys::endpoint_create()?;
            threads::start(receive_forever, endpoint.into(), 5)?;
            threads::start(call_forever, endpoint.into(), 5).map(drop)
        }
        13 => sys::log_write(b"half a line").map(drop),
        14 => {
            core::mem::forget(alloc::vec![number; 3_000]);
            Ok(())
        }
        _ => {
            // Shared within the task by a second handle and a second mapping.
            let memory = sys::memory_create(1, false)?;
            map(sys::handle_dup(memory, ALL, 0)?)?;
            map(memory)
        }
    }
}

fn map(memory: u32) -> Result<(), Status> {
    // SAFETY: mapped where the kernel likes, and nothing ever refers to it.
    unsafe { sys::memory_map(memory, 0, true) }.map(drop)
}
