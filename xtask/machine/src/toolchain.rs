//! Finds a compiler that can build the kernel, the tasks and the boot loader.
//!
//! None of them is built for a target that has a standard library, so an ordinary compiler is not enough: it needs the
//! source of `core` beside it, a linker that knows bare-metal targets (`rust-lld`), and `llvm-objcopy` for the loader.
//! rustup's `rust-src` component or Debian's `rust-web-src` package provide the first, the others are found where
//! either puts them. Nothing outside the build directory is changed: where the loader's build script expects the tools
//! in places that a distribution does not use, it is shown a directory of our own ([`Toolchain::prepare`]).

pub mod install;
pub mod shield;

use crate::paths::{self, Paths};
use anyhow::{Context, Result, bail};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of kernel and tasks.
pub const METAL: &str = "x86_64-unknown-none";

/// The boot loader releases and the compilers (minor versions of Rust 1) that build them. The loader's own targets
/// follow the compiler's development, so each release fits only a few versions.
const LOADERS: &[(&str, std::ops::Range<u32>)] = &[
    // Its build passes -Zjson-target-spec, which 1.94 does not know; it fails after the target format changed in 1.97.
    (PINNED_LOADER, 95..97),
    // Written for the target format of July 2026.
    ("0.11.17", 98..u32::MAX),
];

/// The loader release that the committed lock file of `xtask/image-builder` holds.
pub(crate) const PINNED_LOADER: &str = "0.11.15";

/// The `rustc` that the loader's build is given. Beside naming our directory as its sysroot it saves a tenth of the
/// build: one stage has a font in 24 sizes and weights compiled, 20 MB of source, and uses one of them.
const LOADER_RUSTC: &str = r#"if [ "$*" = "--print sysroot" ]; then echo SYSROOT; exit; fi
case "$CARGO_PKG_VERSION $*" in
0.1.*"--crate-name noto_sans_mono_bitmap "*)
    left=$#
    while [ "$left" -gt 0 ]; do
        word=$1
        shift
        case "$word" in
        'feature="light"' | 'feature="bold"' | 'feature="size_1'[68]'"' | 'feature="size_'[2-9][0-9]'"')
            word='feature="default"' ;;
        esac
        set -- "$@" "$word"
        left=$((left - 1))
    done ;;
esac
exec RUSTC "$@"
"#;

/// A compiler and the tools around it, found to be complete.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The real compiler, never rustup's stand-in.
    pub(crate) rustc: PathBuf,
    /// The cargo that belongs to it.
    pub(crate) cargo: PathBuf,
    /// For example `1.96.0`.
    pub release: String,
    /// The commit it was built from, or `unknown`.
    pub(crate) commit: String,
    /// For example `x86_64-unknown-linux-gnu`.
    pub(crate) host: String,
    /// Where it was found, for the user: `rustup toolchain stable`, `/usr/bin/rustc`.
    pub(crate) origin: String,
    /// The loader release to build with it.
    pub(crate) loader: &'static str,
    sysroot: PathBuf,
    lld: PathBuf,
    objcopy: PathBuf,
}

/// A compiler that was looked at and found wanting.
#[derive(Debug)]
pub struct Unfit {
    /// Where it is, for the user.
    pub(crate) origin: String,
    /// What it lacks.
    pub(crate) lacks: Vec<String>,
}

/// The result of looking at every compiler there is.
#[derive(Debug, Default)]
pub struct Search {
    /// The first one that fits.
    pub(crate) found: Option<Toolchain>,
    /// Those before it that do not.
    pub(crate) unfit: Vec<Unfit>,
}

impl Search {
    /// Looks at `$ENIGMA_TOOLCHAIN` alone if it is set, else at rustup's toolchains and then at `/usr/bin/rustc`.
    #[must_use]
    pub(crate) fn run() -> Self {
        let mut search = Self::default();
        for (origin, prefix) in candidates() {
            match Toolchain::examine(&origin, &prefix) {
                Ok(toolchain) => {
                    search.found = Some(toolchain);
                    break;
                }
                Err(unfit) => search.unfit.push(unfit),
            }
        }
        search
    }

