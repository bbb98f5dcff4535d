//! The table `lines/NAME` of the boot archive: which source line each address of a program belongs to, inlined functions included.
//! `supervisor::lines` says how it looks, and reads it.

use crate::{archive, paths};
use anyhow::{Context, Result, anyhow};
use goblin::elf::Elf;
use goblin::elf::program_header::{PF_X, PT_LOAD};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use supervisor::lines::{MAGIC, RANGES};

/// What becomes of the names of files: directories of this machine are left out.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Directories whose own names are of no interest.
    pub dirs: Vec<String>,
}

/// One function at one line. The innermost comes first.
type Stack = Vec<(String, String, u32)>;

/// The table of a program, from a file beside it where that is newer; empty where the program has no debug information.
///
/// # Errors
/// When the program cannot be read.
pub fn table(program: &Path, elf: &Elf, roots: &Roots) -> Result<Vec<u8>> {
    // Of just this program, by this version of what is left out and how it is put down.
    let data = program.metadata().with_context(|| format!("there is no {}", program.display()))?;
    let stamp = format!("lines 1 {} {:?} {roots:?}\n", data.len(), data.modified().ok());
    let kept = program.with_extension("lines");
    if let Some(table) = std::fs::read(&kept).ok().and_then(|kept| Some(kept.strip_prefix(stamp.as_bytes())?.to_vec()))
    {
        return Ok(table);
    }
    let loader = load(program)?;
    let code = elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0);
    let mut all = Vec::new();
    for header in code {
        all.extend(ranges(&loader, header.p_vaddr..header.p_vaddr + header.p_memsz, roots)?);
    }
    all.sort_by_key(|range: &(u64, u64, Stack)| range.0);
    let table = encode(&all).context("its code has too many lines for a table")?;
    paths::write_whole(&kept, &[stamp.as_bytes(), &table].concat())?;
    Ok(table)
}

fn load(program: &Path) -> Result<addr2line::Loader> {
    addr2line::Loader::new(program)
        .map_err(|error| anyhow!("cannot read the debug information of {}: {error}", program.display()))
}

/// Code in ranges of one line each, by address: start, length, and what is there.
fn ranges(loader: &addr2line::Loader, code: Range<u64>, roots: &Roots) -> Result<Vec<(u64, u64, Stack)>> {
    let say = |error: &dyn std::fmt::Display| anyhow!("cannot read the debug information: {error}");
    let mut all: Vec<(u64, u64, Stack)> = Vec::new();
    let mut names = HashMap::new();
    let mut at = code.start;
    for (start, len, _) in loader.find_location_range(code.start, code.end).map_err(|error| say(&error))? {
        // Ranges of different units can overlap where the linker joined what was the same.
        let (start, stop) = (start.max(at), (start + len).min(code.end));
        if start >= stop {
            continue;
        }
        at = stop;
        let stack = stack(loader, start, roots, &mut names).map_err(|error| say(&error))?;
        match all.last_mut() {
            Some((first, len, last)) if *last == stack && *first + *len == start => *len += stop - start,
            _ => all.push((start, stop - start, stack)),
        }
    }
    Ok(all)
}

/// The functions at an address. Functions of `core` and `alloc` that are inlined into others are left out: what counts is where they are used.
fn stack(
    loader: &addr2line::Loader,
    address: u64,
    roots: &Roots,
    names: &mut HashMap<String, String>,
) -> Result<Stack, Box<dyn std::error::Error>> {
    let (mut stack, mut inner) = (Stack::new(), None);
    let mut frames = loader.find_frames(address)?;
    while let Some(frame) = frames.next()? {
        let (file, line) = frame.location.map_or(("", 0), |place| (place.file.unwrap_or(""), place.line.unwrap_or(0)));
        let Some(function) = frame.function.as_ref().and_then(|function| function.raw_name().ok()) else { continue };
        let function = names.entry(function.to_string()).or_insert_with_key(|name| archive::readable(name)).clone();
        let entry = (function, roots.short(file), line);
        match is_library(file) {
            true => inner = inner.or(Some(entry)),
            false => stack.push(entry),
        }
    }
    // One that is not inlined in anybody's.
    if stack.is_empty() {
        stack.extend(inner);
    }
    Ok(stack)
}

