//! Pictures of the guest's screen: kept as PNG, and read as text.

use crate::paths;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// An 8x16 font: for each character its rows from the top, the leftmost pixel in the highest bit.
pub type Font = [[u8; 16]; 256];

/// The size of a character cell in VGA text mode: the ninth column is the gap between characters.
const CELL: (usize, usize) = (9, 16);

/// A picture with eight bits for each of red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Three bytes a pixel, row by row from the top.
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads the binary PPM that QEMU's `screendump` writes.
    ///
    /// # Errors
    /// When it is something else, or cut short.
    pub(crate) fn from_ppm(bytes: &[u8]) -> Result<Self> {
        let mut at = 0;
        let mut word = || {
            while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                at += 1;
            }
            let start = at;
            while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
                at += 1;
            }
            String::from_utf8_lossy(bytes.get(start..at).unwrap_or_default()).into_owned()
        };
        ensure!(word() == "P6", "the screen dump is no binary PPM");
        let numbers = [word(), word(), word()].map(|number| number.parse::<usize>());
        let [Ok(width), Ok(height), Ok(255)] = numbers else {
            anyhow::bail!("the screen dump's header is not understood");
        };
        let rgb = bytes.get(at + 1..).unwrap_or_default().to_vec();
        let size = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        ensure!(size == Some(rgb.len()), "the screen dump is cut short");
        Ok(Self { width, height, rgb })
    }

    /// Writes the picture as PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut bytes = Vec::new();
        let (width, height) = (u32::try_from(self.width)?, u32::try_from(self.height)?);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb))
            .context("cannot encode the picture")?;
        std::fs::write(path, bytes).map_err(|error| paths::disk_error(&error, path))
    }

    /// Whether two pictures show the same, but for a blinking cursor: no pixel differs outside one character cell.
    #[must_use]
    pub(crate) fn still(&self, other: &Self) -> bool {
        if (self.width, self.height) != (other.width, other.height) {
            return false;
        }
        let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
        for (index, (one, two)) in self.rgb.chunks_exact(3).zip(other.rgb.chunks_exact(3)).enumerate() {
            if one != two {
                let (x, y) = (index % self.width, index / self.width);
                (left, right) = (left.min(x), right.max(x));
                (top, bottom) = (top.min(y), bottom.max(y));
            }
        }
        left == usize::MAX || (right - left < CELL.0 && bottom - top < CELL.1)
    }

    fn pixel(&self, x: usize, y: usize) -> Option<&[u8]> {
        let at = (y * self.width + x) * 3;
        self.rgb.get(at..at + 3)
    }

    /// Reads a VGA text screen: its lines, without the blanks at their ends. A cell that shows nothing of the font is
    /// U+FFFD. `None` if the picture is not of the size of a text screen.
    #[must_use]
    pub fn text(&self, font: &Font) -> Option<Vec<String>> {
        let (columns, rows) = (self.width / CELL.0, self.height / CELL.1);
        if columns * CELL.0 != self.width || rows * CELL.1 != self.height || columns == 0 || rows == 0 {
            return None;
        }
        let line = |row: usize| {
            let text: String = (0..columns).map(|column| self.character(font, column, row)).collect();
            text.trim_end().to_owned()
        };
        Some((0..rows).map(line).collect())
    }

    /// The character in one cell.
    fn character(&self, font: &Font, column: usize, row: usize) -> char {
        let (x, y) = (column * CELL.0, row * CELL.1);
        let Some(first) = self.pixel(x, y) else { return char::REPLACEMENT_CHARACTER };
        // One colour is the corner's, the other is all the rest; which of them is the background is not known.
        let mut cell = [0u8; 16];
        for (line, bits) in cell.iter_mut().enumerate() {
            for column in 0..8 {
                let differs = self.pixel(x + column, y + line).is_some_and(|pixel| pixel != first);
                *bits = *bits << 1 | u8::from(differs);
            }
        }
        if cell == [0; 16] {
            return ' ';
        }
        let inverse = cell.map(|bits| !bits);
        let printable = |cell: &[u8; 16], same: fn(&[u8; 16], &[u8; 16]) -> bool| {
            (0x20u8..0x7f).find(|code| same(&font[usize::from(*code)], cell)).map(char::from)
        };
        let exactly = |glyph: &[u8; 16], cell: &[u8; 16]| glyph == cell;
        printable(&cell, exactly)
            .or_else(|| printable(&inverse, exactly))
            .or_else(|| printable(&cell, under_cursor))
            .or_else(|| printable(&inverse, under_cursor))
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// Whether the cell shows the glyph with the hardware cursor over it: whole rows are lit, all others agree.
fn under_cursor(glyph: &[u8; 16], cell: &[u8; 16]) -> bool {
    let lit = cell.iter().filter(|bits| **bits == 0xff).count();
    (1..=4).contains(&lit) && glyph.iter().zip(cell).all(|(glyph, cell)| glyph == cell || *cell == 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A font in which every glyph is different from every other, and from its inverse.
    fn font() -> Font {
        let mut font = [[0; 16]; 256];
        for (code, glyph) in font.iter_mut().enumerate() {
            let bits = u8::try_from(code).expect("a byte");
            *glyph = [0, 0, bits, bits ^ 0x55, 0x10, bits >> 1, 0, 0, 0x3c, 0, 0, 0, 0, 0, 0, 0];
        }
        font[0x20] = [0; 16];
        font
    }

    fn painted(font: &Font, lines: &[&[u8]], ink: [u8; 3], paper: [u8; 3]) -> Picture {
        let (width, height) = (80 * CELL.0, lines.len() * CELL.1);
        let mut rgb = paper.repeat(width * height);
        for (row, line) in lines.iter().enumerate() {
            for (column, code) in line.iter().enumerate() {
                for (y, bits) in font[usize::from(*code)].iter().enumerate() {
                    for x in (0..8).filter(|x| bits << x & 0x80 != 0) {
                        let at = ((row * 16 + y) * width + column * 9 + x) * 3;
                        rgb[at..at + 3].copy_from_slice(&ink);
                    }
                }
            }
        }
        Picture { width, height, rgb }
    }

    #[test]
    fn painted_text_is_read_back() {
        let font = font();
        let picture = painted(&font, &[b"enigma> help", b"", b"Hello, World"], [170; 3], [0; 3]);
        assert_eq!(picture.text(&font).expect("a text screen"), ["enigma> help", "", "Hello, World"]);
        let mut odd = picture;
        odd.width -= 1;
        assert_eq!(odd.text(&font), None);
    }

    #[test]
    fn the_cursor_does_not_hide_a_character() {
        let font = font();
        let mut picture = painted(&font, &[b"abc"], [170; 3], [0, 0, 9]);
        for y in [13, 14] {
            for x in 9..17 {
                let at = (y * picture.width + x) * 3;
                picture.rgb[at..at + 3].copy_from_slice(&[170; 3]);
            }
        }
        assert_eq!(picture.text(&font).expect("a text screen"), ["abc"]);
        assert!(picture.still(&painted(&font, &[b"abc"], [170; 3], [0, 0, 9])), "a cursor may blink");
        assert!(!picture.still(&painted(&font, &[b"abX   Y"], [170; 3], [0, 0, 9])));
    }

    #[test]
    fn ppm_in_png_out() {
        let picture = Picture::from_ppm(b"P6\n2 1\n255\n\x01\x02\x03\x04\x05\x06").expect("a picture");
        assert_eq!((picture.width, picture.height, picture.rgb.as_slice()), (2, 1, &[1, 2, 3, 4, 5, 6][..]));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.png");
        picture.save(&path).expect("saved");
        let file = std::io::BufReader::new(std::fs::File::open(&path).expect("a file"));
        let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
        let mut pixels = vec![0; 6];
        reader.next_frame(&mut pixels).expect("a frame");
        assert_eq!(pixels, [1, 2, 3, 4, 5, 6]);
        assert!(Picture::from_ppm(b"P6\n2 1\n255\n\x01").is_err());
        assert!(Picture::from_ppm(b"P5\n2 1\n255\n\x01\x02\x03\x04\x05\x06").is_err());
    }
}
