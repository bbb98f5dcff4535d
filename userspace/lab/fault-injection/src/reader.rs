//! Reads keys, and tells them to `chaos`, which types them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use driver_keyboard::{Client, Error, Key, KeyEvent, Layout, Mods};
use fault_injection::client::{Chaos, Order};
use rt::ipc::Endpoint;

rt::entry!(run);

/// Stands for a key that nobody types.
const STRANGE: u8 = 0xff;

fn run() {
    let mut chaos = Chaos::peer();
    let keyboard = Client::new(Endpoint::peer("keyboard").expect("the task table lists no peer `keyboard`"));
    choose_layout(&mut chaos, keyboard);
    let mut order = chaos.report(0, 0, &[]);
    loop {
        match order {
            Order::Repeat(..) => choose_layout(&mut chaos, keyboard),
            Order::Finish => chaos.rest(),
            Order::GoOn => {}
        }
        chaos.begin();
        let read = keyboard.events(true);
        chaos.end();
        let (mut keys, mut mods) = (Vec::new(), Mods::empty());
        match read {
            Ok(events) => {
                for KeyEvent { key, mods: held } in events {
                    keys.push(match key {
                        Key::Char(character) => u8::try_from(character).unwrap_or(STRANGE),
                        Key::Special(_) => STRANGE,
                    });
                    mods = held;
                }
            }
            Err(Error::Refused(_)) => chaos.refused(),
            Err(Error::Call(_)) => rt::exit(1),
        }
        order = chaos.report(mods.bits().into(), 0, &keys);
    }
}

fn choose_layout(chaos: &mut Chaos, keyboard: Client) {
    match keyboard.set_layout(Layout::Us) {
        Ok(()) => {}
        Err(Error::Refused(_)) => chaos.refused(),
        Err(Error::Call(_)) => rt::exit(1),
    }
}
