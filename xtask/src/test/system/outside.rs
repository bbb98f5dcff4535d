//! A driver from outside: generated from the template, added with `--with`, asked from the shell; and tables that ask for what a machine
//! has not got, which must not cost it the boot.

use crate::new::{self, Kind};
use anyhow::{Context, Result, ensure};
use machine::build::{Config, SYSTEM_TOML, build_system, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, LIMIT, Report, Wanted, image};
use machine::loader::Firmware;
use machine::paths;
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use std::time::{Duration, Instant};

/// The tests' names.
pub const NAMES: [&str; 6] = [
    "system::outside::a_generated_driver_answers",
    "system::outside::a_generated_driver_of_ports_answers",
    "system::outside::a_generated_driver_of_memory_answers",
    "system::outside::a_generated_client_is_served_by_each_life_of_its_server",
    "system::outside::a_range_in_ram_costs_its_task_alone",
    "system::outside::who_asks_for_everything_gets_less",
];

/// How long a command may take, on a busy machine.
const COMMAND: Duration = Duration::from_secs(20);

/// What a crate writes that wants all there is, and a page where large machines have RAM.
const GREEDY: &str = r#"
[task.reach]
package = "driver-metronome"
priority = 3
ranges = [{ name = "loot", base = 0xC8000000, len = 0x1000, write = true }]
clients = ["shell"]

[task.greedy-NUMBER]
package = "driver-metronome"
priority = 3
memory = "1024M"
stack = "8M"
keep = "16M"
handles = 2200
objects = 1024
float = true
"#;

/// Memory of a machine that has RAM where [`GREEDY`] wants a page: QEMU's "pc" puts up to 3.5 GiB below 4 GiB.
const LARGE: &str = "3500M";
/// The least that a machine may have.
const SMALL: &str = "32M";

/// Runs the tests that are wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn run(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let [answering, answering_ports, answering_memory, calling, reaching, greedy] = NAMES;
    let one =
        |name: &'static str, kind: Kind, toml: Option<String>, memory: &str, judge: fn(&mut Guest) -> Result<()>| {
            if !wanted.matches(name) {
                return Ok(());
            }
            report.perform(name, |logs| {
                let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
                let driver = dir.path().join("metronome");
                new::driver(config.paths, "metronome", kind, Some(&driver))?;
                if let Some(toml) = &toml {
                    paths::write_whole(&driver.join("enigma.toml"), toml.as_bytes())?;
                }
                // What the table asks for it may have.
                let agreed = if toml.is_some() { ",hardware" } else { kind.consent() };
                let with = [format!("{}{agreed}", driver.display()).into()];
                let config = Config { with: &with, ..*config };
                let build = || build_system(&config, SYSTEM_TOML, "outside.tar");
                let (builder, built) = with_loader(&config, Firmware::Pvh, build)?;
                let image = image(config.paths, &builder, &built, Firmware::Pvh, "test-outside")?;
                let machine = Machine { memory: memory.to_owned(), ..wanted.machine(image, logs.to_owned()) };
                let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
                guest.wait_prompt(BOOT)?;
                judge(&mut guest)
            })
        };
    one(answering, Kind::Service, None, "128M", answers)?;
    one(answering_ports, Kind::Port, None, "128M", answers)?;
    one(answering_memory, Kind::Mmio, None, "128M", finds)?;
    one(calling, Kind::Client, None, "128M", adds)?;
    let (task, many) = GREEDY.split_once("\n\n").unwrap_or((GREEDY, ""));
    one(reaching, Kind::Service, Some(task.to_owned()), LARGE, reaches)?;
    let many: Vec<_> = (0..7).map(|number| many.replace("NUMBER", &number.to_string())).collect();
    one(greedy, Kind::Service, Some(format!("{task}\n{}", many.join("\n"))), SMALL, gets_less)
}

/// The system goes on without the task; the log says why.
fn reaches(guest: &mut Guest) -> Result<()> {
    let begun = Instant::now();
    while !guest.kernel_log().contains("[supervisor] reach is given up") {
        ensure!(begun.elapsed() < COMMAND, "it is not given up:\n{}", guest.kernel_log());
        std::thread::sleep(Duration::from_millis(100));
    }
    says(guest, "echo alive", "alive")?;
    // Nobody waits for what never comes.
    says(guest, "call reach 1", "call: ")?;
    let log = guest.kernel_log();
    for line in [
        "reach does not start: its range `loot` (0xc8000000, 0x1000 bytes) reaches RAM on this machine",
        "[supervisor] reach cannot be started: ",
    ] {
        ensure!(log.contains(line), "the log does not say {line:?}:\n{log}");
    }
    guest.power_off(COMMAND)
}

/// Whoever asks for little has it, and drivers still come back.
fn gets_less(guest: &mut Guest) -> Result<()> {
    says(guest, "echo alive", "alive")?;
    for driver in ["vga", "keyboard", "serial"] {
        says(guest, &format!("kill {driver}"), "")?;
        says(guest, "echo alive", "alive")?;
    }
    // On a machine of this size the page is nobody's.
    says(guest, "call reach 1", "outcome 0")?;
    let log = guest.kernel_log();
    for line in ["handles and objects at most", "KiB at most"] {
        ensure!(log.contains(line), "the log does not say {line:?}:\n{log}");
    }
    guest.power_off(COMMAND)
}

fn says(guest: &mut Guest, command: &str, part: &str) -> Result<()> {
    let printed = guest.run(command, COMMAND)?.lines.join("\n");
    ensure!(printed.contains(part), "`{command}` does not print {part:?} but\n{printed}");
    Ok(())
}

/// Asks a generated driver, by labels, whose third request is answered at its next tick, or interrupt: by then it has been woken.
fn answers(guest: &mut Guest) -> Result<()> {
    asked(guest, &[("call metronome 3", "outcome 0"), ("call metronome 3", "outcome 0")])
}

/// The same of the one behind memory. The firmware of QEMU's machines has the tables that it looks for.
fn finds(guest: &mut Guest) -> Result<()> {
    asked(
        guest,
        &[("call metronome 2 0x10000", "an offset is a multiple of 4"), ("call metronome 2 0xFFFC", "outcome 0")],
    )
}

/// What was added before a death of the server, or of its client, is there after it, and once.
fn adds(guest: &mut Guest) -> Result<()> {
    for (command, part) in [
        ("call metronome 2 5", "words 5 "),
        ("kill metronome-sum", "killed metronome-sum (life 1)"),
        ("call metronome 2 6", "words 11 "),
        ("kill metronome", "killed metronome (life 1)"),
        ("call metronome 2 7", "words 18 "),
        ("call metronome 1", "words 18 "),
    ] {
        says(guest, command, part)?;
    }
    guest.power_off(COMMAND)
}

/// A generated driver answers, and goes on in its next life.
fn asked(guest: &mut Guest, more: &[(&str, &str)]) -> Result<()> {
    let first = ("call metronome 1", "outcome 0");
    let last = [("caps metronome", "called by  shell"), ("kill metronome", "killed metronome (life 1)"), first];
    for (command, part) in [&[first], more, &last].concat() {
        says(guest, command, part)?;
    }
    guest.power_off(COMMAND)
}
