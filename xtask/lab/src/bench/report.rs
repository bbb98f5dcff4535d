//! All that was measured: read from logs, written as JSON, compared with an earlier time.

use super::figures::{Figure, Figures, TOLERANCE, check_ticks};
use super::trace::Summary;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;

/// What a line of a measuring task begins with: the tag that the kernel gives it.
const TAGS: [&str; 6] = ["[bench] ", "[boss] ", "[scale] ", "[flow] ", "[direct] ", "[futures] "];

/// The names of the points of the scale curve begin so; a number follows.
pub const SCALE: [&str; 4] = ["tasks_", "threads_", "handles_", "queued_"];

/// The names of what threads and futures cost begin so.
const FUTURES: &str = "async_";

/// Several threads of a task take part in these, and what they cost depends on which of them comes first: they jump between two values where
/// anything else changes, so their growth means nothing.
const JUMPING: [&str; 2] = ["async_pool_call_of_8", "async_channel_threads"];

/// A point of the scale curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point<'a> {
    /// Beside what.
    pub what: &'a str,
    /// Beside how many.
    pub count: u64,
}

impl Point<'_> {
    /// The point that a figure of the curve belongs to.
    #[must_use]
    pub fn of(name: &str) -> Point<'_> {
        let (what, count) = name.split_once('_').unwrap_or((name, "0"));
        Point { what, count: count.parse().unwrap_or(0) }
    }
}

/// What the names of whole repaints of the screen begin with.
const REPAINT: &str = "screen_repaint_";

/// Characters on the screen.
const CELLS: u64 = 80 * 25;

/// Characters that went to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which device, through whom.
    pub name: String,
    /// How many characters.
    pub characters: u64,
    /// Instructions that they took, of all tasks and the kernel.
    pub instructions: u64,
    /// Nanoseconds from the first character to the last, the time included in which nobody ran.
    pub elapsed: u64,
}

impl Flow {
    /// `flow NAME CHARACTERS INSTRUCTIONS ELAPSED`, without the first word.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Self { name, characters: number()?, instructions: number()?, elapsed: number()? })
    }

    /// Instructions for each character.
    #[must_use]
    pub fn each(&self) -> f64 {
        self.instructions as f64 / self.characters.max(1) as f64
    }

    /// Characters a second, on a machine that does an instruction a nanosecond.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.characters as f64 * 1e9 / self.elapsed.max(1) as f64
    }

    fn to_json(&self) -> Value {
        let Flow { name, characters, instructions, elapsed } = self;
        let (each, rate) = ((self.each() * 10.0).round() / 10.0, self.rate().round());
        json!({ "name": name, "characters": characters, "instructions": instructions, "elapsed_ns": elapsed,
            "instructions_per_character": each, "characters_per_second": rate })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |key: &str| value.get(key)?.as_u64();
        Some(Self {
            name: value.get("name")?.as_str()?.to_owned(),
            characters: number("characters")?,
            instructions: number("instructions")?,
            elapsed: number("elapsed_ns")?,
        })
    }
}

/// All that were measured, or as much as was wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The compiler that built what was measured.
    pub compiler: String,
    /// The operations.
    pub figures: Figures,
    /// The round trip beside more and more of everything.
    pub scale: Figures,
    /// Threads and futures.
    pub futures: Figures,
    /// Characters to the devices.
    pub flows: Vec<Flow>,
    /// Operations instruction by instruction.
    pub traces: Vec<Summary>,
    /// Every instruction of one of them; not kept in JSON.
    pub listing: String,
    /// What reading the counter twice takes, as the measuring task found it; not kept in JSON.
    pub pair: Option<u64>,
}

