use super::*;
use proptest::prelude::*;
use supervisor::lines::find;

fn found(table: &[u8], address: u64) -> Stack {
    find(table, address).map(|line| (line.function.to_owned(), line.file.to_owned(), line.line)).collect()
}

fn stacks() -> impl Strategy<Value = Stack> {
    let line = ("[a-c]{1,2}", "[x-z]{0,2}", prop_oneof![0u32..5, 0u32..1 << 24]);
    prop::collection::vec(line, 0..5)
}

proptest! {
    /// What was put into a table is found in it, at every address, and nothing else.
    #[test]
    fn a_table_gives_back_what_it_was_made_of(
        base in prop_oneof![Just(0x20_0000_u64), any::<u32>().prop_map(u64::from), Just(1 << 45)],
        parts in prop::collection::vec((0u64..5, 1u64..300, stacks()), 1..300),
    ) {
        let (mut ranges, mut at) = (Vec::new(), base);
        for (gap, length, stack) in parts {
            let start = if ranges.is_empty() { at } else { at + gap };
            at = start + length;
            ranges.push((start, length, stack));
        }
        let table = encode(&ranges).expect("it fits");
        for (index, (start, length, stack)) in ranges.iter().enumerate() {
            for address in [*start, start + length / 2, start + length - 1] {
                prop_assert_eq!(&found(&table, address), stack, "{:#x}", address);
            }
            let next = ranges.get(index + 1).map_or(u64::MAX, |next| next.0);
            if start + length < next {
                prop_assert_eq!(found(&table, start + length), Stack::new());
            }
        }
        prop_assert_eq!(found(&table, base.wrapping_sub(1)), Stack::new());
        prop_assert_eq!(found(&table, u64::MAX), Stack::new());
    }

    /// A damaged table gives no or wrong lines, and nothing worse.
    #[test]
    fn a_damaged_table_does_no_harm(
        parts in prop::collection::vec(stacks(), 1..20), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
        cut in any::<prop::sample::Index>(), address in 0u64..400,
    ) {
        let ranges: Vec<_> = parts.into_iter().zip(0..).map(|(stack, n)| (n * 16, 16, stack)).collect();
        let mut table = encode(&ranges).expect("it fits");
        for (at, byte) in damage {
            let at = at.index(table.len());
            table[at] = byte;
        }
        prop_assert!(found(&table, address).len() <= supervisor::lines::DEPTH);
        table.truncate(cut.index(table.len() + 1));
        prop_assert!(found(&table, address).len() <= supervisor::lines::DEPTH);
    }
}

#[test]
fn nothing_is_known_of_an_empty_program() {
    assert_eq!(encode(&[]), Some(Vec::new()));
    assert_eq!(found(&[], 0), Stack::new());
    assert_eq!(encode(&[(0, 1 << 33, Stack::new())]), None, "lengths have 32 bits");
}

#[test]
fn names_of_files_tell_nothing_of_the_machine() {
    let roots = Roots { dirs: vec!["/home/me/enigma".to_owned(), "/home/me".to_owned()] };
    for (file, short) in [
        ("/home/me/enigma/userspace/apps/fault/src/main.rs", "userspace/apps/fault/src/main.rs"),
        ("/home/me/mydriver/src/main.rs", "mydriver/src/main.rs"),
        ("/home/you/.cargo/registry/src/mirror-0123/vte-0.15.0/src/lib.rs", "vte-0.15.0/src/lib.rs"),
        ("/usr/lib/rustlib/src/rust/library/core/src/fmt/mod.rs", "core/src/fmt/mod.rs"),
        ("/rustc/1234/library/alloc/src/vec/mod.rs", "alloc/src/vec/mod.rs"),
        ("/somewhere/else/entirely/a/b.rs", "entirely/a/b.rs"),
        ("b.rs", "b.rs"),
        ("", ""),
    ] {
        assert_eq!(roots.short(file), short);
    }
}

#[inline(always)]
fn inlined_function(value: u64) -> u64 {
    std::hint::black_box(value) + 1
}

#[inline(never)]
fn known_function(value: u64) -> u64 {
    inlined_function(value) * 2
}

/// This program's own lines: with the function that is inlined, and where.
#[test]
fn our_own_program_has_lines() {
    assert_eq!(known_function(1), 4);
    let program = std::env::current_exe().expect("a path");
    let bytes = std::fs::read(&program).expect("the program");
    let elf = Elf::parse(&bytes).expect("an ELF file");
    let symbol = elf.syms.iter().find(|symbol| {
        elf.strtab
            .get_at(symbol.st_name)
            .is_some_and(|name| archive::readable(name).ends_with("lines::tests::known_function"))
    });
    let symbol = symbol.expect("the function");
    let code = symbol.st_value..symbol.st_value + symbol.st_size;
    let ranges = ranges(&load(&program).expect("its debug information"), code, &Roots::default()).expect("lines");
    let of = |name: &str| {
        ranges.iter().find(|(.., stack)| stack.first().is_some_and(|(function, ..)| function.ends_with(name)))
    };
    let (.., stack) =
        of("lines::tests::inlined_function").unwrap_or_else(|| panic!("no inlined function in {ranges:?}"));
    let names: Vec<_> = stack.iter().map(|(function, ..)| function.rsplit("::").next().unwrap_or("")).collect();
    assert_eq!(names, ["inlined_function", "known_function"]);
    assert!(stack.iter().all(|(_, file, line)| file.ends_with("src/lines_tests.rs") && *line > 80), "{stack:?}");
}
