//! The system beside hostile programs, which are brought as anyone would bring them: with `--with`.

use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use machine::build::{Built, Config, build_system, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, Report, Wanted, image};
use machine::loader::Firmware;
use machine::qemu::Machine;
use machine::toolchain::install::Ready;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The test's name.
const NAME: &str = "system::outside::hostile_programs_harm_nobody";

/// The crate that holds them.
const CRATE: &str = "userspace/lab/noisy-neighbours";

/// How long a command may take, on a busy machine, with ten tasks that leave no time unused.
const COMMAND: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(400);

/// Runs the test, if it is wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    if !wanted.matches(NAME) {
        return Ok(());
    }
    report.perform(NAME, |logs| {
        let (built, image) = build(config, Firmware::Pvh)?;
        let machine = Machine { memory: "96M".to_owned(), ..wanted.machine(image, logs.to_owned()) };
        harm_nobody(&machine, ready, &built)
    })
}

/// Builds the real system with them in it.
///
/// # Errors
/// When it does not build.
pub(crate) fn build(config: &Config, firmware: Firmware) -> Result<(Built, PathBuf)> {
    let with = [config.paths.root.join(CRATE)];
    let config = Config { with: &with, ..*config };
    let build = || build_system(&config, machine::build::SYSTEM_TOML, "hostile.tar");
    let (builder, built) = with_loader(&config, firmware, build)?;
    let image = image(config.paths, &builder, &built, firmware, "test-hostile")?;
    Ok((built, image))
}

/// Boots that system on a machine, and uses it.
///
/// # Errors
/// When anything is not as it would be without them.
pub(crate) fn harm_nobody(machine: &Machine, ready: &Ready, built: &Built) -> Result<()> {
    let mut guest = Guest::boot(machine, &ready.programs, Some(&built.kernel), LIMIT)?;
    guest.wait_prompt(BOOT)?;
    lives_on(&mut guest)?;
    unforged(&guest.kernel_log())
}

/// Shell, screen, keyboard and drivers do what they always do.
fn lives_on(guest: &mut Guest) -> Result<()> {
    let mut slowest = Duration::ZERO;
    let mut says = |guest: &mut Guest, command: &str, part: &str| {
        let begun = Instant::now();
        let printed = guest.run(command, COMMAND)?.lines.join("\n");
        slowest = slowest.max(begun.elapsed());
        ensure!(printed.contains(part), "`{command}` does not print {part:?} but\n{printed}");
        Ok(())
    };
    says(guest, "echo alive", "alive")?;
    says(guest, "ps", "spin-c")?;
    // The drivers come back, though others would like their memory and their time.
    for driver in ["vga", "serial", "keyboard"] {
        says(guest, &format!("kill {driver}"), "")?;
        says(guest, "echo alive", "alive")?;
    }
    // The line that is being typed stays on the screen, whatever scrolls by above it.
    guest.type_keys("echo typed among enemies")?;
    guest.expect_screen(&FONT, "enigma> echo typed among enemies", COMMAND)?;
    guest.type_keys("\\n")?;
    guest.expect_line("typed among enemies", COMMAND)?;
    // Who never answers can be given up.
    guest.wait_prompt(COMMAND)?;
    guest.type_serial("call mute 1")?;
    guest.serial.send(b"\r")?;
    std::thread::sleep(Duration::from_secs(2));
    guest.serial.send(b"\x03")?;
    guest.expect_line("call: mute has not answered; given up by Ctrl-C", COMMAND)?;
    // Whoever dies again and again is given up, which everyone can see: after the eighth death, which takes seven seconds.
    let begun = Instant::now();
    for name in ["scan", "fall"] {
        loop {
            let scanned = guest.run("ps", COMMAND)?.lines;
            let line =
                scanned.iter().find(|line| line.starts_with(name)).with_context(|| format!("no {name} in ps"))?;
            if line.contains("given up") || line.contains("dead") {
                break;
            }
            ensure!(begun.elapsed() < COMMAND, "{name} is not given up:\n{line}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    says(guest, "echo alive", "alive")?;
    guest.power_off(COMMAND)
}

/// No line of the log, and nothing that a terminal would obey, passes for somebody else's.
fn unforged(log: &str) -> Result<()> {
    ensure!(!log.contains("BROKEN"), "a port could be read");
    ensure!(log.contains("[shout] "), "the flood is not in the log");
    for line in log.lines() {
        ensure!(!line.starts_with("[supervisor] FORGED") && !line.starts_with("[kernel] FORGED"), "forged: {line}");
        ensure!(!line.contains('\x1b') && !line.contains('\x08'), "a control character came through: {line:?}");
    }
    Ok(())
}
