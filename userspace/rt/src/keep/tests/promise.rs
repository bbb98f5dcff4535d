//! A driver of a disk whose writes are promised, with deaths before every step.

use super::{ALICE, BOB};
use crate::exec::Lend;
use crate::fake::Access;
use crate::ipc::{CallError, Request};
use crate::keep::{Kept, LastDone, MAX_TASKS, Pending, Promise, damage, fuse};
use crate::port::{FakePorts, IoPorts, Port};
use crate::testing::{Deaths, Harness, every_death, every_two_deaths};
use crate::{Answer, Driver};
use alloc::vec;
use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

crate::words! {
    /// Where a sector is written to.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Write { pub drive: Drive, pub sector: u32 }
}

crate::words! {
    /// One of two.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Drive { First = 1, Second = 2 }
}

/// Bytes in a sector: few, as each two are a step.
const SECTOR: usize = 32;

crate::kept! {
    pub struct Keep {
        written: LastDone<MAX_TASKS>,
        command: Promise<Write, SECTOR>,
    }
}

const PORTS: u16 = 0x1f0;
const DATA: u16 = 0;
const PLACE: u16 = 2;
const COMMAND: u16 = 6;
const RESET: u32 = 1;
const WRITE: u32 = 2;

/// A disk: a command takes a sector's words through its data port, and writes the sector when it
/// has them all. A reset makes it forget a part.
#[derive(Default)]
struct Disk {
    place: u32,
    taking: Option<Vec<u8>>,
    sectors: BTreeMap<u32, Vec<u8>>,
    /// What was written, without immediate repetitions.
    log: Vec<(u32, Vec<u8>)>,
}

impl Disk {
    fn access(&mut self, access: Access) {
        match access {
            Access::Write(COMMAND, RESET) => self.taking = None,
            Access::Write(PLACE, place) => self.place = place,
            Access::Write(COMMAND, WRITE) => self.taking = Some(Vec::new()),
            Access::Write(DATA, word) => {
                let Some(bytes) = &mut self.taking else { return };
                bytes.extend((word as u16).to_le_bytes());
                if bytes.len() == SECTOR {
                    let entry = (self.place, self.taking.take().unwrap_or_default());
                    if self.log.last() != Some(&entry) {
                        self.log.push(entry.clone());
                    }
                    self.sectors.insert(entry.0, entry.1);
                }
            }
            _ => {}
        }
    }
}

/// Request 1: writes what is lent; word 0 is the sector, word 1 the number.
struct Ata {
    port: IoPorts,
    keep: &'static Keep,
}

impl Ata {
    fn perform(&mut self, write: Write, bytes: &[u8]) {
        self.port.write8(COMMAND, RESET as u8);
        self.port.write32(PLACE, write.sector);
        self.port.write8(COMMAND, WRITE as u8);
        for pair in bytes.chunks_exact(2) {
            self.port.write16(DATA, u16::from_le_bytes([pair[0], pair[1]]));
        }
        self.keep.command.end(&self.keep.written);
    }
}

impl Driver for Ata {
    fn init() -> Self {
        let keep = crate::keep::open_or(|_: &Keep| {});
        let mut ata = Ata { port: IoPorts::granted(PORTS, 8).expect("ports"), keep };
        if let Some(Pending { arguments, bytes, .. }) = keep.command.pending() {
            assert_eq!((bytes.len(), arguments.drive), (SECTOR, Drive::Second), "it is whole");
            ata.perform(arguments, &bytes);
        }
        ata
    }

    fn request(&mut self, request: &Request) -> Answer {
        let ([sector, number, ..], task) = (request.words, request.sender.task);
        if self.keep.written.is_done(task, number) {
            return Answer::ok([1, 0, 0, 0]);
        }
        let mut bytes = [0; SECTOR];
        if request.read(0, 0, &mut bytes) != Ok(SECTOR) {
            return Answer::refuse(1);
        }
        let write = Write { drive: Drive::Second, sector: sector as u32 };
        assert!(self.keep.command.make(task, number, &write, &bytes), "nothing else is promised");
        self.perform(write, &bytes);
        Answer::ok([1, 0, 0, 0])
    }
}

