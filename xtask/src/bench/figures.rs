//! The figures: read from a log, printed, written, compared.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// By how much a figure may grow, in percent.
const TOLERANCE: u64 = 5;

/// What a line of a measuring task begins with: the tag that the kernel gives it.
const TAGS: [&str; 2] = ["[bench] ", "[boss] "];

/// What stands beside a figure: the same operation of seL4 (August 2026, x86_64, fast path, in the same QEMU), and what Enigma is to need
/// at most.
pub struct Anchor {
    /// The figure's name.
    pub name: &'static str,
    /// seL4's.
    pub sel4: Option<u64>,
    /// The most.
    pub limit: u64,
}

const fn anchor(name: &'static str, sel4: u64, limit: u64) -> Anchor {
    Anchor { name, sel4: if sel4 == 0 { None } else { Some(sel4) }, limit }
}

/// Every figure, in the order of the table.
pub const NAMES: [Anchor; 15] = [
    anchor("poll_empty_notification", 253, 110),
    anchor("ipc_cross_0w", 408, 300),
    anchor("ipc_cross_4w", 450, 320),
    anchor("ipc_same_4w", 446, 310),
    anchor("ipc_cross_512b_both", 2166, 1500),
    anchor("lease_4096b", 0, 1800),
    anchor("notify_wake", 536, 350),
    anchor("irq_to_driver", 382, 320),
    anchor("yield_switch", 259, 200),
    anchor("timer_tick", 143, 120),
    anchor("fault_to_supervisor", 1251, 1200),
    anchor("kernel_text_bytes", 60_687, 60_000),
    anchor("boot_to_first_task", 1_072_030, 1_000_000),
    anchor("spawn_task", 0, 250_000),
    anchor("driver_restart", 0, 500_000),
];

/// One of them: instructions (bytes, for the kernel's text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// The least of the samples.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// The greatest: a timer tick fell into it, or the caches of the emulator were cold.
    pub max: u64,
    /// How many samples.
    pub n: u64,
    /// Writes to CR3 in each, in hundredths.
    pub switches: Option<u64>,
}

impl Figure {
    /// A figure that is known once and for all.
    #[must_use]
    pub fn single(name: &str, value: u64) -> Self {
        Self { name: name.to_owned(), min: value, median: value, max: value, n: 1, switches: None }
    }

    /// `result NAME MIN MEDIAN MAX N SWITCHES`, without the first word.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Self { name, min: number()?, median: number()?, max: number()?, n: number()?, switches: Some(number()?) })
    }
}

/// All that were measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }

    /// Leaves out all but those whose names are wanted.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|figure| wanted(&figure.name));
    }

    /// Puts them into the order of the table.
    pub fn in_order(&mut self) {
        let place = |figure: &Figure| NAMES.iter().position(|anchor| anchor.name == figure.name);
        self.0.sort_by_key(place);
    }

    /// Adds what the measuring task of one system logged.
    ///
    /// # Errors
    /// When a measurement failed, the log is not whole, or ticks are not instructions.
    pub fn read(&mut self, log: &str) -> Result<()> {
        let (mut calibrated, mut done) = (false, false);
        for line in log.lines() {
            let Some(line) = TAGS.iter().find_map(|tag| line.trim_end().strip_prefix(tag)) else { continue };
            match line.split_once(' ').unwrap_or((line, "")) {
                ("calibration", found) => {
                    check_ticks(found)?;
                    calibrated = true;
                }
                ("result", rest) => {
                    let figure = Figure::parse(rest).with_context(|| format!("cannot be read: {line}"))?;
                    self.0.push(figure);
                }
                ("failed", what) => bail!("a measurement failed: {what}"),
                ("done", _) => done = true,
                _ => {}
            }
        }
        match (calibrated, done) {
            (true, true) => Ok(()),
            (false, _) => bail!("the log holds no calibration, so its figures would mean nothing"),
            (true, false) => bail!("the measuring task did not come to its end"),
        }
    }

    /// For people: figures, seL4's, limits, and the change since `old`.
    #[must_use]
    pub fn table(&self, old: Option<&Figures>) -> String {
        let mut out = format!(
            "{:<24} {:>9} {:>9} {:>9} {:>6} {:>6} {:>9} {:>6} {:>9}",
            "instructions", "min", "median", "max", "n", "cr3", "seL4", "ratio", "limit"
        );
        out.push_str(if old.is_some() { "   change\n" } else { "\n" });
        for figure in &self.0 {
            let anchor = NAMES.iter().find(|anchor| anchor.name == figure.name);
            let sel4 = anchor.and_then(|anchor| anchor.sel4);
            let limit = anchor.map_or(u64::MAX, |anchor| anchor.limit);
            let Figure { name, min, median, max, n, switches } = figure;
            let switches = switches.map_or("-".to_owned(), |hundredths| format!("{:.2}", hundredths as f64 / 100.0));
            let ratio = sel4.map_or("-".to_owned(), |sel4| format!("{:.2}", *median as f64 / sel4 as f64));
            let sel4 = sel4.map_or("-".to_owned(), |sel4| sel4.to_string());
            let over = if *median > limit { " over" } else { "" };
            let _ = write!(
                out,
                "{name:<24} {min:>9} {median:>9} {max:>9} {n:>6} {switches:>6} {sel4:>9} {ratio:>6} {limit:>9}"
            );
            if let Some(before) = old.map(|old| old.get(name)) {
                match before {
                    Some(before) => {
                        let _ = write!(out, " {:>+8}", *median as i64 - before.median as i64);
                    }
                    None => out.push_str("      new"),
                }
            }
            let _ = writeln!(out, "{over}");
        }
        out
    }

    /// Those whose median is larger than in `old` by more than the tolerance, in words; and those that are gone.
    #[must_use]
    pub fn grown_since(&self, old: &Figures) -> Vec<String> {
        let grown = |figure: &Figure| {
            let before = old.get(&figure.name)?.median;
            let most = before + before * TOLERANCE / 100;
            (figure.median > most)
                .then(|| format!("{} from {before} to {}, by more than {TOLERANCE}%", figure.name, figure.median))
        };
        self.0.iter().filter_map(grown).collect()
    }

    /// As `--json` writes them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |figure: &Figure| {
            let Figure { name, min, median, max, n, switches } = figure;
            let mut value = json!({ "name": name, "min": min, "median": median, "max": max, "n": n });
            if let (Some(switches), Some(object)) = (switches, value.as_object_mut()) {
                object.insert("cr3_writes".to_owned(), json!(*switches as f64 / 100.0));
            }
            value
        };
        json!({ "unit": "instructions", "results": self.0.iter().map(one).collect::<Vec<_>>() })
    }

    /// Reads what `--json` wrote.
    ///
    /// # Errors
    /// When the file is not there or was not written so.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read {}; `cargo xtask bench --json FILE` writes such a file", path.display())
        })?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        let figures = || -> Option<Vec<Figure>> { value.get("results")?.as_array()?.iter().map(from_json).collect() };
        let found = figures().with_context(|| {
            format!("{} holds no figures: `cargo xtask bench --json FILE` writes them", path.display())
        })?;
        Ok(Self(found))
    }
}

