//! What is refused, word for word (`bad_inputs.txt`), and that what is accepted comes through unchanged.

use super::*;
use abi::manifest::{MAGIC, ManifestHeader, TaskRecord};
use kernel_core::memory::Caching;
use zerocopy::FromBytes;

const CASES: &str = include_str!("bad_inputs.txt");

fn source(shown: &str, text: &str, packages: &[&str], outside: Option<&str>) -> Source {
    Source {
        shown: shown.into(),
        text: text.to_owned(),
        dir: None,
        packages: Some(packages.iter().map(|&package| package.to_owned()).collect()),
        outside: outside.map(PathBuf::from),
        hardware: false,
    }
}

pub(super) fn system(texts: &[&str]) -> Result<System> {
    let sources: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| match number {
            0 => source("system.toml", text, &["a", "b", "c", "supervisor"], None),
            1 => source("enigma.toml", text, &["outside"], Some("outside")),
            _ => source("more/enigma.toml", text, &["outside"], Some("more")),
        })
        .collect();
    // Where `[with]` does not say what may be had, the command line has agreed.
    let agreed = !texts.first().is_some_and(|text| text.contains("[with]"));
    let sources: Vec<_> =
        sources.into_iter().map(|source| Source { hardware: agreed && source.outside.is_some(), ..source }).collect();
    System::from_sources(&sources)
}

/// Everything that differs is shown at once, as a case file: whoever changes a sentence can read, judge and copy it.
#[test]
fn every_bad_input_is_refused_in_these_words() {
    let (mut count, mut wrong) = (0, String::new());
    for case in CASES.split("\n=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (input, expected) = rest.split_once("---\n").expect("what is said");
        let texts: Vec<_> = input.split("+++\n").collect();
        let said = match system(&texts) {
            Ok(_) => "(accepted)".to_owned(),
            Err(error) => error.to_string(),
        };
        count += 1;
        if said != expected.trim_end() {
            wrong += &format!("\n=== {title}\n{input}---\n{said}\n");
        }
    }
    assert!(count >= 100, "only {count} cases");
    assert!(wrong.is_empty(), "these are answered in other words:\n{wrong}");
}

pub(super) const GOOD: &str = r#"
[with]
allow = ["clock"]

[task.a]
package = "a"
bin = "other"
priority = 2
ports = { uart = { base = 0x3F8, len = 8 }, reset = { base = 0xCF9, len = 1 } }
irqs = { rx = 4, tx = 3 }
ranges = [
    { name = "text", base = 0xB8000, len = 0x8000 },
    { name = "bar", base = 0xFD000000, len = 0x1000000, write = false, write_combining = true },
]
memory = "256K"
stack = "32K"
keep = 0x4000
handles = 32
objects = 16
heartbeat = 2000
float = true

[task.supervisor]
package = "supervisor"
priority = 1
kernel = ["control", "inspect"]

[task.b]
package = "b"
priority = 6
calls = ["a", "supervisor"]
restart = "on-failure"
start = false
kernel = ["archive"]
"#;

pub(super) const OUTSIDE: &str = r#"
[task.clock]
package = "outside"
priority = 5
kernel = ["logs"]
clients = ["b"]
restart = "never"
"#;

