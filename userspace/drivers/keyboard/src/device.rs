//! The i8042 controller and the keyboard behind it.
//!
//! Sources: IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboard and
//! Auxiliary Device Controller" (commands, configuration byte, status bits) and "Keyboard"
//! (commands, scan codes); Intel 8042 data sheet (buffer-full flags).
//!
//! # Exactly once
//! The read of the data port removes a byte from the controller, so a life that ended between that
//! read and the store would lose it. `insb` does both in one instruction, into a slot of kept
//! memory that is zero while empty: no scan code is zero. The meaning of the byte is then computed
//! from kept memory alone and committed by one store ([`Keep::commit`]), so a death at any instant
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
    /// A byte is in the data port.
    pub const OUTPUT_FULL: u8 = 1 << 0;
    /// The controller has not yet taken the last byte written.
    pub const INPUT_FULL: u8 = 1 << 1;
    /// The byte in the data port comes from the mouse.
    pub const FROM_MOUSE: u8 = 1 << 5;
    /// The value that is read if there is no controller.
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
    /// More keys came than the keyboard can buffer, or distinguish: codes are lost.
    pub const OVERRUN: u8 = 0xff;
}

const SELF_TEST_PASSED: u8 = 0x55;
const LINE_TEST_PASSED: u8 = 0x00;

/// Repeat of held keys: after 500 ms, 30 times a second.
const TYPEMATIC: u8 = 1 << 5;

/// Most reads of the status while waiting for the controller or the keyboard: about a microsecond
/// each, and answers take up to 20 ms.
const PATIENCE: u32 = 30_000;

/// Most reads of the status while waiting for the self-test, which may reset the controller.
const TEST_PATIENCE: u32 = 200_000;

/// Most bytes that are discarded, or read in search of an answer. A controller holds one; an
/// emulated one, a queue of 16 for each device.
const MOST_STALE: usize = 64;

/// Most times that a byte is sent again at the keyboard's request.
const MOST_RESENDS: usize = 3;

/// Most bytes that are taken at once.
const MOST_BYTES: usize = 32;

/// The result of the set-up. The driver works with everything but a missing controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Whether a controller takes commands.
    pub controller: bool,
    /// Whether the controller passed its self-test.
    pub self_test: bool,
    /// Whether the controller's test of its line to the keyboard found no fault.
    pub line: bool,
    /// Whether a keyboard answered.
    pub keyboard: bool,
    /// Whether an earlier life has set up the devices, and this one continues.
    pub warm: bool,
}

/// The result of [`Keyboard::service`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Serviced {
    /// Whether there is more to do: call `service` again before the interrupt is acknowledged.
    pub more: bool,
    /// Whether there are new events.
    pub events: bool,
    /// Whether there is no room for the events of another byte. It stays in the controller, which
    /// takes no more from the keyboard meanwhile. Call `service` again, and acknowledge the
    /// interrupt, after a read.
    pub full: bool,
    /// Whether the keyboard reports that it has lost codes.
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

/// The controller did not become ready in time.
struct Timeout;

impl<D: Port, C: Port> Keyboard<D, C> {
    /// Sets up controller and keyboard. If `keep` holds the state of an earlier life, they are set
    /// up already, and the bytes that they hold are events: no command is sent and no byte
    /// discarded. Only the controller's configuration is written again, because that life may have
    /// changed it in its last moments. Call [`Keyboard::service`] next.
    pub fn start(data: D, control: C, keep: &'static Keep) -> Self {
        let warm = keep.resume();
        let decoder = Decoder::new(keep.layout(), keep.decoder());
        let mut keyboard = Keyboard { data, control, keep, decoder, found: Found::default() };
        if warm {
            keyboard.found = Found { controller: true, self_test: true, line: true, keyboard: true, warm };
            keyboard.work();
            // A controller that takes no more commands may still have keys.
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

    /// Enables the keyboard and its interrupt, and disables the mouse; other settings stay as the
    /// firmware chose them.
    fn configure(&mut self, before: u8) -> Result<(), Timeout> {
        let wanted = (before | config::KEYBOARD_INTERRUPT | config::TRANSLATE | config::MOUSE_OFF)
            & !(config::MOUSE_INTERRUPT | config::KEYBOARD_OFF);
        self.command(command::WRITE_CONFIG)?;
        self.send(wanted)?;
        self.command(command::ENABLE_KEYBOARD)
    }

    /// Takes the bytes that the keyboard has sent, up to a bounded number; `more` tells if there
    /// may be more.
    ///
    /// The line to the interrupt controller is edge-triggered: it must have been seen low before
    /// the interrupt is acknowledged.
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

    /// Decodes the byte in the raw slot, if there is one. Returns whether it made events.
    fn work(&mut self) -> bool {
        let Some(byte) = self.keep.raw() else {
            return false;
        };
        let events = match byte {
            // Answers to commands, not keys.
            keyboard::ACK | keyboard::RESEND => [None; _],
            keyboard::OVERRUN => {
                self.decoder = Decoder::new(self.decoder.layout(), self.decoder.state().released());
                [None; _]
            }
            byte => self.decoder.add(byte),
        };
        self.keep.commit(events.into_iter().flatten(), self.decoder.state())
    }

    /// Changes the layout; held keys stay held.
    pub fn set_layout(&mut self, layout: Layout) {
        self.keep.set_layout(layout);
        self.decoder = Decoder::new(layout, self.decoder.state());
    }

    /// The layout in use.
    pub fn layout(&self) -> Layout {
        self.decoder.layout()
    }

    /// The result of the set-up.
    pub fn found(&self) -> Found {
        self.found
    }

    // ---- Communication with the controller ----

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

    /// The next byte that is not from the mouse, or `None` after `patience` reads of the status.
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

    /// Discards the bytes that wait.
    fn flush(&mut self) {
        for _ in 0..MOST_STALE {
            if self.control.read8(0) & status::OUTPUT_FULL == 0 {
                return;
            }
            let _ = self.data.read8(0);
        }
    }

    /// Sends a byte to the keyboard. Returns whether it was acknowledged; keys pressed meanwhile
    /// are skipped.
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
