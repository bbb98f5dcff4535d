//! The whole driver, by its clients, over the model of a controller, with deaths before every step.

use crate::device::{CONTROL, DATA};
use crate::keep::Keep;
use crate::model::Model;
use crate::task::Service;
use crate::{Client, Key, Layout, Protocol, label};
use rt::exec::Lend;
use rt::notify::Notification;
use rt::proto::Served;
use rt::testing::{Deaths, Harness, Running, every_death};
use std::string::String;
use std::vec;

type Task = Served<Service, Protocol>;

fn start(model: &Model, deaths: &Deaths) -> Running {
    let (data, control) = model.pair();
    let line = model.state.clone();
    Harness::new("keyboard")
        .ports("data", DATA, 1, data)
        .ports("control", CONTROL, 1, control)
        .irq("key", move || line.borrow().config & 1 != 0 && !line.borrow().output.is_empty())
        .keep(size_of::<Keep>())
        .deaths(deaths)
        .start::<Task>()
}

/// Keys are typed while the driver dies; each comes once.
fn typed(deaths: &Deaths) {
    let model = Model::ports().0;
    let driver = start(&model, deaths);
    let client = Client::new(driver.client(0));
    client.set_layout(Layout::De).expect("there is such a layout");
    let mut text = String::new();
    // Shift and H, i, and the key that is Z in the layout.
    for codes in [&[0x2a, 0x23, 0xa3, 0xaa][..], &[0x17, 0x97], &[0x15, 0x95]] {
        model.state.borrow_mut().keys(codes);
        driver.pulse();
        for event in client.events(true).expect("it is read") {
            text.extend(if let Key::Char(char) = event.key { Some(char) } else { None });
        }
    }
    assert_eq!(text, "Hiz");
    assert_eq!(client.layout().expect("it tells").layout, Layout::De);
    assert_eq!(driver.lives() as usize, 1 + deaths.count());
}

#[test]
fn every_key_comes_once_whenever_the_driver_dies() {
    let steps = every_death(typed);
    assert!(steps > 100, "{steps} steps");
}

#[test]
fn whoever_subscribed_is_told_and_whoever_waits_is_answered() {
    let model = Model::ports().0;
    let driver = start(&model, &Deaths::none());
    let mine = Notification::create().expect("the test has notifications");
    Client::new(driver.client(1)).subscribe(0b1000, mine).expect("it subscribes");
    let asked = driver.ask(0, label::read, [1, 1, 0, 0], vec![Lend::Write(vec![0; 64])]);
    driver.settle();
    assert!(driver.answer(asked).is_none());
    model.state.borrow_mut().keys(&[0x1e]);
    driver.pulse();
    assert_eq!(mine.poll(u64::MAX), 0b1000);
    assert_eq!(driver.answer(asked).expect("an answer").reply.expect("the driver lives").words[0], 1);
}
