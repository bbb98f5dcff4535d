//! Controller, kept state and reader together, with the driver dying before every single step.

use crate::device::{Found, Keyboard};
use crate::keep::{Keep, RING};
use crate::model::Model;
use crate::{Key, KeyEvent, Layout, Mods};
use abi::{Status, TaskId};
use proptest::prelude::*;
use rt::keep::damage::flip;
use rt::keep::fuse::{self, live};
use std::string::String;
use std::vec::Vec;

const ALICE: TaskId = TaskId { index: 5, generation: 1 };

fn keep() -> &'static Keep {
    rt::keep::damage::memory(0)
}

fn read(keep: &Keep, sequence: u64, capacity: usize) -> Vec<KeyEvent> {
    let mut got = Vec::new();
    let count = keep.read(ALICE, sequence, capacity, |number, bytes| -> Result<(), Status> {
        assert_eq!(number, got.len());
        got.extend(KeyEvent::from_u64(u64::from_le_bytes(*bytes)));
        Ok(())
    });
    assert_eq!(count.unwrap(), got.len());
    got
}

fn text(events: &[KeyEvent]) -> String {
    events.iter().map(|event| if let Key::Char(char) = event.key { char } else { '?' }).collect()
}

#[test]
fn the_set_up_enables_the_keyboard_alone() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    state.borrow_mut().config = 0b0001_0111;
    state.borrow_mut().keys(&[0x1e, 0x9e]);
    let keyboard = Keyboard::start(data, control, keep());
    let all = Found { controller: true, self_test: true, line: true, keyboard: true, warm: false };
    assert_eq!(keyboard.found(), all);
    let state = state.borrow();
    // Interrupt 1 on and 12 off, clock to the keyboard on and to the mouse off, translation on; the system flag as it was.
    assert_eq!(state.config, 0b0110_0101);
    assert_eq!(state.commands, [0xad, 0xa7, 0x20, 0xaa, 0xab, 0x60, 0xae]);
    assert_eq!(state.told, [0xf3, 0x20, 0xf4]);
    assert!(state.output.is_empty());
}

#[test]
fn what_is_missing_is_found_out_in_bounded_time() {
    let (data, control) = Model::ports();
    data.state.borrow_mut().absent = true;
    let mut keyboard = Keyboard::start(data, control, keep());
    assert_eq!(keyboard.found(), Found::default());
    assert_eq!(keyboard.service(), Default::default());

    let (data, control) = Model::ports();
    data.state.borrow_mut().mute = true;
    let keyboard = Keyboard::start(data, control, keep());
    assert_eq!(keyboard.found(), Found { controller: true, ..Found::default() });
}

#[test]
fn bytes_asked_for_again_are_sent_again() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    state.borrow_mut().resends = 2;
    assert!(Keyboard::start(data, control, keep()).found().keyboard);
    assert_eq!(state.borrow().told, [0xf3, 0x20, 0xf4]);
}

#[test]
fn keys_become_events_and_the_mouse_does_not() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    let keep = keep();
    let mut keyboard = Keyboard::start(data, control, keep);
    state.borrow_mut().keys(&[0x2a, 0x23, 0xa3]);
    state.borrow_mut().output.extend([(0x08, true), (0x1e, true), (0x1e, true)]);
    state.borrow_mut().keys(&[0xaa, 0x17, 0x97, 0xfa, 0x00]);
    let serviced = keyboard.service();
    assert!(serviced.events && !serviced.more);
    let events = read(keep, 1, 10);
    assert_eq!(text(&events), "Hi");
    assert_eq!(events[0].mods, Mods::SHIFT);
    assert_eq!(read(keep, 1, 10), events, "the same read again");
    assert_eq!(read(keep, 2, 10), []);
    keyboard.set_layout(Layout::De);
    state.borrow_mut().keys(&[0x15]);
    keyboard.service();
    assert_eq!(text(&read(keep, 3, 10)), "z");
}

