//! The i8042 controller and the keyboard behind it.
//!
//! Sources: IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboard and Auxiliary Device Controller" (commands,
//! configuration byte, status bits) and "Keyboard" (commands, scan codes); Intel 8042 data sheet (buffer-full flags).
//!
//! # Exactly once
//! A byte leaves the controller with the read of the data port, so a life that ended between that read and the store would lose it.
//! `insb` does both in one instruction, into a slot of kept memory that is zero while empty: no scan code is zero. What the byte then
//! means is worked out from kept memory alone and made to count by one store ([`Keep::commit`]), so a death at any instant
//! neither loses nor doubles a key.

use crate::decode::{Decoder, MOST_EVENTS};
use crate::keep::Keep;
use crate::layout::Layout;
use core::sync::atomic::{Ordering, compiler_fence};
use rt::port::Port;

/// The data port.
pub const DATA: u16 = 0x60;

/// The status port, when read; the command port, when written.
pub const CONTROL: u16 = 0x64;

mod status {
    /// A byte waits in the data port.
    pub const OUTPUT_FULL: u8 = 1 << 0;
    /// The controller has not yet taken the last byte written.
    pub const INPUT_FULL: u8 = 1 << 1;
    /// The byte comes from the mouse.
    pub const FROM_MOUSE: u8 = 1 << 5;
    /// What a bus without a controller reads as.
    pub const NOBODY: u8 = 0xff;
}

/// Commands to the controller.
mod command {
    pub const READ_CONFIG: u8 = 0x20;
    pub const WRITE_CONFIG: u8 = 0x60;
    pub const DISABLE_MOUSE: u8 = 0xa7;
    pub const SELF_TEST: u8 = 0xaa;
    pub const TEST_KEYBOARD_LINE: u8 = 0xab;
    pub const DISABLE_KEYBOARD: u8 = 0xad;
    pub const ENABLE_KEYBOARD: u8 = 0xae;
}

/// Bits of the configuration byte.
mod config {
    pub const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub const MOUSE_INTERRUPT: u8 = 1 << 1;
    pub const KEYBOARD_OFF: u8 = 1 << 4;
    pub const MOUSE_OFF: u8 = 1 << 5;
    /// The controller translates the keyboard's scan code set 2 into set 1.
    pub const TRANSLATE: u8 = 1 << 6;
}

/// Commands to the keyboard, and its answers.
mod keyboard {
    pub const SET_TYPEMATIC: u8 = 0xf3;
    pub const ENABLE: u8 = 0xf4;
    pub const ACK: u8 = 0xfa;
    pub const RESEND: u8 = 0xfe;
    /// More keys came than its buffer holds, or than it can tell apart: codes are lost.
    pub const OVERRUN: u8 = 0xff;
}

const SELF_TEST_PASSED: u8 = 0x55;
const LINE_TEST_PASSED: u8 = 0x00;

/// Repeat: after 500 ms, 30 a second.
const TYPEMATIC: u8 = 1 << 5;

/// Most reads of the status that wait for the controller or the keyboard: about a microsecond each, and answers take up to 20 ms.
const PATIENCE: u32 = 30_000;

/// Most reads of the status that wait for the self-test, which may reset the controller.
const TEST_PATIENCE: u32 = 200_000;

/// Most bytes thrown away, or looked through for an answer. A controller holds one; an emulated one, a queue of 16 for each device.
const MOST_STALE: usize = 64;

/// Most times that a byte is sent again because the keyboard asks so.
const MOST_RESENDS: usize = 3;

/// Most bytes taken in one go.
const MOST_BYTES: usize = 32;

/// What the set-up found. Anything but a missing controller is tried to live with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// A controller takes commands.
    pub controller: bool,
    /// It passed its self-test.
    pub self_test: bool,
    /// It found its line to the keyboard in order.
    pub line: bool,
    /// A keyboard answered.
    pub keyboard: bool,
    /// An earlier life has set all this up, and this one went on.
    pub warm: bool,
}

/// What [`Keyboard::service`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Serviced {
    /// There is more to do: call it again before the interrupt is acknowledged.
    pub more: bool,
    /// There are new events.
    pub events: bool,
    /// There is no room for the events of another byte: it stays in the controller, which takes no more from the keyboard meanwhile. Call it
    /// again, and acknowledge the interrupt, when something was read.
    pub full: bool,
    /// The keyboard says that it has lost codes.
    pub overrun: bool,
}

/// The controller, the keyboard, and the decoder.
pub struct Keyboard<D, C> {
    data: D,
    control: C,
    keep: &'static Keep,
    decoder: Decoder,
    found: Found,
}

/// A wait for the controller took too long.
struct Timeout;

impl<D: Port, C: Port> Keyboard<D, C> {
    /// Sets controller and keyboard up. Where `keep` holds the state of an earlier life, they are set up already, and what they
    /// hold is for us: nothing is asked or thrown away. Only the controller's configuration is written again, because nobody knows what
    /// that life did in its last moments. Call [`Keyboard::service`] next.
    pub fn start(data: D, control: C, keep: &'static Keep) -> Self {
        let warm = keep.resume();
        let decoder = Decoder::new(keep.layout(), keep.decoder());
        let mut keyboard = Keyboard { data, control, keep, decoder, found: Found::default() };
        if warm {
            keyboard.found = Found { controller: true, self_test: true, line: true, keyboard: true, warm };
            keyboard.work();
            // A controller that takes no commands any more may still have keys.
            let _ = keyboard.configure(keep.config());
        } else {
            let mut found = Found::default();
            found.controller = keyboard.set_up(&mut found).is_ok();
            keyboard.found = found;
            if found.controller {
                keep.set_ready(0);
            }
        }
        keyboard
    }

