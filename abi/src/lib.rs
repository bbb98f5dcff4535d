//! What the kernel and its tasks agree on, written once: system calls, status codes, message layout, task identity,
//! the boot-time task table and the page in which a task finds out who it is.
//!
//! There is no logic here beyond packing and unpacking, and what makes a good task table; and no `unsafe`.
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

/// Bytes in a page and in a frame (Intel SDM vol. 3A, section 4.5).
pub const PAGE_SIZE: usize = 4096;

/// A hash over the sources of this crate, computed at compile time (FNV-1a, 64 bit). Every task carries it in its ELF note
/// ([`NOTE_NAME`]), and the loader refuses a task whose hash is not the kernel's: it was built against another ABI. What makes a
/// good task table (`manifest/rules.rs`) is not part of it: tasks do not depend on that.
pub const ABI_HASH: u64 = fnv1a(&[
    include_bytes!("error.rs"),
    include_bytes!("info.rs"),
    include_bytes!("manifest.rs"),
    include_bytes!("manifest/grant.rs"),
    include_bytes!("message.rs"),
    include_bytes!("syscall.rs"),
    include_bytes!("task.rs"),
]);

/// Name field of the ELF note that carries [`ABI_HASH`] (ELF specification, "Note Section"), without its NUL.
pub const NOTE_NAME: &[u8; 6] = b"Enigma";

/// Type field of that note.
pub const NOTE_TYPE_ABI: u32 = 1;

/// The note as it lies in a task's `.note.enigma` section: name size, descriptor size, type, name padded to four bytes, descriptor.
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbiNote {
    /// Size of the name with its NUL, in bytes: 7.
    pub name_size: u32,
    /// Size of the descriptor in bytes: 8.
    pub desc_size: u32,
    /// [`NOTE_TYPE_ABI`].
    pub kind: u32,
    /// [`NOTE_NAME`], NUL, padding.
    pub name: [u8; 8],
    /// [`ABI_HASH`], little endian.
    pub hash: [u8; 8],
}

impl AbiNote {
    /// The note of the ABI that this crate describes.
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

/// A short name in a fixed array, padded with NULs: task, peer, interrupt and range names.
pub type Name = [u8; NAME_LEN];

/// Room for a name, in bytes. Names are ASCII, at most `NAME_LEN - 1` long.
pub const NAME_LEN: usize = 16;

/// The text of a [`Name`]: everything before the first NUL, or `"?"` where that is not UTF-8.
pub fn name_str(name: &Name) -> &str {
    let len = name.iter().position(|&b| b == 0).unwrap_or(NAME_LEN);
    core::str::from_utf8(name.get(..len).unwrap_or_default()).unwrap_or("?")
}

/// `text` as a [`Name`], or `None` where it is empty or longer than `NAME_LEN - 1` bytes.
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
