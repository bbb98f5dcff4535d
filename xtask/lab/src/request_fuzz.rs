//! The system beside clients that may call each of its servers, and ask for what makes no sense.

use anyhow::{Context, Result, bail, ensure};
use driver_vga::FONT;
use machine::build::{Config, SYSTEM_TOML, build_system, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, Report, Wanted, image};
use machine::loader::Firmware;
use machine::paths;
use machine::toolchain::install::Ready;
use std::time::{Duration, Instant};

/// The test's name.
const NAME: &str = "system::outside::senseless_requests_harm_no_server";

/// The crate that holds the clients.
const CRATE: &str = "userspace/lab/request-fuzz";

/// Those that ask, and then die.
const CLIENTS: [&str; 2] = ["storm-a", "storm-b"];
/// Whom they ask.
const SERVERS: [&str; 6] = ["serial", "keyboard", "vga", "power", "console", "supervisor"];

/// How long a command may take, on a busy machine.
const COMMAND: Duration = Duration::from_secs(60);
/// How long the clients may take.
const SIEGE: Duration = Duration::from_secs(120);
/// By how many KiB the servers may have grown meanwhile.
const SLACK: u64 = 64;
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
        let system = system(config)?;
        let with = [config.paths.root.join(CRATE)];
        let config = Config { with: &with, ..*config };
        let (builder, built) = with_loader(&config, Firmware::Pvh, || build_system(&config, &system, "siege.tar"))?;
        let image = image(config.paths, &builder, &built, Firmware::Pvh, "test-siege")?;
        let mut guest =
            Guest::boot(&wanted.machine(image, logs.to_owned()), &ready.programs, Some(&built.kernel), LIMIT)?;
        guest.wait_prompt(BOOT)?;
        unharmed(&mut guest)
    })
}

/// The real system's file, agreeing that tasks from outside call its servers. Returns its path.
fn system(config: &Config) -> Result<String> {
    let text = std::fs::read_to_string(config.paths.root.join(SYSTEM_TOML)).context("cannot read system.toml")?;
    let mut document: toml_edit::DocumentMut = text.parse().context("system.toml is no TOML")?;
    document["with"]["calls"] = toml_edit::value(toml_edit::Array::from_iter(SERVERS));
    let dir = config.paths.images();
    paths::create_dir(&dir)?;
    let path = dir.join("siege.toml");
    paths::write_whole(&path, document.to_string().as_bytes())?;
    Ok(path.display().to_string())
}

fn unharmed(guest: &mut Guest) -> Result<()> {
    through(guest, 1)?;
    let free = free_memory(guest)?;
    for name in CLIENTS {
        guest.run(&format!("spawn {name}"), COMMAND)?;
    }
    through(guest, 2)?;
    let now = free_memory(guest)?;
    ensure!(now + SLACK >= free, "{free} KiB were free after the first siege, {now} KiB are after the second");
    let lines = guest.run("ps", COMMAND)?.lines;
    for server in SERVERS {
        let line = lines.iter().find(|line| line.starts_with(server)).with_context(|| format!("no {server} in ps"))?;
        // Its priority comes first, then how often it was restarted; its state may be two words.
        let mut numbers = line.split_whitespace().filter(|word| word.parse::<u32>().is_ok());
        ensure!(numbers.nth(1) == Some("0"), "{server} was restarted:\n{line}");
    }
    // What the third wrote shows as text, whatever it was.
    let muttered = guest.run("log mutter", COMMAND)?.lines.join("\n");
    ensure!(muttered.contains("end of mutter"), "`log mutter` prints\n{muttered}");
    // The fourth's deadlines are over at once, or never.
    let waited = guest.run("log eternity", COMMAND)?.lines.join("\n");
    ensure!(waited.contains("waits for the end of time"), "`log eternity` prints\n{waited}");
    let printed = [muttered, waited, guest.kernel_log()].join("\n");
    ensure!(!printed.contains("BROKEN"), "it has come:\n{printed}");
    if let Some(sign) = printed.chars().find(|&c| !matches!(c, '\n' | '\r' | '\t') && !rt::print::is_plain(c)) {
        bail!("{sign:?} came through:\n{printed:?}");
    }
    guest.run("clear", COMMAND)?;
    guest.type_keys("echo typed after the siege\\n")?;
    guest.expect_line("typed after the siege", COMMAND)?;
    guest.expect_screen(&FONT, "enigma> echo typed after the siege", COMMAND)?;
    guest.wait_prompt(COMMAND)?;
    guest.power_off(COMMAND)
}

/// Waits until the clients of this life have said that they are through, and have died in the middle of their last calls.
fn through(guest: &mut Guest, life: usize) -> Result<()> {
    let begun = Instant::now();
    for name in CLIENTS {
        let mut said = String::new();
        while said.matches(" answers, 0 deaths").count() < life {
            ensure!(
                begun.elapsed() < SIEGE,
                "{name} does not come to its end, or a server died. `log {name}` prints\n{said}"
            );
            std::thread::sleep(Duration::from_secs(1));
            said = guest.run(&format!("log {name}"), COMMAND)?.lines.join("\n");
        }
        while !guest.run("ps", COMMAND)?.lines.iter().any(|line| line.starts_with(name) && line.contains(" dead ")) {
            ensure!(begun.elapsed() < SIEGE, "{name} does not die");
        }
    }
    Ok(())
}

/// Free memory in KiB, as `mem` tells.
fn free_memory(guest: &mut Guest) -> Result<u64> {
    let lines = guest.run("mem", COMMAND)?.lines;
    let free = lines.iter().find_map(|line| line.trim_start().strip_prefix("free")?.split("KiB").next());
    let digits: String = free.context("`mem` tells no free memory")?.chars().filter(char::is_ascii_digit).collect();
    digits.parse().context("`mem` tells no number")
}
