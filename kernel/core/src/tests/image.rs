//! Program files: a good one, a bad one for each reason, and very many that are damaged.

use super::Random;
use crate::image::{Image, ImageError, MAX_SEGMENTS};
use abi::AbiNote;
use abi::task::{MAP_BASE, PROGRAM_BASE};
use zerocopy::IntoBytes;

const PAGE: u64 = abi::PAGE_SIZE as u64;
/// Where the program headers begin.
const TABLE: usize = 64;
/// Where the note begins.
const NOTE: usize = 0x200;
const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x40_2000;

const LOAD: u32 = 1;
const NOTES: u32 = 4;
const R: u32 = 4;
const W: u32 = 2;
const X: u32 = 1;

/// A file in memory, aligned as the loader has it.
#[derive(Clone)]
struct File {
    words: Vec<u64>,
    len: usize,
}

impl File {
    fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.words.as_mut_bytes().get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Field of a program header, by its offset (ELF-64 Object File Format, figure 6).
    fn set(&mut self, index: usize, field: usize, value: u64) {
        let size = if field < 8 { 4 } else { 8 };
        self.put(TABLE + index * 56 + field, &value.to_le_bytes()[..size]);
    }

    fn with(&self, edit: impl FnOnce(&mut File)) -> File {
        let mut file = self.clone();
        edit(&mut file);
        file
    }

    fn parse(&self) -> Result<Image, ImageError> {
        Image::parse(self.bytes())
    }
}

const TYPE: usize = 0;
const FLAGS: usize = 4;
const OFFSET: usize = 8;
const ADDR: usize = 16;
const FILE_SIZE: usize = 32;
const MEM_SIZE: usize = 40;

fn segment(file: &mut File, index: usize, kind: u32, flags: u32, place: [u64; 4]) {
    let [offset, addr, file_size, mem_size] = place;
    let words =
        [(OFFSET, offset), (ADDR, addr), (ADDR + 8, addr), (FILE_SIZE, file_size), (MEM_SIZE, mem_size), (48, PAGE)];
    for (field, value) in [(TYPE, kind.into()), (FLAGS, flags.into())].into_iter().chain(words) {
        file.set(index, field, value);
    }
}

/// Code, data with zeroed bytes behind, and the note.
fn good() -> File {
    let mut file = File { words: vec![0; 0x2400 / 8], len: 0x2400 };
    file.put(0, b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 2u16), (18, 62), (52, 64), (54, 56), (56, 3), (58, 64)] {
        file.put(at, &value.to_le_bytes());
    }
    file.put(20, &1u32.to_le_bytes());
    file.put(24, &(CODE + 0x10).to_le_bytes());
    file.put(32, &(TABLE as u64).to_le_bytes());
    segment(&mut file, 0, NOTES, R, [NOTE as u64, 0, 28, 28]);
    segment(&mut file, 1, LOAD, R | X, [0x1000, CODE, 0x800, 0x800]);
    segment(&mut file, 2, LOAD, R | W, [0x2008, DATA + 8, 0x300, 0x3000]);
    let n = AbiNote::CURRENT;
    for (i, word) in [n.name_size, n.desc_size, n.kind].into_iter().enumerate() {
        file.put(NOTE + 4 * i, &word.to_le_bytes());
    }
    file.put(NOTE + 12, &n.name);
    file.put(NOTE + 20, &n.hash);
    file
}

/// What must be true of everything that the parser lets through.
fn sound(image: &Image, file: &[u8]) {
    let segments = image.segments();
    assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
    for s in segments {
        assert!(!(s.writable && s.executable), "writable and executable");
        assert!(s.addr >= PROGRAM_BASE && s.size > 0 && s.addr.checked_add(s.size).is_some_and(|end| end <= MAP_BASE));
        assert!(s.offset.checked_add(s.filled).is_some_and(|end| end <= file.len()) && s.filled as u64 <= s.size);
        assert!(s.filled == 0 || s.addr % PAGE == s.offset as u64 % PAGE);
        assert!(s.first_page() <= s.addr && s.end_page() >= s.addr + s.size && s.end_page() <= MAP_BASE);
    }
    for (i, a) in segments.iter().enumerate() {
        assert!(segments[i + 1..].iter().all(|b| a.end_page() <= b.first_page() || b.end_page() <= a.first_page()));
    }
    assert!(segments.iter().any(|s| s.executable && s.addr <= image.entry && image.entry < s.addr + s.size));
    assert_eq!(image.pages(), segments.iter().map(|s| (s.end_page() - s.first_page()) / PAGE).sum::<u64>());
}

