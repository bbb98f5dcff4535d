//! The 8x16 font of the text mode, in the order of code page 437.
//!
//! Letters and symbols were drawn for this project and are in `font.txt`, where they can be seen
//! and edited; lines, shades and blocks are computed, so that they meet at the edges of their
//! cells.

/// Pixel rows of a glyph, top first; the most significant bit is the leftmost pixel.
pub type Glyph = [u8; HEIGHT];

/// Pixel rows in a cell.
pub const HEIGHT: usize = 16;

/// The font. Glyph 0 is the box with a question mark, for characters that code page 437 lacks.
pub static FONT: [Glyph; 256] = build(include_bytes!("font.txt"));

/// Glyphs side by side on a sheet of `font.txt`.
const PER_SHEET: usize = 8;
/// Length of a line of `font.txt` in bytes: eight cells of eight pixels, seven spaces, line feed.
const LINE: usize = PER_SHEET * 9;
/// Length of a sheet of `font.txt` in bytes: a line of codes, then the pixel rows.
const SHEET: usize = LINE * (HEIGHT + 1);

const fn build(text: &[u8]) -> [Glyph; 256] {
    let mut font = [[0; HEIGHT]; 256];
    let mut sheet = 0;
    while sheet * SHEET < text.len() {
        let mut column = 0;
        while column < PER_SHEET {
            let cell = sheet * SHEET + column * 9;
            let code = hex(text[cell]) * 16 + hex(text[cell + 1]);
            let mut row = 0;
            while row < HEIGHT {
                font[code][row] = pixels(text, cell + LINE * (row + 1));
                row += 1;
            }
            column += 1;
        }
        sheet += 1;
    }
    let mut code = 0xb0;
    while code <= 0xdf {
        let mut row = 0;
        while row < HEIGHT {
            font[code][row] = drawn(code, row);
            row += 1;
        }
        code += 1;
    }
    font
}

const fn hex(digit: u8) -> usize {
    match digit {
        b'0'..=b'9' => (digit - b'0') as usize,
        b'A'..=b'F' => (digit - b'A') as usize + 10,
        _ => panic!("font.txt: a sheet begins with the codes of its glyphs"),
    }
}

const fn pixels(text: &[u8], start: usize) -> u8 {
    let mut bits = 0;
    let mut x = 0;
    while x < 8 {
        bits = bits << 1
            | match text[start + x] {
                b'#' => 1,
                b'.' => 0,
                _ => panic!("font.txt: pixels are '#' and '.'"),
            };
        x += 1;
    }
    bits
}

/// Weights (0 none, 1 single, 2 double) of the arms up, down, left, right of the glyphs 0xb3 to
/// 0xda.
const ARMS: [[u8; 4]; 40] = [
    [1, 1, 0, 0], // │
    [1, 1, 1, 0], // ┤
    [1, 1, 2, 0], // ╡
    [2, 2, 1, 0], // ╢
    [0, 2, 1, 0], // ╖
    [0, 1, 2, 0], // ╕
    [2, 2, 2, 0], // ╣
    [2, 2, 0, 0], // ║
    [0, 2, 2, 0], // ╗
    [2, 0, 2, 0], // ╝
    [2, 0, 1, 0], // ╜
    [1, 0, 2, 0], // ╛
    [0, 1, 1, 0], // ┐
    [1, 0, 0, 1], // └
    [1, 0, 1, 1], // ┴
    [0, 1, 1, 1], // ┬
    [1, 1, 0, 1], // ├
    [0, 0, 1, 1], // ─
    [1, 1, 1, 1], // ┼
    [1, 1, 0, 2], // ╞
    [2, 2, 0, 1], // ╟
    [2, 0, 0, 2], // ╚
    [0, 2, 0, 2], // ╔
    [2, 0, 2, 2], // ╩
    [0, 2, 2, 2], // ╦
    [2, 2, 0, 2], // ╠
    [0, 0, 2, 2], // ═
    [2, 2, 2, 2], // ╬
    [1, 0, 2, 2], // ╧
    [2, 0, 1, 1], // ╨
    [0, 1, 2, 2], // ╤
    [0, 2, 1, 1], // ╥
    [2, 0, 0, 1], // ╙
    [1, 0, 0, 2], // ╘
    [0, 1, 0, 2], // ╒
    [0, 2, 0, 1], // ╓
    [2, 2, 1, 1], // ╫
    [1, 1, 2, 2], // ╪
    [1, 0, 1, 0], // ┘
    [0, 1, 0, 1], // ┌
];

