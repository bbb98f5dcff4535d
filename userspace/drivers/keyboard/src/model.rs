//! A model of the controller and its keyboard, for tests.

pub use rt::keep::fuse;
use rt::port::Port;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

#[derive(Default)]
pub struct State {
    /// Bytes for the data port, each with whether the mouse sent it.
    pub output: VecDeque<(u8, bool)>,
    /// Commands that the controller was given.
    pub commands: Vec<u8>,
    /// Bytes that were sent to the keyboard.
    pub told: Vec<u8>,
    pub config: u8,
    /// Whether nothing answers at the ports.
    pub absent: bool,
    /// Whether the controller takes commands, but answers none.
    pub mute: bool,
    /// How many bytes the keyboard first asks for again.
    pub resends: usize,
    awaits_config: bool,
}

impl State {
    pub fn keys(&mut self, bytes: &[u8]) {
        self.output.extend(bytes.iter().map(|byte| (*byte, false)));
    }

    fn answer(&mut self, byte: u8) {
        if !self.mute {
            self.output.push_back((byte, false));
        }
    }

    fn status(&self) -> u8 {
        match self.output.front() {
            _ if self.absent => 0xff,
            Some((_, mouse)) => 1 | (*mouse as u8) << 5,
            None => 0,
        }
    }

    fn command(&mut self, command: u8) {
        self.commands.push(command);
        match command {
            0x20 => self.answer(self.config),
            0x60 => self.awaits_config = true,
            0xaa => self.answer(0x55),
            0xab => self.answer(0),
            _ => {}
        }
    }

    fn data(&mut self, byte: u8) {
        if core::mem::take(&mut self.awaits_config) {
            self.config = byte;
        } else if self.resends > 0 {
            self.resends -= 1;
            self.answer(0xfe);
        } else {
            self.told.push(byte);
            self.answer(0xfa);
        }
    }
}

/// One of the model's two ports. Each access is one step in a test that ends the driver's life at
/// every step.
#[derive(Clone)]
pub struct Model {
    pub state: Rc<RefCell<State>>,
    is_data: bool,
}

impl Model {
    /// The data port and the control port.
    pub fn ports() -> (Model, Model) {
        Model { state: Rc::default(), is_data: true }.pair()
    }

    /// Both ports of this port's controller.
    pub fn pair(&self) -> (Model, Model) {
        let port = |is_data| Model { is_data, ..self.clone() };
        (port(true), port(false))
    }
}

impl Port for Model {
    fn read8(&mut self, offset: u16) -> u8 {
        assert_eq!(offset, 0);
        fuse::tick();
        let mut state = self.state.borrow_mut();
        if self.is_data { state.output.pop_front().map_or(0xff, |(byte, _)| byte) } else { state.status() }
    }

    fn write8(&mut self, offset: u16, value: u8) {
        assert_eq!(offset, 0);
        fuse::tick();
        let mut state = self.state.borrow_mut();
        if self.is_data { state.data(value) } else { state.command(value) }
    }

    fn read16(&mut self, _: u16) -> u16 {
        panic!("the controller has 8-bit ports");
    }
    fn write16(&mut self, _: u16, _: u16) {
        panic!("the controller has 8-bit ports");
    }
    fn read32(&mut self, _: u16) -> u32 {
        panic!("the controller has 8-bit ports");
    }
    fn write32(&mut self, _: u16, _: u32) {
        panic!("the controller has 8-bit ports");
    }
}
