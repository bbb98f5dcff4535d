//! What a person, a paste and a terminal do to the console, and what they must not lose by it.

use super::{COMMAND, says};
use anyhow::{Context, Result, ensure};
use driver_vga::FONT;
use machine::guest::Guest;
use machine::terminal::{PROMPT, Terminal};
use std::time::{Duration, Instant};

/// The shell's status of a line that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Numbered commands, 100 KiB of them, while a command runs: each runs once, in order, as it was sent, whichever task dies meanwhile.
pub fn paste(guest: &mut Guest) -> Result<()> {
    const LINES: usize = 4400;
    let expected: Vec<String> = (0..LINES).map(|number| format!("pasted {number:05} abcde")).collect();
    let deaths = [(900, "kill serial"), (1800, "kill keyboard"), (2700, "kill vga"), (3600, "kill console")];
    let mut text = String::new();
    for (number, line) in expected.iter().enumerate() {
        text.extend(deaths.iter().filter(|(at, _)| *at == number).flat_map(|(_, kill)| [kill, "\r"]));
        text.extend(["echo ", line, "\r"]);
    }
    ensure!(text.len() > 100 * 1024, "{} bytes", text.len());
    guest.type_serial("sleep 3")?;
    guest.serial.send(b"\r")?;
    guest.serial.send(text.as_bytes())?;
    guest.expect_line(&expected[LINES - 1], Duration::from_secs(150))?;
    let lines: Vec<_> = guest.serial.look(|terminal| terminal.lines(0, terminal.height()).collect());
    let pasted: Vec<_> = lines.iter().filter(|line| line.starts_with("pasted ")).collect();
    if let Some(at) = (0..LINES).find(|at| pasted.get(*at).copied() != expected.get(*at)) {
        anyhow::bail!("in the place of {:?} came {:?}", expected[at], pasted.get(at));
    }
    ensure!(pasted.len() == LINES, "{} lines instead of {LINES}", pasted.len());
    ensure!(!lines.iter().any(|line| line.contains("unknown command")), "half a command was run");
    // That the line waited is said.
    ensure!(lines.iter().any(|line| line.contains("the serial line waits")), "the wait was not said");
    Ok(())
}

/// Commands typed on the keyboard while another one runs: fewer, since what is not taken from a keyboard in time is lost in it.
pub fn keys_ahead(guest: &mut Guest) -> Result<()> {
    guest.type_serial("sleep 8")?;
    guest.serial.send(b"\r")?;
    // Two devices have no order between them.
    std::thread::sleep(Duration::from_millis(500));
    let lines: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    guest.type_keys(&lines.iter().map(|line| format!("echo {line}\\n")).collect::<String>())?;
    guest.expect_line(lines.last().context("a line")?, COMMAND)?;
    let shown: Vec<_> = guest.serial.look(|terminal| terminal.lines(0, terminal.height()).collect());
    let ran: Vec<_> = shown.iter().filter(|line| lines.contains(line)).collect();
    ensure!(ran == lines.iter().collect::<Vec<_>>(), "{ran:?}");
    Ok(())
}

/// A line that is too long, and one with a character that cannot be shown, are said and not run; the next one is.
pub fn mutilated(guest: &mut Guest) -> Result<()> {
    let long = "x".repeat(1200);
    guest.wait_prompt(COMMAND)?;
    guest.serial.send(format!("echo {long}\recho wide \u{754c} wide\recho after\r").as_bytes())?;
    guest.expect_line("after", COMMAND)?;
    let shown: Vec<_> = guest.serial.look(|terminal| terminal.lines(0, terminal.height()).collect());
    for (part, times) in [("the line is full", 1), ("in different widths", 1), ("not run, because", 2)] {
        let found = shown.iter().filter(|line| line.contains(part)).count();
        ensure!(found == times, "{part:?} stands {found} times, not {times}, in\n{}", shown.join("\n"));
    }
    ensure!(!shown.iter().any(|line| line.len() > 100), "the long line was run");
    ensure!(!shown.iter().any(|line| line.starts_with("wide")), "the wide line was run");
    Ok(())
}

/// Mouse clicks, reports, answers, focus, function keys: in the middle of a line, in one go and cut by pauses.
pub fn foreign_sequences(guest: &mut Guest) -> Result<()> {
    const SEQUENCES: &[&[u8]] = &[
        b"\x1b[M \x21\x21",
        b"\x1b[M#\xff\xff",
        b"\x1b[<0;10;20M\x1b[<0;10;20m",
        b"\x1b[[A",
        b"\x1b[I\x1b[O",
        b"\x1b[?1;2c",
        b"\x1b[24;80R",
        b"\x1b[200~\x1b[201~",
        b"\x1b[?31u\x1b[97;1:3u",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1b]lreboot\r\x1b\\",
        b"\x1bP>|XTerm(390)\x1b\\",
        b"\x1b_Gi=31;OK\x1b\\",
        b"\x9b24;80R",
        b"\x1bOP\x1bO2P",
    ];
    for (number, sequence) in SEQUENCES.iter().enumerate() {
        guest.wait_prompt(COMMAND)?;
        // Cut somewhere, with a pause that is shorter than the decoder's patience.
        let (first, second) = sequence.split_at((number * 5 + 1) % sequence.len());
        guest.serial.send(&[b"echo be", first].concat())?;
        std::thread::sleep(Duration::from_millis(20));
        guest.serial.send(&[second, format!("fore {number}").as_bytes()].concat())?;
        let line = format!("{PROMPT}echo before {number}");
        let seen = guest.serial.wait(COMMAND, |terminal| (terminal.before_cursor() == line).then_some(()));
        seen.with_context(|| {
            let shown = guest.serial.look(|terminal| terminal.before_cursor());
            format!("after {} the line is {shown:?}", sequence.escape_ascii())
        })?;
        guest.serial.send(b"\r")?;
        guest.expect_line(&format!("before {number}"), COMMAND)?;
    }
    // What is never ended swallows nothing after a pause, and is said.
    guest.wait_prompt(COMMAND)?;
    guest.serial.send(b"\x1b]0;a title without an end")?;
    guest.expect_line("[console] the serial line began a control sequence and did not end it: 26 bytes", COMMAND)?;
    says(guest, "echo typed on", "typed on")
}

