//! Prints what could look like another task's line, by its length, its characters, or how it is cut into writes.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::format;

rt::entry!(run);

const FORGED: &str = "[supervisor] FORGED vga (life 1) crashed";

fn run() {
    // At each column at which a screen or a terminal could go on in the next row.
    for columns in (60..=80).chain([132, 153]) {
        rt::println!("{}{FORGED}", "x".repeat(columns));
        rt::println!("{}{FORGED}", " ".repeat(columns));
    }
    // Characters that take no column, or two, and so fill a row with more or fewer than there are.
    for filler in ["\u{200b}", "\u{301}", "\u{ad}", "\u{2060}", "\u{4e00}", "\u{1f600}", "\u{ff0e}", "\u{115f}", "\t"] {
        rt::println!("{}{FORGED}", filler.repeat(40));
    }
    for command in [
        "\r",
        "\x0b",
        "\x0c",
        "\x08\x08\x08\x08\x08\x08\x08",
        "\x1b[1G",
        "\x1bE",
        "\u{85}",
        "\u{2028}",
        "\x1b[2J\x1b[H",
    ] {
        rt::println!("x{command}{FORGED}");
    }
    // Direction of writing: what is written last comes first.
    rt::println!("\u{202e}{FORGED}\u{202c} \u{2066}\u{5d0}{FORGED}");
    // In pieces, a line of more than the console takes at once among them.
    for part in ["x", "\r", "[super", "visor] FOR", "GED\n", "\n", "[liar] ", "y\n"] {
        rt::print!("{part}");
    }
    for _ in 0..40 {
        rt::print!("{}{FORGED}", "z".repeat(32));
    }
    rt::print!("\n");
    let long = format!("{}\n", FORGED.repeat(24));
    rt::print!("{long}");
    rt::println!("done");
}
