//! The keyboard driver's task: handles interrupts and requests; the events are in kept memory.

use crate::device::{Keyboard, Serviced};
use crate::keep::Keep;
use crate::{Call, KeyEvent, Layout, LayoutInfo, Outcome, Queue, Refusal, Server};
use rt::abi::TaskId;
use rt::callers::Subscribers;
use rt::irq::{Irq, Left};
use rt::keep::Run;
use rt::notify::Notification;
use rt::port::IoPorts;
use rt::proto::{Asker, Out, Owned};
use rt::{Bit, Driver};

/// Notification bit that the driver sets for itself if it handles an interrupt in several parts.
const AGAIN: Bit = Bit::new(33);

/// The driver's state.
pub struct Service {
    keyboard: Keyboard<IoPorts, IoPorts>,
    keep: &'static Keep,
    irq: Irq,
    readers: Queue<Read, usize>,
    subscribers: Subscribers,
    /// Whether the controller holds a byte for which there is no room, and the interrupt is masked.
    full: bool,
    /// Whether the log has said that nobody reads; cleared by the next read.
    said: bool,
}

struct Read {
    number: u64,
    events: Out,
    wait: bool,
}

impl Driver for Service {
    fn init() -> Self {
        let ports = IoPorts::named("data").zip(IoPorts::named("control"));
        let (data, control) = ports.expect("the task table grants no ports called `data` and `control`");
        let irq = Irq::named("key").expect("the task table grants no interrupt `key`");
        let keep = rt::keep::open::<Keep>();
        let mut keyboard = Keyboard::start(data, control, keep);
        let mut full = false;
        irq.settle(|| {
            let serviced = keyboard.service();
            full = serviced.full;
            left(serviced)
        });
        let found = keyboard.found();
        if !found.controller {
            rt::println!("no keyboard controller at 0x60 and 0x64");
        } else if !(found.self_test && found.line && found.keyboard) {
            rt::println!(
                "controller test {}, line test {}, keyboard {}: going on all the same",
                verdict(found.self_test),
                verdict(found.line),
                if found.keyboard { "answers" } else { "silent" },
            );
        } else if found.warm {
            rt::println!("going on with {} events unread, layout {}", keep.unread(), keyboard.layout().name());
        }
        Service {
            keyboard,
            keep,
            irq,
            readers: Queue::default(),
            subscribers: Subscribers::default(),
            full,
            said: false,
        }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.irq.bits() | AGAIN.mask()) != 0 {
            self.serve();
        }
    }

    fn pulse(&mut self) {
        self.serve();
    }
}

impl Server for Service {
    fn read(&mut self, call: Call<usize>, wait: bool, events: Out) -> Outcome<usize> {
        let read = Read { number: call.from.number, events, wait };
        let outcome = self.readers.ask(call, read, |task, read| give(self.keep, task, read));
        if self.full {
            self.serve();
        }
        outcome
    }

    fn read_from(&mut self, _: Asker, position: u32, events: Out) -> Result<Run, Refusal> {
        let capacity = events.len() as usize / KeyEvent::LEN;
        let give = |number: usize, event: &[u8; KeyEvent::LEN]| events.write_all(number * KeyEvent::LEN, event);
        let run = self.keep.read_from(position, capacity, give);
        if self.full {
            self.serve();
        }
        run.map_err(|_| Refusal::BadLease)
    }

    fn subscribe(&mut self, from: Asker, bits: u64, notification: Owned<Notification>) -> Result<(), Refusal> {
        // The dead life may not have taken the events that it was given.
        self.subscribers.add_owned(from, bits, notification, !self.keep.is_empty());
        Ok(())
    }

    fn set_layout(&mut self, _: Asker, layout: Layout) -> Result<(), Refusal> {
        self.keyboard.set_layout(layout);
        Ok(())
    }

    fn layout(&mut self, _: Asker) -> Result<LayoutInfo, Refusal> {
        Ok(LayoutInfo { layout: self.keyboard.layout(), lost: self.keep.lost().into() })
    }
}

impl Service {
    /// Handles the bytes that the controller has.
    fn serve(&mut self) {
        let serviced = self.irq.drain(AGAIN, || {
            let serviced = self.keyboard.service();
            (left(serviced), serviced)
        });
        self.full = serviced.full;
        self.said &= self.keep.unread() > 0;
        if serviced.full && !core::mem::replace(&mut self.said, true) {
            rt::println!(
                "{} keys wait to be read: a keyboard that holds no more loses the next ones",
                self.keep.unread()
            );
        }
        if serviced.overrun {
            rt::println!("the keyboard has lost keys: it held as many as it can");
        }
        if serviced.events {
            self.subscribers.signal();
            self.readers.serve(|task, read| give(self.keep, task, read));
        }
    }
}

fn left(serviced: Serviced) -> Left {
    if serviced.full { Left::Blocked } else { Left::more(serviced.more) }
}

/// Gives a reader the waiting events; `None` if there are none and it waits.
fn give(keep: &Keep, task: TaskId, read: &mut Read) -> Option<Result<usize, Refusal>> {
    let Read { number, events, wait } = *read;
    let capacity = events.len() as usize / KeyEvent::LEN;
    let given = keep.read(task, number, capacity, |number, event| events.write_all(number * KeyEvent::LEN, event));
    match given {
        Ok(0) if wait && capacity != 0 => None,
        given => Some(given.map_err(|_| Refusal::BadLease)),
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}
