//! Register values of the 80x25 colour text mode with 9x16 cells: 720x400 pixels at 70 Hz.
//!
//! Sources: IBM, *Personal System/2 Hardware Interface Technical Reference: Video Subsystems* (the
//! BIOS mode 3+ table), and the FreeVGA project's register descriptions. Two values differ from the
//! BIOS's on purpose and are marked.

/// First port of the VGA register file; the offsets of the registers count from here.
pub const VGA_BASE: u16 = 0x3c0;
/// How many ports the VGA register file has from [`VGA_BASE`] on: 0x3c0 to 0x3df.
pub const VGA_LEN: u16 = 0x20;

/// Attribute controller, index and data in turn (0x3c0).
pub const ATTRIBUTE: u16 = 0x00;
/// Miscellaneous output, write (0x3c2).
pub const MISC_WRITE: u16 = 0x02;
/// Sequencer index; data at the next port (0x3c4).
pub const SEQUENCER: u16 = 0x04;
/// DAC pixel mask (0x3c6).
pub const DAC_MASK: u16 = 0x06;
/// DAC write index; data at the next port (0x3c8).
pub const DAC_INDEX: u16 = 0x08;
/// Graphics controller index; data at the next port (0x3ce).
pub const GRAPHICS: u16 = 0x0e;
/// CRT controller index; data at the next port (0x3d4, as bit 0 of the miscellaneous output
/// register selects).
pub const CRTC: u16 = 0x14;
/// Input status 1 (0x3da): reading it makes the attribute controller expect an index.
pub const STATUS: u16 = 0x1a;

/// First port of the Bochs display interface (Bochs `vbe_spec`, QEMU `docs/specs/standard-vga`):
/// 16-bit index at 0x1ce, 16-bit data at 0x1cf.
pub const DISPI_BASE: u16 = 0x1ce;
/// How many ports the Bochs display interface has: the 16-bit access to 0x1cf covers 0x1d0 too, and
/// the processor checks the permission bit of each (Intel SDM vol. 1, chapter "Input/Output", "I/O
/// Permission Bit Map").
pub const DISPI_LEN: u16 = 3;
/// Data register of the Bochs display interface, from [`DISPI_BASE`].
pub const DISPI_DATA: u16 = 1;
/// Index of the Bochs display interface's identification register: it reads 0xb0c0 to 0xb0cf.
pub const DISPI_ID: u16 = 0;
/// Index of the Bochs display interface's enable register: 0 gives the machine back to the VGA
/// registers, with a 6-bit DAC.
pub const DISPI_ENABLE: u16 = 4;

/// Value of the miscellaneous output register: 28.322 MHz clock, colour addresses, processor access
/// to memory on, 400 lines by sync polarity.
pub const MISC: u8 = 0x67;

/// Values of sequencer registers 1 to 4: 9-dot characters, planes 0 and 1 writable, first font,
/// odd/even addressing.
pub const SEQUENCER_VALUES: [u8; 4] = [0x00, 0x03, 0x00, 0x02];

/// Index of the sequencer's clocking mode register.
pub const CLOCKING: u8 = 1;
/// Bit of the clocking mode register ([`CLOCKING`]) that turns the screen off.
pub const SCREEN_OFF: u8 = 0x20;

/// Values of CRT controller registers 0 to 0x18. Bit 7 of register 0x11 protects registers 0 to 7.
pub const CRTC_VALUES: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, // horizontal: total, display end, blanking, retrace
    0xbf, 0x1f, // vertical total, overflow
    0x00, 0x4f, // preset row scan, 16 lines per character
    0x0d, 0x0e, // cursor: lines 13 to 14
    0x00, 0x00, 0x00, 0x00, // start address, cursor location
    0x9c, 0x8e, 0x8f, // vertical retrace, display end
    0x28, 0x1f, // 40 words per row, underline off the cell
    0x96, 0xb9, 0xa3, 0xff, // vertical blanking, mode, line compare
];

/// CRT controller register with the cursor's first line; bit 5 hides the cursor ([`CURSOR_OFF`]).
pub const CURSOR_START: u8 = 0x0a;
/// CRT controller register with the cursor's last line.
pub const CURSOR_END: u8 = 0x0b;
/// CRT controller register with the upper byte of the cursor's location.
pub const CURSOR_HIGH: u8 = 0x0e;
/// CRT controller register with the lower byte of the cursor's location.
pub const CURSOR_LOW: u8 = 0x0f;
/// Bit of the cursor start register that hides the cursor.
pub const CURSOR_OFF: u8 = 0x20;