/// Two clients write to the same sector and to one of their own; each repeats what was not answered.
fn writes(deaths: &Deaths) {
    let disk = Arc::new(Mutex::new(Disk::default()));
    let (device, mut ports) = (disk.clone(), FakePorts::new());
    ports.hook(move |access| {
        device.lock().expect("one thread").access(access);
        None
    });
    let harness = Harness::new("ata").ports("registers", PORTS, 8, ports).keep(size_of::<Keep>());
    let driver = harness.deaths(deaths).start::<Ata>();
    let content = |client: usize, number: u64| vec![(client as u8 + 1) << 4 | number as u8; SECTOR];
    let place = |client: usize, number: u64| if number == 1 { 7 } else { 8 + client as u64 };
    let ask = |client: usize, number: u64| {
        let words = [place(client, number), number, 0, 0];
        driver.ask(client, 1, words, vec![Lend::Read(content(client, number))])
    };
    let mut waiting = [(1, ask(0, 1)), (1, ask(1, 1))];
    while waiting.iter().any(|(number, _)| *number < 3) {
        driver.turn();
        for (client, (number, asked)) in waiting.iter_mut().enumerate() {
            let Some(answered) = driver.answer(*asked) else { continue };
            match answered.reply {
                Ok(reply) => {
                    assert_eq!(reply.words[0], 1);
                    *number += 1;
                }
                Err(CallError::Died { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            if *number < 3 {
                *asked = ask(client, *number);
            }
        }
    }
    let disk = disk.lock().expect("one thread");
    let mut expected: Vec<_> = (0..2)
        .flat_map(|client| (1..3).map(move |number| (place(client, number) as u32, content(client, number))))
        .collect();
    let mut log = disk.log.clone();
    log.sort();
    expected.sort();
    assert_eq!(log, expected, "each write once, and whole");
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
}

#[test]
fn a_promised_write_is_done_whenever_the_driver_dies() {
    let steps = every_death(writes);
    assert!(steps > 100, "{steps} steps");
}

#[test]
fn a_promised_write_is_done_if_the_next_life_dies_too() {
    every_two_deaths(3, 30, writes);
}

const PLACE_7: Write = Write { drive: Drive::First, sector: 7 };

#[test]
fn a_promise_is_whole_or_none_whenever_lives_end() {
    for steps in 0.. {
        let keep = damage::memory::<Keep>(0);
        // What an earlier promise has left.
        assert!(keep.command.make(BOB, 3, &Write { drive: Drive::Second, sector: 1 }, &[0xff; SECTOR]));
        assert_eq!(keep.command.end(&keep.written), Some((BOB, 3)));
        let made = fuse::live(Some(steps), || assert!(keep.command.make(ALICE, 5, &PLACE_7, b"some bytes")));
        let whole = Pending { task: ALICE, number: 5, arguments: PLACE_7, bytes: b"some bytes".to_vec() };
        assert_eq!(keep.command.pending(), made.then_some(whole), "died before {steps}");
        assert_eq!((keep.command.is_free(), keep.command.is_of(ALICE, 5)), (!made, made));
        if made {
            assert!(steps > 5, "{steps}");
            break;
        }
    }
}

#[test]
fn what_is_taken_back_is_marked_first_whenever_lives_end() {
    for steps in 0..=2 {
        let keep = damage::memory::<Keep>(0);
        assert!(keep.command.make(ALICE, 5, &PLACE_7, &[]));
        let ended = fuse::live(Some(steps), || assert_eq!(keep.command.end(&keep.written), Some((ALICE, 5))));
        assert_eq!(ended, steps == 2);
        // Whoever finds no promise finds it done, so it is not done again behind another one.
        assert!(!keep.command.is_free() || keep.written.is_done(ALICE, 5), "died before {steps}");
    }
}

#[test]
fn one_command_at_a_time_and_no_more_than_fits() {
    let command = &damage::memory::<Keep>(0).command;
    assert_eq!((command.pending(), command.end(&damage::memory::<Keep>(0).written)), (None, None));
    assert!(!command.make(ALICE, 1, &PLACE_7, &[0; SECTOR + 1]) && command.is_free());
    assert!(command.make(ALICE, 1, &PLACE_7, &[1; SECTOR]));
    assert!(!command.make(BOB, 1, &PLACE_7, &[2; 3]), "another one is promised");
    assert_eq!(command.pending().map(|pending| (pending.task, pending.bytes)), Some((ALICE, vec![1; SECTOR])));
    assert!(command.is_of(ALICE, 1) && !command.is_of(ALICE, 2) && !command.is_of(BOB, 1));
    command.abandon();
    assert!(command.is_free() && !command.is_of(ALICE, 1));
    // A client without numbers cannot repeat its request.
    assert!(command.make(ALICE, 0, &PLACE_7, &[]) && !command.is_of(ALICE, 0));
}

#[test]
fn a_damaged_promise_is_not_sound() {
    let command = &damage::memory::<Keep>(0).command;
    assert!(command.is_sound() && command.make(ALICE, 1, &PLACE_7, b"x") && command.is_sound());
    // The drive's number becomes 0, and the number of bytes more than there is room for.
    damage::flip(command, 16 * 8);
    assert!(!command.is_sound() && command.pending().is_none());
    damage::flip(command, 16 * 8);
    damage::flip(command, 20);
    assert!(!command.is_sound());
    assert!(command.pending().is_none_or(|pending| pending.bytes.len() <= SECTOR));
}
