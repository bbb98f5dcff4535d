//! "Select graphic rendition" (ECMA-48, section 8.3.117; colours above 37 as in xterm's control
//! sequences).

use crate::color::{Pen, from_256, from_ansi, nearest};

/// Changes `pen` by the sequence's parameters; `plain` is the pen after a reset.
pub(crate) fn apply(pen: &mut Pen, plain: Pen, params: &vte::Params) {
    let mut params = params.iter();
    while let Some(group) = params.next() {
        let Some((&code, rest)) = group.split_first() else {
            continue;
        };
        match code {
            0 => *pen = plain,
            1 => pen.bold = true,
            2 | 21 | 22 => pen.bold = false,
            7 => pen.inverse = true,
            27 => pen.inverse = false,
            30..=37 => pen.fg = from_ansi((code - 30) as u8),
            39 => pen.fg = plain.fg,
            40..=47 => pen.bg = from_ansi((code - 40) as u8),
            49 => pen.bg = plain.bg,
            90..=97 => pen.fg = from_ansi((code - 90 + 8) as u8),
            100..=107 => pen.bg = from_ansi((code - 100 + 8) as u8),
            38 | 48 => {
                let color = if rest.is_empty() {
                    let mut next = || params.next().and_then(|g| g.first().copied());
                    extended(&mut next)
                } else {
                    // 38:2:SPACE:r:g:b names a colour space, which 38:2:r:g:b leaves out.
                    let skip = usize::from(rest.first() == Some(&2) && rest.len() > 4);
                    let mut parts = rest.iter().take(1).chain(rest.iter().skip(1 + skip)).copied();
                    extended(&mut || parts.next())
                };
                match (code, color) {
                    (38, Some(c)) => pen.fg = c,
                    (_, Some(c)) => pen.bg = c,
                    (_, None) => {}
                }
            }
            _ => {}
        }
    }
}

/// Parses the rest of an extended colour, `5;n` or `2;r;g;b`, to one of the 16 colours.
fn extended(next: &mut dyn FnMut() -> Option<u16>) -> Option<u8> {
    let channel = |v: u16| v.min(255) as u8;
    match next()? {
        5 => next().map(|n| from_256(channel(n))),
        2 => Some(nearest([channel(next()?), channel(next()?), channel(next()?)])),
        _ => None,
    }
}
