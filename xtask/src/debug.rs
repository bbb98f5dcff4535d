//! `cargo xtask debug`: boots the system under gdb, with the symbols of the kernel and of one task.
//!
//! All tasks lie at the same addresses, so a breakpoint in one is a breakpoint in all. Whose turn it is says the page in which a task
//! finds out who it is ([`INFO_ADDR`]): the script that gdb is given has a command `task-break` that asks there.

use abi::info::TaskInfo;
use abi::task::INFO_ADDR;
use anyhow::{Context, Result, bail};
use goblin::elf::Elf;
use machine::build::{Config, check_with, system_image};
use machine::children;
use machine::hardware::Hardware;
use machine::loader::Firmware;
use machine::manifest::System;
use machine::paths::{self, Paths};
use machine::qemu::{Accel, Display, Machine, SERIAL_LOG};
use machine::signals::Shared;
use machine::toolchain::install::{Needs, ensure, ensure_gdb};
use machine::ui::say;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `debug` was asked for; the command line's help tells what each means.
#[derive(Clone, Debug)]
pub struct Options {
    pub task: Option<String>,
    pub bios: bool,
    pub uefi: bool,
    pub memory: String,
    pub hardware: Hardware,
    pub display: Display,
    pub batch: Option<String>,
    pub with: Vec<PathBuf>,
    pub timeout: Option<u64>,
    pub install: bool,
}

/// Boots the system, stops it at the first instruction of the kernel or of a task, and hands over to gdb.
///
/// # Errors
/// When there is no such task, something does not build or is missing, or gdb fails.
pub fn debug(paths: &Paths, options: &Options) -> Result<()> {
    let firmware = Firmware::chosen(options.bios, options.uefi);
    options.hardware.check(firmware.board())?;
    check_with(&options.with)?;
    let system = System::load(&paths.root.join(machine::build::SYSTEM_TOML), &options.with)?;
    let row = options.task.as_deref().map(|name| row(&system, name)).transpose()?;
    let gdb = ensure_gdb(options.install)?;
    let ready = ensure(Needs { qemu: true, uefi: options.uefi, clippy: false, install: options.install })?;
    say(format!("{}, {}", ready.toolchain.summary(), ready.programs.version()));
    options.hardware.check_cpu(&ready.programs)?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &options.with };
    let (built, image) = system_image(&config, firmware)?;
    let task = match (&options.task, row) {
        (Some(name), Some(row)) => {
            let program = built.tasks.get(name).with_context(|| format!("`{name}` was not built"))?;
            Some(Target { name, row, program, entry: entry(program)? })
        }
        _ => None,
    };
    let logs = paths.target.join("debug-logs").join(std::process::id().to_string());
    let machine = machine(options, firmware, image, logs.clone());
    // Ctrl-C is for gdb, which then stops the machine.
    let shared = Shared::begin();
    let mut qemu = machine.start(&ready.programs)?;
    let script = script(&built.kernel, entry(&built.kernel)?, task.as_ref(), &qemu.gdb_socket);
    let file = logs.join("enigma.gdb");
    paths::write_whole(&file, script.as_bytes())?;
    if options.batch.is_none() {
        say(format!("what the system sends on its serial line is in {}", Paths::shown(&logs.join(SERIAL_LOG))));
        say(format!("to type on it, in another terminal: socat -,raw,echo=0 UNIX:{}", qemu.serial_socket.display()));
    }
    let status = {
        let mut child = children::spawn(&mut command(&gdb, &file, options.batch.as_deref()))?;
        match options.timeout.map(Duration::from_secs) {
            None => child.wait()?,
            Some(limit) => match child.wait_for(limit)? {
                Some(status) => status,
                None => {
                    child.kill();
                    qemu.stop();
                    bail!("gdb was not done after {} s (--timeout)", limit.as_secs());
                }
            },
        }
    };
    qemu.stop();
    drop(shared);
    if !status.success() {
        bail!("gdb ended with {status}; its script and the machine's logs are in {}", Paths::shown(&logs));
    }
    let _ = std::fs::remove_dir_all(&logs);
    Ok(())
}

/// The machine that was asked for.
fn machine(options: &Options, firmware: Firmware, image: PathBuf, logs: PathBuf) -> Machine {
    Machine {
        image,
        firmware,
        memory: options.memory.clone(),
        smp: 1,
        accel: Accel::Tcg,
        display: options.display,
        counted: None,
        told: None,
        traced: false,
        debugged: true,
        hardware: options.hardware.clone(),
        keeps_disks: false,
        reboots: false,
        logs,
    }
}