    /// One line for each compiler that does not fit, with the reason.
    #[must_use]
    pub(crate) fn report(&self) -> String {
        if self.unfit.is_empty() {
            return "  no compiler was found at all".to_owned();
        }
        let lines: Vec<_> =
            self.unfit.iter().map(|unfit| format!("  {} lacks {}", unfit.origin, unfit.lacks.join(", "))).collect();
        lines.join("\n")
    }
}

/// Every installation worth a look: (name for the user, prefix with `bin/rustc` below).
fn candidates() -> Vec<(String, PathBuf)> {
    let rustup = std::env::var_os("RUSTUP_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let rustup = rustup.or_else(|| Some(std::env::home_dir()?.join(".rustup"))).map(|home| home.join("toolchains"));
    if let Some(wanted) = std::env::var_os("ENIGMA_TOOLCHAIN").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(&wanted);
        let prefix = if path.is_file() {
            path.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or(path)
        } else if path.is_dir() {
            path
        } else {
            rustup.map(|dir| dir.join(&path)).unwrap_or(path)
        };
        return vec![(format!("ENIGMA_TOOLCHAIN={}", wanted.to_string_lossy()), prefix)];
    }
    let mut found = Vec::new();
    if let Some((dir, entries)) = rustup.and_then(|dir| Some((dir.clone(), std::fs::read_dir(dir).ok()?))) {
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        // The version that is installed by name first, the moving channels last.
        names.sort_by_key(|name| !name.to_string_lossy().starts_with("1."));
        for name in names {
            found.push((format!("rustup toolchain {}", name.to_string_lossy()), dir.join(&name)));
        }
    }
    for prefix in ["/usr", "/usr/local"] {
        let prefix = PathBuf::from(prefix);
        if prefix.join("bin/rustc").exists() {
            found.push((prefix.join("bin/rustc").display().to_string(), prefix));
        }
    }
    found
}

impl Toolchain {
    /// Checks whether the installation below `prefix` has all that is needed.
    fn examine(origin: &str, prefix: &Path) -> Result<Self, Unfit> {
        let unfit = |lacks: Vec<String>| Unfit { origin: origin.to_owned(), lacks };
        let rustc = prefix.join("bin/rustc");
        if !rustc.is_file() {
            return Err(unfit(vec![format!("a compiler at {}", rustc.display())]));
        }
        let mut lacks = Vec::new();
        let rustlib = prefix.join("lib/rustlib");
        if !rustlib.join("src/rust/library/core/src/lib.rs").is_file() {
            lacks.push("the source of core (rustup: component rust-src; Debian: package rust-web-src)".to_owned());
        }
        let cargo = prefix.join("bin/cargo");
        if !cargo.is_file() {
            lacks.push("cargo beside it (Debian: package cargo-web)".to_owned());
        }
        let verbose = match output(Command::new(&rustc).arg("-vV").env_remove("LD_LIBRARY_PATH")) {
            Ok(text) => text,
            Err(error) => {
                lacks.push(format!("a compiler that runs ({error:#})"));
                return Err(unfit(lacks));
            }
        };
        let field = |name: &str| {
            verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("unknown").to_owned()
        };
        let (release, host) = (field("release"), field("host"));
        let loader = loader_for(&release);
        if loader.is_none() {
            lacks.push(format!("a boot loader release that it can build (it is Rust {release}; {})", fitting()));
        }
        let tools = rustlib.join(&host).join("bin");
        let lld = first_file([tools.join("rust-lld")]).or_else(|| find_versioned(&["rust-lld", "lld", "ld.lld"]));
        if lld.is_none() {
            lacks.push("the linker rust-lld (Debian: package lld-22)".to_owned());
        }
        let objcopy = first_file([tools.join("llvm-objcopy"), tools.join("rust-objcopy")])
            .or_else(|| find_versioned(&["llvm-objcopy"]));
        if objcopy.is_none() {
            lacks.push("llvm-objcopy (rustup: component llvm-tools; Debian: package llvm-22)".to_owned());
        }
        match (loader, lld, objcopy, lacks.is_empty()) {
            (Some(loader), Some(lld), Some(objcopy), true) => Ok(Self {
                sysroot: prefix.to_path_buf(),
                rustc,
                cargo,
                release,
                commit: field("commit-hash"),
                host,
                origin: origin.to_owned(),
                loader,
                lld,
                objcopy,
            }),
            _ => Err(unfit(lacks)),
        }
    }

