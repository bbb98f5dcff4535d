//! What a person sees of tasks that crash, and of what tasks print: that it is all there, once, and that nothing passes for something else.

use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use machine::build::{Config, SYSTEM_TOML, build_system, with_loader};
use machine::guest::Guest;
use machine::harness::{BOOT, LIMIT, Report, Wanted, image};
use machine::loader::Firmware;
use machine::qemu::Machine;
use machine::script::Script;
use machine::toolchain::install::Ready;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The tests' names.
const NAMES: [&str; 5] = [
    "system::reports::d20_no_row_passes_for_another_tasks",
    "system::reports::crashes_name_their_source_lines",
    "system::reports::each_state_of_a_task_is_told",
    "system::reports::each_of_many_deaths_is_told_once",
    "system::reports::d25_who_writes_little_and_often_takes_no_time_of_readers",
];

/// What the task `liar` prints.
#[path = "../../../userspace/lab/crash-reports/reports/src/lies.rs"]
mod lies;

/// Most of the processor's time that a reader of logs may lose to one who writes to its own, in percent.
const MOST_LOST: f64 = 2.0;

/// What a report says where the record of a death does not hold all callers.
const MORE: &str = "and more, which were not recorded";

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
pub fn test(config: &Config, wanted: &Wanted, report: &Report, ready: &Ready) -> Result<()> {
    let one = |name: &'static str, system: &str, judge: &dyn Fn(&mut Guest) -> Result<()>| {
        if !wanted.matches(name) {
            return Ok(());
        }
        report.perform(name, |logs| {
            let with = [config.paths.root.join("userspace/lab/crash-reports").join(system)];
            let config = Config { with: &with, ..*config };
            let build = || build_system(&config, SYSTEM_TOML, &format!("{system}.tar"));
            let (builder, built) = with_loader(&config, Firmware::Pvh, build)?;
            let image = image(config.paths, &builder, &built, Firmware::Pvh, &format!("test-{system}"))?;
            let machine = Machine { memory: "128M".to_owned(), ..wanted.machine(image, logs.to_owned()) };
            let mut guest = Guest::boot(&machine, &ready.programs, Some(&built.kernel), LIMIT)?;
            judge(&mut guest)
        })
    };
    let [rows, lines, states, deaths, scribbles] = NAMES;
    one(rows, "reports", &unforged)?;
    let source = std::fs::read_to_string(config.paths.root.join(CRASHES)).context("the crashes' source")?;
    one(lines, "reports", &|guest| located(guest, &source))?;
    one(states, "reports", &stated)?;
    one(deaths, "bursts", &told)?;
    one(scribbles, "reports", &unmoved)
}

fn run_command(guest: &mut Guest, command: &str) -> Result<Vec<String>> {
    let printed = guest.run(command, COMMAND)?;
    Ok(printed.before.into_iter().chain(printed.lines).collect())
}

/// Whether each row was begun for the task that lies, where it has anything of the lies in it. Returns how many rows have.
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

/// What is seen of a text in any number of rows: without blanks, which rows end in.
fn seen(text: &str) -> String {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let plain = text.chars().filter(|&c| c != ' ' && c != '\t');
    plain.map(|c| if rt::print::is_plain(c) { c } else { '?' }).collect()
}

/// The lines that rows of the task that lies show, each without blanks.
fn lines_of_liar(rows: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for row in rows {
        let (begins, text) = match (row.strip_prefix("[liar]>"), row.strip_prefix("[liar]")) {
            (Some(text), _) => (lines.is_empty(), text),
            (None, Some(text)) => (true, text),
            (None, None) => continue,
        };
        if begins {
            lines.push(String::new());
        }
        lines.last_mut().into_iter().for_each(|line| line.push_str(&seen(text)));
    }
    lines
}

/// How many bytes of a line a row may show that has this of it: all that leave the same to be seen.
fn beginnings<'a>(line: &'a str, shown: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.char_indices().map(|(at, _)| at).filter(move |&at| line.get(..at).is_some_and(|part| seen(part) == shown))
}

