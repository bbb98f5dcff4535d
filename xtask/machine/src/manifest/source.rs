//! Files, places in them, and what is said about them.

use crate::paths::Paths;
use abi::manifest::rules::{BadName, bad_name};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of tasks.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, as messages show it.
    pub shown: Arc<str>,
    /// Its text.
    pub text: String,
    /// The directory that it lies in, from which the files that it names are found; `None` for a text that is in no file.
    pub dir: Option<PathBuf>,
    /// The packages that its tasks may come from; `None` where that is not known.
    pub packages: Option<Vec<String>>,
    /// The crate's directory, for a crate from outside.
    pub outside: Option<PathBuf>,
    /// Whether whoever named that directory agreed that its tasks have the hardware that they ask for.
    pub hardware: bool,
}

/// What stands behind the directory of a crate from outside whose tasks may have the hardware that they ask for.
const HARDWARE: &str = ",hardware";

/// The directory of an argument of `--with`, and whether its tasks may have hardware.
fn agreed(with: &Path) -> (PathBuf, bool) {
    match with.to_str().and_then(|text| text.strip_suffix(HARDWARE)) {
        Some(dir) if !with.is_dir() => (dir.into(), true),
        _ => (with.into(), false),
    }
}

impl Source {
    /// Reads a `system.toml`, and the list of packages from the workspace around it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn system(path: &Path) -> Result<Source> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the list of tasks, {}", Paths::shown(path)))?;
        let packages = workspace_packages(path);
        let dir = path.parent().map(Path::to_path_buf);
        Ok(Source { shown: Paths::shown(path).into(), text, dir, packages, outside: None, hardware: false })
    }

    /// Reads the `enigma.toml` of a crate from outside, and the name of its package. `with` is its directory; `,hardware` behind that says that
    /// its tasks may have the hardware that they ask for.
    ///
    /// # Errors
    /// When the directory is not such a crate.
    pub fn outside(with: &Path) -> Result<Source> {
        let (dir, hardware) = agreed(with);
        let dir = dir.as_path();
        let shown = Paths::shown(dir);
        if !dir.is_dir() {
            bail!("--with {shown}: there is no such directory; name the directory of a task crate");
        }
        let cargo = dir.join("Cargo.toml");
        let path = dir.join("enigma.toml");
        for (file, what) in [(&cargo, "a crate"), (&path, "a task's authority")] {
            if !file.is_file() {
                let name = file.file_name().unwrap_or_default().display();
                bail!(
                    "--with {shown}: it holds no {name}, {what}; `cargo xtask new driver NAME --out DIR` makes a crate that has all that it needs"
                );
            }
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", Paths::shown(&path)))?;
        let package = package_name(&cargo)?
            .with_context(|| format!("{}: it is no package's; write [package] with a `name`", Paths::shown(&cargo)))?;
        let dir = std::path::absolute(dir).with_context(|| format!("cannot resolve {shown}"))?;
        let (shown, packages) = (Paths::shown(&path).into(), Some(vec![package]));
        Ok(Source { shown, text, dir: Some(dir.clone()), packages, outside: Some(dir), hardware })
    }

    /// The place of a byte of the file number `number`.
    #[must_use]
    pub(crate) fn place(&self, number: usize, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { file: self.shown.clone(), number, line, column }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as messages show it.
    pub file: Arc<str>,
    number: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// Sorts places as they are read.
    #[must_use]
    pub(crate) fn order(&self) -> (usize, usize, usize) {
        (self.number, self.line, self.column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What is wrong, where, and how to mend it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and how to mend it.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// The name of the package in a `Cargo.toml`, if it is a package's.
fn package_name(cargo_toml: &Path) -> Result<Option<String>> {
    let shown = || Paths::shown(cargo_toml);
    let text = std::fs::read_to_string(cargo_toml).with_context(|| format!("cannot read {}", shown()))?;
    let document: toml_edit::DocumentMut = text.parse().with_context(|| format!("{} is no TOML", shown()))?;
    let name = document.get("package").and_then(|package| package.get("name"));
    Ok(name.and_then(|name| name.as_str()).map(str::to_owned))
}

/// The packages of the workspace around a file. `None` where there is none, or its members are not a plain list: then
/// cargo is left to complain.
fn workspace_packages(file: &Path) -> Option<Vec<String>> {
    let file = std::path::absolute(file).ok()?;
    file.ancestors().skip(1).find_map(|dir| {
        let document: toml_edit::DocumentMut = std::fs::read_to_string(dir.join("Cargo.toml")).ok()?.parse().ok()?;
        let members = document.get("workspace")?.get("members")?.as_array()?;
        members.iter().map(|member| package_name(&dir.join(member.as_str()?).join("Cargo.toml")).ok()?).collect()
    })
}

/// Whether a task, a line or a range may be called so: lowercase letters, digits and dashes, a letter first, at most
/// [`abi::NAME_LEN`]` - 1` of them. If not, says what is wrong.
///
/// # Errors
/// What is wrong with the name, as the end of a sentence that begins with it.
pub fn valid_name(name: &str) -> Result<(), String> {
    let most = abi::NAME_LEN - 1;
    Err(match bad_name(name) {
        None => return Ok(()),
        Some(BadName::Empty) => "is empty; give it a name of lowercase letters, digits and dashes".to_owned(),
        Some(BadName::NotAscii) => "is not plain ASCII; use lowercase letters, digits and dashes".to_owned(),
        Some(BadName::TooLong) => format!("is {} characters long; a name has at most {most}", name.len()),
        Some(BadName::Letters) => {
            "does not fit; use lowercase letters, digits and dashes, with a letter first".to_owned()
        }
        Some(BadName::Dash) => "does not fit; a dash stands between two letters or digits".to_owned(),
    })
}

/// The word of a list that was probably meant.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let word = word.to_lowercase();
    // `length` is far from `len`, but means it.
    let longer = |other: &str| other.len() >= 3 && word.starts_with(other);
    known
        .into_iter()
        .map(|other| (if longer(other) { limit } else { distance(&word, other) }, other))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many letters have to be changed, added, removed or swapped with their neighbour (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = left[i - 1] == right[j - 1];
                let mut best =
                    (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + usize::from(!same));
                if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[left.len()][right.len()]
}
