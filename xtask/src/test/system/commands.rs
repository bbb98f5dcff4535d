//! The commands as a script calls them: flags, what is printed where, and the exit status.

use crate::new;
use anyhow::{Context, Result, ensure};
use machine::build::SYSTEM_TOML;
use machine::harness::{Report, Wanted, in_parallel};
use machine::manifest::System;
use machine::paths::Paths;
use machine::toolchain::METAL;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A test: its name, and what it does in a directory of its own.
type Test = (&'static str, fn(&Path) -> Result<()>);

/// Every test.
pub const TESTS: [Test; 5] = [
    ("system::commands::a_machine_is_as_the_flags_say", machine),
    ("system::commands::what_no_machine_can_be_is_said_before_it_runs", nonsense),
    ("system::commands::the_exit_status_tells_how_it_went", statuses),
    ("system::commands::a_crate_from_outside_is_tested_as_the_drivers_are", outside),
    ("system::commands::builds_take_nothing_of_the_users_settings", settings),
];

/// Runs those that are wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn run(wanted: &Wanted, report: &Report) -> Result<()> {
    let tests: Vec<_> = TESTS.iter().filter(|(name, _)| wanted.matches(name)).collect();
    in_parallel(&tests, wanted.jobs, |(name, test)| report.perform(name, test))
}

/// What a run of this program came to.
struct Said {
    status: Option<i32>,
    out: String,
    errors: String,
}

impl Said {
    fn contains(&self, part: &str) -> Result<()> {
        let found = self.errors.contains(part) || self.out.contains(part);
        ensure!(found, "{part:?} is not said, but (status {:?})\n{}\n{}", self.status, self.out, self.errors);
        Ok(())
    }

    fn status(&self, status: i32) -> Result<()> {
        let right = self.status == Some(status);
        ensure!(right, "the status is {:?} instead of {status}:\n{}\n{}", self.status, self.out, self.errors);
        Ok(())
    }
}

/// Runs this program with these words, and keeps what it said.
fn run_this(logs: &Path, words: &[&str]) -> Result<Said> {
    run_with(logs, words, |_| {})
}

/// Runs this program with these words, in an environment that is changed.
fn run_with(logs: &Path, words: &[&str], change: impl FnOnce(&mut Command)) -> Result<Said> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(words).arg("--no-install");
    change(&mut command);
    listen(logs, &mut command)
}

/// Runs a command, and keeps what it said.
fn listen(logs: &Path, command: &mut Command) -> Result<Said> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = Said { status: done.status.code(), out: text(&done.stdout), errors: text(&done.stderr) };
    let log = format!("{command:?}\nstatus {:?}\n{}\n{}\n", said.status, said.out, said.errors);
    let number = std::fs::read_dir(logs).map(Iterator::count).unwrap_or_default();
    std::fs::write(logs.join(format!("{number}.log")), log).context("cannot keep the log")?;
    Ok(said)
}

/// QEMU itself says what it was made to be.
fn machine(logs: &Path) -> Result<()> {
    let disk = logs.join("a disk, with a comma.img");
    // A socket's path must be short.
    let short = tempfile::tempdir().context("cannot make a temporary directory")?;
    let socket = short.path().join("monitor");
    let listener = UnixListener::bind(&socket).context("cannot make a socket")?;
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"info block\ninfo qtree\ninfo cpus\n")?;
        let mut said = Vec::new();
        // It ends with the machine, which may be a reset of the connection.
        let _ = stream.read_to_end(&mut said);
        std::io::Result::Ok(String::from_utf8_lossy(&said).into_owned())
    });
    std::fs::write(&disk, vec![7; 1 << 20]).context("cannot make a disk")?;
    let monitor = format!("-chardev 'socket,id=m,path={}' -mon m", socket.display());
    let disk_path = disk.display().to_string();
    let flags = ["--cpu", "Nehalem,-x2apic", "--machine", "q35", "--smp", "2", "--disk", &disk_path, "-v"];
    let words = ["run", "--exec", "echo it boots; shutdown", "--timeout", "120", "--display", "none"];
    let done = run_this(logs, &[&words, &flags[..], &["--qemu", "-device edu", "--qemu", &monitor]].concat())?;
    done.status(0)?;
    done.contains("it boots")?;
    for part in ["QEMU's command line: ", " -cpu Nehalem,-x2apic ", " -machine q35 ", "-device edu"] {
        done.contains(part)?;
    }
    let asked = asked.join().ok().context("the monitor's reader panicked")?;
    let said = asked.context("QEMU's monitor said nothing")?;
    for part in ["dev: ide-hd", "a disk, with a comma.img", "dev: edu", "bus: ide.0", "mch", "CPU #1"] {
        ensure!(said.contains(part), "the machine has no {part:?}:\n{said}");
    }
    ensure!(std::fs::read(&disk).is_ok_and(|bytes| bytes == vec![7; 1 << 20]), "the disk was written to");
    Ok(())
}

