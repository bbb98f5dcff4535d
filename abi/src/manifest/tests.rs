//! The task table: a good one, a bad one for each reason, and very many that are damaged.

extern crate std;

use super::rules::{kernels, parse};
use super::{Grant, GrantKind, MAGIC, MAX_GRANTS, ManifestHeader, Restart, TaskRecord};
use crate::task::{LEVELS, MAX_TASKS};
use crate::{ABI_HASH, PAGE_SIZE, name_from};
use std::vec::Vec;
use std::{format, println, vec};
use zerocopy::{FromZeros, IntoBytes};

const PAGE: u64 = PAGE_SIZE as u64;

/// A task with room for everything.
fn record(name: &str, priority: u8, peers: &[u16]) -> TaskRecord {
    let mut r = TaskRecord::new_zeroed();
    r.name = name_from(name).unwrap();
    r.priority = priority;
    (r.frame_quota, r.stack_frames, r.handle_quota, r.object_quota) = (16, 1, 8, 8);
    r.restart = Restart::Always as u8;
    for &peer in peers {
        assert!(r.add(Grant::peer("", peer)));
    }
    r
}

/// Numbers that only look random (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn line(line: u8, bit: u32) -> Grant {
    Grant::irq("irq", line, bit)
}

fn range(base: u64, len: u64) -> Grant {
    Grant::range("cells", base, len, Grant::WRITE)
}

/// The grant of this kind and number, of the row.
fn of(r: &mut TaskRecord, kind: GrantKind, number: usize) -> &mut Grant {
    r.grants.iter_mut().filter(|grant| grant.kind == kind as u32).nth(number).unwrap()
}

fn good() -> Vec<TaskRecord> {
    let mut records = vec![record("supervisor", 1, &[]), record("serial", 2, &[]), record("shell", 6, &[1, 0])];
    records[0].flags = TaskRecord::CONTROL | TaskRecord::START;
    for (row, grant) in [
        (1, Grant::ports("uart", 0x3f8, 8)),
        (1, Grant::ports("", 0xffff, 1)),
        (1, line(4, 0)),
        (2, range(0xb8000, PAGE)),
        (2, Grant::ports("data", 0x60, 5)),
        (2, line(1, 31)),
        (2, Grant::debug(1)),
    ] {
        assert!(records[row].add(grant), "{grant}");
    }
    records
}

