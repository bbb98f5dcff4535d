//! `cargo xtask run`: boots the system for a person, or for a script.

use crate::build::{Built, Config, check_with, system_image};
use crate::guest::{Guest, split_commands};
use crate::hardware::Hardware;
use crate::interactive;
use crate::keys;
use crate::loader::Firmware;
use crate::paths::{self, Paths};
use crate::qemu::{Accel, Display, Machine, Programs};
use crate::toolchain::install::{Needs, ensure};
use crate::ui::say;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What `run` was asked for; the command line's help tells what each means.
#[derive(Clone, Debug)]
pub struct Options {
    pub bios: bool,
    pub uefi: bool,
    pub accel: Accel,
    pub memory: String,
    pub smp: u32,
    pub hardware: Hardware,
    pub display: Display,
    pub exec: Option<String>,
    pub keep_going: bool,
    pub screenshot: Option<PathBuf>,
    pub keys: Option<String>,
    pub with: Vec<PathBuf>,
    pub timeout: Option<u64>,
    pub install: bool,
}

/// How long a script may take if `--timeout` does not say.
const SCRIPT_LIMIT: Duration = Duration::from_secs(60);

/// Builds and boots the system.
///
/// # Errors
/// When anything fails on the way, and when the machine does not end with a clean power-off.
pub fn run(paths: &Paths, options: &Options) -> Result<()> {
    let firmware = Firmware::chosen(options.bios, options.uefi);
    let script = Script::parse(options)?;
    options.hardware.check(firmware.board())?;
    check_with(&options.with)?;
    let ready = ensure(Needs { qemu: true, uefi: options.uefi, clippy: false, install: options.install })?;
    say(format!("{}, {}", ready.toolchain.summary(), ready.programs.version()));
    options.hardware.check_cpu(&ready.programs)?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &options.with };
    let (built, image) = system_image(&config, firmware)?;
    let logs = paths.target.join("run-logs").join(std::process::id().to_string());
    let machine = Machine { reboots: script.is_none(), ..machine(options, firmware, image, logs) };
    let done = boot(&machine, &ready.programs, &built, script.as_ref(), options.timeout.map(Duration::from_secs));
    match &done {
        Ok(()) => drop(std::fs::remove_dir_all(&machine.logs)),
        Err(_) if machine.logs.is_dir() => {
            say(format!("the logs of this run are in {}", Paths::shown(&machine.logs)));
        }
        Err(_) => {}
    }
    done
}

/// The machine that was asked for.
fn machine(options: &Options, firmware: Firmware, image: PathBuf, logs: PathBuf) -> Machine {
    Machine {
        image,
        firmware,
        memory: options.memory.clone(),
        smp: options.smp,
        accel: options.accel,
        display: options.display,
        counted: None,
        told: None,
        debugged: false,
        traced: false,
        hardware: options.hardware.clone(),
        keeps_disks: false,
        reboots: false,
        logs,
    }
}

fn boot(
    machine: &Machine,
    programs: &Programs,
    built: &Built,
    script: Option<&Script>,
    limit: Option<Duration>,
) -> Result<()> {
    match script {
        Some(script) => {
            let limit = limit.unwrap_or(SCRIPT_LIMIT);
            let mut guest = Guest::boot(machine, programs, Some(&built.kernel), limit)?;
            script.perform(&mut guest, limit, &mut std::io::stdout().lock())
        }
        None => interactive::run(machine, programs, &built.kernel, limit),
    }
}

/// The error of a command of `--exec` that did not do what it should.
#[derive(Debug)]
pub struct CommandFailed(String);

impl CommandFailed {
    fn new(command: &str, status: Option<u8>, rest: usize) -> Self {
        let how = match status {
            Some(130) => "was interrupted",
            Some(_) => "failed; what it printed says why",
            None => "was not finished: the shell has begun anew",
        };
        let rest = match rest {
            0 => String::new(),
            1 => ". The command after it was not run; --keep-going would run it".to_owned(),
            rest => format!(". The {rest} commands after it were not run; --keep-going would run them"),
        };
        Self(format!("--exec: `{command}` {how}{rest}"))
    }
}

impl std::fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandFailed {}

/// What to do without a person.
#[derive(Debug)]
pub(crate) struct Script {
    pub keys: Option<String>,
    pub commands: Vec<String>,
    pub keep_going: bool,
    pub screenshot: Option<PathBuf>,
}