/// One pixel row of a shade, a line or a block (0xb0 to 0xdf).
const fn drawn(code: usize, row: usize) -> u8 {
    match code {
        0xb0 => 0x88 >> (row % 2 * 2),
        0xb1 => 0xaa >> (row % 2),
        0xb2 => !(0x88 >> (row % 2 * 2)),
        0xdb => 0xff,
        0xdc if row >= 8 => 0xff,
        0xdd => 0xf0,
        0xde => 0x0f,
        0xdf if row < 8 => 0xff,
        0xdc | 0xdf => 0,
        _ => lines(ARMS[code - 0xb3], row),
    }
}

/// Pixels 3 and 4 of a row: a single vertical line, or the gap of a double one.
const CORE: u8 = 0x18;
/// Pixels 1 to 6 of a row: a double vertical line with its gap.
const BAND: u8 = 0x7e;
/// The pixel row of a single horizontal line, or of the gap of a double one.
const MIDDLE: usize = 7;

/// One pixel row of a line glyph: every arm is painted as one broad bar from the edge through the
/// crossing; then the gaps of double arms are cut out of the bars.
const fn lines(arms: [u8; 4], row: usize) -> u8 {
    let [up, down, left, right] = arms;
    let double_v = up == 2 || down == 2;
    let double_h = left == 2 || right == 2;
    let bar = if double_v { BAND } else { CORE };
    let reach = if double_h { 1 } else { 0 };
    let mut bits = 0;
    if up != 0 && row <= MIDDLE + reach || down != 0 && row + reach >= MIDDLE {
        bits |= bar;
    }
    let right_of_bar = ((bar - 1) & !bar) | bar;
    let left_of_bar = !(right_of_bar & !bar);
    if row + reach >= MIDDLE && row <= MIDDLE + reach {
        bits |= (if left != 0 { left_of_bar } else { 0 }) | (if right != 0 { right_of_bar } else { 0 });
    }
    // A gap continues through the crossing if it meets another gap, or passes a side without an
    // arm.
    let through_v = double_h || up != 0 && down != 0 && !(left != 0 && right != 0);
    let through_h = double_v || left != 0 && right != 0 && !(up != 0 && down != 0);
    if double_v && (up != 0 && row < MIDDLE || down != 0 && row > MIDDLE || row == MIDDLE && through_v) {
        bits &= !CORE;
    }
    if double_h && row == MIDDLE {
        if left != 0 {
            bits &= 0x1f;
        }
        if right != 0 {
            bits &= 0xf8;
        }
        if through_h {
            bits &= !CORE;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_ascii_is_distinct_from_every_other_glyph() {
        for (a, glyph) in FONT.iter().enumerate().take(0x7f).skip(0x20) {
            for (b, other) in FONT.iter().enumerate() {
                // The no-break space is blank too.
                if a != b && !(a == 0x20 && b == 0xff) {
                    assert_ne!(glyph, other, "{a:#x} {b:#x}");
                }
            }
        }
    }

    #[test]
    fn only_spaces_are_blank_and_letters_leave_a_gap_on_the_right() {
        for (code, glyph) in FONT.iter().enumerate() {
            assert_eq!(glyph.iter().all(|&r| r == 0), code == 0x20 || code == 0xff, "{code:#x}");
        }
        for code in (b'a'..=b'z').chain(b'0'..=b'9') {
            assert!(FONT[code as usize].iter().all(|r| r & 1 == 0), "{}", code as char);
        }
    }

    #[test]
    fn lines_reach_the_edges_that_their_neighbours_start_from() {
        for (i, &[up, down, left, right]) in ARMS.iter().enumerate() {
            let g = FONT[0xb3 + i];
            let vertical = |w| [0, CORE, BAND & !CORE][usize::from(w)];
            assert_eq!(g[0], vertical(up), "{:#x}", 0xb3 + i);
            assert_eq!(g[15], vertical(down), "{:#x}", 0xb3 + i);
            for (arm, bit) in [(left, 0x80), (right, 0x01)] {
                let rows: Vec<usize> = (0..16).filter(|&r| g[r] & bit != 0).collect();
                let expected: &[usize] = [&[][..], &[7], &[6, 8]][usize::from(arm)];
                assert_eq!(rows, expected, "{:#x}", 0xb3 + i);
            }
        }
    }

    #[test]
    fn a_double_corner_has_two_rails() {
        let corner = FONT[0xc9];
        assert_eq!(corner[5..10], [0, 0x7f, 0x60, 0x67, 0x66]);
    }
}
