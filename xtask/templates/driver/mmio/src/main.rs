//! The task: joins the device to clients. Only what needs the kernel is here; the rest is in `device.rs`.
//!
//! It is callbacks, which suits a device. A server in which a request waits for one thing after the other is shorter as futures, on
//! `rt::exec`: `docs/async.md` in Enigma's tree shows one.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use {{crate}}::device::{Firmware, Keep};
use {{crate}}::{Refusal, Server, Tables};
use rt::Driver;
use rt::memory::Memory;
use rt::proto::Asker;

struct Task {
    firmware: Firmware,
    // A device that interrupts, after its table in the manifest has got `irqs`:
    // ready: rt::irq::Irq,
}

impl Driver for Task {
    fn init() -> Self {
        let range = Memory::range("firmware").expect("a range called `firmware` in the manifest");
        // `map(true)` where its table lets the driver write.
        let memory = range.map(false).expect("a range can be mapped once");
        // What an earlier life found is still there: see `Keep`.
        let mut firmware = Firmware::start(memory, rt::keep::open::<Keep>());
        match firmware.find() {
            Some(tables) => rt::println!("{{name}}: {} tables at {:#x}", tables.count, tables.address),
            None => rt::println!("{{name}}: no tables"),
        }
        Task { firmware }
    }

    // fn notified(&mut self, bits: u64) {
    //     if self.ready.bit().is_in(bits) {
    //         // Have the device let go of its line, by a register of it; then:
    //         self.ready.ack(); // lets the line fire again
    //     }
    // }
}

impl Server for Task {
    fn find(&mut self, _: Asker) -> Result<Tables, Refusal> {
        self.firmware.find().ok_or(Refusal::Absent)
    }

    fn read(&mut self, _: Asker, offset: u64) -> Result<u64, Refusal> {
        self.firmware.read(offset).map(u64::from).ok_or(Refusal::BadOffset(offset))
    }
}

rt::driver!(Task, serves {{crate}});

/// The whole driver, asked by clients, on the host: `rt::testing` plays the kernel.
#[cfg(test)]
mod tests {
    use super::*;
    use {{crate}}::device::{LEN, example};
    use {{crate}}::{Client, Error, Protocol};
    use rt::proto::Served;
    use rt::testing::{Deaths, Device, Harness, Running, every_death};
    use std::cell::Cell;
    use std::rc::Rc;

    /// The place of the entry point that tests have.
    const PLACE: usize = 0x5A40;

    /// Memory made up for the tests, which counts the times that it is read.
    #[derive(Clone)]
    struct Model {
        bytes: Rc<Vec<u8>>,
        reads: Rc<Cell<usize>>,
    }

    impl Model {
        fn with(place: usize, entry: &[u8]) -> Model {
            let mut bytes = vec![0; LEN];
            bytes[place..place + entry.len()].copy_from_slice(entry);
            Model { bytes: Rc::new(bytes), reads: Rc::default() }
        }
    }

    impl Device for Model {
        fn read(&mut self, offset: usize, width: usize) -> u64 {
            self.reads.set(self.reads.get() + 1);
            (0..width).rev().fold(0, |high, byte| high << 8 | u64::from(self.bytes[offset + byte]))
        }
        fn write(&mut self, offset: usize, _: usize, value: u64) {
            panic!("{value:#x} is written at {offset:#x}, where there is nothing to write");
        }
    }

    /// Starts it with what its table in the manifest grants, and this device behind that.
    fn start(deaths: &Deaths, model: &Model) -> Running {
        Harness::new("{{name}}")
            .device("firmware", LEN, model.clone())
            .keep(size_of::<Keep>())
            .deaths(deaths)
            .start::<Served<Task, Protocol>>()
    }

    #[test]
    fn clients_find_and_read() {
        let driver = start(&Deaths::none(), &Model::with(PLACE, &example()));
        let client = Client::new(driver.client(0));
        assert_eq!(client.find().map(|tables| tables.address), Ok(0xF5A60));
        assert_eq!(client.read(PLACE as u64), Ok(0x5F4D_535F));
        assert_eq!(client.read(LEN as u64 - 4), Ok(0));
        for offset in [2, LEN as u64, u64::MAX - 3] {
            assert_eq!(client.read(offset), Err(Error::Refused(Refusal::BadOffset(offset))));
        }
    }

    #[test]
    fn a_machine_without_is_told_from_one_with_another() {
        let driver = start(&Deaths::none(), &Model::with(PLACE, &[]));
        assert_eq!(Client::new(driver.client(0)).find(), Err(Error::Refused(Refusal::Absent)));
    }

    /// The harness ends the driver's life before each of its steps in turn: accesses to devices, stores to kept memory, answers.
    #[test]
    fn whenever_it_dies_the_next_life_finds_it_again() {
        let place = 64;
        let steps = every_death(|deaths| {
            let driver = start(deaths, &Model::with(place, &example()));
            assert_eq!(Client::new(driver.client(0)).find().map(|tables| tables.count), Ok(9));
            assert_eq!(driver.lives() as usize, 1 + deaths.count());
        });
        assert!(steps > 30, "{steps} steps");
    }

    #[test]
    fn a_next_life_need_not_search() {
        let model = Model::with(PLACE, &example());
        let driver = start(&Deaths::none(), &model);
        assert!(model.reads.get() > PLACE / 16);
        driver.kill();
        model.reads.set(0);
        assert_eq!(Client::new(driver.client(0)).find().map(|tables| tables.count), Ok(9));
        assert!(model.reads.get() < 100, "{} reads", model.reads.get());
    }
}
