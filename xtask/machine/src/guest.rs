//! A booted machine as a person uses it: types on its serial line and its keyboard, reads its screen, switches it off.

use crate::keys::{self, Stroke};
use crate::loader::tail;
use crate::qemu::{End, Machine, PANIC_VALUE, Programs, Qemu, SERIAL_LOG};
use crate::screen::{Font, Picture};
use crate::serial::Serial;
use crate::symbols::{Symbols, panic_report};
use crate::terminal::{PROMPT, Terminal};
use anyhow::{Context, Result, anyhow, bail};
use console::editor::COLUMNS;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the guest may take to echo one character before typing on is given up.
const ECHO: Duration = Duration::from_secs(5);

/// How long nothing may come at a prompt before it is taken for the next one, where the command's echo was not found.
const QUIET: Duration = Duration::from_secs(1);

/// A machine and the program that talks to it.
pub struct Guest {
    qemu: Qemu,
    /// Its first serial line.
    pub serial: Serial,
    logs: PathBuf,
    /// The kernel with its symbols, for a panic's report.
    kernel: Option<PathBuf>,
    deadline: Instant,
    limit: Duration,
    /// The first line of the serial console that was not handed out yet, by [`Guest::run`] or [`Guest::rest`].
    next: usize,
}

/// The error of a machine whose time is over.
#[derive(Debug)]
pub struct TimedOut(pub String);

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TimedOut {}

/// What a command printed, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// What was printed since the command before had come to its end: reports and logs around the prompt; before the first command, all that
    /// was printed while the machine started.
    pub before: Vec<String>,
    /// What the command printed, without prompt, echo and control sequences.
    pub lines: Vec<String>,
    /// Whether the prompt came back; if not, the machine has ended.
    pub prompt: bool,
    /// How the shell says that it ended, 0 where everything was done; nothing where it did not say.
    pub status: Option<u8>,
}