/// A good driver passes, and one that dies of a request does not; it is told by the name of what failed.
fn outside(logs: &Path) -> Result<()> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let driver = dir.path().join("guest");
    new::driver(&Paths::find()?, "guest", new::Kind::Service, Some(&driver))?;
    let shown = driver.display().to_string();
    let judged = ["test", "system", "--with", &shown];
    let good = run_this(logs, &judged)?;
    good.status(0)?;
    good.contains("test system::with::guest::it_comes_back_when_it_is_killed ... ok")?;
    good.contains("4 passed, 0 failed")?;
    let disk = dir.path().join("disk.img");
    std::fs::write(&disk, vec![7; 1 << 20]).context("cannot write the disk")?;
    let disk_shown = disk.display().to_string();
    let words = ["chaos", "guest", "--with", &shown, "--count", "2", "--seed", "3", "--disk", &disk_shown, "-v"];
    let chaos = run_this(logs, &words)?;
    chaos.status(0)?;
    chaos.contains("guest: 2 kills, 2 restarts")?;
    chaos.contains("ide-hd,drive=disk0,bus=ide.0,unit=0")?;
    ensure!(std::fs::read(&disk).is_ok_and(|bytes| bytes == vec![7; 1 << 20]), "the disk was written to");
    let alone = run_this(logs, &["chaos", "serial", "--disk", &disk_shown])?;
    alone.status(1)?;
    alone.contains("are for --with DIR")?;
    run_this(logs, &["chaos", "nobody", "--with", &shown])?.contains("no task `nobody`")?;
    let main = driver.join("src/main.rs");
    let source = std::fs::read_to_string(&main).context("there is no source")?;
    let sets = "self.ticker.set_period(time::now_ns(), ms)";
    ensure!(source.contains(sets), "the template sets no period");
    let panics = format!("assert!(ms == 0, \"what is {{ms}}\");\n        {sets}");
    std::fs::write(&main, source.replace(sets, &panics)).context("cannot write")?;
    let bad = run_this(logs, &judged)?;
    bad.status(1)?;
    bad.contains("test system::with::guest::no_request_ends_it ... FAILED")?;
    bad.contains("3 passed, 1 failed")?;
    // One whose table has no room for what it keeps: a message of its own would be overlooked.
    let table = driver.join("enigma.toml");
    let grants = std::fs::read_to_string(&table).context("there is no table")?;
    let without: Vec<_> = grants.lines().filter(|line| !line.trim_start().starts_with("keep")).collect();
    ensure!(without.len() + 1 == grants.lines().count(), "the template keeps nothing");
    std::fs::write(&main, &source).context("cannot write")?;
    std::fs::write(&table, without.join("\n") + "\n").context("cannot write")?;
    let forgets = run_this(logs, &judged)?;
    forgets.status(1)?;
    forgets.contains("test system::with::guest::it_boots_beside_the_others ... FAILED")?;
    forgets.contains("a restart forgets everything: write `keep = \"4K\"`")?;
    std::fs::write(&table, &grants).context("cannot write")?;
    // One that has but one life in it is missed when it is killed.
    let begins = "let timer = time::Timer::new(TICK)";
    ensure!(source.contains(begins), "the template has no timer");
    let once = format!("assert!(rt::me().generation == 1, \"no second life\");\n        {begins}");
    std::fs::write(&main, source.replace(begins, &once)).context("cannot write")?;
    let lost = run_this(logs, &["chaos", "guest", "--with", &shown, "--count", "2", "--seed", "3"])?;
    lost.status(1)?;
    lost.contains("guest: FAILED: guest was given up")
}

/// What a script goes on after, and what it stops at.
fn statuses(logs: &Path) -> Result<()> {
    let exec = |commands: &str, more: &[&str]| {
        let words = ["run", "--display", "none", "--exec", commands];
        run_this(logs, &[&words, more].concat())
    };
    let long = ["--timeout", "120"];
    exec("echo one; fault port; echo two", &long)?.status(0)?;
    for (commands, why) in [
        ("echo one; nonsense; echo two", "`nonsense` failed"),
        ("echo one; caps nobody; echo two", "`caps nobody` failed"),
        ("echo one; sleep; echo two", "`sleep` failed"),
        ("echo one; call serial; echo two", "`call serial` failed"),
        ("echo one; call keyboard dim 3; echo two", "`call keyboard dim 3` failed"),
    ] {
        let done = exec(commands, &long)?;
        done.status(3)?;
        done.contains(why)?;
        done.contains("one")?;
        ensure!(!done.out.contains("two"), "it went on after {commands:?}");
        let done = exec(commands, &[&long[..], &["--keep-going"]].concat())?;
        done.status(0)?;
        done.contains("two")?;
    }
    let late = exec("echo one; sleep 1000", &["--timeout", "15"])?;
    late.status(4)?;
    late.contains("time limit of 15 s")?;
    run_this(logs, &["run", "--keep-going"])?.status(2)
}

