//! Unicode to code page 437 and back (the mapping of the Unicode Consortium's `CP437.TXT`; for 0x01
//! to 0x1f the usual symbols).

/// The glyph for characters that the code page lacks.
pub const REPLACEMENT: u8 = 0;

const LOW: [char; 32] = [
    '\u{fffd}', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼', '►', '◄', '↕', '‼', '¶',
    '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
];

const HIGH: [char; 129] = [
    '⌂', 'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö', 'ò',
    'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼',
    '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├',
    '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌',
    '█', '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±',
    '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

/// The character that the glyph `code` shows.
pub const fn to_char(code: u8) -> char {
    match code {
        0..0x20 => LOW[code as usize],
        0x20..0x7f => code as char,
        _ => HIGH[code as usize - 0x7f],
    }
}

/// The glyph for a character: the character's own, that of a similar character, or [`REPLACEMENT`].
pub fn from_char(c: char) -> u8 {
    if matches!(c, ' '..='~') {
        return c as u8;
    }
    if let Some(i) = HIGH.iter().position(|&h| h == c) {
        return 0x7f + i as u8;
    }
    if let Some(i) = LOW.iter().skip(1).position(|&l| l == c) {
        return 1 + i as u8;
    }
    relation(c)
}

fn relation(c: char) -> u8 {
    match c {
        '‘' | '’' | '‛' | '′' => b'\'',
        '“' | '”' | '„' | '″' => b'"',
        '‐'..='―' | '−' => b'-',
        '‹' => b'<',
        '›' => b'>',
        '×' => b'x',
        'β' => 0xe1,
        '\u{3bc}' => 0xe6,
        '\u{2126}' => 0xea,
        '∈' | '€' => 0xee,
        '✓' | '✔' => 0xfb,
        '●' => 0x07,
        '▶' => 0x10,
        '◀' => 0x11,
        '╭' | '┏' => 0xda,
        '╮' | '┓' => 0xbf,
        '╰' | '┗' => 0xc0,
        '╯' | '┛' => 0xd9,
        '━' | '┄' | '┈' => 0xc4,
        '┃' | '┆' | '┊' => 0xb3,
        '\u{2000}'..='\u{200a}' | '\u{202f}' => b' ',
        _ => REPLACEMENT,
    }
}

/// Whether a character takes no cell of its own: combining marks, joiners, direction marks,
/// variation selectors.
pub fn is_zero_width(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_survives_the_round_trip() {
        for code in 0..=255 {
            assert_eq!(from_char(to_char(code)), code, "{code:#x}");
        }
    }

    #[test]
    fn known_places() {
        for (c, code) in
            [('A', 0x41), ('é', 0x82), ('ß', 0xe1), ('─', 0xc4), ('█', 0xdb), ('☺', 1), ('⌂', 0x7f), ('■', 0xfe)]
        {
            assert_eq!(from_char(c), code, "{c}");
        }
    }

    #[test]
    fn what_the_code_page_lacks_is_a_box() {
        for c in ['漢', 'Ж', '\u{1f600}', '\u{fffd}', '\u{0}', '\u{9b}'] {
            assert_eq!(from_char(c), REPLACEMENT);
        }
    }
}
