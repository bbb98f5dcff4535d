//! The figures as a picture: for each operation that seL4 has too, a bar beside seL4's.

use super::figures::{Figures, NAMES};
use std::fmt::Write;

const WIDTH: u64 = 860;
const LEFT: u64 = 210;
const RIGHT: u64 = 60;
const ROW: u64 = 40;
const BAR: u64 = 14;

/// An SVG picture. Each row has a scale of its own, as the figures are of very different size: seL4's bar has the same length in all.
#[must_use]
pub fn svg(figures: &Figures) -> String {
    let rows: Vec<_> =
        NAMES.iter().filter_map(|anchor| Some((anchor.name, anchor.sel4?, figures.get(anchor.name)?.median))).collect();
    let height = 60 + ROW * rows.len() as u64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">Guest instructions: Enigma beside seL4 (less is better)</text>\n"
    );
    let longest = rows.iter().map(|(_, sel4, ours)| *ours as f64 / *sel4 as f64).fold(1.0, f64::max);
    let unit = (WIDTH - LEFT - RIGHT) as f64 / longest;
    for (index, (name, sel4, ours)) in rows.iter().enumerate() {
        let y = 44 + ROW * index as u64;
        let ratio = *ours as f64 / *sel4 as f64;
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", LEFT - 8, y + 18);
        for (offset, length, value, colour) in [(0, ratio * unit, ours, "#1f77b4"), (BAR + 1, unit, sel4, "#c8c8c8")] {
            let top = y + offset;
            let _ = writeln!(
                out,
                "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{value}</text>",
                LEFT as f64 + length + 4.0,
                top + 11,
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figure;

    #[test]
    fn each_figure_that_sel4_has_gets_two_bars() {
        let mut figures = Figures::default();
        figures.0.push(Figure::single("poll_empty_notification", 100));
        figures.0.push(Figure::single("lease_4096b", 1500));
        figures.0.push(Figure::single("ipc_cross_4w", 900));
        let svg = svg(&figures);
        assert_eq!(svg.matches("<rect x=").count(), 4);
        assert!(!svg.contains("lease_4096b"), "seL4 has no such figure");
        // The longest bar is twice as long as seL4's beside it.
        assert!(svg.contains("width=\"590.0\"") && svg.contains("width=\"295.0\""), "{svg}");
    }
}
