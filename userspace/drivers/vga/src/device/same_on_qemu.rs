//! Tests that run both over fakes and over QEMU's graphics cards, and tests of the picture on the
//! latter's screens.

use super::*;
use crate::screen::ALL_ROWS;
use crate::stream::Stream;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rt::port::FakePorts;
use rt::testing::qemu::{Machine, Memory, Picture, Ports};
use std::collections::BTreeMap;
use std::time::Duration;

/// Width of a cell, in pixels.
const WIDTH: usize = 9;
const HEIGHT: usize = 16;

/// A graphics card.
trait Card {
    type Ports: Port;
    type Window: Window;
    /// The VGA's ports, the Bochs interface's, the window of the font, and that of the cells.
    fn parts(&self) -> (Self::Ports, Self::Ports, Self::Window, Self::Window);
}

/// A card of which only the cursor's location and the cells can be read back.
struct Fake;

#[derive(Default)]
struct Cells(BTreeMap<usize, u16>);

impl Window for Cells {
    fn write(&mut self, offset: usize, value: u16) {
        self.0.insert(offset, value);
    }
    fn read(&mut self, offset: usize) -> u16 {
        self.0.get(&offset).copied().unwrap_or(0)
    }
}

impl Card for Fake {
    type Ports = FakePorts;
    type Window = Cells;
    fn parts(&self) -> (FakePorts, FakePorts, Cells, Cells) {
        let (mut ports, mut index, mut registers) = (FakePorts::new(), 0, BTreeMap::new());
        ports.hook(move |access| match access {
            rt::fake::Access::Write(CRTC, value) => {
                index = value;
                None
            }
            rt::fake::Access::Write(0x15, value) => {
                registers.insert(index, value);
                None
            }
            rt::fake::Access::Read(0x15) => registers.get(&index).copied(),
            _ => None,
        });
        (ports, FakePorts::new(), Cells::default(), Cells::default())
    }
}

impl Window for Memory {
    fn write(&mut self, offset: usize, value: u16) {
        self.write_u16(offset, value);
    }
    fn read(&mut self, offset: usize) -> u16 {
        self.read_u16(offset)
    }
}

impl Card for Machine {
    type Ports = Ports;
    type Window = Memory;
    fn parts(&self) -> (Ports, Ports, Memory, Memory) {
        (
            self.ports(crate::mode::VGA_BASE, crate::mode::VGA_LEN),
            self.ports(crate::mode::DISPI_BASE, crate::mode::DISPI_LEN),
            self.memory(0xa0000, 0x10000),
            self.memory(0xb8000, 0x8000),
        )
    }
}

fn card(kind: &str) -> Machine {
    Machine::start(&["-vga", kind])
}

/// Puts a card into text mode and shows `text`.
fn shows<C: Card>(card: &C, text: &[u8]) -> (Screen, Adapter<C::Ports, C::Window>) {
    let (ports, mut dispi, mut font, window) = card.parts();
    let mut adapter = Adapter::set_up(ports, &mut dispi, &mut font, window);
    assert_eq!(adapter.trouble(), None);
    let mut screen = Screen::default();
    Stream::default().feed(&mut screen, text);
    adapter.paint(&screen, ALL_ROWS);
    adapter.screen_on();
    (screen, adapter)
}

fn cells_and_cursor(card: &impl Card) {
    let (screen, mut adapter) = shows(card, "\x1b[31mred\x1b[0m\r\n\x1b[12;40H\u{2588}\u{e9}".as_bytes());
    let cells: Vec<_> = (0..COLS * ROWS).map(|i| adapter.text.read(i * 2)).collect();
    assert_eq!(cells, screen.cells());
    assert_eq!((screen.cells()[0], screen.cells()[11 * 80 + 40]), (0x0472, 0x0782));
    let mut register = |index| {
        adapter.ports.write8(CRTC, index);
        u16::from(adapter.ports.read8(CRTC + 1))
    };
    assert_eq!((register(CURSOR_HIGH) << 8 | register(CURSOR_LOW), register(CURSOR_START) & 0x20), (11 * 80 + 41, 0));
}

/// A screen with every glyph and every combination of colours.
fn all_glyphs() -> Screen {
    let mut screen = Screen::default();
    Stream::default().feed(&mut screen, b"\x1b[?25l");
    let mut cells = screen.cells().to_vec();
    for (i, cell) in cells.iter_mut().enumerate().take(80 * 24) {
        *cell = (i % 256) as u16 | (((i * 7 + i / 256 * 5) % 256) << 8) as u16;
    }
    Screen::decode(&screen.encode(), cells)
}

/// The 8-bit value that the DAC makes of a colour: six bits, the lowest of which is also the lowest
/// of the other two.
fn shade(value: u8) -> u8 {
    let six = value >> 2;
    (six << 2) | ((six & 1) << 1) | (six & 1)
}

