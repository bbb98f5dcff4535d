//! docs/performance.md, and the table of docs/async.md: made from the committed figures, so that the two never differ.

use super::figures::{Figure, NAMES};
use super::plot::grouped;
use super::report::{Flow, Point, Report};
use super::trace::{Phase, Summary};
use std::fmt::Write;

/// The page, its picture, and the listing that goes with it.
pub const PAGE: &str = "docs/performance.md";
/// The page about futures and threads.
pub const ASYNC: &str = "docs/async.md";
/// See [`PAGE`].
pub const PICTURE: &str = "docs/performance.svg";
/// See [`PAGE`].
pub const LISTING: &str = "docs/round-trip.txt";

/// What ends a table.
const END: &str = "<!-- end -->";

/// The page with its tables made anew: each is between `<!-- table: NAME -->` and `<!-- end -->`.
#[must_use]
pub fn filled(page: &str, report: &Report) -> String {
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let _ = writeln!(out, "{line}");
        let Some(name) = line.strip_prefix("<!-- table: ").and_then(|line| line.strip_suffix(" -->")) else { continue };
        // Made from figures of its own, by `cargo xtask bench latency --accept`.
        if name == super::latency::NAME {
            continue;
        }
        out.push_str(&table(name, report));
        if lines.any(|line| line == END) {
            let _ = writeln!(out, "{END}");
        }
    }
    out
}

fn table(name: &str, report: &Report) -> String {
    match name {
        "results" => results(report),
        "scale" => scale(report),
        "throughput" => throughput(report),
        "phases" => phases(report),
        "counts" => counts(report),
        "functions" => functions(report),
        "async" => futures(report),
        _ => format!("There is no table `{name}`.\n"),
    }
}

fn results(report: &Report) -> String {
    let mut out = String::from(
        "| operation | min | median | max | n | CR3 writes | seL4 | ratio | needed | | then | missing to that |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|\n",
    );
    for figure in &report.figures.0 {
        let Some(anchor) = NAMES.iter().find(|anchor| anchor.name == figure.name) else { continue };
        let Figure { name, min, median, max, n, .. } = figure;
        let ratio = anchor.sel4.map_or("-".to_owned(), |sel4| format!("{:.2}", *median as f64 / sel4 as f64));
        let _ = writeln!(
            out,
            "| `{name}` | {} | **{}** | {} | {n} | {} | {} | {ratio} | {} | {} | {} | {} |",
            grouped(*min),
            grouped(*median),
            grouped(*max),
            figure.shown_switches(),
            anchor.sel4.map_or("-".to_owned(), grouped),
            anchor.limit.map_or("-".to_owned(), grouped),
            match anchor.limit {
                None => "watched",
                Some(limit) if *median > limit => "**missed**",
                Some(_) => "met",
            },
            grouped(anchor.goal),
            if *median <= anchor.goal { "reached".to_owned() } else { grouped(median - anchor.goal) },
        );
    }
    out
}

fn scale(report: &Report) -> String {
    let mut out = String::from("| beside | how many | min | median | max | n |\n|---|---:|---:|---:|---:|---:|\n");
    for figure in &report.scale.0 {
        let Point { what, count } = Point::of(&figure.name);
        let Figure { min, median, max, n, .. } = figure;
        let _ = writeln!(out, "| {what} | {} | {min} | {median} | {max} | {n} |", grouped(count));
    }
    out
}

/// What the figures of docs/async.md stand for, in the order of its table.
const FUTURES: [(&str, &str); 12] = [
    ("async_blocking_call", "a call of four words, blocking, to a server of callbacks"),
    ("async_served_call", "the same to a server on the executor"),
    ("async_served_spawned", "the same, and it spawns a future for each request"),
    ("async_call_alone", "the first one as a future, where nothing else is waited for"),
    ("async_pool_call", "the same beside a future that waits for something else: a thread makes it"),
    ("async_pool_call_of_8", "eight under way at once, each"),
    ("async_lease_4096b_alone", "a future that lends 4,096 bytes, where nothing else is waited for"),
    ("async_pool_lease_4096b", "the same beside a future that waits for something else"),
    ("async_mutex_blocking", "`sync::Mutex`, nobody in the way: lock and unlock"),
    ("async_mutex", "`sync::AsyncMutex`, the same"),
    ("async_channel_ready", "channel, nobody waits: send and receive"),
    ("async_channel_threads", "channel between two threads: there and back, both wait each time"),
];

fn futures(report: &Report) -> String {
    let mut out = String::from("| operation | figure | min | median | max |\n|---|---|---:|---:|---:|\n");
    for (name, what) in FUTURES {
        let Some(Figure { min, median, max, .. }) = report.futures.get(name) else { continue };
        let [min, median, max] = [min, median, max].map(|number| grouped(*number));
        let _ = writeln!(out, "| {what} | `{name}` | {min} | **{median}** | {max} |");
    }
    out
}

/// What a line at 115,200 baud takes for a character of ten bits, in nanoseconds.
const LINE_NS: f64 = 1e10 / 115_200.0;

