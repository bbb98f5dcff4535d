//! The interface between the kernel and its tasks, defined once for both: system calls, status
//! codes, message layout, task identifiers, the boot-time task table, and the page that tells a
//! task who it is.
//!
//! There is no logic here except packing and unpacking, and the rules for a valid task table; and
//! no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod error;
pub mod info;
pub mod manifest;
pub mod message;
pub mod syscall;
pub mod task;

pub use error::Status;
pub use syscall::Syscall;
pub use task::TaskId;

/// Size of a page and of a frame in bytes (Intel SDM vol. 3A, section 4.5).
pub const PAGE_SIZE: usize = 4096;

/// A hash over the sources of this crate, computed at compile time (FNV-1a, 64 bits). Every task
/// carries it in its ELF note ([`NOTE_NAME`]), and the loader refuses a task whose hash differs
/// from the kernel's, because it was built against another version of the ABI. The rules of a valid
/// task table (`manifest/rules.rs`) are not part of it: tasks do not depend on them.
pub const ABI_HASH: u64 = fnv1a(&[
    include_bytes!("error.rs"),
    include_bytes!("info.rs"),
    include_bytes!("manifest.rs"),
    include_bytes!("manifest/grant.rs"),
    include_bytes!("message.rs"),
    include_bytes!("syscall.rs"),
    include_bytes!("task.rs"),
]);

/// The name in the ELF note that carries [`ABI_HASH`] (ELF specification, "Note Section"), without
/// its NUL.
pub const NOTE_NAME: &[u8; 6] = b"Enigma";

/// The type of the ELF note that carries [`ABI_HASH`].
pub const NOTE_TYPE_ABI: u32 = 1;

/// The ELF note in a task's section `.note.enigma`: name size, descriptor size, type, name padded
/// to four bytes, descriptor.
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbiNote {
    /// Size of the name in bytes, with its NUL: 7.
    pub name_size: u32,
    /// Size of the descriptor in bytes: 8.
    pub desc_size: u32,
    /// The type of the note: [`NOTE_TYPE_ABI`].
    pub kind: u32,
    /// The name: [`NOTE_NAME`], a NUL, and padding.
    pub name: [u8; 8],
    /// The descriptor: [`ABI_HASH`], little endian.
    pub hash: [u8; 8],
}

impl AbiNote {
    /// The note of this version of the ABI.
    pub const CURRENT: AbiNote =
        AbiNote { name_size: 7, desc_size: 8, kind: NOTE_TYPE_ABI, name: *b"Enigma\0\0", hash: ABI_HASH.to_le_bytes() };
}

const fn fnv1a(files: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut file = 0;
    while file < files.len() {
        let mut i = 0;
        while i < files[file].len() {
            hash = (hash ^ files[file][i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            i += 1;
        }
        file += 1;
    }
    hash
}

/// A short name in a fixed array, padded with NULs, as tasks, peers, interrupt lines and ranges
/// have.
pub type Name = [u8; NAME_LEN];

/// Size of a [`Name`] in bytes. A name is ASCII, and at most `NAME_LEN - 1` bytes long.
pub const NAME_LEN: usize = 16;

/// The text of a [`Name`]: everything before the first NUL, or `"?"` if that is not UTF-8.
pub fn name_str(name: &Name) -> &str {
    let len = name.iter().position(|&b| b == 0).unwrap_or(NAME_LEN);
    core::str::from_utf8(name.get(..len).unwrap_or_default()).unwrap_or("?")
}

/// `text` as a [`Name`]; `None` if it is empty or longer than `NAME_LEN - 1` bytes.
pub fn name_from(text: &str) -> Option<Name> {
    let mut name = [0; NAME_LEN];
    if text.is_empty() || text.len() >= NAME_LEN {
        return None;
    }
    name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(name)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::path::Path;
    use std::string::String;

    /// A file that is left out of the hash would let a task run that was built against another ABI.
    #[test]
    fn the_hash_is_over_every_source_that_tasks_depend_on() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let text = include_str!("lib.rs");
        let mut found = 0;
        for (dir, prefix) in [(sources.clone(), ""), (sources.join("manifest"), "manifest/")] {
            for entry in std::fs::read_dir(dir).expect("the sources") {
                let name: String = entry.expect("an entry").file_name().into_string().expect("a plain name");
                let path = format!("{prefix}{name}");
                if name.ends_with(".rs") && !["lib.rs", "manifest/rules.rs", "manifest/tests.rs"].contains(&&*path) {
                    assert!(text.contains(&format!("include_bytes!(\"{path}\"),")), "{path} is not in ABI_HASH");
                    found += 1;
                }
            }
        }
        assert_eq!(found, text.matches("    include_bytes!(\"").count(), "ABI_HASH has a file that is not there");
    }
}
