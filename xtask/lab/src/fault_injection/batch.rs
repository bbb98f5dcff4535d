//! One batch: a boot, what it printed, what its serial line carried, what its screen shows, and the verdict on all that.

use super::line::{Verdict, judge};
use super::log::{Fault, Log};
use ::fault_injection::Driver;
use ::fault_injection::rows::Rows;
use anyhow::{Context, Result};
use machine::build::Built;
use machine::harness::machine;
use machine::qemu::{End, Machine};
use machine::symbols::{Symbols, panic_report};
use machine::toolchain::install::Ready;
use serde_json::json;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An instruction takes 2 to the power of this nanoseconds of the guest's time: a slow machine, so that little is to be computed while
/// heartbeats are waited for, and a tick of the clock falls into anything that a driver does.
pub const SHIFT: u32 = 4;

/// How long a batch may take, and how often to look whether it is over.
const LIMIT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

/// Where the screen's cells are, and their bytes.
const TEXT: (u64, u64) = (0xb8000, 4000);

/// A boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// From which all follows.
    pub seed: u64,
    /// Faults.
    pub count: u32,
    /// What they are done to.
    pub drivers: Vec<Driver>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Its seed and how many faults were wanted.
    pub seed: u64,
    /// See `seed`.
    pub count: u32,
    /// The faults.
    pub faults: Vec<Fault>,
    /// What must be zero, in the order of [`Outcome::NAMES`].
    pub zeros: [u64; 8],
    /// What was wrong, in words.
    pub reasons: Vec<String>,
    /// Lines or keys of each driver that the far end has, after repair.
    pub lines: [u32; 3],
    /// Where the logs are.
    pub logs: PathBuf,
}

impl Outcome {
    /// What must be zero.
    pub const NAMES: [&str; 8] = [
        "kernel panics",
        "hangs",
        "unrecovered drivers",
        "bytes lost",
        "bytes doubled",
        "leaked frames",
        "leaked handles",
        "leaked objects",
    ];

    /// Whether all is zero, and nothing else is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.zeros == [0; 8] && self.reasons.is_empty()
    }
}

