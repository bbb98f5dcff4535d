//! The tests of pure logic, which run on this machine: built by the user's own cargo without the user's settings, run here one program at a time.

use anyhow::{Context, Result, bail};
use machine::children;
use machine::harness::{Outcome, Report, Wanted};
use machine::manifest::Source;
use machine::outside;
use machine::paths::Paths;
use machine::toolchain::shield;
use machine::ui::Step;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long all tests of one program may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A test program that cargo built.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    /// The package, or package::target for a test in `tests/`.
    name: String,
    path: PathBuf,
    /// The directory of its package, where cargo would run it.
    dir: PathBuf,
}

/// Builds and runs the tests of the default members and of every library of the tasks.
///
/// # Errors
/// When they do not build.
pub fn run(paths: &Paths, wanted: &Wanted, report: &Report) -> Result<()> {
    let mut programs = Vec::new();
    if !wanted.with.is_empty() {
        for dir in &wanted.with {
            // The argument may say more than the directory.
            let dir = Source::outside(dir)?.outside.context("a crate from outside has a directory")?;
            let manifest = dir.join("Cargo.toml").display().to_string();
            outside::prepare(&paths.target, &dir)?;
            programs.extend(compile(paths, &["--manifest-path".to_owned(), manifest], &Paths::shown(&dir), "--tests")?);
        }
        return programs.iter().try_for_each(|program| run_program(program, wanted, report));
    }
    let metadata = metadata(paths)?;
    let defaults = packages(&metadata, |package, is_default| is_default && has_target(package, |_| true));
    let libraries = packages(&metadata, |package, is_default| !is_default && has_target(package, |kind| kind == "lib"));
    // The programs of tasks say `test = false`: they are built for the bare machine. What they are made of is in their libraries.
    for (names, what) in [(defaults, "--tests"), (libraries, "--lib")] {
        if !names.is_empty() {
            let manifest = ["--manifest-path".to_owned(), paths.root.join("Cargo.toml").display().to_string()];
            let packages = names.iter().flat_map(|name| ["--package".to_owned(), name.clone()]);
            let words: Vec<_> = manifest.into_iter().chain(packages).collect();
            programs.extend(compile(paths, &words, &names.join(", "), what)?);
        }
    }
    for program in &programs {
        run_program(program, wanted, report)?;
    }
    Ok(())
}

fn metadata(paths: &Paths) -> Result<Value> {
    let done = shield::host(paths)?
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(paths.root.join("Cargo.toml"))
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo metadata")?;
    if !done.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    serde_json::from_slice(&done.stdout).context("cargo metadata is not understood")
}

/// The names of the packages that `want` wants, told whether they are default members.
fn packages(metadata: &Value, want: impl Fn(&Value, bool) -> bool) -> Vec<String> {
    let list = |key: &str| metadata.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let defaults: BTreeSet<_> =
        list("workspace_default_members").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let id = |package: &Value| package.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    list("packages")
        .iter()
        .filter(|package| want(package, defaults.contains(&id(package))))
        .filter_map(|package| package.get("name")?.as_str().map(str::to_owned))
        .collect()
}

/// Whether a package has a target, to be tested, of a kind that `want` wants.
fn has_target(package: &Value, want: impl Fn(&str) -> bool) -> bool {
    let targets = package.get("targets").and_then(Value::as_array).cloned().unwrap_or_default();
    targets.iter().any(|target| {
        let kinds = target.get("kind").and_then(Value::as_array).cloned().unwrap_or_default();
        target.get("test") == Some(&Value::Bool(true)) && kinds.iter().filter_map(Value::as_str).any(&want)
    })
}

fn compile(paths: &Paths, packages: &[String], shown: &str, what: &str) -> Result<Vec<Program>> {
    let step = Step::begin(format!("building the host tests of {shown}"));
    let mut command = shield::host(paths)?;
    command.args(["test", "--no-run", "--target", "host-tuple", "--message-format", "json-render-diagnostics", what]);
    command.args(packages).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = children::spawn_build(&mut command)?;
    let mut programs = Vec::new();
    for line in BufReader::new(child.stdout().context("cargo's output was not piped")?).lines() {
        programs.extend(program(&line.context("cannot read cargo's output")?));
    }
    if !child.wait()?.success() {
        bail!("they do not compile; see above");
    }
    step.done();
    Ok(programs)
}

/// A test program, if that is what a line of cargo's JSON tells of.
fn program(line: &str) -> Option<Program> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value.get("reason")? != "compiler-artifact" || value.get("profile")?.get("test")? != true {
        return None;
    }
    let path = PathBuf::from(value.get("executable")?.as_str()?);
    let dir = Path::new(value.get("manifest_path")?.as_str()?).parent()?.to_path_buf();
    let target = value.get("target")?;
    let name = target.get("name")?.as_str()?;
    // file:///path/of/the/package#name@version, or only #version where the name is the directory's.
    let id = value.get("package_id")?.as_str()?;
    let (before, after) = id.split_once('#')?;
    let package = match after.split_once('@') {
        Some((package, _)) => package,
        None => before.rsplit('/').next()?,
    };
    let in_tests = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let name = if in_tests { format!("{package}::{name}") } else { package.to_owned() };
    Some(Program { name, path, dir })
}

