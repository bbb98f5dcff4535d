//! The keyboard driver: interrupts on one side, requests on the other, the events in kept memory between them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use abi::{Status, TaskId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use driver_keyboard::device::Keyboard;
use driver_keyboard::keep::Keep;
use driver_keyboard::ports::Data;
use driver_keyboard::{KeyEvent, Layout, label, outcome};
use rt::ipc::{Pending, Request};
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
    readers: VecDeque<Reader>,
    subscribers: Vec<Subscriber>,
    /// The controller keeps a byte for which there is no room, and the interrupt masked.
    full: bool,
}

/// A read that waits for events. A task has at most one, so there are never more than tasks.
struct Reader {
    task: TaskId,
    pending: Pending,
    sequence: u32,
    capacity: usize,
}

struct Subscriber {
    task: TaskId,
    notification: u32,
    bits: u64,
}

impl Driver for Service {
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
        Service { keyboard, keep, irq, readers: VecDeque::new(), subscribers: Vec::new(), full }
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
                None => refuse(outcome::NO_LAYOUT),
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
        if serviced.full || (serviced.more && Notification::own().signal(AGAIN).is_ok()) {
            // The interrupt stays masked until the rest is done.
        } else {
            self.irq.ack();
        }
        if serviced.events {
            self.subscribers.retain(notify);
            self.answer_readers();
        }
    }

    fn read(&mut self, request: &Request) -> Answer {
        let Ok(room) = request.lease_len(0) else {
            return refuse(outcome::BAD_LEASE);
        };
        let [wait, sequence, ..] = request.words;
        let (task, sequence, capacity) = (request.sender.task, sequence as u32, room / KeyEvent::LEN);
        // A reader of an earlier life of the task has nobody left to answer and makes room.
        self.readers.retain(|other| other.task.index != task.index || other.task == task);
        if self.readers.iter().any(|other| other.task == task) {
            return refuse(outcome::BUSY);
        }
        let given = self
            .keep
            .read(task, sequence, capacity, |number, event| all(request.write(0, number * KeyEvent::LEN, event)));
        match given {
            Ok(0) if wait != 0 && capacity != 0 => {
                self.readers.push_back(Reader { task, pending: request.pending(), sequence, capacity });
                Answer::Later
            }
            Ok(count) => Answer::ok([count as u64, 0, 0, 0]),
            Err(_) => refuse(outcome::BAD_LEASE),
        }
    }

    fn answer_readers(&mut self) {
        while self.keep.unread() > 0 {
            let Some(reader) = self.readers.pop_front() else {
                return;
            };
            let Reader { task, pending, sequence, capacity } = reader;
            let given = self
                .keep
                .read(task, sequence, capacity, |number, event| all(pending.write(0, number * KeyEvent::LEN, event)));
            let (label, count) = given.map_or((outcome::BAD_LEASE, 0), |count| (0, count));
            // A caller that is gone wants no answer.
            let _ = pending.reply(label, [count as u64, 0, 0, 0]);
        }
    }

    fn subscribe(&mut self, request: &Request) -> Answer {
        let Some(notification) = request.handle else {
            return refuse(outcome::NOT_SUBSCRIBED);
        };
        let subscriber = Subscriber { task: request.sender.task, notification, bits: request.words[0] };
        self.subscribers.retain(|other| {
            let keep = other.task.index != subscriber.task.index;
            if !keep {
                close(other.notification);
            }
            keep
        });
        if self.keep.unread() == 0 || notify(&subscriber) {
            self.subscribers.push(subscriber);
        }
        Answer::ok([0; 4])
    }
}

fn refuse(outcome: u16) -> Answer {
    Answer::Reply(outcome, [0; 4])
}

fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

/// A copy to a caller that came short means that the lease is shorter than it said.
fn all(copied: Result<usize, Status>) -> Result<(), Status> {
    if copied? == KeyEvent::LEN { Ok(()) } else { Err(Status::LeaseBounds) }
}

/// Signals a subscriber; one that is gone is given up.
fn notify(subscriber: &Subscriber) -> bool {
    let lives = Notification(subscriber.notification).signal(subscriber.bits).is_ok();
    if !lives {
        close(subscriber.notification);
    }
    lives
}

fn close(handle: u32) {
    // The handle is the driver's own: closing it can fail only where it is closed already.
    let _ = rt::ipc::close(handle);
}

/// The memory that outlives the driver; without any, memory of its own that does not.
fn kept_memory() -> &'static Keep {
    let kept = Memory::keep().and_then(|memory| memory.map(true).ok()).and_then(|mapping| Keep::open(mapping.leak()));
    kept.unwrap_or_else(|| {
        rt::println!("no memory to keep: a restart loses unread keys and the layout");
        let words = alloc::vec![0_u64; size_of::<Keep>().div_ceil(8)].leak();
        Keep::open(zerocopy::IntoBytes::as_mut_bytes(words)).expect("the memory is as large as the state")
    })
}
