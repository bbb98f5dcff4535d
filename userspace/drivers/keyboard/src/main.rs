//! The keyboard driver: interrupts on one side, requests on the other, the events in kept memory between them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use driver_keyboard::device::Keyboard;
use driver_keyboard::keep::Keep;
use driver_keyboard::ports::Data;
use driver_keyboard::{KeyEvent, Layout, label, outcome};
use rt::callers::{Caller, Callers, Ready, Subscribers};
use rt::ipc::{Kinds, Request};
use rt::irq::Irq;
use rt::memory::Memory;
use rt::notify::Notification;
use rt::port::IoPorts;
use rt::{Answer, Driver};

rt::driver!(Service);

/// Notification bit by which the driver calls itself when an interrupt's work was cut into parts.
const AGAIN: u64 = 1 << 33;

/// Most goes at the bytes that were there before the driver's start.
const STALE_GOES: usize = 64;

struct Service {
    keyboard: Keyboard<Data, IoPorts>,
    keep: &'static Keep,
    irq: Irq,
    readers: Callers<Read>,
    subscribers: Subscribers,
    /// The controller keeps a byte for which there is no room, and the interrupt masked.
    full: bool,
    /// It was said that nobody reads; once more when somebody has.
    said: bool,
}

struct Read {
    sequence: u32,
    /// Events.
    capacity: usize,
    wait: bool,
}

impl Driver for Service {
    const TAKES: Kinds = Kinds::NOTIFICATION;

    fn init() -> Self {
        let (data, control) = Data::and_control().expect("the task table does not grant the ports 0x60 and 0x64");
        let irq = Irq::named("key").expect("the task table grants no interrupt `key`");
        let keep = kept_memory();
        let mut keyboard = Keyboard::start(data, control, keep);
        // The last life may have left the interrupt line high, and the controller only sees it rise.
        let mut full = false;
        for _ in 0..STALE_GOES {
            let serviced = keyboard.service();
            full = serviced.full;
            if !serviced.more {
                break;
            }
        }
        if !full {
            irq.ack();
        }
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
            readers: Callers::default(),
            subscribers: Subscribers::default(),
            full,
            said: false,
        }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.irq.bits() | AGAIN) != 0 {
            self.serve();
        }
    }

    fn pulse(&mut self) {
        self.serve();
    }

    fn request(&mut self, request: &Request) -> Answer {
        match request.label {
            label::READ => {
                let answer = self.read(request);
                if self.full {
                    self.serve();
                }
                answer
            }
            label::SUBSCRIBE => self.subscribe(request),
            label::SET_LAYOUT => match u32::try_from(request.words[0]).ok().and_then(Layout::from_u32) {
                Some(layout) => {
                    self.keyboard.set_layout(layout);
                    Answer::ok([0; 4])
                }
                None => Answer::refuse(outcome::NO_LAYOUT),
            },
            label::GET_LAYOUT => Answer::ok([self.keyboard.layout() as u64, self.keep.lost() as u64, 0, 0]),
            _ => Answer::bad_request(),
        }
    }

    fn takes_handle(label: u16) -> bool {
        label == label::SUBSCRIBE
    }
}

impl Service {
    /// Takes what the controller has.
    fn serve(&mut self) {
        let serviced = self.keyboard.service();
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
        if serviced.full || (serviced.more && Notification::own().signal(AGAIN).is_ok()) {
            // The interrupt stays masked until the rest is done.
        } else {
            self.irq.ack();
        }
        if serviced.events {
            self.subscribers.signal();
            self.readers.serve(|read| give(self.keep, read));
        }
    }

    fn read(&mut self, request: &Request) -> Answer {
        let Ok(room) = request.lease_len(0) else {
            return Answer::refuse(outcome::BAD_LEASE);
        };
        let [wait, sequence, ..] = request.words;
        let read = Read { sequence: sequence as u32, capacity: room / KeyEvent::LEN, wait: wait != 0 };
        self.readers.ask(request, read, outcome::BUSY, |read| give(self.keep, read))
    }

    fn subscribe(&mut self, request: &Request) -> Answer {
        if self.subscribers.add(request, self.keep.unread() > 0) {
            Answer::ok([0; 4])
        } else {
            Answer::refuse(outcome::NOT_SUBSCRIBED)
        }
    }
}

/// Gives a reader the events that there are; no answer where there is none and it waits.
fn give(keep: &Keep, read: &mut Caller<Read>) -> Option<Ready> {
    let Caller { task, pending, what } = read;
    let copy = |number, event: &[u8; KeyEvent::LEN]| pending.write_all(0, number * KeyEvent::LEN, event);
    match keep.read(*task, what.sequence, what.capacity, copy) {
        Ok(0) if what.wait && what.capacity != 0 => None,
        Ok(count) => Some((0, [count as u64, 0, 0, 0])),
        Err(_) => Some((outcome::BAD_LEASE, [0; 4])),
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

/// The memory that outlives the driver; without any, memory of its own that does not.
fn kept_memory() -> &'static Keep {
    let (memory, kept) = Memory::kept(size_of::<Keep>());
    if !kept {
        rt::println!("no memory to keep: a restart loses unread keys and the layout");
    }
    Keep::open(memory).expect("the memory is as large as the state")
}