    fn set_up(&mut self, found: &mut Found) -> Result<(), Timeout> {
        if self.control.read8(0) == status::NOBODY {
            return Err(Timeout);
        }
        self.command(command::DISABLE_KEYBOARD)?;
        self.command(command::DISABLE_MOUSE)?;
        self.flush();
        let before = self.ask(command::READ_CONFIG, PATIENCE)?.unwrap_or(0);
        found.self_test = self.ask(command::SELF_TEST, TEST_PATIENCE)? == Some(SELF_TEST_PASSED);
        found.line = self.ask(command::TEST_KEYBOARD_LINE, PATIENCE)? == Some(LINE_TEST_PASSED);
        self.keep.set_config(before);
        self.configure(before)?;
        found.keyboard = self.tell(keyboard::SET_TYPEMATIC)? && self.tell(TYPEMATIC)?;
        found.keyboard |= self.tell(keyboard::ENABLE)?;
        Ok(())
    }

    /// Keyboard and its interrupt on, the mouse off; whatever else the firmware chose stays.
    fn configure(&mut self, before: u8) -> Result<(), Timeout> {
        let wanted = (before | config::KEYBOARD_INTERRUPT | config::TRANSLATE | config::MOUSE_OFF)
            & !(config::MOUSE_INTERRUPT | config::KEYBOARD_OFF);
        self.command(command::WRITE_CONFIG)?;
        self.send(wanted)?;
        self.command(command::ENABLE_KEYBOARD)
    }

    /// Takes what the keyboard has sent, at most a bounded number of bytes; then it says that there is more.
    ///
    /// The line to the interrupt controller is edge-triggered: it must have been seen low before the interrupt is acknowledged.
    pub fn service(&mut self) -> Serviced {
        let mut serviced = Serviced::default();
        if !self.found.controller {
            return serviced;
        }
        for _ in 0..MOST_BYTES {
            let status = self.control.read8(0);
            if status & status::OUTPUT_FULL == 0 || status == status::NOBODY {
                return serviced;
            }
            if status & status::FROM_MOUSE != 0 {
                let _ = self.data.read8(0);
                continue;
            }
            if self.keep.room() < MOST_EVENTS {
                serviced.full = true;
                return serviced;
            }
            compiler_fence(Ordering::SeqCst);
            self.data.read8_into(0, self.keep.raw_slot());
            compiler_fence(Ordering::SeqCst);
            serviced.overrun |= self.keep.raw() == Some(keyboard::OVERRUN);
            serviced.events |= self.work();
        }
        serviced.more = true;
        serviced
    }

    /// Works on the byte in the raw slot, if there is one. Returns whether that made events.
    fn work(&mut self) -> bool {
        let Some(byte) = self.keep.raw() else {
            return false;
        };
        let events = match byte {
            // Not keys: answers to commands.
            keyboard::ACK | keyboard::RESEND => [None; _],
            keyboard::OVERRUN => {
                self.decoder = Decoder::new(self.decoder.layout(), self.decoder.state().released());
                [None; _]
            }
            byte => self.decoder.add(byte),
        };
        self.keep.commit(events.into_iter().flatten(), self.decoder.state())
    }

    /// Changes the layout; keys held stay held.
    pub fn set_layout(&mut self, layout: Layout) {
        self.keep.set_layout(layout);
        self.decoder = Decoder::new(layout, self.decoder.state());
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.decoder.layout()
    }

    /// What the set-up found.
    pub fn found(&self) -> Found {
        self.found
    }

    // ---- Words with the controller ----

    fn wait_input(&mut self) -> Result<(), Timeout> {
        let taken = (0..PATIENCE).any(|_| self.control.read8(0) & status::INPUT_FULL == 0);
        if taken { Ok(()) } else { Err(Timeout) }
    }

    fn command(&mut self, command: u8) -> Result<(), Timeout> {
        self.wait_input()?;
        self.control.write8(0, command);
        Ok(())
    }

    fn send(&mut self, byte: u8) -> Result<(), Timeout> {
        self.wait_input()?;
        self.data.write8(0, byte);
        Ok(())
    }

    /// The next byte that is not the mouse's, waiting for it for a while.
    fn receive(&mut self, patience: u32) -> Option<u8> {
        for _ in 0..patience {
            let status = self.control.read8(0);
            if status & status::OUTPUT_FULL != 0 {
                let byte = self.data.read8(0);
                if status & status::FROM_MOUSE == 0 {
                    return Some(byte);
                }
            }
        }
        None
    }

    fn ask(&mut self, command: u8, patience: u32) -> Result<Option<u8>, Timeout> {
        self.command(command)?;
        Ok(self.receive(patience))
    }

    /// Throws away what waits.
    fn flush(&mut self) {
        for _ in 0..MOST_STALE {
            if self.control.read8(0) & status::OUTPUT_FULL == 0 {
                return;
            }
            let _ = self.data.read8(0);
        }
    }

    /// Sends a byte to the keyboard. Returns whether it was acknowledged; keys pressed meanwhile are looked over.
    fn tell(&mut self, byte: u8) -> Result<bool, Timeout> {
        for _ in 0..=MOST_RESENDS {
            self.send(byte)?;
            let mut answer = None;
            for _ in 0..MOST_STALE {
                answer = self.receive(PATIENCE);
                if matches!(answer, None | Some(keyboard::ACK | keyboard::RESEND)) {
                    break;
                }
            }
            if answer != Some(keyboard::RESEND) {
                return Ok(answer == Some(keyboard::ACK));
            }
        }
        Ok(false)
    }
}
