//! Builds the programs of all tasks: those of this tree in one run of cargo, each outside crate in one of its own.

use crate::build::SYSTEM_TOML;
use crate::manifest::System;
use crate::paths::Paths;
use crate::ui::say;
use anyhow::{Context, Result, anyhow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What to do about a crate that does not build, since the compiler cannot say how a task begins.
const NO_TASK: &str = "it does not build; where `std`, an allocator or a panic handler is missed, src/main.rs needs \
#![cfg_attr(target_os = \"none\", no_std, no_main)] at its top, and rt::entry! or rt::driver! (docs/writing-a-driver.md)";

/// One run of cargo.
#[derive(Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// The crate's directory, where that is not of this tree.
    pub outside: Option<&'a Path>,
    /// Packages to build.
    pub packages: Vec<&'a str>,
    /// Programs to build of them.
    pub bins: BTreeSet<&'a str>,
}

/// What has to be built for the tasks of a system.
#[must_use]
pub fn jobs(system: &System) -> Vec<Job<'_>> {
    let bins = |outside: Option<&Path>| {
        let of = system.tasks.iter().filter(|task| task.outside.as_deref() == outside);
        of.map(|task| task.bin.as_str()).collect()
    };
    let tree = Job { outside: None, packages: system.packages(), bins: bins(None) };
    let others = system.outside().into_iter().map(|(dir, package)| Job {
        outside: Some(dir),
        packages: vec![package],
        bins: bins(Some(dir)),
    });
    std::iter::once(tree).chain(others).collect()
}

impl Job<'_> {
    /// What is said before a crate from outside is built, whose first build may take a while. Those of this tree are built with it.
    #[must_use]
    pub fn announced(&self) -> Option<String> {
        let packages = self.packages.join(", ");
        let what = |dir| {
            format!(
                "building {packages} in {}; the first time the runtime too, and `core` if its [profile.release] is not this tree's",
                Paths::shown(dir)
            )
        };
        let in_a_tree = |dir: &&Path| dir.ancestors().any(|above| above.join(SYSTEM_TOML).is_file());
        self.outside.filter(|dir| !in_a_tree(dir)).map(what)
    }

    /// The words for cargo.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["build".to_owned()];
        if let Some(dir) = self.outside {
            words.extend(["--manifest-path".to_owned(), dir.join("Cargo.toml").display().to_string()]);
        }
        words.extend(self.packages.iter().flat_map(|package| ["--package".to_owned(), (*package).to_owned()]));
        words.extend(self.bins.iter().flat_map(|bin| ["--bin".to_owned(), (*bin).to_owned()]));
        words
    }
}

/// Builds every task, and returns where the program of each is. `compile` runs cargo with the given words for the bare
/// machine and returns the programs that it made, by their names.
///
/// # Errors
/// When a build fails or leaves no program for a task.
pub fn build(
    system: &System,
    mut compile: impl FnMut(&[&str]) -> Result<BTreeMap<String, PathBuf>>,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut programs = BTreeMap::new();
    for job in jobs(system) {
        let words = job.words();
        job.announced().iter().for_each(say);
        let built = compile(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let built = match job.outside {
            None => built,
            Some(dir) => built.with_context(|| format!("--with {}: {NO_TASK}", Paths::shown(dir))),
        }?;
        for task in system.tasks.iter().filter(|task| task.outside.as_deref() == job.outside) {
            let program = built.get(&task.bin).ok_or_else(|| {
                anyhow!(
                    "{}: the package `{}` has no program `{}`; give it a src/main.rs, or name another with `bin`",
                    task.package.place,
                    task.package.value,
                    task.bin
                )
            })?;
            programs.insert(task.name.value.clone(), program.clone());
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Source;

    #[test]
    fn one_run_for_the_tree_and_one_for_each_outside_crate() {
        let inside = "[task.a]\npackage = \"x\"\npriority = 1\nkernel = [\"control\"]\n[task.b]\npackage = \"x\"\nbin = \"y\"\npriority = 2\n[task.c]\npackage = \"x\"\npriority = 2\n";
        let outside = "[task.d]\npackage = \"z\"\npriority = 2\n";
        let source = |text: &str, outside: Option<&str>| Source {
            shown: "t.toml".into(),
            text: text.to_owned(),
            dir: None,
            packages: None,
            hardware: false,
            outside: outside.map(PathBuf::from),
        };
        let system =
            System::from_sources(&[source(inside, None), source(outside, Some("/elsewhere/z"))]).expect("good");
        let lines: Vec<String> = jobs(&system).iter().map(|job| job.words().join(" ")).collect();
        let first = "build --package x --bin x --bin y";
        let second = "build --manifest-path /elsewhere/z/Cargo.toml --package z --bin z";
        assert_eq!(lines, [first, second]);
        let said: Vec<_> = jobs(&system).iter().map(Job::announced).collect();
        assert_eq!(said[0], None, "what every build does is not news");
        let beside = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = Job { outside: Some(beside), packages: vec!["z"], bins: BTreeSet::new() };
        assert_eq!(own.announced(), None, "nor is a crate of this tree");
        assert!(said[1].as_ref().is_some_and(|said| said.starts_with("building z in /elsewhere/z; ")), "{said:?}");

        // Two tasks of one program share its file; a program that cargo did not make is missed with its place.
        let made = |bins: &'static [&str]| {
            move |words: &[&str]| {
                let made = bins.iter().filter(|bin| words.contains(bin));
                Ok(made.map(|bin| ((*bin).to_owned(), PathBuf::from(format!("/t/{bin}")))).collect())
            }
        };
        let programs = build(&system, made(&["x", "y", "z"])).expect("all are there");
        let files: Vec<_> = programs.iter().map(|(task, file)| format!("{task} {}", file.display())).collect();
        assert_eq!(files, ["a /t/x", "b /t/y", "c /t/x", "d /t/z"]);
        let error = build(&system, made(&["x", "z"])).expect_err("y is missing").to_string();
        assert_eq!(
            error,
            "t.toml:6:11: the package `x` has no program `y`; give it a src/main.rs, or name another with `bin`"
        );

        // Of a crate that does not build it is said which, where it is not of this tree.
        let fails = |part: &'static str| {
            move |words: &[&str]| match words.iter().any(|word| word.contains(part)) {
                true => Err(anyhow!("no")),
                false => made(&["x", "y", "z"])(words),
            }
        };
        let said = |part| format!("{:#}", build(&system, fails(part)).expect_err("it fails"));
        assert!(said("elsewhere").starts_with("--with /elsewhere/z: it does not build; "), "{}", said("elsewhere"));
        assert_eq!(said("x"), "no");
    }
}
