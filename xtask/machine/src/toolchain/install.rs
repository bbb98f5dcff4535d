//! Gets what is missing: the compiler, QEMU and its UEFI firmware. Says first what will be run and why.

use super::{Search, Toolchain, find_program};
use crate::qemu::Programs;
use crate::ui::{Step, say};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Rust release that rustup is asked for: the newest that a boot loader release is known to fit.
const RUSTUP_RELEASE: &str = "1.96.0";

/// Everything that a command may need from outside the checkout.
#[derive(Debug)]
pub struct Ready {
    /// Builds kernel, tasks and boot loader.
    pub toolchain: Toolchain,
    /// Boots them.
    pub programs: Programs,
}

/// What a command is going to do, and so what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Boots something.
    pub qemu: bool,
    /// Boots by UEFI.
    pub uefi: bool,
    /// Runs clippy on bare-metal code.
    pub clippy: bool,
    /// Whether missing things may be installed; else they are only reported.
    pub install: bool,
}

/// One command that will be run to get something.
#[derive(Debug, PartialEq, Eq)]
struct Action {
    why: String,
    words: Vec<String>,
}

impl Action {
    fn new(why: impl Into<String>, words: &[&str]) -> Self {
        Self { why: why.into(), words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    fn line(&self) -> String {
        self.words.join(" ")
    }
}

/// Finds what `needs` asks for, and installs what is missing if that is allowed.
///
/// # Errors
/// When something is missing and cannot or must not be installed: the error says what, and how to get it.
pub fn ensure(needs: Needs) -> Result<Ready> {
    let mut search = Search::run();
    let mut programs = Programs::find();
    if let Some(missing) = missing(&search, &programs, needs) {
        let mut host = Host::inspect();
        if needs.install && host.lists_are_old() {
            // Only with fresh lists can be said which packages there are.
            if let Some(update) = host.update() {
                say(missing.describe(&search));
                run(&update)?;
                host = Host { updated: true, ..Host::inspect() };
            }
        }
        let plan = host.plan(&missing);
        if !needs.install {
            bail!("{}\n{}", missing.describe(&search), describe(&plan));
        }
        let Ok(actions) = plan else {
            bail!("{}\n{}", missing.describe(&search), describe(&plan));
        };
        say(missing.describe(&search));
        for action in &actions {
            run(action)?;
        }
        search = Search::run();
        programs = Programs::find();
        if let Some(missing) = self::missing(&search, &programs, needs) {
            bail!(
                "still incomplete after installing.\n{}\nSee the output above for what went wrong.",
                missing.describe(&search)
            );
        }
    }
    if needs.qemu {
        programs.check()?;
    }
    let toolchain = search.found.context("no compiler was found")?;
    Ok(Ready { toolchain, programs })
}

/// Finds gdb, and installs it if that is allowed and it is missing.
///
/// # Errors
/// When it is missing and cannot or must not be installed: the error says how to get it.
pub fn ensure_gdb(install: bool) -> Result<PathBuf> {
    if let Some(gdb) = find_program("gdb") {
        return Ok(gdb);
    }
    let plan = Host::inspect().plan_gdb();
    match plan {
        Ok(actions) if install => {
            say("gdb, the debugger, is not installed");
            actions.iter().try_for_each(run)?;
            find_program("gdb").context("gdb is still missing after installing it; see above for what went wrong")
        }
        Ok(actions) => {
            let lines: Vec<_> = actions.iter().map(|action| format!("  {}", action.line())).collect();
            bail!("gdb, the debugger, is not installed. To get it, run:\n{}", lines.join("\n"))
        }
        Err(advice) => bail!("gdb, the debugger, is not installed. To get it: {advice}."),
    }
}

/// What is not there.
#[derive(Clone, Copy, Debug)]
struct Missing {
    compiler: bool,
    qemu: bool,
    ovmf: bool,
    clippy: bool,
}

impl Missing {
    fn describe(self, search: &Search) -> String {
        let mut lines = Vec::new();
        if self.compiler {
            lines.push(format!(
                "no compiler here can build kernel, tasks and boot loader (they need core from source):\n{}",
                search.report()
            ));
        }
        if self.qemu {
            lines.push(
                "QEMU (qemu-system-x86_64) is not installed; it is the machine that the system runs on".to_owned(),
            );
        }
        if self.ovmf {
            lines.push("OVMF, the UEFI firmware for QEMU, is not installed; --uefi needs it".to_owned());
        }
        if self.clippy && !self.compiler {
            lines.push("the compiler for the bare machine has no clippy".to_owned());
        }
        lines.join("\n")
    }
}

fn missing(search: &Search, programs: &Programs, needs: Needs) -> Option<Missing> {
    let missing = Missing {
        compiler: search.found.is_none(),
        qemu: needs.qemu && programs.qemu.is_none(),
        ovmf: needs.qemu && needs.uefi && programs.ovmf.is_none(),
        clippy: needs.clippy && !search.found.as_ref().is_some_and(Toolchain::has_clippy),
    };
    (missing.compiler || missing.qemu || missing.ovmf || missing.clippy).then_some(missing)
}

/// What the machine offers to install things with.
#[derive(Clone, Debug)]
struct Host {
    /// apt-get is there, and it knows Debian's newest compiler.
    apt: bool,
    apt_knows_compiler: bool,
    /// The version of LLVM that Debian's compiler goes with.
    llvm: String,
    /// `Some` of the words before a command that needs the administrator, `None` where we cannot become that.
    admin: Option<Vec<&'static str>>,
    rustup: bool,
    /// The version of qemu-utils that goes with the QEMU that apt has, where another release's is installed: the two exclude
    /// each other.
    qemu_utils: Option<String>,
    /// apt has just fetched its lists.
    updated: bool,
}

impl Host {
    fn inspect() -> Self {
        let apt = find_program("apt-get").is_some() && Path::new("/etc/debian_version").exists();
        let root = rustix::process::geteuid().is_root();
        let admin = if root {
            Some(Vec::new())
        } else if find_program("sudo").is_none() {
            None
        } else if std::io::stdin().is_terminal() {
            Some(vec!["sudo"])
        } else {
            // Nobody is there to type a password.
            let silent = Command::new("sudo").args(["-n", "true"]).output();
            silent.is_ok_and(|done| done.status.success()).then(|| vec!["sudo", "-n"])
        };
        let mut host = Self {
            apt,
            apt_knows_compiler: false,
            llvm: "22".to_owned(),
            admin,
            rustup: find_program("rustup").is_some(),
            qemu_utils: None,
            updated: false,
        };
        if apt {
            host.ask_apt();
        }
        host
    }

    /// Debian names its LLVM packages by version; the compiler's package says which it goes with.
    fn ask_apt(&mut self) {
        let text = output("apt-cache", &["depends", "rust-web-llvm"]);
        if let Some(version) = text.lines().find_map(|line| line.trim().strip_prefix("Depends: llvm-")) {
            self.llvm = version.to_owned();
            self.apt_knows_compiler = true;
        }
        let installed = output("dpkg-query", &["-W", "-f=${db:Status-Abbrev}${Version}", "qemu-utils"]);
        let candidate = output("apt-cache", &["policy", "qemu-system-common"]);
        self.qemu_utils = fitting_utils(&installed, &candidate);
    }

    /// Whether apt cannot know yet what it could install.
    fn lists_are_old(&self) -> bool {
        self.apt && !self.updated && !self.apt_knows_compiler
    }

    /// The command that fetches apt's lists, if we may run it.
    fn update(&self) -> Option<Action> {
        let words = [self.admin.as_ref()?.as_slice(), &["apt-get", "update"]].concat();
        Some(Action::new("the package lists are missing or old", &words))
    }

    /// The commands that get gdb, or a sentence on why there are none.
    fn plan_gdb(&self) -> std::result::Result<Vec<Action>, String> {
        match &self.admin {
            _ if !self.apt => Err("install gdb with this system's package manager, then try again".to_owned()),
            None => Err("ask an administrator to run: apt-get install -y gdb".to_owned()),
            Some(admin) => {
                let words = ["apt-get", "install", "-y", "--no-install-recommends", "--no-remove", "gdb"];
                let words = [admin.as_slice(), &words].concat();
                let lists = self.update().filter(|_| self.lists_are_old());
                Ok(lists.into_iter().chain([Action::new("to get the debugger", &words)]).collect())
            }
        }
    }

    /// The commands that get `missing`, or a sentence on why there are none.
    fn plan(&self, missing: &Missing) -> std::result::Result<Vec<Action>, String> {
        let mut actions = Vec::new();
        let compiler_by_apt = missing.compiler && self.apt && (self.apt_knows_compiler || self.lists_are_old());
        let (lld, llvm) = (format!("lld-{}", self.llvm), format!("llvm-{}", self.llvm));
        let mut packages: Vec<&str> = Vec::new();
        if compiler_by_apt {
            packages.extend(["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", &lld, &llvm]);
        }
        let clippy_by_apt = missing.clippy && self.apt && (!missing.compiler || compiler_by_apt);
        if clippy_by_apt {
            packages.push("rust-web-clippy");
        }
        if missing.qemu {
            packages.push("qemu-system-x86");
        }
        if missing.ovmf {
            packages.push("ovmf");
        }
        let utils = self.qemu_utils.as_ref().filter(|_| missing.qemu).map(|version| format!("qemu-utils={version}"));
        packages.extend(utils.as_deref());
        if !packages.is_empty() {
            if !self.apt {
                let what = if missing.qemu || missing.ovmf { "QEMU (with OVMF for --uefi)" } else { "the compiler" };
                return Err(format!(
                    "install {what} with this system's package manager (Fedora: dnf install qemu-system-x86-core \
                     edk2-ovmf; Arch: pacman -S qemu-system-x86 edk2-ovmf), then try again"
                ));
            }
            let Some(admin) = &self.admin else {
                return Err(format!("ask an administrator to run: apt-get install -y {}", packages.join(" ")));
            };
            if self.lists_are_old() {
                actions.extend(self.update());
            }
            // --no-remove: Debian's newest compiler replaces its older one, which somebody may still need.
            let words = ["apt-get", "install", "-y", "--no-install-recommends", "--no-remove"];
            let downgrade: &[&str] = if utils.is_some() { &["--allow-downgrades"] } else { &[] };
            let words = [admin.as_slice(), &words, downgrade, &packages].concat();
            let mut gets = Vec::new();
            if compiler_by_apt {
                gets.push("a compiler with the source of core, and its linker");
            }
            if clippy_by_apt {
                gets.push("its clippy");
            }
            if missing.qemu {
                gets.push("the machine to run on");
            }
            if missing.ovmf {
                gets.push("its UEFI firmware");
            }
            if utils.is_some() {
                gets.push("qemu-utils of the same release (the one that is installed excludes it)");
            }
            actions.push(Action::new(format!("to get {}", gets.join(", ")), &words));
        }
        if missing.compiler && !compiler_by_apt {
            if !self.rustup {
                return Err(format!(
                    "install rustup (https://rustup.rs), then run: rustup toolchain install {RUSTUP_RELEASE} \
                     --profile minimal -c rust-src -c llvm-tools"
                ));
            }
            let words = ["rustup", "toolchain", "install", RUSTUP_RELEASE, "--profile", "minimal"];
            let parts = ["-c", "rust-src", "-c", "llvm-tools"];
            let words = [words.as_slice(), &parts].concat();
            actions
                .push(Action::new("to get a compiler with the source of core (your default stays as it is)", &words));
        }
        if missing.clippy && !clippy_by_apt {
            let words = ["rustup", "component", "add", "clippy", "--toolchain", RUSTUP_RELEASE];
            actions.push(Action::new("to get clippy for the bare machine", &words));
        }
        Ok(actions)
    }
}

/// What a program prints, or nothing where it cannot be run or fails.
fn output(program: &str, arguments: &[&str]) -> String {
    // Its words are looked for, so they must not be translated.
    match Command::new(program).args(arguments).env("LC_ALL", "C").output() {
        Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
        _ => String::new(),
    }
}

/// The version that qemu-utils must come in to stand beside apt's QEMU, if it is installed in another one. `installed` is
/// dpkg's status and version, `policy` what `apt-cache policy qemu-system-common` says.
fn fitting_utils(installed: &str, policy: &str) -> Option<String> {
    let installed = installed.strip_prefix("ii ")?.trim();
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?.trim();
    (candidate != "(none)" && candidate != installed).then(|| candidate.to_owned())
}

fn describe(plan: &std::result::Result<Vec<Action>, String>) -> String {
    match plan {
        Ok(actions) => {
            let lines: Vec<_> = actions.iter().map(|action| format!("  {}", action.line())).collect();
            format!("To get it, run `cargo xtask setup`, or yourself:\n{}", lines.join("\n"))
        }
        Err(advice) => format!("To get it: {advice}."),
    }
}

/// Runs one action with its output on our stderr.
fn run(action: &Action) -> Result<()> {
    let step = Step::begin(format!("{}: running `{}`", action.why, action.line()));
    let (program, arguments) = action.words.split_first().context("an empty command")?;
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        let hint = if program == "rustup" {
            "is the network there, and may rustup download?"
        } else {
            "is the network there, is another apt running, is the disk full? If apt would have to remove a package, \
             remove it yourself if you can do without"
        };
        bail!("`{}` failed ({status}): {hint}", action.line());
    }
    step.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Missing = Missing { compiler: true, qemu: true, ovmf: true, clippy: false };

    fn host() -> Host {
        Host {
            apt: true,
            apt_knows_compiler: true,
            llvm: "23".to_owned(),
            admin: Some(vec!["sudo"]),
            rustup: true,
            qemu_utils: None,
            updated: false,
        }
    }

    #[test]
    fn debian_gets_everything_from_apt() {
        let actions = host().plan(&ALL).expect("a plan");
        let line = actions.last().expect("an action").line();
        assert!(line.starts_with("sudo apt-get install -y --no-install-recommends --no-remove rustc-web"), "{line}");
        assert!(line.ends_with("lld-23 llvm-23 qemu-system-x86 ovmf"), "{line}");
    }

    #[test]
    fn gdb_comes_from_apt_or_the_error_says_how() {
        let line =
            |host: Host| host.plan_gdb().map(|plan| plan.iter().map(Action::line).collect::<Vec<_>>().join("; "));
        let install = "sudo apt-get install -y --no-install-recommends --no-remove gdb";
        assert_eq!(line(host()).as_deref(), Ok(install));
        let old = Host { apt_knows_compiler: false, ..host() };
        assert_eq!(line(old), Ok(format!("sudo apt-get update; {install}")));
        assert!(line(Host { admin: None, ..host() }).is_err_and(|advice| advice.contains("administrator")));
        assert!(line(Host { apt: false, ..host() }).is_err_and(|advice| advice.contains("package manager")));
    }

    #[test]
    fn tools_of_another_release_come_back_in_the_version_that_fits() {
        let policy = "qemu-system-common:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n  Version table:\n";
        assert_eq!(fitting_utils("ii 1:10.0.2", policy).as_deref(), Some("1:7.2+dfsg-7"));
        assert_eq!(fitting_utils("ii 1:7.2+dfsg-7", policy), None, "it fits already");
        assert_eq!(fitting_utils("rc 1:10.0.2", policy), None, "removed, only its settings are left");
        assert_eq!(fitting_utils("", policy), None, "never installed");
        assert_eq!(fitting_utils("ii 1:10.0.2", "qemu-system-common:\n  Candidate: (none)\n"), None);

        let crowded = Host { qemu_utils: Some("1:7.2+dfsg-7".to_owned()), ..host() };
        let line = crowded.plan(&ALL).expect("a plan").last().expect("an action").line();
        assert!(line.contains("--no-remove --allow-downgrades"), "{line}");
        assert!(line.ends_with("qemu-system-x86 ovmf qemu-utils=1:7.2+dfsg-7"), "{line}");
        let actions = crowded.plan(&Missing { qemu: false, ..ALL }).expect("a plan");
        assert!(!actions.last().expect("an action").line().contains("qemu-utils"), "QEMU is there: nothing to mend");
    }

    #[test]
    fn elsewhere_rustup_gets_the_compiler() {
        let elsewhere = Host { apt: false, apt_knows_compiler: false, ..host() };
        let missing = Missing { qemu: false, ovmf: false, ..ALL };
        let actions = elsewhere.plan(&missing).expect("a plan");
        assert_eq!(actions.len(), 1);
        assert!(actions[0].line().starts_with("rustup toolchain install 1.96.0"), "{actions:?}");
        assert!(elsewhere.plan(&ALL).expect_err("no QEMU").contains("pacman"));
    }

    #[test]
    fn without_an_administrator_there_is_only_advice() {
        let poor = Host { admin: None, ..host() };
        let advice = poor.plan(&ALL).expect_err("no plan");
        assert!(advice.contains("ask an administrator") && advice.contains("qemu-system-x86"), "{advice}");
    }

    #[test]
    fn no_way_at_all_is_said() {
        let bare = Host { apt: false, apt_knows_compiler: false, rustup: false, ..host() };
        let missing = Missing { qemu: false, ovmf: false, ..ALL };
        assert!(bare.plan(&missing).expect_err("no plan").contains("rustup.rs"));
    }
}