/// Values of graphics controller registers 0 to 8: odd/even, memory at 0xb8000.
pub const GRAPHICS_VALUES: [u8; 9] = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff];

/// Values of attribute controller registers 0 to 0x14. Unlike the BIOS's table, colours map one to
/// one to the DAC's first 16 entries, and bit 3 of register 0x10 is clear: attribute bit 7 means a
/// bright background, not blinking.
pub const ATTRIBUTE_VALUES: [u8; 21] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x04, 0x00, 0x0f, 0x08, 0x00];

/// Written to the attribute controller's index, this bit connects the palette to the screen again.
pub const PALETTE_ON: u8 = 0x20;

/// Sequencer registers (index, value) that, with [`FONT_GRAPHICS`], show plane 2 alone, byte by
/// byte, at 0xa0000 for the font.
pub const FONT_SEQUENCER: [(u8, u8); 2] = [(2, 0x04), (4, 0x06)];
/// Graphics controller registers (index, value) for the access to the font: see [`FONT_SEQUENCER`].
pub const FONT_GRAPHICS: [(u8, u8); 3] = [(4, 0x02), (5, 0x00), (6, 0x04)];

/// Index of the sequencer register by which the chips of Cirrus Logic's CL-GD54xx family unlock
/// their extensions: [`CIRRUS_KEY`] unlocks them and is read back, any other value locks them and
/// reads as [`CIRRUS_LOCKED`] (CL-GD5446 technical reference manual, "SR6: Unlock All Extensions").
pub const CIRRUS_UNLOCK: u8 = 6;
/// Value of [`CIRRUS_UNLOCK`] that unlocks the extensions.
pub const CIRRUS_KEY: u8 = 0x12;
/// Value that [`CIRRUS_UNLOCK`] reads as while the extensions are locked.
pub const CIRRUS_LOCKED: u8 = 0x0f;
/// Sequencer registers of the Cirrus Logic extensions that must be zero for a plain VGA (CL-GD5446
/// technical reference manual): packed pixels.
pub const CIRRUS_SEQUENCER: [u8; 1] = [0x07];
/// Graphics controller registers of the Cirrus Logic extensions that must be zero for a plain VGA
/// (CL-GD5446 technical reference manual): banks of memory and their modes.
pub const CIRRUS_GRAPHICS: [u8; 3] = [0x09, 0x0a, 0x0b];
/// CRT controller registers of the Cirrus Logic extensions that must be zero for a plain VGA
/// (CL-GD5446 technical reference manual): height and width beyond VGA's, overlay.
pub const CIRRUS_CRTC: [u8; 4] = [0x19, 0x1a, 0x1b, 0x1d];

/// Offsets in the text window, in bytes, with the values that are written there to find out whether
/// it is memory in text mode: ends of the screen, cells and attributes, and two offsets that would
/// be the same memory if the window were folded.
pub const PROBES: [(usize, u16); 5] = [(0, 0x1234), (2, 0xedcb), (160, 0x55aa), (2048, 0xaa55), (3998, 0x0ff0)];

/// Bytes from one glyph to the next in plane 2.
pub const GLYPH_STRIDE: usize = 32;

/// The 16 colours, 8 bits per channel; the DAC takes the upper six.
pub const PALETTE: [[u8; 3]; 16] = [
    [0x00, 0x00, 0x00],
    [0x00, 0x00, 0xaa],
    [0x00, 0xaa, 0x00],
    [0x00, 0xaa, 0xaa],
    [0xaa, 0x00, 0x00],
    [0xaa, 0x00, 0xaa],
    [0xaa, 0x55, 0x00],
    [0xaa, 0xaa, 0xaa],
    [0x55, 0x55, 0x55],
    [0x55, 0x55, 0xff],
    [0x55, 0xff, 0x55],
    [0x55, 0xff, 0xff],
    [0xff, 0x55, 0x55],
    [0xff, 0x55, 0xff],
    [0xff, 0xff, 0x55],
    [0xff, 0xff, 0xff],
];
