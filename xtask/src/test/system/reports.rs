//! What a person sees of tasks that crash, and of what tasks print: that it is all there, once, and that nothing passes for something else.

use super::super::{Outcome, Report, Wanted};
use super::{BOOT, LIMIT, image};
use crate::build::{Config, SYSTEM_TOML, build_system, with_loader};
use crate::guest::Guest;
use crate::loader::Firmware;
use crate::qemu::Machine;
use crate::run::Script;
use crate::toolchain::install::Ready;
use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The tests' names.
pub const NAMES: [&str; 4] = [
    "system::reports::d20_no_row_passes_for_another_tasks",
    "system::reports::crashes_name_their_source_lines",
    "system::reports::each_state_of_a_task_is_told",
    "system::reports::each_of_many_deaths_is_told_once",
];

/// The file whose lines are to be named.
const CRASHES: &str = "userspace/lab/crash-reports/reports/src/crash.rs";

/// How long a command may take, on a busy machine.
const COMMAND: Duration = Duration::from_secs(40);

/// Tasks that die in one moment, and how often until they are given up.
const MANY: usize = 50;
/// Commands that print something while they do.
const ECHOES: usize = 12;
const LIVES: usize = supervisor::policy::LOOP_DEATHS;

/// Runs the tests that are wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn run(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let one = |name: &'static str, system: &str, judge: &dyn Fn(&mut Guest) -> Result<()>| {
        if !wanted.matches(name) {
            return Ok(());
        }
        let logs = report.logs(name)?;
        let begun = Instant::now();
        let attempt = || {
            let with = [config.paths.root.join("userspace/lab/crash-reports").join(system)];
            let config = Config { with: &with, ..*config };
            let build = || build_system(&config, SYSTEM_TOML, &format!("{system}.tar"));
            let (builder, built) = with_loader(&config, Firmware::Pvh, build)?;
            let image = image(config.paths, &builder, &built, Firmware::Pvh, &format!("test-{system}"))?;
            let machine = Machine { memory: "128M".to_owned(), ..wanted.machine(image, logs.clone()) };
            let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
            judge(&mut guest)
        };
        let outcome: Outcome = attempt().map_err(|error: anyhow::Error| format!("{error:#}"));
        report.verdict(name, &outcome, Some(begun.elapsed()), &logs);
        Ok(())
    };
    let [rows, lines, states, deaths] = NAMES;
    one(rows, "reports", &unforged)?;
    let source = std::fs::read_to_string(config.paths.root.join(CRASHES)).context("the crashes' source")?;
    one(lines, "reports", &|guest| located(guest, &source))?;
    one(states, "reports", &stated)?;
    one(deaths, "bursts", &told)
}

fn run_command(guest: &mut Guest, command: &str) -> Result<Vec<String>> {
    let printed = guest.run(command, COMMAND)?;
    Ok(printed.before.into_iter().chain(printed.lines).collect())
}

/// Whether a row was begun for the task that lies, where it has anything of the lies in it.
fn honest(rows: &[String]) -> Result<usize> {
    let mut count = 0;
    for row in rows.iter().filter(|row| row.contains("FORGED") || row.contains("crashed")) {
        ensure!(row.starts_with("[liar]"), "this row passes for another task's:\n{row}\nin\n{}", rows.join("\n"));
        count += 1;
    }
    for row in rows {
        ensure!(row.chars().count() < 80, "a terminal of eighty columns would wrap this row:\n{row}");
        let odd = row.chars().find(|&c| !rt::print::is_plain(c));
        ensure!(odd.is_none(), "this row has {odd:?} in it:\n{row}");
    }
    Ok(count)
}

