//! The figures as a picture: operations against what is needed, the scale curve, characters to the devices.

use super::figures::{Figure, NAMES};
use super::report::{Point, Report, SCALE};
use std::fmt::Write;

const WIDTH: u32 = 900;
/// Where the bars of all parts begin, and how long one may be.
const LEFT: f64 = 200.0;
const LENGTH: f64 = 400.0;
const ROW: f64 = 24.0;
const BAR: f64 = 11.0;
/// Where a bar against what is needed ends, in parts of it.
const MOST: f64 = 2.0;

const KEPT: &str = "#2a7f62";
const OVER: &str = "#d1722f";
const OTHER: &str = "#b9bec6";
const INK: &str = "#24292f";
const FAINT: &str = "#6a737d";
const LINES: [&str; 4] = ["#2a7f62", "#3b6fb6", "#8e5ea2", "#d1722f"];

/// An SVG picture of as many parts as there are figures for.
#[must_use]
pub fn svg(report: &Report) -> String {
    let mut picture = Picture { out: String::new(), y: 16.0 };
    if !report.figures.is_empty() {
        picture.operations(&report.figures.0);
    }
    if !report.scale.is_empty() {
        picture.curve(&report.scale.0);
    }
    if !report.flows.is_empty() {
        picture.flows(report);
    }
    let height = picture.y.ceil();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        picture.out
    )
}

/// What is drawn, and down to where.
struct Picture {
    out: String,
    y: f64,
}

impl Picture {
    fn text(&mut self, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, more: &str) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{more}/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn title(&mut self, text: &str, explained: &str) {
        self.y += 12.0;
        let _ = writeln!(
            self.out,
            "<text x=\"16\" y=\"{:.1}\" font-size=\"15\" font-weight=\"bold\" fill=\"{INK}\">{text}</text>",
            self.y
        );
        self.y += 18.0;
        self.text(16.0, self.y, "start", FAINT, explained);
        self.y += 14.0;
    }

    /// A row for each operation: one bar against what is needed, a thin one for seL4's, a mark where to go.
    fn operations(&mut self, figures: &[Figure]) {
        self.title(
            "Operations, in guest instructions (the kernel's text in bytes)",
            "Bars are parts of what is needed: the line. Grey: seL4. The triangle: where to go beyond that. A bar with a gap goes on.",
        );
        self.y += 12.0;
        for (x, head) in [
            (LEFT + LENGTH + 70.0, "Enigma"),
            (LEFT + LENGTH + 145.0, "seL4"),
            (LEFT + LENGTH + 220.0, "needed"),
            (LEFT + LENGTH + 285.0, "then"),
        ] {
            self.text(x, self.y, "end", FAINT, head);
        }
        self.y += 6.0;
        let top = self.y;
        for (anchor, figure) in
            NAMES.iter().filter_map(|anchor| Some((anchor, figures.iter().find(|f| f.name == anchor.name)?)))
        {
            // Where nothing is needed, seL4's is the measure.
            let whole = anchor.limit.or(anchor.sel4).unwrap_or(anchor.goal);
            let part = |value: u64| value as f64 / whole as f64;
            let length = |value: u64| part(value).min(MOST) / MOST * LENGTH;
            let base = self.y + 14.0;
            let colour = if figure.is_over() { OVER } else { KEPT };
            self.text(LEFT - 10.0, base, "end", INK, anchor.name);
            self.bar(LEFT, self.y + 3.0, length(figure.median), BAR, colour);
            if part(figure.median) > MOST {
                // It goes on beyond the picture.
                self.text(
                    LEFT + LENGTH - 4.0,
                    base - 1.0,
                    "end",
                    "#ffffff",
                    &format!("{:.1} times", part(figure.median)),
                );
            }
            if let Some(sel4) = anchor.sel4 {
                self.bar(LEFT, self.y + 3.0 + BAR, length(sel4), 4.0, OTHER);
                if part(sel4) > MOST {
                    self.out.push_str(&gap(LEFT + LENGTH, self.y + 3.0 + BAR, 4.0));
                }
            }
            let goal = LEFT + length(anchor.goal);
            let y = self.y + 3.0;
            let _ = writeln!(self.out, "<path d=\"M{goal:.1} {y:.1} l-4 -6 h8 z\" fill=\"{INK}\"/>");
            let sel4 = anchor.sel4.map_or("-".to_owned(), grouped);
            for (x, value) in [
                (70.0, grouped(figure.median)),
                (145.0, sel4),
                (220.0, anchor.limit.map_or("-".to_owned(), grouped)),
                (285.0, grouped(anchor.goal)),
            ] {
                self.text(LEFT + LENGTH + x, base, "end", if x < 100.0 { colour } else { INK }, &value);
            }
            self.y += ROW;
        }
        let needed = LEFT + LENGTH / MOST;
        self.line((LEFT, top), (LEFT, self.y), FAINT, "");
        self.line((needed, top - 4.0), (needed, self.y), INK, " stroke-dasharray=\"3 3\"");
        self.y += 22.0;
    }

