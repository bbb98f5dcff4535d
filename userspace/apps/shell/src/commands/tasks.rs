//! Commands about tasks.

use super::machine::read_log;
use crate::format::{Side, bytes, duration, frames_kib, list, percent, plain, table};
use crate::parse::nearest;
use crate::shell::{Failure, Shell, Snapshot};
use abi::error::{DeathKind, FaultRecord, exception_name};
use abi::info::ARG_LEN;
use abi::manifest::{GrantKind, Restart, TaskRecord};
use abi::task::{Activity, TaskState, TaskStatus};
use abi::{PAGE_SIZE, TaskId, name_str};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use rt::print::push_tagged;
use supervisor::Plan;

/// The kinds of faults that the task `fault` can cause.
pub const FAULTS: &[&str] = &fault::NAMES;

/// The task that causes faults.
const FAULT_TASK: &str = "fault";

/// Vector of a page fault (Intel SDM vol. 3A, table 6-1).
const PAGE_FAULT: u32 = 14;

pub fn ps(shell: &mut Shell<'_>, _: &[String]) -> Result<(), Failure> {
    let tasks = shell.world.tasks();
    let info = shell.world.system_info()?;
    let previous = shell.previous.take();
    let since = previous.as_ref().map_or(0, |previous| previous.uptime_ns);
    let interval = info.uptime_ns.saturating_sub(since);
    let mut rows = Vec::new();
    let mut cpu = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let status = shell.world.status(index)?;
        let before = previous.as_ref().and_then(|previous| previous.cpu_ns.get(index)).copied();
        cpu.push(status.cpu_ns);
        let generation = TaskId::from_u32(status.id).generation;
        rows.push(alloc::vec![
            name_str(&task.name).to_string(),
            state(shell, index, &status, &tasks),
            status.priority.to_string(),
            generation.saturating_sub(1).to_string(),
            percent(status.cpu_ns, info.uptime_ns),
            percent(status.cpu_ns.saturating_sub(before.unwrap_or(0)), interval),
            format!("{}/{}", frames_kib(status.frames.into()), frames_kib(status.frame_quota.into())),
            status.handles.to_string(),
            status.threads.to_string(),
        ]);
    }
    let columns = [
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("PRIO", Side::Right),
        ("RESTARTS", Side::Right),
        ("CPU%", Side::Right),
        ("NOW%", Side::Right),
        ("MEMORY", Side::Right),
        ("HNDL", Side::Right),
        ("THRD", Side::Right),
    ];
    let mut text = table(&columns, &rows);
    let idle_before = previous.as_ref().map_or(0, |previous| previous.idle_ns);
    let _ = writeln!(
        text,
        "idle {} % of {}, {} % of the last {}",
        percent(info.idle_ns, info.uptime_ns),
        duration(info.uptime_ns),
        percent(info.idle_ns.saturating_sub(idle_before), interval),
        duration(interval)
    );
    text.push_str(&shell.world.trouble());
    shell.previous = Some(Snapshot { uptime_ns: info.uptime_ns, idle_ns: info.idle_ns, cpu_ns: cpu });
    shell.world.print(&text);
    Ok(())
}

fn state(shell: &Shell<'_>, index: usize, status: &TaskStatus, tasks: &[TaskRecord]) -> String {
    let peer = || {
        let peer = usize::try_from(status.waits_for).ok().and_then(|peer| tasks.get(peer));
        peer.map_or("?", |peer| name_str(&peer.name))
    };
    let word = match TaskState::from_u32(status.state) {
        Some(TaskState::Running) => match Activity::from_u32(status.activity) {
            Activity::Running => "running",
            Activity::Ready => "ready",
            Activity::Waiting => "waiting",
            Activity::Sending | Activity::Replying => return format!("calling {}", peer()),
            Activity::None => "no thread",
        },
        Some(TaskState::Starting) => "starting",
        Some(TaskState::Dead | TaskState::Empty) => match shell.world.plan(index) {
            Some(Plan::Restart { in_ms: 0 }) => "restarting",
            Some(Plan::Restart { in_ms }) => return format!("restart in {in_ms} ms"),
            Some(Plan::GivenUp) => "given up",
            _ if TaskId::from_u32(status.id).generation == 0 => "off",
            _ => "dead",
        },
        None => "unknown",
    };
    String::from(word)
}

fn runs(status: &TaskStatus) -> bool {
    TaskState::from_u32(status.state) == Some(TaskState::Running)
}

/// An addition to an error message, for a command that needs the task in this row to run.
pub fn unless_running(shell: &Shell<'_>, index: usize, name: &str) -> Result<String, Failure> {
    Ok(match runs(&shell.world.status(index)?) {
        true => String::new(),
        false => format!("; {name} {}", condition(shell, index, name)?),
    })
}