#[test]
fn a_good_program_is_taken_as_it_is() {
    let file = good();
    let image = file.parse().unwrap();
    sound(&image, file.bytes());
    assert_eq!((image.entry, image.pages()), (CODE + 0x10, 5));
    let [code, data] = image.segments() else { panic!("two segments") };
    assert_eq!((code.addr, code.size, code.offset, code.filled), (CODE, 0x800, 0x1000, 0x800));
    assert!(code.executable && !code.writable && data.writable && !data.executable);
    assert_eq!((data.addr, data.size, data.offset, data.filled), (DATA + 8, 0x3000, 0x2008, 0x300));
    assert_eq!((data.first_page(), data.end_page()), (DATA, DATA + 0x4000));
}

type Edit = fn(&mut File);

/// For each reason, damage that has it.
const BAD: &[(ImageError, &str, Edit)] = &[
    (ImageError::Truncated, "no header", |f| f.len = 63),
    (ImageError::Truncated, "empty", |f| f.len = 0),
    (ImageError::Truncated, "no program headers", |f| f.len = TABLE + 3 * 56 - 1),
    (ImageError::Truncated, "too many program headers", |f| f.put(56, &[0xff, 0xff])),
    (ImageError::Truncated, "program headers far outside", |f| f.put(32, &(u64::MAX - 7).to_le_bytes())),
    (ImageError::NotElf, "magic", |f| f.put(0, b"\x7fELK")),
    (ImageError::NotElf, "32 bits", |f| f.put(4, &[1])),
    (ImageError::NotElf, "big endian", |f| f.put(5, &[2])),
    (ImageError::NotElf, "another machine", |f| f.put(18, &[183, 0])),
    (ImageError::NotElf, "entry size", |f| f.put(54, &[57])),
    (ImageError::NotElf, "table within the header", |f| f.put(32, &[56])),
    (ImageError::NotElf, "misaligned table", |f| f.put(32, &[65])),
    (ImageError::NotStatic, "position independent", |f| f.put(16, &[3])),
    (ImageError::NotStatic, "an object file", |f| f.put(16, &[1])),
    (ImageError::NotStatic, "a dynamic section", |f| f.set(2, TYPE, 2)),
    (ImageError::NotStatic, "an interpreter", |f| f.set(2, TYPE, 3)),
    (ImageError::NotStatic, "thread-local data", |f| f.set(2, TYPE, 7)),
    (ImageError::Segments, "no program header", |f| f.put(56, &[0])),
    (ImageError::Segments, "nothing to load", |f| {
        f.set(1, TYPE, 0);
        f.set(2, TYPE, 0);
    }),
    (ImageError::Segments, "nine segments", |f| {
        f.put(56, &[(MAX_SEGMENTS + 2) as u8]);
        // The table grows over the note, which moves.
        let note: Vec<u8> = f.bytes()[NOTE..NOTE + 28].to_vec();
        f.put(0x400, &note);
        for i in 0..=MAX_SEGMENTS {
            segment(f, i + 1, LOAD, R | X, [0x1000, CODE + i as u64 * PAGE, 1, 1]);
        }
        segment(f, 0, NOTES, R, [0x400, 0, 28, 28]);
    }),
    (ImageError::FileRange, "outside the file", |f| f.set(2, OFFSET, 0x2208)),
    (ImageError::FileRange, "wraps", |f| f.set(2, OFFSET, u64::MAX - 0x2ff)),
    (ImageError::FileRange, "longer than in memory", |f| f.set(2, MEM_SIZE, 0x2ff)),
    (ImageError::FileRange, "the note outside the file", |f| f.set(0, OFFSET, 0x23f0)),
    (ImageError::OutOfRange, "the first page", |f| f.set(1, ADDR, 0)),
    (ImageError::OutOfRange, "where a table that was never set may lie", |f| f.set(1, ADDR, 0x1000)),
    (ImageError::OutOfRange, "the last page below the first", |f| f.set(1, ADDR, PROGRAM_BASE - PAGE)),
    (ImageError::OutOfRange, "the upper half", |f| f.set(2, ADDR, 0xffff_8000_0000_0008)),
    (ImageError::OutOfRange, "where memory is mapped", |f| f.set(2, ADDR, MAP_BASE - PAGE + 8)),
    (ImageError::OutOfRange, "wraps", |f| f.set(2, MEM_SIZE, u64::MAX)),
    (ImageError::Misaligned, "offset and address", |f| f.set(2, ADDR, DATA + 16)),
    (ImageError::Overlap, "the same page", |f| f.set(2, ADDR, CODE + 8)),
    (ImageError::Overlap, "the last page", |f| f.set(1, MEM_SIZE, 0x2001)),
    (ImageError::Overlap, "descending", |f| f.set(2, ADDR, CODE - 0x4000 + 8)),
    (ImageError::WriteExecute, "both", |f| f.set(2, FLAGS, (R | W | X).into())),
    (ImageError::Entry, "in the data", |f| f.put(24, &(DATA + 8).to_le_bytes())),
    (ImageError::Entry, "behind the code", |f| f.put(24, &(CODE + 0x800).to_le_bytes())),
    (ImageError::Entry, "nothing is executable", |f| f.set(1, FLAGS, R.into())),
    (ImageError::NoNote, "no note segment", |f| f.set(0, TYPE, 0)),
    (ImageError::NoNote, "another name", |f| f.put(NOTE + 12, b"enigma")),
    (ImageError::NoNote, "another type", |f| f.put(NOTE + 8, &[2])),
    (ImageError::NoNote, "an empty note segment", |f| f.set(0, FILE_SIZE, 0)),
    (ImageError::Truncated, "half a note", |f| f.set(0, FILE_SIZE, 20)),
    (ImageError::Truncated, "a note with a name of 4 GiB", |f| f.put(NOTE, &[0xff; 4])),
    (ImageError::OtherAbi, "another hash", |f| f.put(NOTE + 20, &[!AbiNote::CURRENT.hash[0]])),
    (ImageError::OtherAbi, "a longer hash", |f| {
        f.put(NOTE + 4, &[12]);
        f.set(0, FILE_SIZE, 32);
    }),
];

