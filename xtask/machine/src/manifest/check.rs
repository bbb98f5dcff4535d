//! What the tasks are to each other: names, who calls whom, rights over the kernel, quotas.

use super::read::Consent;
use super::source::{Place, Problem, nearest};
use super::{At, Call, KernelRight, Task, hardware};
use abi::manifest::rules::{self, MAX_ALL_OBJECTS, MAX_HANDLES};
use abi::manifest::{Grant, GrantKind, Restart};
use abi::task::MAX_TASKS;

/// The programs that are kernels.
const KERNELS: [&str; 4] = ["kernel", "kernel-verify", "kernel-latency", "kernel-plain"];

/// Checks all tasks together. On the way, outside tasks are entered into the `calls` of their clients.
pub fn check(tasks: &mut [Task], consent: &Consent, problems: &mut Vec<Problem>) {
    names(tasks, problems);
    programs(tasks, problems);
    rights(tasks, &consent.kernel, problems);
    outside(tasks, &consent.calls, problems);
    outside_hardware(tasks, &consent.hardware, problems);
    clients(tasks, problems);
    peers(tasks, problems);
    debuggers(tasks, problems);
    let circles = circles(tasks, problems);
    order(tasks, &circles, problems);
    quotas(tasks, problems);
    hardware::check(tasks, problems);
}

fn say(problems: &mut Vec<Problem>, place: &Place, text: String) {
    problems.push(Problem { place: place.clone(), text });
}

fn names(tasks: &[Task], problems: &mut Vec<Problem>) {
    for (row, task) in tasks.iter().enumerate() {
        let name = &task.name;
        if let Some(first) = tasks.iter().take(row).find(|other| other.name.value == name.value) {
            let text = format!("the name `{}` is taken by {}; choose another", name.value, first.name.place);
            say(problems, &name.place, text);
        }
        if row == MAX_TASKS {
            let text = format!("there are {} tasks; a system has at most {MAX_TASKS}: take some out", tasks.len());
            say(problems, &name.place, text);
        }
    }
}

/// All programs are built into one directory, whatever crate they are of: of two with one name, both tasks would run the one that came last.
fn programs(tasks: &[Task], problems: &mut Vec<Problem>) {
    for (row, task) in tasks.iter().enumerate() {
        let other_crate = |other: &&Task| other.outside != task.outside || other.package.value != task.package.value;
        let mut earlier = tasks.iter().take(row).filter(|other| other.bin == task.bin);
        let owner = if KERNELS.contains(&task.bin.as_str()) {
            "the kernel's".to_owned()
        } else if let Some(other) = earlier.find(other_crate) {
            format!("that of {}", other.package.place)
        } else {
            continue;
        };
        let text = format!(
            "the program `{}` would take the place of {owner}, which has the same name; give it another in its Cargo.toml",
            task.bin
        );
        say(problems, &task.package.place, text);
    }
}

fn rights(tasks: &[Task], allowed: &[At<String>], problems: &mut Vec<Problem>) {
    let inside = || tasks.iter().filter(|task| task.outside.is_none());
    let mut masters = inside().filter(|task| task.has(KernelRight::Control));
    let master = masters.next();
    match (master, inside().next()) {
        (None, Some(first)) => {
            let text = "no task has kernel = [\"control\"]; the task that starts and restarts the others needs it";
            say(problems, &first.name.place, text.to_owned());
        }
        (Some(master), _) => {
            if !master.start.value {
                let text = format!("`{}` has control and must be started at boot; take `start` out", master.name.value);
                say(problems, &master.start.place, text);
            }
            if master.heartbeat_ms.value != 0 {
                let text = format!("`{}` has control, and nobody watches it; take `heartbeat` out", master.name.value);
                say(problems, &master.heartbeat_ms.place, text);
            }
            for other in masters {
                let text = format!(
                    "`{}` and `{}` both have control; exactly one task may start and kill the others",
                    master.name.value, other.name.value
                );
                say(problems, &other.name.place, text);
            }
        }
        (None, None) => {}
    }
    for task in tasks.iter().filter(|task| task.outside.is_some()) {
        for right in &task.kernel {
            let text = if right.value == KernelRight::Control {
                "a task from outside cannot have control; only system.toml gives it".to_owned()
            } else if !allowed.iter().any(|name| name.value == task.name.value) {
                format!(
                    "a task from outside gets the kernel right `{}` only if system.toml agrees: there, under [with], write allow = [\"{}\"]",
                    right.value.name(),
                    task.name.value
                )
            } else {
                continue;
            };
            say(problems, &right.place, text);
        }
        if let Some(master) = master.filter(|master| task.priority.value <= master.priority.value) {
            let text = format!(
                "a task from outside must be less important than `{}`, which could not end it otherwise; use a priority above {}",
                master.name.value, master.priority.value
            );
            say(problems, &task.priority.place, text);
        }
    }
}