    /// A short name of this compiler for directories, different for every compiler build.
    #[must_use]
    pub(crate) fn key(&self) -> String {
        format!("{}-{}", self.release, self.commit.get(..9).unwrap_or(&self.commit))
    }

    /// Makes the directory that the loader's build is shown instead of the installation's own: a `rustc` that names
    /// it as its sysroot, the LLVM tools under the names that rustup gives them, and the linker.
    ///
    /// # Errors
    /// When the build directory cannot be written.
    pub(crate) fn prepare(&self, paths: &Paths) -> Result<PathBuf> {
        let dir = paths.target.join("toolchain").join(self.key());
        let (bin, sysroot) = (dir.join("bin"), dir.join("sysroot"));
        let tools = sysroot.join("lib/rustlib").join(&self.host).join("bin");
        paths::create_dir(&bin)?;
        paths::create_dir(&tools)?;
        // `llvm-tools`, which the loader's build uses, asks the `rustc` on PATH in exactly these words.
        let body = LOADER_RUSTC.replace("SYSROOT", &quoted(&sysroot)).replace("RUSTC", &quoted(&self.rustc));
        script(&bin.join("rustc"), &body)?;
        // rustup's tools find their LLVM library only when told where it is.
        let objcopy =
            format!("LD_LIBRARY_PATH={} exec {} \"$@\"\n", quoted(&self.sysroot.join("lib")), quoted(&self.objcopy));
        script(&tools.join("llvm-objcopy"), &objcopy)?;
        // Only its existence counts: it is how the tools' directory is recognised.
        script(&tools.join("llvm-objdump"), &objcopy)?;
        let lld = bin.join("rust-lld");
        if std::fs::read_link(&lld).ok().as_ref() != Some(&self.lld) {
            let _ = std::fs::remove_file(&lld);
            symlink(&self.lld, &lld).map_err(|error| paths::disk_error(&error, &lld))?;
        }
        Ok(dir)
    }

    /// A cargo of this toolchain that nothing of the user's own settings and toolchain reaches, but where network and caches are: see
    /// [`shield`]. It has no rustflags.
    ///
    /// # Errors
    /// When the build directory cannot be written.
    pub(crate) fn cargo(&self, paths: &Paths) -> Result<Command> {
        let dir = self.prepare(paths)?;
        let old = std::env::var_os("PATH").unwrap_or_default();
        let own = [dir.join("bin"), self.sysroot.join("bin")];
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&old)))
            .context("a directory on PATH has a colon in its name")?;
        let home = shield::home(paths)?;
        let mut command = Command::new(&self.cargo);
        shield::clear(&mut command);
        command.env("CARGO_HOME", home).current_dir(shield::NOWHERE);
        command.env("PATH", path).env("CARGO", &self.cargo).env("RUSTC", &self.rustc);
        // Without a terminal cargo would say nothing for minutes; with one it draws its own bar.
        command.env("CARGO_INCREMENTAL", "0");
        Ok(command)
    }

    /// The compiler to build the loader with: the real one behind a script.
    ///
    /// # Errors
    /// When the build directory cannot be written.
    pub(crate) fn loader_rustc(&self, paths: &Paths) -> Result<PathBuf> {
        Ok(self.prepare(paths)?.join("bin/rustc"))
    }

    /// Whether it can run clippy.
    #[must_use]
    pub(crate) fn has_clippy(&self) -> bool {
        self.cargo.with_file_name("cargo-clippy").is_file() && self.cargo.with_file_name("clippy-driver").is_file()
    }

    /// What `llvm-objcopy` is called, with the environment it needs.
    #[must_use]
    pub(crate) fn objcopy(&self) -> Command {
        let mut command = Command::new(&self.objcopy);
        command.env("LD_LIBRARY_PATH", self.sysroot.join("lib"));
        command
    }

    /// One line for the user.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("rustc {} ({}), boot loader {}", self.release, self.origin, self.loader)
    }
}