impl Report {
    /// Adds what the measuring task of one system logged.
    ///
    /// # Errors
    /// When a measurement failed, the log is not whole, or ticks are not instructions.
    pub fn read(&mut self, log: &str) -> Result<()> {
        let (mut calibrated, mut done) = (false, false);
        for line in log.lines() {
            let Some(line) = TAGS.iter().find_map(|tag| line.trim_end().strip_prefix(tag)) else { continue };
            let unreadable = || format!("cannot be read: {line}");
            match line.split_once(' ').unwrap_or((line, "")) {
                ("calibration", found) => {
                    check_ticks(found)?;
                    calibrated = true;
                }
                ("result", rest) => self.add(Figure::parse(rest).with_context(unreadable)?)?,
                ("flow", rest) => self.flows.push(Flow::parse(rest).with_context(unreadable)?),
                ("pair", found) => self.pair = self.pair.or(found.parse().ok()),
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

    fn add(&mut self, figure: Figure) -> Result<()> {
        if figure.anchor().is_some() {
            self.figures.0.push(figure);
        } else if SCALE.iter().any(|series| figure.name.starts_with(series)) {
            self.scale.0.push(figure);
        } else if figure.name.starts_with(FUTURES) {
            self.futures.0.push(figure);
        } else if figure.name.starts_with(REPAINT) {
            let Figure { name, median, .. } = figure;
            self.flows.push(Flow { name, characters: CELLS, instructions: median, elapsed: median });
        } else {
            bail!("nobody knows of a figure `{}`", figure.name);
        }
        Ok(())
    }

    /// Every number that must not grow, with its name.
    fn numbers(&self) -> impl Iterator<Item = (&str, u64)> {
        let figures = self.figures.0.iter().chain(&self.scale.0).chain(&self.futures.0);
        let figures = figures.map(|figure| (figure.name.as_str(), figure.median));
        figures.chain(self.flows.iter().map(|flow| (flow.name.as_str(), flow.instructions)))
    }

    /// Those that are larger than in `old` by more than the tolerance, in words. Another compiler makes other instructions: then there
    /// is nothing to compare.
    #[must_use]
    pub fn grown_since(&self, old: &Report) -> Vec<String> {
        if self.compiler != old.compiler {
            return Vec::new();
        }
        let grown = |(name, now): (&str, u64)| {
            let (_, before) = old.numbers().find(|(other, _)| *other == name)?;
            let most = before + before * TOLERANCE / 100;
            (now > most).then(|| format!("{name} from {before} to {now}, by more than {TOLERANCE}%"))
        };
        self.numbers().filter(|(name, _)| !JUMPING.contains(name)).filter_map(grown).collect()
    }

    /// Those that are more than is needed, though they were not in `old`, in words. This holds for every compiler.
    #[must_use]
    pub fn over_since(&self, old: &Report) -> Vec<String> {
        let kept = |figure: &&Figure| old.figures.get(&figure.name).is_some_and(|before| !before.is_over());
        let over = self.figures.0.iter().filter(|figure| figure.is_over()).filter(kept);
        over.filter_map(|figure| {
            Some(format!(
                "{} is {}, and {} is the most that is allowed",
                figure.name,
                figure.median,
                figure.anchor()?.limit?
            ))
        })
        .collect()
    }

    /// Those of `old` that were not measured, in words: a test that does not look would miss them.
    #[must_use]
    pub fn gone_since(&self, old: &Report) -> Vec<String> {
        let here = |name: &str| self.numbers().any(|(other, _)| other == name);
        old.numbers().filter(|(name, _)| !here(name)).map(|(name, _)| format!("{name} was not measured")).collect()
    }

    /// Those that are not just as in `other`, in words; the greatest sample included.
    #[must_use]
    pub fn differs_from(&self, other: &Report) -> Vec<String> {
        let differs = |figure: &Figure| {
            let before = other.figures.get(&figure.name)?;
            (figure != before).then(|| format!("{figure:?} was {before:?}"))
        };
        self.figures.0.iter().filter_map(differs).collect()
    }

    /// As `--json` writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "unit": "instructions", "compiler": self.compiler, "results": self.figures.to_json(),
            "cr3_writes": self.figures.switches_to_json() });
        if let Some(object) = value.as_object_mut() {
            if !self.scale.is_empty() {
                object.insert("scale".to_owned(), self.scale.to_json());
            }
            if !self.futures.is_empty() {
                object.insert("async".to_owned(), self.futures.to_json());
            }
            if !self.flows.is_empty() {
                object.insert("throughput".to_owned(), self.flows.iter().map(Flow::to_json).collect());
            }
            if !self.traces.is_empty() {
                object.insert("trace".to_owned(), self.traces.iter().map(Summary::to_json).collect());
            }
        }
        value
    }

    /// The inverse of [`Report::to_json`].
    fn from_json(value: &Value) -> Option<Self> {
        let part = |key: &str| value.get(key).cloned().unwrap_or(Value::Null);
        let figures = |key: &str| match value.get(key) {
            Some(list) => Figures::from_json(list, &part("cr3_writes")),
            None => Some(Figures::default()),
        };
        Some(Self {
            compiler: part("compiler").as_str().unwrap_or_default().to_owned(),
            figures: Figures::from_json(value.get("results")?, &part("cr3_writes"))?,
            scale: figures("scale")?,
            futures: figures("async")?,
            traces: part("trace").as_array().into_iter().flatten().map(Summary::from_json).collect::<Option<_>>()?,
            flows: part("throughput").as_array().into_iter().flatten().map(Flow::from_json).collect::<Option<_>>()?,
            ..Self::default()
        })
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
        Self::from_json(&value).with_context(|| {
            format!("{} holds no figures: `cargo xtask bench --json FILE` writes them", path.display())
        })
    }
}

#[cfg(test)]
mod tests;
