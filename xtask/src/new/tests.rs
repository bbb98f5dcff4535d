//! The generator on copies of this tree's own files; and that what it makes compiles and passes its tests.

use super::*;
use abi::manifest::GrantKind;
use clap::ValueEnum;
use std::process::Command;

/// The checkout that this test belongs to.
fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// A tree of the same shape, with only the files that the generator touches.
fn tree() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(dir.path().join("userspace/drivers")).expect("directories");
    for file in ["Cargo.toml", "userspace/system.toml"] {
        std::fs::copy(checkout().join(file), dir.path().join(file)).expect("a copy");
    }
    let paths = Paths { root: dir.path().to_path_buf(), target: dir.path().join("target") };
    (dir, paths)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// The lines that the second text has and the first has not.
fn added<'a>(old: &str, new: &'a str) -> Vec<&'a str> {
    new.lines().filter(|line| !line.is_empty() && !old.lines().any(|known| known == *line)).collect()
}

#[test]
fn a_driver_of_the_tree_is_entered_everywhere() {
    let (dir, paths) = tree();
    let (cargo, system) = (read(dir.path().join("Cargo.toml")), read(dir.path().join("userspace/system.toml")));
    driver(&paths, "beeper", Kind::Port, None).expect("it is made");
    driver(&paths, "disk-2", Kind::Service, None).expect("a second one does not conflict");

    let new = read(dir.path().join("Cargo.toml"));
    // In `members` and in `default-members`.
    let twice = ["    \"userspace/drivers/beeper\",", "    \"userspace/drivers/disk-2\","].repeat(2);
    assert_eq!(added(&cargo, &new), twice);
    let new = read(dir.path().join("userspace/system.toml"));
    let lines = added(&system, &new);
    assert!(lines.contains(&"[task.beeper]") && lines.contains(&"package = \"driver-disk-2\""), "{lines:?}");
    let calls = lines.iter().find(|line| line.starts_with("calls")).expect("the shell's calls");
    assert!(calls.ends_with(", \"beeper\", \"disk-2\"]"), "{calls}");
    let comments =
        |text: &str| text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert!(comments(&new).starts_with(&comments(&system)), "comments stay");

    let source = Source { packages: None, ..Source::system(&dir.path().join("userspace/system.toml")).expect("read") };
    let system = System::from_sources(&[source]).expect("it is a good system");
    assert_eq!(system.callers("beeper"), [CLIENT]);
    assert_eq!(system.task("beeper").map(|task| task.of(GrantKind::Ports).count()), Some(1));
    // A task that calls another brings that one with it.
    driver(&paths, "caller", Kind::Client, None).expect("a third one");
    let source = Source { packages: None, ..Source::system(&dir.path().join("userspace/system.toml")).expect("read") };
    let system = System::from_sources(&[source]).expect("it is a good system");
    assert_eq!((system.callers("caller"), system.callers("caller-sum")), (vec![CLIENT], vec!["caller"]));
    assert!(dir.path().join("userspace/drivers/caller/src/bin/caller-sum.rs").is_file());
    let long = driver(&paths, "twelve-chars", Kind::Client, None).expect_err("its server's name is too long");
    assert!(long.to_string().contains("`twelve-chars-sum` is 16 characters long"), "{long}");
    let main = read(dir.path().join("userspace/drivers/disk-2/src/main.rs"));
    assert!(main.contains("use driver_disk_2::device"), "{main}");
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let (dir, paths) = tree();
    let before = read(dir.path().join("Cargo.toml"));
    for (name, expected) in [
        ("", "is empty"),
        ("Beeper", "lowercase"),
        ("a-very-long-name", "16 characters long"),
        ("piep_ser", "lowercase letters, digits and dashes"),
        ("../etc", "lowercase letters"),
        ("8250", "a letter first"),
        ("kernel", "reserved"),
        ("serial", "there is a task `serial` already"),
    ] {
        let error = driver(&paths, name, Kind::Service, None).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    std::fs::create_dir_all(dir.path().join("userspace/drivers/full/src")).expect("a directory");
    let error = driver(&paths, "full", Kind::Service, None).expect_err("something is there").to_string();
    assert!(error.contains("is not empty"), "{error}");
    // The hardware that it starts from may be somebody's.
    let system = dir.path().join("userspace/system.toml");
    let taken = read(&system)
        + "\n[task.clock]\npackage = \"clock\"\npriority = 3\nports = { cmos = { base = 0x71, len = 1 } }\n";
    std::fs::write(&system, taken).expect("a file");
    let error = format!("{:#}", driver(&paths, "beeper", Kind::Port, None).expect_err("taken"));
    assert!(error.contains("`clock`") && error.contains("0x71"), "{error}");
    assert!(!dir.path().join("userspace/drivers/beeper").exists());
    assert_eq!(read(dir.path().join("Cargo.toml")), before, "nothing was entered");
}

#[test]
fn a_crate_of_its_own_leaves_the_tree_alone() {
    let (dir, paths) = tree();
    let before = read(dir.path().join("userspace/system.toml"));
    let out = dir.path().join("elsewhere/clock");
    let told = driver(&paths, "clock", Kind::Service, Some(&out)).expect("it is made");
    assert!(told.contains("--with") && !told.contains(",hardware"), "{told}");
    assert_eq!(read(dir.path().join("userspace/system.toml")), before);
    let cargo = read(out.join("Cargo.toml"));
    assert!(cargo.contains(&format!("rt = {{ path = \"{}/userspace/rt\" }}", dir.path().display())), "{cargo}");
    // The system takes it as it is.
    let mut source = Source::system(&dir.path().join("userspace/system.toml")).expect("read");
    source.packages = None;
    let system = System::from_sources(&[source, Source::outside(&out).expect("a crate")]).expect("a good system");
    assert_eq!(system.callers("clock"), [CLIENT]);
    assert_eq!(system.task("clock").map(|task| task.package.value.as_str()), Some("driver-clock"));
    for file in ["src/lib.rs", "src/main.rs", "src/device.rs", "enigma.toml", "Cargo.toml", ".gitignore"] {
        assert!(!read(out.join(file)).contains("{{"), "{file} has a blank that is not filled in");
    }
    assert!(
        driver(&paths, "clock", Kind::Service, Some(&out))
            .expect_err("it is there")
            .to_string()
            .contains("is not empty")
    );
}

/// Runs cargo in a generated crate. It shares one build directory, so that only the first test compiles the runtime.
fn cargo(dir: &Path, words: &[&str]) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from);
    let done = Command::new(env!("CARGO"))
        .args(words)
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", target.join("generated"))
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "cargo {words:?} failed:\n{said}");
}