fn unforged(guest: &mut Guest) -> Result<()> {
    guest.wait_prompt(BOOT)?;
    let mut said = run_command(guest, "spawn liar")?;
    let begun = Instant::now();
    while !said.iter().any(|line| line == "[liar] done") {
        ensure!(begun.elapsed() < COMMAND, "it is not heard to the end:\n{}", said.join("\n"));
        said.extend(run_command(guest, "sleep 0.5")?);
        let screen = guest.screen_text(&FONT)?;
        honest(&screen).context("on the screen")?;
    }
    ensure!(honest(&said).context("on the serial line")? > 20, "{}", said.join("\n"));
    for command in ["log liar", "log", "dmesg"] {
        let lines = run_command(guest, command)?;
        let lies = honest(&lines).with_context(|| format!("in `{command}`"))?;
        ensure!((lies > 10) == (command != "dmesg"), "`{command}` shows {lies} lies:\n{}", lines.join("\n"));
        honest(&guest.screen_text(&FONT)?).with_context(|| format!("on the screen, by `{command}`"))?;
    }
    let report = run_command(guest, "spawn crash words; sleep 1")?.join("\n");
    ensure!(report.contains("\n[supervisor]   |   restarting now\n[supervisor]   | [supervisor] FORGED"), "{report}");
    ensure!(report.ends_with("[supervisor]   not restarted"), "{report}");
    guest.power_off(COMMAND)
}

/// Each crash is reported with the function, file and line that are to blame, inlined or not.
fn located(guest: &mut Guest, source: &str) -> Result<()> {
    guest.wait_prompt(BOOT)?;
    for (kind, functions) in [
        ("inlined", &["crash::is_inlined", "inlined in crash::uses_an_inlined_function"][..]),
        ("closure", &["crash::uses_a_closure"]),
        ("alloc", &["crash::hoards", "inlined in crash::asks_for_too_much"]),
        ("recursion", &["crash::goes_down", ", 12 times"]),
        ("circle", &["crash::goes_left", "(these 2 callers "]),
        (
            "overflow",
            &["crash::goes_down_for_ever", ", 16 times", "and more, which were not recorded", "stack overflow"],
        ),
        ("null", &["crash::peeks", "inlined in crash::uses_a_null_pointer", "a null pointer"]),
    ] {
        let mut report = run_command(guest, &format!("spawn crash {kind}"))?;
        let begun = Instant::now();
        while !report.iter().any(|line| line.ends_with("not restarted")) {
            ensure!(begun.elapsed() < COMMAND, "`{kind}` is not reported:\n{}", report.join("\n"));
            report.extend(run_command(guest, "sleep 0.2")?);
        }
        let report = report.join("\n");
        let marked = source.lines().zip(1..).filter(|(line, _)| line.ends_with(&format!("// HERE {kind}")));
        let places: Vec<_> = marked.map(|(_, line)| format!("src/crash.rs:{line})")).collect();
        ensure!(!places.is_empty(), "no line is marked for `{kind}`");
        // What is to blame is named first.
        let at = report.lines().skip_while(|line| !line.contains("  at ")).take(2).collect::<Vec<_>>().join("\n");
        ensure!(
            places.iter().any(|place| at.contains(place)),
            "`{kind}`: {places:?} is not named in\n{at}\nof\n{report}"
        );
        ensure!(at.contains(functions[0]), "`{kind}`: {} is not named in\n{at}\nof\n{report}", functions[0]);
        for part in functions {
            ensure!(report.contains(part), "`{kind}`: the report has no {part:?}:\n{report}");
        }
        // Whose callers are more than the record has does not show where it began.
        let whole = report.contains("crash::run") || report.contains("and more, which were not recorded");
        ensure!(whole && report.lines().count() < 30, "`{kind}`:\n{report}");
    }
    guest.power_off(COMMAND)
}

