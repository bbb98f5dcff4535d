//! The whole driver, by its clients, over the model of a UART, with deaths before every step.

use crate::device::Errors;
use crate::keep::Keep;
use crate::model::Model;
use crate::task::Serial;
use crate::{Client, Error, Protocol, Refusal, label};
use rt::exec::Lend;
use rt::proto::Served;
use rt::testing::qemu::Machine;
use rt::testing::{Deaths, Harness, Running, every_death, every_two_deaths};
use std::time::Duration;
use std::vec;
use std::vec::Vec;

/// The first port of the UART.
const BASE: u16 = 0x3f8;
/// The interrupt line of the UART at [`BASE`].
const COM1_LINE: usize = 4;

/// What runs as the task.
type Task = Served<Serial, Protocol>;

fn start(model: &Model, deaths: &Deaths) -> Running {
    let (line, outside) = (model.clone(), model.clone());
    let moves = move || {
        let mut state = outside.0.borrow_mut();
        let before = (state.line.len(), state.input.len());
        state.run(16);
        before != (state.line.len(), state.input.len())
    };
    Harness::new("serial")
        .ports("uart", BASE, 8, model.clone())
        .irq("rx", move || line.0.borrow().interrupt())
        .keep(size_of::<Keep>())
        .outside(moves)
        .deaths(deaths)
        .start::<Task>()
}

fn text(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + salt) % 251) as u8).collect()
}

/// Two clients write and one reads, whatever the driver dies over.
fn talk(deaths: &Deaths) {
    let model = Model::new(true, true);
    let driver = start(&model, deaths);
    let (ann, ben) = (Client::new(driver.client(0)), Client::new(driver.client(1)));
    let (long, short, back) = (text(40, 1), text(3, 2), text(21, 3));
    assert_eq!(ann.write(&long).expect("it is written"), 40);
    model.0.borrow_mut().input.extend(&back);
    assert_eq!(ben.write(&short).expect("it is written"), 3);
    let mut got = Vec::new();
    while got.len() < back.len() {
        let mut part = [0; 8];
        let count = ben.read(&mut part, true).expect("it is read");
        got.extend_from_slice(&part[..count]);
    }
    assert_eq!(ann.write(b"!").expect("it is written"), 1);
    ann.flush().expect("all is sent");
    assert_eq!(got, back, "each byte comes in once, in its order");
    assert_eq!(model.0.borrow().line, [&long[..], &short, b"!"].concat(), "each byte goes out once, in its order");
    let info = ben.info().expect("it tells");
    assert_eq!((info.unsent, info.unread, info.sent, info.exact), (0, 0, 44, true));
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
}

#[test]
fn every_byte_comes_once_whenever_the_driver_dies() {
    let steps = every_death(talk);
    assert!(steps > 200, "{steps} steps");
}

#[test]
fn every_byte_comes_once_if_the_next_life_dies_too() {
    every_two_deaths(61, 40, talk);
}

#[test]
fn a_reader_waits_for_bytes_and_a_cancelled_one_does_not() {
    let model = Model::new(true, false);
    let driver = start(&model, &Deaths::none());
    let read = |client, number| driver.ask(client, label::read, [1, number, 0, 0], vec![Lend::Write(vec![0; 4])]);
    let (first, second) = (read(0, 1), read(1, 1));
    driver.settle();
    assert!(driver.answer(first).is_none() && driver.answer(second).is_none());
    Client::new(driver.client(0)).cancel().expect("it is cancelled");
    let cancelled = driver.answer(first).expect("an answer").reply.expect("the driver lives");
    assert_eq!((cancelled.label, cancelled.words[0]), (0, 0));
    model.0.borrow_mut().input.extend(b"yes");
    driver.settle();
    let answered = driver.answer(second).expect("an answer");
    assert_eq!((answered.reply.expect("the driver lives").words[0], answered.lent), (3, vec![b"yes\0".to_vec()]));
}

