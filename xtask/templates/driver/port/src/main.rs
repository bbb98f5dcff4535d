//! The task: joins the device to its interrupt and to clients. Only what needs the kernel is here; the rest is in `device.rs`.
//!
//! It is callbacks, which suits a device. A server in which a request waits for one thing after the other is shorter as futures, on
//! `rt::exec`: `docs/async.md` in Enigma's tree shows one.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use {{crate}}::device::{Chip, Keep};
use {{crate}}::{Call, Outcome, Queue, Reading, Refusal, Server};
use rt::irq::{Irq, Left};
use rt::port::IoPorts;
use rt::proto::Asker;
use rt::{Bit, Driver};

/// The notification bit by which the driver calls itself when the device has more to tell. Bits 0 to 31 are for interrupts, 32 to 58 are free
/// for the task.
const AGAIN: Bit = Bit::new(32);

struct Task {
    chip: Chip<IoPorts>,
    line: Irq,
    /// Who waits for an interrupt, and how many there were then: one call of each task, so that no client makes the driver keep more and more.
    waiting: Queue<u64, u64>,
}

impl Driver for Task {
    fn init() -> Self {
        let ports = IoPorts::named("registers").expect("ports called `registers` in the manifest");
        let line = Irq::named("periodic").expect("a line called `periodic` in the manifest");
        // What an earlier life counted is still there: see `Keep`.
        let mut chip = Chip::start(ports, rt::keep::open::<Keep>());
        rt::println!("{{name}}: {} interrupts a second, {} so far", chip.hz(), chip.interrupts());
        // The device has it let go of its line, which an earlier life may have left high; then the line may fire.
        line.settle(|| Left::more(chip.service()));
        Task { chip, line, waiting: Queue::default() }
    }

    fn notified(&mut self, bits: u64) {
        if bits & (self.line.bits() | AGAIN.mask()) != 0 {
            // Asked until it has nothing to tell, one go at a time: a line that is high then never rises again.
            self.line.drain(AGAIN, || (Left::more(self.chip.service()), ()));
            let interrupts = self.chip.interrupts();
            self.waiting.serve(|_, since| (interrupts > *since).then_some(Ok(interrupts)));
        }
    }

    fn pulse(&mut self) {
        // In case an interrupt was lost: nothing else would tell that the device waits.
        self.notified(self.line.bits());
    }
}

impl Server for Task {
    fn read(&mut self, _: Asker) -> Result<Reading, Refusal> {
        Ok(Reading { interrupts: self.chip.interrupts(), hz: self.chip.hz() })
    }

    fn set_rate(&mut self, _: Asker, hz: u64) -> Result<(), Refusal> {
        self.chip.set_rate(hz).map_err(|_| Refusal::BadRate(hz))
    }

    fn wait(&mut self, call: Call<u64>) -> Outcome<u64> {
        self.waiting.ask(call, self.chip.interrupts(), |_, _| None)
    }
}

rt::driver!(Task, serves {{crate}});

/// The whole driver, asked by clients, on the host: `rt::testing` plays the kernel.
#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use {{crate}}::{Client, Error, Protocol};
    use rt::fake::Access;
    use rt::port::{FakePorts, Port};
    use rt::proto::Served;
    use rt::testing::qemu::Machine;
    use rt::testing::{Deaths, Harness, Running, every_death};
    use std::sync::{Arc, Mutex};

    /// Starts it with what its table in the manifest grants, and this device behind that.
    fn start(
        deaths: &Deaths,
        ports: impl Port + 'static,
        line: impl Fn() -> bool + 'static,
        outside: impl FnMut() -> bool + 'static,
    ) -> Running {
        Harness::new("{{name}}")
            .ports("registers", 0x70, 2, ports)
            .irq("periodic", line)
            .outside(outside)
            .keep(size_of::<Keep>())
            .deaths(deaths)
            .start::<Served<Task, Protocol>>()
    }

    /// With a chip made up for the test. It interrupts whenever the driver has nothing else to do.
    fn over_a_model(deaths: &Deaths) -> Running {
        let registers = Arc::new(Mutex::new([0_u8; 128]));
        let (line, outside) = (registers.clone(), registers.clone());
        let (mut ports, mut selected) = (FakePorts::new(), 0);
        ports.hook(move |access| {
            let mut registers = registers.lock().unwrap();
            match access {
                Access::Write(0, register) => selected = register as usize % 128,
                Access::Write(_, value) => registers[selected] = value as u8,
                // The register that says why it interrupts is empty when it was read.
                Access::Read(_) if selected == 0x0C => return Some(core::mem::take(&mut registers[0x0C]).into()),
                Access::Read(_) => return Some(registers[selected].into()),
            }
            None
        });
        let high = move || line.lock().unwrap()[0x0C] & 0x80 != 0;
        let interrupts = move || {
            let mut registers = outside.lock().unwrap();
            let enabled = registers[0x0B] & 0x40 != 0;
            registers[0x0C] |= if enabled { 0xC0 } else { 0x40 };
            enabled
        };
        start(deaths, ports, high, interrupts)
    }

    /// What any chip must come to.
    fn clients_read_set_and_wait(driver: &Running) {
        let client = Client::new(driver.client(0));
        assert_eq!(client.read(), Ok(Reading { interrupts: 0, hz: 2 }));
        assert_eq!(client.set_rate(100), Err(Error::Refused(Refusal::BadRate(100))));
        assert_eq!(client.set_rate(64), Ok(()));
        assert_eq!(client.wait(), Ok(1));
        assert_eq!(client.wait(), Ok(2));
        assert_eq!(client.read(), Ok(Reading { interrupts: 2, hz: 64 }));
    }

    #[test]
    fn clients_are_served_over_a_model() {
        clients_read_set_and_wait(&over_a_model(&Deaths::none()));
    }

    #[test]
    fn clients_are_served_over_the_chip_as_qemu_has_it() {
        let machine = Machine::start(&[]);
        let (line, time) = (machine.clone(), machine.clone());
        let run = move || {
            time.run(Duration::from_millis(2));
            true
        };
        clients_read_set_and_wait(&start(&Deaths::none(), machine.ports(0x70, 2), move || line.level(8), run));
    }

    /// The harness ends the driver's life before each of its steps in turn: accesses to devices, stores to kept memory, answers.
    #[test]
    fn whenever_it_dies_the_next_life_goes_on() {
        every_death(|deaths| {
            let driver = over_a_model(deaths);
            let client = Client::new(driver.client(0));
            assert_eq!(client.set_rate(64), Ok(()));
            let first = client.wait().expect("the next life answers");
            let second = client.wait().expect("the next life answers");
            assert!(0 < first && first < second, "{first}, {second}");
            assert_eq!(client.read().map(|reading| reading.hz), Ok(64));
        });
    }
}
