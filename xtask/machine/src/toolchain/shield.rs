//! What of a user's settings reaches the project's builds: where the network and the caches are, and nothing else.
//!
//! cargo takes settings from variables, from the `.cargo/config.toml` of the directory it runs in and of each above it, and from the one in
//! its home. A `rustflags` there would be built into the boot loader, a `strip` would take the names out of crash reports. So
//! a build runs in a directory that has no such file above it, with a home of our own ([`lay`]) whose caches are the user's, and without any
//! variable that could change what is built ([`clear`]). So are built what runs on the bare machine and, by [`host`], what is tested here. The
//! build of this program itself is cargo's, before anything of ours runs: `.cargo/config.toml` of the project says what it must.
//!
//! Source: The Cargo Book, "Configuration" and "Environment Variables".

use super::METAL;
use crate::paths::{self, Paths};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// The tables of a configuration that say where crates come from and how they are reached.
const NETWORK: [&str; 6] = ["net", "http", "source", "registry", "registries", "credential-alias"];

/// The keys in them whose values are paths, relative to the directory that holds the `.cargo` of the file.
const PATHS: [&str; 4] = ["directory", "local-registry", "cainfo", "proxy-cainfo"];

/// Variables that stay, of those whose names begin with CARGO or RUST: the first words of their names.
const KEPT: [&str; 6] =
    ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_TERM_", "CARGO_BUILD_JOBS"];

/// Others that change what is built, or are meant for the process that started this one.
const OTHERS: [&str; 5] = ["LD_LIBRARY_PATH", "MAKEFLAGS", "MFLAGS", "TARGET", "PROFILE"];

/// What the user's home of cargo shares with ours: caches, their locks, and what registries want to know.
const SHARED_DIRS: [&str; 2] = ["registry", "git"];
const SHARED_FILES: [&str; 5] =
    [".package-cache", ".package-cache-mutate", ".global-cache", "credentials.toml", "credentials"];

/// Where the builds run, apart from the loader's: the only directory of which it is certain that nothing lies above it.
pub(crate) const NOWHERE: &str = "/";

/// Whether a variable may reach a build.
fn is_kept(name: &str) -> bool {
    let cargos = name.starts_with("CARGO") || name.starts_with("RUST") || name.starts_with("__CARGO");
    let kept = KEPT.iter().any(|kept| name.starts_with(kept)) || name == "RUST_BACKTRACE";
    (!cargos || kept) && !OTHERS.contains(&name)
}

/// Takes every variable from a command that could change what it builds.
pub(crate) fn clear(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_none_or(|name| !is_kept(name)) {
            command.env_remove(name);
        }
    }
    // Said outright, these stand above whatever a file says. An empty wrapper is none.
    command.env("RUSTC_WRAPPER", "").env("CARGO_ENCODED_RUSTFLAGS", "");
}

/// The user's own cargo, for what runs on this machine, with nothing of the user's settings but network and caches. `--target host-tuple` shares
/// what it builds with the build of this program, unless there are other settings.
///
/// # Errors
/// When the build directory cannot be written, or a configuration cannot be read.
pub fn host(paths: &Paths) -> Result<Command> {
    host_for(paths, users_home())
}

fn host_for(paths: &Paths, users: Option<PathBuf>) -> Result<Command> {
    let plain = match &users {
        Some(home) => has_nothing_else(&paths.root, home)?,
        None => false,
    };
    // Crates have other paths in another home, and all would be built anew by each in turn.
    let (home, target) = match users.filter(|_| plain) {
        Some(home) => (home, paths.target.clone()),
        None => (home(paths)?, paths.target.join("host")),
    };
    check_nowhere()?;
    // cargo tells the programs it runs where it is, and rustup which toolchain that belongs to.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    clear(&mut command);
    if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command.env("CARGO_HOME", home).current_dir(NOWHERE).env("CARGO_TARGET_DIR", target);
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", paths.root.join(".cargo/linker"));
    Ok(command)
}

