//! `print!` and `println!`: lines for the task's log ring in the kernel, which the console shows under the task's name.

use core::fmt::{self, Write};

/// Most bytes that one system call takes.
const LINE: usize = 1024;

/// Formats to the task's log ring. On the host: to standard output.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::print::print(::core::format_args!($($arg)*)) };
}

/// The same with a line feed. What fits into 1,024 bytes is one system call, so lines of several threads do not mix.
#[macro_export]
macro_rules! println {
    () => { $crate::print::print(::core::format_args!("\n")) };
    ($($arg:tt)*) => { $crate::print::print(::core::format_args!("{}\n", ::core::format_args!($($arg)*))) };
}

/// What the macros call.
#[doc(hidden)]
pub fn print(args: fmt::Arguments<'_>) {
    if let Some(text) = args.as_str() {
        return chunks(text, log);
    }
    let mut buffer = Buffer::<LINE, _>::new(log);
    // An error is that of a `Display` that failed: what came before it is printed.
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
        // The ring always has room, and where a log line goes astray there is nobody to tell.
        let _ = crate::syscall::log_write(text);
    }
    #[cfg(not(target_os = "none"))]
    std::print!("{}", alloc::string::String::from_utf8_lossy(text));
}

/// Gathers text, and hands it on when full or flushed.
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

    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "for the panic handler"))]
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
    use alloc::string::String;
    use alloc::vec::Vec;

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
    fn the_macros_format() {
        crate::print!("{}", 1);
        crate::println!();
        crate::println!("a {} {b}", 1, b = 2);
    }
}
