//! Logs bytes of all kinds: lines without end, control characters of one byte and of two, marks that turn the direction of
//! writing, and what is no text.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec;
use rt::syscall::log_write;

rt::entry!(run);

fn run() {
    let line = vec![b'='; 1024];
    for _ in 0..32 {
        let _ = log_write(&line);
    }
    let mut number = 1_u32;
    for length in (0..1024).step_by(37) {
        let noise: vec::Vec<u8> = (0..length)
            .map(|_| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (number >> 24) as u8
            })
            .collect();
        let _ = log_write(&noise);
        let _ = log_write(b"\n");
    }
    // What comes last is to be heard.
    rt::time::sleep_ms(1000);
    for text in [
        "\n\u{9b}2J\u{9b}31mFORGED\u{85}[kernel] FORGED\u{90}q\u{9c}",
        "\u{202e}DEGROF\u{2066}\u{200f}\u{feff}\u{2028}[kernel] FORGED",
        "\x1b]52;c;Rk9SR0VE\x07\x1bc\x1b[?1049h\x1b[8;1;1t\x0e\x0f\x7f",
        "\u{0}\u{b}\u{c}end of mutter",
    ] {
        rt::println!("{text}");
    }
}