/// Settings of cargo that would change every program, or end every build.
const HOSTILE: &str = r#"
[build]
rustflags = ["-C", "target-cpu=native"]
target = "wasm32-unknown-unknown"
target-dir = "/no/such/place"
rustc-wrapper = "/bin/false"
rustc = "/bin/false"

[target.x86_64-unknown-none]
rustflags = ["-C", "target-cpu=native"]

[profile.release]
strip = true
debug = 0
opt-level = 0

[profile.release.package."*"]
opt-level = 1

[unstable]
nothing-of-that-name = true

[alias]
build = "no-such-command"

[env]
RUSTFLAGS = { value = "-C target-cpu=native", force = true }
"#;

/// And variables.
const HOSTILE_VARIABLES: [(&str, &str); 11] = [
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_BUILD_TARGET", "wasm32-unknown-unknown"),
    ("CARGO_BUILD_RUSTFLAGS", "-C target-cpu=native"),
    ("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-cpu=native"),
    ("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", "-C target-cpu=native"),
    ("RUSTFLAGS", "-C target-cpu=native"),
    ("RUSTC", "/bin/false"),
    ("RUSTC_WRAPPER", "/bin/false"),
    ("RUSTC_WORKSPACE_WRAPPER", "/bin/false"),
];

/// The same programs come out, so that nothing is even compiled again, and a crash report has its names.
fn settings(logs: &Path) -> Result<()> {
    let words = ["run", "--exec", "fault port", "--timeout", "120", "--display", "none"];
    run_this(logs, &words)?.contains("fault::")?;
    let before = programs()?;
    let home = hostile_home(HOSTILE)?;
    let done = run_with(logs, &words, |command| {
        command.env("CARGO_HOME", home.path()).envs(HOSTILE_VARIABLES);
    })?;
    done.status(0)?;
    done.contains("fault::")?;
    let after = programs()?;
    ensure!(before.len() >= 8, "only {} programs were found", before.len());
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        ensure!(
            before == after,
            "{} was built otherwise: {} bytes instead of {}",
            name.display(),
            after.len(),
            before.len()
        );
    }
    Ok(())
}

/// A home for cargo with these settings.
fn hostile_home(settings: &str) -> Result<tempfile::TempDir> {
    let home = tempfile::tempdir().context("cannot make a temporary directory")?;
    std::fs::write(home.path().join("config.toml"), settings).context("cannot write")?;
    // The user's own crates: nothing is to be fetched again.
    let user = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let user = user.context("there is no home directory")?;
    for dir in ["registry", "git"] {
        std::os::unix::fs::symlink(user.join(dir), home.path().join(dir)).context("cannot make a link")?;
    }
    Ok(home)
}

/// The kernel and the programs of the task table, with their contents. What else lies beside them may be another test's, which builds
/// it meanwhile.
fn programs() -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let paths = Paths::find()?;
    let system = System::load(&paths.root.join(SYSTEM_TOML), &[])?;
    let dir = paths.metal().join(METAL).join("release");
    let names: BTreeSet<_> = system.tasks.iter().map(|task| task.bin.as_str()).chain(["kernel"]).collect();
    let read = |name| {
        let path = dir.join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path, bytes))
    };
    names.into_iter().map(read).collect()
}

/// Each mistake names the flag, and what to give instead.
fn nonsense(logs: &Path) -> Result<()> {
    let file = logs.join("a directory");
    std::fs::create_dir(&file).context("cannot make a directory")?;
    let file = file.display().to_string();
    for (flags, parts) in [
        (["--cpu", "nonsense"], ["--cpu nonsense", "Haswell"]),
        (["--cpu", "haswell"], ["--cpu haswell", "did you mean Haswell?"]),
        (["--cpu", "qemu32"], ["--cpu qemu32", "64-bit mode"]),
        (["--cpu", "max,+nonsense"], ["nonsense", "--cpu"]),
        (["--machine", "isapc"], ["--machine", "possible values: pc, q35"]),
        (["--disk", "/no/such/disk"], ["--disk /no/such/disk", "truncate"]),
        (["--disk", &file], ["--disk", "directory"]),
        (["--qemu", "-device 'edu"], ["--qemu", "quote"]),
        (["--qemu", "-device nonsense"], ["--qemu", "nonsense"]),
    ] {
        let words = ["run", "--exec", "shutdown", "--timeout", "60", "--display", "none"];
        let done = run_this(logs, &[&words, &flags[..]].concat())?;
        ensure!(done.status != Some(0), "{flags:?} is accepted");
        parts.iter().try_for_each(|part| done.contains(part))?;
    }
    Ok(())
}
