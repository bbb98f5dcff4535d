//! What the sources must look like for `docs/security.md` to be true, where no run of the system can show it: which files may use what, and
//! that every test that the document names is there.

use machine::manifest::{KernelRight, System};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}

/// Every Rust file below a directory of the repository, by its path from there.
fn sources(below: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root().join(below)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.insert(name, text);
            }
        }
    }
    found
}

/// The code that runs in ring 0: without tests, comments and the contents of strings.
fn kernel_code() -> BTreeMap<String, Vec<String>> {
    let mut all = sources("kernel/src");
    all.extend(sources("kernel/core/src").into_iter().filter(|(name, _)| !name.contains("/tests/")));
    // Only test kernels link the first; only a kernel that checks itself, with the feature `verify`, the others.
    for other in ["kernel/src/testing.rs", "kernel/src/verify.rs", "kernel/core/src/check.rs"] {
        all.remove(other).unwrap_or_else(|| panic!("{other} is gone: look what took its place"));
    }
    all.into_iter().map(|(name, text)| (name, code_of(&text))).collect()
}

/// The lines of a file that are compiled into the kernel, with nothing in their strings.
fn code_of(text: &str) -> Vec<String> {
    let whole = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut lines = Vec::new();
    for line in whole.lines() {
        let mut code = String::new();
        let mut quoted = false;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if quoted => _ = chars.next(),
                '"' => {
                    quoted = !quoted;
                    code.push('"');
                }
                // A quotation mark as a character begins no string.
                '\'' if !quoted && chars.peek() == Some(&'"') => _ = chars.next(),
                _ if quoted => {}
                '/' if chars.peek() == Some(&'/') => break,
                _ => code.push(c),
            }
        }
        lines.push(code);
    }
    lines
}

/// How often `counted` finds something in each file, files without any left out.
fn count(counted: impl Fn(&str) -> usize) -> BTreeMap<String, usize> {
    let sums = kernel_code().into_iter().map(|(name, lines)| (name, lines.iter().map(|line| counted(line)).sum()));
    sums.filter(|&(_, sum)| sum != 0).collect()
}

/// Fails where a file has more than its allowance. Fewer are fine: the next change may make the list shorter.
fn none_but(found: &BTreeMap<String, usize>, allowed: &[(&str, usize, &str)], what: &str) {
    for (name, &sum) in found {
        let most = allowed.iter().find(|(file, ..)| file == name).map_or(0, |&(_, most, _)| most);
        assert!(
            sum <= most,
            "{name} has {sum} {what} instead of at most {most}: no input of a task may reach one. Take it out, or argue in the list in {}",
            file!()
        );
    }
    for (name, _, why) in allowed {
        assert!(root().join(name).is_file(), "{name}, which was allowed because {why}, is gone: take it off the list");
    }
}

fn occurrences(line: &str, words: &[&str]) -> usize {
    words.iter().map(|word| line.matches(word).count()).sum()
}

/// An index: a bracket right behind a name, a call or another index.
fn indexes(line: &str) -> usize {
    let bytes = line.as_bytes();
    let is_value = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b')' | b']');
    bytes.windows(2).filter(|pair| pair[1] == b'[' && is_value(pair[0])).count()
}

/// A division or remainder whose right side is not a number or a constant.
fn divisions(line: &str) -> usize {
    let mut sum = 0;
    for operator in [" / ", " % ", " /= ", " %= "] {
        for (at, _) in line.match_indices(operator) {
            let right = line[at + operator.len()..].trim_start_matches('(');
            let word: String =
                right.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '<' | '>')).collect();
            let last = word.rsplit("::").next().unwrap_or_default();
            let constant = last.chars().next().is_some_and(|c| c.is_ascii_digit())
                || (!last.is_empty() && last.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
                || word.starts_with("size_of");
            sum += usize::from(!constant);
        }
    }
    sum
}