/// Whether the rows show all that the liar has printed, each line once, in order, and where some are missing say how many bytes that were.
fn complete(rows: &[String]) -> Result<()> {
    let mut text = String::new();
    lies::all(|piece| text.push_str(piece));
    let skipped =
        |line: &String| -> Option<usize> { line.strip_prefix("...")?.strip_suffix("bytesskipped")?.parse().ok() };
    // What is left of the text, and what of it a line has shown whose rest was lost.
    let (mut rest, mut cut): (&str, Option<String>) = (&text, None);
    for line in lines_of_liar(rows) {
        if let Some(lost) = skipped(&line) {
            // What comes next begins a line.
            let places = match cut.take() {
                Some(shown) => beginnings(rest.lines().next().unwrap_or_default(), &shown).collect(),
                None => vec![0],
            };
            let after = places.iter().filter_map(|shown| rest.split_at_checked(shown + lost));
            let after = after.filter(|(gone, _)| gone.ends_with('\n')).map(|(_, after)| after).next();
            rest = after.with_context(|| format!("{lost} bytes are said to be lost, and another line follows"))?;
            continue;
        }
        ensure!(cut.is_none(), "a line has no end, and nothing is said to be lost: {cut:?}");
        let (next, after) = rest.split_once('\n').context("more lines are shown than were printed")?;
        if line == seen(next) {
            rest = after;
        } else {
            let begins = beginnings(next, &line).next().is_some();
            ensure!(begins, "what is shown is not what comes next:\n{line}\n{}", seen(next));
            cut = Some(line);
        }
    }
    ensure!(rest.is_empty() && cut.is_none(), "{} bytes are missing at the end", rest.len());
    Ok(())
}

/// Whether the rows show the end of what the liar has printed: the first line may have lost its beginning.
fn ends_whole(rows: &[String]) -> Result<()> {
    let mut text = String::new();
    lies::all(|piece| text.push_str(piece));
    let all: Vec<String> = text.lines().map(seen).collect();
    let shown = lines_of_liar(rows);
    ensure!(shown.len() > 10, "{} lines", shown.len());
    for (index, (line, wanted)) in shown.iter().rev().zip(all.iter().rev()).enumerate() {
        let first = index + 1 == shown.len();
        ensure!(
            line == wanted || first && wanted.ends_with(line.trim_start_matches('\u{fffd}')),
            "{line}\nnot\n{wanted}"
        );
    }
    Ok(())
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
    honest(&said).context("on the serial line")?;
    complete(&said).with_context(|| said.join("\n"))?;
    for command in ["log liar", "log"] {
        let lines = run_command(guest, command)?;
        let lies = honest(&lines).with_context(|| format!("in `{command}`"))?;
        ensure!(lies > 10, "`{command}` shows {lies} lies:\n{}", lines.join("\n"));
        ends_whole(&lines).with_context(|| format!("in `{command}`"))?;
        honest(&guest.screen_text(&FONT)?).with_context(|| format!("on the screen, by `{command}`"))?;
    }
    let lines = run_command(guest, "dmesg")?;
    ensure!(lines.len() > 3, "`dmesg` shows nothing");
    let liars = lines.iter().find(|line| line.contains("FORGED") || line.contains("liar"));
    ensure!(liars.is_none(), "`dmesg` has something of the liar's: {liars:?}");
    let report = run_command(guest, "spawn crash words; sleep 1")?.join("\n");
    ensure!(report.contains("\n[supervisor]   |   restarting now\n[supervisor]   | [supervisor] FORGED"), "{report}");
    ensure!(report.ends_with("[supervisor]   not restarted"), "{report}");
    guest.power_off(COMMAND)
}