/// Whether a file is of the libraries that come with the compiler.
fn is_library(file: &str) -> bool {
    file.contains("/rustlib/src/rust/library/") || file.starts_with("/rustc/")
}

impl Roots {
    /// The name of a file without what differs between machines: relative to the checkout or to the directory that a crate from outside is in, or with the
    /// crate of the registry or the compiler's library first.
    #[must_use]
    pub fn short(&self, file: &str) -> String {
        for dir in &self.dirs {
            if let Some(rest) = file.strip_prefix(dir.as_str()).and_then(|rest| rest.strip_prefix('/')) {
                return rest.to_owned();
            }
        }
        for (mark, skipped) in [("/library/", 0), ("/registry/src/", 1), ("/git/checkouts/", 2)] {
            if let Some((_, rest)) = file.split_once(mark) {
                return rest.splitn(skipped + 1, '/').last().unwrap_or(rest).to_owned();
            }
        }
        let mut parts: Vec<_> = file.rsplit('/').take(3).collect();
        parts.reverse();
        parts.join("/")
    }
}

/// Puts ranges, which are sorted and do not overlap, into a table. `None` where there is more than its numbers can count.
fn encode(ranges: &[(u64, u64, Stack)]) -> Option<Vec<u8>> {
    let Some(&(base, ..)) = ranges.first() else { return Some(Vec::new()) };
    let (mut names, mut sites) = (Numbered::default(), Numbered::default());
    let (mut blocks, mut stream) = (Vec::new(), Vec::new());
    let (mut at, mut before, mut count) = (base, 0_u32, 0);
    let mut add = |start: u64, length: u64, site: u32| {
        if count % RANGES == 0 {
            blocks.extend(u32::try_from(start - base).ok()?.to_le_bytes());
            blocks.extend(u32::try_from(stream.len()).ok()?.to_le_bytes());
            before = 0;
        }
        count += 1;
        leb128(u32::try_from(length).ok()?, &mut stream);
        let step = site.wrapping_sub(before);
        leb128(step << 1 ^ ((step as i32) >> 31) as u32, &mut stream);
        before = site;
        Some(())
    };
    for (start, length, stack) in ranges {
        if *start > at {
            add(at, start - at, 0)?;
        }
        // The outermost first, so that each is inlined in one that has its number already.
        let mut site = 0;
        for (function, file, line) in stack.iter().rev() {
            let (function, file) = (names.number(function.clone())? - 1, names.number(file.clone())? - 1);
            site = sites.number((u16::try_from(function).ok()?, u16::try_from(file).ok()?, *line, site))?;
        }
        add(*start, *length, site)?;
        at = start + length;
    }
    let (mut site_bytes, mut name_bytes, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for (function, file, line, parent) in &sites.all {
        site_bytes.extend(function.to_le_bytes());
        site_bytes.extend(file.to_le_bytes());
        for number in [*line, *parent] {
            let [bytes @ .., 0] = number.to_le_bytes() else { return None };
            site_bytes.extend(bytes);
        }
    }
    for name in &names.all {
        name_bytes.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
        text.extend(name.as_bytes());
    }
    let mut out = MAGIC.to_vec();
    out.extend(base.to_le_bytes());
    let counts = [blocks.len() / supervisor::lines::BLOCK, sites.all.len(), names.all.len(), stream.len(), text.len()];
    for count in counts {
        out.extend(u32::try_from(count).ok()?.to_le_bytes());
    }
    [blocks, site_bytes, name_bytes, stream, text].iter().for_each(|part| out.extend(part));
    Some(out)
}

/// Things that are numbered from 1 in the order in which they are seen.
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn number(&mut self, thing: T) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&thing) {
            return Some(number);
        }
        let number = u32::try_from(self.all.len() + 1).ok()?;
        self.all.push(thing.clone());
        self.numbers.insert(thing, number);
        Some(number)
    }
}

fn leb128(mut number: u32, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
