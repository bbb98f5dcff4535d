//! The panic handler: location and message are formatted on the stack and stored in the task's
//! death record.

#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host has its own panic handler"))]

use crate::print::Cut;
use abi::error::MESSAGE_LEN;
use core::fmt::{self, Write};

/// The text of a panic. The location comes first, so that a long message does not cut it off.
fn report(file: &str, line: u32, message: fmt::Arguments<'_>) -> Cut<MESSAGE_LEN> {
    let mut text = Cut::new();
    // `Cut` never fails; if a `Display` does, the text so far is kept.
    let _ = write!(text, "{file}:{line}: {message}");
    text
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};
    static PANICKING: AtomicBool = AtomicBool::new(false);

    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    if PANICKING.swap(true, Ordering::Relaxed) {
        // This ends the recursion if a `Display` panics. A second thread that panics meanwhile also
        // gets here.
        crate::syscall::panic(report(file, line, format_args!("panicked during another panic")).as_str());
    }
    crate::syscall::panic(report(file, line, format_args!("{}", info.message())).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_place_and_is_cut_to_the_record() {
        let report = super::report("src/main.rs", 12, format_args!("index {} out of range", 7));
        assert_eq!(report.as_str(), "src/main.rs:12: index 7 out of range");
        let long = "ä".repeat(MESSAGE_LEN);
        let report = super::report("src/main.rs", 1, format_args!("{long}"));
        assert!(report.as_str().starts_with("src/main.rs:1: ää"));
        assert!((MESSAGE_LEN - 1..=MESSAGE_LEN).contains(&report.as_str().len()));
    }
}
