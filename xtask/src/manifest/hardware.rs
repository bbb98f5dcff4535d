//! What the tasks are to the machine: who owns each port, line and physical range, and what is the kernel's alone.

use super::source::Problem;
use super::{At, Ports, Task};
use abi::PAGE_SIZE;

/// Ports that no task gets, and why.
const KERNEL_PORTS: [(Ports, &str); 13] = [
    (Ports { base: 0x20, len: 2 }, "the first interrupt controller (8259), which the kernel drives"),
    (Ports { base: 0xA0, len: 2 }, "the second interrupt controller (8259), which the kernel drives"),
    (Ports { base: 0x4D0, len: 2 }, "the interrupt controllers' trigger modes, which the kernel sets"),
    (Ports { base: 0x40, len: 4 }, "the timer (8254), which the kernel drives"),
    (Ports { base: 0xE9, len: 1 }, "the kernel's log"),
    (Ports { base: 0xF4, len: 4 }, "the way in which a test kernel ends QEMU"),
    (
        Ports { base: 0xCF8, len: 8 },
        "PCI configuration, through which any device can be made to reach any memory (but 0xCF9 alone, the reset register, may be had)",
    ),
    (
        Ports { base: 0x00, len: 0x10 },
        "the first DMA controller (8237), which can be made to write anywhere below 16 MiB",
    ),
    (
        Ports { base: 0xC0, len: 0x20 },
        "the second DMA controller (8237), which can be made to write anywhere below 16 MiB",
    ),
    (Ports { base: 0x81, len: 15 }, "the pages of the DMA controllers (8237)"),
    (Ports { base: 0xB2, len: 2 }, "the way into system management mode, where firmware runs above the kernel"),
    (Ports { base: 0x514, len: 8 }, "by which QEMU's fw_cfg can be made to write anywhere in memory"),
    (Ports { base: 0x92, len: 1 }, "system control port A, which can switch off address line 20 for everyone"),
];

/// The reset control register lies among the PCI ports, but is a byte of its own (Intel ICH9 data sheet, 13.7.5).
const RESET_CONTROL: Ports = Ports { base: 0xCF9, len: 1 };

/// Physical addresses where devices are and RAM is not: from the VGA memory to 1 MiB, and below 4 GiB. The kernel compares
/// each range with the memory map of the machine that it runs on as well.
const HOLES: [(u64, u64); 2] = [(0xA_0000, 0x10_0000), (0xC000_0000, 0x1_0000_0000)];

/// Parts of these holes that no task gets, and why.
const KERNEL_RANGES: [(u64, u64, &str); 5] = [
    (0xFEC0_0000, 0xFEC0_1000, "the I/O APIC, which decides what interrupts do"),
    (0xFED0_0000, 0xFED0_1000, "the HPET, whose interrupts can be made to write anywhere in memory"),
    (0xFED9_0000, 0xFED9_4000, "the IOMMU, which decides where devices reach"),
    (0xFEE0_0000, 0xFEF0_0000, "the processors' local APICs, which can stop and start processors"),
    (
        0xE000_0000,
        0xF000_0000,
        "where PCI configuration is on many machines (ECAM), through which any device can be made to reach any memory",
    ),
];

/// Checks each claim by itself, then against all earlier claims.
pub fn check(tasks: &[Task], problems: &mut Vec<Problem>) {
    let ports: Vec<_> = claims(tasks, |task| &task.ports);
    let irqs: Vec<_> = claims(tasks, |task| &task.irqs);
    let ranges: Vec<_> = claims(tasks, |task| &task.ranges);
    for (number, (task, ports_at)) in ports.iter().enumerate() {
        let own = ports_at.value;
        let kernels = KERNEL_PORTS.iter().find(|(kernels, _)| own.overlaps(*kernels) && own != RESET_CONTROL);
        if let Some((kernels, why)) = kernels {
            say(problems, ports_at, format!("no task gets {kernels}, {why}; take it out"));
        }
        if let Some((owner, first)) = ports.iter().take(number).find(|(_, first)| first.value.overlaps(own)) {
            say(problems, ports_at, taken("ports", own, task, owner, first.value, &first.place));
        }
    }
    for (number, (task, irq)) in irqs.iter().enumerate() {
        let line = irq.value.line;
        let why = match line {
            0 => Some("the timer, which the kernel needs"),
            2 => Some("where the second interrupt controller is attached"),
            _ => None,
        };
        if let Some(why) = why {
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
        if !HOLES.iter().any(|&(start, end)| own.base >= start && own.end() <= end) {
            let holes: Vec<_> = HOLES.iter().map(|(start, end)| format!("{start:#X}-{:#X}", end - 1)).collect();
            let text = format!(
                "the range `{}` ({own}) may reach RAM; devices are within {} only",
                own.name,
                holes.join(" and ")
            );
            say(problems, range, text);
        }
        let kernels = KERNEL_RANGES.iter().find(|&&(start, end, _)| own.base < end && start < own.end());
        if let Some((start, end, why)) = kernels {
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
