//! `print!` and `println!` write lines to the task's log ring in the kernel, which the console
//! shows with the task's name. They never wait: what the kernel refuses of a flood is lost, and the
//! number of lost bytes is logged as soon as the task may write again.

use abi::Status;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of one system call.
const LINE: usize = 1024;

/// Prints formatted text to the task's log ring; on the host, to standard output.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::print::print(::core::format_args!($($arg)*)) };
}

/// Prints formatted text and a line end to the task's log ring; on the host, to standard output. Up
/// to 1,024 bytes are one system call, so lines of several threads do not mix.
#[macro_export]
macro_rules! println {
    () => { $crate::print::print(::core::format_args!("\n")) };
    ($($arg:tt)*) => { $crate::print::print(::core::format_args!("{}\n", ::core::format_args!($($arg)*))) };
}

/// Whether `c` is visible, takes one column on the screen and on every terminal, joins with no
/// other character, and controls nothing: ASCII, and letters and signs of the Latin, Greek and
/// Cyrillic scripts. All others are shown as a question mark: control characters, those that change
/// the direction of writing or take no column (Unicode Standard Annex 9, section 2; general
/// categories Mn, Me and Cf), and those that take two columns (Annex 11, wide and fullwidth), by
/// which a line could be made to look like another task's. U+FFFD stands for bytes that are not
/// UTF-8.
#[must_use]
pub fn is_plain(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{17f}' | 'ƒ' | '\u{384}'..='\u{38a}' | 'Ό' | '\u{38e}'..='\u{3a1}'
        | '\u{3a3}'..='\u{3ff}' | '\u{400}'..='\u{482}' | '\u{48a}'..='\u{4ff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{203c}'
        | 'ⁿ' | '₧' | '€' | '\u{2190}'..='\u{2199}' | '↨' | '⌂' | '\u{2200}'..='\u{22ff}' | '⌐' | '⌠' | '⌡' | '\u{2500}'..='\u{25fc}' | '☺'..='☼' | '♀' | '♂'
        | '♠'..='♯' | '\u{fffd}')
}

/// The most columns of a row of tagged text: one less than the screen has, because terminals differ
/// in how they treat the last column.
pub const ROW: usize = 79;

/// Appends `line` (without its line feed) as text printed by the task `name`: in rows of at most
/// [`ROW`] columns, each of which begins with the name in brackets, so that no row can be mistaken
/// for another task's, however long the line is. A line begins with `[name] ` and continues with
/// `[name]> `; `continued` means that its first part was printed before.
///
/// A tab becomes four blanks, a carriage return at the end is left out, and characters that are not
/// [`is_plain`] become question marks. Each character beyond ASCII is counted as two columns, as
/// some terminals show a few of them in two (Unicode Standard Annex 11, ambiguous).
pub fn push_tagged(name: &str, line: &str, continued: bool, out: &mut alloc::string::String) {
    let mut left = 0;
    let mut mark = if continued { "]> " } else { "] " };
    let mut open = false;
    let shown = line.strip_suffix('\r').unwrap_or(line).chars().flat_map(|c| match c {
        '\t' => core::iter::repeat_n(' ', 4),
        c if is_plain(c) => core::iter::repeat_n(c, 1),
        _ => core::iter::repeat_n('?', 1),
    });
    let mut put = |c: Option<char>| {
        let columns = c.map_or(0, |c| if c.is_ascii() { 1 } else { 2 });
        if !open || columns > left {
            if open {
                out.push('\n');
            }
            ["[", name, mark].into_iter().for_each(|part| out.push_str(part));
            (open, left) = (true, ROW.saturating_sub(1 + name.len() + mark.len()));
            mark = "]> ";
        }
        left = left.saturating_sub(columns);
        out.extend(c);
    };
    put(None);
    shown.for_each(|c| put(Some(c)));
    out.push('\n');
}

/// Called by the macros.
#[doc(hidden)]
pub fn print(args: fmt::Arguments<'_>) {
    if let Some(text) = args.as_str() {
        return chunks(text, log);
    }
    let mut buffer = Buffer::<LINE, _>::new(log);
    // An error means that a `Display` failed: the text before it is printed.
    let _ = buffer.write_fmt(args);
    buffer.flush();
}

fn chunks(text: &str, mut sink: impl FnMut(&[u8])) {
    for chunk in text.as_bytes().chunks(LINE) {
        sink(chunk);
    }
}

fn log(text: &[u8]) {
    #[cfg(target_os = "none")]
    {
        static LOST: Lost = Lost(AtomicUsize::new(0));
        LOST.write(text, crate::syscall::log_write);
    }
    #[cfg(not(target_os = "none"))]
    std::print!("{}", alloc::string::String::from_utf8_lossy(text));
}