    /// Round trips beside more and more of each kind.
    fn curve(&mut self, figures: &[Figure]) {
        const HEIGHT: f64 = 190.0;
        self.title("A round trip beside many", "Guest instructions, over how many there are (logarithmic).");
        let highest = figures.iter().map(|figure| figure.median).max().unwrap_or(1);
        let step = [50, 100, 200, 500, 1000, 2000, 5000].into_iter().find(|step| highest / step < 6).unwrap_or(10_000);
        let most = (highest / step + 1) * step;
        let (top, left) = (self.y + 6.0, 70.0);
        let at = |point: Point, value: u64| {
            let x = left + (point.count.max(1) as f64).log10() / 4.0 * (LEFT + LENGTH - left);
            (x, top + HEIGHT - value as f64 / most as f64 * HEIGHT)
        };
        for value in (0..=most).step_by(step as usize) {
            let (_, y) = at(Point { what: "", count: 1 }, value);
            self.line((left, y), (LEFT + LENGTH, y), "#e3e6ea", "");
            self.text(left - 8.0, y + 4.0, "end", FAINT, &grouped(value));
        }
        for count in [1, 10, 100, 1000, 10_000] {
            let (x, y) = at(Point { what: "", count }, 0);
            self.text(x, y + 16.0, "middle", FAINT, &grouped(count));
        }
        for (number, (series, colour)) in SCALE.iter().zip(LINES).enumerate() {
            let points: Vec<_> = figures
                .iter()
                .filter(|figure| figure.name.starts_with(series))
                .map(|figure| at(Point::of(&figure.name), figure.median))
                .collect();
            // Several are the same height: each line is a little beside the other.
            let shift = number as f64 * 2.0 - 3.0;
            let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{:.1}", y + shift)).collect();
            let _ = writeln!(
                self.out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (x, y) in points {
                let _ = writeln!(self.out, "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", y + shift);
            }
            let y = top + 20.0 + number as f64 * 20.0;
            self.bar(LEFT + LENGTH + 30.0, y - 8.0, 14.0, 4.0, colour);
            let what = match *series {
                "tasks_" => "tasks alive",
                "threads_" => "threads alive",
                "handles_" => "handles in the table",
                _ => "clients in the queue",
            };
            self.text(LEFT + LENGTH + 52.0, y, "start", INK, what);
        }
        self.y = top + HEIGHT + 40.0;
    }

    /// Instructions for each character, through a driver and without, on a logarithmic scale.
    fn flows(&mut self, report: &Report) {
        self.title(
            "Characters to screen and serial line",
            "Guest instructions for each character (logarithmic). Orange: through driver and IPC. Grey: by a task that has the device for itself.",
        );
        let kinds = [
            ("serial_X", "serial, 1,024 a write"),
            ("serial_X_each", "serial, one a write"),
            ("screen_X", "screen, a line a write"),
            ("screen_X_each", "screen, one a write"),
            ("screen_repaint_X", "screen, 80x25 repainted"),
        ];
        self.y += 4.0;
        for (pattern, label) in kinds {
            let of = |through: &str| report.flows.iter().find(|flow| flow.name == pattern.replace('X', through));
            let (Some(driver), Some(direct)) = (of("driver"), of("direct")) else { continue };
            self.text(LEFT - 10.0, self.y + 16.0, "end", INK, label);
            for (flow, colour, y) in [(driver, OVER, 3.0), (direct, OTHER, 13.0)] {
                let length = flow.each().max(1.0).log10() / 4.0 * LENGTH;
                self.bar(LEFT, self.y + y, length, 9.0, colour);
                self.text(LEFT + length + 6.0, self.y + y + 9.0, "start", INK, &format!("{:.1}", flow.each()));
            }
            self.y += 30.0;
        }
        self.y += 14.0;
    }
}

/// A gap near the end of a bar of this height that ends at `end`: it would go on beyond the picture.
pub fn gap(end: f64, y: f64, height: f64) -> String {
    let (x, y, down) = (end - 12.0, y - 1.0, height + 2.0);
    format!("<path d=\"M{x:.1} {y:.1} l-4 {down} h3 l4 -{down} z\" fill=\"#ffffff\"/>\n")
}

/// With commas between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Flow;

    #[test]
    fn each_part_is_drawn_where_there_are_figures() {
        let mut report = Report::default();
        report.figures.0 = vec![Figure::single("poll_empty_notification", 55), Figure::single("lease_4096b", 36_000)];
        let drawn = svg(&report);
        // Half of what is needed is a quarter of the width; seL4 is beyond the end; the other has no seL4 and goes beyond.
        assert_eq!(drawn.matches("h3 l4").count(), 1);
        for part in ["width=\"100.0\"", "width=\"400.0\"", "20.0 times", ">36,000<", KEPT, OVER] {
            assert!(drawn.contains(part), "{part}\n{drawn}");
        }
        assert!(!drawn.contains("polyline") && !drawn.contains("repainted"));
        report.scale.0 = vec![Figure::single("tasks_2", 300), Figure::single("tasks_62", 300)];
        let flow = |name: &str, instructions| Flow { name: name.to_owned(), characters: 10, instructions, elapsed: 1 };
        report.flows = vec![flow("serial_driver", 1000), flow("serial_direct", 10)];
        let drawn = svg(&report);
        assert!(
            drawn.contains("polyline") && drawn.contains("width=\"200.0\"") && drawn.contains(">100.0<"),
            "{drawn}"
        );
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