impl Guest {
    /// Boots a machine that may run for at most `limit` in all.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn boot(machine: &Machine, programs: &Programs, kernel: Option<&Path>, limit: Duration) -> Result<Self> {
        let mut guest = Self::prepare(machine, programs, kernel, limit)?;
        guest.go()?;
        Ok(guest)
    }

    /// Has a machine ready, switched on by [`Guest::go`]: who listens on its serial line from then on misses nothing.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub(crate) fn prepare(
        machine: &Machine,
        programs: &Programs,
        kernel: Option<&Path>,
        limit: Duration,
    ) -> Result<Self> {
        let qemu = machine.start(programs)?;
        let serial = Serial::connect(&qemu.serial_socket, &machine.logs.join(SERIAL_LOG))?;
        Ok(Self {
            deadline: qemu.started + limit,
            qemu,
            serial,
            logs: machine.logs.clone(),
            kernel: kernel.map(Path::to_path_buf),
            limit,
            next: 0,
        })
    }

    /// Switches the machine on.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.qemu.go()
    }

    /// What was kept of the serial line: the bytes that came, each once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn serial_log(&self) -> Result<Vec<u8>> {
        std::fs::read(self.logs.join(SERIAL_LOG)).context("cannot read the log of the serial line")
    }

    /// How long the machine runs already.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.qemu.started.elapsed()
    }

    fn left(&self, limit: Duration) -> Duration {
        limit.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits for the shell to wait for a command.
    ///
    /// # Errors
    /// When it does not in time, or the machine ends.
    pub fn wait_prompt(&mut self, limit: Duration) -> Result<()> {
        let seen = self.serial.wait(self.left(limit), |terminal| terminal.at_prompt().then_some(()));
        seen.ok_or_else(|| self.trouble(&format!("the prompt `{}` did not appear", PROMPT.trim_end())))
    }

    /// Waits for a line on the serial console that is exactly `text`: not the echo of a command that contains it.
    ///
    /// # Errors
    /// When none comes in time, or the machine ends.
    pub fn expect_line(&mut self, text: &str, limit: Duration) -> Result<()> {
        let seen = self.serial.wait(self.left(limit), |terminal| terminal.find_back(text, terminal.height()));
        seen.map(drop).ok_or_else(|| self.trouble(&format!("the line {text:?} did not appear on the serial console")))
    }

    /// Types text on the serial line, each character after the one before it was echoed. It must be at the prompt.
    ///
    /// # Errors
    /// When the guest does not echo.
    pub fn type_serial(&mut self, text: &str) -> Result<()> {
        let mut line: Vec<char> = self.serial.look(Terminal::before_cursor).chars().collect();
        for character in text.chars() {
            let before = self.serial.received();
            line.push(character);
            self.serial.send(character.encode_utf8(&mut [0; 4]).as_bytes())?;
            // The row that the cursor is in, when the line takes several.
            let row: String = line.iter().skip(line.len() / COLUMNS * COLUMNS).collect();
            let echoed =
                |limit| self.serial.wait(limit, |terminal| (terminal.before_cursor() == row).then_some(())).is_some();
            // A character that the guest does not take as it is, is shown otherwise: then any answer must do.
            if !echoed(self.left(Duration::from_millis(500)))
                && !self.serial.wait_beyond(before, self.left(ECHO))
                && !echoed(Duration::ZERO)
            {
                return Err(self.trouble(&format!("the shell does not echo {character:?}")));
            }
        }
        Ok(())
    }

    /// Types a command on the serial line and collects what is printed until the prompt is back, or the machine ends. From one call to the next
    /// nothing is left out, and nothing comes twice.
    ///
    /// # Errors
    /// When the prompt does not come back in time.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Printed> {
        self.wait_prompt(limit)?;
        self.type_serial(command)?;
        let (row, (finished_before, _)) = self.serial.look(|terminal| (terminal.row(), terminal.finished()));
        self.serial.send(b"\r")?;
        let echo = echo(command);
        let end = Instant::now() + self.left(limit);
        let (prompt, found) = loop {
            let received = self.serial.received();
            let left = end.saturating_duration_since(Instant::now());
            // While a line is typed, what is printed pushes it down and paints it again: the prompt alone says nothing. When the line was taken,
            // it stands above the prompt for good.
            let found = self.serial.wait(left.min(QUIET), |terminal| {
                let row = terminal.find_rows(&echo, self.next, terminal.row())?;
                terminal.at_prompt().then_some(row..row + echo.len())
            });
            if found.is_some() {
                break (true, found);
            }
            // A line that is not shown as it was typed is not found: then a prompt at which nothing moves must do.
            if self.serial.look(Terminal::at_prompt) && self.serial.received() == received {
                break (true, None);
            }
            if self.serial.is_closed() || Instant::now() >= end {
                break (
                    false,
                    self.serial.look(|terminal| {
                        terminal.find_rows(&echo, self.next, terminal.height()).map(|row| row..row + echo.len())
                    }),
                );
            }
        };
        if !prompt && !self.qemu.ended()? && !self.ends_soon()? {
            return Err(self.trouble(&format!("`{command}` did not come back to the prompt")));
        }
        let echo = found.unwrap_or(row..row + 1);
        Ok(self.serial.look(|terminal| {
            let end = if prompt { terminal.row() } else { terminal.height() };
            let before = terminal.lines(self.next, echo.start).collect();
            let mut lines: Vec<_> = terminal.lines(echo.end, end).collect();
            while !prompt && lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            self.next = end;
            let (finished, status) = terminal.finished();
            Printed { before, lines, prompt, status: (finished > finished_before).then_some(status) }
        }))
    }

    /// What is on the serial console and was not handed out yet, the line that is being typed included.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.serial.look(|terminal| {
            let mut lines: Vec<_> = terminal.lines(self.next, terminal.height()).collect();
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            self.next = terminal.height();
            lines
        })
    }

    /// The serial line closes a moment before QEMU ends.
    fn ends_soon(&mut self) -> Result<bool> {
        Ok(self.qemu.wait(Duration::from_millis(500))?.is_some())
    }

    /// Types on the PS/2 keyboard; [`keys::SYNTAX`] tells how.
    ///
    /// # Errors
    /// When the text cannot be typed or the machine has ended.
    pub fn type_keys(&mut self, text: &str) -> Result<()> {
        for stroke in keys::parse(text)? {
            let before = self.serial.received();
            self.press(&stroke)?;
            // The console shows the same session on the serial line: its echo says that the key was taken. Keys that
            // change nothing there get a moment instead.
            let _ = self.serial.wait_beyond(before, self.left(Duration::from_millis(150)));
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Presses and releases one key with its modifiers.
    fn press(&mut self, stroke: &Stroke) -> Result<()> {
        let event = |key: &str, down: bool| -> Value {
            json!({ "type": "key", "data": { "down": down, "key": { "type": "qcode", "data": key } } })
        };
        let mut down: Vec<_> = stroke.modifiers.iter().map(|key| event(key, true)).collect();
        down.push(event(stroke.key, true));
        let mut up = vec![event(stroke.key, false)];
        up.extend(stroke.modifiers.iter().rev().map(|key| event(key, false)));
        // In two steps, as a finger does: the keyboard's buffer holds only sixteen bytes.
        self.qemu.qmp.execute("input-send-event", json!({ "events": down }))?;
        std::thread::sleep(Duration::from_millis(5));
        self.qemu.qmp.execute("input-send-event", json!({ "events": up }))?;
        Ok(())
    }

    /// What the screen shows now.
    ///
    /// # Errors
    /// When the machine has ended or the disk is full.
    pub(crate) fn screen(&mut self) -> Result<Picture> {
        let path = self.logs.join("screen.ppm");
        self.qemu.qmp.execute("screendump", json!({ "filename": path.display().to_string() }))?;
        let bytes = std::fs::read(&path).with_context(|| format!("QEMU wrote no screen dump to {}", path.display()))?;
        let _ = std::fs::remove_file(&path);
        Picture::from_ppm(&bytes)
    }

    /// What the screen shows when nothing but the cursor has moved on it for `quiet`.
    ///
    /// # Errors
    /// When it does not come to rest within `limit`, or the machine ends.
    pub fn still_screen(&mut self, quiet: Duration, limit: Duration) -> Result<Picture> {
        let end = Instant::now() + self.left(limit);
        let mut picture = self.screen()?;
        let mut since = Instant::now();
        while since.elapsed() < quiet {
            if Instant::now() >= end {
                return Err(self.trouble("the screen did not come to rest"));
            }
            std::thread::sleep(Duration::from_millis(100));
            let next = self.screen()?;
            if !next.still(&picture) {
                picture = next;
                since = Instant::now();
            }
        }
        Ok(picture)
    }

    /// The text on a VGA text screen.
    ///
    /// # Errors
    /// When the screen is in another mode, or the machine has ended.
    pub fn screen_text(&mut self, font: &Font) -> Result<Vec<String>> {
        let picture = self.screen()?;
        picture.text(font).with_context(|| {
            format!("the screen is {}x{} pixels: no text mode of 9x16 cells", picture.width, picture.height)
        })
    }

    /// Waits until a line of the VGA text screen contains `text`.
    ///
    /// # Errors
    /// When none does in time; the error shows the screen.
    pub fn expect_screen(&mut self, font: &Font, text: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + self.left(limit);
        loop {
            let shown = self.screen_text(font);
            if shown.as_ref().is_ok_and(|lines| lines.iter().any(|line| line.contains(text))) {
                return Ok(());
            }
            if Instant::now() >= end {
                let shown = shown.map_or_else(|error| error.to_string(), |lines| lines.join("\n  |"));
                return Err(self.trouble(&format!("{text:?} did not appear on the screen, which shows\n  |{shown}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the processor is halted at this moment, as QEMU sees it.
    ///
    /// # Errors
    /// When QEMU has gone.
    pub fn is_halted(&mut self) -> Result<bool> {
        let asked = json!({ "command-line": "info registers" });
        let registers = self.qemu.qmp.execute("human-monitor-command", asked)?;
        let text = registers.as_str().unwrap_or_default();
        let halted = text.split_whitespace().find_map(|word| word.strip_prefix("HLT="));
        Ok(halted.with_context(|| format!("QEMU does not say whether the processor is halted:\n{text}"))? == "1")
    }

    /// What the kernel logged so far.
    #[must_use]
    pub fn kernel_log(&self) -> String {
        read_lossy(&self.logs.join("kernel.log"))
    }

    /// Waits for the machine to end by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_end(&mut self, limit: Duration) -> Result<End> {
        let limit = self.left(limit);
        match self.qemu.wait(limit)? {
            Some(end) => Ok(end),
            None => Err(self.trouble("the machine did not switch itself off")),
        }
    }

    /// Waits for a clean power-off.
    ///
    /// # Errors
    /// When the machine ends in any other way, or not in time.
    pub fn wait_off(&mut self, limit: Duration) -> Result<()> {
        match self.wait_end(limit)? {
            End::PoweredOff => Ok(()),
            end => Err(self.ended(&end)),
        }
    }

    /// Has the shell switch the machine off, and waits until it is.
    ///
    /// # Errors
    /// When that fails in any way.
    pub fn power_off(&mut self, limit: Duration) -> Result<()> {
        self.run("shutdown", limit)?;
        self.wait_off(limit)
    }

    /// Ends the machine from outside.
    pub(crate) fn stop(&mut self) {
        self.qemu.stop();
    }

    /// The error for a machine that ended when it should not have, with the report of a kernel panic if there is one.
    #[must_use]
    pub fn ended(&self, end: &End) -> anyhow::Error {
        let mut text = format!("{end} after {:.1} s", self.uptime().as_secs_f32());
        let log = self.kernel_log();
        let serial = read_lossy(&self.logs.join(SERIAL_LOG));
        let report = panic_report(&log).or_else(|| panic_report(&serial));
        match (report, end) {
            (Some(report), _) => {
                let report = match self.kernel.as_deref().map(Symbols::load) {
                    Some(Ok(symbols)) => symbols.annotate(report),
                    _ => report.to_owned(),
                };
                let _ = write!(text, "\n{report}");
            }
            (None, End::DebugExit(PANIC_VALUE) | End::Reset | End::DebugExit(_)) => text.push_str(&self.tails()),
            _ => {}
        }
        anyhow!(text)
    }

    /// The error for something that did not happen in time: says so, and shows what the guest said last.
    fn trouble(&mut self, what: &str) -> anyhow::Error {
        if let Ok(Some(end)) = self.qemu.wait(Duration::from_millis(300)) {
            return self.ended(&end).context(what.to_owned());
        }
        let mut text = what.to_owned();
        if Instant::now() >= self.deadline {
            let _ = write!(text, " before the time limit of {} s was over", self.limit.as_secs());
        }
        text.push_str(&self.tails());
        if Instant::now() >= self.deadline {
            return TimedOut(text).into();
        }
        anyhow!(text)
    }

    /// The ends of the serial console and of the kernel's log.
    fn tails(&self) -> String {
        let serial = self.serial.look(|terminal| {
            let from = terminal.height().saturating_sub(15);
            terminal.lines(from, terminal.height()).map(|line| format!("  {line}\n")).collect::<String>()
        });
        let log = tail(&self.logs.join("kernel.log"), 15);
        let none = |text: String| if text.trim().is_empty() { "  (nothing)\n".to_owned() } else { text };
        format!("\nThe serial console's end:\n{}The kernel log's end:\n{}", none(serial), none(log))
    }
}

/// The rows that a command takes behind the prompt, as the guest's line editor shows it.
fn echo(command: &str) -> Vec<String> {
    let cells: Vec<char> = PROMPT.chars().chain(command.chars()).collect();
    cells.chunks(COLUMNS).map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The commands of `--exec`: separated by semicolons, but for those in quotes or behind a backslash.
///
/// # Errors
/// When a quote is not closed.
pub(crate) fn split_commands(text: &str) -> Result<Vec<String>> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (';' | '\n', None) => {
                commands.push(String::new());
                continue;
            }
            ('\\', None) if characters.next_if_eq(&';').is_some() => {
                commands.last_mut().into_iter().for_each(|command| command.push(';'));
                continue;
            }
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => {}
        }
        commands.last_mut().into_iter().for_each(|command| command.push(character));
    }
    if let Some(open) = quote {
        bail!("--exec: the quote {open} is not closed");
    }
    Ok(commands.into_iter().map(|command| command.trim().to_owned()).filter(|command| !command.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_at_semicolons() {
        let split = |text| split_commands(text).expect("it splits");
        assert_eq!(split("help; ps;caps serial ;"), ["help", "ps", "caps serial"]);
        assert_eq!(split("echo 'a; b'; echo \"c;d\"; echo e\\;f"), ["echo 'a; b'", "echo \"c;d\"", "echo e;f"]);
        assert_eq!(split("echo it\\n"), ["echo it\\n"]);
        assert!(split(" ; ;").is_empty());
        assert!(split_commands("echo 'a").expect_err("open").to_string().contains("not closed"));
    }
}