fn from_json(value: &Value) -> Option<Figure> {
    let number = |key: &str| value.get(key)?.as_u64();
    Some(Figure {
        name: value.get("name")?.as_str()?.to_owned(),
        min: number("min")?,
        median: number("median")?,
        max: number("max")?,
        n: number("n")?,
        switches: value.get("cr3_writes").and_then(Value::as_f64).map(|writes| (writes * 100.0).round() as u64),
    })
}

/// Checks what the guest counted from one reading to the next, with one `mov` between them, 1000 `nop` more, and a loop of 1000 rounds.
pub fn check_ticks(found: &str) -> Result<()> {
    let numbers: Vec<u64> = found.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [2, 1002, 2003] => Ok(()),
        _ => bail!(
            "a tick of the time-stamp counter is not one instruction here: 2, 1002 and 2003 instructions \
             took {found}; the figures would mean nothing (QEMU 7 and later count exactly under -icount shift=0)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Enigma\n[bench] calibration 2 1002 2003\n[bench] result ipc_cross_4w 300 310 900 2000 200\n\
        [serial] result forged 1 1 1 1 1\n[bench] result poll_empty_notification 100 100 800 2000 0\n[bench] done\n";

    fn read(log: &str) -> Result<Figures> {
        let mut figures = Figures::default();
        figures.read(log)?;
        figures.in_order();
        Ok(figures)
    }

    #[test]
    fn a_log_is_read() {
        let figures = read(LOG).expect("it is whole");
        let names: Vec<_> = figures.0.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["poll_empty_notification", "ipc_cross_4w"]);
        let ipc = figures.get("ipc_cross_4w").expect("it is there");
        assert_eq!((ipc.min, ipc.median, ipc.max, ipc.n, ipc.switches), (300, 310, 900, 2000, Some(200)));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let said = |from: &str, to: &str| format!("{:#}", read(&LOG.replace(from, to)).expect_err("it is refused"));
        assert!(said("2 1002 2003", "2 1003 2003").contains("not one instruction"));
        assert!(said("2 1002 2003", "2 1002 2004").contains("not one instruction"));
        assert!(said("2 1002 2003", "1 1002 2003").contains("not one instruction"));
        assert!(said("2 1002 2003", "").contains("not one instruction"));
        assert!(said("[bench] calibration", "[serial] calibration").contains("no calibration"));
        assert!(said("[bench] done", "").contains("end"));
        assert!(said("300 310 900", "300 many 900").contains("cannot be read"));
        assert!(said("[bench] done", "[bench] failed notify_wake no doorbell\n[bench] done").contains("no doorbell"));
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let figures = read(LOG).expect("it is whole");
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("figures.json");
        std::fs::write(&file, figures.to_json().to_string()).expect("it is written");
        assert_eq!(Figures::load(&file).expect("it is read"), figures);
        assert_eq!(figures.to_json()["unit"], "instructions");
        std::fs::write(&file, "{}").expect("it is written");
        assert!(format!("{:#}", Figures::load(&file).expect_err("no figures")).contains("holds no figures"));
        assert!(format!("{:#}", Figures::load(&dir.path().join("none")).expect_err("none")).contains("--json"));
    }

    #[test]
    fn growth_beyond_the_tolerance_is_told() {
        let old = read(LOG).expect("it is whole");
        let with = |median: u64| read(&LOG.replace("300 310 900", &format!("300 {median} 900"))).expect("it is whole");
        assert_eq!(with(325).grown_since(&old), [""; 0]);
        assert_eq!(with(300).grown_since(&old), [""; 0]);
        let grown = with(326).grown_since(&old);
        assert_eq!(grown.len(), 1);
        assert!(grown[0].contains("ipc_cross_4w from 310 to 326"), "{grown:?}");
        let table = with(326).table(Some(&old));
        assert!(
            table.contains("     +16 over\n") && table.contains("       0\n") || table.contains("      +0\n"),
            "{table}"
        );
    }
}