/// Whether cargo in the checkout would find nothing but the project's own configuration, and in the user's home at most where the network is.
fn has_nothing_else(root: &Path, home: &Path) -> Result<bool> {
    let own = root.join(".cargo/config.toml");
    for path in configurations(root, Some(home)).into_iter().filter(|path| *path != own) {
        if !path.starts_with(home) || more_than_network(&path)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a home for cargo in the build directory ([`lay`]), and checks that nothing lies above [`NOWHERE`].
///
/// # Errors
/// When the build directory cannot be written, or a configuration cannot be read.
pub(crate) fn home(paths: &Paths) -> Result<PathBuf> {
    let home = paths.target.join("cargo-home");
    lay(&home, paths)?;
    check_nowhere()?;
    Ok(home)
}

/// The flags for [`METAL`] in the project's own `.cargo/config.toml`, as CARGO_ENCODED_RUSTFLAGS has them.
///
/// # Errors
/// When the file is missing or has none.
pub(crate) fn metal_flags(root: &Path) -> Result<String> {
    let path = root.join(".cargo/config.toml");
    let config = read(&path)?.with_context(|| format!("there is no {}", path.display()))?;
    let flags = config.get("target").and_then(|target| target.get(METAL)?.get("rustflags")?.as_array());
    let flags = flags.with_context(|| format!("{} has no target.{METAL}.rustflags", path.display()))?;
    Ok(flags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\x1f"))
}

/// The home that cargo has when nothing else is said.
fn users_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty());
    match named {
        Some(home) => std::path::absolute(home).ok(),
        None => Some(std::env::home_dir()?.join(".cargo")),
    }
}

/// Makes `dir` a home for cargo with the user's caches and network, and nothing else of the user's.
///
/// # Errors
/// When it cannot be written, or a configuration cannot be read.
pub(crate) fn lay(dir: &Path, paths: &Paths) -> Result<()> {
    lay_for(dir, &paths.root, users_home().as_deref())
}

fn lay_for(dir: &Path, root: &Path, home: Option<&Path>) -> Result<()> {
    paths::create_dir(dir)?;
    if let Some(home) = home {
        for name in SHARED_DIRS {
            // Where the user's home cannot be written, ours has a cache of its own.
            if std::fs::create_dir_all(home.join(name)).is_ok() || home.join(name).is_dir() {
                link(&home.join(name), &dir.join(name))?;
            }
        }
        // A link may lead to what is not there yet: cargo then makes the file in the user's home.
        SHARED_FILES.iter().try_for_each(|name| link(&home.join(name), &dir.join(name)))?;
    }
    let mut network = DocumentMut::new();
    for path in configurations(root, home) {
        if let Some(config) = read(&path)? {
            // Relative to the directory in which `.cargo` is.
            let base = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
            for (name, item) in config.iter().filter(|(name, _)| NETWORK.contains(name)) {
                let mut item = item.clone();
                absolute(&mut item, base);
                merge(network.as_table_mut(), name, item);
            }
        }
    }
    let (path, text) = (dir.join("config.toml"), network.to_string());
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    // Another build may do this at the same moment.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|error| paths::disk_error(&error, &path))?;
    file.write_all(text.as_bytes()).map_err(|error| paths::disk_error(&error, &path))?;
    file.persist(&path).map_err(|error| paths::disk_error(&error.error, &path))?;
    Ok(())
}

/// Makes `link` lead to `to`, whatever was there before.
fn link(to: &Path, link: &Path) -> Result<()> {
    let leads = || std::fs::read_link(link).is_ok_and(|old| old == to);
    if leads() {
        return Ok(());
    }
    if link.is_dir() && !link.is_symlink() {
        // A cache of our own, of a time when the user's could not be had.
        let _ = std::fs::remove_dir_all(link);
    }
    let _ = std::fs::remove_file(link);
    match symlink(to, link) {
        // Another build may do this at the same moment.
        Err(error) if !leads() => Err(paths::disk_error(&error, link)),
        _ => Ok(()),
    }
}

/// Every configuration that cargo would read in the checkout, the strongest first.
fn configurations(root: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let above = root.ancestors().map(|dir| dir.join(".cargo"));
    let mut found = Vec::new();
    for dir in above.chain(home.map(Path::to_path_buf)) {
        // cargo takes the older name where there are both.
        let path = [dir.join("config"), dir.join("config.toml")].into_iter().find(|path| path.is_file());
        found.extend(path.filter(|path| !found.contains(path)));
    }
    found
}

fn read(path: &Path) -> Result<Option<DocumentMut>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    };
    text.parse()
        .map(Some)
        .with_context(|| format!("{} is no TOML: mend it, cargo cannot read it either", path.display()))
}

