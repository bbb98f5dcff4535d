//! What the documents name exists: paths, links to pages, names of the code in `backticks`, and the tests of what docs/security.md promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Paths of a crate that does not exist yet: whoever reads the page makes it.
const OF_THE_READER: [&str; 1] = ["src/bin/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}

/// What a document can name.
#[derive(Default)]
struct Tree {
    /// Files and directories, relative to the root; each also without `src`, as ARCHITECTURE.md shortens them.
    paths: BTreeSet<String>,
    /// Every word that a source file has.
    words: BTreeSet<String>,
    /// Each document: its path from the root, and its text without code blocks.
    documents: Vec<(PathBuf, String)>,
}

impl Tree {
    fn read() -> Tree {
        let mut tree = Tree::default();
        tree.walk(&root());
        tree.documents.sort();
        tree
    }

    fn walk(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            let from_root = path.strip_prefix(root()).expect("below the root").to_path_buf();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == ".git" || name == "target" {
                continue;
            }
            let shown = from_root.to_string_lossy().into_owned();
            self.paths.insert(shown.replace("/src", ""));
            self.paths.insert(shown);
            if path.is_dir() {
                self.walk(&path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                self.take(from_root, &name, text);
            }
        }
    }

    fn take(&mut self, from_root: PathBuf, name: &str, text: String) {
        match name.rsplit('.').next() {
            Some("md") => {
                let outside_of_blocks = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
                self.documents.push((from_root, outside_of_blocks));
            }
            Some("rs" | "toml" | "in" | "ld" | "lock" | "run") => {
                self.words.extend(
                    text.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .filter(|word| !word.is_empty())
                        .map(str::to_owned),
                );
            }
            _ => {}
        }
    }

    fn has_path(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = format!("/{path}");
        self.paths.contains(path) || self.paths.iter().any(|known| known.ends_with(&below))
    }

    fn has_word(&self, word: &str) -> bool {
        match word.strip_suffix('_') {
            // The beginning of several names.
            Some(_) => self.words.range(word.to_owned()..).next().is_some_and(|next| next.starts_with(word)),
            None => self.words.contains(word),
        }
    }

    /// What is wrong with a piece of a document in backticks: it looks like a path or a name of the code, and there is none such.
    fn wrong(&self, piece: &str) -> Option<String> {
        let placeholder = |part: &str| part.len() > 2 && part.chars().all(|c| c.is_ascii_uppercase());
        if piece.split(['/', ':']).any(placeholder) || OF_THE_READER.contains(&piece) {
            return None;
        }
        if is_path(piece) {
            return (!self.has_path(piece)).then(|| format!("there is no file or directory `{piece}`"));
        }
        if is_name(piece) {
            let mut parts = piece.trim_end_matches(['(', ')', '!']).split("::");
            let missing = parts.find(|part| !self.has_word(part))?;
            return Some(format!("no source file has the word `{missing}` of `{piece}`"));
        }
        None
    }
}

fn is_path(piece: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let file = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(stem, kind)| !stem.is_empty() && ["rs", "toml", "md", "json", "ld", "svg"].contains(&kind))
    };
    piece.chars().all(plain)
        && !piece.starts_with(['/', '.', '-'])
        && piece.chars().any(|c| c.is_ascii_alphabetic())
        && (file(piece) || piece.contains('/'))
}

/// A name of the code: of several words, or behind a module or type. Single small words are commands, keys and plain English.
fn is_name(piece: &str) -> bool {
    let piece = piece.trim_end_matches(['(', ')', '!']);
    let camel = piece.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    piece.split("::").all(word) && (camel || piece.contains('_') || piece.contains("::"))
}

/// The pages that a document links to, without those of the web and places within the page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| link.split('#').next().unwrap_or(link))
}

#[test]
fn what_looks_like_a_path_or_a_name_is_told_from_the_rest() {
    for path in ["kernel/core/src/sched.rs", "docs/", "system.toml", "rt/"] {
        assert!(is_path(path), "{path}");
    }
    for other in ["kill X", "/dev/kvm", "--with DIR", "16/32", "0x3F8", "ps", "cargo xtask run"] {
        assert!(!is_path(other) && !is_name(other), "{other}");
    }
    for name in ["System::release", "log_write", "TaskId", "rt::print", "d21_"] {
        assert!(is_name(name), "{name}");
    }
    let tree = Tree { words: ["log_write", "d21_no", "System"].map(str::to_owned).into(), ..Tree::default() };
    assert!(tree.wrong("log_write").is_none() && tree.wrong("d21_").is_none() && tree.wrong("system.toml").is_some());
    assert_eq!(tree.wrong("System::gone").as_deref(), Some("no source file has the word `gone` of `System::gone`"));
    let page = "[a](b.md#there) [c](https://c.org) [d](#e) [f](../g.rs)";
    assert_eq!(links(page).collect::<Vec<_>>(), ["b.md", "../g.rs"]);
}

#[test]
fn everything_that_a_document_names_exists() {
    let tree = Tree::read();
    let mut wrong = Vec::new();
    for (document, text) in &tree.documents {
        let pieces = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        wrong
            .extend(pieces.filter_map(|piece| tree.wrong(piece)).map(|what| format!("{}: {what}", document.display())));
        let dir = document.parent().unwrap_or(Path::new(""));
        let missing = links(text).filter(|link| !root().join(dir).join(link).exists());
        wrong.extend(missing.map(|link| format!("{}: the link to {link} leads nowhere", document.display())));
    }
    assert!(tree.documents.len() >= 9, "{} documents", tree.documents.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// The names of all tests that the sources hold, as far as they can be told from there: functions, and verdicts of kernels and of systems.
fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for below in ["abi", "kernel", "userspace", "xtask"] {
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