#[test]
fn a_flood_is_worked_on_in_parts_and_waits_where_nobody_reads() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    let keep = keep();
    let mut keyboard = Keyboard::start(data, control, keep);
    let codes = [0x1e, 0x30, 0x2e, 0x20];
    for code in codes.iter().cycle().take(600) {
        state.borrow_mut().keys(&[*code]);
    }
    assert!(keyboard.service().more);
    while keyboard.service().more {}
    // A byte may make two events, so the last place stays empty.
    let stopped = keyboard.service();
    assert!(stopped.full && !stopped.events);
    assert_eq!((keep.unread(), state.borrow().output.len()), (RING - 1, 600 - RING as usize + 1));
    let (mut all, mut number) = (Vec::new(), 0);
    while all.len() < 600 {
        number += 1;
        let events = read(keep, number, 100);
        all.extend(events);
        while keyboard.service().more {}
    }
    assert_eq!(text(&all), "abcd".repeat(150));
    assert_eq!((keep.lost(), keyboard.service().full), (0, false));
}

#[test]
fn layout_and_held_keys_outlive_the_driver() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    let keep = keep();
    let mut keyboard = Keyboard::start(data.clone(), control.clone(), keep);
    keyboard.set_layout(Layout::Fr);
    state.borrow_mut().keys(&[0x2a, 0xe0]);
    keyboard.service();
    drop(keyboard);
    let (commands, told) = (state.borrow().commands.len(), state.borrow().told.len());
    // What a life does in its last moments.
    state.borrow_mut().config = 0x30;
    state.borrow_mut().keys(&[0x4b, 0x03]);
    let mut keyboard = Keyboard::start(data, control, keep);
    assert!(keyboard.found().warm);
    assert_eq!(
        state.borrow().commands[commands..],
        [0x60, 0xae],
        "a later life asks for nothing that would be answered"
    );
    assert_eq!((state.borrow().config, state.borrow().told.len()), (0b0110_0001, told), "the keyboard is on again");
    keyboard.service();
    let events = read(keep, 1, 10);
    assert_eq!(text(&events), "?2");
    assert!(events.iter().all(|event| event.mods == Mods::SHIFT));
}

#[test]
fn after_an_overrun_no_key_is_held() {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    let keep = keep();
    let mut keyboard = Keyboard::start(data, control, keep);
    // Shift, control and caps lock down; then the keyboard loses codes, in the middle of one.
    state.borrow_mut().keys(&[0x2a, 0x1d, 0x3a, 0xba, 0xe0, 0xff, 0x1e, 0x9e]);
    let serviced = keyboard.service();
    assert!(serviced.overrun && serviced.events);
    assert_eq!(read(keep, 1, 9), [KeyEvent { key: Key::Char('A'), mods: Mods::CAPS }]);
    assert!(!keyboard.service().overrun);
}

/// What is typed: shift, extended keys, a dead key and its letter, pause.
const TYPED: [u8; 26] = [
    0x2a, 0x23, 0xa3, 0xaa, 0x17, 0x97, 0x29, 0xa9, 0x1e, 0x9e, 0xe0, 0x4b, 0xe0, 0xcb, 0x29, 0xa9, 0x31, 0xb1, 0xe1,
    0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x10, 0x90,
];

fn type_with_deaths(deaths: &[u64]) -> (usize, String) {
    let (data, control) = Model::ports();
    let state = data.state.clone();
    let keep = keep();
    Keyboard::start(data.clone(), control.clone(), keep).set_layout(Layout::De);
    state.borrow_mut().keys(&TYPED);
    let mut got = Vec::new();
    let mut sequence = 1;
    let mut lives = 0;
    for death in deaths.iter().map(|steps| Some(*steps)).chain([None]) {
        lives += 1;
        let whole = live(death, || {
            let mut keyboard = Keyboard::start(data.clone(), control.clone(), keep);
            loop {
                let more = keyboard.service().more;
                let answer = read(keep, sequence, 3);
                // The reply is a step of its own: a death before it loses the answer.
                fuse::tick();
                sequence += 1;
                let end = answer.is_empty() && !more;
                got.extend(answer);
                if end {
                    break;
                }
            }
        });
        if whole {
            break;
        }
    }
    assert_eq!(keep.lost(), 0);
    (lives, text(&got))
}

