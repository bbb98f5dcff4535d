//! The adapter: text mode, font, palette, cursor, cells. Works on ports and two windows into video
//! memory, which may be fakes.

use crate::font::FONT;
use crate::mode::*;
use crate::screen::{COLS, ROWS, Screen};
use alloc::boxed::Box;
use alloc::vec;
use rt::port::Port;

/// A window into video memory; offsets count bytes and are even.
pub trait Window {
    /// Writes two bytes, the lower first.
    fn write(&mut self, offset: usize, value: u16);
    /// Reads two bytes.
    fn read(&mut self, offset: usize) -> u16;
}

/// State of the hardware cursor: its cell and whether it is a block; `None` if hidden.
type Cursor = Option<(usize, bool)>;

/// Why nothing can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// No VGA adapter answers: the machine has no display, or one of another kind.
    Absent,
    /// The adapter's registers answer, but its text window is not the memory of a text screen: a
    /// value that is written reads as another one. The adapter has a mode that this driver does not
    /// know.
    NoText {
        /// Offset in the window, in bytes.
        offset: usize,
        /// The value that was written.
        written: u16,
        /// The value that was read.
        read: u16,
    },
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Trouble::Absent => f.write_str("no display: no VGA adapter answers"),
            Trouble::NoText { offset, written, read } => write!(
                f,
                "no picture: this adapter does not go to text mode (at {:#x} {written:#06x} was written and {read:#06x} read)",
                0xb8000 + offset
            ),
        }
    }
}

/// The adapter in text mode.
pub struct Adapter<P, W> {
    ports: P,
    text: W,
    /// The cells as they are shown.
    shown: Box<[u16]>,
    cursor: Option<Cursor>,
}

impl<P: Port, W: Window> Adapter<P, W> {
    /// Sets 80x25 text from any mode, a half-done setting of an earlier life included. The screen
    /// is off afterwards: write the cells, then call [`Adapter::screen_on`].
    ///
    /// `ports` begins at [`VGA_BASE`], `dispi` at [`DISPI_BASE`]; `font` is the window at 0xa0000,
    /// `text` that at 0xb8000.
    pub fn set_up<D: Port, F: Window>(mut ports: P, dispi: &mut D, font: &mut F, mut text: W) -> Self {
        dispi.write16(0, DISPI_ID);
        if dispi.read16(DISPI_DATA) & 0xfff0 == 0xb0c0 {
            dispi.write16(0, DISPI_ENABLE);
            dispi.write16(DISPI_DATA, 0);
        }
        leave_cirrus(&mut ports);
        set_registers(&mut ports);
        load_font(&mut ports, font);
        load_palette(&mut ports);
        let shown = vec![0; COLS * ROWS].into_boxed_slice();
        for (i, &cell) in shown.iter().enumerate() {
            text.write(i * 2, cell);
        }
        Adapter { ports, text, shown, cursor: None }
    }

    /// What keeps the adapter from showing text, if anything does: the cursor's location, or the
    /// cells, cannot be read back. The screen must be off.
    pub fn trouble(&mut self) -> Option<Trouble> {
        self.cursor = None;
        let answers = [0x55, 0xaa].map(|probe| {
            write(&mut self.ports, CRTC, CURSOR_LOW, probe);
            self.ports.read8(CRTC + 1) == probe
        });
        if answers != [true; 2] {
            return Some(Trouble::Absent);
        }
        for (offset, value) in PROBES {
            self.text.write(offset, value);
        }
        let wrong = PROBES.map(|(offset, written)| (offset, written, self.text.read(offset)));
        for (offset, _) in PROBES {
            self.text.write(offset, 0);
        }
        wrong.into_iter().find(|(_, written, read)| written != read).map(|(offset, written, read)| Trouble::NoText {
            offset,
            written,
            read,
        })
    }

    /// Turns the screen on.
    pub fn screen_on(&mut self) {
        let [clocking, ..] = SEQUENCER_VALUES;
        write(&mut self.ports, SEQUENCER, CLOCKING, clocking);
    }

    /// Shows a screen: those cells of `rows` that differ from what is shown, and the cursor.
    pub fn paint(&mut self, screen: &Screen, rows: u32) {
        for row in (0..ROWS).filter(|row| rows & 1 << row != 0) {
            let places = self.shown.iter_mut().enumerate().skip(row * COLS);
            for ((i, shown), &cell) in places.zip(screen.row(row)) {
                if *shown != cell {
                    *shown = cell;
                    self.text.write(i * 2, cell);
                }
            }
        }
        let (col, row) = screen.cursor();
        self.show_cursor(screen.cursor_visible().then_some((row * COLS + col, screen.cursor_block())));
    }

