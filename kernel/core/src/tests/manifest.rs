//! The task table: a good one, a bad one for each reason, and very many that are damaged.

use super::{Random, record};
use crate::archive::find_file;
use crate::manifest::parse;
use abi::manifest::{IrqRecord, MAGIC, MAX_CALLS, ManifestHeader, PortRange, RangeRecord, Restart, TaskRecord};
use abi::task::{LEVELS, MAX_TASKS};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const PAGE: u64 = abi::PAGE_SIZE as u64;

fn line(line: u8, bit: u8) -> IrqRecord {
    IrqRecord { name: abi::name_from("irq").unwrap(), line, bit, used: 1, reserved: 0 }
}

fn range(base: u64, len: u64) -> RangeRecord {
    RangeRecord { name: abi::name_from("cells").unwrap(), base, len, flags: 1, reserved: 0 }
}

fn good() -> Vec<TaskRecord> {
    let mut records = vec![record("supervisor", 1, &[]), record("serial", 2, &[]), record("shell", 6, &[1, 0])];
    records[0].flags = TaskRecord::CONTROL | TaskRecord::START;
    records[1].ports[0] = PortRange { base: 0x3f8, len: 8 };
    records[1].ports[1] = PortRange { base: 0xffff, len: 1 };
    records[1].irqs[0] = line(4, 0);
    records[2].ports[3] = PortRange { base: 0x60, len: 5 };
    records[2].irqs[7] = line(1, 31);
    records[2].ranges[0] = range(0xb8000, PAGE);
    records
}

fn packed(records: &[TaskRecord]) -> Vec<u8> {
    let record_size = size_of::<TaskRecord>() as u32;
    let header = ManifestHeader { magic: MAGIC, abi_hash: abi::ABI_HASH, count: records.len() as u32, record_size };
    // The parser wants the records where their fields are aligned, as an archive has them: in a row of 512-byte blocks.
    let mut words = vec![0u64; (24 + size_of_val(records)) / 8];
    words.as_mut_bytes()[..24].copy_from_slice(header.as_bytes());
    words.as_mut_bytes()[24..].copy_from_slice(records.as_bytes());
    words.as_bytes().to_vec()
}

/// Parses a copy that is aligned.
fn parsed(bytes: &[u8]) -> Result<Vec<TaskRecord>, &'static str> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    parse(&words.as_bytes()[..bytes.len()]).map(<[TaskRecord]>::to_vec)
}

#[test]
fn a_good_table_is_taken_as_it_is() {
    let records = good();
    let got = parsed(&packed(&records)).unwrap();
    assert_eq!(got.as_bytes(), records.as_bytes());
    let mut longer = packed(&records);
    longer.extend([0; 100]);
    assert_eq!(parsed(&longer).unwrap().len(), 3, "what lies behind is not looked at");
}

type Edit = fn(&mut Vec<TaskRecord>);