/// A task that writes nothing, a byte or an empty line at a time, without end, costs those who read logs next to nothing.
fn unmoved(guest: &mut Guest) -> Result<()> {
    guest.wait_prompt(BOOT)?;
    for writes in ["nothing", "byte", "line"] {
        run_command(guest, &format!("spawn scribble {writes}; sleep 0.5; ps"))?;
        let printed = run_command(guest, "sleep 3; ps; kill scribble")?;
        let now = |task: &str| -> Result<f64> {
            let row = printed.iter().find(|row| row.split_whitespace().next() == Some(task));
            // Name, state, priority, restarts, and the share since boot come before the one since the last time.
            let words: Vec<_> = row.context("no such task in `ps`")?.split_whitespace().rev().collect();
            words.get(3).context("no NOW%")?.parse().with_context(|| format!("NOW% of {task} in {row:?}"))
        };
        let shares = ["scribble", "console", "shell"].map(now);
        let [scribble, console, shell] = shares;
        let (scribble, console, shell) = (scribble?, console?, shell?);
        ensure!(scribble > 50.0, "`{writes}`: it did not work in earnest:\n{}", printed.join("\n"));
        ensure!(console < MOST_LOST && shell < MOST_LOST, "`{writes}`: readers lose time:\n{}", printed.join("\n"));
    }
    guest.power_off(COMMAND)
}

/// Has `crash` die in a way; returns what is printed until it is reported.
fn crash(guest: &mut Guest, kind: &str) -> Result<Vec<String>> {
    let mut report = run_command(guest, &format!("spawn crash {kind}"))?;
    let begun = Instant::now();
    while !report.iter().any(|line| line.ends_with("not restarted")) {
        ensure!(begun.elapsed() < COMMAND, "`{kind}` is not reported:\n{}", report.join("\n"));
        report.extend(run_command(guest, "sleep 0.2")?);
    }
    Ok(report)
}

/// Each crash is reported with the function, file and line that are to blame, inlined or not.
fn located(guest: &mut Guest, source: &str) -> Result<()> {
    guest.wait_prompt(BOOT)?;
    for (kind, functions) in [
        ("inlined", &["crash::is_inlined", "inlined in crash::uses_an_inlined_function"][..]),
        ("closure", &["crash::uses_a_closure"]),
        ("alloc", &["crash::hoards", "inlined in crash::asks_for_too_much"]),
        ("recursion", &["crash::goes_down", ", 9 times"]),
        ("circle", &["crash::goes_left", "(these 2 callers "]),
        ("overflow", &["crash::goes_down_for_ever", ", 16 times", MORE, "stack overflow"]),
        ("null", &["crash::peeks", "inlined in crash::uses_a_null_pointer", "a null pointer"]),
    ] {
        let report = crash(guest, kind)?.join("\n");
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
        // Whose callers are more than the record has does not show where it began, and no other says that there were more.
        let more = report.contains(MORE);
        ensure!(more == (kind == "overflow") && more != report.contains("crash::run"), "`{kind}`:\n{report}");
        ensure!(report.lines().count() < 30, "`{kind}`:\n{report}");
    }
    // Callers that the record holds in part, just holds, and holds with room to spare.
    let mut outermost = None;
    let mut cut = Vec::new();
    for depth in 4..=abi::error::BACKTRACE_LEN {
        let report = crash(guest, &format!("deep {depth}"))?;
        let last = report.iter().rev().find(|line| line.contains(" 0x")).with_context(|| report.join("\n"))?;
        let place = last.split_once(" 0x").map(|(_, place)| place.to_owned());
        let more = report.iter().any(|line| line.contains(MORE));
        let whole = *outermost.get_or_insert_with(|| place.clone()) == place;
        ensure!(more != whole, "{depth} deep, beginning at {outermost:?}:\n{}", report.join("\n"));
        cut.push(more);
    }
    ensure!(cut.is_sorted() && cut.first() == Some(&false) && cut.last() == Some(&true), "which were cut: {cut:?}");
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
        ensure!(lives.first() == Some(&1), "{name}: the first death is not reported: {lives:?}\n{out}");
        ensure!(
            lives.len() + more == LIVES,
            "{name}: {} reports and {more} more, of {LIVES} deaths\n{out}",
            lives.len()
        );
        reported += lives.len();
    }
    ensure!(reported >= 2 * MANY, "{reported} reports\n{out}");
    // Each is whole.
    let parts = ["] burst-", "| this is the end", "  at ", "called from "].map(|part| {
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
