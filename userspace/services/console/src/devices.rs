//! The drivers that the console joins, through their client stubs.

use alloc::string::String;
use alloc::vec::Vec;
use console::input::{SerialDecoder, key_of_event};
use console::key::Key;
use console::text::color_sequence;
use driver_vga::Color;
use rt::notify::Notification;
use rt::println;

/// Most reads of a device in one turn; what is left is the next turn's.
const READS: usize = 8;

/// Events that the keyboard's stub takes at once: fewer mean that none is left.
const EVENTS: usize = 32;

/// VGA's colours by number.
const COLORS: [Color; 16] = [
    Color::Black,
    Color::Blue,
    Color::Green,
    Color::Cyan,
    Color::Red,
    Color::Magenta,
    Color::Brown,
    Color::LightGray,
    Color::DarkGray,
    Color::LightBlue,
    Color::LightGreen,
    Color::LightCyan,
    Color::LightRed,
    Color::Pink,
    Color::Yellow,
    Color::White,
];

/// A driver's client, and whether it is worth asking: one that is gone for good is left out until a peer begins a new life.
struct Device<C> {
    name: &'static str,
    client: C,
    present: bool,
}

impl<C> Device<C> {
    fn new(name: &'static str, client: Option<C>) -> Option<Device<C>> {
        client.map(|client| Device { name, client, present: true })
    }

    /// Asks, unless the device is known to be gone; a failure takes it out.
    fn ask<T, E: core::fmt::Display>(&mut self, ask: impl FnOnce(&mut C) -> Result<T, E>) -> Option<T> {
        if !self.present {
            return None;
        }
        match ask(&mut self.client) {
            Ok(value) => Some(value),
            Err(error) => {
                self.present = false;
                // It appears in the log, and so on whatever device is left.
                println!("{} is left out: {error}", self.name);
                None
            }
        }
    }
}

/// All devices. One that `system.toml` does not let the console call is missing.
pub struct Devices {
    screen: Option<Device<driver_vga::Client>>,
    serial: Option<Device<driver_serial::Client>>,
    keyboard: Option<Device<driver_keyboard::Client>>,
    decoder: SerialDecoder,
}

impl Devices {
    /// The peers `vga`, `serial` and `keyboard`.
    pub fn peers() -> Devices {
        let peer = rt::ipc::Endpoint::peer;
        Devices {
            screen: Device::new("vga", peer("vga").map(driver_vga::Client::new)),
            serial: Device::new("serial", peer("serial").map(driver_serial::Client::new)),
            keyboard: Device::new("keyboard", peer("keyboard").map(driver_keyboard::Client::new)),
            decoder: SerialDecoder::default(),
        }
    }

    /// A peer has begun a new life: whatever was gone may be back, and has forgotten who subscribed.
    pub fn renew(&mut self, keyboard_bits: u64, serial_bits: u64) {
        let own = Notification::own().0;
        if let Some(screen) = &mut self.screen {
            screen.present = true;
        }
        if let Some(serial) = &mut self.serial {
            serial.present = true;
            serial.ask(|client| client.subscribe(own, serial_bits));
        }
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.present = true;
            keyboard.ask(|client| client.subscribe(own, keyboard_bits));
        }
    }

    /// Prints on the screen.
    pub fn screen(&mut self, text: &str) {
        if let Some(screen) = &mut self.screen {
            screen.ask(|client| client.write(text));
        }
    }

    /// Prints on the serial line.
    pub fn serial(&mut self, text: &str) {
        if let Some(serial) = &mut self.serial {
            serial.ask(|client| client.write(text.as_bytes()));
        }
    }

    /// Waits until the serial line has sent everything.
    pub fn flush_serial(&mut self) {
        if let Some(serial) = &mut self.serial {
            serial.ask(|client| client.flush());
        }
    }

    /// Sets the colours of text to come on both; numbers above 15 change nothing.
    pub fn set_color(&mut self, foreground: u8, background: u8) {
        let color = |number: u8| COLORS.get(usize::from(number)).copied();
        if let (Some(fg), Some(bg)) = (color(foreground), color(background)) {
            if let Some(screen) = &mut self.screen {
                screen.ask(|client| client.set_color(fg, bg));
            }
            let sequence: String = color_sequence(foreground, background);
            self.serial(&sequence);
        }
    }

    /// Appends what was typed on the keyboard; returns whether there may be more.
    pub fn read_keyboard(&mut self, keys: &mut Vec<Key>) -> bool {
        let Some(keyboard) = &mut self.keyboard else {
            return false;
        };
        for _ in 0..READS {
            let Some(events) = keyboard.ask(|client| client.read(false)) else {
                return false;
            };
            let mut count = 0;
            keys.extend(events.inspect(|_| count += 1).filter_map(key_of_event));
            if count < EVENTS {
                return false;
            }
        }
        true
    }

    /// Appends what came in on the serial line; returns whether there may be more.
    pub fn read_serial(&mut self, keys: &mut Vec<Key>) -> bool {
        let Some(serial) = &mut self.serial else {
            return false;
        };
        let mut bytes = [0; 128];
        for _ in 0..READS {
            let count = serial.ask(|client| client.read(&mut bytes, false)).unwrap_or(0);
            let now = rt::time::now_ns();
            for byte in bytes.iter().take(count) {
                self.decoder.feed(*byte, now, |key| keys.push(key));
            }
            if count < bytes.len() {
                return false;
            }
        }
        true
    }
}