fn packed(records: &[TaskRecord]) -> Vec<u8> {
    let record_size = size_of::<TaskRecord>() as u32;
    let header = ManifestHeader { magic: MAGIC, abi_hash: ABI_HASH, count: records.len() as u32, record_size };
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

use GrantKind::{Debug, Irq, Keep, Peer, Ports, Range};

/// Adds a grant, whatever the rules say of it.
fn add(r: &mut TaskRecord, grant: Grant) {
    assert!(r.add(grant), "{grant}");
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
    ("no meaning", |r| of(&mut r[1], Irq, 0).len = 1),
    ("no meaning", |r| of(&mut r[1], Ports, 0).flags = 1),
    ("no meaning", |r| of(&mut r[2], Range, 0).flags = 4),
    ("no meaning", |r| of(&mut r[2], Debug, 0).name = *b"peer\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("that of another", |r| (0..2).for_each(|n| of(&mut r[2], Peer, n).name = *b"peer\0\0\0\0\0\0\0\0\0\0\0\0")),
    ("no meaning", |r| of(&mut r[2], Debug, 0).flags = 1),
    ("no meaning", |r| r[1].grants[5].name[15] = 1),
    ("no meaning", |r| r[1].grant_count -= 1),
    ("more grants than", |r| r[1].grant_count = MAX_GRANTS as u32 + 1),
    ("order of their kinds", |r| r[1].grant_count += 1),
    ("of no kind", |r| r[0].grant_count += 1),
    ("of no kind", |r| of(&mut r[2], Debug, 0).kind = 9),
    ("of no kind", |r| of(&mut r[2], Debug, 0).kind = Keep as u32),
    ("order of their kinds", |r| r[2].grants.swap(1, 2)),
    ("more grants of a kind", |r| {
        for port in 0..15 {
            r[1].grants[3 + port] = Grant::ports("", 0x1000 + port as u16, 1);
            r[1].grant_count += 1;
        }
    }),
    ("no proper name", |r| r[1].name = *b"a--b\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| r[1].name = *b"1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| r[1].name = *b"a\0b\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("no proper name", |r| of(&mut r[1], Irq, 0).name[0] = b'A'),
    ("no proper name", |r| of(&mut r[2], Range, 0).name = [0; 16]),
    ("that of another", |r| add(&mut r[2], range(0xc0000, PAGE))),
    ("proper name", |r| of(&mut r[1], Ports, 0).name = *b"a--b\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("that of another", |r| of(&mut r[1], Ports, 1).name = *b"uart\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("not more important", |r| r[1].priority = 6),
    ("not more important", |r| r[2].priority = 2),
    ("with control is to be debugged", |r| of(&mut r[2], Debug, 0).base = 0),
    ("named twice", |r| of(&mut r[2], Peer, 1).base = 1),
    ("named twice", |r| add(&mut r[2], Grant::debug(1))),
    ("given twice", |r| add(&mut r[2], Grant::irq("other", 5, 31))),
    ("kernel's own", |r| add(&mut r[1], Grant::ports("", 0x1f, 2))),
    ("kernel's own", |r| add(&mut r[1], Grant::ports("", 0xf7, 1))),
    ("kernel's own", |r| add(&mut r[1], Grant::ports("", 0xcf9, 2))),
    ("kernel's own", |r| of(&mut r[2], Range, 0).base = 0xfee0_0000),
    ("kernel's own", |r| *of(&mut r[2], Range, 0) = range(0xdfff_f000, 2 * PAGE)),
    ("kernel's own", |r| of(&mut r[1], Irq, 0).base = 0),
    ("kernel's own", |r| of(&mut r[1], Irq, 0).base = 2),
    ("out of range", |r| of(&mut r[2], Range, 0).base = 0x10_0000),
    ("out of range", |r| *of(&mut r[2], Range, 0) = range(0xff000, 2 * PAGE)),
    ("twice", |r| add(&mut r[1], Grant::ports("", 0x3ff, 1))),
    ("twice", |r| add(&mut r[2], Grant::irq("other", 1, 3))),
    ("twice", |r| add(&mut r[2], Grant::range("other", 0xb8000, PAGE, 0))),
    ("a peer is not a row", |r| of(&mut r[2], Peer, 1).base = 3),
    ("a peer is not a row", |r| of(&mut r[2], Peer, 1).base = 2),
    ("a peer is not a row", |r| of(&mut r[2], Peer, 1).base = 1 << 32),
    ("to be debugged", |r| of(&mut r[2], Debug, 0).base = 3),
    ("to be debugged", |r| of(&mut r[2], Debug, 0).base = u64::MAX),
    ("to be debugged", |r| of(&mut r[2], Debug, 0).base = 2),
    ("beyond the last port", |r| of(&mut r[1], Ports, 1).len = 2),
    ("beyond the last port", |r| of(&mut r[1], Ports, 1).len = u64::MAX),
    ("is empty", |r| of(&mut r[1], Ports, 1).len = 0),
    ("line or bit", |r| of(&mut r[1], Irq, 0).base = 16),
    ("line or bit", |r| of(&mut r[1], Irq, 0).flags = 32),
    ("whole pages", |r| of(&mut r[2], Range, 0).base += 1),
    ("whole pages", |r| of(&mut r[2], Range, 0).len -= 1),
    ("whole pages", |r| of(&mut r[2], Range, 0).len = 0),
    ("out of range", |r| of(&mut r[2], Range, 0).len = (1 << 32) + PAGE),
    ("out of range", |r| of(&mut r[2], Range, 0).base = 1 << 46),
    ("out of range", |r| of(&mut r[2], Range, 0).base = u64::MAX - PAGE + 1),
    ("exactly one task", |r| r[0].flags = 0),
    ("exactly one task", |r| r[2].flags = TaskRecord::CONTROL),
    ("share", |r| add(&mut r[0], Grant::ports("", 0x3ff, 1))),
    ("share", |r| *of(&mut r[2], Ports, 0) = Grant::ports("", 0x3f0, 9)),
    ("share", |r| add(&mut r[0], Grant::irq("irq", 4, 9))),
    ("share", |r| add(&mut r[1], range(0xb7000, 2 * PAGE))),
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
    for grant in [Grant::ports("", 0x400, 1), Grant::ports("", 0x3f7, 1), range(0xb9000, PAGE), Grant::irq("irq", 5, 0)]
    {
        add(&mut records[0], grant);
    }
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
        assert!(r.peers().all(|peer| usize::from(peer) < records.len() && usize::from(peer) != row));
        assert!((1..=2048).contains(&r.stack_frames) && r.keep_frames <= 4096 && r.frame_quota <= 1 << 18);
        assert!(r.frame_quota > r.stack_frames && (8..=1024).contains(&r.object_quota));
        assert!(r.heartbeat_ms == 0 || (20..=60_000).contains(&r.heartbeat_ms));
        for peer in r.peers() {
            assert!(records[usize::from(peer)].priority < r.priority, "calls could go in a circle");
        }
        for p in r.of(Ports) {
            let (base, end) = (p.base, p.base + p.len);
            // Controllers answer at further ports, as chipsets decode some address lines only in part.
            let further = [0x10, 0x1f, 0x24, 0x2d, 0x30, 0x3d, 0x50, 0x53, 0x90, 0x9f, 0xa4, 0xb1, 0xbd];
            for chip in
                [0x0, 0xf, 0x20, 0x43, 0x81, 0x92, 0xa1, 0xb2, 0xc0, 0xdf, 0xe9, 0xf4, 0xf7, 0x4d0, 0x514, 0xcf8, 0xcff]
                    .into_iter()
                    .chain(further)
            {
                let reset = (p.base, p.len) == (0xcf9, 1);
                assert!(reset || !(base..end).contains(&chip), "port {chip:#x} of the kernel's");
            }
            assert!(base < end && end <= 0x1_0000, "a port that there is not");
            assert!(!ports.iter().any(|&(from, to)| base < to && from < end), "a port has two owners");
            ports.push((base, end));
        }
        for g in r.of(Range) {
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
        assert!(r.of(Irq).all(|i| i.base < 16 && i.base != 0 && i.base != 2 && i.bits() < 1 << 32));
        assert!(r.of(Debug).all(|d| d.base < records.len() as u64 && d.base != row as u64));
    }
    assert_eq!(records.iter().filter(|r| r.flags & TaskRecord::CONTROL != 0).count(), 1);
}

#[test]
fn d06_damaged_tables_are_refused_or_sound() {
    const COUNT: usize = 100_000;
    let records = good();
    let (table, mut random) = (packed(&records), Random(0xbb67_ae85_84ca_a73b));
    let (mut accepted, mut refused) = (0, 0);
    let mut words = vec![0u64; table.len() / 8];
    for _ in 0..COUNT {
        words.as_mut_bytes().copy_from_slice(&table);
        let mut len = table.len();
        for _ in 0..1 + random.below(3) {
            let bytes = words.as_mut_bytes();
            // In the header, or in what a row uses.
            let row = random.below(records.len());
            let used = size_of::<TaskRecord>() - (MAX_GRANTS - records[row].grants().len()) * size_of::<Grant>();
            let row = 24 + row * size_of::<TaskRecord>();
            let at = if random.below(8) == 0 { random.below(24) } else { row + random.below(used) };
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
    // Hardly a byte of a row is without meaning, so most damage is seen.
    assert!(accepted > COUNT / 50 && refused > COUNT / 10);
}

#[test]
fn grants_are_listed_by_kind_and_found_by_it() {
    let r = good()[2];
    assert_eq!(r.peers().collect::<Vec<_>>(), [1, 0]);
    assert_eq!(r.of(Irq).map(Grant::bits).collect::<Vec<_>>(), [1 << 31]);
    assert_eq!(r.of(Keep).count(), 0);
    assert!(r.may_debug(1) && !r.may_debug(0));
    let kinds: Vec<_> = r.grants().iter().map(|grant| grant.kind().unwrap()).collect();
    assert_eq!(kinds, [Peer, Peer, Irq, Ports, Range, Debug]);
    // No more of a kind than a task may have.
    for kind in GrantKind::LISTED {
        let mut r = record("many", 1, &[]);
        let all = (0..).take_while(|_| r.add(Grant { kind: kind as u32, ..Grant::default() })).count();
        assert_eq!(all, kind.most(), "{kind:?}");
    }
    assert!(!record("none", 1, &[]).add(Grant::default()));
}

#[test]
fn grants_read_as_people_write_them() {
    for (grant, short, long) in [
        (Grant::ports("uart", 0x3f8, 8), "uart = 0x3f8-0x3ff (8)", "ports 0x3F8-0x3FF (uart)"),
        (Grant::ports("", 0x3f6, 1), "0x3f6-0x3f6 (1)", "ports 0x3F6"),
        (Grant::irq("rx", 4, 2), "rx = line 4 (bit 2)", "line 4 (rx)"),
        (
            Grant::range("text", 0xb8000, 0x8000, 1),
            "text = 0xb8000-0xbffff (32 KiB, writable)",
            "range 0xB8000-0xBFFFF (text)",
        ),
        (
            Grant::range("bar", 0xfd00_0000, 1 << 20, 2),
            "bar = 0xfd000000-0xfd0fffff (1 MiB, read-only, write-combining)",
            "range 0xFD000000-0xFD0FFFFF (bar, read-only)",
        ),
    ] {
        assert_eq!((format!("{grant}").as_str(), format!("{grant:#}").as_str()), (short, long));
    }
}

#[test]
fn d25_the_kernels_controllers_are_refused_wherever_they_answer() {
    let of = |base| Grant { kind: Ports as u32, base, len: 1, ..Grant::default() };
    let controllers =
        [0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x38, 0x3c].map(|low| [low, low | 1, low | 0x80, low | 0x81]);
    let timers = (0x40..0x44).chain(0x50..0x54);
    let dma = (0x00..0x20).chain(0x81..0xa0).chain(0xc0..0xe0);
    for port in controllers.into_iter().flatten().chain(timers).chain(dma) {
        assert!(kernels(&of(port)).is_some(), "a task may have port {port:#x}");
    }
    // What drivers of other devices need is left: the keyboard, the clock, the chipset's own chip, a serial line.
    for port in [0x2e, 0x2f, 0x60, 0x64, 0x70, 0x71, 0x80, 0x3f8, 0xcf9] {
        assert!(kernels(&of(port)).is_none(), "no task may have port {port:#x}");
    }
}
