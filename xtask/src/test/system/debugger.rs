//! `cargo xtask debug` as a script uses it: gdb stops in the kernel and in one task, and knows the names of both.

use anyhow::{Context, Result, ensure};
use machine::harness::{Report, Wanted};
use machine::toolchain::install::ensure_gdb;
use std::process::{Command, Stdio};

/// The test's name.
pub const NAME: &str = "system::debugger::gdb_stops_in_the_kernel_and_in_one_task_alone";

/// Runs the test, if it is wanted.
///
/// # Errors
/// When the logs cannot be kept.
pub fn run(wanted: &Wanted, report: &Report) -> Result<()> {
    if !wanted.matches(NAME) {
        return Ok(());
    }
    report.perform(NAME, |logs| {
        ensure_gdb(wanted.install)?;
        let name = format!("x/s {:#x}", abi::task::INFO_ADDR + std::mem::offset_of!(abi::info::TaskInfo, name) as u64);
        // Every task runs this function; only the keyboard's life is to stop there, and in its own code.
        let place = "rt::entry::start";
        let task =
            said(&["debug", "keyboard", "--batch", &format!("{name}; task-break {place}; continue; bt; {name}")])?;
        std::fs::write(logs.join("task.txt"), &task).context("cannot keep the log")?;
        let stops = task.matches("\t\"keyboard\"").count();
        ensure!(stops == 2, "it stopped in the right task {stops} times instead of twice:\n{task}");
        ensure!(task.contains("in driver_keyboard::"), "the backtrace names no function of the task:\n{task}");
        let kernel = said(&["debug", "--batch", "break kernel::kernel::next; continue; bt"])?;
        std::fs::write(logs.join("kernel.txt"), &kernel).context("cannot keep the log")?;
        ensure!(kernel.contains("#0  kernel::kernel::next"), "gdb did not stop in the kernel:\n{kernel}");
        Ok(())
    })
}

/// What this program prints when it is run with these words.
fn said(words: &[&str]) -> Result<String> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let done = Command::new(this)
        .args(words)
        .args(["--display", "none", "--timeout", "120", "--no-install"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run this program")?;
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "`{}` failed:\n{out}\n{errors}", words.join(" "));
    Ok(out.into_owned())
}
