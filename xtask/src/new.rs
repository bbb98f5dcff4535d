//! `cargo xtask new driver NAME`: a driver that builds, boots and is tested as generated.

use anyhow::{Context, Result, bail};
use machine::manifest::{Source, System, valid_name};
use machine::paths::{self, Paths};
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, Value};

/// What a new driver starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Kind {
    /// A device behind I/O ports that interrupts: as generated, the clock chip
    Port,
    /// A device behind memory: as generated, the firmware's
    Mmio,
    /// A server without hardware: as generated, it counts ticks of a timer
    #[default]
    Service,
    /// A task that calls another: as generated, a server in the same crate that adds amounts up, each exactly once
    Client,
}

/// A kind's templates: its sources (path and text), and its tables in the manifest.
struct Template {
    sources: Vec<(&'static str, &'static str)>,
    task: &'static str,
}

macro_rules! template {
    ($kind:literal, $($path:literal from $file:literal),+) => {
        Template {
            sources: vec![$(($path, include_str!(concat!("../templates/driver/", $kind, "/", $file)))),+],
            task: include_str!(concat!("../templates/driver/", $kind, "/task.toml.in")),
        }
    };
    ($kind:literal) => {
        template!(
            $kind,
            "src/lib.rs" from "src/lib.rs",
            "src/device.rs" from "src/device.rs",
            "src/main.rs" from "src/main.rs"
        )
    };
}

/// Behind the name of a task that calls another, the name of that one.
const SERVER: &str = "-sum";

impl Kind {
    fn template(self) -> Template {
        match self {
            Kind::Port => template!("port"),
            Kind::Mmio => template!("mmio"),
            Kind::Service => template!("service"),
            Kind::Client => template!(
                "client",
                "src/lib.rs" from "src/lib.rs",
                "src/main.rs" from "src/main.rs",
                "src/bin/{{name}}-sum.rs" from "src/bin/sum.rs"
            ),
        }
    }

    /// The names of the tasks in a crate of this kind.
    fn tasks(self, name: &str) -> Vec<String> {
        let server = (self == Kind::Client).then(|| format!("{name}{SERVER}"));
        std::iter::once(name.to_owned()).chain(server).collect()
    }

    /// Behind the directory that is given to `--with`: the consent to hardware that such a driver needs.
    pub(crate) fn consent(self) -> &'static str {
        match self {
            Kind::Port | Kind::Mmio => ",hardware",
            Kind::Service | Kind::Client => "",
        }
    }
}

const CARGO_OUTSIDE: &str = include_str!("../templates/driver/Cargo.toml.in");
const CARGO_INSIDE: &str = include_str!("../templates/driver/Cargo.toml.inside.in");
/// What stands in `enigma.toml` before the task's table, and behind it.
const ENIGMA: &str = include_str!("../templates/driver/enigma.toml.in");
const CLIENTS: &str = "clients = [\"shell\"]\n";
const RUSTFMT: &str = include_str!("../templates/driver/rustfmt.toml.in");
const GITIGNORE: &str = include_str!("../templates/driver/gitignore.in");

/// The task that calls a new driver of this tree.
const CLIENT: &str = "shell";

/// Names that a package of Rust would trip over: `driver_NAME` is fine, but so close to them that messages mislead.
const RESERVED: [&str; 2] = ["driver", "kernel"];

/// Makes a driver of this kind: in this tree, or as a crate of its own in the directory `out`. Returns what to tell the user.
///
/// # Errors
/// When the name does not fit or is taken, when there is something in the way, or a file cannot be written. Nothing is
/// changed unless all of it can be.
pub fn driver(paths: &Paths, name: &str, kind: Kind, out: Option<&Path>) -> Result<String> {
    let system_toml = paths.root.join("userspace/system.toml");
    for task in kind.tasks(name) {
        check_name(&system_toml, &task)?;
    }
    match out {
        Some(out) => outside(paths, name, kind, out),
        None => inside(paths, &system_toml, name, kind),
    }
}

fn check_name(system_toml: &Path, name: &str) -> Result<()> {
    if let Err(wrong) = valid_name(name) {
        bail!("the driver name `{name}` {wrong}");
    }
    if RESERVED.contains(&name) {
        bail!("the driver name `{name}` is reserved; name it after its device");
    }
    let system = System::load(system_toml, &[])?;
    if let Some(task) = system.task(name) {
        bail!("there is a task `{name}` already ({}); choose another name", task.name.place);
    }
    Ok(())
}

/// A crate of its own: nothing of this tree changes.
fn outside(paths: &Paths, name: &str, kind: Kind, out: &Path) -> Result<String> {
    let dir = std::path::absolute(out).with_context(|| format!("cannot resolve {}", out.display()))?;
    vacant(&dir)?;
    let fill = |template: &str| filled(template, name, &paths.root);
    let Template { sources, task } = kind.template();
    let mut files = vec![
        ("Cargo.toml".to_owned(), fill(CARGO_OUTSIDE)),
        ("enigma.toml".to_owned(), fill(&format!("{ENIGMA}{task}{CLIENTS}"))),
        ("rustfmt.toml".to_owned(), fill(RUSTFMT)),
        (".gitignore".to_owned(), fill(GITIGNORE)),
    ];
    files.extend(sources.iter().map(|(path, template)| (fill(path), fill(template))));
    write_all(&dir, &files)?;
    // The versions that this checkout was tested with; cargo drops those that the crate does not need.
    if let Ok(lock) = std::fs::read(paths.root.join("Cargo.lock")) {
        paths::write_whole(&dir.join("Cargo.lock"), &lock)?;
    }
    let (shown, consent) = (for_a_shell(&Paths::shown(&dir)), kind.consent());
    Ok(format!(
        "made the driver `{name}` in {shown}\n\n\
         test it on this machine:   cargo test --manifest-path {shown}/Cargo.toml\n\
         run it and ask it:         cargo xtask run --with {shown}{consent} --exec \"call {name} 1\"\n\
         what it may touch:         {shown}/enigma.toml\n\
         how to go on:              docs/writing-a-driver.md\n"
    ))
}

