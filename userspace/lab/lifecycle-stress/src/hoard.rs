//! A life that holds as much as a task can hold, of one kind or of all.

use crate::{ALL, USAGE};
use abi::Status;
use abi::message::bits;
use assist::threads::{self, call_forever, receive_forever, wait_forever, yield_forever};
use rt::ipc::Endpoint;
use rt::notify::Notification;
use rt::syscall as sys;

/// The bits for which it waits when it holds all: its end, by an exception or by itself.
const FAULT: u64 = 1 << 50;
const EXIT: u64 = 1 << 51;

/// Takes until nothing is left of its quotas, receives one call that it never answers, and waits to be told its end.
pub fn hoard(kind: u64) -> ! {
    let Err(end) = take(kind) else { rt::exit(USAGE) };
    if !matches!(end, Status::QuotaObjects | Status::QuotaHandles) {
        rt::exit(USAGE);
    }
    let told = loop {
        if let Ok(rt::ipc::Event::Notified(set)) = Endpoint::own().receive(FAULT | EXIT)
            && set & !bits::PEER != 0
        {
            break set;
        }
    };
    if told & FAULT != 0 {
        // SAFETY: `ud2` does nothing but end this life.
        unsafe { core::arch::asm!("ud2", options(nomem, nostack)) }
    }
    rt::exit(0)
}

fn take(kind: u64) -> Result<(), Status> {
    let peer = |name| Endpoint::peer(name).map(|peer| u64::from(peer.0)).ok_or(Status::BadHandle);
    let (keeper, deaf) = (peer("keeper")?, peer("deaf")?);
    for number in 0_u64.. {
        match kind {
            // Mappings of one object, then handles.
            0 => {
                let memory = sys::memory_create(1, false)?;
                while map(memory).is_ok() {}
                loop {
                    sys::handle_dup(Notification::own().0, ALL, 0)?;
                }
            }
            // Threads: in a call that is received, in one that is not, waiting, receiving, ready.
            1 => {
                let at = match number % 5 {
                    0 => threads::start(call_forever, keeper, 30)?,
                    1 => threads::start(call_forever, deaf, 30)?,
                    2 => threads::start(receive_forever, Endpoint::own().0.into(), 30)?,
                    3 => threads::start(receive_forever, sys::endpoint_create()?.into(), 30)?,
                    _ => threads::start(yield_forever, 0, 31)?,
                };
                sys::handle_close(at)?;
            }
            // What others can wait at, and timers.
            2 => {
                let (endpoint, notification) = (sys::endpoint_create()?, sys::notification_create()?);
                sys::endpoint_bind(endpoint, notification)?;
                sys::timer_arm(sys::timer_create(Notification::own().0, 3)?, u64::MAX >> 1)?;
            }
            _ => {
                let notification = sys::notification_create()?;
                threads::start(wait_forever, notification.into(), 30)?;
                map(sys::memory_create(1, false)?)?;
                sys::handle_dup(notification, ALL, 0)?;
            }
        }
    }
    Ok(())
}

fn map(memory: u32) -> Result<(), Status> {
    // SAFETY: mapped where the kernel likes, and nothing ever refers to it.
    unsafe { sys::memory_map(memory, 0, true) }.map(drop)
}