#[test]
fn the_scanner_sees_what_it_should() {
    assert_eq!(
        code_of("a[0] // b[1]\nlet s = \"c[2] \\\" // d[3]\"; e[4]\n#[cfg(test)]\nmod tests { f[5] }"),
        ["a[0] ".to_owned(), "let s = \"\"; e[4]".to_owned()]
    );
    assert_eq!(
        code_of("let quote = '\"'; x[0] // \""),
        ["let quote = '; x[0] ".to_owned()].map(|s| s.replace("';", "'; ").replace(";  ", "; "))
    );
    assert_eq!(indexes("a[0] b(1)[2] #[test] [u8; 4] &[1] vec![1] c[1][2]"), 4);
    assert_eq!(divisions("a / 2 + b / PAGE + c / u64::MAX + d % size_of::<u8>() + e / rate + f / (g - h)"), 2);
}

/// User memory is dereferenced in one file. Nobody else in the kernel makes a pointer of a number that a task gave, because nobody else that
/// handles such numbers has `unsafe` code at all; and nothing suspends SMAP, so that a pointer of a task's would fault where it slipped in.
#[test]
fn d03_one_door_to_user_memory() {
    let unsafe_code = count(|line| occurrences(line, &["unsafe {", "unsafe fn", "unsafe impl"]));
    let may: BTreeSet<_> = [
        // The door.
        "kernel/src/usermem.rs",
        // Fills fresh frames, by their physical addresses, before their task runs.
        "kernel/src/loader.rs",
        // A port of a task's that is debugged.
        "kernel/src/debug.rs",
        // Before the first task, and after the last.
        "kernel/src/boot.rs",
        "kernel/src/heap.rs",
        "kernel/src/panic.rs",
        "kernel/src/start.rs",
    ]
    .into();
    for name in unsafe_code.keys() {
        assert!(
            may.contains(name.as_str()) || name.starts_with("kernel/src/arch/"),
            "{name} has unsafe code: only the door, the machine's own files and those before the first task may"
        );
    }
    let pointers = count(|line| occurrences(line, &["with_exposed_provenance", "copy_nonoverlapping", "ptr::copy("]));
    let named: Vec<_> = pointers.keys().filter(|name| !name.starts_with("kernel/src/arch/")).collect();
    assert!(named.iter().all(|name| may.contains(name.as_str())), "pointers are made of numbers in {named:?}");
    for (name, text) in sources("kernel/src") {
        assert!(!text.contains("\"stac"), "{name} suspends SMAP");
    }
    // The leases of a call are fetched once, when it is made; what copies from them later looks at the kernel's own.
    let code = |name: &str| kernel_code().remove(name).unwrap_or_else(|| panic!("{name} is gone")).join("\n");
    assert!(!code("kernel/src/lease.rs").contains("usermem::read"), "what copies from leases fetches none");
    let fetched = code("kernel/src/syscall.rs").matches("leases.as_mut_bytes()").count();
    assert_eq!(fetched, 2, "leases are fetched where a call is made: by the short way, or by the general one");
}

/// Page tables are walked and entered by what only `arch/paging.rs` makes: no number becomes an address space, or the right to a core's record,
/// anywhere else. Tables that are walked are of RAM, and CR3 is loaded with nothing but address spaces.
#[test]
fn d03_nobody_else_makes_an_address_space() {
    let makers =
        count(|line| occurrences(line, &["TableRoot::made_at(", "AddressSpace::of_row(", "AddressSpace::of_kernel("]));
    let named: Vec<_> = makers.keys().map(String::as_str).collect();
    assert_eq!(named, ["kernel/src/arch/paging.rs"], "address spaces are made elsewhere");
    let rights = count(|line| occurrences(line, &["Core::first()"]));
    assert_eq!(rights, BTreeMap::from([("kernel/src/start.rs".to_owned(), 1)]), "a core's record has one user");
}

