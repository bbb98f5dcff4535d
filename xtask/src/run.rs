//! `cargo xtask run`: boots the system for a person, or for a script.

use anyhow::Result;
use machine::build::{Built, Config, check_with, system_image};
use machine::guest::Guest;
use machine::hardware::Hardware;
use machine::interactive;
use machine::loader::Firmware;
use machine::paths::Paths;
use machine::qemu::{Accel, Display, Machine, Programs};
use machine::script::Script;
use machine::toolchain::install::{Needs, ensure};
use machine::ui::say;
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
    let script = Script::parse(
        options.exec.as_deref(),
        options.keys.as_deref(),
        options.keep_going,
        options.screenshot.as_deref(),
    )?;
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use machine::hardware::Board;

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

    /// Every flag that describes a machine, each with a value that is not the usual one.
    pub(crate) fn everything() -> Hardware {
        Hardware {
            cpu: Some("Haswell".to_owned()),
            machine: Some(Board::Q35),
            disk: vec!["a.img".into()],
            qemu: vec!["-device edu".to_owned()],
            verbose: true,
        }
    }

    #[test]
    fn the_machine_is_as_the_flags_say() {
        let hardware = everything();
        let options = Options { memory: "96M".to_owned(), smp: 2, hardware: hardware.clone(), ..options() };
        let machine = machine(&options, Firmware::Uefi, "image".into(), "logs".into());
        assert_eq!((machine.hardware, machine.keeps_disks), (hardware, false));
        assert_eq!((machine.firmware, machine.memory.as_str(), machine.smp), (Firmware::Uefi, "96M", 2));
    }
}