/// Nobody reads the serial line: screen and keyboard go on, and later it is said how much is missing.
pub fn stalled_peer(guest: &mut Guest) -> Result<()> {
    // Some 120 KiB: more than socket, UART, driver and console keep together. Typed once, while the line is read.
    guest.serial.send(format!("{}echo all of it\r", "help;".repeat(100)).as_bytes())?;
    guest.expect_line("all of it", COMMAND)?;
    guest.wait_prompt(COMMAND)?;
    guest.serial.hold(true);
    guest.type_keys("<up>\\n")?;
    guest.type_keys("echo alive on the screen\\n")?;
    guest.expect_screen(&FONT, "enigma> echo alive on the screen", COMMAND)?;
    let begun = Instant::now();
    guest.type_keys("ps\\n")?;
    guest.expect_screen(&FONT, "supervisor waiting", COMMAND)?;
    // Which also says what is wrong.
    guest.expect_screen(&FONT, "serial has taken nothing for a while: ", COMMAND)?;
    guest.type_keys("echo at once\\n")?;
    guest.expect_screen(&FONT, "enigma> echo at once", COMMAND)?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(15), "the screen took {took:?} while the serial line stood still");
    guest.serial.hold(false);
    let told = guest.serial.wait(COMMAND, |terminal| {
        let mut lines = terminal.lines(0, terminal.height());
        // The whole of it: its number may be cut by what has come so far.
        let whole = |line: &String| line.ends_with("bytes were left out there");
        lines.find(|line| line.starts_with("[console] serial took nothing for a while: ") && whole(line))
    });
    let told = told.context("it was not said what is missing")?;
    let missing = told.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    ensure!(missing.is_some_and(|bytes| bytes > 1000), "{told}");
    // The line is in use again, and what is printed there is whole.
    guest.serial.send(b"\r")?;
    says(guest, "echo read again", "read again")?;
    // The log has what came, and no byte twice.
    let (kept, came) = (guest.serial_log()?.len() as u64, guest.serial.received());
    ensure!(kept == came, "{came} bytes came on the serial line, and its log has {kept}");
    // And with nobody reading, the machine can be switched off.
    guest.serial.hold(true);
    guest.type_keys("<up><up><up><up>\\n")?;
    guest.type_keys("shutdown")?;
    // It may be off before the key is let go.
    let _ = guest.type_keys("\\n");
    guest.wait_off(COMMAND)
}

/// A driver that dies again and again is restarted later and later, then not at all; meanwhile the serial line is a session as ever.
pub fn dead_drivers(guest: &mut Guest) -> Result<()> {
    for driver in ["keyboard", "vga"] {
        let state = |guest: &mut Guest| -> Result<String> {
            let printed = guest.run("ps", COMMAND)?.lines;
            let line = printed.iter().find(|line| line.starts_with(driver)).with_context(|| format!("no {driver}"))?;
            Ok(line.clone())
        };
        for death in 0..8 {
            while death > 0 && !state(guest)?.contains("waiting") {}
            guest.run(&format!("kill {driver}"), COMMAND)?;
            // After the seventh death in a row comes a pause of 1.6 s, after the eighth it is given up.
            if death >= 6 {
                let begun = Instant::now();
                says(guest, "echo still here", "still here")?;
                let state = state(guest)?;
                ensure!(!state.contains("waiting"), "after {:?}: {state}", begun.elapsed());
            }
        }
        says(guest, &format!("echo without {driver}"), &format!("without {driver}"))?;
        guest.run(&format!("spawn {driver}"), COMMAND)?;
    }
    guest.type_keys("echo keyboard and screen\\n")?;
    guest.expect_line("keyboard and screen", COMMAND)?;
    guest.expect_screen(&FONT, "enigma> echo keyboard and screen", COMMAND)
}

/// Ctrl-C ends what runs: in the same moment as Enter, and behind all that was typed ahead, of which nothing is run.
pub fn interrupts(guest: &mut Guest) -> Result<()> {
    guest.wait_prompt(COMMAND)?;
    for keys in [0, 0, 0, 0, 0, 600, 5_000, 16_000] {
        let (finished, _) = guest.serial.look(Terminal::finished);
        let begun = Instant::now();
        if keys == 0 {
            guest.serial.send(b"sleep 1000\r\x03")?;
        } else {
            guest.serial.send(b"sleep 1000\r")?;
            std::thread::sleep(Duration::from_millis(500));
            guest.serial.send(format!("{}\x03", "echo never\r".repeat(keys / 11)).as_bytes())?;
        }
        let status = guest.serial.wait(COMMAND, |terminal| {
            let (now, status) = terminal.finished();
            (now > finished && terminal.at_prompt()).then_some(status)
        });
        let status =
            status.with_context(|| format!("Ctrl-C behind {keys} keys ended nothing within {:?}", begun.elapsed()))?;
        ensure!(status == INTERRUPTED, "the command ended with {status}");
        says(guest, &format!("echo behind {keys}"), &format!("behind {keys}"))?;
        let ran = guest.serial.look(|terminal| terminal.lines(0, terminal.height()).any(|line| line == "never"));
        ensure!(!ran, "what was typed before Ctrl-C was run after it");
    }
    Ok(())
}
