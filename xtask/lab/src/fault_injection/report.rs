//! The table, the histogram, the figures as JSON, and the verdict.

use super::batch::{Outcome, SHIFT};
use super::log::Fault;
use ::fault_injection::Driver;
use ::fault_injection::fault::Kind;
use machine::paths::Paths;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Most rows of the histogram; what is less than the first goes there.
const BARS: u32 = 14;
/// Characters of its longest bar.
const WIDTH: usize = 50;

/// All batches together.
pub struct Summary<'a> {
    outcomes: &'a [Outcome],
}

/// One row of the table: a kind of fault, done to a driver.
struct Row<'a> {
    kind: Kind,
    driver: Driver,
    faults: Vec<&'a Fault>,
}

/// Nanoseconds of the guest in instructions.
fn instructions(ns: u64) -> u64 {
    ns >> SHIFT
}

/// Least, middle, greatest.
fn spread(mut values: Vec<u64>) -> [u64; 3] {
    values.sort_unstable();
    let at = |place: usize| values.get(place).copied().unwrap_or(0);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}

/// Short enough for a table: thousands.
fn short(value: u64) -> String {
    match value {
        0..10_000 => format!("{:.1}", value as f64 / 1000.0),
        _ => (value / 1000).to_string(),
    }
}

impl Row<'_> {
    fn found(&self) -> BTreeMap<&str, u64> {
        let mut found = BTreeMap::new();
        self.faults.iter().for_each(|fault| *found.entry(fault.found.as_str()).or_default() += 1);
        found
    }

    fn found_after(&self) -> [u64; 3] {
        let noticed = self.faults.iter().filter(|fault| !matches!(fault.found.as_str(), "never" | "harmless"));
        spread(noticed.map(|fault| instructions(fault.found_ns)).collect())
    }

    fn back_after(&self) -> [u64; 3] {
        spread(self.faults.iter().map(|fault| instructions(fault.back_ns)).collect())
    }

    fn pause(&self) -> [u64; 3] {
        spread(self.faults.iter().map(|fault| instructions(fault.pause_ns)).collect())
    }

    fn sum(&self, of: impl Fn(&Fault) -> u32) -> u64 {
        self.faults.iter().map(|fault| u64::from(of(fault))).sum()
    }
}

impl<'a> Summary<'a> {
    /// Of these.
    pub fn new(outcomes: &'a [Outcome]) -> Self {
        Self { outcomes }
    }

