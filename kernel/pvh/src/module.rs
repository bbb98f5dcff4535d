//! The module that the hypervisor loads beside this program: boot archive and kernel in one file,
//! because QEMU takes one.
//!
//! The archive comes first, at the start of a page; the kernel's ELF file begins at the next
//! multiple of [`PAGE`]; the last 24 bytes of the file are [`MAGIC`] and the two lengths in bytes,
//! little endian. `xtask` writes it with [`pack`].

/// Size of a page, in bytes.
pub const PAGE: usize = 4096;

/// The first eight of the module's last 24 bytes.
pub const MAGIC: [u8; 8] = *b"ENIGMAm1";

/// The contents of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// The boot archive.
    pub archive: &'a [u8],
    /// The kernel's ELF file.
    pub kernel: &'a [u8],
}

impl<'a> Module<'a> {
    /// Finds both parts. `None` if the file does not have the format of a module.
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        let trailer = file.get(file.len().checked_sub(24)?..)?;
        let number = |at: usize| Some(u64::from_le_bytes(trailer.get(at..at + 8)?.try_into().ok()?));
        if trailer.get(..8)? != MAGIC {
            return None;
        }
        let archive_len = usize::try_from(number(8)?).ok()?;
        let kernel_len = usize::try_from(number(16)?).ok()?;
        let start = archive_len.checked_next_multiple_of(PAGE)?;
        let kernel = file.get(start..start.checked_add(kernel_len)?)?;
        Some(Module { archive: file.get(..archive_len)?, kernel })
    }
}

/// Puts archive and kernel into one file, which [`Module::parse`] reads.
#[cfg(not(target_os = "none"))]
pub fn pack(archive: &[u8], kernel: &[u8]) -> Vec<u8> {
    let mut file = archive.to_vec();
    file.resize(archive.len().next_multiple_of(PAGE), 0);
    file.extend(kernel);
    file.extend(MAGIC);
    file.extend((archive.len() as u64).to_le_bytes());
    file.extend((kernel.len() as u64).to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_parts_are_found(archive in prop::collection::vec(any::<u8>(), 0..9000), kernel in prop::collection::vec(any::<u8>(), 0..9000)) {
            let file = pack(&archive, &kernel);
            prop_assert_eq!(Module::parse(&file), Some(Module { archive: &archive, kernel: &kernel }));
        }

        #[test]
        fn what_is_damaged_is_refused_or_lies_within(mut file in prop::collection::vec(any::<u8>(), 0..200), lengths in any::<[u64; 2]>()) {
            prop_assert_eq!(Module::parse(&file), None);
            file.extend(MAGIC);
            file.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
            if let Some(module) = Module::parse(&file) {
                prop_assert!(module.archive.len() <= file.len() && module.kernel.len() <= file.len());
            }
        }
    }
}
