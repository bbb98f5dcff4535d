//! Single figures: what they are called, what stands beside them, and how they are printed.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::fmt::Write;

/// By how much a figure may grow, in percent.
pub const TOLERANCE: u64 = 5;

/// What stands beside a figure: the same operation of seL4 (August 2026, x86_64, fast path, in the same QEMU), and what Enigma is to need
/// at most.
pub struct Anchor {
    /// The figure's name.
    pub name: &'static str,
    /// seL4's.
    pub sel4: Option<u64>,
    /// The most. `None` where nothing but growth is watched.
    pub limit: Option<u64>,
    /// Where to go beyond that.
    pub goal: u64,
}

const fn anchor(name: &'static str, sel4: u64, limit: u64, goal: u64) -> Anchor {
    Anchor { name, sel4: if sel4 == 0 { None } else { Some(sel4) }, limit: Some(limit), goal }
}

/// A figure that may be what it is, and grow by no more than [`TOLERANCE`] at a time.
const fn watched(name: &'static str, sel4: u64, goal: u64) -> Anchor {
    Anchor { limit: None, ..anchor(name, sel4, 0, goal) }
}

/// Every figure, in the order of the table.
pub const NAMES: [Anchor; 15] = [
    anchor("poll_empty_notification", 253, 110, 60),
    anchor("ipc_cross_0w", 408, 300, 200),
    anchor("ipc_cross_4w", 450, 320, 225),
    anchor("ipc_same_4w", 446, 310, 215),
    anchor("ipc_cross_512b_both", 2166, 1500, 900),
    anchor("lease_4096b", 0, 1800, 1100),
    anchor("notify_wake", 536, 350, 220),
    anchor("irq_to_driver", 382, 320, 200),
    anchor("yield_switch", 259, 200, 130),
    watched("turn_end", 0, 500),
    anchor("fault_to_supervisor", 1251, 1200, 600),
    watched("kernel_text_bytes", 60_687, 40_000),
    anchor("boot_to_first_task", 1_072_030, 1_000_000, 300_000),
    anchor("spawn_task", 0, 250_000, 100_000),
    anchor("driver_restart", 0, 500_000, 200_000),
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
    /// The greatest: a timer tick fell into it, or something was done for the first time.
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
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Self { name, min: number()?, median: number()?, max: number()?, n: number()?, switches: Some(number()?) })
    }

    /// What stands beside it.
    #[must_use]
    pub fn anchor(&self) -> Option<&'static Anchor> {
        NAMES.iter().find(|anchor| anchor.name == self.name)
    }

    /// Whether it is more than is needed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.anchor().and_then(|anchor| anchor.limit).is_some_and(|limit| self.median > limit)
    }

    /// Writes to CR3 as people read them.
    #[must_use]
    pub fn shown_switches(&self) -> String {
        self.switches.map_or("-".to_owned(), |hundredths| format!("{:.2}", hundredths as f64 / 100.0))
    }

    fn to_json(&self) -> Value {
        let Figure { name, min, median, max, n, .. } = self;
        json!({ "name": name, "min": min, "median": median, "max": max, "n": n })
    }

    fn from_json(value: &Value, switches: &Value) -> Option<Figure> {
        let number = |key: &str| value.get(key)?.as_u64();
        let name = value.get("name")?.as_str()?.to_owned();
        let switches = switches.get(&name).and_then(Value::as_f64).map(|writes| (writes * 100.0).round() as u64);
        Some(Figure {
            min: number("min")?,
            median: number("median")?,
            max: number("max")?,
            n: number("n")?,
            name,
            switches,
        })
    }
}

/// Some figures, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }

    /// Puts them into the order of the table.
    pub fn in_order(&mut self) {
        let place = |figure: &Figure| NAMES.iter().position(|anchor| anchor.name == figure.name);
        self.0.sort_by_key(place);
    }

    /// For people: figures, seL4's, limits, and the change since `old`.
    #[must_use]
    pub fn table(&self, old: Option<&Figures>) -> String {
        let mut out = format!(
            "{:<24} {:>9} {:>9} {:>9} {:>6} {:>6} {:>9} {:>6} {:>9} {:>8}",
            "instructions", "min", "median", "max", "n", "cr3", "seL4", "ratio", "needed", "then"
        );
        out.push_str(if old.is_some() { "   change\n" } else { "\n" });
        for figure in &self.0 {
            let Figure { name, min, median, max, n, .. } = figure;
            let anchor = figure.anchor();
            let shown = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
            let sel4 = anchor.and_then(|anchor| anchor.sel4);
            let ratio = sel4.map_or("-".to_owned(), |sel4| format!("{:.2}", *median as f64 / sel4 as f64));
            let _ = write!(
                out,
                "{name:<24} {min:>9} {median:>9} {max:>9} {n:>6} {:>6} {:>9} {ratio:>6} {:>9} {:>8}",
                figure.shown_switches(),
                shown(sel4),
                shown(anchor.and_then(|anchor| anchor.limit)),
                shown(anchor.map(|anchor| anchor.goal)),
            );
            if let Some(before) = old.map(|old| old.get(name)) {
                match before {
                    Some(before) => {
                        let _ = write!(out, " {:>+8}", *median as i64 - before.median as i64);
                    }
                    None => out.push_str("      new"),
                }
            }
            out.push_str(if figure.is_over() { " over\n" } else { "\n" });
        }
        out
    }

    /// As `--json` writes them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Array(self.0.iter().map(Figure::to_json).collect())
    }

    /// Writes to CR3, by the names of the figures.
    #[must_use]
    pub fn switches_to_json(&self) -> Value {
        let one = |figure: &Figure| Some((figure.name.clone(), json!(figure.switches? as f64 / 100.0)));
        Value::Object(self.0.iter().filter_map(one).collect())
    }

    /// The inverse of [`Figures::to_json`] and [`Figures::switches_to_json`].
    #[must_use]
    pub fn from_json(value: &Value, switches: &Value) -> Option<Self> {
        value.as_array()?.iter().map(|value| Figure::from_json(value, switches)).collect::<Option<_>>().map(Self)
    }
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