#[test]
fn the_table_says_what_the_file_says() {
    let system = system(&[GOOD, OUTSIDE]).expect("it is good");
    assert_eq!(system.packages(), ["a", "b", "supervisor"]);
    assert_eq!(system.outside(), [(Path::new("outside"), "outside")]);
    assert_eq!(system.task("a").map(|task| task.bin.as_str()), Some("other"));
    assert_eq!(system.task("b").map(|task| task.bin.as_str()), Some("b"));
    assert_eq!(system.callers("clock"), ["b"]);

    let bytes = system.encode();
    let (header, rest) = ManifestHeader::read_from_prefix(&bytes).expect("a header");
    assert_eq!(header.magic, MAGIC);
    assert_eq!(header.abi_hash, abi::ABI_HASH);
    assert_eq!((header.count, header.record_size), (4, 2448));
    let records = <[TaskRecord]>::ref_from_bytes(rest).expect("whole records");
    let names: Vec<_> = records.iter().map(|record| abi::name_str(&record.name)).collect();
    assert_eq!(names, ["supervisor", "a", "b", "clock"], "the one with control first, then as written");
    let [supervisor, a, b, clock] = records else { panic!("four records") };

    assert_eq!(supervisor.flags, TaskRecord::START | TaskRecord::CONTROL | TaskRecord::INSPECT);
    assert_eq!((supervisor.frame_quota, supervisor.stack_frames, supervisor.keep_frames), (256, 16, 0), "defaults");
    assert_eq!((supervisor.handle_quota, supervisor.object_quota, supervisor.heartbeat_ms), (64, 64, 0), "defaults");
    assert_eq!(supervisor.restart, Restart::Always as u8);

    assert_eq!(a.flags, TaskRecord::START | TaskRecord::FLOAT);
    assert_eq!((a.frame_quota, a.stack_frames, a.keep_frames), (64, 8, 4));
    assert_eq!((a.handle_quota, a.object_quota, a.heartbeat_ms, a.priority), (32, 16, 2000, 2));
    let grants = [
        Grant::irq("rx", 4, 0),
        Grant::irq("tx", 3, 1),
        Grant::ports("uart", 0x3F8, 8),
        Grant::ports("reset", 0xCF9, 1),
        Grant::range("text", 0xB_8000, 0x8000, Grant::WRITE),
        Grant::range("bar", 0xFD00_0000, 0x100_0000, Grant::WRITE_COMBINING),
    ];
    assert_eq!(a.grants(), grants);
    // What the kernel makes of it, with a processor that can combine writes and with one that cannot.
    let ranges = || a.of(GrantKind::Range);
    let caching = |combines| ranges().map(|r| Caching::of_range(r.flags, combines)).collect::<Vec<_>>();
    assert_eq!(caching(true), [Caching::Uncached, Caching::WriteCombining]);
    assert_eq!(caching(false), [Caching::Uncached, Caching::Uncached]);

    assert!(b.peers().eq([1, 0, 3]), "a, supervisor, and the outside task it is a client of");
    assert_eq!((b.flags, b.restart), (TaskRecord::ARCHIVE, Restart::OnFailure as u8));
    assert_eq!((clock.flags, clock.restart), (TaskRecord::START | TaskRecord::LOGS, Restart::Never as u8));
}

#[test]
fn the_projects_own_file_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../userspace/system.toml");
    let system = System::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(system.tasks[0].has(KernelRight::Control));
    for driver in ["serial", "keyboard", "vga", "power"] {
        let task = system.task(driver).unwrap_or_else(|| panic!("no {driver}"));
        assert!(task.kernel.is_empty(), "{driver} is a driver: it needs no right over the kernel");
    }
}

/// What a task keeps must have room in what the table gives it: else it would forget everything, and say so, at each restart.
#[test]
fn the_kept_state_of_each_task_has_room() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../userspace/system.toml");
    let system = System::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
    for (name, size) in [
        ("serial", size_of::<driver_serial::keep::Keep>()),
        ("keyboard", size_of::<driver_keyboard::keep::Keep>()),
        ("vga", size_of::<driver_vga::keep::Keep>()),
        ("console", size_of::<console::keep::Keep>()),
    ] {
        let frames = system.task(name).unwrap_or_else(|| panic!("no {name}")).keep;
        let needed = size.div_ceil(abi::PAGE_SIZE) * abi::PAGE_SIZE;
        let given = frames as usize * abi::PAGE_SIZE;
        assert!(size <= given, "`keep` of {name} is {}K and has to be {}K", given >> 10, needed >> 10);
    }
}