/// Runs the wanted tests of one program.
fn run_program(program: &Program, wanted: &Wanted, report: &Report) -> Result<()> {
    let full = |test: &str| format!("host::{}::{test}", program.name);
    let listed = Command::new(&program.path)
        .args(["--list", "--format", "terse"])
        .current_dir(&program.dir)
        .output()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let tests: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|test| wanted.matches(&full(test)))
        .collect();
    if tests.is_empty() {
        return Ok(());
    }
    let log = report.logs(&format!("host::{}", program.name))?.join("output.log");
    let begun = Instant::now();
    let mut command = Command::new(&program.path);
    command.arg("--exact").args(&tests).current_dir(&program.dir).env("CARGO_MANIFEST_DIR", &program.dir);
    let (output, status) = run_to_log(command, &log)?;
    let results = results(&output);
    for test in tests {
        let outcome: Outcome = match results.iter().find(|(name, _)| name == test) {
            Some((_, true)) => Ok(()),
            Some((_, false)) => Err(own_output(&output, test)),
            None => Err(match status {
                Some(status) => format!("gave no result: the program ended with {status}"),
                None => format!("gave no result: the program was ended after {} s", begun.elapsed().as_secs()),
            }),
        };
        report.verdict(&full(test), &outcome, None, &log);
    }
    Ok(())
}

/// Runs a command with its output in a file; `None` as status if the time limit ended it.
fn run_to_log(mut command: Command, log: &Path) -> Result<(String, Option<std::process::ExitStatus>)> {
    let write = |error| machine::paths::disk_error(&error, log);
    let file = std::fs::File::create(log).map_err(write)?;
    command.stdin(Stdio::null()).stderr(file.try_clone().map_err(write)?).stdout(file);
    let mut child = children::spawn_build(&mut command)?;
    let status = child.wait_for(LIMIT)?;
    child.kill();
    let mut bytes = Vec::new();
    std::fs::File::open(log).and_then(|mut file| file.read_to_end(&mut bytes)).context("cannot read the log back")?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), status))
}

/// The lines `test NAME ... ok` and `... FAILED` of libtest; ignored tests are none.
fn results(output: &str) -> Vec<(String, bool)> {
    output
        .lines()
        .filter_map(|line| {
            let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
            let name = name.strip_suffix(" - should panic").unwrap_or(name);
            match result {
                "FAILED" => Some((name.to_owned(), false)),
                _ if result == "ok" || result.starts_with("ignored") => Some((name.to_owned(), true)),
                _ => None,
            }
        })
        .collect()
}

/// What libtest shows of a failed test's output.
fn own_output(output: &str, test: &str) -> String {
    let head = format!("---- {test} stdout ----");
    let lines: Vec<_> = output
        .lines()
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && *line != "failures:")
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() { "it printed nothing".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn libtests_output_is_read() {
        let output = "\nrunning 4 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d - should panic ... ok\n\
            test e ... ignored, slow\n\nfailures:\n\n---- c stdout ----\n\nthread 'c' panicked at x.rs:1:2:\nno\n\n\n\
            failures:\n    c\n\ntest result: FAILED. 1 passed; 1 failed\n";
        let names: Vec<_> = results(output).into_iter().map(|(name, passed)| format!("{name}={passed}")).collect();
        assert_eq!(names, ["a::b=true", "c=false", "d=true", "e=true"]);
        assert_eq!(own_output(output, "c"), "thread 'c' panicked at x.rs:1:2:\nno");
        assert_eq!(own_output(output, "a::b"), "it printed nothing");
    }

    #[test]
    fn test_programs_are_found_in_cargos_lines() {
        let line = json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///p/kernel/core#kernel-core@0.1.0",
            "manifest_path": "/p/kernel/core/Cargo.toml",
            "target": { "name": "kernel_core", "kind": ["lib"] },
            "profile": { "test": true },
            "executable": "/t/kernel_core-1"
        });
        let found = program(&line.to_string()).expect("a program");
        assert_eq!((found.name.as_str(), found.dir.as_path()), ("kernel-core", Path::new("/p/kernel/core")));
        let mut short = line.clone();
        short["package_id"] = json!("path+file:///p/abi#0.1.0");
        short["target"] = json!({ "name": "layout", "kind": ["test"] });
        assert_eq!(program(&short.to_string()).expect("a program").name, "abi::layout");
        let mut library = line;
        library["profile"] = json!({ "test": false });
        assert_eq!(program(&library.to_string()), None);
    }

    #[test]
    fn packages_are_chosen_by_membership_and_target() {
        let metadata = json!({
            "workspace_default_members": ["a"],
            "packages": [
                { "id": "a", "name": "abi", "targets": [{ "kind": ["lib"], "test": true }] },
                { "id": "s", "name": "shell", "targets": [{ "kind": ["bin"], "test": true }] },
                { "id": "v", "name": "driver-vga", "targets": [{ "kind": ["lib"], "test": true }] },
                { "id": "k", "name": "kernel", "targets": [{ "kind": ["lib"], "test": false }] }
            ]
        });
        let libraries =
            packages(&metadata, |package, is_default| !is_default && has_target(package, |kind| kind == "lib"));
        assert_eq!(libraries, ["driver-vga"]);
        assert_eq!(packages(&metadata, |_, is_default| is_default), ["abi"]);
    }
}