/// Of a task that does not run each command says what is true.
fn stated(guest: &mut Guest) -> Result<()> {
    guest.wait_prompt(BOOT)?;
    let mut says = |command: &str, part: &str| {
        let printed = run_command(guest, command)?.join("\n");
        ensure!(printed.contains(part), "`{command}` does not print {part:?} but\n{printed}");
        Ok(())
    };
    says("kill relapse", "kill: relapse has not been started: `spawn relapse` starts it")?;
    says("caps relapse", "now        it has not been started: `spawn relapse` starts it")?;
    // It dies at once from five seconds after boot on.
    says("sleep 5; spawn relapse; sleep 1; kill relapse", "kill: relapse is dead and restarts in ")?;
    says("caps relapse", "now        it is dead and restarts in ")?;
    says("ps", "restart in ")?;
    says("spawn relapse", "started relapse (life ")?;
    says("sleep 5; kill relapse", "kill: relapse is given up, it failed too often: `spawn relapse` starts it")?;
    says("log relapse", "relapse is given up")?;
    says("ps", "given up")?;
    says("spawn crash none; sleep 1; kill crash", "kill: crash has ended and is not restarted")?;
    guest.power_off(COMMAND)
}

/// Many tasks die in one moment, and again and again: whatever is typed meanwhile, `run --exec` shows each report once, in its order, and
/// deaths that have none are counted.
fn told(guest: &mut Guest) -> Result<()> {
    let mut commands = vec!["echo begun".to_owned()];
    // One of them takes two rows.
    for number in 0..ECHOES {
        commands.extend([format!("echo {}", "number ".repeat(number)), "sleep 0.4".to_owned()]);
    }
    commands.extend(["sleep 9", "ps", "log supervisor", "shutdown"].map(str::to_owned));
    let script = Script { keys: None, commands, keep_going: true, screenshot: None };
    let mut out = Vec::new();
    script.perform(guest, LIMIT, &mut out).with_context(|| String::from_utf8_lossy(&out).into_owned())?;
    let out = String::from_utf8_lossy(&out).into_owned();
    // What `log` repeats is not a report.
    let (reports, _) = out.rsplit_once("idle ").context("the last `ps`")?;
    let mut lives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for line in reports.lines().filter_map(|line| line.strip_prefix("[supervisor] ")) {
        ensure!(!line.ends_with("bytes skipped"), "a part of the reports is lost: {line}");
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            [name, "(life", life, "panicked"] => {
                let life = life.trim_end_matches(')').parse().context("a life")?;
                lives.entry((*name).to_owned()).or_default().push(life);
            }
            [name, "died", count, "times", "more,", ..] => {
                *counted.entry((*name).to_owned()).or_default() += count.parse::<usize>().context("a count")?;
            }
            _ => {}
        }
    }
    let mut reported = 0;
    for number in 0..MANY {
        let name = format!("burst-{number:02}");
        let lives = lives.remove(&name).unwrap_or_default();
        ensure!(lives.is_sorted_by(|a, b| a < b), "{name}: reported in the order {lives:?}\n{out}");
        let more = counted.remove(&name).unwrap_or(0);
        // On a slow machine others die a second time before it dies at all.
        let first = lives.first() == Some(&1) || more > 0;
        ensure!(first, "{name}: the first death is neither reported nor counted: {lives:?}\n{out}");
        ensure!(
            lives.len() + more == LIVES,
            "{name}: {} reports and {more} more, of {LIVES} deaths\n{out}",
            lives.len()
        );
        reported += lives.len();
    }
    ensure!(reported >= 4 * MANY, "{reported} reports\n{out}");
    // Each is whole.
    let parts = ["] burst-", "burst.rs:20: this", "  at ", "called from "].map(|part| {
        let lines = reports.lines().filter(|line| line.starts_with("[supervisor] ") && line.contains(part));
        lines.filter(|line| part != "] burst-" || line.ends_with("panicked")).count()
    });
    ensure!(parts.iter().all(|&count| count == reported), "{reported} reports have parts {parts:?}\n{out}");
    for number in 1..ECHOES {
        let echoed = "number ".repeat(number).trim_end().to_owned();
        ensure!(
            out.lines().filter(|line| **line == echoed).count() >= 1,
            "the output of `echo {echoed}` is missing\n{out}"
        );
    }
    Ok(())
}
