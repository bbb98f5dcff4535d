//! `cargo xtask bench heap`: what the heap designs cost over the allocations of the system's own tasks, and over synthetic ones.

use super::figures::check_ticks;
use super::plot::{gap, grouped};
use super::{Options, boot, record};
use anyhow::{Context, Result, bail};
use machine::build::{Config, build_system, with_loader, write_image};
use machine::loader::Firmware;
use machine::paths::{self, Paths};
use machine::toolchain::install::{Needs, ensure};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// The tasks whose allocations are recorded, and the ports on which they tell of them.
pub const TRACED: [(&str, u16); 2] = [("shell", 0xEA), ("console", 0xEB)];

/// The system that is booted.
const SYSTEM: &str = "userspace/lab/bench/heap.toml";

/// Where recorded traces are.
const TRACES: &str = "userspace/lab/bench/traces";

/// What a line of the measuring task begins with.
const TAG: &str = "[heap] ";

/// One design over one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The design.
    pub design: String,
    /// The trace.
    pub trace: String,
    /// How often, instructions in all, and the most: of allocations, of freeings, of resizings.
    pub costs: [[u64; 3]; 3],
    /// Bytes that lived at the most.
    pub live: u64,
    /// Bytes taken for that.
    pub taken: u64,
    /// Requests for which there was no room.
    pub refused: u64,
}

impl Run {
    /// `DESIGN TRACE`, then the numbers.
    fn parse(rest: &str) -> Option<Self> {
        let mut words = rest.split_whitespace();
        let (design, trace) = (words.next()?.to_owned(), words.next()?.to_owned());
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [a, b, c, d, e, f, g, h, i, live, taken, refused] = numbers[..] else { return None };
        Some(Self { design, trace, costs: [[a, b, c], [d, e, f], [g, h, i]], live, taken, refused })
    }

    /// Instructions a step, over all kinds.
    fn each(&self) -> f64 {
        let (count, total) = self.costs.iter().fold((0, 0), |sum, cost| (sum.0 + cost[0], sum.1 + cost[1]));
        total as f64 / count.max(1) as f64
    }

    /// Of the memory taken, the part that no block had when most were alive, in percent.
    fn unused(&self) -> u64 {
        100 - 100 * self.live.min(self.taken) / self.taken.max(1)
    }
}

/// Measures and prints; draws where that is asked for.
///
/// # Errors
/// When something does not build, or the measuring task did not come to its end.
pub fn bench(paths: &Paths, options: &Options) -> Result<ExitCode> {
    if options.compare.is_some() {
        bail!("--compare does not go with `heap`");
    }
    let ready = ensure(Needs { qemu: true, uefi: false, clippy: false, install: options.install })?;
    let config = Config { paths, toolchain: &ready.toolchain, with: &[] };
    if options.record {
        record::record(&config, &ready, &paths.root.join(TRACES))?;
    }
    let (builder, built) = with_loader(&config, Firmware::Pvh, || build_system(&config, SYSTEM, "bench-heap.tar"))?;
    let image = paths.images().join("bench-heap-bios.img");
    write_image(&builder, Firmware::Pvh, &built.boot_kernel, &built.ramdisk, &image)?;
    let logs = paths.target.join("bench").join("heap");
    let log = boot(&ready, &built, image, "128M", &logs)?;
    let runs = read(&log).with_context(|| format!("{SYSTEM}, whose log is in {}", Paths::shown(&logs)))?;
    print!("{}", table(&runs));
    if let Some(path) = &options.json {
        paths::write_whole(path, format!("{:#}\n", to_json(&runs)).as_bytes())?;
    }
    if let Some(path) = &options.svg {
        paths::write_whole(path, svg(&runs).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the measuring task logged.
fn read(log: &str) -> Result<Vec<Run>> {
    let (mut runs, mut exact, mut done) = (Vec::new(), false, false);
    for line in log.lines().filter_map(|line| line.trim_end().strip_prefix(TAG)) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("calibration", found) => {
                check_ticks(found)?;
                exact = true;
            }
            ("heap", rest) => runs.push(Run::parse(rest).with_context(|| format!("cannot be read: {line}"))?),
            ("failed", what) => bail!("a measurement failed: {what}"),
            ("done", _) => done = true,
            _ => {}
        }
    }
    if !exact || !done || runs.is_empty() {
        bail!("the measuring task did not come to its end");
    }
    Ok(runs)
}

/// The names of the traces, in their order.
fn traces(runs: &[Run]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.trace.as_str()) {
            names.push(&run.trace);
        }
    }
    names
}

/// For people and for Markdown.
fn table(runs: &[Run]) -> String {
    let mut out = String::from(
        "| trace | heap | alloc | most | free | most | resize | live KiB | taken KiB | unused | refused |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for run in runs {
        let mean = |[count, total, _]: [u64; 3]| match count {
            0 => "-".to_owned(),
            count => format!("{:.0}", total as f64 / count as f64),
        };
        let [alloc, free, resize] = run.costs;
        let kib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {}% | {} |",
            run.trace,
            run.design,
            mean(alloc),
            alloc[2],
            mean(free),
            free[2],
            mean(resize),
            kib(run.live),
            kib(run.taken),
            run.unused(),
            run.refused
        );
    }
    out
}

