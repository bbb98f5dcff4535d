//! Names for addresses, from the text table `sym/NAME` of the boot archive: one function a line,
//! `HEXADDR HEXSIZE name`, sorted by address.

/// A function, and the offset of an address in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// Demangled name.
    pub name: &'a str,
    /// Bytes from the function's start.
    pub offset: u64,
}

/// The function that contains `address`, by binary search over the lines of `table`. Lines that
/// cannot be parsed are ignored.
pub fn find(table: &[u8], address: u64) -> Option<Place<'_>> {
    // Invariant: lines that start before `low` are at or below the address, lines that start at or
    // after `high` are above it.
    let (mut low, mut high) = (0, table.len());
    let mut best = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let start = line_start(table, middle).max(low);
        let end = line_end(table, start);
        match parse(table.get(start..end)?) {
            Some((from, size, name)) if from <= address => {
                best = Some((from, size, name));
                low = end + 1;
            }
            Some(_) => high = start,
            // A line that cannot be parsed does not divide the range: it is skipped towards the
            // end.
            None => low = end + 1,
        }
    }
    let (from, size, name) = best?;
    let offset = address - from;
    // Hand-written entry code often has no size: it extends to the next function.
    (size == 0 || offset < size).then_some(Place { name, offset })
}

fn line_start(table: &[u8], at: usize) -> usize {
    table.get(..at).and_then(|before| before.iter().rposition(|&b| b == b'\n')).map_or(0, |newline| newline + 1)
}

fn line_end(table: &[u8], start: usize) -> usize {
    table.get(start..).and_then(|rest| rest.iter().position(|&b| b == b'\n')).map_or(table.len(), |n| start + n)
}

fn parse(line: &[u8]) -> Option<(u64, u64, &str)> {
    let line = core::str::from_utf8(line).ok()?;
    let (address, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    Some((hex(address)?, hex(size)?, name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    const TABLE: &[u8] =
        b"201000 10 _start\n201010 0 rt::entry\n201100 40 fault::kinds::divide\n201140 8 <A as B<C>>::run\n";

    fn name(address: u64) -> Option<(&'static str, u64)> {
        find(TABLE, address).map(|place| (place.name, place.offset))
    }

    #[test]
    fn finds_the_function_that_holds_the_address() {
        assert_eq!(name(0x201000), Some(("_start", 0)));
        assert_eq!(name(0x20100f), Some(("_start", 15)));
        assert_eq!(name(0x201100), Some(("fault::kinds::divide", 0)));
        assert_eq!(name(0x201139), Some(("fault::kinds::divide", 0x39)));
        assert_eq!(name(0x201147), Some(("<A as B<C>>::run", 7)));
    }

    #[test]
    fn addresses_outside_every_function_have_no_name() {
        assert_eq!(name(0x200fff), None);
        assert_eq!(name(0x201148), None);
        assert_eq!(name(u64::MAX), None);
        assert_eq!(find(b"", 1), None);
    }

    #[test]
    fn a_function_without_a_size_reaches_to_the_next() {
        assert_eq!(name(0x2010ff), Some(("rt::entry", 0xef)));
    }

    #[test]
    fn unreadable_lines_do_no_harm() {
        let table = b"garbage\n\n1000 10 one\n\xff\xfe\n2000 10 two\nzz 1 x";
        for address in [0, 0x1000, 0x100f, 0x2000, 0x200f, u64::MAX] {
            let found = find(table, address);
            assert!(found.is_none_or(|place| place.name == "one" || place.name == "two"));
        }
        assert_eq!(find(table, 0x2004).map(|place| place.name), Some("two"));
    }

    #[test]
    fn agrees_with_a_linear_search_on_a_large_table() {
        let mut table = String::new();
        for i in 0..1000_u64 {
            table += &format!("{:x} {:x} function_{i}\n", 0x10000 + i * 0x40, 0x30);
        }
        for address in (0xff00..0x10000 + 1000 * 0x40 + 0x100).step_by(7) {
            let expected = (address >= 0x10000).then(|| (address - 0x10000) / 0x40).filter(|&i| i < 1000);
            let expected = expected.filter(|i| address - 0x10000 - i * 0x40 < 0x30).map(|i| format!("function_{i}"));
            assert_eq!(find(table.as_bytes(), address).map(|place| place.name.into()), expected, "{address:x}");
        }
    }
}