/// The row of the task table that a task has.
fn row(system: &System, name: &str) -> Result<usize> {
    let found = system.tasks.iter().position(|task| task.name.value == name);
    found.with_context(|| {
        let names: Vec<_> = system.tasks.iter().map(|task| task.name.value.as_str()).collect();
        format!("there is no task `{name}`; there are {}", names.join(", "))
    })
}

/// The address of a program's first instruction.
fn entry(program: &Path) -> Result<u64> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(Elf::parse(&bytes).with_context(|| format!("{} is no ELF file", program.display()))?.entry)
}

/// The task that is to be debugged.
struct Target<'a> {
    name: &'a str,
    row: usize,
    program: &'a Path,
    entry: u64,
}

/// What gdb does first.
fn script(kernel: &Path, kernel_entry: u64, task: Option<&Target>, socket: &Path) -> String {
    let mut out = format!(
        "set confirm off\nset pagination off\nset architecture i386:x86-64\nset language rust\n\
         file {}\n",
        quoted(kernel)
    );
    if let Some(Target { program, .. }) = task {
        let _ = writeln!(out, "add-symbol-file {}", quoted(program));
    }
    // The loader runs at addresses that tasks have later: only behind it do their breakpoints mean anything.
    let _ = writeln!(
        out,
        "target remote {}\ntbreak *{kernel_entry:#x}\ncontinue",
        // gdb takes the rest of the line as it is.
        socket.display()
    );
    match task {
        None => out.push_str("echo Stopped at the first instruction of the kernel.\\n\n"),
        Some(Target { name, row, entry, .. }) => {
            let field = INFO_ADDR + std::mem::offset_of!(TaskInfo, task) as u64;
            let rows = (1 << abi::TaskId::ROW_BITS) - 1;
            let condition = format!("if *({field:#x} as *mut u32) & {rows} == {row}");
            let _ = write!(
                out,
                "define task-break\n  break $arg0 {condition}\nend\n\
                 document task-break\nStops at a place in the code of the task {name}, and of no other task: \
                 task-break FUNCTION, FILE:LINE or *ADDRESS.\nend\n\
                 tbreak *{entry:#x} {condition}\ncontinue\n\
                 echo Stopped at the first instruction of the task {name}. \
                 Use `task-break` for breakpoints in it: all tasks lie at the same addresses.\\n\n"
            );
        }
    }
    out
}

/// A path as gdb reads it in a command.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

fn command(gdb: &Path, script: &Path, batch: Option<&str>) -> Command {
    let mut command = Command::new(gdb);
    command.args(["-q", "-nx"]);
    if batch.is_some() {
        command.arg("-batch").stdin(Stdio::null());
    }
    command.arg("-x").arg(script);
    for one in batch.unwrap_or_default().split(';').map(str::trim).filter(|one| !one.is_empty()) {
        command.arg("-ex").arg(one);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_stops_in_the_right_task_alone() {
        let task = Target { name: "vga", row: 3, program: Path::new("/t/a \"b\""), entry: 0x40_1000 };
        let with = script(Path::new("/t/kernel"), 0xffff_ffff_8000_1000, Some(&task), Path::new("/tmp/gdb"));
        assert!(with.contains("add-symbol-file \"/t/a \\\"b\\\"\"\n"), "{with}");
        assert!(with.contains("target remote /tmp/gdb\ntbreak *0xffffffff80001000\ncontinue\n"), "{with}");
        assert!(with.contains("tbreak *0x401000 if *(0x700000000010 as *mut u32) & 511 == 3\ncontinue\n"), "{with}");
        let without = script(Path::new("/t/kernel"), 1, None, Path::new("/tmp/gdb"));
        assert!(!without.contains("add-symbol-file") && !without.contains("task-break"), "{without}");
    }

    #[test]
    fn the_machine_is_as_the_flags_say() {
        let hardware = crate::run::tests::everything();
        let options = Options {
            task: None,
            bios: false,
            uefi: false,
            memory: "96M".to_owned(),
            hardware: hardware.clone(),
            display: Display::None,
            batch: None,
            with: Vec::new(),
            timeout: None,
            install: false,
        };
        let machine = machine(&options, Firmware::Pvh, "image".into(), "logs".into());
        assert_eq!((machine.hardware, machine.keeps_disks, machine.debugged), (hardware, false, true));
        assert_eq!(machine.memory, "96M");
    }

    #[test]
    fn commands_are_separated_by_semicolons() {
        let command = command(Path::new("gdb"), Path::new("s"), Some("bt; ; info registers"));
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words, ["-q", "-nx", "-batch", "-x", "s", "-ex", "bt", "-ex", "info registers"]);
    }
}