/// What a task from outside may not have even where it asks for it: whom it calls could be asked to end others or to switch off, and who
/// restarts for ever keeps the one busy that restarts it.
fn outside(tasks: &[Task], callable: &[At<String>], problems: &mut Vec<Problem>) {
    for name in callable {
        if !tasks.iter().any(|task| task.outside.is_none() && task.name.value == name.value) {
            let text = format!("there is no task `{}` to be called{}", name.value, guess(tasks, &name.value));
            say(problems, &name.place, text);
        }
    }
    for task in tasks.iter().filter(|task| task.outside.is_some()) {
        for call in &task.calls {
            let ours = tasks.iter().any(|other| other.outside.is_none() && other.name.value == call.task.value);
            if ours && !callable.iter().any(|name| name.value == call.task.value) {
                let text = format!(
                    "a task from outside calls `{0}` only if system.toml agrees: there, under [with], write calls = [\"{0}\"]",
                    call.task.value
                );
                say(problems, &call.task.place, text);
            }
        }
        if task.restart == Restart::Forever {
            let text =
                "a task from outside is not restarted for ever, however often it dies; use \"always\"".to_owned();
            say(problems, &task.name.place, text);
        }
    }
}

/// A task from outside has no hardware unless somebody agreed, who can see here what it asks for.
fn outside_hardware(tasks: &[Task], allowed: &[String], problems: &mut Vec<Problem>) {
    for task in tasks.iter().filter(|task| !allowed.contains(&task.name.value)) {
        let Some(dir) = &task.outside else { continue };
        let asks = task.hardware();
        if !asks.is_empty() {
            let text = format!(
                "`{0}` comes from outside and asks for hardware: {1}; if you agree, write --with {2},hardware, or in system.toml, under [with], hardware = [\"{0}\"]",
                task.name.value,
                asks.join(", "),
                crate::paths::Paths::shown(dir)
            );
            say(problems, &task.name.place, text);
        }
    }
}

/// A task from outside names the tasks that may call it, because it cannot write into their tables.
fn clients(tasks: &mut [Task], problems: &mut Vec<Problem>) {
    for server in 0..tasks.len() {
        let name = tasks[server].name.value.clone();
        for client in tasks[server].clients.clone() {
            let Some(row) = tasks.iter().position(|task| task.name.value == client.value) else {
                let text = format!("there is no task `{}` to be a client{}", client.value, guess(tasks, &client.value));
                say(problems, &client.place, text);
                continue;
            };
            if tasks[row].calls.iter().any(|call| call.task.value == name) {
                continue;
            }
            let task = At { value: name.clone(), place: client.place.clone() };
            tasks[row].calls.push(Call::by_its_name(task));
            if tasks[row].calls.len() > GrantKind::Peer.most() {
                let text = format!(
                    "`{}` calls {} tasks already, and that is the most; take it out here",
                    client.value,
                    GrantKind::Peer.most()
                );
                say(problems, &client.place, text);
            }
        }
    }
}

fn guess(tasks: &[Task], name: &str) -> String {
    match nearest(name, tasks.iter().map(|task| task.name.value.as_str())) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; take it out, or add a [task] table for it".to_owned(),
    }
}

fn peers(tasks: &[Task], problems: &mut Vec<Problem>) {
    for task in tasks {
        for call in &task.calls {
            if call.task.value == task.name.value {
                let text = format!(
                    "`{}` calls itself, and would wait for its own answer for ever; take it out",
                    call.task.value
                );
                say(problems, &call.task.place, text);
            } else if !tasks.iter().any(|other| other.name.value == call.task.value) {
                let text = format!("there is no task `{}` to call{}", call.task.value, guess(tasks, &call.task.value));
                say(problems, &call.task.place, text);
            }
        }
    }
}

/// Who may debug a task can do all that the task can: so only system.toml gives that, and never over the task that ends others.
fn debuggers(tasks: &[Task], problems: &mut Vec<Problem>) {
    for task in tasks {
        for debug in &task.debug {
            let other = tasks.iter().find(|other| other.name.value == debug.value);
            let text = if task.outside.is_some() {
                "a task from outside cannot have `debug`; only system.toml gives it".to_owned()
            } else if debug.value == task.name.value {
                format!("`{}` debugs itself, which the kernel does not do; take it out", debug.value)
            } else {
                match other {
                    Some(other) if other.has(KernelRight::Control) => {
                        format!("`{}` has control over all tasks, and nobody debugs it; take it out", debug.value)
                    }
                    Some(_) => continue,
                    None => format!("there is no task `{}` to debug{}", debug.value, guess(tasks, &debug.value)),
                }
            };
            say(problems, &debug.place, text);
        }
    }
}