#[test]
fn a_bad_program_is_refused_for_its_reason() {
    for (expected, what, edit) in BAD {
        assert_eq!(good().with(edit).parse().err(), Some(*expected), "{what}");
    }
    let file = good();
    let mut shifted = vec![0u64; file.words.len() + 1];
    shifted.as_mut_bytes()[1..=file.len].copy_from_slice(file.bytes());
    assert_eq!(Image::parse(&shifted.as_bytes()[1..=file.len]).err(), Some(ImageError::NotElf), "misaligned in memory");
}

#[test]
fn every_reason_is_tried_and_has_words() {
    use ImageError::*;
    let all = [
        Missing,
        Truncated,
        NotElf,
        NotStatic,
        Segments,
        FileRange,
        OutOfRange,
        Misaligned,
        Overlap,
        WriteExecute,
        Entry,
        NoNote,
        OtherAbi,
    ];
    for (code, reason) in (1u64..).zip(all) {
        assert_eq!(reason as u64, code);
        assert!(reason == Missing || BAD.iter().any(|b| b.0 == reason), "{reason:?} is not tried");
        assert!(all.iter().all(|other| *other == reason || other.describe() != reason.describe()));
    }
}

#[test]
fn what_does_not_matter_is_let_through() {
    let fine: &[(&str, Edit)] = &[
        ("an empty segment", |f| {
            f.set(2, MEM_SIZE, 0);
            f.set(2, FLAGS, 7);
        }),
        ("a stack segment", |f| f.set(2, TYPE, 0x6474_e551)),
        ("no file part", |f| {
            f.set(2, FILE_SIZE, 0);
            f.set(2, ADDR, DATA + 99);
        }),
        ("no file part, behind the end of the file", |f| {
            f.set(2, FILE_SIZE, 0);
            f.set(2, OFFSET, 0x3008);
        }),
        ("right up to the end", |f| {
            f.set(2, ADDR, MAP_BASE - 0x4000 + 8);
            f.set(2, MEM_SIZE, 0x3ff8);
        }),
        ("side by side", |f| f.set(1, MEM_SIZE, 0x2000)),
        ("another note first", |f| {
            let note = f.bytes()[NOTE..NOTE + 28].to_vec();
            f.put(NOTE, &[4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
            f.put(NOTE + 12, b"GNU\0abc\0");
            f.put(NOTE + 20, &note);
            f.set(0, FILE_SIZE, 48);
        }),
    ];
    for (what, edit) in fine {
        let file = good().with(edit);
        let image = file.parse().unwrap_or_else(|e| panic!("{what}: {e:?}"));
        sound(&image, file.bytes());
    }
}

/// Values at which comparisons and sums go wrong.
fn interesting(random: &mut Random) -> u64 {
    let base = [
        0,
        1,
        7,
        8,
        56,
        64,
        0xfff,
        PAGE,
        PROGRAM_BASE,
        CODE,
        DATA,
        MAP_BASE,
        1 << 31,
        1 << 32,
        1 << 47,
        1 << 63,
        u64::MAX,
    ];
    let value = base[random.below(base.len())];
    match random.below(4) {
        0 => value.wrapping_sub(1 + random.next() % 16),
        1 => value.wrapping_add(random.next() % 0x1000),
        _ => value,
    }
}

fn damage(file: &mut File, random: &mut Random) {
    match random.below(8) {
        // A bit, mostly of the headers or the note.
        0 | 1 => {
            let end = [TABLE, TABLE + 5 * 56, NOTE + 28, file.words.len() * 8][random.below(4)];
            let (at, bit) = (random.below(end), random.below(8));
            let byte = file.words.as_bytes()[at] ^ 1 << bit;
            file.put(at, &[byte]);
        }
        // A field of a program header.
        2..=4 => {
            let field = [TYPE, FLAGS, OFFSET, ADDR, FILE_SIZE, MEM_SIZE][random.below(6)];
            let value = if field == TYPE || field == FLAGS { random.next() % 9 } else { interesting(random) };
            file.set(random.below(5), field, value);
        }
        // A field of the file's header.
        5 => {
            let (at, size) =
                [(16, 2), (18, 2), (24, 8), (32, 8), (52, 2), (54, 2), (56, 2), (58, 2), (60, 2)][random.below(9)];
            let value = interesting(random);
            file.put(at, &value.to_le_bytes()[..size]);
        }
        // A word of the note.
        6 => {
            let value = interesting(random) as u32;
            file.put(NOTE + 4 * random.below(7), &value.to_le_bytes());
        }
        _ => file.len = random.below(file.words.len() * 8 + 1),
    }
}

/// A number of the file, little endian; 0 beyond its end.
fn number(file: &[u8], at: usize, size: usize) -> u64 {
    let byte = |i: usize| at.checked_add(i).and_then(|at| file.get(at)).map_or(0, |&b| u64::from(b) << (8 * i));
    (0..size).map(byte).sum()
}

/// Whether a file that was accepted is harmless, by its bytes alone and by other means than the parser's: the program headers are read again, every
/// page that a loader would map is entered in a list, and what the parser says is to be loaded is compared with them.
fn harmless(file: &[u8], image: &Image) {
    assert_eq!(number(file, 0, 4), u64::from(u32::from_le_bytes(*b"\x7fELF")));
    assert_eq!((number(file, 16, 2), number(file, 18, 2)), (2, 62), "no executable for this machine");
    let (table, count) = (number(file, 32, 8) as usize, number(file, 56, 2) as usize);
    assert!(table.checked_add(count * 56).is_some_and(|end| end <= file.len()), "headers outside the file");
    let entry = number(file, 24, 8);
    assert_eq!(entry, image.entry);
    let (mut pages, mut found, mut entered) = (Vec::new(), Vec::new(), false);
    for header in (0..count).map(|i| table + i * 56) {
        let (kind, flags) = (number(file, header, 4) as u32, number(file, header + 4, 4) as u32);
        let [offset, addr, filled, size] =
            [OFFSET, ADDR, FILE_SIZE, MEM_SIZE].map(|field| number(file, header + field, 8));
        assert!(![2, 3, 7].contains(&kind), "it wants a dynamic linker or a thread's own data");
        if kind != LOAD || size == 0 {
            continue;
        }
        let wide = |value: u64| u128::from(value);
        assert!(
            filled <= size && (filled == 0 || wide(offset) + wide(filled) <= file.len() as u128),
            "outside the file"
        );
        assert!(
            addr >= PROGRAM_BASE && wide(addr) + wide(size) <= wide(MAP_BASE),
            "outside the addresses for programs"
        );
        assert_ne!(flags & (W | X), W | X, "writable and executable");
        assert!(filled == 0 || (addr ^ offset) % PAGE == 0, "bytes of the file would move within the page");
        pages.push((addr / PAGE, (addr + size - 1) / PAGE));
        entered |= flags & X != 0 && (addr..addr + size).contains(&entry);
        let offset = if filled == 0 { 0 } else { offset };
        found.push((addr, size, offset, filled, flags & W != 0, flags & X != 0));
    }
    pages.sort_unstable();
    assert!(pages.windows(2).all(|pair| pair[0].1 < pair[1].0), "two segments share a page");
    assert!(entered, "it begins where nothing may be executed");
    let loaded: Vec<_> = image
        .segments()
        .iter()
        .map(|s| (s.addr, s.size, s.offset as u64, s.filled as u64, s.writable, s.executable))
        .collect();
    assert_eq!(loaded, found, "what is loaded is not what the file says");
}

/// Programs to be damaged: one with as many segments as there may be, one with its note last, one whose data has no bytes in the file.
fn shapes() -> [File; 4] {
    let many = good().with(|f| {
        f.put(56, &[5]);
        segment(f, 3, LOAD, R, [0x1100, CODE + 0x6100, 0x40, 0x40]);
        segment(f, 4, LOAD, R | W, [0x2000, CODE + 0x8000, 0, 0x2000]);
    });
    let last = good().with(|f| {
        let headers: Vec<u8> = f.bytes()[TABLE..TABLE + 3 * 56].to_vec();
        f.put(TABLE, &headers[56..]);
        f.put(TABLE + 2 * 56, &headers[..56]);
    });
    let empty = good().with(|f| {
        f.set(2, FILE_SIZE, 0);
        f.set(2, OFFSET, 0x9000);
    });
    [good(), many, last, empty]
}

/// A header goes where another is, or two change places; or a segment comes to lie beside, upon or around another.
fn rearrange(file: &mut File, random: &mut Random) {
    let (one, other) = (random.below(5), random.below(5));
    let [from, to] = [one, other].map(|i| TABLE + i * 56);
    let header = |file: &File, at: usize| file.bytes().get(at..at + 56).map(<[u8]>::to_vec);
    let (Some(first), Some(second)) = (header(file, from), header(file, to)) else { return };
    match random.below(3) {
        0 => file.put(to, &first),
        1 => {
            file.put(to, &first);
            file.put(from, &second);
        }
        _ => {
            let (addr, size) = (number(&second, ADDR, 8), number(&second, MEM_SIZE, 8));
            let near = [addr, addr.wrapping_add(size), addr.wrapping_sub(PAGE), addr.wrapping_add(size - size.min(1))];
            file.set(one, ADDR, near[random.below(4)].wrapping_add([0, 8, PAGE][random.below(3)]));
        }
    }
}

#[test]
fn d06_damaged_programs_are_refused_or_harmless() {
    const COUNT: usize = 200_000;
    let (shapes, mut random) = (shapes(), Random(0x6a09_e667_f3bc_c909));
    let mut accepted = 0;
    let mut refused = [0; 14];
    let mut files = shapes.clone();
    for round in 0..COUNT {
        let (file, whole) = (&mut files[round % 4], &shapes[round % 4]);
        whole.parse().expect("undamaged, it is good");
        // Headers and note are all that is ever changed but for single bits, so only they are put back.
        file.words[..0x300 / 8].copy_from_slice(&whole.words[..0x300 / 8]);
        file.len = whole.len;
        for _ in 0..1 + random.below(4) {
            if random.below(5) == 0 { rearrange(file, &mut random) } else { damage(file, &mut random) }
        }
        match file.parse() {
            Ok(image) => {
                sound(&image, file.bytes());
                harmless(file.bytes(), &image);
                accepted += 1;
            }
            Err(reason) => refused[reason as usize] += 1,
        }
    }
    println!("{accepted} of {COUNT} accepted, refused by reason {refused:?}");
    assert!(accepted > COUNT / 50 && accepted < COUNT / 2, "the damage is too much or too little: {accepted} accepted");
    assert!(refused[2..].iter().all(|&n| n > 20), "a reason is hardly ever met: {refused:?}");
}

#[test]
fn d06_random_bytes_are_no_program() {
    let mut random = Random(0x510e_527f_ade6_82d1);
    let mut words = [0_u64; 64];
    for _ in 0..100_000 {
        words.iter_mut().for_each(|word| *word = random.next());
        let len = random.below(words.len() * 8 + 1);
        // Half of them begin as a program does, or nothing but the first check would be tried.
        if random.below(2) == 0 {
            words[0] = u64::from_le_bytes(*b"\x7fELF\x02\x01\x01\0");
            words[2] = 0x1_003e_0002;
        }
        if random.below(4) == 0 {
            (words[4], words[7]) = (64, words[7] & !0xffff_ffff_ffff | 56 << 48 | words[7] & 0xffff_ffff);
        }
        if let Ok(image) = Image::parse(&words.as_bytes()[..len]) {
            harmless(&words.as_bytes()[..len], &image);
        }
    }
}