/// The number of refused bytes that has not been logged yet.
#[cfg_attr(not(any(target_os = "none", test)), allow(dead_code, reason = "standard output refuses nothing"))]
struct Lost(AtomicUsize);

#[cfg_attr(not(any(target_os = "none", test)), allow(dead_code, reason = "standard output refuses nothing"))]
impl Lost {
    /// Writes text by `sink`, and before it a line about lost bytes, if there are any.
    fn write(&self, text: &[u8], sink: impl Fn(&[u8]) -> Result<usize, Status>) {
        // One thread takes the number, and logs it or puts it back.
        let mut lost = self.0.swap(0, Ordering::Relaxed);
        if lost != 0 {
            let mut note = Cut::<48>::new();
            let _ = writeln!(note, "[{lost} bytes of log lost]");
            if sink(note.as_str().as_bytes()).is_ok() {
                lost = 0;
            }
        }
        if sink(text) == Err(Status::QuotaLog) {
            lost += text.len();
        }
        if lost != 0 {
            self.0.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

/// A buffer of text, which is passed to `sink` when it is full or flushed.
struct Buffer<const SIZE: usize, F: FnMut(&[u8])> {
    bytes: [u8; SIZE],
    len: usize,
    sink: F,
}

impl<const SIZE: usize, F: FnMut(&[u8])> Buffer<SIZE, F> {
    fn new(sink: F) -> Self {
        Buffer { bytes: [0; SIZE], len: 0, sink }
    }

    fn flush(&mut self) {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        if !text.is_empty() {
            (self.sink)(text);
        }
        self.len = 0;
    }
}

impl<const SIZE: usize, F: FnMut(&[u8])> Write for Buffer<SIZE, F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let room = self.bytes.get_mut(self.len..).unwrap_or_default();
            if room.is_empty() {
                self.flush();
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            for (to, from) in room.iter_mut().zip(now) {
                *to = *from;
            }
            self.len += now.len();
            rest = later;
        }
        Ok(())
    }
}

/// Text in a fixed buffer: what does not fit is dropped, at a character boundary.
pub(crate) struct Cut<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
    full: bool,
}