fn throughput(report: &Report) -> String {
    let mut out = String::from(
        "| characters | instructions each, through the driver | directly | times | characters a second, through the driver | directly |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    let find = |name: &str| report.flows.iter().find(|flow| flow.name == name);
    let pairs =
        report.flows.iter().filter_map(|flow: &Flow| Some((flow, find(&flow.name.replace("driver", "direct"))?)));
    for (driver, direct) in pairs.filter(|(driver, direct)| driver.name != direct.name) {
        let _ = writeln!(
            out,
            "| {}, {} | {:.1} | {:.1} | {:.1} | {} | {} |",
            driver.name.replace("_driver", "").replace('_', " "),
            grouped(driver.characters),
            driver.each(),
            direct.each(),
            driver.each() / direct.each(),
            grouped(driver.rate() as u64),
            grouped(direct.rate() as u64),
        );
    }
    if let (Some(driver), Some(each), Some(direct)) =
        (find("serial_driver"), find("serial_driver_each"), find("serial_direct"))
    {
        let _ = writeln!(
            out,
            "\nA line at 115,200 baud takes {} ns for a character. At an instruction a nanosecond the driver needs {:.0} of them (one a write: {:.0}), a \
             task with the port to itself {:.0}: so the isolation leaves all of the line's speed, and costs {:.2}% of the processor's time at full \
             speed (one a write: {:.1}%).",
            grouped(LINE_NS as u64),
            driver.each(),
            each.each(),
            direct.each(),
            100.0 * (driver.each() - direct.each()) / LINE_NS,
            100.0 * each.each() / LINE_NS,
        );
    }
    if let (Some(driver), Some(direct)) = (find("screen_repaint_driver"), find("screen_repaint_direct")) {
        let _ = writeln!(
            out,
            "\nThe whole screen, 80x25, repainted in one write: **{} instructions** through the driver, {} by a task that writes the cells itself.",
            grouped(driver.instructions),
            grouped(direct.instructions),
        );
    }
    out
}

fn phases(report: &Report) -> String {
    let mut out = String::from("| operation | instructions |");
    Phase::NAMES.iter().for_each(|(_, name)| _ = write!(out, " {name} |"));
    out.push_str("\n|---|---:|");
    Phase::NAMES.iter().for_each(|_| out.push_str("---:|"));
    out.push('\n');
    for trace in &report.traces {
        let _ = write!(out, "| `{}` | {} |", trace.name, trace.instructions);
        Phase::NAMES.iter().for_each(|(_, name)| _ = write!(out, " {} |", Summary::count(&trace.phases, name)));
        out.push('\n');
    }
    out
}

fn counts(report: &Report) -> String {
    const COLUMNS: [(&str, &str); 8] = [
        ("cr3_writes", "CR3 writes"),
        ("msr_writes", "MSR writes"),
        ("port_accesses", "port accesses"),
        ("tlb_page_flushes", "TLB flushes of a page"),
        ("fpu_saves", "FPU saves"),
        ("segment_loads", "segment loads"),
        ("code_lines", "cache lines of code"),
        ("data_lines", "of data"),
    ];
    let mut out = String::from("| operation |");
    COLUMNS.iter().for_each(|(_, head)| _ = write!(out, " {head} |"));
    out.push_str("\n|---|");
    COLUMNS.iter().for_each(|_| out.push_str("---:|"));
    out.push('\n');
    for trace in &report.traces {
        let _ = write!(out, "| `{}` |", trace.name);
        COLUMNS.iter().for_each(|(name, _)| _ = write!(out, " {} |", Summary::count(&trace.counts, name)));
        out.push('\n');
    }
    out
}

fn functions(report: &Report) -> String {
    let mut out = String::from("| operation | the kernel's instructions, by function |\n|---|---|\n");
    for trace in &report.traces {
        let all: Vec<_> = trace.functions.iter().map(|(name, count)| format!("{} {count}", short(name))).collect();
        let _ = writeln!(out, "| `{}` | {} |", trace.name, all.join(", "));
    }
    out
}

/// The last two parts of a function's path, without what it is generic over.
pub fn short(name: &str) -> String {
    let name = match name.strip_prefix('<') {
        // A method of a trait: `<Type as Trait>::name`.
        Some(rest) => rest.replacen(" as ", "::", 1).replacen('>', "", 1),
        None => name.split("::<").next().unwrap_or(name).to_owned(),
    };
    let words: Vec<_> = name.rsplit("::").take(2).collect();
    words.into_iter().rev().collect::<Vec<_>>().join("::")
}

#[cfg(test)]
mod tests {
    use super::super::plot;
    use super::*;
    use std::path::Path;

    fn read(name: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn committed() -> Report {
        Report::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(crate::bench::BASELINE))
            .expect("figures")
    }

    #[test]
    fn tables_are_made_anew() {
        let report =
            Report { scale: crate::bench::figures::Figures(vec![Figure::single("tasks_2", 300)]), ..Report::default() };
        let page = "A\n<!-- table: scale -->\nold\n<!-- end -->\nB\n";
        let new = filled(page, &report);
        assert!(
            new.starts_with("A\n<!-- table: scale -->\n| beside |")
                && new.ends_with("| tasks | 2 | 300 | 300 | 300 | 1 |\n<!-- end -->\nB\n")
        );
        assert_eq!(filled(&new, &report), new);
    }

    #[test]
    fn page_and_picture_show_the_committed_figures() {
        let report = committed();
        let hint = "`cargo xtask bench --accept` makes it anew";
        for page in [PAGE, ASYNC] {
            assert!(filled(&read(page), &report) == read(page), "{page} has other tables: {hint}");
        }
        let shown = FUTURES.map(|(name, _)| name);
        let measured: Vec<_> = report.futures.0.iter().map(|figure| figure.name.as_str()).collect();
        assert!(shown.iter().all(|name| measured.contains(name)) && measured.len() == shown.len(), "{measured:?}");
        assert!(plot::svg(&report) == read(PICTURE), "{PICTURE} shows other figures: {hint}");
    }

    #[test]
    fn the_listing_is_of_the_committed_round_trip() {
        let numbered = read(LISTING).lines().filter(|line| line.starts_with(' ')).count() as u64;
        let trace = committed().traces.into_iter().find(|trace| trace.name == crate::bench::LISTED).expect("a trace");
        assert_eq!(numbered, trace.instructions, "`cargo xtask bench --accept` makes {LISTING} anew");
    }
}
