//! Tests that run both over the model of a controller and over QEMU's i8042 with its keyboard and
//! mouse.

use crate::device::{CONTROL, DATA, Found, Keyboard};
use crate::keep::Keep;
use crate::model::Model;
use crate::{Key, KeyEvent, Layout, Mods, Special};
use abi::{Status, TaskId};
use rt::port::Port;
use rt::testing::qemu::{Machine, PATIENCE, Ports};
use std::time::{Duration, Instant};
use std::vec::Vec;

const READER: TaskId = TaskId { index: 5, generation: 1 };

/// The keyboard's interrupt line.
const LINE: usize = 1;

/// Keys by QEMU's names, with their codes of set 1 (IBM PS/2 Hardware Interface Technical
/// Reference, "Keyboard").
const CODES: [(&str, &[u8]); 5] =
    [("shift", &[0x2a]), ("h", &[0x23]), ("i", &[0x17]), ("y", &[0x15]), ("left", &[0xe0, 0x4b])];

/// A controller, with means to press keys and move the mouse.
trait Bench {
    type Data: Port;
    type Control: Port;
    fn ports(&self) -> (Self::Data, Self::Control);
    /// Presses and releases keys.
    fn keys(&self, events: &[(&str, bool)]);
    /// Moves the mouse.
    fn mouse(&self);
    /// Whether the interrupt line has risen since the previous call.
    fn rose(&mut self) -> bool;
}

impl Bench for Model {
    type Data = Model;
    type Control = Model;
    fn ports(&self) -> (Model, Model) {
        self.pair()
    }
    fn keys(&self, events: &[(&str, bool)]) {
        for (key, down) in events {
            let (_, codes) = CODES.iter().find(|(name, _)| name == key).expect("a key with a code");
            let up = if *down { 0 } else { 0x80 };
            let codes: Vec<_> = codes.iter().map(|code| if *code == 0xe0 { 0xe0 } else { code | up }).collect();
            self.state.borrow_mut().keys(&codes);
        }
    }
    fn mouse(&self) {
        let mut state = self.state.borrow_mut();
        if state.config & 1 << 5 == 0 {
            state.output.extend([(0x08, true), (0x01, true), (0x01, true)]);
        }
    }
    fn rose(&mut self) -> bool {
        let state = self.state.borrow();
        state.config & 1 != 0 && !state.output.is_empty()
    }
}

/// QEMU, and how often the line had risen at the previous call.
struct Real(Machine, u32);

impl Real {
    fn start() -> Real {
        Real(Machine::start(&[]), 0)
    }
}

impl Bench for Real {
    type Data = Ports;
    type Control = Ports;
    fn ports(&self) -> (Ports, Ports) {
        (self.0.ports(DATA, 1), self.0.ports(CONTROL, 1))
    }
    fn keys(&self, events: &[(&str, bool)]) {
        self.0.keys(events);
    }
    fn mouse(&self) {
        self.0.move_mouse(3, 5);
    }
    fn rose(&mut self) -> bool {
        // The controller offers its next byte after a while.
        self.0.run(Duration::from_millis(2));
        let before = core::mem::replace(&mut self.1, self.0.rises(LINE));
        self.1 != before
    }
}

fn keep() -> &'static Keep {
    rt::keep::damage::memory(0)
}

/// A life of the driver; the interrupts pending before it are handled.
fn life<B: Bench>(bench: &mut B, keep: &'static Keep) -> Keyboard<B::Data, B::Control> {
    let (data, control) = bench.ports();
    let mut keyboard = Keyboard::start(data, control, keep);
    settle(&mut keyboard);
    bench.rose();
    keyboard
}

/// Serves the controller until it has no more bytes.
fn settle<D: Port, C: Port>(keyboard: &mut Keyboard<D, C>) {
    assert!((0..64).any(|_| !keyboard.service().more), "the bytes come to no end");
}

