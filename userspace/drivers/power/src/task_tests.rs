//! The whole driver, on a machine that does not obey, with deaths before every step.

use crate::device::{PATIENCE_MS, PM1A_CONTROL, RESET_CONTROL};
use crate::task::Service;
use crate::{Client, Error, Protocol, Refusal};
use rt::port::FakePorts;
use rt::proto::Served;
use rt::testing::{Deaths, Harness, Running, every_death};
use rt::time::now_ns;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

type Writes = Arc<Mutex<Vec<u32>>>;

fn start(writes: &Writes, deaths: &Deaths) -> Running {
    let ports = || {
        let (writes, mut ports) = (writes.clone(), FakePorts::new());
        ports.hook(move |access| {
            if let rt::fake::Access::Write(_, value) = access {
                writes.lock().expect("no test panics with it").push(value);
            }
            None
        });
        ports
    };
    Harness::new("power")
        .ports("pm1a", PM1A_CONTROL, 2, ports())
        .ports("reset", RESET_CONTROL, 1, ports())
        .deaths(deaths)
        .start::<Served<Service, Protocol>>()
}

fn seen(writes: &Writes) -> Vec<u32> {
    writes.lock().expect("no test panics with it").clone()
}

#[test]
fn a_machine_that_goes_on_is_told_after_every_way_was_given_its_time() {
    let writes = Writes::default();
    let driver = start(&writes, &Deaths::none());
    let client = Client::new(driver.client(0));
    let before = now_ns();
    let Err(error) = client.shutdown();
    assert!(matches!(error, Error::Refused(Refusal::StillRunning(1))), "{error:?}");
    assert!(now_ns() - before >= PATIENCE_MS * 1_000_000);
    let Err(error) = client.reboot();
    assert!(matches!(error, Error::Refused(Refusal::StillRunning(1))), "{error:?}");
    assert_eq!(seen(&writes), [0x2000, 0x02, 0x06]);
}

#[test]
fn a_driver_that_dies_over_it_is_asked_again() {
    let steps = every_death(|deaths| {
        let writes = Writes::default();
        let driver = start(&writes, deaths);
        let Err(error) = Client::new(driver.client(0)).reboot();
        assert!(matches!(error, Error::Refused(Refusal::StillRunning(1))), "{error:?}");
        assert!(seen(&writes).ends_with(&[0x02, 0x06]), "the whole reset is done: {:?}", seen(&writes));
    });
    assert!(steps >= 3, "{steps} steps");
}