/// A path as it is to be typed: in quotes where a shell would see more than a path.
fn for_a_shell(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// A member of this workspace.
fn inside(paths: &Paths, system_toml: &Path, name: &str, kind: Kind) -> Result<String> {
    let member = format!("userspace/drivers/{name}");
    let dir = paths.root.join(&member);
    vacant(&dir)?;
    let workspace_toml = paths.root.join("Cargo.toml");
    let read =
        |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", Paths::shown(path)));
    let workspace = with_member(&read(&workspace_toml)?, &member).context("cannot enter the driver in Cargo.toml")?;
    let Template { sources, task } = kind.template();
    let system = with_task(&read(system_toml)?, &filled(task, name, &paths.root), name)
        .context("cannot enter the driver in userspace/system.toml")?;
    // Before anything is written: whether the system is still good. The package is not there yet to be found.
    let source = Source { packages: None, text: system.clone(), ..Source::system(system_toml)? };
    System::from_sources(&[source]).context("with the new driver, the system would not be good")?;

    let fill = |template: &str| filled(template, name, &paths.root);
    let mut files = vec![("Cargo.toml".to_owned(), fill(CARGO_INSIDE))];
    files.extend(sources.iter().map(|(path, template)| (fill(path), fill(template))));
    write_all(&dir, &files)?;
    paths::write_whole(&workspace_toml, workspace.as_bytes())?;
    paths::write_whole(system_toml, system.as_bytes())?;
    Ok(format!(
        "made the driver `{name}` in {member}\n\n\
         test it on this machine:   cargo test --package driver-{name}\n\
         run it and ask it:         cargo xtask run --exec \"call {name} 1\"\n\
         what it may touch:         [task.{name}] in userspace/system.toml\n\
         how to go on:              docs/writing-a-driver.md\n"
    ))
}

/// Refuses a directory in which there is something.
fn vacant(dir: &Path) -> Result<()> {
    let shown = Paths::shown(dir);
    match std::fs::read_dir(dir).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("{shown} is not empty; name a directory that is empty or does not exist"),
        Err(_) if dir.exists() => bail!("{shown} is in the way; name a directory that is empty or does not exist"),
        Err(_) => Ok(()),
    }
}

fn write_all(dir: &Path, files: &[(String, String)]) -> Result<()> {
    for (name, content) in files {
        let path: PathBuf = dir.join(name);
        if let Some(parent) = path.parent() {
            paths::create_dir(parent)?;
        }
        paths::write_whole(&path, content.as_bytes())?;
    }
    Ok(())
}

/// A template with its blanks filled in.
fn filled(template: &str, name: &str, checkout: &Path) -> String {
    let package = format!("driver-{name}");
    let text = template
        .replace("{{name}}", name)
        .replace("{{crate}}", &package.replace('-', "_"))
        .replace("{{package}}", &package);
    // In TOML text, a backslash or a quote in a path would mean something.
    let checkout = checkout.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    text.replace("{{checkout}}", &checkout)
}

/// The workspace's `Cargo.toml` with one member more, which plain cargo commands take in too, placed among its neighbours.
fn with_member(text: &str, member: &str) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let members =
        document["workspace"]["members"].as_array_mut().context("it has no [workspace] with a list of members")?;
    enter(members, member);
    if let Some(defaults) = document["workspace"].get_mut("default-members").and_then(|item| item.as_array_mut()) {
        enter(defaults, member);
    }
    Ok(document.to_string())
}

/// Puts a driver among those of a list of members.
fn enter(members: &mut Array, member: &str) {
    let before =
        |value: &Value| value.as_str().is_some_and(|other| other > member && other.starts_with("userspace/drivers/"));
    let drivers = |value: &Value| value.as_str().is_some_and(|other| other.starts_with("userspace/drivers/"));
    let last = members.iter().enumerate().filter(|(_, value)| drivers(value)).map(|(place, _)| place + 1).last();
    let place = members.iter().position(before).or(last).unwrap_or(members.len());
    insert(members, place, member);
}

/// `system.toml` with one task more, which [`CLIENT`] may call. Comments and order stay.
fn with_task(text: &str, task: &str, name: &str) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    if let Some(client) = document.get_mut("task").and_then(|tasks| tasks.get_mut(CLIENT)) {
        if client.get("calls").is_none() {
            client["calls"] = toml_edit::value(Array::new());
        }
        let calls = client["calls"].as_array_mut().context("the shell's `calls` is not a list")?;
        insert(calls, calls.len(), name);
    }
    let mut text = document.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text + "\n" + task)
}

/// Inserts an entry that looks like its neighbours.
fn insert(array: &mut Array, place: usize, entry: &str) {
    let mut value = Value::from(entry);
    let model = array.get(place.saturating_sub(1)).or_else(|| array.get(place));
    let prefix = model.and_then(|model| model.decor().prefix()?.as_str()).unwrap_or_default().to_owned();
    // Entries on one line are parted by a space, those on lines of their own by what their neighbour has.
    let prefix = match (prefix.rsplit_once('\n'), place) {
        (Some((_, indent)), _) => format!("\n{indent}"),
        (None, 0) => String::new(),
        (None, _) => " ".to_owned(),
    };
    value.decor_mut().set_prefix(prefix);
    array.insert_formatted(place, value);
}

#[cfg(test)]
mod tests;