impl Batch {
    /// Boots it and judges. What it prints and carries stays in the directory `logs`.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn run(&self, ready: &Ready, built: &Built, image: &Path, logs: &Path) -> Result<Outcome> {
        let _ = std::fs::remove_dir_all(logs);
        let names: Vec<_> = self.drivers.iter().map(|driver| driver.name()).collect();
        let told = ("opt/enigma/chaos", format!("{} {} {}", self.seed, self.count, names.join(",")));
        let told = Some(told);
        let machine = Machine { counted: Some(SHIFT), told, ..machine(image.to_path_buf(), logs.to_path_buf()) };
        let mut qemu = machine.start(&ready.programs)?;
        qemu.go()?;
        let mut log = Tail::new(logs.join("kernel.log"));
        let begun = Instant::now();
        let mut end = None;
        while begun.elapsed() < LIMIT && end.is_none() {
            end = qemu.wait(LOOK)?;
            if end.is_none() && log.holds("[chaos] over") {
                break;
            }
        }
        let screen = logs.join("screen");
        if end.is_none() {
            qemu.qmp.execute("stop", json!({}))?;
            let path = screen.to_str().context("the path of the logs is not UTF-8")?;
            qemu.qmp.execute("pmemsave", json!({ "val": TEXT.0, "size": TEXT.1, "filename": path }))?;
        }
        qemu.stop();
        let log = std::fs::read(logs.join("kernel.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let carried = std::fs::read(logs.join("serial.log")).unwrap_or_default();
        let mut outcome = self.judge(&log, &carried, &std::fs::read(screen).unwrap_or_default(), end.as_ref());
        outcome.logs = logs.to_path_buf();
        if let Some(report) = panic_report(&log) {
            let named =
                Symbols::load(&built.kernel).map_or_else(|_| report.to_owned(), |symbols| symbols.annotate(report));
            outcome.reasons.push(format!("the kernel panicked:\n{named}"));
        }
        Ok(outcome)
    }

    /// The verdict on what it printed, what the line carried and what the screen shows.
    #[must_use]
    pub fn judge(&self, log: &str, carried: &[u8], screen: &[u8], end: Option<&End>) -> Outcome {
        let mut outcome = Outcome { seed: self.seed, count: self.count, ..Outcome::default() };
        let panics = u64::from(panic_report(log).is_some());
        let log = Log::read(log);
        let line = judge(carried, &log.windows);
        let mut reasons = log.news.clone();
        reasons.extend(log.leaks.iter().map(ToString::to_string));
        if let Some(end) = end {
            reasons.push(end.to_string());
        } else if !log.over {
            reasons.push(format!("not over after {} s", LIMIT.as_secs()));
        }
        let complete = log.over && log.done == Some(self.count) && log.faults.len() == self.count as usize;
        if !complete {
            reasons.push(format!("{} of {} faults were done", log.faults.len(), self.count));
        }
        reasons.extend(line.wrong.iter().map(|what| format!("serial line: {what}")));
        if let Some(what) = shown(&log.rows, screen).filter(|_| log.over) {
            reasons.push(what);
        }
        let [typed, received, _] = log.keys;
        if typed != received {
            reasons.push(format!("{typed} lines were typed, {received} arrived"));
        }
        if line.lost > 0 {
            reasons.push(format!("{} lines were written, {} arrived", line.lines, line.lines - line.lost));
        }
        let [unrecovered, stalled, refused] = log.drivers.map(u64::from);
        if refused > 0 {
            reasons.push(format!("{refused} answers that no driver gives"));
        }
        let [keys_lost, keys_doubled, rows_lost, rows_doubled] = log.bytes.map(u64::from);
        let differs = u64::from(!line.wrong.is_empty());
        let lost = u64::from(line.lost).max(differs) + keys_lost + u64::from(typed.abs_diff(received)) + rows_lost;
        let leaked = |what: &[&str]| {
            let of = log.leaks.iter().filter(|leak| what.contains(&leak.what.as_str()));
            of.map(|leak| leak.values[0].abs_diff(leak.values[1])).sum::<u64>()
        };
        let frames = leaked(&["frames", "kernel-frames", "kernel-heap"]);
        let handles = leaked(&["handles"]);
        let all = log.leaks.iter().map(|leak| leak.values[0].abs_diff(leak.values[1])).sum::<u64>();
        outcome.zeros = [
            panics,
            stalled + u64::from(panics == 0 && !log.over),
            unrecovered,
            lost,
            u64::from(line.doubled) + keys_doubled + rows_doubled,
            frames,
            handles,
            all - frames - handles,
        ];
        outcome.lines = [line.lines, received, log.rows.len() as u32];
        outcome.faults = log.faults;
        outcome.reasons = reasons;
        damage(&mut outcome.faults, &line);
        outcome
    }
}

/// Enters what the windows held with the faults that opened them.
fn damage(faults: &mut [Fault], line: &Verdict) {
    for fault in faults.iter_mut().filter(|fault| fault.windows[0] > 0) {
        let held = line.damage.iter().filter(|held| (fault.windows[0]..=fault.windows[1]).contains(&held.window));
        for held in held {
            fault.damage[0] += held.lost;
            fault.damage[1] += held.doubled + held.garbage;
        }
    }
}

/// What is wrong with the screen.
fn shown(rows: &[String], screen: &[u8]) -> Option<String> {
    let mut wanted = Rows::default();
    let mut rows = rows.iter();
    // The first row of all is empty, and is there already, unless it has scrolled away.
    let first = rows.next().filter(|row| !row.is_empty());
    first.into_iter().chain(rows).for_each(|row| wanted.push(row.clone()));
    let found = wanted.compare(screen)?;
    Some(format!(
        "the screen's memory differs: {} rows missing, {} doubled, {} bytes differ",
        found.missing, found.doubled, found.cells
    ))
}

/// A file that grows.
struct Tail {
    path: PathBuf,
    at: u64,
    last: String,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, at: 0, last: String::new() }
    }

    /// Whether a line that begins so has come since the last time.
    fn holds(&mut self, line: &str) -> bool {
        let mut new = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.path)
            && file.seek(SeekFrom::Start(self.at)).is_ok()
        {
            self.at += file.read_to_end(&mut new).unwrap_or(0) as u64;
        }
        self.last.push_str(&String::from_utf8_lossy(&new));
        let found = self.last.lines().any(|one| one.starts_with(line));
        self.last = self.last.rsplit('\n').next().unwrap_or_default().to_owned();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::fault_injection::client::lines;

    const BATCH: Batch = Batch { seed: 1, count: 1, drivers: Vec::new() };

    /// What a good run leaves.
    fn good() -> (String, Vec<u8>, Vec<u8>) {
        let log = "[chaos] begin 1 1\n\
            [chaos] fault 1 serial kill 5 found kill 0 back 500 pause 9 damage 0 0 refused 0 windows 0 0 | \n\
            [chaos] keys 4 4 0\n[chaos] zero unrecovered 0 stalled 0 refused 0\n[chaos] zero keyboard lost 0 doubled 0\n\
            [chaos] zero vga lost 0 doubled 0\n[chaos] end 1 0\n[painter] row 0\n[painter] row 1 first\n[painter] row 2 second\n\
            [chaos] over\n";
        let carried = [lines(0, 9), b"\n.9\n".to_vec()].concat();
        let mut rows = Rows::default();
        ["first", "second"].into_iter().for_each(|row| rows.push(row.to_owned()));
        (log.to_owned(), carried, rows.cells())
    }

    fn judged(change: impl FnOnce(&mut String, &mut Vec<u8>, &mut Vec<u8>)) -> Outcome {
        let (mut log, mut carried, mut screen) = good();
        change(&mut log, &mut carried, &mut screen);
        BATCH.judge(&log, &carried, &screen, None)
    }

    fn zero(name: &str) -> usize {
        Outcome::NAMES.iter().position(|one| one.contains(name)).expect("a name")
    }

    #[test]
    fn a_good_run_is_good() {
        let outcome = judged(|_, _, _| {});
        assert!(outcome.is_good(), "{outcome:?}");
        assert_eq!((outcome.faults.len(), outcome.lines), (1, [9, 4, 3]));
    }

    #[test]
    fn whatever_must_be_zero_is_noticed_when_it_is_not() {
        // What is changed in the log, and what that is.
        for (from, to, name) in [
            ("unrecovered 0", "unrecovered 1", "unrecovered"),
            ("stalled 0", "stalled 1", "hangs"),
            ("keyboard lost 0", "keyboard lost 1", "lost"),
            ("keyboard lost 0 doubled 0", "keyboard lost 0 doubled 1", "doubled"),
            ("vga lost 0", "vga lost 1", "lost"),
            ("vga lost 0 doubled 0", "vga lost 0 doubled 1", "doubled"),
            ("keys 4 4", "keys 4 3", "lost"),
            ("[chaos] end", "[chaos] leak vga frames 7 8\n[chaos] end", "frames"),
            ("[chaos] end", "[chaos] leak vga handles 7 8\n[chaos] end", "handles"),
            ("[chaos] end", "[chaos] leak machine timers 8 7\n[chaos] end", "objects"),
            ("[chaos] over\n", "", "hangs"),
            ("[chaos] over\n", "KERNEL PANIC: no\n", "panics"),
        ] {
            let outcome = judged(|log, _, _| *log = log.replace(from, to));
            assert!(!outcome.is_good(), "{to}");
            assert_eq!(outcome.zeros[zero(name)], 1, "{to}: {:?}", outcome.zeros);
        }
        let lost = judged(|_, carried, _| _ = carried.remove(40));
        assert!(lost.zeros[zero("lost")] > 0 && !lost.is_good());
        let doubled = judged(|_, carried, _| *carried = [lines(0, 1), carried.clone()].concat());
        assert!(doubled.zeros[zero("doubled")] > 0 && !doubled.is_good());
    }

    #[test]
    fn other_wrongs_are_noticed_too() {
        assert!(!judged(|log, _, _| *log = log.replace("refused 0\n", "refused 2\n")).is_good());
        assert!(!judged(|log, _, _| *log = log.replace("[chaos] end 1", "[chaos] end 0")).is_good());
        assert!(!judged(|log, _, _| *log = log.replace("fault 1", "rehearsal 1")).is_good());
        assert!(!judged(|log, _, _| log.push_str("[chaos] what is this\n")).is_good());
        assert!(!judged(|_, _, screen| screen[170] ^= 1).is_good());
        let (log, carried, screen) = good();
        assert!(!BATCH.judge(&log, &carried, &screen, Some(&End::Reset)).is_good());
    }

    #[test]
    fn the_end_is_found_in_a_file_that_grows() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let mut tail = Tail::new(path.clone());
        assert!(!tail.holds("[chaos] over"));
        std::fs::write(&path, "[x] [chaos] over\n[chaos] ov").expect("written");
        assert!(!tail.holds("[chaos] over"));
        std::fs::write(&path, "[x] [chaos] over\n[chaos] over\n").expect("written");
        assert!(tail.holds("[chaos] over"));
    }
}