/// Reports every circle of calls once, and returns them as lists of rows.
fn circles(tasks: &[Task], problems: &mut Vec<Problem>) -> Vec<Vec<usize>> {
    fn visit(
        tasks: &[Task],
        row: usize,
        path: &mut Vec<usize>,
        done: &mut [bool],
        circles: &mut Vec<Vec<usize>>,
        problems: &mut Vec<Problem>,
    ) {
        path.push(row);
        for call in &tasks[row].calls {
            let Some(next) = tasks.iter().position(|task| task.name.value == call.task.value) else { continue };
            if next == row || done[next] {
                continue;
            }
            if let Some(start) = path.iter().position(|&on_path| on_path == next) {
                let circle: Vec<usize> = path[start..].to_vec();
                let names: Vec<_> = circle.iter().chain([&next]).map(|&row| tasks[row].name.value.as_str()).collect();
                let text = format!(
                    "calls go in a circle: {}; each would wait for the next, so let one be told by a notification instead of calling",
                    names.join(" -> ")
                );
                say(problems, &call.task.place, text);
                circles.push(circle);
            } else {
                visit(tasks, next, path, done, circles, problems);
            }
        }
        path.pop();
        done[row] = true;
    }
    let (mut circles, mut done) = (Vec::new(), vec![false; tasks.len()]);
    for row in 0..tasks.len() {
        if !done[row] {
            visit(tasks, row, &mut Vec::new(), &mut done, &mut circles, problems);
        }
    }
    circles
}

/// A task calls only more important ones. Calls within a circle have been reported as such.
fn order(tasks: &[Task], circles: &[Vec<usize>], problems: &mut Vec<Problem>) {
    for (row, task) in tasks.iter().enumerate() {
        for call in &task.calls {
            let Some(callee) = tasks.iter().position(|other| other.name.value == call.task.value) else { continue };
            if callee == row || circles.iter().any(|circle| circle.contains(&row) && circle.contains(&callee)) {
                continue;
            }
            let (own, other) = (task.priority.value, tasks[callee].priority.value);
            if other >= own {
                let text = format!(
                    "`{}` (priority {own}) may not call `{}` (priority {other}): a server must be more important, with a smaller number, than those it serves",
                    task.name.value, call.task.value
                );
                say(problems, &call.task.place, text);
            }
        }
    }
}

fn quotas(tasks: &[Task], problems: &mut Vec<Problem>) {
    let (mut handles, mut objects) = (0, 0);
    for task in tasks {
        let before = objects;
        objects += u32::from(task.objects);
        if before <= MAX_ALL_OBJECTS && objects > MAX_ALL_OBJECTS {
            let text = format!(
                "with `{}`, all tasks together may have {objects} kernel objects, and the kernel has room for {MAX_ALL_OBJECTS}; make `objects` smaller",
                task.name.value
            );
            say(problems, &task.name.place, text);
        }
        let before = handles;
        handles += u32::from(task.handles.value);
        if before <= MAX_HANDLES && handles > MAX_HANDLES {
            let text = format!(
                "with `{}`, all tasks together may have {handles} handles, and the kernel has room for {MAX_HANDLES}; make `handles` smaller",
                task.name.value
            );
            say(problems, &task.handles.place, text);
        }
        if task.memory.value <= task.stack.value {
            let text = format!(
                "the memory of `{}` ({}K) does not even hold its stack ({}K); make `memory` larger or `stack` smaller",
                task.name.value,
                task.memory.value * 4,
                task.stack.value * 4
            );
            say(problems, &task.memory.place, text);
        }
        let needed = handles_at_start(task);
        if usize::from(task.handles.value) < needed {
            let text = format!(
                "`{}` starts with {needed} handles (its endpoint and notification, and one for each peer, line, range and right); make `handles` larger than {}",
                task.name.value, task.handles.value
            );
            say(problems, &task.handles.place, text);
        }
    }
}

/// Handles that the kernel puts into a new task's table.
fn handles_at_start(task: &Task) -> usize {
    let archive = task.has(KernelRight::Archive);
    let system = task.kernel.len() > usize::from(archive);
    let hardware = task.grants.iter().map(|grant| grant.value);
    let grants: Vec<_> = task.calls.iter().map(|_| Grant::peer("", 0)).chain(hardware).collect();
    rules::handles_at_start(&grants, task.keep > 0, archive, system)
}
