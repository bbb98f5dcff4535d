//! Colours: the 16 of the text mode, and the conversion of the colours of escape sequences to them.

use crate::mode::PALETTE;

rt::words! {
    /// The 16 colours by their numbers in an attribute byte (IBM's order: blue is 1, red is 4).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(u8)]
    #[expect(missing_docs, reason = "the names say it")]
    pub enum Color {
        Black = 0,
        Blue = 1,
        Green = 2,
        Cyan = 3,
        Red = 4,
        Magenta = 5,
        Brown = 6,
        LightGray = 7,
        DarkGray = 8,
        LightBlue = 9,
        LightGreen = 10,
        LightCyan = 11,
        LightRed = 12,
        Pink = 13,
        Yellow = 14,
        White = 15,
    }
}

/// English names of the 16 colours, in the order of their numbers.
pub const NAMES: [&str; 16] = [
    "black",
    "blue",
    "green",
    "cyan",
    "red",
    "magenta",
    "brown",
    "light-gray",
    "dark-gray",
    "light-blue",
    "light-green",
    "light-cyan",
    "light-red",
    "light-magenta",
    "yellow",
    "white",
];

/// Converts a colour number of escape sequences (ECMA-48: red is 1, blue is 4; 8 to 15 are bright)
/// to an attribute's number. It swaps two bits, and is therefore its own inverse.
pub const fn from_ansi(n: u8) -> u8 {
    n & 0b1010 | (n & 1) << 2 | (n & 4) >> 2
}

/// The nearest of the 16 colours to `rgb`, by the sum of squared distances.
pub fn nearest(rgb: [u8; 3]) -> u8 {
    let distance = |c: &[u8; 3]| -> u32 { c.iter().zip(rgb).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    PALETTE.iter().enumerate().min_by_key(|(_, c)| distance(c)).map_or(7, |(i, _)| i as u8)
}

/// Converts a colour of xterm's table of 256 (16 named ones, a cube of 6x6x6, 24 greys) to one of
/// the 16 colours.
pub fn from_256(n: u8) -> u8 {
    let level = |l: u8| if l == 0 { 0 } else { 55 + 40 * l };
    match n {
        0..16 => from_ansi(n),
        16..232 => {
            let n = n - 16;
            nearest([level(n / 36), level(n / 6 % 6), level(n % 6)])
        }
        232.. => nearest([8 + 10 * (n - 232); 3]),
    }
}

/// The colours and attributes with which text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pen {
    /// Foreground, 0 to 15.
    pub fg: u8,
    /// Background, 0 to 15.
    pub bg: u8,
    /// Whether dark foregrounds are shown bright.
    pub bold: bool,
    /// Whether foreground and background change places.
    pub inverse: bool,
}

impl Pen {
    /// A pen for plain text in these colours (the lower four bits count).
    pub const fn new(fg: u8, bg: u8) -> Pen {
        Pen { fg: fg & 15, bg: bg & 15, bold: false, inverse: false }
    }

    /// The attribute byte of a character written with this pen.
    pub const fn attribute(self) -> u8 {
        let fg = if self.bold { self.fg | 8 } else { self.fg };
        if self.inverse { fg << 4 | self.bg } else { self.bg << 4 | fg }
    }

    /// The cell that erasing leaves: a space in the pen's colours, never inverse.
    pub const fn blank(self) -> u16 {
        (self.bg as u16) << 12 | (self.fg as u16) << 8 | b' ' as u16
    }

    /// The pen as three bytes, which [`Pen::decode`] reads.
    pub const fn encode(self) -> [u8; 3] {
        [self.fg, self.bg, self.bold as u8 | (self.inverse as u8) << 1]
    }

    /// The inverse of [`Pen::encode`]; accepts any bytes.
    pub const fn decode([fg, bg, flags]: [u8; 3]) -> Pen {
        Pen { fg: fg & 15, bg: bg & 15, bold: flags & 1 != 0, inverse: flags & 2 != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ansi_order_swaps_red_and_blue() {
        assert_eq!(from_ansi(1), Color::Red as u8);
        assert_eq!(from_ansi(4), Color::Blue as u8);
        assert_eq!(from_ansi(3), Color::Brown as u8);
        assert_eq!(from_ansi(14), Color::LightCyan as u8);
        for n in 0..16 {
            assert_eq!(from_ansi(from_ansi(n)), n);
        }
    }

    #[test]
    fn large_palettes_map_to_the_nearest() {
        assert_eq!(from_256(196), Color::Red as u8);
        assert_eq!(from_256(231), Color::White as u8);
        assert_eq!(from_256(16), Color::Black as u8);
        assert_eq!(from_256(240), Color::DarkGray as u8);
        assert_eq!(nearest([0x50, 0x50, 0xf0]), Color::LightBlue as u8);
        for (i, &c) in PALETTE.iter().enumerate() {
            assert_eq!(usize::from(nearest(c)), i);
        }
    }

    #[test]
    fn pens_survive_encoding_and_any_bytes_decode() {
        let pen = Pen { bold: true, ..Pen::new(1, 12) };
        assert_eq!(Pen::decode(pen.encode()), pen);
        assert_eq!(pen.attribute(), 0xc9);
        assert_eq!(Pen { inverse: true, ..Pen::new(7, 0) }.attribute(), 0x70);
        assert_eq!(Pen::decode([255; 3]).attribute(), 0xff);
    }
}
