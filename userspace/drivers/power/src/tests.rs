use crate::device::Power;
use alloc::vec;
use rt::port::FakePorts;

#[test]
fn shutdown_tries_one_way_after_the_other() {
    let mut power = Power { controls: vec![FakePorts::new(), FakePorts::new()], reset: Some(FakePorts::new()) };
    let mut waits = 0;
    assert_eq!(power.shutdown(|| waits += 1), 2);
    assert_eq!(waits, 2);
    for control in &power.controls {
        assert_eq!(control.writes, [(0, 0x2000)]);
    }
    assert!(power.reset.is_some_and(|reset| reset.writes.is_empty()));
}

#[test]
fn a_machine_that_stops_at_the_first_way_sees_no_second() {
    let mut power = Power { controls: vec![FakePorts::new(), FakePorts::new()], reset: None };
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        power.shutdown(|| std::panic::resume_unwind(std::boxed::Box::new("off")))
    }));
    assert!(stopped.is_err());
    assert_eq!(power.controls[0].writes, [(0, 0x2000)]);
    assert_eq!(power.controls[1].writes, []);
}

#[test]
fn reboot_raises_the_reset_bit_with_system_reset_set() {
    let mut power = Power { controls: vec![FakePorts::new()], reset: Some(FakePorts::new()) };
    let mut waits = 0;
    assert_eq!(power.reboot(|| waits += 1), 1);
    assert_eq!(waits, 1);
    assert_eq!(power.reset.map(|reset| reset.writes), Some(vec![(0, 0x02), (0, 0x06)]));
    assert_eq!(power.controls[0].writes, []);
}

#[test]
fn without_ports_there_are_no_ways() {
    let mut power = Power::<FakePorts> { controls: vec![], reset: None };
    assert_eq!(power.shutdown(|| unreachable!()), 0);
    assert_eq!(power.reboot(|| unreachable!()), 0);
}
