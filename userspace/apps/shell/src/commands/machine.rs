//! Commands for the machine as a whole, and `help`.

use super::{COMMANDS, find};
use crate::format::{bytes, duration, frames_kib, grouped, percent, plain};
use crate::parse;
use crate::shell::{Failure, Shell};
use abi::syscall::KERNEL_LOG;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::fmt::Write;
use rt::print::ROW;

pub fn help(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let mut text = String::new();
    if let [name] = arguments {
        let command = find(name).ok_or_else(|| Shell::unknown_command(name))?;
        let _ = write!(text, "{}: {}\n{}", command.usage(), command.summary, command.details);
    } else {
        let width = COMMANDS.iter().map(|command| command.usage().len()).max().unwrap_or(0);
        for command in COMMANDS {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<width$}  {}", command.usage(), command.summary);
        }
        text.push_str("Tab completes, `help COMMAND` tells more, `;` separates commands.\n");
    }
    shell.world.print(&text);
    Ok(())
}

pub fn mem(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    let info = shell.world.system_info()?;
    let used = info.frames_total.saturating_sub(info.frames_free);
    let kib = |frames| grouped(frames_kib(frames));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "memory      {:>11} KiB ({} frames of {})",
        kib(info.frames_total),
        grouped(info.frames_total),
        bytes(abi::PAGE_SIZE as u64)
    );
    let _ = writeln!(
        text,
        "  free      {:>11} KiB ({} %)",
        kib(info.frames_free),
        percent(info.frames_free, info.frames_total)
    );
    let _ =
        writeln!(text, "  used      {:>11} KiB, the kernel's {} KiB among them", kib(used), kib(info.frames_kernel));
    let _ = writeln!(
        text,
        "kernel heap {:>11} bytes of {} ({} %)",
        grouped(info.heap_used),
        grouped(info.heap_size),
        percent(info.heap_used, info.heap_size)
    );
    let _ = writeln!(
        text,
        "objects     {} tasks, {} threads, {} endpoints, {} notifications, {} memory objects, {} timers",
        info.tasks, info.threads, info.endpoints, info.notifications, info.memories, info.timers
    );
    shell.world.print(&text);
    Ok(())
}

pub fn uptime(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    let info = shell.world.system_info()?;
    let text = format!(
        "up {}, idle {} %, {} interrupts ({} spurious), {} context switches\n",
        duration(info.uptime_ns),
        percent(info.idle_ns, info.uptime_ns),
        grouped(info.interrupts),
        grouped(info.spurious),
        grouped(info.switches)
    );
    shell.world.print(&text);
    Ok(())
}

pub fn sleep(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let text = arguments.first().map_or("", String::as_str);
    let Some(ns) = parse::seconds(text) else {
        return Err(Failure::Say(format!(
            "`{text}` is no number of seconds: write digits, with a point before fractions, as in `sleep 0.5`"
        )));
    };
    if shell.world.sleep(ns)? { Err(Failure::Interrupted) } else { Ok(()) }
}

pub fn dmesg(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    let mut text = String::new();
    for line in read_log(shell, KERNEL_LOG)?.lines() {
        push_rows(&plain(line), &mut text);
    }
    if text.is_empty() {
        text.push_str("(the kernel has said nothing)\n");
    }
    shell.world.print(&text);
    Ok(())
}

/// Appends a line of the kernel's log in rows of at most [`ROW`] columns, of which all but the
/// first begin with two blanks, so that no terminal breaks it where the rest could be taken for
/// another line. Each character beyond ASCII counts as two columns.
fn push_rows(line: &str, out: &mut String) {
    let mut left = ROW;
    for c in line.chars() {
        let columns = if c.is_ascii() { 1 } else { 2 };
        if columns > left {
            out.push_str("\n  ");
            left = ROW - 2;
        }
        left -= columns;
        out.push(c);
    }
    out.push('\n');
}

pub fn reboot(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    Ok(shell.world.reboot()?)
}

pub fn shutdown(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    Ok(shell.world.shutdown()?)
}

/// Most bytes of a log that one command shows: more than any ring holds, so that a task that logs
/// without end does not keep the shell busy for ever.
const MOST_LOG: usize = 256 * 1024;

/// The contents of a log. A task can have written anything there: it must not be printed unchanged.
pub fn read_log(shell: &mut Shell<'_>, log: u64) -> Result<String, Failure> {
    let mut text = vec![];
    let mut buf = [0; 2048];
    let mut position = 0;
    while text.len() < MOST_LOG {
        let (len, first) = shell.world.log_read(log, position, &mut buf)?;
        if len == 0 {
            break;
        }
        text.extend_from_slice(buf.get(..len).unwrap_or_default());
        position = first + len as u64;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