/// State of the task in this row, and how to start it if it does not run; continues a sentence that
/// begins with its name.
fn condition(shell: &Shell<'_>, index: usize, name: &str) -> Result<String, Failure> {
    let status = shell.world.status(index)?;
    let life = TaskId::from_u32(status.id).generation;
    if runs(&status) {
        return Ok(format!("runs (life {life})"));
    }
    if TaskState::from_u32(status.state) == Some(TaskState::Starting) {
        return Ok(format!("is being started (life {life})"));
    }
    Ok(match shell.world.plan(index) {
        Some(Plan::Restart { in_ms: 0 }) => String::from("is dead and restarts now"),
        Some(Plan::Restart { in_ms }) => {
            format!("is dead and restarts in {in_ms} ms: `spawn {name}` starts it at once")
        }
        Some(Plan::GivenUp) => format!("is given up, it failed too often: `spawn {name}` starts it"),
        _ if life == 0 => format!("has not been started: `spawn {name}` starts it"),
        _ => format!("has ended and is not restarted: `spawn {name}` starts it"),
    })
}

pub fn caps(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let index = shell.find_task(arguments.first().map_or("", String::as_str))?;
    let tasks = shell.world.tasks();
    if let Some(task) = tasks.get(index) {
        let mut text = authority(index, task, &tasks, &shell.world.status(index)?);
        let name = name_str(&task.name);
        let _ = writeln!(text, "  {:<10} it {}", "now", condition(shell, index, name)?);
        shell.world.print(&text);
    }
    Ok(())
}

/// Everything in the manifest about a task, with the limits that apply on this machine.
fn authority(index: usize, task: &TaskRecord, tasks: &[TaskRecord], status: &TaskStatus) -> String {
    let mut text = format!("{}\n", name_str(&task.name));
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "  {what:<10} {value}");
    };
    line("priority", format!("{} (0 is the most important, 31 the least)", task.priority));

    for kind in GrantKind::HARDWARE {
        line(kind.key(), joined(task.of(kind).map(|grant| format!("{grant}"))));
    }

    let name_of = |index: usize| tasks.get(index).map_or("?", |task| name_str(&task.name));
    let called = task.of(GrantKind::Peer).map(|peer| {
        let (own, name) = (name_str(&peer.name), name_of(peer.base as usize));
        if own.is_empty() || own == name { String::from(name) } else { format!("{name} (as {own})") }
    });
    line("calls", joined(called));
    let callers = tasks.iter().enumerate().filter(|(_, other)| calls(other).any(|peer| peer == index));
    line("called by", list(callers.map(|(caller, _)| name_of(caller))));

    let kernel = [
        (TaskRecord::CONTROL, "control"),
        (TaskRecord::INSPECT, "inspect"),
        (TaskRecord::LOGS, "logs"),
        (TaskRecord::ARCHIVE, "archive"),
    ];
    let granted = kernel.iter().filter(|(flag, _)| task.flags & flag != 0).map(|(_, name)| *name);
    line("kernel", list(granted));

    let size = |frames: u32| bytes(u64::from(frames) * PAGE_SIZE as u64);
    let most = |got: u32, asked: u32, shown: &dyn Fn(u32) -> String| match got < asked {
        true => format!("at most {} ({} is more than this machine can give)", shown(got), shown(asked)),
        false => format!("at most {}", shown(asked)),
    };
    let count = |count: u32| format!("{count}");
    line("memory", most(status.frame_quota, task.frame_quota, &size));
    line("stack", size(task.stack_frames));
    line("keep", if task.keep_frames == 0 { String::from("none") } else { size(task.keep_frames) });
    line("handles", most(status.handle_quota, task.handle_quota.into(), &count));
    line("objects", most(status.object_quota, task.object_quota.into(), &count));
    line("float", String::from(if task.flags & TaskRecord::FLOAT != 0 { "yes" } else { "no" }));
    let restart = match Restart::from_u8(task.restart) {
        Restart::Never => "never",
        Restart::OnFailure => "on failure",
        Restart::Always => "always",
        Restart::Forever => "always, at once and without end",
    };
    line("restart", String::from(restart));
    let heartbeat = match task.heartbeat_ms {
        0 => String::from("none"),
        ms => format!("every {ms} ms"),
    };
    line("heartbeat", heartbeat);
    let start = if task.flags & TaskRecord::START != 0 { "at boot" } else { "on request" };
    line("start", String::from(start));
    text
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    list(parts.iter().map(String::as_str))
}

fn calls(task: &TaskRecord) -> impl Iterator<Item = usize> + '_ {
    task.peers().map(usize::from)
}

