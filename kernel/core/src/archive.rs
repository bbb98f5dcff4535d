//! The boot archive: a `tar` of plain files (POSIX.1-1988, "ustar"), as the loader puts it into memory. Nothing in it is believed: what is
//! found lies in it, or is not found.

/// Bytes of a header, and what file contents are padded to.
const BLOCK: usize = 512;

/// Finds a file by its exact name, of 100 bytes at most. An archive that is damaged ends where the damage is.
pub fn find_file<'a>(archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = archive;
    loop {
        let (header, data) = rest.split_first_chunk::<BLOCK>()?;
        if header.get(257..262)? != b"ustar" {
            return None;
        }
        let len = octal(header.get(124..136)?)?;
        // Names of more than 100 bytes begin in a field of their own; nothing that is looked for has one.
        let plain = matches!(header.get(156), Some(b'0' | 0)) && header.get(345) == Some(&0);
        let (found, padding) = header.get(..100)?.split_at_checked(name.len())?;
        if plain && found == name.as_bytes() && padding.first().is_none_or(|&end| end == 0) {
            return data.get(..len);
        }
        rest = data.get(len.checked_next_multiple_of(BLOCK)?..)?;
    }
}

/// A number in octal digits, after spaces or none, up to a space, a zero byte or the end of its field.
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
