//! What a screen shows.

use alloc::vec::Vec;
use core::fmt;

/// A picture of a screen: red, green and blue of each pixel, row by row from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// The colour of a pixel; `None` outside.
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x >= self.width {
            return None;
        }
        let (pixels, _) = self.pixels.as_chunks();
        pixels.get(y * self.width + x).copied()
    }

    /// From a binary portable pixmap with a byte for each colour (netpbm's "ppm(5)").
    pub(super) fn parse(file: &[u8]) -> Option<Picture> {
        let mut rest = file;
        let mut word = || {
            let begin = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
            let len = rest.get(begin..)?.iter().position(u8::is_ascii_whitespace)?;
            let word = core::str::from_utf8(rest.get(begin..begin + len)?).ok()?;
            // One byte of white space ends a word.
            rest = rest.get(begin + len + 1..)?;
            Some(word)
        };
        let (kind, width, height, most) = (word()?, word()?, word()?, word()?);
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        let fits = kind == "P6" && most == "255" && rest.len() == usize::checked_mul(width, height)?.checked_mul(3)?;
        fits.then(|| Picture { width, height, pixels: rest.to_vec() })
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a picture of {} by {} pixels", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixmap_is_read_and_a_part_of_one_is_not() {
        let file = b"P6\n2 1\n255\n\x0a\x0b\x0c rgb";
        let picture = Picture::parse(&file[..17]).expect("a pixmap");
        assert_eq!((picture.width, picture.height), (2, 1));
        assert_eq!([picture.pixel(0, 0), picture.pixel(1, 0)], [Some([10, 11, 12]), Some(*b" rg")]);
        assert_eq!([picture.pixel(2, 0), picture.pixel(0, 1)], [None, None]);
        for end in 0..17 {
            assert_eq!(Picture::parse(&file[..end]), None, "{end} bytes of it");
        }
        assert_eq!(Picture::parse(file), None, "a byte more");
        assert_eq!(Picture::parse(b"P5\n1 1\n255\nabc"), None);
    }
}