pub fn log(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let tasks = shell.world.tasks();
    let rows = match arguments.first() {
        Some(name) => {
            let index = shell.find_task(name)?;
            index..index + 1
        }
        None => 0..tasks.len(),
    };
    let mut silent = true;
    for (index, task) in tasks.iter().enumerate().take(rows.end).skip(rows.start) {
        let mut tagged = String::new();
        for line in read_log(shell, index as u64)?.split_terminator('\n') {
            push_tagged(name_str(&task.name), line, false, &mut tagged);
        }
        silent &= tagged.is_empty();
        shell.world.print(&tagged);
    }
    if silent {
        let text = match arguments.first() {
            Some(name) => format!("(nothing is printed yet; {name} {})\n", condition(shell, rows.start, name)?),
            None => String::from("(no task has printed anything)\n"),
        };
        shell.world.print(&text);
    }
    Ok(())
}

pub fn kill(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let name = arguments.first().map_or("", String::as_str);
    let index = shell.find_task(name)?;
    let status = shell.world.status(index)?;
    if !runs(&status) {
        return Err(Failure::Say(format!("{name} {}", condition(shell, index, name)?)));
    }
    let id = TaskId::from_u32(status.id);
    if let Err(why) = shell.world.kill(id) {
        // The task may have died by itself meanwhile.
        let now = shell.world.status(index)?;
        let why = match now.id != status.id || now.state != status.state {
            true => format!("life {} has ended by itself; {name} {}", id.generation, condition(shell, index, name)?),
            false => format!("cannot kill {name}: {why}"),
        };
        return Err(Failure::Say(why));
    }
    shell.world.print(&format!("killed {name} (life {})\n", id.generation));
    Ok(())
}

pub fn spawn(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let [name, rest @ ..] = arguments else {
        return Ok(());
    };
    shell.find_task(name)?;
    let argument = rest.join(" ");
    if argument.len() > ARG_LEN {
        return Err(Failure::Say(format!(
            "the argument has {} bytes, {ARG_LEN} are the most: shorten it",
            argument.len()
        )));
    }
    let id = shell.world.spawn(name, &argument).map_err(|why| format!("cannot start {name}: {why}"))?;
    shell.world.print(&format!("started {name} (life {})\n", id.generation));
    Ok(())
}

pub fn fault(shell: &mut Shell<'_>, arguments: &[String]) -> Result<(), Failure> {
    let Some(kind) = arguments.first() else {
        shell.world.print(&format!("{}\n", FAULTS.join(" ")));
        return Ok(());
    };
    if !FAULTS.contains(&kind.as_str()) {
        return Err(Failure::Say(match nearest(kind, FAULTS.iter().copied()) {
            Some(near) => format!("there is no fault `{kind}`: did you mean `{near}`?"),
            None => format!("there is no fault `{kind}`: the kinds are {}", FAULTS.join(" ")),
        }));
    }
    let index = shell.find_task(FAULT_TASK)?;
    let id = shell.world.spawn(FAULT_TASK, kind).map_err(|why| format!("cannot start {FAULT_TASK}: {why}"))?;
    let end = shell.world.wait(id)?;
    let record = shell.world.fault(index).filter(|record| record.task == id.to_u32());
    let function = record.and_then(|record| shell.world.function(FAULT_TASK, record.rip));
    let end = how_it_ended(end, record.as_ref(), function.as_deref());
    shell.world.print(&format!("{FAULT_TASK} (life {}) {end}\n", id.generation));
    Ok(())
}

/// How a life ended, in words.
fn how_it_ended(kind: DeathKind, record: Option<&FaultRecord>, function: Option<&str>) -> String {
    let place = |record: &FaultRecord| match function {
        Some(function) => format!("at 0x{:x} in {function}", record.rip),
        None => format!("at 0x{:x}", record.rip),
    };
    match (kind, record) {
        (DeathKind::Alive, _) => String::from("has ended"),
        (DeathKind::Exited, Some(record)) => {
            format!("exited with code {}", record.error_code as i32)
        }
        (DeathKind::Exited, None) => String::from("exited"),
        (DeathKind::Killed, _) => String::from("was killed"),
        (DeathKind::Hung, _) => String::from("hung and was killed for it"),
        (DeathKind::Panicked, Some(record)) => format!("panicked: {}", plain(record.message())),
        (DeathKind::Panicked, None) => String::from("panicked"),
        (DeathKind::Exception, None) => String::from("died of an exception"),
        (DeathKind::Exception, Some(record)) if record.vector == PAGE_FAULT => {
            // The error code of a page fault (Intel SDM vol. 3A, section 4.7): bit 1 write, bit 4
            // instruction fetch.
            let access = match record.error_code {
                code if code & 1 << 4 != 0 => "executing",
                code if code & 1 << 1 != 0 => "writing",
                _ => "reading",
            };
            let name = exception_name(record.vector);
            format!("died of a {name}, {access} 0x{:x}, {}", record.address, place(record))
        }
        (DeathKind::Exception, Some(record)) => {
            format!("died of an exception: {}, {}", exception_name(record.vector), place(record))
        }
    }
}