/// Adds what is not there yet, table by table.
fn merge(into: &mut dyn TableLike, name: &str, item: Item) {
    match into.get_mut(name) {
        None => drop(into.insert(name, item)),
        Some(old) => {
            if let (Some(old), Some(new)) = (old.as_table_like_mut(), item.as_table_like()) {
                for (name, item) in new.iter() {
                    merge(old, name, item.clone());
                }
            }
        }
    }
}

/// Makes the paths in an item absolute, since it moves to another file.
fn absolute(item: &mut Item, base: &Path) {
    let Some(table) = item.as_table_like_mut() else { return };
    for (key, value) in table.iter_mut() {
        if PATHS.contains(&key.get()) {
            if let Some(path) = value.as_str().map(|path| base.join(path)) {
                *value = toml_edit::value(path.display().to_string());
            }
        } else {
            absolute(value, base);
        }
    }
}

/// The tables of a configuration that say more than where the network is, as one line.
fn more_than_network(path: &Path) -> Result<Option<String>> {
    let Some(config) = read(path)? else { return Ok(None) };
    let more = config.iter().map(|(name, _)| name).filter(|name| !NETWORK.contains(name) && *name != "term");
    let more: Vec<_> = more.map(|name| format!("[{name}]")).collect();
    Ok((!more.is_empty()).then(|| format!("{} has {}", path.display(), more.join(", "))))
}

/// What the configurations of `dir` and of the directories above it would change.
fn disturbing(dir: &Path) -> Result<Option<String>> {
    configurations(dir, None).iter().find_map(|path| more_than_network(path).transpose()).transpose()
}

/// Checks that nothing lies above [`NOWHERE`] either.
///
/// # Errors
/// When the root directory has a configuration that would change what is built.
fn check_nowhere() -> Result<()> {
    match disturbing(Path::new(NOWHERE))? {
        Some(what) => bail!(
            "{what}: every build on this machine takes that over, and what is built would not be what it is elsewhere; \
             move it to the .cargo/config.toml in a home directory"
        ),
        None => Ok(()),
    }
}

/// A directory for a short time, with no configuration above it that would change what is built: `cargo install`, which the loader's
/// build calls, looks above its home.
///
/// # Errors
/// When there is none on this machine.
pub(crate) fn temporary() -> Result<tempfile::TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/dev/shm".into()];
    temporary_in(&places.into_iter().chain(runtime).collect::<Vec<_>>())
}

fn temporary_in(places: &[PathBuf]) -> Result<tempfile::TempDir> {
    let mut reasons = Vec::new();
    for place in places {
        // By its real name: cargo looks above that one.
        let Ok(real) = place.canonicalize() else { continue };
        match disturbing(&real)? {
            Some(what) => reasons.push(what),
            None => match tempfile::Builder::new().prefix("enigma-").tempdir_in(&real) {
                Ok(dir) => {
                    crate::children::remove_on_signal(dir.path());
                    return Ok(dir);
                }
                Err(error) => reasons.push(format!("{}: {error}", place.display())),
            },
        }
    }
    bail!(
        "no directory for temporary files can be used to build the boot loader: {}; set TMPDIR to one that can be written and has no \
         .cargo/config.toml above it",
        reasons.join("; ")
    )
}

#[cfg(test)]
mod tests;
