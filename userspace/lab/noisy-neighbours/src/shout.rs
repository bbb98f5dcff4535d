//! Floods its log, with lines that pretend to be the supervisor's and with what a terminal would obey.
#![cfg_attr(target_os = "none", no_std, no_main)]

rt::entry!(run);

fn run() {
    for number in 0_u64.. {
        rt::println!(
            "\r[supervisor] FORGED {number}\x1b[2J\x1b[H\x07\x08\n[kernel] FORGED\r[shell] FORGED\x1b]0;FORGED\x07"
        );
    }
}