/// What can panic, and why no task reaches it. Everything else has an error instead.
const PANICS: &[(&str, usize, &str)] = &[
    ("kernel/src/start.rs", 6, "it ends before the first task runs"),
    ("kernel/src/boot.rs", 1, "it ends before the first task runs"),
    ("kernel/src/arch/paging.rs", 2, "debug assertions on what the kernel itself makes"),
    ("kernel/src/arch/paging/direct_map.rs", 2, "it ends before the first task runs"),
    (
        "kernel/src/kernel.rs",
        4,
        "the state is there once it was set; the scheduler lets go of a thread before it is removed",
    ),
    ("kernel/src/syscall.rs", 1, "who makes a system call is the running thread"),
    ("kernel/src/trap.rs", 2, "who raises an exception in ring 3 is the running thread, and has a task"),
    ("kernel/core/src/lifecycle.rs", 1, "a debug assertion about the kernel's own caller"),
];

/// Indexes, and why no task's number is among them.
const INDEXES: &[(&str, usize, &str)] = &[
    ("kernel/core/src/arena.rs", 4, "two bytes of a constant length"),
    ("kernel/core/src/frames.rs", 8, "frames that the allocator handed out, within the table as long as memory"),
    ("kernel/core/src/image.rs", 7, "constants below the header's length, which was checked"),
    ("kernel/core/src/lifecycle.rs", 2, "one in a debug assertion, one a thread's own row"),
    ("kernel/core/src/sched.rs", 1, "a constant level"),
    ("kernel/core/src/system.rs", 1, "rows of the table, before the first task runs"),
    ("kernel/core/src/thread.rs", 4, "constants within 512 bytes"),
    ("kernel/src/arch/entry.rs", 8, "constants, in a table that is made by the compiler"),
    ("kernel/src/arch/gdt.rs", 5, "constants within arrays of constant length"),
    ("kernel/src/arch/idt.rs", 5, "constants, before the first task runs"),
    ("kernel/src/arch/notify.rs", 3, "constants, which the compiler puts into instructions"),
    ("kernel/src/arch/pic.rs", 2, "one of two chips"),
    ("kernel/src/arch/pit.rs", 2, "two bytes of a number of two"),
    ("kernel/src/kernel.rs", 2, "constants within two arrays of constant length"),
    ("kernel/src/loader.rs", 5, "a name of the table's, and an argument whose length was checked against the page's"),
    ("kernel/src/start.rs", 1, "before the first task runs"),
];

/// Divisions by what is not a constant, and why that is never zero.
const DIVISIONS: &[(&str, usize, &str)] = &[
    ("kernel/core/src/clock.rs", 2, "the rate of the counter, measured at boot, and a number of at least 1"),
    ("kernel/core/src/sched.rs", 2, "numbers of at least 1"),
    ("kernel/src/arch/pit.rs", 1, "ticks that were counted, before the first task runs"),
];

#[test]
fn d20_no_panic_that_a_task_can_reach() {
    let words = [
        "unwrap()",
        ".expect(\"",
        "panic!(",
        "unreachable!(",
        "todo!(",
        "unimplemented!(",
        "assert!(",
        "assert_eq!(",
        "assert_ne!(",
    ];
    let runs_at_build = |line: &str| line.contains("const _: () = assert!(");
    let panics = count(|line| if runs_at_build(line) { 0 } else { occurrences(line, &words) });
    none_but(&panics, PANICS, "panics");
    none_but(&count(indexes), INDEXES, "indexes");
    none_but(&count(divisions), DIVISIONS, "divisions by what may be zero");
}

