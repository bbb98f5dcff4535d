//! Writes to its log without end, as little as it can at a time: for the test of what that costs those who read logs.
#![cfg_attr(target_os = "none", no_std, no_main)]

rt::entry!(run);

fn run() {
    let text: &[u8] = match rt::arg() {
        "nothing" => b"",
        "byte" => b"x",
        "line" => b"\n",
        _ => rt::exit(2),
    };
    loop {
        let _ = rt::syscall::log_write(text);
    }
}
