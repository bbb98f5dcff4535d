//! What the tasks are to the machine: who owns each port, line and physical range, and what is the kernel's alone.

use super::source::Problem;
use super::{At, Task};
use abi::manifest::rules::{HOLES, in_a_hole, is_of_pages, kernels};
use abi::manifest::{Claim, Grant, GrantKind, Space};

/// Checks each claim by itself, then against all earlier claims.
pub fn check(tasks: &[Task], problems: &mut Vec<Problem>) {
    for kind in GrantKind::HARDWARE {
        let claims: Vec<_> = tasks
            .iter()
            .flat_map(|task| task.of(kind).map(|at| (task.name.value.as_str(), at)))
            .filter_map(|(task, at)| Some((task, at, at.value.claim()?)))
            .collect();
        for (number, (task, at, claim)) in claims.iter().enumerate() {
            if claim.space == Space::Memory {
                memory(at, claim, problems);
            }
            if let Some((kernels, why)) = kernels(&at.value) {
                let what = if kernels.space == Space::Lines { "line " } else { "" };
                let mend = if kernels.space == Space::Memory { "make the range smaller" } else { "take it out" };
                say(problems, at, format!("no task gets {what}{kernels:#}, {why}; {mend}"));
                if claim.space == Space::Lines {
                    continue;
                }
            }
            let earlier = claims.iter().take(number);
            if let Some((owner, first, _)) = earlier.into_iter().find(|(.., first)| first.shares(claim)) {
                say(problems, at, taken(claim, task, owner, first));
            }
        }
    }
}

/// Where a device's memory can be.
fn memory(at: &At<Grant>, claim: &Claim, problems: &mut Vec<Problem>) {
    let name = abi::name_str(&at.value.name);
    if !is_of_pages(claim) {
        let text =
            format!("the range `{name}` is not made of whole pages; `base` and `len` must be multiples of 0x1000");
        say(problems, at, text);
    }
    if !in_a_hole(claim) {
        let holes: Vec<_> = HOLES.iter().map(|(start, end)| format!("{start:#X}-{:#X}", end - 1)).collect();
        let text =
            format!("the range `{name}` ({claim:#}) may reach RAM; devices are within {} only", holes.join(" and "));
        say(problems, at, text);
    }
}

fn taken(own: &Claim, task: &str, owner: &str, first: &At<Grant>) -> String {
    let what = own.space.word();
    let (place, has) = match first.value.claim() {
        Some(claim) if claim.space != Space::Lines => (&first.place, format!("{claim:#}")),
        _ => (&first.place, format!("`{}`", abi::name_str(&first.value.name))),
    };
    if task == owner {
        format!("{what} {own:#} of `{task}`: it has {has} already ({place}); take one out")
    } else {
        format!(
            "{what} {own:#} of `{task}`: `{owner}` has {has} already ({place}); hardware has one owner, so take one out"
        )
    }
}

fn say<T>(problems: &mut Vec<Problem>, at: &At<T>, text: String) {
    problems.push(Problem { place: at.place.clone(), text });
}
