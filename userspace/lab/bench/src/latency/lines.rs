//! A driver of four devices that every PC has, which has their lines interrupt it: while it runs, and while nobody does. As many of its threads as may wait for
//! other bits, so that each interrupt looks at them all.

use super::PRIORITY;
use abi::message::LISTENERS;
use rt::Status;
use rt::ipc::{Endpoint, Event};
use rt::irq::Irq;
use rt::port::{IoPorts, Port};

/// The first of the bits that the threads wait for; the lines' are below.
const OTHERS: u64 = 20;
/// Interrupts of each device.
const ROUNDS: u32 = 30;

/// The keyboard's controller (i8042): data, and commands (IBM PS/2 Technical Reference).
const DATA: u16 = 0x60;
const COMMAND: u16 = 0x64;
/// Both lines on, scan codes translated.
const LINES_ON: u8 = 0x47;
const SET_MODE: u8 = 0x60;
/// The next byte comes back as if the keyboard, or the mouse, had sent it.
const AS_KEYBOARD: u8 = 0xd2;
const AS_MOUSE: u8 = 0xd3;

/// The second serial line, a 16550, and its registers (PC16550D data sheet).
const SERIAL: u16 = 0x2f8;
/// The clock (MC146818): index and data; register B, of which this bit lets register C's periodic flag interrupt, and C, which reading clears.
const CLOCK: u16 = 0x70;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const PERIODIC: u8 = 1 << 6;

fn ports(base: u16, len: u16) -> Result<IoPorts, Status> {
    IoPorts::granted(base, len).ok_or(Status::BadHandle)
}

/// Does all of it, then ends the task.
pub fn run() -> Result<(), Status> {
    let own = u64::from(Endpoint::own().0);
    for bit in OTHERS..OTHERS + LISTENERS as u64 - 1 {
        let entry = bench::stackless::listener as *const () as u64;
        // SAFETY: it is made to be a thread's first function, and uses neither stack nor memory.
        let thread = unsafe { rt::syscall::thread_create(entry, abi::PAGE_SIZE as u64, own | bit << 32, PRIORITY)? };
        rt::ipc::close(thread)?;
    }
    rt::syscall::yield_now();
    controller("keyboard", AS_KEYBOARD)?;
    controller("mouse", AS_MOUSE)?;
    serial()?;
    clock()?;
    rt::syscall::exit(0)
}

/// Waits for a line, with its bit alone.
fn wait(irq: Irq) {
    loop {
        if let Ok(Event::Notified(set)) = Endpoint::own().receive(irq.bits())
            && set & irq.bits() != 0
        {
            return;
        }
    }
}

fn controller(name: &str, as_if: u8) -> Result<(), Status> {
    let irq = Irq::named(name).ok_or(Status::BadHandle)?;
    let (mut data, mut command) = (ports(DATA, 1)?, ports(COMMAND, 1)?);
    command.write8(0, SET_MODE);
    data.write8(0, LINES_ON);
    for round in 0..ROUNDS {
        command.write8(0, as_if);
        // The interrupt comes behind this instruction: the task runs, and nobody waits for the bit.
        data.write8(0, round as u8);
        wait(irq);
        data.read8(0);
        irq.ack();
    }
    Ok(())
}

fn serial() -> Result<(), Status> {
    let irq = Irq::named("serial").ok_or(Status::BadHandle)?;
    let mut line = ports(SERIAL, 8)?;
    // 115,200 baud, 8N1; FIFOs on and empty, an interrupt at fourteen bytes; loopback, OUT2 (the line's gate); bytes received.
    for (port, value) in [(3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 0x1b), (1, 1)] {
        line.write8(port, value);
    }
    for round in 0..ROUNDS {
        // The interrupt is that of the time-out, four characters later: nobody runs by then.
        line.write8(0, round as u8);
        wait(irq);
        while line.read8(5) & 1 != 0 {
            line.read8(0);
        }
        irq.ack();
    }
    Ok(())
}

fn clock() -> Result<(), Status> {
    let irq = Irq::named("clock").ok_or(Status::BadHandle)?;
    let mut clock = ports(CLOCK, 2)?;
    clock.write8(0, REGISTER_B);
    let mode = clock.read8(1);
    clock.write8(1, mode | PERIODIC);
    for round in 0..ROUNDS {
        clock.write8(0, REGISTER_C);
        clock.read8(1);
        irq.ack();
        // In every other round the task runs when it comes.
        let start = rt::time::ticks();
        while round % 2 == 0 && rt::time::ticks().wrapping_sub(start) < 1_500_000 {}
        wait(irq);
    }
    clock.write8(0, REGISTER_B);
    clock.write8(1, mode);
    Ok(())
}