impl Script {
    /// Checks everything that can be checked before anything is built.
    pub(crate) fn parse(options: &Options) -> Result<Option<Self>> {
        if options.exec.is_none() && options.keys.is_none() && options.screenshot.is_none() {
            return Ok(None);
        }
        if let Some(text) = &options.keys {
            keys::parse(text)?;
        }
        if let Some(path) = &options.screenshot {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
                bail!("--screenshot: there is no directory {}; make it first", dir.display());
            }
            if path.extension().is_none_or(|kind| !kind.eq_ignore_ascii_case("png")) {
                bail!("--screenshot: the picture is a PNG; give a name that ends in .png");
            }
        }
        Ok(Some(Self {
            keys: options.keys.clone(),
            commands: split_commands(options.exec.as_deref().unwrap_or_default())?,
            keep_going: options.keep_going,
            screenshot: options.screenshot.clone(),
        }))
    }

    /// Types, prints all that the guest prints on its serial line, takes the picture, switches off. What is left out are prompts, and the echo of
    /// what is typed there.
    pub(crate) fn perform(&self, guest: &mut Guest, limit: Duration, out: &mut dyn Write) -> Result<()> {
        let done = self.steps(guest, limit, out);
        // What was printed after the last command, or while something went wrong.
        show(&guest.rest(), out)?;
        done
    }

    fn steps(&self, guest: &mut Guest, limit: Duration, out: &mut dyn Write) -> Result<()> {
        guest.wait_prompt(limit)?;
        if let Some(text) = &self.keys {
            guest.type_keys(text)?;
            // What was typed has had its effect when nothing moves any more.
            guest.still_screen(Duration::from_millis(500), limit)?;
        }
        let (mut off, mut failed) = (false, None);
        for command in &self.commands {
            if ends_the_session(command) && self.screenshot.is_some() {
                self.picture(guest, limit)?;
            }
            let printed = guest.run(command, limit)?;
            show(&printed.before, out)?;
            show(&printed.lines, out)?;
            if !printed.prompt {
                off = true;
                break;
            }
            if printed.status != Some(0) && !self.keep_going {
                failed = Some((command, printed.status));
                break;
            }
        }
        if !off {
            self.picture(guest, limit)?;
            let ready = guest.wait_prompt(Duration::from_secs(1)).is_ok();
            if ready {
                let printed = guest.run("shutdown", limit)?;
                show(&printed.before, out)?;
                show(&printed.lines, out)?;
            } else if self.commands.is_empty() {
                // The keys have left something running, which was asked for: there is nobody to tell `shutdown`.
                guest.stop();
                return Ok(());
            }
        }
        guest.wait_off(limit).context("the machine was not switched off cleanly")?;
        match failed {
            None => Ok(()),
            Some((command, status)) => {
                let rest = self.commands.iter().skip_while(|other| *other != command).count() - 1;
                Err(CommandFailed::new(command, status, rest).into())
            }
        }
    }

    fn picture(&self, guest: &mut Guest, limit: Duration) -> Result<()> {
        let Some(path) = &self.screenshot else { return Ok(()) };
        let picture = guest.still_screen(Duration::from_secs(1), limit)?;
        picture.save(path)?;
        say(format!("the screen ({}x{}) is in {}", picture.width, picture.height, paths::Paths::shown(path)));
        Ok(())
    }
}

fn ends_the_session(command: &str) -> bool {
    matches!(command.split_whitespace().next(), Some("shutdown" | "reboot"))
}

/// Prints lines, at once.
fn show(lines: &[String], out: &mut dyn Write) -> Result<()> {
    for line in lines {
        writeln!(out, "{line}").context("cannot write to the standard output")?;
    }
    out.flush().context("cannot write to the standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            bios: false,
            uefi: false,
            accel: Accel::Tcg,
            memory: "64M".to_owned(),
            smp: 1,
            hardware: Hardware::default(),
            display: Display::None,
            exec: None,
            keep_going: false,
            screenshot: None,
            keys: None,
            with: Vec::new(),
            timeout: None,
            install: false,
        }
    }

    #[test]
    fn the_machine_is_as_the_flags_say() {
        let hardware = crate::hardware::tests::everything();
        let options = Options { memory: "96M".to_owned(), smp: 2, hardware: hardware.clone(), ..options() };
        let machine = machine(&options, Firmware::Uefi, "image".into(), "logs".into());
        assert_eq!((machine.hardware, machine.keeps_disks), (hardware, false));
        assert_eq!((machine.firmware, machine.memory.as_str(), machine.smp), (Firmware::Uefi, "96M", 2));
    }

    #[test]
    fn mistakes_are_found_before_the_build() {
        assert!(Script::parse(&options()).expect("nothing to check").is_none());
        let wrong = |change: fn(&mut Options)| {
            let mut options = options();
            change(&mut options);
            Script::parse(&options).expect_err("a mistake").to_string()
        };
        assert!(wrong(|options| options.keys = Some("<nokey>".to_owned())).contains("<nokey>"));
        assert!(wrong(|options| options.exec = Some("echo 'a".to_owned())).contains("not closed"));
        assert!(wrong(|options| options.screenshot = Some("a.jpg".into())).contains(".png"));
        assert!(wrong(|options| options.screenshot = Some("no/such/dir/a.png".into())).contains("no directory"));
    }

    #[test]
    fn a_session_ends_with_its_machine() {
        assert!(ends_the_session("shutdown") && ends_the_session("reboot now"));
        assert!(!ends_the_session("echo shutdown") && !ends_the_session(""));
    }

    #[test]
    fn a_command_that_failed_is_named_with_those_that_were_not_run() {
        let said = |status, rest| CommandFailed::new("ps x", status, rest).to_string();
        assert_eq!(said(Some(1), 0), "--exec: `ps x` failed; what it printed says why");
        assert!(
            said(Some(130), 1).contains("interrupted. The command after it")
                && said(None, 2).contains("begun anew. The 2 commands")
        );
    }
}