fn to_json(runs: &[Run]) -> Value {
    let one = |run: &Run| {
        let kind = |[count, total, most]: [u64; 3]| json!({ "count": count, "total": total, "most": most });
        json!({
            "trace": run.trace, "heap": run.design, "alloc": kind(run.costs[0]), "free": kind(run.costs[1]),
            "resize": kind(run.costs[2]), "live": run.live, "taken": run.taken, "refused": run.refused,
        })
    };
    json!({ "unit": "instructions", "results": runs.iter().map(one).collect::<Vec<_>>() })
}

const WIDTH: u64 = 860;
const LEFT: u64 = 90;
const BAR: u64 = 12;
/// Where the second column begins, and how long a bar may be.
const SECOND: u64 = 500;
const LENGTH: f64 = 230.0;
/// Beyond these a bar ends, and its number says how far it would go: instructions a step, and KiB taken for one that lives.
const MOST: [f64; 2] = [400.0, 4.0];
const COLOURS: [&str; 6] = ["#8c564b", "#2ca02c", "#1f77b4", "#ff7f0e", "#9467bd", "#c8c8c8"];

/// An SVG picture: for each trace a group of bars, instructions a step on the left, memory taken for each byte alive on the right.
fn svg(runs: &[Run]) -> String {
    let names = traces(runs);
    let height = 60 + runs.len() as u64 * (BAR + 2) + names.len() as u64 * 16;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"24\" font-size=\"14\">Guest instructions a step</text>\n\
         <text x=\"{SECOND}\" y=\"24\" font-size=\"14\">Bytes taken for each byte alive</text>\n\
         <text x=\"{}\" y=\"42\" fill=\"#666\">A bar with a gap goes on: its number says how far.</text>\n",
        LEFT + 70,
        LEFT + 70
    );
    let mut y = 56;
    for name in names {
        let _ = writeln!(out, "<text x=\"4\" y=\"{}\" font-weight=\"bold\">{name}</text>", y + 10);
        for (run, colour) in runs.iter().filter(|run| run.trace == name).zip(COLOURS.iter().cycle()) {
            let base = y + 10;
            let _ = writeln!(out, "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>", LEFT + 62, run.design);
            let mut bar = |x: u64, value: f64, most: f64, text: String| {
                let length = value.min(most) / most * LENGTH;
                let _ = writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                     <text x=\"{:.1}\" y=\"{base}\">{text}</text>",
                    x as f64 + length + 4.0,
                );
                if value > most {
                    out.push_str(&gap(x as f64 + LENGTH, y as f64, BAR as f64));
                }
            };
            bar(LEFT + 70, run.each(), MOST[0], grouped(run.each().round() as u64));
            let ratio = run.taken as f64 / run.live.max(1) as f64;
            let refused = if run.refused > 0 { ", then refused" } else { "" };
            bar(SECOND, ratio, MOST[1], format!("{ratio:.2}{refused}"));
            y += BAR + 2;
        }
        y += 16;
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Enigma\n[heap] calibration 2 1002 2003\n[heap] heap Talc shell 10 500 90 8 320 60 2 30 20 1000 4096 0\n\
        [heap] heap Bump shell 10 100 10 8 80 10 2 30 20 1000 40960 3\n[power] heap Bump shell\n[heap] done\n";

    #[test]
    fn a_log_is_read() {
        let runs = read(LOG).expect("it is whole");
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].costs[1], runs[0].live, runs[1].refused), ([8, 320, 60], 1000, 3));
        assert_eq!((runs[0].each(), runs[0].unused()), (42.5, 76));
        assert!(table(&runs).contains("| shell | Talc | 50 | 90 | 40 | 60 | 15 | 1.0 | 4.0 | 76% | 0 |"));
        assert_eq!(to_json(&runs)["results"][1]["refused"], 3);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (from, to) in [
            ("[heap] done", ""),
            ("2 1002", "2 1003"),
            ("[heap] calibration", "[power] calibration"),
            (" 1000 4096", " 4096"),
        ] {
            assert!(read(&LOG.replace(from, to)).is_err(), "{from}");
        }
        let failed = read(&LOG.replace("[heap] done", "[heap] failed no block\n[heap] done"));
        assert!(failed.expect_err("it failed").to_string().contains("no block"));
    }

    #[test]
    fn each_run_gets_two_bars() {
        let svg = svg(&read(LOG).expect("it is whole"));
        assert_eq!(svg.matches("<rect x=").count(), 4);
        // Both take more than four bytes for each that lives.
        assert_eq!(svg.matches("h3 l4").count(), 2);
        assert!(svg.contains("then refused") && svg.contains(">42<") || svg.contains(">43<"), "{svg}");
    }
}
