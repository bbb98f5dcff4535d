//! What the tasks are to the machine: who owns each port, line and physical range, and what is the kernel's alone.

use super::source::Problem;
use super::{At, Ports, Task};
use abi::PAGE_SIZE;
use abi::manifest::PortRange;
use kernel_core::manifest::{HOLES, in_a_hole, kernel_line, kernel_ports, kernel_range};

/// Checks each claim by itself, then against all earlier claims.
pub fn check(tasks: &[Task], problems: &mut Vec<Problem>) {
    let ports: Vec<_> = claims(tasks, |task| &task.ports);
    let irqs: Vec<_> = claims(tasks, |task| &task.irqs);
    let ranges: Vec<_> = claims(tasks, |task| &task.ranges);
    for (number, (task, ports_at)) in ports.iter().enumerate() {
        let own = &ports_at.value;
        if let Some((kernels, why)) = kernel_ports(PortRange { base: own.base, len: own.len }) {
            let kernels = Ports { name: String::new(), base: kernels.base, len: kernels.len };
            say(problems, ports_at, format!("no task gets {kernels}, {why}; take it out"));
        }
        if let Some((owner, first)) = ports.iter().take(number).find(|(_, first)| first.value.overlaps(own)) {
            say(problems, ports_at, taken("ports", own, task, owner, &first.value, &first.place));
        }
    }
    for (number, (task, irq)) in irqs.iter().enumerate() {
        let line = irq.value.line;
        if let Some(why) = kernel_line(line) {
            say(problems, irq, format!("no task gets line {line}, {why}; take it out"));
        } else if let Some((owner, first)) = irqs.iter().take(number).find(|(_, first)| first.value.line == line) {
            let text = taken("line", line, task, owner, format!("`{}`", first.value.name), &first.place);
            say(problems, irq, text);
        }
    }
    for (number, (task, range)) in ranges.iter().enumerate() {
        let own = &range.value;
        if !own.base.is_multiple_of(PAGE_SIZE as u64) || !own.len.is_multiple_of(PAGE_SIZE as u64) {
            let text = format!(
                "the range `{}` is not made of whole pages; `base` and `len` must be multiples of 0x1000",
                own.name
            );
            say(problems, range, text);
        }
        if !in_a_hole(own.base, own.len) {
            let holes: Vec<_> = HOLES.iter().map(|(start, end)| format!("{start:#X}-{:#X}", end - 1)).collect();
            let text = format!(
                "the range `{}` ({own}) may reach RAM; devices are within {} only",
                own.name,
                holes.join(" and ")
            );
            say(problems, range, text);
        }
        if let Some((start, end, why)) = kernel_range(own.base, own.len) {
            say(problems, range, format!("no task gets {start:#X}-{:#X}, {why}; make the range smaller", end - 1));
        }
        let overlapping =
            ranges.iter().take(number).find(|(_, first)| first.value.base < own.end() && own.base < first.value.end());
        if let Some((owner, first)) = overlapping {
            say(problems, range, taken("range", own, task, owner, &first.value, &first.place));
        }
    }
}

/// What all tasks claim of one kind, each with its task's name.
fn claims<T>(tasks: &[Task], of: impl Fn(&Task) -> &Vec<At<T>>) -> Vec<(&str, &At<T>)> {
    let mut claims = Vec::new();
    for task in tasks {
        claims.extend(of(task).iter().map(|claim| (task.name.value.as_str(), claim)));
    }
    claims
}

fn taken(
    what: &str,
    own: impl std::fmt::Display,
    task: &str,
    owner: &str,
    first: impl std::fmt::Display,
    place: &super::Place,
) -> String {
    if task == owner {
        format!("{what} {own} of `{task}`: it has {first} already ({place}); take one out")
    } else {
        format!(
            "{what} {own} of `{task}`: `{owner}` has {first} already ({place}); hardware has one owner, so take one out"
        )
    }
}

fn say<T>(problems: &mut Vec<Problem>, at: &At<T>, text: String) {
    problems.push(Problem { place: at.place.clone(), text });
}