    fn faults(&self) -> impl Iterator<Item = &'a Fault> {
        self.outcomes.iter().flat_map(|outcome| &outcome.faults)
    }

    fn rows(&self) -> Vec<Row<'a>> {
        let mut rows = Vec::new();
        for &kind in Kind::ALL {
            for driver in Driver::ALL {
                let faults: Vec<_> = self.faults().filter(|f| f.kind == kind && f.driver == driver).collect();
                if !faults.is_empty() {
                    rows.push(Row { kind, driver, faults });
                }
            }
        }
        rows
    }

    fn zeros(&self) -> [u64; 8] {
        let mut sums = [0; 8];
        for outcome in self.outcomes {
            sums.iter_mut().zip(outcome.zeros).for_each(|(sum, value)| *sum += value);
        }
        sums
    }

    /// Whether all that must be zero is, and nothing else is wrong.
    pub fn is_good(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_good)
    }

    /// The table and the histogram.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "fault          driver    count  found after, thousands of instr.  back after           longest pause        raw damage     how it was found\n\
             \x20                               min     med     max              min     med     max  med     max          lost   extra\n",
        );
        for row in self.rows() {
            let [found, back, pause] =
                [row.found_after(), row.back_after(), row.pause()].map(|spread| spread.map(short));
            let how: Vec<_> = row.found().iter().map(|(how, count)| format!("{how} {count}")).collect();
            let _ = writeln!(
                out,
                "{:<14} {:<8} {:>6}  {:>6}  {:>6}  {:>6}        {:>8} {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>7}   {}",
                row.kind.name(),
                row.driver.name(),
                row.faults.len(),
                found[0],
                found[1],
                found[2],
                back[0],
                back[1],
                back[2],
                pause[1],
                pause[2],
                row.sum(|fault| fault.damage[0]),
                row.sum(|fault| fault.damage[1]),
                how.join(", "),
            );
        }
        out.push('\n');
        out.push_str(&self.histogram());
        let [serial, keyboard, _] =
            self.outcomes.iter().fold([0_u64; 3], |sum, one| [0, 1, 2].map(|i| sum[i] + u64::from(one.lines[i])));
        let _ = writeln!(
            out,
            "\nAfter repair the far ends have {serial} lines of the serial line and {keyboard} typed lines, each once.",
        );
        out
    }

    /// After how many instructions drivers served again: bars by powers of two.
    fn histogram(&self) -> String {
        let backs: Vec<u64> = self.faults().map(|fault| instructions(fault.back_ns).max(1)).collect();
        let highest = backs.iter().max().map_or(0, |most| most.ilog2());
        let lowest = backs.iter().min().map_or(0, |least| least.ilog2()).max(highest.saturating_sub(BARS - 1));
        let mut counts = vec![0_usize; (highest - lowest + 1) as usize];
        for back in &backs {
            counts[(back.ilog2().max(lowest) - lowest) as usize] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let mut out = String::from("The driver serves again after so many instructions:\n");
        for (place, count) in counts.iter().enumerate() {
            let least = 1_u64 << (lowest + place as u32);
            let bar = "#".repeat((count * WIDTH).div_ceil(most));
            let _ = writeln!(out, "{:>12} to {:>11}  {count:>6} {bar}", least, 2 * least);
        }
        out
    }

    /// What failed, and how to do it again.
    pub fn failures(&self, task: Option<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_good()) {
            let task = task.map(|task| format!("{task} ")).unwrap_or_default();
            lines.push(format!(
                "FAILED: the batch of seed {}, whose logs are in {}",
                outcome.seed,
                Paths::shown(&outcome.logs)
            ));
            lines.extend(outcome.reasons.iter().take(12).map(|reason| format!("    {reason}")));
            lines
                .push(format!("    replay: cargo xtask chaos {task}--seed {} --count {}", outcome.seed, outcome.count));
        }
        lines
    }

    /// The last line.
    pub fn verdict(&self) -> String {
        let zeros: Vec<_> =
            Outcome::NAMES.iter().zip(self.zeros()).map(|(name, value)| format!("{value} {name}")).collect();
        format!("{} faults: {}", self.faults().count(), zeros.join(", "))
    }

    /// The figures and each fault, for programs. Times are in guest instructions.
    pub fn to_json(&self, seed: u64, count: u32, drivers: &[Driver]) -> Value {
        let spread = |[min, median, max]: [u64; 3]| json!({ "min": min, "median": median, "max": max });
        let row = |row: &Row| {
            json!({
                "fault": row.kind.name(),
                "driver": row.driver.name(),
                "count": row.faults.len(),
                "found": row.found(),
                "found_after": spread(row.found_after()),
                "back_after": spread(row.back_after()),
                "pause": spread(row.pause()),
                "raw_lost": row.sum(|fault| fault.damage[0]),
                "raw_extra": row.sum(|fault| fault.damage[1]),
                "refused": row.sum(|fault| fault.refused),
            })
        };
        let fault = |fault: &Fault| {
            json!({
                "fault": fault.kind.name(),
                "driver": fault.driver.name(),
                "found": fault.found,
                "found_after": instructions(fault.found_ns),
                "back_after": instructions(fault.back_ns),
                "pause": instructions(fault.pause_ns),
                "raw_lost": fault.damage[0],
                "raw_extra": fault.damage[1],
            })
        };
        let batch = |one: &Outcome| {
            json!({ "seed": one.seed, "count": one.count, "good": one.is_good(), "reasons": one.reasons,
                "faults": one.faults.iter().map(fault).collect::<Vec<_>>() })
        };
        let zeros = Outcome::NAMES.iter().zip(self.zeros());
        json!({
            "seed": seed,
            "count": count,
            "drivers": drivers.iter().map(|driver| driver.name()).collect::<Vec<_>>(),
            "unit": "instructions",
            "done": self.faults().count(),
            "good": self.is_good(),
            "zeros": zeros.map(|(name, value)| (name.replace(' ', "_"), json!(value))).collect::<serde_json::Map<_, _>>(),
            "table": self.rows().iter().map(row).collect::<Vec<_>>(),
            "batches": self.outcomes.iter().map(batch).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let fault = Fault {
            driver: Driver::Vga,
            kind: Kind::Hang,
            found: "heartbeat".to_owned(),
            found_ns: 32_000_000,
            back_ns: 64_000_000,
            pause_ns: 48_000_000,
            damage: [1, 2],
            refused: 0,
            windows: [0, 0],
        };
        let other = Fault { back_ns: 320_000, found: "watchdog".to_owned(), ..fault.clone() };
        Outcome { seed: 5, count: 2, faults: vec![fault, other], ..Outcome::default() }
    }

    #[test]
    fn the_table_has_a_row_for_each_fault_and_driver() {
        let outcomes = [outcome(), outcome()];
        let text = Summary::new(&outcomes).text();
        let row = text.lines().find(|line| line.starts_with("hang")).expect("a row");
        assert!(row.contains(" vga ") && row.contains("heartbeat 2, watchdog 2") && row.contains(" 4 "), "{row}");
        assert_eq!(text.lines().filter(|line| line.contains('#')).count(), 2, "two bars: {text}");
    }

    #[test]
    fn the_verdict_sums_and_names_what_fails() {
        let bad = Outcome { zeros: [0, 0, 1, 0, 0, 0, 0, 0], reasons: vec!["it is gone".to_owned()], ..outcome() };
        let outcomes = [outcome(), bad];
        let summary = Summary::new(&outcomes);
        assert!(!summary.is_good() && Summary::new(&outcomes[..1]).is_good());
        let verdict = summary.verdict();
        assert!(
            verdict.starts_with("4 faults: 0 kernel panics, 0 hangs, 1 unrecovered drivers, 0 bytes lost"),
            "{verdict}"
        );
        let failures = summary.failures(Some("vga")).join("\n");
        assert!(
            failures.contains("it is gone") && failures.contains("replay: cargo xtask chaos vga --seed 5 --count 2")
        );
    }

    #[test]
    fn the_json_has_all_that_the_table_has() {
        let outcomes = [outcome()];
        let json = Summary::new(&outcomes).to_json(5, 2, &Driver::ALL);
        assert_eq!(json["table"][0]["back_after"], json!({ "min": 20_000, "median": 4_000_000, "max": 4_000_000 }));
        assert_eq!((&json["zeros"]["bytes_lost"], &json["done"]), (&json!(0), &json!(2)));
        assert_eq!(json["batches"][0]["faults"][1]["back_after"], 20_000);
    }
}
