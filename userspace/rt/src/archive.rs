//! The boot archive: a plain `ustar` file with the task table, the programs and their symbols.
//!
//! The layout is that of POSIX.1-2017, pax, "ustar Interchange Format": blocks of 512 bytes, and
//! for each file a header and its data. Everything is checked before use; invalid data leads to
//! `None`, never to a panic.

use crate::lock::Mutex;
use crate::memory::Memory;
use abi::manifest::{GrantKind, TaskRecord, rules};
use alloc::borrow::Cow;
use alloc::vec;
use core::fmt;
use zerocopy::IntoBytes;

/// The size of a block in bytes.
const BLOCK: usize = 512;

/// The boot archive, whose task table has been checked.
#[derive(Clone)]
pub struct Archive {
    bytes: &'static [u8],
    tasks: Cow<'static, [TaskRecord]>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("bytes", &self.bytes.len()).field("tasks", &self.tasks.len()).finish()
    }
}

/// The bytes of the archive once it is mapped; it stays mapped.
static MAPPED: Mutex<Option<&'static [u8]>> = Mutex::new(None);

impl Archive {
    /// Maps the archive and checks its task table. `None` if `system.toml` does not give this task
    /// the archive, or if it is damaged.
    pub fn map() -> Option<Archive> {
        let mut mapped = MAPPED.lock();
        let bytes = match *mapped {
            Some(bytes) => bytes,
            None => {
                let len = crate::entry_of(GrantKind::Archive)?.len as usize;
                let whole = Memory::archive()?.map(false).ok()?.leak_shared();
                *mapped.insert(whole.get(..len).unwrap_or(whole))
            }
        };
        Archive::parse(bytes)
    }

    /// Checks an archive that is in memory already.
    pub fn parse(bytes: &'static [u8]) -> Option<Archive> {
        let tasks = tasks_of(find(bytes, "manifest")?)?;
        Some(Archive { bytes, tasks })
    }

    /// The task table, in the order of the rows. It meets all rules of [`abi::manifest::rules`].
    pub fn tasks(&self) -> &[TaskRecord] {
        &self.tasks
    }

    /// The row of the task with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|record| abi::name_str(&record.name) == name)
    }

    /// The name of the task in a row.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.tasks.get(index).map(|record| abi::name_str(&record.name))
    }

    /// The contents of a file.
    pub fn file(&self, path: &str) -> Option<&'static [u8]> {
        find(self.bytes, path)
    }

    /// Every file with its path, up to the first damaged header.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &'static [u8])> + use<> {
        Files { rest: self.bytes }.filter_map(|(path, data)| Some((path.as_plain()?, data)))
    }
}

/// The contents of the file at `path`.
fn find<'a>(archive: &'a [u8], path: &str) -> Option<&'a [u8]> {
    Files { rest: archive }.find(|(name, _)| name.is(path)).map(|(_, data)| data)
}

/// The task table, if it is valid.
fn tasks_of(file: &'static [u8]) -> Option<Cow<'static, [TaskRecord]>> {
    if let Ok(tasks) = rules::parse(file) {
        return Some(Cow::Borrowed(tasks));
    }
    // Files begin at multiples of 512 bytes, so the records are aligned if the archive is;
    // otherwise an aligned copy is made.
    let mut words = vec![0_u64; file.len().div_ceil(8)];
    let copy = words.as_mut_bytes().get_mut(..file.len())?;
    copy.copy_from_slice(file);
    Some(Cow::Owned(rules::parse(copy).ok()?.to_vec()))
}

/// A path as in a header: an optional prefix, a slash, and a name.
struct Path<'a> {
    prefix: &'a [u8],
    name: &'a [u8],
}

impl<'a> Path<'a> {
    /// Whether the entry has this path, written with or without `./`.
    fn is(&self, path: &str) -> bool {
        let path = path.as_bytes();
        if self.prefix.is_empty() {
            return self.name.strip_prefix(b"./").unwrap_or(self.name) == path;
        }
        let prefix = self.prefix.strip_prefix(b"./").unwrap_or(self.prefix);
        path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(b"/")) == Some(self.name)
    }

    /// The path as text, if it has no prefix.
    fn as_plain(&self) -> Option<&'a str> {
        let name = core::str::from_utf8(self.name).ok()?;
        self.prefix.is_empty().then(|| name.strip_prefix("./").unwrap_or(name))
    }
}

/// The regular files of an archive. The iteration ends at the first block that is not a valid
/// header, or whose file is incomplete.
struct Files<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Files<'a> {
    type Item = (Path<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (header, rest) = self.rest.split_at_checked(BLOCK)?;
            self.rest = &[];
            if field(header, 257, 5)? != b"ustar" || octal(field(header, 148, 8)?)? != checksum(header) {
                return None;
            }
            let size = usize::try_from(octal(field(header, 124, 12)?)?).ok()?;
            let (data, rest) = rest.split_at_checked(size)?;
            let padding = size.next_multiple_of(BLOCK) - size;
            self.rest = rest.get(padding..).unwrap_or_default();
            // Regular files have type '0', or NUL from old programs.
            if matches!(header.get(156), Some(b'0' | 0)) {
                let path = Path { prefix: text(field(header, 345, 155)?), name: text(field(header, 0, 100)?) };
                return Some((path, data));
            }
        }
    }
}

/// A field of a header; `None` if it is out of range.
fn field(header: &[u8], offset: usize, len: usize) -> Option<&[u8]> {
    header.get(offset..offset.checked_add(len)?)
}

/// The text in a field: up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The number in a field: octal digits, ended by a space, a NUL or the end of the field.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|&byte| byte == b' ' || byte == 0).unwrap_or(digits.len());
    let digits = digits.get(..end)?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add((digit - b'0').into()),
        _ => None,
    })
}

/// The checksum of a header: the sum of its bytes, with the checksum field counted as spaces.
fn checksum(header: &[u8]) -> u64 {
    header.iter().enumerate().map(|(i, &byte)| if (148..156).contains(&i) { b' ' } else { byte } as u64).sum()
}

#[cfg(test)]
mod tests;