#[test]
fn d25_hardware_for_a_crate_from_outside_needs_consent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, crate_dir) = (dir.path().join("system.toml"), dir.path().join("clock"));
    std::fs::create_dir(&crate_dir).expect("a directory");
    std::fs::write(crate_dir.join("Cargo.toml"), "[package]\nname = \"outside\"\n").expect("a file");
    let write = |with: &str, claims: &str| {
        std::fs::write(&path, GOOD.replace("[with]", &format!("[with]\n{with}"))).expect("a file");
        std::fs::write(crate_dir.join("enigma.toml"), format!("{OUTSIDE}{claims}\n")).expect("a file");
    };
    let load = |with: &Path| System::load(&path, &[with.to_path_buf()]);
    let agreed = PathBuf::from(format!("{},hardware", crate_dir.display()));
    for (claims, asks) in [
        ("ports = [{ base = 0x70, len = 2 }]", "ports 0x70-0x71"),
        ("ports = { cmos = { base = 0x70, len = 2 } }", "ports 0x70-0x71 (cmos)"),
        ("irqs = { alarm = 8 }", "line 8 (alarm)"),
        ("ranges = [{ name = \"cells\", base = 0xFE000000, len = 0x1000 }]", "range 0xFE000000-0xFE000FFF (cells)"),
    ] {
        write("", claims);
        let said = load(&crate_dir).expect_err(claims).to_string();
        let wanted = format!(
            "enigma.toml:2:7: `clock` comes from outside and asks for hardware: {asks}; if you agree, write --with {},hardware, or in system.toml, under [with], hardware = [\"clock\"]",
            crate::paths::Paths::shown(&crate_dir)
        );
        assert!(said.ends_with(&wanted), "{said}\n{wanted}");
        // Another task's consent is not this one's.
        write("hardware = [\"a\", \"other\"]", claims);
        assert!(load(&crate_dir).is_err(), "{claims}");
        // Both ways of agreeing; and what it gets is said.
        write("hardware = [\"clock\"]", claims);
        load(&crate_dir).expect(claims);
        write("", claims);
        let system = load(&agreed).expect(claims);
        let gets = system.gets_from_outside();
        assert!(gets.len() == 1 && gets[0].contains(&format!(" gets: {asks}, is called by b, ")), "{gets:?}");
        let twice = System::load(&path, &[crate_dir.clone(), agreed.clone()]).expect_err("twice").to_string();
        assert!(twice.ends_with("it is given twice; take one out"), "{twice}");
    }
    // Who asks for none needs nobody's consent.
    write("", "");
    let gets = load(&crate_dir).expect("no hardware").gets_from_outside();
    assert!(gets[0].contains(" gets: no hardware, is called by b, has the kernel right logs, at most 1M"), "{gets:?}");
}

/// The systems that tests and measurements boot: every task table of the laboratory.
#[test]
fn the_projects_other_files_are_good() {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../userspace/lab");
    let files = |dir: &Path| {
        let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let mut found = 0;
    for file in files(&lab).iter().flat_map(|dir| files(dir)) {
        let name = file.file_name().unwrap_or_default();
        if file.extension().is_some_and(|extension| extension == "toml")
            && name != "Cargo.toml"
            && name != "enigma.toml"
        {
            System::load(&file, &[]).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            found += 1;
        }
    }
    assert!(found >= 13, "{found} task tables in {}", lab.display());
}

#[test]
fn directories_that_are_no_task_crates_are_told_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("system.toml");
    std::fs::write(&path, GOOD).expect("a file");
    let said = |with: &Path| System::load(&path, &[with.to_path_buf()]).expect_err("no crate").to_string();
    assert!(
        said(&dir.path().join("nowhere")).ends_with("there is no such directory; name the directory of a task crate")
    );
    assert!(said(dir.path()).contains("it holds no Cargo.toml"));
    std::fs::write(dir.path().join("Cargo.toml"), "[package\n").expect("a file");
    assert!(said(dir.path()).contains("it holds no enigma.toml"));
    std::fs::write(dir.path().join("enigma.toml"), OUTSIDE).expect("a file");
    assert!(said(dir.path()).ends_with("Cargo.toml is no TOML"));
    std::fs::write(dir.path().join("Cargo.toml"), "[workspace]\n").expect("a file");
    assert!(said(dir.path()).ends_with("it is no package's; write [package] with a `name`"));
    std::fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"outside\"\n").expect("a file");
    let system = System::load(&path, &[dir.path().to_path_buf()]).expect("a crate");
    assert_eq!(system.outside(), [(dir.path(), "outside")]);
}

/// Who has control waits for no task: it may call nobody but what it needs to switch the machine off, which is more important still.
#[test]
fn d18_the_supervisor_calls_nobody() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in ["userspace/system.toml", "userspace/lab/conformance/system.toml"] {
        let system = System::load(&root.join(file), &[]).unwrap_or_else(|error| panic!("{file}: {error}"));
        let supervisor = system.task("supervisor").unwrap_or_else(|| panic!("{file} has no supervisor"));
        assert!(
            supervisor.has(KernelRight::Control) && supervisor.calls.is_empty(),
            "{file}: the supervisor calls somebody"
        );
    }
}