/// The loader release for a compiler release such as `1.96.0` or `1.99.0-nightly`.
fn loader_for(release: &str) -> Option<&'static str> {
    let minor: u32 = release.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
    LOADERS.iter().find(|(_, fits)| fits.contains(&minor)).map(|(version, _)| *version)
}

/// Which compilers there is a loader for, as words.
fn fitting() -> String {
    let ranges: Vec<_> = LOADERS
        .iter()
        .map(|(version, fits)| match fits.end {
            u32::MAX => format!("{version} from 1.{} on", fits.start),
            end => format!("{version} with 1.{} to 1.{}", fits.start, end - 1),
        })
        .collect();
    format!("releases fit as follows: {}", ranges.join(", "))
}

/// Runs a command for its standard output.
fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !done.status.success() {
        bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn first_file(paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.into_iter().find(|path| path.is_file())
}

/// A program on PATH, under its plain name or with a version at its end, the newest first.
fn find_versioned(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    let plain = names.iter().map(|name| (*name).to_owned());
    let versioned = (14..40).rev().flat_map(|number| names.iter().map(move |name| format!("{name}-{number}")));
    plain.chain(versioned).find_map(|name| first_file(dirs.iter().map(|dir| dir.join(&name))))
}

/// `llvm-objdump`, of whatever version.
#[must_use]
pub fn find_objdump() -> Option<PathBuf> {
    find_versioned(&["llvm-objdump"])
}

/// A program on PATH: as a shell does it, what cannot be executed is passed over.
#[must_use]
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let executable = |path: &PathBuf| path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    first_file(std::env::split_paths(&path).map(|dir| dir.join(name)).filter(executable))
}

/// Writes a shell script, unless it is there already with the same content.
///
/// # Errors
/// When the directory cannot be written.
pub(crate) fn script(path: &Path, body: &str) -> Result<()> {
    let content = format!("#!/bin/sh\n{body}");
    if std::fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(());
    }
    paths::write_whole(path, content.as_bytes())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| paths::disk_error(&error, path))
}

/// A path as one word of a shell script.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_follows_the_compiler() {
        assert_eq!(loader_for("1.96.0"), Some("0.11.15"));
        assert_eq!(loader_for("1.95.0"), Some("0.11.15"));
        assert_eq!(loader_for("1.99.0-nightly"), Some("0.11.17"));
        assert_eq!(loader_for("1.97.1"), None);
        assert_eq!(loader_for("1.63.0"), None);
        assert_eq!(loader_for("nonsense"), None);
    }

    #[test]
    fn an_empty_directory_is_no_toolchain() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let unfit = Toolchain::examine("here", dir.path()).expect_err("nothing there");
        assert!(unfit.lacks[0].contains("bin/rustc"), "{:?}", unfit.lacks);
    }

    #[test]
    fn a_compiler_without_source_is_told_so() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("bin")).expect("a directory");
        script(&dir.path().join("bin/rustc"), "echo 'release: 1.97.0'\necho 'host: none'\n").expect("a script");
        let unfit = Toolchain::examine("here", dir.path()).expect_err("no source");
        let lacks = unfit.lacks.join("; ");
        assert!(lacks.contains("rust-src") && lacks.contains("cargo") && lacks.contains("boot loader"), "{lacks}");
    }

    #[test]
    fn paths_survive_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
