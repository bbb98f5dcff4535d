//! Very many damaged files: each is refused in words, or the table made of it is one that the kernel takes.

use super::tests::{GOOD, OUTSIDE, system};
use ::syscall_fuzz::Random;

const COUNT: u64 = 100_000;
const THREADS: u64 = 4;

/// What may stand where something else stood.
const WORDS: [&str; 40] = [
    "0",
    "1",
    "2",
    "-1",
    "15",
    "16",
    "31",
    "32",
    "33",
    "63",
    "64",
    "65",
    "255",
    "4095",
    "4096",
    "4097",
    "65535",
    "65536",
    "0xFFFF",
    "0x10000",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "nan",
    "\"\"",
    "\"4K\"",
    "\"1M\"",
    "\"99999999999999999999G\"",
    "\"a\"",
    "\"supervisor\"",
    "\"control\"",
    "true",
    "[]",
    "{}",
    "[[]]",
    "{ a = 1 }",
    "[task.a]",
    "\"\\u0000\"",
];

/// Damages a text.
fn damage(text: &mut String, random: &mut Random) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = random.below(lines.len() as u64) as usize;
    let other = random.below(lines.len() as u64) as usize;
    let Some(first) = lines.get(line).cloned() else { return };
    match random.below(10) {
        0 => _ = lines.remove(line),
        1 => lines.insert(other, first),
        2 => lines.swap(line, other),
        // A value becomes another.
        3..=6 => {
            if let Some((key, _)) = first.split_once('=') {
                lines[line] = format!("{key}= {}", random.pick(&WORDS).copied().unwrap_or_default());
            }
        }
        // A part of a line becomes something else.
        7 | 8 => {
            let parts: Vec<_> = first.split(' ').collect();
            let chosen = random.below(parts.len() as u64) as usize;
            let word = random.pick(&WORDS).copied().unwrap_or_default();
            lines[line] = parts
                .iter()
                .enumerate()
                .map(|(i, part)| if i == chosen { word } else { part })
                .collect::<Vec<_>>()
                .join(" ");
        }
        // Any character anywhere, or nothing behind it.
        _ => {
            let at =
                first.char_indices().map(|(at, _)| at).nth(random.below(first.chars().count().max(1) as u64) as usize);
            let (before, after) = first.split_at(at.unwrap_or(0));
            let new = char::from_u32(random.below(0x180) as u32).unwrap_or('?');
            lines[line] = if random.once_in(4) { before.to_owned() } else { format!("{before}{new}{after}") };
        }
    }
    *text = lines.join("\n");
}

/// How many of a share of all texts were accepted.
fn share(number: u64) -> u64 {
    let mut random = Random::new(0x3c6e_f372_fe94_f82b ^ number);
    let mut accepted = 0;
    for _ in 0..COUNT / THREADS {
        let (mut inside, mut outside) = (GOOD.to_owned(), OUTSIDE.to_owned());
        for _ in 0..1 + random.below(3) {
            damage(if random.once_in(5) { &mut outside } else { &mut inside }, &mut random);
        }
        match system(&[&inside, &outside]) {
            Ok(system) => {
                accepted += 1;
                let bytes = system.encode();
                // Where the archive has it: at a multiple of eight.
                let mut words = vec![0_u64; bytes.len() / 8];
                zerocopy::IntoBytes::as_mut_bytes(&mut words[..]).copy_from_slice(&bytes);
                let records = abi::manifest::rules::parse(zerocopy::IntoBytes::as_bytes(&words[..]))
                    .unwrap_or_else(|what| panic!("the kernel does not take it: {what}\n{inside}\n+++\n{outside}"));
                assert_eq!(records.len(), system.tasks.len());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    accepted
}

#[test]
fn d06_damaged_files_are_refused_or_give_a_table_that_the_kernel_takes() {
    let accepted: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || share(number))).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).sum()
    });
    println!("{accepted} of {COUNT} accepted");
    assert!(
        accepted > COUNT / 20 && accepted < COUNT * 3 / 4,
        "the damage is too much or too little: {accepted} accepted"
    );
}