#[test]
fn a_death_at_any_step_neither_doubles_nor_loses_a_key() {
    let expected = "Hiâ?^n?q";
    assert_eq!(type_with_deaths(&[]), (1, expected.into()));
    let mut first = 0;
    loop {
        let (lives, typed) = type_with_deaths(&[first]);
        assert_eq!(typed, expected, "died before step {first}");
        if lives == 1 {
            break;
        }
        for second in 0..20 {
            assert_eq!(type_with_deaths(&[first, second]).1, expected, "died before steps {first} and {second}");
        }
        first += 1;
    }
    assert!(first > 100, "the fuse must have reached into every part: {first}");
}

#[test]
fn a_death_during_the_first_set_up_starts_over() {
    for step in 0..120 {
        let (data, control) = Model::ports();
        let state = data.state.clone();
        let keep = keep();
        live(Some(step), || drop(Keyboard::start(data.clone(), control.clone(), keep)));
        let mut keyboard = Keyboard::start(data, control, keep);
        state.borrow_mut().keys(&[0x1e]);
        keyboard.service();
        assert_eq!(text(&read(keep, 1, 9)), "a", "died before step {step}");
    }
}

proptest! {
    #[test]
    fn any_garbage_in_kept_memory_is_survived(words in proptest::collection::vec(any::<u64>(), 5), typed in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (data, control) = Model::ports();
        let keep = keep();
        keep.scramble(&words);
        data.state.borrow_mut().keys(&typed);
        let mut keyboard = Keyboard::start(data, control, keep);
        for _ in 0..10 {
            keyboard.service();
        }
        prop_assert!(keep.unread() <= RING);
        prop_assert!(read_any(keep) <= RING as usize);
        prop_assert_eq!(read_any(keep), 0);
    }
}

/// Takes everything, events or not.
fn read_any(keep: &Keep) -> usize {
    keep.read(ALICE, 0, 10_000, |_, _| -> Result<(), Status> { Ok(()) }).unwrap()
}

/// Lets go of all keys, types a letter twice, and reads it.
fn types_a(data: Model, control: Model, keep: &'static Keep) -> String {
    let mut keyboard = Keyboard::start(data.clone(), control, keep);
    while keyboard.service().more {}
    read_any(keep);
    keyboard.set_layout(Layout::Us);
    data.state.borrow_mut().keys(&[0xaa, 0xb6, 0x9d, 0xb8, 0xe0, 0x9d, 0xe0, 0xb8, 0xaa, 0x1e, 0x9e, 0x1e]);
    keyboard.service();
    text(&read(keep, 77, 10))
}

/// A state with a key held, events unread, a read answered.
fn used(data: &Model, control: &Model, keep: &'static Keep) {
    let mut keyboard = Keyboard::start(data.clone(), control.clone(), keep);
    keyboard.set_layout(Layout::De);
    data.state.borrow_mut().keys(&[0x2a, 0x23, 0x17, 0xe0]);
    keyboard.service();
    read(keep, 5, 1);
}

#[test]
fn with_any_bit_of_kept_memory_changed_the_driver_comes_up_and_serves() {
    for bit in 0..size_of::<Keep>() * 8 {
        let (data, control) = Model::ports();
        let keep = keep();
        used(&data, &control, keep);
        flip(keep, bit);
        let typed = types_a(data, control, keep);
        // Caps lock, or an accent that waits for its letter, may have been what changed: a person sees that, and types on.
        assert!(typed.to_lowercase().ends_with('a'), "bit {bit}: {typed:?}");
    }
}
