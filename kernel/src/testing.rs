//! What test kernels share: verdict lines on the debug port, and the exit code.

use crate::arch::debugcon;
use crate::panic::{Exit, exit};
use core::fmt::{self, Write};

struct Port;

impl Write for Port {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        debugcon::write(s.as_bytes());
        Ok(())
    }
}

/// Runs tests by name, prints a line for each, and ends the machine with success. A test fails by panicking: see [`failed`].
pub fn run(tests: &[(&str, &dyn Fn())]) -> ! {
    for (name, test) in tests {
        let _ = write!(Port, "test {name} ... ");
        test();
        let _ = writeln!(Port, "ok");
    }
    exit(Exit::Success)
}

/// The panic handler of a test kernel: the running test has failed.
pub fn failed(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Port, "FAILED: {}", info.message());
    if let Some(at) = info.location() {
        let _ = writeln!(Port, "  at {at}");
    }
    exit(Exit::Failure)
}

/// The verdict of a test whose success is that the machine came here.
pub fn succeeded(name: &str) -> ! {
    let _ = writeln!(Port, "test {name} ... ok");
    exit(Exit::Success)
}