#[test]
fn a_client_that_dies_leaves_its_place_to_its_next_life() {
    let model = Model::new(true, false);
    let driver = start(&model, &Deaths::none());
    let read = |number| driver.ask(0, label::read, [1, number, 0, 0], vec![Lend::Write(vec![0; 4])]);
    let lost = read(1);
    driver.settle();
    driver.client_dies(0);
    let asked = read(1);
    driver.settle();
    model.0.borrow_mut().input.extend(b"new");
    driver.settle();
    assert!(driver.answer(lost).is_none());
    assert_eq!(driver.answer(asked).expect("an answer").lent, [b"new\0"]);
}

#[test]
fn an_interrupt_that_was_lost_is_made_good_by_the_next_pulse() {
    let model = Model::new(true, false);
    // The line never rises: nothing but a look tells that there are bytes.
    let driver =
        Harness::new("serial").ports("uart", BASE, 8, model.clone()).irq("rx", || false).keep(size_of::<Keep>());
    let driver = driver.start::<Task>();
    let asked = driver.ask(0, label::read, [1, 1, 0, 0], vec![Lend::Write(vec![0; 4])]);
    driver.settle();
    model.0.borrow_mut().input.extend(b"hey");
    model.0.borrow_mut().run(1);
    driver.settle();
    assert!(driver.answer(asked).is_none());
    driver.pulse();
    assert_eq!(driver.answer(asked).expect("an answer").lent, [b"hey\0"]);
}

#[test]
fn without_a_uart_writes_are_refused_and_the_driver_lives() {
    let model = Model::new(true, false);
    model.0.borrow_mut().absent = true;
    let driver = start(&model, &Deaths::none());
    let refused = Client::new(driver.client(0)).write(b"x");
    assert!(matches!(refused, Err(Error::Refused(Refusal::NoDevice))), "{refused:?}");
    assert_eq!(driver.lives(), 1);
}

/// A reader that keeps the position up to which it has taken bytes gets each once, though it
/// numbers nothing.
#[test]
fn bytes_are_read_once_by_position_whenever_the_driver_dies() {
    every_death(|deaths| {
        let model = Model::new(true, true);
        let driver = start(&model, deaths);
        let client = Client::new(driver.client(0));
        let sent = text(40, 5);
        model.0.borrow_mut().input.extend(&sent);
        let (mut position, mut got) = (0, Vec::new());
        while got.len() < sent.len() {
            driver.settle();
            let mut part = [0; 7];
            let run = client.read_from(position, &mut part).expect("it is read");
            assert_eq!(run.first, position);
            got.extend_from_slice(&part[..run.count as usize]);
            position += run.count;
        }
        assert_eq!(got, sent);
    });
}

#[test]
fn info_survives_its_words() {
    let info = crate::Info {
        unread: 1,
        unsent: 2,
        sent: u32::MAX,
        errors: Errors { overruns: 3, parity: 4, framing: 5, breaks: u16::MAX },
        present: true,
        restarted: false,
        exact: true,
    };
    assert_eq!(rt::proto::from_words(rt::proto::to_words(&info)), Some(info));
}

/// More bytes than some FIFOs hold go out and come in over QEMU's UART, by its interrupts alone,
/// while the test lets the machine's time pass.
#[test]
fn three_hundred_bytes_go_both_ways_over_qemus_uart() {
    let machine = Machine::start(&[]);
    let driver = Harness::new("serial")
        .ports("uart", BASE, 8, machine.ports(BASE, 8))
        .qemu_irq("rx", &machine, COM1_LINE)
        .keep(size_of::<Keep>())
        .start::<Task>();
    let client = Client::new(driver.client(0));
    let (there, back) = (text(300, 1), text(300, 2));
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    machine.send(&back);
    assert_eq!(client.write(&there).expect("it is written"), 300);
    // The driver is asked for nothing meanwhile: what moves it is the line.
    machine.until("all bytes have gone out", || {
        machine.run(Duration::from_millis(2));
        driver.settle();
        sent.extend(machine.received());
        sent.len() >= there.len()
    });
    machine.until("all bytes have come in", || {
        machine.run(Duration::from_millis(2));
        driver.settle();
        let mut part = [0; 32];
        let count = client.read(&mut part, false).expect("it is read");
        got.extend_from_slice(&part[..count]);
        got.len() >= back.len()
    });
    assert_eq!((sent, got), (there, back));
}
