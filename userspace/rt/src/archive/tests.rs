//! Archives as xtask writes them, as `tar` writes them, and as nobody should.

use super::*;
use abi::manifest::{Grant, MAGIC, ManifestHeader};
use abi::task::MAX_TASKS;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

/// A `ustar` header with a sound checksum.
fn header(path: &str, size: usize, kind: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Puts the checksum in.
fn seal(block: &mut [u8]) {
    let sum = format!("{:06o}\0 ", checksum(block));
    block[148..156].copy_from_slice(sum.as_bytes());
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, data) in files {
        out.extend(header(path, data.len(), b'0'));
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn record(name: &str, priority: u8, peers: &[u16]) -> TaskRecord {
    let mut record = TaskRecord::new_zeroed();
    record.name = abi::name_from(name).expect("a name");
    record.priority = priority;
    (record.frame_quota, record.stack_frames, record.handle_quota, record.object_quota) = (64, 8, 32, 24);
    for &peer in peers {
        assert!(record.add(Grant::peer("", peer)));
    }
    record
}

/// The task that every table has.
fn supervisor() -> TaskRecord {
    TaskRecord { flags: TaskRecord::CONTROL | TaskRecord::START, ..record("supervisor", 1, &[]) }
}

fn manifest(records: &[TaskRecord]) -> Vec<u8> {
    let header = ManifestHeader {
        magic: MAGIC,
        abi_hash: abi::ABI_HASH,
        count: records.len() as u32,
        record_size: size_of::<TaskRecord>() as u32,
    };
    [header.as_bytes(), records.as_bytes()].concat()
}

fn sample() -> Vec<u8> {
    let table = manifest(&[supervisor(), record("serial", 2, &[]), record("shell", 6, &[0, 1])]);
    tar(&[("manifest", &table), ("bin/serial", b"\x7fELF"), ("sym/shell", b"200000 10 main\n"), ("empty", b"")])
}

/// The bytes at an address that is, or is not, a multiple of eight.
fn leaked(bytes: &[u8], shift: usize) -> &'static [u8] {
    let words = vec![0_u64; bytes.len() / 8 + 2].leak();
    let place = &mut words.as_mut_bytes()[shift..shift + bytes.len()];
    place.copy_from_slice(bytes);
    place
}

#[test]
fn a_sound_archive_is_read() {
    for shift in [0, 3] {
        let archive = Archive::parse(leaked(&sample(), shift)).expect("sound");
        assert_eq!(archive.tasks().len(), 3);
        assert_eq!((archive.find("shell"), archive.find("serial"), archive.find("vga")), (Some(2), Some(1), None));
        assert_eq!((archive.name(0), archive.name(3)), (Some("supervisor"), None));
        assert_eq!(archive.file("sym/shell"), Some(&b"200000 10 main\n"[..]));
        assert_eq!(archive.file("empty"), Some(&[][..]));
        assert_eq!(archive.file("sym"), None);
        let paths: Vec<_> = archive.files().map(|(path, _)| path).collect();
        assert_eq!(paths, ["manifest", "bin/serial", "sym/shell", "empty"]);
        assert_eq!(matches!(archive.tasks, Cow::Borrowed(_)), shift == 0, "copied only where it must be");
    }
}

#[test]
fn directories_are_skipped_and_prefixes_joined() {
    let mut bytes = header("bin/", 0, b'5');
    let mut long = header("shell", 3, b'0');
    long[345..349].copy_from_slice(b"./ab");
    seal(&mut long);
    bytes.extend(long);
    bytes.extend_from_slice(b"xyz");
    bytes.resize(4 * BLOCK, 0);
    assert_eq!(find(&bytes, "ab/shell"), Some(&b"xyz"[..]));
    assert_eq!(find(&bytes, "shell"), None);
    assert_eq!(find(&bytes, "bin/"), None);
    assert_eq!(find(&tar(&[("./sym/a", b"1")]), "sym/a"), Some(&b"1"[..]));
}

#[test]
fn a_damaged_header_hides_its_file_and_all_after_it() {
    let mut bytes = tar(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
    bytes[2 * BLOCK + 5] ^= 1;
    assert!(find(&bytes, "a").is_some());
    assert!(find(&bytes, "b").is_none() && find(&bytes, "c").is_none());
}

#[test]
fn a_file_that_is_cut_off_is_not_there() {
    let bytes = tar(&[("a", &[7; 600])]);
    assert!(find(&bytes[..BLOCK + 600], "a").is_some(), "the padding may be missing");
    assert!(find(&bytes[..BLOCK + 599], "a").is_none());
    assert!(find(&bytes[..BLOCK - 1], "a").is_none());
}

#[test]
fn sizes_that_overflow_are_refused() {
    for size in ["777777777777", "77777777777\0", "           \0", "0000000008 \0", "\u{7f}00000000000"] {
        let mut block = header("a", 0, b'0');
        block[124..136].copy_from_slice(size.as_bytes());
        seal(&mut block);
        assert!(find(&block, "a").is_none(), "{size:?}");
    }
    assert_eq!(octal(b"  17 "), Some(15));
    assert_eq!(octal(b"7777777777777777777777777"), None);
}

#[test]
fn a_table_that_makes_no_sense_is_refused() {
    let good = supervisor();
    let refused = |table: Vec<u8>| Archive::parse(leaked(&tar(&[("manifest", &table)]), 0)).is_none();
    assert!(!refused(manifest(&[good])));
    assert!(refused(manifest(&[])), "no task");
    assert!(refused(manifest(&[record("serial", 2, &[])])), "no control");
    assert!(refused(manifest(&[good, record("serial", 2, &[2])])), "a peer that does not exist");
    assert!(refused(manifest(&[TaskRecord { grant_count: 61, ..good }])), "more grants than fit");
    assert!(refused(manifest(&[TaskRecord { name: [0; 16], ..good }])), "no name");
    assert!(refused(manifest(&[TaskRecord { name: [b'x'; 16], ..good }])), "a name without an end");
    assert!(refused(manifest(&[TaskRecord { name: [0xff; 16], ..good }])), "a name that is no text");
    assert!(refused(manifest(&[TaskRecord { priority: 32, ..good }])), "a priority that does not exist");
    let table = manifest(&[good]);
    for (byte, what) in [(0, "magic"), (8, "ABI hash"), (16, "count"), (20, "record size")] {
        let mut table = table.clone();
        table[byte] ^= 2;
        assert!(refused(table), "{what}");
    }
    assert!(refused(table[..table.len() - 1].to_vec()), "cut off");
    assert!(Archive::parse(&[]).is_none());
}

/// Reads everything that can be read; the point is that it returns.
fn exercise(bytes: &[u8]) -> Option<String> {
    let archive = Archive::parse(leaked(bytes, 0))?;
    let mut seen = String::new();
    for (path, data) in archive.files() {
        assert!(data.len() <= bytes.len());
        seen.push_str(path);
        archive.file(path).expect("what is listed can be opened");
    }
    for index in 0..archive.tasks().len() {
        archive.find(archive.name(index)?)?;
    }
    Some(seen.to_string())
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        exercise(&bytes);
    }

    /// Damage that the checksums do not catch, because they are made to fit.
    #[test]
    fn damage_never_panics(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
        fit in any::<bool>(),
    ) {
        let mut bytes = sample();
        for (index, value) in flips {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if fit {
            for block in bytes.chunks_mut(BLOCK).filter(|block| block.get(257..262) == Some(b"ustar")) {
                seal(block);
            }
        }
        let len = cut.index(2 * bytes.len()).min(bytes.len());
        exercise(&bytes[..len]);
    }
}

#[test]
fn d06_damaged_archives_are_refused_or_sound() {
    const COUNT: usize = 100_000;
    let whole = sample();
    // SplitMix64, as everywhere.
    let mut state = 0x9b05_688c_2b3e_6c1f_u64;
    let mut below = |end: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % end as u64) as usize
    };
    let mut words = vec![0_u64; whole.len() / 8];
    let mut taken = 0;
    for _ in 0..COUNT {
        words.as_mut_bytes().copy_from_slice(&whole);
        let mut len = whole.len();
        for _ in 0..1 + below(3) {
            let bytes = words.as_mut_bytes();
            match below(8) {
                0 => len = below(whole.len() + 1),
                1 => bytes[below(whole.len())] ^= 1 << below(8),
                2 => bytes[124 + below(12)] = b"01234567 \0\xff9"[below(12)],
                // In the table: its head, and the places of priorities, peers and names.
                3 => bytes[BLOCK + below(24)] = below(256) as u8,
                4 => bytes[BLOCK + 24 + below(3 * size_of::<TaskRecord>())] = [0, 1, 2, 16, 32, 0xff][below(6)],
                5 => bytes[156] = [0, b'0', b'5', b'x'][below(4)],
                6 => bytes[345 + below(20)] = b"./ab\0"[below(5)],
                _ => bytes[below(100)] = below(256) as u8,
            }
            // Most damage would be found by the checksum alone.
            if below(4) != 0 {
                seal(&mut bytes[..BLOCK]);
            }
        }
        let bytes: *const [u8] = &raw const words.as_bytes()[..len];
        // SAFETY: the archive is dropped before the bytes change again.
        let Some(archive) = Archive::parse(unsafe { &*bytes }) else { continue };
        taken += 1;
        let count = archive.tasks().len();
        assert!((1..=MAX_TASKS).contains(&count));
        for (index, record) in archive.tasks().iter().enumerate() {
            assert!(archive.name(index).is_some_and(|name| !name.is_empty() && name.len() < record.name.len()));
            assert!(record.peers().all(|peer| usize::from(peer) < count) && record.priority < 32);
        }
        assert!(archive.files().map(|(_, data)| data.len()).sum::<usize>() <= len);
    }
    assert!(taken > COUNT / 20 && taken < COUNT * 9 / 10, "the damage is too much or too little: {taken} taken");
}