    fn show_cursor(&mut self, cursor: Cursor) {
        let before = self.cursor.replace(cursor);
        if before == Some(cursor) {
            return;
        }
        let Some((place, block)) = cursor else {
            write(&mut self.ports, CRTC, CURSOR_START, CURSOR_OFF);
            return;
        };
        if before.flatten().map(|(_, block)| block) != Some(block) {
            let (start, end) = if block { (0, 15) } else { (13, 14) };
            write(&mut self.ports, CRTC, CURSOR_START, start);
            write(&mut self.ports, CRTC, CURSOR_END, end);
        }
        write(&mut self.ports, CRTC, CURSOR_HIGH, (place >> 8) as u8);
        write(&mut self.ports, CRTC, CURSOR_LOW, place as u8);
    }
}

/// Writes a register of the sequencer, the CRT controller or the graphics controller.
fn write<P: Port>(ports: &mut P, index_port: u16, index: u8, value: u8) {
    ports.write8(index_port, index);
    ports.write8(index_port + 1, value);
}

/// Ends the modes that a chip of Cirrus Logic has beyond VGA's, in which the text window shows
/// pixels.
fn leave_cirrus<P: Port>(ports: &mut P) {
    let mut unlock = |value| {
        write(ports, SEQUENCER, CIRRUS_UNLOCK, value);
        ports.read8(SEQUENCER + 1)
    };
    if unlock(0) != CIRRUS_LOCKED || unlock(CIRRUS_KEY) != CIRRUS_KEY {
        return;
    }
    CIRRUS_SEQUENCER.iter().for_each(|index| write(ports, SEQUENCER, *index, 0));
    CIRRUS_GRAPHICS.iter().for_each(|index| write(ports, GRAPHICS, *index, 0));
    CIRRUS_CRTC.iter().for_each(|index| write(ports, CRTC, *index, 0));
    // The DAC's hidden register comes after four reads of the pixel mask: 0 is VGA's palette (same
    // manual, "HDR: Hidden DAC Register").
    (0..4).for_each(|_| _ = ports.read8(DAC_MASK));
    ports.write8(DAC_MASK, 0);
    ports.read8(DAC_INDEX);
    write(ports, SEQUENCER, CIRRUS_UNLOCK, 0);
}

fn set_registers<P: Port>(ports: &mut P) {
    let [clocking, rest @ ..] = SEQUENCER_VALUES;
    // The sequencer is reset while clock and geometry change; the screen stays dark until the cells
    // are written.
    write(ports, SEQUENCER, 0, 0x01);
    ports.write8(MISC_WRITE, MISC);
    write(ports, SEQUENCER, CLOCKING, clocking | SCREEN_OFF);
    for (index, value) in (2..).zip(rest) {
        write(ports, SEQUENCER, index, value);
    }
    write(ports, SEQUENCER, 0, 0x03);
    // The register with the lock of the protected group is written first, unlocked; its own value
    // locks the group again.
    write(ports, CRTC, 0x11, 0x00);
    for (index, value) in (0..).zip(CRTC_VALUES) {
        write(ports, CRTC, index, value);
    }
    for (index, value) in (0..).zip(GRAPHICS_VALUES) {
        write(ports, GRAPHICS, index, value);
    }
    ports.read8(STATUS);
    for (index, value) in (0..).zip(ATTRIBUTE_VALUES) {
        ports.write8(ATTRIBUTE, index);
        ports.write8(ATTRIBUTE, value);
    }
    ports.write8(ATTRIBUTE, PALETTE_ON);
}

fn load_font<P: Port, F: Window>(ports: &mut P, font: &mut F) {
    for (index, value) in FONT_SEQUENCER {
        write(ports, SEQUENCER, index, value);
    }
    for (index, value) in FONT_GRAPHICS {
        write(ports, GRAPHICS, index, value);
    }
    for (code, glyph) in FONT.iter().enumerate() {
        for (i, pair) in glyph.chunks_exact(2).enumerate() {
            font.write(code * GLYPH_STRIDE + i * 2, u16::from(pair[0]) | u16::from(pair[1]) << 8);
        }
    }
    for (index, _) in FONT_SEQUENCER {
        write(ports, SEQUENCER, index, SEQUENCER_VALUES[usize::from(index) - 1]);
    }
    for (index, _) in FONT_GRAPHICS {
        write(ports, GRAPHICS, index, GRAPHICS_VALUES[usize::from(index)]);
    }
}

fn load_palette<P: Port>(ports: &mut P) {
    ports.write8(DAC_MASK, 0xff);
    ports.write8(DAC_INDEX, 0);
    for channel in PALETTE.as_flattened() {
        ports.write8(DAC_INDEX + 1, channel >> 2);
    }
}

#[cfg(test)]
mod same_on_qemu;
#[cfg(test)]
mod tests;
