//! Reads the boot archive: a `tar` of plain files (POSIX.1-1988, "ustar"), as the loader puts it
//! into memory. Its contents are not trusted: a file is returned only if all of it lies inside the
//! archive.

/// Bytes of a header; file contents are padded to a multiple of it.
const BLOCK: usize = 512;

/// Finds a file by its exact name, of at most 100 bytes. Where a header is invalid the search ends.
pub fn find_file<'a>(archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = archive;
    loop {
        let (header, data) = rest.split_first_chunk::<BLOCK>()?;
        if header.get(257..262)? != b"ustar" {
            return None;
        }
        let len = octal(header.get(124..136)?)?;
        // Names longer than 100 bytes use a second field, at offset 345; no file that is searched
        // for has one.
        let plain = matches!(header.get(156), Some(b'0' | 0)) && header.get(345) == Some(&0);
        let (found, padding) = header.get(..100)?.split_at_checked(name.len())?;
        if plain && found == name.as_bytes() && padding.first().is_none_or(|&end| end == 0) {
            return data.get(..len);
        }
        rest = data.get(len.checked_next_multiple_of(BLOCK)?..)?;
    }
}

/// Parses a field of octal digits: leading spaces are skipped, and a space, a zero byte or the end
/// of the field ends it. `None` if it is no number.
fn octal(field: &[u8]) -> Option<usize> {
    let mut value: usize = 0;
    let mut digits = 0;
    for &byte in field {
        match byte {
            b'0'..=b'7' => {
                value = value.checked_mul(8)? | usize::from(byte - b'0');
                digits += 1;
            }
            b' ' if digits == 0 => {}
            b' ' | 0 => break,
            _ => return None,
        }
    }
    (digits != 0).then_some(value)
}