/// Reads this many events, by interrupts alone.
fn read<B: Bench>(
    bench: &mut B,
    keyboard: &mut Keyboard<B::Data, B::Control>,
    keep: &'static Keep,
    count: u32,
) -> Vec<KeyEvent> {
    let end = Instant::now() + PATIENCE;
    while keep.unread() < count {
        assert!(Instant::now() < end, "{} of {count} events came", keep.unread());
        if bench.rose() {
            settle(keyboard);
        }
    }
    let mut got = Vec::new();
    let copy = |_: usize, bytes: &[u8; KeyEvent::LEN]| -> Result<(), Status> {
        got.extend(KeyEvent::from_u64(u64::from_le_bytes(*bytes)));
        Ok(())
    };
    keep.read(READER, 0, 100, copy).expect("a vector has room");
    got
}

fn char(char: char, mods: Mods) -> KeyEvent {
    KeyEvent { key: Key::Char(char), mods }
}

fn set_up(bench: &mut impl Bench) {
    let found = life(bench, keep()).found();
    assert_eq!(found, Found { controller: true, self_test: true, line: true, keyboard: true, warm: false });
    let (mut data, mut control) = bench.ports();
    control.write8(0, 0x20);
    assert_eq!(data.read8(0) & 0b0111_0011, 0b0110_0001, "the keyboard on, the mouse off, codes translated");
}

fn keys_become_events(bench: &mut impl Bench) {
    let keep = keep();
    let mut keyboard = life(bench, keep);
    bench.keys(&[("shift", true), ("h", true), ("h", false), ("shift", false)]);
    bench.mouse();
    bench.keys(&[("i", true), ("i", false), ("left", true), ("left", false)]);
    let left = KeyEvent { key: Key::Special(Special::Left), mods: Mods::empty() };
    let events = read(bench, &mut keyboard, keep, 3);
    assert_eq!(events, [char('H', Mods::SHIFT), char('i', Mods::empty()), left]);
    keyboard.set_layout(Layout::De);
    bench.keys(&[("y", true), ("y", false)]);
    assert_eq!(read(bench, &mut keyboard, keep, 1), [char('z', Mods::empty())]);
    assert_eq!(keep.lost(), 0);
}

/// Checks that nothing is lost when a life ends with a key held and codes in the controller, and
/// switches the interrupt and the keyboard off in its last moments.
fn goes_on_from_life_to_life(bench: &mut impl Bench) {
    let keep = keep();
    let mut keyboard = life(bench, keep);
    bench.keys(&[("shift", true), ("i", true), ("i", false)]);
    assert_eq!(read(bench, &mut keyboard, keep, 1), [char('I', Mods::SHIFT)]);
    drop(keyboard);
    bench.keys(&[("h", true), ("h", false)]);
    let (mut data, mut control) = bench.ports();
    control.write8(0, 0x60);
    data.write8(0, 0b0111_0100);
    let mut keyboard = life(bench, keep);
    assert!(keyboard.found().warm);
    assert_eq!(read(bench, &mut keyboard, keep, 1), [char('H', Mods::SHIFT)]);
    bench.keys(&[("shift", false), ("i", true)]);
    assert_eq!(read(bench, &mut keyboard, keep, 1), [char('i', Mods::empty())]);
}

mod model {
    use super::*;

    #[test]
    fn the_set_up_enables_the_keyboard_alone() {
        set_up(&mut Model::ports().0);
    }

    #[test]
    fn keys_become_events_by_interrupts_and_the_mouse_does_not() {
        keys_become_events(&mut Model::ports().0);
    }

    #[test]
    fn the_next_life_goes_on_with_held_keys_and_with_what_the_controller_holds() {
        goes_on_from_life_to_life(&mut Model::ports().0);
    }
}

mod qemu {
    use super::*;

    #[test]
    fn the_set_up_enables_the_keyboard_alone() {
        set_up(&mut Real::start());
    }

    #[test]
    fn keys_become_events_by_interrupts_and_the_mouse_does_not() {
        keys_become_events(&mut Real::start());
    }

    #[test]
    fn the_next_life_goes_on_with_held_keys_and_with_what_the_controller_holds() {
        goes_on_from_life_to_life(&mut Real::start());
    }
}
