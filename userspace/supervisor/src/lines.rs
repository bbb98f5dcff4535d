//! Source lines for addresses, inlined functions included, from the table `lines/NAME` of the boot
//! archive. xtask makes the table of a program's debug information, which is far too large for the
//! boot archive.
//!
//! Layout, all numbers little-endian:
//!
//! | part | bytes | |
//! |---|---|---|
//! | header | [`HEADER`] | [`MAGIC`]; u64 the first address; u32 each: blocks, sites, names, bytes of ranges, bytes of text |
//! | blocks | [`BLOCK`] each | u32 first address, less that of the header; u32 offset of its ranges. Sorted; each has [`RANGES`] ranges, the last one fewer |
//! | sites | [`SITE`] each | u16 name of the function; u16 name of the file; u24 line; u24 the site in which this one is inlined, 0 for none. Numbered from 1 |
//! | names | 4 each | u32 offset of the name in the text; it ends where the next one begins |
//! | ranges | 2 to 8 each | length in bytes; site (0: unknown), less that of the range before it in the block, as zigzag. Both LEB128 (DWARF 5, section 7.6) |
//! | text | | UTF-8 |
//!
//! A site is inlined in one with a smaller number, so that every chain ends.

/// The first bytes of the table.
pub const MAGIC: [u8; 4] = *b"LIN1";
/// Length of the header, in bytes.
pub const HEADER: usize = 32;
/// Length of a block's entry, in bytes.
pub const BLOCK: usize = 8;
/// Length of a site, in bytes.
pub const SITE: usize = 10;
/// Number of ranges in a block.
pub const RANGES: usize = 64;
/// Most functions inlined in each other for one address: a damaged table gives no longer chain.
pub const DEPTH: usize = 32;

/// A function, with the line in it for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// Demangled name of the function.
    pub function: &'a str,
    /// The file, without the part of the path that differs between machines; empty if unknown.
    pub file: &'a str,
    /// The line in the file, 0 if unknown.
    pub line: u32,
}

/// The lines of one address, the innermost function first: each but the last is inlined in the
/// next.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    parts: Option<Parts<'a>>,
    site: u32,
    left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    base: u64,
    blocks: &'a [u8],
    sites: &'a [u8],
    names: &'a [u8],
    ranges: &'a [u8],
    text: &'a [u8],
}

/// The lines of an address; none if the table is damaged or the address is not in the program's
/// code.
pub fn find(table: &[u8], address: u64) -> Lines<'_> {
    let parts = split(table);
    let site = parts.and_then(|parts| parts.site_of(address)).unwrap_or(0);
    Lines { parts, site, left: DEPTH }
}

fn split(table: &[u8]) -> Option<Parts<'_>> {
    let rest = table.strip_prefix(&MAGIC)?;
    let base = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    let count = |index: usize| number(rest, 8 + 4 * index, 4);
    let [blocks, sites, names, ranges, text] = [count(0)?, count(1)?, count(2)?, count(3)?, count(4)?];
    let mut rest = table.get(HEADER..)?;
    let mut take = |count: u32, size: usize| {
        let (part, after) = rest.split_at_checked((count as usize).checked_mul(size)?)?;
        rest = after;
        Some(part)
    };
    Some(Parts {
        base,
        blocks: take(blocks, BLOCK)?,
        sites: take(sites, SITE)?,
        names: take(names, 4)?,
        ranges: take(ranges, 1)?,
        text: take(text, 1)?,
    })
}

/// The unsigned number of `size` bytes, at most four, at the offset `at`.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

/// Takes a LEB128 number from the beginning of `bytes`.
fn leb128(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl<'a> Parts<'a> {
    /// The site of the range that contains an address.
    fn site_of(&self, address: u64) -> Option<u32> {
        let address = u32::try_from(address.checked_sub(self.base)?).ok()?;
        let start = |block: usize| number(self.blocks, block * BLOCK, 4);
        // The last block that begins at or before the address.
        let (mut low, mut high) = (0, self.blocks.len() / BLOCK);
        while low < high {
            let middle = low + (high - low) / 2;
            if start(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        let block = low.checked_sub(1)?;
        let mut ranges = self.ranges.get(number(self.blocks, block * BLOCK + 4, 4)? as usize..)?;
        let (mut at, mut site) = (start(block)?, 0_u32);
        for _ in 0..RANGES {
            let end = at.checked_add(leb128(&mut ranges)?)?;
            let step = leb128(&mut ranges)?;
            site = site.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg());
            if address < end {
                return Some(site);
            }
            at = end;
        }
        None
    }

    fn name(&self, index: u32) -> Option<&'a str> {
        let at = index as usize * 4;
        let start = number(self.names, at, 4)? as usize;
        let end = number(self.names, at + 4, 4).map_or(self.text.len(), |next| next as usize);
        core::str::from_utf8(self.text.get(start..end)?).ok()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        self.left = self.left.checked_sub(1)?;
        let parts = self.parts?;
        let at = (self.site.checked_sub(1)? as usize).checked_mul(SITE)?;
        let part = |offset: usize, size: usize| number(parts.sites, at + offset, size);
        let line = Line { function: parts.name(part(0, 2)?)?, file: parts.name(part(2, 2)?)?, line: part(4, 3)? };
        self.site = part(7, 3)?.min(self.site - 1);
        Some(line)
    }
}