/// The code in docs/writing-a-driver.md by the file that each block is for: the first line of a block names it.
fn documented() -> Vec<(String, String)> {
    let text = read(checkout().join("docs/writing-a-driver.md"));
    let blocks = text.split("\n```").skip(1).step_by(2);
    let named = blocks.filter_map(|block| {
        let (_, body) = block.split_once('\n')?;
        let (first, _) = body.split_once('\n')?;
        let file = first.strip_prefix("// ").or_else(|| first.strip_prefix("# "))?.strip_suffix(':')?;
        Some((file.to_owned(), format!("{}\n", body.trim_end())))
    });
    named.collect()
}

#[test]
fn what_is_made_of_each_kind_compiles_and_passes_its_tests() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = Paths { root: checkout(), target: checkout().join("target") };
    for kind in Kind::value_variants() {
        let out = dir.path().join(format!("{kind:?}"));
        let told = driver(&paths, "made", *kind, Some(&out)).expect("it is made");
        cargo(&out, &["test", "--quiet"]);
        cargo(&out, &["fmt", "--check"]);
        // The system takes it with the consent that it tells of, and with no less.
        let (_, with) = told.split_once("--with ").expect("how to run it");
        let (with, _) = with.split_once(' ').expect("a directory");
        let load = |with: &str| System::load(&checkout().join("userspace/system.toml"), &[with.into()]);
        assert!(load(with).is_ok(), "{with}");
        let needs_none = matches!(kind, Kind::Service | Kind::Client);
        assert_eq!(load(&out.display().to_string()).is_ok(), needs_none);
    }
}

#[test]
fn the_documented_driver_compiles_and_passes_its_tests() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = Paths { root: checkout(), target: checkout().join("target") };
    let out = dir.path().join("rtc");
    driver(&paths, "rtc", Kind::Service, Some(&out)).expect("it is made");
    let files = documented();
    let names: Vec<_> = files.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, ["enigma.toml", "src/device.rs", "src/lib.rs", "src/main.rs"], "the blocks of the document");
    for (file, content) in &files {
        std::fs::write(out.join(file), content).expect("a file");
    }
    cargo(&out, &["test", "--quiet"]);
    cargo(&out, &["fmt", "--check"]);
    let with = [format!("{},hardware", out.display()).into()];
    let system = System::load(&checkout().join("userspace/system.toml"), &with).expect("the documented enigma.toml");
    let rtc = system.task("rtc").expect("the documented task");
    assert_eq!(rtc.hardware(), ["ports 0x70-0x71 (cmos)"]);
}

/// The server that the page on async shows is the one that the system tests run.
#[test]
fn the_page_on_async_shows_a_server_that_runs() {
    let page = read(checkout().join("docs/async.md"));
    let server = read(checkout().join("userspace/lab/conformance/assist/src/patient.rs"));
    assert!(page.contains(&format!("```rust\n{server}```\n")), "docs/async.md and patient.rs differ");
}

#[test]
fn what_is_to_be_typed_can_be_typed() {
    assert_eq!(for_a_shell("../my-driver_2/ä.b"), "../my-driver_2/ä.b");
    assert_eq!(for_a_shell("/my dir/x"), "'/my dir/x'");
    assert_eq!(for_a_shell("it's$(x)"), "'it'\\''s$(x)'");
}

/// A profile of its own would have `core` compiled again for each crate from outside.
#[test]
fn a_crate_of_its_own_is_built_as_the_tree_is() {
    let profile = |text: &str| {
        let document: DocumentMut = text.parse().expect("it is TOML");
        let release = document["profile"]["release"].as_table().expect("it has a profile").clone();
        let plain = release.iter().filter(|(_, value)| value.is_value());
        plain.map(|(key, value)| (key.to_owned(), value.to_string().trim().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(profile(CARGO_OUTSIDE), profile(&read(checkout().join("Cargo.toml"))));
}

/// Whoever follows a template to a page finds it.
#[test]
fn pages_that_the_templates_name_are_there() {
    for kind in Kind::value_variants() {
        let Template { sources, .. } = kind.template();
        let words = sources.iter().flat_map(|(_, text)| text.split(['`', ' ', '\n']));
        let named: Vec<_> = words.filter(|word| word.starts_with("docs/")).collect();
        assert!(named.contains(&"docs/async.md"), "{named:?}");
        assert!(named.iter().all(|page| checkout().join(page).is_file()), "{named:?}");
    }
}