/// The first pixel that differs from the font and the palette: its position, the expected and the
/// actual colour.
fn first_wrong(picture: &Picture, screen: &Screen) -> Option<String> {
    for (i, cell) in screen.cells().iter().enumerate() {
        let ([glyph, attribute], (col, row)) = (cell.to_le_bytes(), (i % COLS, i / COLS));
        for (y, line) in FONT[usize::from(glyph)].iter().enumerate() {
            for x in 0..WIDTH {
                // The ninth column goes on with the eighth where lines are drawn (bit 2 of register
                // 0x10 of the attribute controller): for the glyphs from 0xc0 on in IBM's VGA, from
                // 0xb0 on in QEMU's.
                let lit = if x < 8 { line & 0x80 >> x != 0 } else { matches!(glyph, 0xb0..=0xdf) && line & 1 != 0 };
                let color = PALETTE[usize::from(if lit { attribute & 0xf } else { attribute >> 4 })].map(shade);
                let (x, y) = (col * WIDTH + x, row * HEIGHT + y);
                let seen = picture.pixel(x, y);
                if seen != Some(color) {
                    return Some(format!("({x}, {y}) should be {color:?} and is {seen:?}"));
                }
            }
        }
    }
    None
}

/// Checks that the screen shows every glyph and colour, whatever the card showed before.
fn every_pixel_is_right(machine: &Machine) {
    let (_, mut adapter) = shows(machine, b"");
    let screen = all_glyphs();
    adapter.paint(&screen, ALL_ROWS);
    let picture = machine.picture();
    assert_eq!((picture.width, picture.height), (COLS * WIDTH, ROWS * HEIGHT));
    assert_eq!(first_wrong(&picture, &screen), None);
}

mod fake {
    use super::*;

    #[test]
    fn cells_and_cursor_are_where_they_were_put() {
        cells_and_cursor(&Fake);
    }
}

mod qemu {
    use super::*;

    #[test]
    fn cells_and_cursor_are_where_they_were_put() {
        for kind in ["std", "cirrus"] {
            cells_and_cursor(&card(kind));
        }
    }

    #[test]
    fn every_pixel_of_every_glyph_is_right() {
        every_pixel_is_right(&card("std"));
    }

    #[test]
    fn a_bochs_graphics_mode_ends() {
        let machine = card("std");
        let mut dispi = machine.ports(crate::mode::DISPI_BASE, crate::mode::DISPI_LEN);
        // 640 by 480 pixels of 32 bits, on, with an 8-bit DAC.
        for (index, value) in [(4, 0), (1, 640), (2, 480), (3, 32), (4, 0x61)] {
            dispi.write16(0, index);
            dispi.write16(1, value);
        }
        let picture = machine.picture();
        assert_eq!((picture.width, picture.height), (640, 480));
        every_pixel_is_right(&machine);
    }

    #[test]
    fn a_cirrus_graphics_mode_ends() {
        let machine = card("cirrus");
        let mut ports = machine.ports(crate::mode::VGA_BASE, crate::mode::VGA_LEN);
        // Unlocked, 8 bits a pixel, the memory laid out for it, 15-bit colours in the hidden
        // register.
        for (controller, index, value) in
            [(SEQUENCER, 6, 0x12), (SEQUENCER, 7, 0x11), (GRAPHICS, 0x0b, 0x0c), (CRTC, 0x1b, 0x22)]
        {
            write(&mut ports, controller, index, value);
        }
        (0..4).for_each(|_| _ = ports.read8(DAC_MASK));
        ports.write8(DAC_MASK, 0xe1);
        every_pixel_is_right(&machine);
    }

    /// A cursor is drawn in its cell's foreground, on lines 13 and 14, or, as a block, on all
    /// lines.
    #[test]
    fn the_cursor_is_seen_where_it_is_and_as_it_is() {
        let machine = card("std");
        let (mut screen, mut adapter) = shows(&machine, b"\x1b[3;6H");
        let mut lines = |screen: &Screen| {
            adapter.paint(screen, ALL_ROWS);
            // The cursor blinks, a few times a second.
            let seen = |picture: &Picture| -> Vec<_> {
                (0..HEIGHT).filter(|y| picture.pixel(5 * WIDTH + 3, 2 * HEIGHT + y) != Some([0; 3])).collect()
            };
            let all: Vec<_> = (0..8)
                .map(|_| {
                    machine.run(Duration::from_millis(100));
                    seen(&machine.picture())
                })
                .collect();
            all.into_iter().max_by_key(Vec::len).unwrap_or_default()
        };
        assert_eq!(lines(&screen), [13, 14]);
        Stream::default().feed(&mut screen, b"\x1b[2 q");
        assert_eq!(lines(&screen), Vec::from_iter(0..HEIGHT));
        Stream::default().feed(&mut screen, b"\x1b[?25l");
        assert_eq!(lines(&screen), []);
    }

    #[test]
    fn a_machine_without_a_card_is_told() {
        let machine = Machine::start(&["-vga", "none"]);
        let (ports, mut dispi, mut font, window) = machine.parts();
        let mut adapter = Adapter::set_up(ports, &mut dispi, &mut font, window);
        assert_eq!(adapter.trouble(), Some(Trouble::Absent));
    }
}