impl<const SIZE: usize> Cut<SIZE> {
    pub(crate) const fn new() -> Self {
        Cut { bytes: [0; SIZE], len: 0, full: false }
    }

    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "for the panic handler and refused text"))]
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const SIZE: usize> Write for Cut<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.full {
            return Ok(());
        }
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = text.floor_char_boundary(room.len());
        self.full = fits < text.len();
        for (to, from) in room.iter_mut().zip(text.as_bytes().iter().take(fits)) {
            *to = *from;
        }
        self.len += fits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn printed<const SIZE: usize>(args: fmt::Arguments<'_>) -> Vec<String> {
        let mut out = Vec::new();
        let mut buffer = Buffer::<SIZE, _>::new(|text| out.push(String::from_utf8(text.to_vec()).expect("text")));
        buffer.write_fmt(args).expect("formats");
        buffer.flush();
        out
    }

    #[test]
    fn a_line_of_many_parts_is_one_piece() {
        assert_eq!(printed::<64>(format_args!("{} + {:#x} = {}\n", 1, 2, "three")), ["1 + 0x2 = three\n"]);
        assert!(printed::<64>(format_args!("")).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_into_pieces_and_lost_nowhere() {
        assert_eq!(printed::<4>(format_args!("abc{}{}", "defgh", "ij")), ["abcd", "efgh", "ij"]);
        assert_eq!(printed::<4>(format_args!("{}{}", "ab", "cd")), ["abcd"]);
    }

    #[test]
    fn long_literals_go_in_pieces() {
        let text = "x".repeat(2 * LINE + 1);
        let mut sizes = Vec::new();
        chunks(&text, |piece| sizes.push(piece.len()));
        assert_eq!(sizes, [LINE, LINE, 1]);
    }

    #[test]
    fn a_cut_ends_at_a_character() {
        let mut cut = Cut::<6>::new();
        assert!(["ab", "cdä", "z"].iter().all(|part| cut.write_str(part).is_ok()));
        assert_eq!(cut.as_str(), "abcdä");
        let mut cut = Cut::<5>::new();
        assert!(["ab", "cdä", "z"].iter().all(|part| cut.write_str(part).is_ok()));
        assert_eq!(cut.as_str(), "abcd", "half a character does not fit, and nothing comes after the cut");
    }

    #[test]
    fn what_is_refused_is_counted_and_told_once() {
        let lost = Lost(AtomicUsize::new(0));
        let heard = core::cell::RefCell::new(String::new());
        let open = core::cell::Cell::new(true);
        let sink = |text: &[u8]| {
            if !open.get() {
                return Err(Status::QuotaLog);
            }
            heard.borrow_mut().push_str(core::str::from_utf8(text).expect("text"));
            Ok(text.len())
        };
        lost.write(b"first\n", sink);
        open.set(false);
        lost.write(b"123\n", sink);
        lost.write(b"45678\n", sink);
        open.set(true);
        lost.write(b"second\n", sink);
        lost.write(b"third\n", sink);
        assert_eq!(*heard.borrow(), "first\n[10 bytes of log lost]\nsecond\nthird\n");
        // Text that is refused for another reason is no flood.
        lost.write(b"gone\n", |_| Err(Status::BadAddress));
        lost.write(b"fourth\n", sink);
        assert!(heard.borrow().ends_with("third\nfourth\n"));
    }

    #[test]
    fn what_is_plain_takes_one_column_and_joins_with_nothing() {
        use unicode_width::UnicodeWidthChar;
        let mut count = 0;
        for c in ('\0'..=char::MAX).filter(|&c| is_plain(c)) {
            assert_eq!(c.width(), Some(1), "{c:?} U+{:x}", c as u32);
            assert!(c.width_cjk().is_some_and(|columns| columns <= 2), "{c:?}");
            assert!(!c.is_control() && (c == ' ' || !c.is_whitespace()), "{c:?}");
            // Pairs, in case one joins with the one before.
            assert_eq!(unicode_width::UnicodeWidthStr::width(String::from_iter(['a', c, 'b']).as_str()), 3, "{c:?}");
            count += 1;
        }
        assert!(count > 1000, "{count}");
        let others = [
            '\x07',
            '\x1b',
            '\u{7f}',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{301}',
            '\u{61c}',
            '\u{115f}',
            '\u{200b}',
            '\u{200d}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{3000}',
            '\u{3164}',
            '一',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ff3b}',
            '\u{e0041}',
            '\u{1f600}',
            '\u{e000}',
        ];
        assert!(others.iter().all(|&c| !is_plain(c)));
        // All that the screen's font has is plain, but for the blank that is none.
        assert!("ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼⌂".chars().all(is_plain));
    }

    fn tagged(name: &str, line: &str, continued: bool) -> String {
        let mut out = String::new();
        push_tagged(name, line, continued, &mut out);
        out
    }

    #[test]
    fn rows_name_their_task() {
        assert_eq!(tagged("vga", "hello", false), "[vga] hello\n");
        assert_eq!(tagged("vga", "", false), "[vga] \n");
        assert_eq!(tagged("vga", "rest", true), "[vga]> rest\n");
        assert_eq!(
            tagged("evil", "a\r[b] \x1b[2J\u{202e}\u{301}e\u{200b}\tx\r", false),
            "[evil] a?[b] ?[2J??e?    x\n"
        );
        let long = format!("{}[supervisor] vga crashed", "x".repeat(72));
        assert_eq!(
            tagged("evil", &long, false),
            format!("[evil] {}\n[evil]> [supervisor] vga crashed\n", "x".repeat(72))
        );
        assert_eq!(
            tagged("evil", &"ä".repeat(40), false),
            format!("[evil] {}\n[evil]> {}\n", "ä".repeat(36), "ä".repeat(4))
        );
    }

    proptest! {
        /// No text begins a row with another name, and none is lost.
        #[test]
        fn no_line_passes_for_another_tasks(
            line in "([ -~]|\\[supervisor\\] |\u{301}|\u{200b}|一|ä|\t|\r|\u{1f600}){0,300}", name in "[a-z][a-z0-9-]{0,14}",
            continued in any::<bool>()
        ) {
            let out = tagged(&name, &line, continued);
            prop_assert!(out.ends_with('\n'));
            let (mut whole, mut first) = (String::new(), !continued);
            for row in out.lines() {
                prop_assert!(unicode_width::UnicodeWidthStr::width_cjk(row) <= ROW, "{:?}", row);
                let mark = if core::mem::take(&mut first) { format!("[{name}] ") } else { format!("[{name}]> ") };
                prop_assert!(row.starts_with(&mark), "{:?}", row);
                whole.push_str(&row[mark.len()..]);
            }
            let line = line.strip_suffix('\r').unwrap_or(&line).replace('\t', "    ");
            prop_assert_eq!(whole, line.chars().map(|c| if is_plain(c) { c } else { '?' }).collect::<String>());
        }
    }

    #[test]
    fn the_macros_format() {
        crate::print!("{}", 1);
        crate::println!();
        crate::println!("a {} {b}", 1, b = 2);
    }
}
