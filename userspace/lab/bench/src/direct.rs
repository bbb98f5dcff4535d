//! Writes to screen and serial line with the devices to itself: what the drivers' clients are compared with. It has the system's only
//! other task switch the machine off.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec;
use bench::throughput::{Clock, ECHOED, GLYPHS, LINE, LINES, REPAINTS, SENT, text};
use bench::{Samples, calibrate};
use driver_vga::device::{Adapter, Window};
use driver_vga::mode::{CRTC, DISPI_BASE, DISPI_LEN, VGA_BASE, VGA_LEN};
use driver_vga::screen::{CELLS, COLS};
use rt::ipc::Endpoint;
use rt::memory::{Mapping, Memory};
use rt::port::{IoPorts, Port};
use rt::println;

rt::entry!(run);

const POWER: usize = 1;

/// Registers of a 16550, from its first port (PC16550D data sheet).
const DATA: u16 = 0;
const INTERRUPTS: u16 = 1;
const FIFO: u16 = 2;
const FORMAT: u16 = 3;
const STATUS: u16 = 5;
/// In STATUS: the transmitter's FIFO is empty; it and the shift register are.
const EMPTY: u8 = 0x20;
const IDLE: u8 = 0x40;
/// Bytes that fit into the FIFO.
const DEPTH: usize = 16;

/// Grey on black.
const ATTRIBUTE: u16 = 0x0700;

fn run() {
    calibrate::print();
    for (name, what) in [("serial", serial as fn() -> Option<()>), ("screen", screen)] {
        if what().is_none() {
            println!("failed {name} system.toml gives no port or no memory");
        }
    }
    println!("done");
    if rt::task::spawn(POWER, "").is_ok()
        && let Some(power) = Endpoint::peer("power")
    {
        let Err(error) = driver_power::Client::new(power).shutdown();
        println!("failed power {error}");
    }
}

fn serial() -> Option<()> {
    let mut ports = IoPorts::granted(0x3f8, 8)?;
    // 115,200 baud, 8N1, FIFOs on and empty, no interrupts.
    for (port, value) in [(FORMAT, 0x80), (DATA, 1), (INTERRUPTS, 0), (FORMAT, 3), (FIFO, 0xc7)] {
        ports.write8(port, value);
    }
    let whole = text(SENT);
    for (name, bytes, burst) in
        [("serial_direct_each", whole.get(..ECHOED).unwrap_or_default(), 1), ("serial_direct", &whole[..], DEPTH)]
    {
        let clock = Clock::start();
        for part in bytes.chunks(burst) {
            while ports.read8(STATUS) & EMPTY == 0 {}
            part.iter().for_each(|byte| ports.write8(DATA, *byte));
        }
        while ports.read8(STATUS) & IDLE == 0 {}
        clock.print(name, bytes.len());
    }
    Some(())
}

struct Mapped(Mapping);

impl Window for Mapped {
    fn write(&mut self, offset: usize, value: u16) {
        self.0.write_u16(offset, value);
    }

    fn read(&mut self, offset: usize) -> u16 {
        self.0.read_u16(offset)
    }
}

/// A screen as a first kernel has one: lines and a cursor, no escape sequences. The cells are kept in memory too, as reading video memory
/// is slow on real machines.
struct Text {
    ports: IoPorts,
    memory: Mapping,
    cells: vec::Vec<u16>,
    at: usize,
}

impl Text {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.at = (self.at / COLS + 1) * COLS,
                _ => {
                    let cell = ATTRIBUTE | u16::from(*byte);
                    if let Some(place) = self.cells.get_mut(self.at) {
                        *place = cell;
                    }
                    self.memory.write_u16(self.at * 2, cell);
                    self.at += 1;
                }
            }
            if self.at >= CELLS {
                self.cells.copy_within(COLS.., 0);
                self.at = CELLS - COLS;
                self.cells[CELLS - COLS..].fill(ATTRIBUTE | u16::from(b' '));
                for (i, cell) in self.cells.iter().enumerate() {
                    self.memory.write_u16(i * 2, *cell);
                }
            }
        }
        for (register, value) in [(14, self.at >> 8), (15, self.at)] {
            self.ports.write8(CRTC, register);
            self.ports.write8(CRTC + 1, value as u8);
        }
    }
}

fn screen() -> Option<()> {
    let ports = || IoPorts::granted(VGA_BASE, VGA_LEN);
    let window = |name| Memory::range(name)?.map(true).ok();
    {
        let mut dispi = IoPorts::granted(DISPI_BASE, DISPI_LEN)?;
        let mut font = Mapped(window("font")?);
        Adapter::set_up(ports()?, &mut dispi, &mut font, Mapped(window("text")?)).screen_on();
    }
    let cells = vec![ATTRIBUTE | u16::from(b' '); CELLS];
    let mut screen = Text { ports: ports()?, memory: window("text")?, cells, at: 0 };
    let bytes = text(ECHOED);
    let clock = Clock::start();
    bytes.chunks(1).for_each(|part| screen.write(part));
    clock.print("screen_direct_each", bytes.len());
    let bytes = text(LINES * LINE);
    let clock = Clock::start();
    bytes.chunks(LINE).for_each(|line| screen.write(line));
    clock.print("screen_direct", bytes.len());
    let mut samples = Samples::new("screen_repaint_direct", REPAINTS);
    for round in 0..REPAINTS {
        let clock = Clock::start();
        let cell = ATTRIBUTE | u16::from(GLYPHS[round % GLYPHS.len()]);
        for place in 0..CELLS {
            screen.memory.write_u16(place * 2, cell);
        }
        samples.add(clock.instructions());
    }
    samples.print();
    Some(())
}