/// The kernel has three locks. None is held while a task runs: each is taken in a function that returns before the kernel is left, and the
/// state's goes by value into the one that decides who runs.
#[test]
fn d20_no_lock_is_held_while_a_task_runs() {
    let locks = count(|line| occurrences(line, &["Mutex<", "RwLock<", "Once<", "Lazy<"]).min(1));
    let named: Vec<_> = locks.keys().map(String::as_str).collect();
    assert!(
        named.iter().all(|name| ["kernel/src/kernel.rs", "kernel/src/log.rs", "kernel/src/heap.rs"].contains(name)),
        "there are locks in {named:?}"
    );
    let code = kernel_code();
    let text = |name: &str| code.get(name).unwrap_or_else(|| panic!("{name} is gone")).join("\n");
    assert!(
        text("kernel/src/kernel.rs").contains("pub fn next(mut kernel: Locked) -> *const TrapFrame"),
        "whoever decides who runs owns the lock, and lets go of it"
    );
    for (name, text) in
        [("kernel/src/log.rs", text("kernel/src/log.rs")), ("kernel/src/heap.rs", text("kernel/src/heap.rs"))]
    {
        assert!(
            !text.contains("kernel::lock") && !text.contains("kernel::look"),
            "{name} asks for the state under its own lock"
        );
    }
    // Those that leave the kernel take the state's lock and give it to `next`, or to nobody.
    for (name, takers) in [
        ("kernel/src/syscall.rs", 2),
        ("kernel/src/trap.rs", 4),
        ("kernel/src/kernel.rs", 2),
        ("kernel/src/lease.rs", 2),
    ] {
        let taken = occurrences(&text(name), &["kernel::lock()", "kernel::look()", " = lock()"]);
        assert!(taken <= takers, "{name} takes the state's lock in {taken} places instead of {takers}");
    }
    assert_eq!(
        count(|line| occurrences(line, &["mem::forget", "ManuallyDrop"])),
        BTreeMap::new(),
        "a guard is never forgotten"
    );
}

/// Who has control waits for no task: it may call nobody but what it needs to switch the machine off, which is more important still.
#[test]
fn d18_the_supervisor_calls_nobody() {
    for file in ["userspace/system.toml", "userspace/lab/conformance/system.toml"] {
        let system = System::load(&root().join(file), &[]).unwrap_or_else(|error| panic!("{file}: {error}"));
        let supervisor = system.task("supervisor").unwrap_or_else(|| panic!("{file} has no supervisor"));
        assert!(
            supervisor.has(KernelRight::Control) && supervisor.calls.is_empty(),
            "{file}: the supervisor calls somebody"
        );
    }
}

/// The names of all tests that the sources hold, as far as they can be told from there: functions, and verdicts of kernels and of systems.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for below in ["abi", "kernel", "userspace", "xtask/src", "xtask/lab/src", "xtask/machine/src"] {
        for (path, text) in sources(below) {
            if let Some(stem) = path.strip_prefix("kernel/tests/").and_then(|name| name.strip_suffix(".rs")) {
                names.insert(stem.to_owned());
            }
            for line in text.lines().map(str::trim_start) {
                for before in ["fn ", "pub fn ", "async fn "] {
                    if let Some((name, _)) = line.strip_prefix(before).and_then(|rest| rest.split_once('(')) {
                        names.insert(name.to_owned());
                    }
                }
                for piece in line.split('"').skip(1).step_by(2) {
                    names.insert(piece.rsplit("::").next().unwrap_or_default().to_owned());
                }
            }
        }
    }
    names
}

/// Every promise names the tests that show it, and each of them exists; and there is a test for each demand.
#[test]
fn every_promise_has_its_test() {
    let names = names_of_tests();
    let document = std::fs::read_to_string(root().join("docs/security.md")).expect("docs/security.md");
    let mut named = 0;
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        for word in row.split('`').skip(1).step_by(2) {
            if ["host::", "kernel::", "system::"].iter().any(|kind| word.starts_with(kind)) {
                let last = word.rsplit("::").next().unwrap_or_default();
                assert!(names.contains(last), "docs/security.md names {word}, but no source file has a test {last}");
                named += 1;
            }
        }
    }
    assert!(named >= 40, "docs/security.md names {named} tests only");
    for demand in 1..=25 {
        let prefix = format!("d{demand:02}_");
        assert!(names.iter().any(|name| name.starts_with(&prefix)), "no test begins with {prefix}");
        assert!(document.contains(&prefix), "docs/security.md names no test that begins with {prefix}");
    }
}
