//! What `liar` prints: what could look like another task's line, by its length, its characters, or how it is cut into writes. The test knows by this
//! file what is to be seen of it.

/// What is in each line that lies.
pub const FORGED: &str = "[supervisor] FORGED vga (life 1) crashed";

/// Has each piece printed that is to be printed at once; together they are whole lines.
pub fn all(mut print: impl FnMut(&str)) {
    let mut lie = |before: &str, after: &str| {
        print(&[before, FORGED, after, "\n"].concat());
    };
    // At each column at which a screen or a terminal could go on in the next row.
    for columns in (60..=80).chain([132, 153]) {
        lie(&"x".repeat(columns), "");
        lie(&" ".repeat(columns), "");
    }
    // Characters that take no column, or two, and so fill a row with more or fewer than there are.
    for filler in ["\u{200b}", "\u{301}", "\u{ad}", "\u{2060}", "\u{4e00}", "\u{1f600}", "\u{ff0e}", "\u{115f}", "\t"] {
        lie(&filler.repeat(40), "");
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
        lie(&["x", command].concat(), "");
    }
    // Direction of writing: what is written last comes first.
    lie("\u{202e}", "\u{202c} \u{2066}\u{5d0}");
    lie("\u{2066}\u{5d0}", "");
    // In pieces, a line of more than the console takes at once among them.
    for part in ["x", "\r", "[super", "visor] FOR", "GED\n", "\n", "[liar] ", "y\n"] {
        print(part);
    }
    for _ in 0..40 {
        print(&["z".repeat(32).as_str(), FORGED].concat());
    }
    print("\n");
    print(&[FORGED.repeat(24).as_str(), "\n"].concat());
    print("done\n");
}
