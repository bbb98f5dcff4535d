//! The boot archive: files that are found, and very many archives that are damaged.

use super::{Random, record};
use crate::archive::find_file;
use abi::manifest::rules::parse;
use abi::manifest::{Grant, MAGIC, ManifestHeader, TaskRecord};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// A table of two tasks.
fn table() -> Vec<u8> {
    let mut records = [record("supervisor", 1, &[]), record("shell", 6, &[0])];
    records[0].flags = TaskRecord::CONTROL | TaskRecord::START;
    assert!(records[1].add(Grant::ports("data", 0x60, 5)));
    let record_size = size_of::<TaskRecord>() as u32;
    let header = ManifestHeader { magic: MAGIC, abi_hash: abi::ABI_HASH, count: records.len() as u32, record_size };
    [header.as_bytes(), records.as_bytes()].concat()
}

/// A ustar archive (POSIX.1-1988) of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, data) in files {
        let mut head = [0u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000644\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        head[136..148].copy_from_slice(b"00000000000\0");
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|&b| u32::from(b)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend(head);
        all.extend(*data);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.extend([0; 1024]);
    all
}

#[test]
fn files_are_found_by_their_exact_names() {
    let table = table();
    let tar = archive(&[("manifest", &table), ("bin/serial", b"code"), ("bin/serial2", b"other"), ("empty", b"")]);
    assert_eq!(find_file(&tar, "manifest"), Some(&table[..]));
    assert_eq!(find_file(&tar, "bin/serial"), Some(&b"code"[..]));
    assert_eq!(find_file(&tar, "bin/serial2"), Some(&b"other"[..]));
    assert_eq!(find_file(&tar, "empty"), Some(&b""[..]));
    for absent in ["", "bin", "serial", "bin/seria", "Manifest"] {
        assert_eq!(find_file(&tar, absent), None, "{absent:?}");
    }
    assert_eq!(find_file(&[], "manifest"), None);
    assert_eq!(find_file(&[0; 100], "manifest"), None);
    assert!(ManifestHeader::read_from_prefix(&table).is_ok());
}

proptest! {
    /// What another reader of the format finds in an archive is found here, and the other way round.
    #[test]
    fn files_are_those_that_tar_no_std_finds(files in prop::collection::vec(("[a-c/]{1,3}", prop::collection::vec(any::<u8>(), 0..1100)), 0..6)) {
        let files: Vec<_> = files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
        let tar = archive(&files);
        let other = tar_no_std::TarArchiveRef::new(&tar).map(|a| a.entries().collect::<Vec<_>>()).unwrap_or_default();
        for name in files.iter().map(|f| f.0).chain(["a", "absent"]) {
            let theirs = other.iter().find(|e| e.filename().as_str() == Ok(name)).map(|e| e.data());
            prop_assert_eq!(find_file(&tar, name), theirs);
        }
    }
}

#[test]
fn sizes_are_octal_numbers_or_the_archive_ends() {
    let whole = archive(&[("first", b"12345678"), ("second", b"")]);
    for (size, found) in [
        (&b"00000000010\0"[..], Some(8)),
        (b"         10 \0", Some(8)),
        (b"10 9999\xff\0\0\0\0", Some(8)),
        (b"000000000010", Some(8)),
        (b"00000000018\0", None),
        (b"-0000000010\0", None),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0", None),
        (b"            ", None),
        // More than there is, and more than any number.
        (b"00000030001\0", None),
        (b"777777777777", None),
    ] {
        let mut tar = whole.clone();
        tar[124..136].copy_from_slice(&size[..12]);
        assert_eq!(find_file(&tar, "first").map(<[u8]>::len), found, "{size:?}");
        assert_eq!(find_file(&tar, "second").map(<[u8]>::len), found.map(|_| 0), "{size:?}");
    }
}

#[test]
fn only_plain_files_are_found() {
    for (at, byte) in [(156, b'5'), (156, b'x'), (345, b'p'), (257, b'U')] {
        let mut tar = archive(&[("first", b"12345678"), ("second", b"")]);
        tar[at] = byte;
        assert_eq!(find_file(&tar, "first"), None);
        assert_eq!(find_file(&tar, "second").is_some(), at != 257, "the next one is found where the archive goes on");
    }
}

#[test]
fn d06_damaged_archives_are_refused_or_give_what_is_in_them() {
    const COUNT: usize = 100_000;
    let (table, mut random) = (table(), Random(0x1f83_d9ab_fb41_bd6b));
    let whole = archive(&[("bin/serial", b"code"), ("manifest", &table), ("sym/serial", b"0 1 main"), ("empty", b"")]);
    let heads = [0, 1024, 1024 + 512 + table.len().next_multiple_of(512)];
    let mut words = vec![0_u64; whole.len() / 8];
    let (mut found, mut taken) = (0, 0);
    for _ in 0..COUNT {
        words.as_mut_bytes().copy_from_slice(&whole);
        let mut len = whole.len();
        for _ in 0..1 + random.below(3) {
            let bytes = words.as_mut_bytes();
            let head = heads[random.below(3)];
            match random.below(8) {
                0 => len = random.below(whole.len() + 1),
                1 => bytes[random.below(whole.len())] ^= 1 << random.below(8),
                // A size: octal digits, as many as fit, or no digits at all.
                2 => {
                    let digits: Vec<u8> = (0..12).map(|_| b"01234567 \0\xff9"[random.below(12)]).collect();
                    bytes[head + 124..head + 136].copy_from_slice(&digits);
                }
                3 => bytes[head + 124 + random.below(12)] = b'0' + random.below(8) as u8,
                4 => bytes[head + random.below(100)] = random.next() as u8,
                5 => bytes[head + 156] = [0, b'0', b'5', b'x', b'L', 0xff][random.below(6)],
                6 => bytes.copy_within(head..head + 512, heads[random.below(3)]),
                _ => bytes[head + random.below(512)] = random.next() as u8,
            }
        }
        let bytes = &words.as_bytes()[..len];
        for name in ["manifest", "bin/serial", "sym/serial", "empty"] {
            let Some(data) = find_file(bytes, name) else { continue };
            found += 1;
            assert!(bytes.as_ptr_range().start <= data.as_ptr() && data.as_ptr_range().end <= bytes.as_ptr_range().end);
            // The kernel looks at the table where the archive has it, aligned or not.
            if name == "manifest"
                && let Ok(records) = parse(data)
            {
                assert_eq!(records.len(), 2);
                taken += 1;
            }
        }
    }
    println!("{found} files found, {taken} tables taken");
    assert!(
        found > COUNT / 5 && taken > COUNT / 20 && taken < COUNT * 2 / 3,
        "the damage is too much or too little: {found}, {taken}"
    );
}