const BAD: &[(&str, Edit)] = &[
    ("no rows", |r| r.clear()),
    ("no rows, or too many", |r| *r = vec![r[0]; MAX_TASKS + 1]),
    ("no proper name", |r| r[1].name = [0; 16]),
    ("no proper name", |r| r[1].name[0] = 0xff),
    ("priority", |r| r[1].priority = LEVELS as u8),
    ("restart policy", |r| r[1].restart = Restart::Forever as u8 + 1),
    ("stack or keep", |r| r[1].stack_frames = 0),
    ("stack or keep", |r| r[1].stack_frames = 4097),
    ("stack or keep", |r| r[1].keep_frames = u32::MAX),
    ("quota", |r| r[1].handle_quota = 1),
    ("quota of handles", |r| r[1].handle_quota = 2),
    ("quota of handles", |r| r[1].handle_quota = 16_385),
    ("quota of objects", |r| r[1].object_quota = 0),
    ("quota of objects", |r| r[1].object_quota = 7),
    ("quota of objects", |r| r[1].object_quota = 1025),
    ("quota of frames", |r| r[1].frame_quota = 1),
    ("quota of frames", |r| r[1].frame_quota = (1 << 18) + 1),
    ("stack or keep", |r| r[1].stack_frames = 2049),
    ("together", |r| r.iter_mut().for_each(|r| r.handle_quota = 6000)),
    ("together", |r| {
        *r = (0..9).map(|n| if n == 0 { r[0] } else { record(&format!("a{n}"), 2, &[]) }).collect();
        r.iter_mut().for_each(|r| r.object_quota = 1000);
    }),
    ("heartbeat", |r| r[1].heartbeat_ms = 19),
    ("heartbeat", |r| r[1].heartbeat_ms = 60_001),
    ("nobody watches", |r| r[0].heartbeat_ms = 100),
    ("started at boot", |r| r[0].flags = TaskRecord::CONTROL),
    ("no meaning", |r| r[1].flags = TaskRecord::ARCHIVE << 1),
    ("no meaning", |r| r[1].reserved = 1),
    ("no meaning", |r| r[1].reserved2 = 1),
    ("no meaning", |r| r[1].irqs[0].used = 2),
    ("no meaning", |r| r[1].irqs[0].reserved = 1),
    ("no meaning", |r| r[2].ranges[0].flags = 4),
    ("no meaning", |r| r[2].ranges[0].reserved = 1),
    ("no proper name", |r| r[1].name = *b"a--b\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| r[1].name = *b"1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| r[1].name = *b"a\0b\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| r[1].irqs[0].name[0] = b'A'),
    ("no proper name", |r| r[2].ranges[0].name = [0; 16]),
    ("that of another", |r| r[2].ranges[1] = range(0xc0000, PAGE)),
    ("proper name", |r| r[1].port_names[0] = *b"a--b\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("that of another", |r| r[1].port_names[..2].fill(*b"uart\0\0\0\0\0\0\0\0\0\0\0\0")),
    ("not more important", |r| r[1].priority = 6),
    ("not more important", |r| r[2].priority = 2),
    ("with control is to be debugged", |r| r[2].debug = 1),
    ("named twice", |r| r[2].calls[1] = 1),
    ("given twice", |r| r[2].irqs[0] = line(5, 31)),
    ("kernel's own", |r| r[1].ports[2] = PortRange { base: 0x1f, len: 2 }),
    ("kernel's own", |r| r[1].ports[2] = PortRange { base: 0xf7, len: 1 }),
    ("kernel's own", |r| r[1].ports[2] = PortRange { base: 0xcf9, len: 2 }),
    ("kernel's own", |r| r[2].ranges[0] = range(0xfee0_0000, PAGE)),
    ("kernel's own", |r| r[2].ranges[0] = range(0xdfff_f000, 2 * PAGE)),
    ("out of range", |r| r[2].ranges[0] = range(0x10_0000, PAGE)),
    ("out of range", |r| r[2].ranges[0] = range(0xff000, 2 * PAGE)),
    ("twice", |r| r[1].ports[2] = PortRange { base: 0x3ff, len: 1 }),
    ("twice", |r| r[2].irqs[0] = IrqRecord { name: abi::name_from("other").unwrap(), ..line(1, 3) }),
    ("twice", |r| r[2].ranges[1] = RangeRecord { name: abi::name_from("other").unwrap(), ..range(0xb8000, PAGE) }),
    ("too many peers", |r| r[1].call_count = MAX_CALLS as u8 + 1),
    ("a peer is not a row", |r| r[2].calls[1] = 3),
    ("a peer is not a row", |r| r[2].calls[1] = 2),
    ("to be debugged", |r| r[2].debug = 1 << 3),
    ("to be debugged", |r| r[2].debug = 1 << 63),
    ("to be debugged", |r| r[2].debug = 1 << 2),
    ("beyond the last port", |r| r[1].ports[1].len = 2),
    ("beyond the last port", |r| r[1].ports[1].len = u16::MAX),
    ("line or bit", |r| r[1].irqs[0].line = 0),
    ("line or bit", |r| r[1].irqs[0].line = 2),
    ("line or bit", |r| r[1].irqs[0].line = 16),
    ("line or bit", |r| r[1].irqs[0].bit = 32),
    ("whole pages", |r| r[2].ranges[0].base += 1),
    ("whole pages", |r| r[2].ranges[0].len -= 1),
    ("out of range", |r| r[2].ranges[0].len = (1 << 32) + PAGE),
    ("out of range", |r| r[2].ranges[0].base = 1 << 46),
    ("out of range", |r| r[2].ranges[0].base = u64::MAX - PAGE + 1),
    ("exactly one task", |r| r[0].flags = 0),
    ("exactly one task", |r| r[2].flags = TaskRecord::CONTROL),
    ("share", |r| r[0].ports[15] = PortRange { base: 0x3ff, len: 1 }),
    ("share", |r| r[2].ports[0] = PortRange { base: 0x3f0, len: 9 }),
    ("share", |r| r[0].irqs[3] = line(4, 9)),
    ("share", |r| r[1].ranges[3] = range(0xb7000, 2 * PAGE)),
];

#[test]
fn a_bad_table_is_refused_for_its_reason() {
    for (number, (why, edit)) in BAD.iter().enumerate() {
        let mut records = good();
        edit(&mut records);
        let got = parsed(&packed(&records)).err().unwrap_or_default();
        assert!(got.contains(why), "case {number}: {got:?}, not {why:?}");
    }
}

#[test]
fn a_bad_header_is_refused() {
    let table = packed(&good());
    let refused = |at: usize, byte: u8| {
        let mut bytes = table.clone();
        bytes[at] ^= byte;
        parsed(&bytes).err().unwrap_or_default()
    };
    assert!(refused(0, 1).contains("magic"));
    assert!(refused(8, 1).contains("another ABI"));
    assert!(refused(20, 8).contains("another ABI"));
    assert!(refused(16, 4).contains("truncated"));
    assert!(refused(19, 0x80).contains("too many"));
    for len in [0, 1, 23, 24, table.len() - 1] {
        assert_eq!(parsed(&table[..len]).err(), Some("the task table is truncated"), "{len} bytes");
    }
}

#[test]
fn hardware_that_only_touches_is_not_shared() {
    let mut records = good();
    records[0].ports[0] = PortRange { base: 0x400, len: 1 };
    records[0].ports[1] = PortRange { base: 0x3f7, len: 1 };
    records[0].ports[2] = PortRange { base: 0x3f9, len: 0 };
    records[0].ranges[0] = range(0xb9000, PAGE);
    records[0].irqs[0] = IrqRecord { used: 0, ..line(4, 0) };
    assert!(parsed(&packed(&records)).is_ok());
}

/// What must be true of everything that the parser lets through.
fn sound(records: &[TaskRecord]) {
    assert!((1..=MAX_TASKS).contains(&records.len()));
    let mut ports = Vec::new();
    let total = |of: fn(&TaskRecord) -> u16| records.iter().map(|r| u64::from(of(r))).sum::<u64>();
    assert!(total(|r| r.handle_quota) <= 16_384 && total(|r| r.object_quota) <= 8192);
    for (row, r) in records.iter().enumerate() {
        assert!(r.handle_quota >= 2 && r.object_quota >= 1 && (r.priority as usize) < LEVELS && r.restart <= 3);
        assert!(r.calls[..r.call_count as usize].iter().all(|&c| (c as usize) < records.len() && c as usize != row));
        assert!((1..=2048).contains(&r.stack_frames) && r.keep_frames <= 4096 && r.frame_quota <= 1 << 18);
        assert!(r.frame_quota > r.stack_frames && (8..=1024).contains(&r.object_quota));
        assert!(r.heartbeat_ms == 0 || (20..=60_000).contains(&r.heartbeat_ms));
        for &c in &r.calls[..r.call_count as usize] {
            assert!(records[c as usize].priority < r.priority, "calls could go in a circle");
        }
        for p in r.ports.iter().filter(|p| p.len != 0 && (p.base, p.len) != (0xcf9, 1)) {
            for chip in
                [0x0, 0xf, 0x20, 0x43, 0x81, 0x92, 0xa1, 0xb2, 0xc0, 0xdf, 0xe9, 0xf4, 0xf7, 0x4d0, 0x514, 0xcf8, 0xcff]
            {
                let (base, end) = (u32::from(p.base), u32::from(p.base) + u32::from(p.len));
                assert!(!(base..end).contains(&chip), "port {chip:#x} of the kernel's");
            }
        }
        for p in r.ports.iter().filter(|p| p.len != 0) {
            let (base, end) = (u32::from(p.base), u32::from(p.base) + u32::from(p.len));
            assert!(end <= 0x1_0000, "a port that there is not");
            let shared = |&(from, to, owner): &(u32, u32, usize)| base < to && from < end && owner < usize::MAX;
            assert!(!ports.iter().any(shared), "a port has two owners");
            ports.push((base, end, row));
        }
        for g in r.ranges.iter().filter(|g| g.len != 0) {
            assert!(
                g.base % PAGE == 0
                    && g.len % PAGE == 0
                    && (0xa_0000 <= g.base && g.base + g.len <= 0x10_0000
                        || 0xc000_0000 <= g.base && g.base + g.len <= 1 << 32)
            );
            // I/O APIC, HPET, IOMMU, local APICs, PCI configuration (ECAM): their first and last bytes.
            let kernels = [(0xfec0_0000, 0xfec0_0fff), (0xfed0_0000, 0xfed0_0fff), (0xfed9_0000, 0xfed9_3fff)];
            for (first, last) in kernels.into_iter().chain([(0xfee0_0000, 0xfeef_ffff), (0xe000_0000, 0xefff_ffff)]) {
                assert!(g.base > last || g.base + g.len <= first, "{:#x} is the kernel's", g.base);
            }
        }
        assert!(r.irqs.iter().all(|i| i.used == 0 || (i.line < 16 && i.line != 0 && i.line != 2 && i.bit < 32)));
    }
    assert_eq!(records.iter().filter(|r| r.flags & TaskRecord::CONTROL != 0).count(), 1);
}

#[test]
fn d06_damaged_tables_are_refused_or_sound() {
    const COUNT: usize = 100_000;
    let (table, mut random) = (packed(&good()), Random(0xbb67_ae85_84ca_a73b));
    let (mut accepted, mut refused) = (0, 0);
    let mut words = vec![0u64; table.len() / 8];
    for _ in 0..COUNT {
        words.as_mut_bytes().copy_from_slice(&table);
        let mut len = table.len();
        for _ in 0..1 + random.below(3) {
            let bytes = words.as_mut_bytes();
            let at = if random.below(4) == 0 { random.below(24) } else { random.below(table.len()) };
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)],
                2 => {
                    let value = [0, 1, PAGE, 1 << 32, 1 << 46, u64::MAX, random.next()][random.below(7)];
                    let at = at.min(table.len() - 8);
                    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
                _ if random.below(10) == 0 => len = random.below(table.len()),
                _ => bytes[at] = random.next() as u8,
            }
        }
        match parse(&words.as_bytes()[..len]) {
            Ok(records) => {
                sound(records);
                accepted += 1;
            }
            Err(why) => refused += usize::from(!why.is_empty()),
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > COUNT / 10 && refused > COUNT / 10);
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
    let table = packed(&good());
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
    let (table, mut random) = (packed(&good()), Random(0x1f83_d9ab_fb41_bd6b));
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
                sound(records);
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
