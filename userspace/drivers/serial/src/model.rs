//! A model of the UART, for tests.

pub use rt::keep::fuse;
use rt::port::Port;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

#[derive(Default)]
pub struct State {
    /// Bytes that were sent on the line.
    pub line: Vec<u8>,
    /// Bytes that the other side has to send.
    pub input: VecDeque<u8>,
    /// Whether a 16-bit access reaches two registers.
    pub wide: bool,
    /// Whether bytes are sent only when the test calls [`State::run`].
    pub slow: bool,
    pub absent: bool,
    /// Bits that the next read of the line status has, and clears.
    pub errors: u8,
    rx: VecDeque<u8>,
    tx: VecDeque<u8>,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: [u8; 2],
    thre_pending: bool,
    /// How many resets of the receive FIFO there were.
    pub rx_resets: usize,
}

impl State {
    /// Lets time pass on the line: up to `bytes` are sent, and as many received as the receive FIFO
    /// has room for.
    pub fn run(&mut self, bytes: usize) {
        for _ in 0..bytes {
            let Some(byte) = self.tx.pop_front() else {
                break;
            };
            self.line.push(byte);
            self.thre_pending |= self.tx.is_empty();
        }
        while self.rx.len() < 16 {
            let Some(byte) = self.input.pop_front() else {
                break;
            };
            self.rx.push_back(byte);
        }
    }

    /// Level of the interrupt line.
    pub fn interrupt(&self) -> bool {
        self.mcr & 8 != 0 && self.cause() & 1 == 0
    }

    pub fn divisor(&self) -> u16 {
        u16::from_le_bytes(self.divisor)
    }

    pub fn line_control(&self) -> u8 {
        self.lcr
    }

    pub fn interrupts(&self) -> u8 {
        self.ier
    }

    pub fn fifo_control(&self) -> u8 {
        self.fcr
    }

    fn cause(&self) -> u8 {
        let fifo = if self.fcr & 1 != 0 { 0xc0 } else { 0 };
        if self.ier & 1 != 0 && !self.rx.is_empty() {
            fifo | 0x4
        } else if self.ier & 2 != 0 && self.thre_pending {
            fifo | 0x2
        } else {
            fifo | 0x1
        }
    }

    fn read(&mut self, offset: u16) -> u8 {
        if self.absent {
            return 0xff;
        }
        let latch = self.lcr & 0x80 != 0;
        match offset {
            0 | 1 if latch => self.divisor[offset as usize],
            0 => self.rx.pop_front().unwrap_or(0),
            1 => self.ier,
            2 => {
                let cause = self.cause();
                if cause & 0xf == 0x2 {
                    self.thre_pending = false;
                }
                cause
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                core::mem::take(&mut self.errors)
                    | (!self.rx.is_empty()) as u8
                    | if self.tx.is_empty() { 0x60 } else { 0 }
            }
            6 => 0xb0,
            _ => self.scratch,
        }
    }

    fn write(&mut self, offset: u16, value: u8) {
        if self.absent {
            return;
        }
        let latch = self.lcr & 0x80 != 0;
        match offset {
            0 | 1 if latch => self.divisor[offset as usize] = value,
            0 => {
                assert!(self.tx.len() < 16, "the transmit FIFO runs over");
                self.tx.push_back(value);
                self.thre_pending = false;
                if !self.slow {
                    self.run(1);
                }
            }
            1 => {
                let before = self.ier;
                self.ier = value & 0xf;
                // An empty transmitter causes an interrupt when its interrupt is enabled.
                if (before ^ self.ier) & 2 != 0 {
                    self.thre_pending = self.ier & 2 != 0 && self.tx.is_empty();
                }
            }
            2 => {
                let toggled = (value ^ self.fcr) & 1 != 0;
                self.fcr = value & 0xc9;
                if value & 2 != 0 || toggled {
                    self.rx.clear();
                    self.rx_resets += 1;
                }
                if value & 4 != 0 || toggled {
                    self.tx.clear();
                    self.thre_pending = true;
                }
            }
            3 => self.lcr = value,
            4 => self.mcr = value,
            7 => self.scratch = value,
            _ => {}
        }
    }
}

/// The model's ports. Each access is one step in a test that ends the driver's life at every step.
#[derive(Clone)]
pub struct Model(pub Rc<RefCell<State>>);

impl Model {
    pub fn new(wide: bool, slow: bool) -> Self {
        Model(Rc::new(RefCell::new(State { wide, slow, ..State::default() })))
    }
}

impl Port for Model {
    fn read8(&mut self, offset: u16) -> u8 {
        fuse::tick();
        self.0.borrow_mut().read(offset)
    }

    fn write8(&mut self, offset: u16, value: u8) {
        fuse::tick();
        self.0.borrow_mut().write(offset, value);
    }

    fn read16(&mut self, offset: u16) -> u16 {
        fuse::tick();
        let mut state = self.0.borrow_mut();
        let low = state.read(offset);
        let high = if state.wide { state.read(offset + 1) } else { 0xff };
        u16::from_le_bytes([low, high])
    }

    fn write16(&mut self, offset: u16, value: u16) {
        fuse::tick();
        let mut state = self.0.borrow_mut();
        let [low, high] = value.to_le_bytes();
        state.write(offset, low);
        if state.wide {
            state.write(offset + 1, high);
        }
    }

    fn read32(&mut self, _: u16) -> u32 {
        panic!("a UART has no 32-bit registers");
    }

    fn write32(&mut self, _: u16, _: u32) {
        panic!("a UART has no 32-bit registers");
    }
}
