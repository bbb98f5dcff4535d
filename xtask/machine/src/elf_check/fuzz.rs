//! Very many damaged programs: none stops the check, and what it lets through is harmless, also to the kernel's own loader.

use super::inspect;
use super::tests::good;
use abi::PAGE_SIZE;
use abi::task::{MAP_BASE, PROGRAM_BASE};
use kernel_core::image::Image;
use zerocopy::IntoBytes;

const COUNT: usize = 100_000;
const PAGE: u64 = PAGE_SIZE as u64;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// xorshift64*, after S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }
}

/// The good program with each segment where its address wants it in the file, as a linker places it and the kernel demands.
fn linked(headers: usize) -> Vec<u8> {
    let old = good().bytes();
    let number = |at: usize| u64::from_le_bytes(old[at..at + 8].try_into().expect("eight bytes"));
    let mut file = old[..HEADER + headers * PROGRAM_HEADER].to_vec();
    for i in 0..headers {
        let at = HEADER + i * PROGRAM_HEADER;
        let (offset, addr, filled) = (number(at + 8) as usize, number(at + 16), number(at + 32) as usize);
        file.resize(file.len().next_multiple_of(8), 0);
        if addr != 0 {
            file.resize(file.len().next_multiple_of(PAGE_SIZE) + (addr % PAGE) as usize, 0);
        }
        let place = file.len() as u64;
        file[at + 8..at + 16].copy_from_slice(&place.to_le_bytes());
        file.extend(&old[offset..offset + filled]);
    }
    file
}

/// Fields of the file's header and of a program header, by offset and size (ELF-64 Object File Format, figures 2 and 6).
const FIELDS: [(usize, usize); 12] =
    [(16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (52, 2), (54, 2), (56, 2), (58, 2), (60, 2), (62, 2)];
const PROGRAM_FIELDS: [(usize, usize); 8] = [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8)];

/// Values at which comparisons and sums go wrong.
fn interesting(random: &mut Random) -> u64 {
    let values = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        56,
        64,
        0xfff,
        PAGE,
        PROGRAM_BASE,
        0x20_0000,
        0x20_3000,
        MAP_BASE,
        1 << 32,
        1 << 47,
        1 << 63,
        u64::MAX,
    ];
    let value = values[random.below(values.len())];
    match random.below(4) {
        0 => value.wrapping_sub(1 + random.next() % 16),
        1 => value.wrapping_add(random.next() % 0x1000),
        _ => value,
    }
}

fn damage(file: &mut Vec<u8>, headers: usize, random: &mut Random) {
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = file.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    };
    match random.below(8) {
        0 => {
            let (at, size) = FIELDS[random.below(FIELDS.len())];
            put(at, &interesting(random).to_le_bytes()[..size]);
        }
        1..=3 => {
            let (field, size) = PROGRAM_FIELDS[random.below(PROGRAM_FIELDS.len())];
            let at = HEADER + random.below(headers) * PROGRAM_HEADER + field;
            put(at, &interesting(random).to_le_bytes()[..size]);
        }
        // One program header becomes the copy of another.
        4 => {
            let place = |number: usize| HEADER + number * PROGRAM_HEADER;
            let (from, to) = (place(random.below(headers)), place(random.below(headers)));
            if from + PROGRAM_HEADER <= file.len() && to + PROGRAM_HEADER <= file.len() {
                file.copy_within(from..from + PROGRAM_HEADER, to);
            }
        }
        5 | 6 => {
            let end = [HEADER, HEADER + headers * PROGRAM_HEADER, file.len()][random.below(3)].min(file.len());
            if end > 0 {
                file[random.below(end)] ^= 1 << random.below(8);
            }
        }
        _ => file.truncate(random.below(file.len() + 1)),
    }
}

/// What the file's own program headers say, read by nobody's library: type, flags, offset, address, bytes in the file, in memory.
fn loads(file: &[u8]) -> Vec<[u64; 6]> {
    let number =
        |at: usize, size: usize| file[at..at + size].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    let (table, count) = (number(32, 8) as usize, number(56, 2) as usize);
    let row = |i: usize| {
        let at = table + i * PROGRAM_HEADER;
        [(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8)].map(|(field, size)| number(at + field, size))
    };
    (0..count).map(row).filter(|row| row[0] == 1 && row[5] != 0).collect()
}

/// What must be true of everything that is let through.
fn harmless(file: &[u8]) {
    let loads = loads(file);
    assert!(!loads.is_empty());
    for (i, &[_, flags, offset, addr, filled, size]) in loads.iter().enumerate() {
        assert!(flags & 3 != 3, "segment {i} is writable and executable");
        let end = addr.checked_add(size).expect("it does not wrap");
        assert!(addr >= PROGRAM_BASE && end <= MAP_BASE, "segment {i} is at {addr:#x}-{end:#x}");
        assert!(filled <= size, "segment {i} is longer in the file");
        let inside = offset.checked_add(filled).is_some_and(|end| end <= file.len() as u64);
        assert!(filled == 0 || inside, "segment {i} is outside");
        for &[_, other_flags, _, other, _, other_size] in &loads[..i] {
            assert!(end <= other || other + other_size <= addr, "segment {i} overlaps");
            let apart = end.next_multiple_of(PAGE) <= other & !(PAGE - 1)
                || (other + other_size).next_multiple_of(PAGE) <= addr & !(PAGE - 1);
            assert!(apart || flags == other_flags, "segment {i} shares a page with other permissions");
        }
    }
}

#[test]
fn d06_damaged_programs_never_stop_the_check_and_what_is_let_through_is_harmless() {
    let headers = good().segments.len() + 1;
    let (whole, mut random) = (linked(headers), Random(0x510e_527f_ade6_82d1));
    assert!(inspect("x", &whole, 16).is_ok(), "the undamaged program is refused");
    let (mut accepted, mut loaded) = (0, 0);
    for _ in 0..COUNT {
        let mut file = whole.clone();
        for _ in 0..1 + random.below(3) {
            damage(&mut file, headers, &mut random);
        }
        let mut words = vec![0_u64; file.len().div_ceil(8)];
        words.as_mut_bytes()[..file.len()].copy_from_slice(&file);
        let image = Image::parse(&words.as_bytes()[..file.len()]);
        if inspect("x", &file, 16).is_ok() {
            harmless(&file);
            accepted += 1;
        }
        if let Ok(image) = image {
            let found: Vec<_> = image.segments().iter().map(|s| (s.addr, s.size)).collect();
            let said: Vec<_> = loads(&file).iter().map(|load| (load[3], load[5])).collect();
            assert_eq!(found, said, "the kernel loads something else than the file says");
            harmless(&file);
            loaded += 1;
        }
    }
    println!("{accepted} of {COUNT} let through here, {loaded} by the kernel");
    assert!(accepted > COUNT / 100 && accepted < COUNT / 2, "too much damage or too little: {accepted} let through");
    assert!(loaded > COUNT / 100 && loaded < COUNT / 2, "too much damage or too little: {loaded} loaded");
}
