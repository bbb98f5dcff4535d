//! The task table of the boot archive: checked before anything in it is believed. The rules and limits stand here alone: xtask, which says where in
//! `system.toml` one is broken, takes them from here.

use abi::manifest::{IrqRecord, MAGIC, ManifestHeader, PortRange, RangeRecord, Restart, TaskRecord};
use abi::task::{LEVELS, MAX_TASKS};
use zerocopy::FromBytes;

/// Most frames of a task: 1 GiB.
pub const MAX_FRAMES: u32 = 1 << 18;
/// Most frames of a first stack: 8 MiB.
pub const MAX_STACK_FRAMES: u32 = 2048;
/// Most frames of the memory that outlives a task: 16 MiB.
pub const MAX_KEEP_FRAMES: u32 = 4096;
/// Fewest and most kernel objects of a task.
pub const OBJECTS: core::ops::RangeInclusive<u16> = 8..=1024;
/// Most kernel objects of all tasks together.
pub const MAX_ALL_OBJECTS: u32 = 8192;
/// Most handles of a task, and of all together.
pub const MAX_HANDLES: u32 = 16_384;
/// Milliseconds between two signs of life, of a task that is watched.
pub const HEARTBEAT_MS: core::ops::RangeInclusive<u32> = 20..=60_000;

/// Ports that no task gets, and why.
pub const KERNEL_PORTS: [(PortRange, &str); 13] = [
    (PortRange { base: 0x20, len: 2 }, "the first interrupt controller (8259), which the kernel drives"),
    (PortRange { base: 0xA0, len: 2 }, "the second interrupt controller (8259), which the kernel drives"),
    (PortRange { base: 0x4D0, len: 2 }, "the interrupt controllers' trigger modes, which the kernel sets"),
    (PortRange { base: 0x40, len: 4 }, "the timer (8254), which the kernel drives"),
    (PortRange { base: 0xE9, len: 1 }, "the kernel's log"),
    (PortRange { base: 0xF4, len: 4 }, "the way in which a test kernel ends QEMU"),
    (
        PortRange { base: 0xCF8, len: 8 },
        "PCI configuration, through which any device can be made to reach any memory (but 0xCF9 alone, the reset register, may be had)",
    ),
    (
        PortRange { base: 0x00, len: 0x10 },
        "the first DMA controller (8237), which can be made to write anywhere below 16 MiB",
    ),
    (
        PortRange { base: 0xC0, len: 0x20 },
        "the second DMA controller (8237), which can be made to write anywhere below 16 MiB",
    ),
    (PortRange { base: 0x81, len: 15 }, "the pages of the DMA controllers (8237)"),
    (PortRange { base: 0xB2, len: 2 }, "the way into system management mode, where firmware runs above the kernel"),
    (PortRange { base: 0x514, len: 8 }, "by which QEMU's fw_cfg can be made to write anywhere in memory"),
    (PortRange { base: 0x92, len: 1 }, "system control port A, which can switch off address line 20 for everyone"),
];

/// The reset control register lies among the PCI ports, but is a byte of its own (Intel ICH9 data sheet, 13.7.5).
const RESET_CONTROL: PortRange = PortRange { base: 0xCF9, len: 1 };

/// Physical addresses where devices are and RAM is not: from the VGA memory to 1 MiB, and below 4 GiB. The kernel compares
/// each range with the memory map of the machine that it runs on as well.
pub const HOLES: [(u64, u64); 2] = [(0xA_0000, 0x10_0000), (0xC000_0000, 0x1_0000_0000)];

/// Parts of these holes that no task gets, and why.
pub const KERNEL_RANGES: [(u64, u64, &str); 5] = [
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

/// Which of the kernel's ports a range of ports reaches, if any.
pub fn kernel_ports(own: PortRange) -> Option<&'static (PortRange, &'static str)> {
    let reaches = |kernels: &PortRange| overlap(ports(&own), ports(kernels));
    KERNEL_PORTS.iter().find(|(kernels, _)| own != RESET_CONTROL && reaches(kernels))
}

/// Which of the kernel's parts of the address space a range reaches, if any.
pub fn kernel_range(base: u64, len: u64) -> Option<&'static (u64, u64, &'static str)> {
    KERNEL_RANGES.iter().find(|&&(start, end, _)| overlap((base, len), (start, end - start)))
}

/// Whether a range lies where devices are and RAM is not.
pub fn in_a_hole(base: u64, len: u64) -> bool {
    HOLES.iter().any(|&(start, end)| base >= start && base.checked_add(len).is_some_and(|to| to <= end))
}

/// Why a line is nobody's, if it is.
pub const fn kernel_line(line: u8) -> Option<&'static str> {
    match line {
        0 => Some("the timer, which the kernel needs"),
        2 => Some("where the second interrupt controller is attached"),
        _ => None,
    }
}

/// Handles that the kernel puts into a new task's table: endpoint and notification, one for each peer, line and range, and these three.
pub const fn handles_at_start(each: usize, keep: bool, archive: bool, system: bool) -> usize {
    2 + each + keep as usize + archive as usize + system as usize
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// There is none.
    Empty,
    /// It is not plain ASCII.
    NotAscii,
    /// It is longer than [`abi::NAME_LEN`]` - 1`.
    TooLong,
    /// There is something in it beside lowercase letters, digits and dashes, or no letter first.
    Letters,
    /// A dash does not stand between two letters or digits.
    Dash,
}

/// What is wrong with the name of a task, a line or a range, if anything is: it ends up in log lines and paths.
pub fn bad_name(name: &str) -> Option<BadName> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        Some(BadName::Empty)
    } else if !name.is_ascii() {
        Some(BadName::NotAscii)
    } else if name.len() >= abi::NAME_LEN {
        Some(BadName::TooLong)
    } else if !name.bytes().all(fits) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        Some(BadName::Letters)
    } else if name.ends_with('-') || name.contains("--") {
        Some(BadName::Dash)
    } else {
        None
    }
}

/// Reads the task table from the file `manifest`. The error says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<&[TaskRecord], &'static str> {
    let (header, rest) = ManifestHeader::read_from_prefix(bytes).map_err(|_| "the task table is truncated")?;
    if header.magic != MAGIC {
        return Err("the task table does not begin with its magic bytes");
    }
    if header.abi_hash != abi::ABI_HASH || header.record_size as usize != size_of::<TaskRecord>() {
        return Err("the task table was written for another ABI: rebuild kernel and archive together");
    }
    let count = header.count as usize;
    if count == 0 || count > MAX_TASKS {
        return Err("the task table has no rows, or too many");
    }
    let (records, _) =
        <[TaskRecord]>::ref_from_prefix_with_elems(rest, count).map_err(|_| "the task table is truncated")?;
    check_table(records)?;
    Ok(records)
}

/// Checks the rows of a table, each and together. The error says what is wrong.
pub fn check_table(records: &[TaskRecord]) -> Result<(), &'static str> {
    for (row, record) in records.iter().enumerate() {
        check(record, row, records.len())?;
    }
    let mut masters = records.iter().enumerate().filter(|(_, r)| r.flags & TaskRecord::CONTROL != 0);
    let (Some((master, control)), None) = (masters.next(), masters.next()) else {
        return Err("exactly one task must have the control right");
    };
    if control.flags & TaskRecord::START == 0 || control.heartbeat_ms != 0 {
        return Err("the task with control must be started at boot, and nobody watches it");
    }
    let sum = |of: fn(&TaskRecord) -> u16| records.iter().map(|r| u32::from(of(r))).sum::<u32>();
    if sum(|r| r.object_quota) > MAX_ALL_OBJECTS || sum(|r| r.handle_quota) > MAX_HANDLES {
        return Err("all tasks together have a larger quota of handles or objects than the kernel has room for");
    }
    for (row, record) in records.iter().enumerate() {
        if record.debug & 1 << master != 0 {
            return Err("the task with control is to be debugged");
        }
        let callees = record.calls.iter().take(record.call_count.into()).filter_map(|&c| records.get(usize::from(c)));
        if callees.into_iter().any(|callee| callee.priority >= record.priority) {
            return Err("a task calls one that is not more important");
        }
        let (others, _) = records.split_at(row);
        for other in others {
            if other.name == record.name {
                return Err("two tasks have the same name");
            }
            if shares_hardware(other, record) {
                return Err("two tasks share a port, a line or a range");
            }
        }
    }
    Ok(())
}

/// Whether no value comes twice.
fn distinct<T: PartialEq>(mut values: impl Iterator<Item = T> + Clone) -> bool {
    while let Some(value) = values.next() {
        if values.clone().any(|other| other == value) {
            return false;
        }
    }
    true
}

fn check(r: &TaskRecord, row: usize, count: usize) -> Result<(), &'static str> {
    let named = |name: &abi::Name| {
        bad_name(abi::name_str(name)).is_none() && abi::name_from(abi::name_str(name)) == Some(*name)
    };
    if !named(&r.name) {
        return Err("a task has no proper name");
    }
    if r.priority as usize >= LEVELS {
        return Err("a priority is out of range");
    }
    if r.restart > Restart::Forever as u8 {
        return Err("a restart policy is none of those there are");
    }
    if !(1..=MAX_STACK_FRAMES).contains(&r.stack_frames) || r.keep_frames > MAX_KEEP_FRAMES {
        return Err("a stack or keep size is out of range");
    }
    if r.frame_quota <= r.stack_frames || r.frame_quota > MAX_FRAMES {
        return Err("a quota of frames does not hold the stack, or is out of range");
    }
    let calls = r.calls.get(..r.call_count as usize).ok_or("a task has too many peers")?;
    let irqs = || r.irqs.iter().filter(|i| i.used != 0);
    let ranges = || r.ranges.iter().filter(|g| g.len != 0);
    let has = |flag: u32| r.flags & flag != 0;
    let system = has(TaskRecord::CONTROL | TaskRecord::INSPECT | TaskRecord::LOGS);
    let each = usize::from(r.call_count) + irqs().count() + ranges().count();
    let at_start = handles_at_start(each, r.keep_frames != 0, has(TaskRecord::ARCHIVE), system);
    if usize::from(r.handle_quota) < at_start || u32::from(r.handle_quota) > MAX_HANDLES {
        return Err("a quota of handles is too small to start with, or out of range");
    }
    if !OBJECTS.contains(&r.object_quota) {
        return Err("a quota of objects is out of range");
    }
    if r.heartbeat_ms != 0 && !HEARTBEAT_MS.contains(&r.heartbeat_ms) {
        return Err("a heartbeat is out of range");
    }
    if r.flags >= TaskRecord::ARCHIVE << 1
        || (r.reserved, r.reserved2) != (0, 0)
        || irqs().any(|i| (i.used, i.reserved) != (1, 0))
        || ranges().any(|g| g.flags > RangeRecord::WRITE | RangeRecord::WRITE_COMBINING || g.reserved != 0)
    {
        return Err("something is set that has no meaning");
    }
    if calls.iter().any(|&c| c as usize >= count || c as usize == row) || !distinct(calls.iter()) {
        return Err("a peer is not a row of the table, or the task itself, or named twice");
    }
    if r.debug & 1 << row != 0 || r.debug.checked_shr(count as u32).unwrap_or(0) != 0 {
        return Err("a task to be debugged is not a row of the table, or the task itself");
    }
    if r.ports.iter().any(|p| u32::from(p.base) + u32::from(p.len) > 0x1_0000) {
        return Err("a port range ends beyond the last port");
    }
    if irqs().any(|i| kernel_line(i.line).is_some() || i.line > 15 || i.bit > 31) || !distinct(irqs().map(|i| i.bit)) {
        return Err("an interrupt line or bit is out of range, or a bit is given twice");
    }
    let pages = |g: &RangeRecord| g.base.is_multiple_of(PAGE) && g.len.is_multiple_of(PAGE);
    if !ranges().all(|g| pages(g) && in_a_hole(g.base, g.len)) {
        return Err("a physical range is not made of whole pages, or out of range: where RAM may be");
    }
    // Ports need none.
    let port_names = || r.port_names.iter().filter(|name| **name != abi::Name::default());
    if !irqs().all(|i| named(&i.name))
        || !ranges().all(|g| named(&g.name))
        || !port_names().all(named)
        || !distinct(port_names())
        || !distinct(irqs().map(|i| i.name))
        || !distinct(ranges().map(|g| g.name))
    {
        return Err("a line, a range or ports have no proper name, or that of another");
    }
    if r.ports.iter().any(|&p| p.len != 0 && kernel_ports(p).is_some())
        || ranges().any(|g| kernel_range(g.base, g.len).is_some())
    {
        return Err("a port or a range is the kernel's own");
    }
    let twice = |claims: &[(u64, u64)]| {
        claims.iter().enumerate().any(|(n, &own)| claims.iter().take(n).any(|&other| overlap(own, other)))
    };
    if twice(&r.ports.each_ref().map(ports))
        || twice(&r.ranges.each_ref().map(range))
        || !distinct(irqs().map(|i| i.line))
    {
        return Err("a task has a port, a line or a range twice");
    }
    Ok(())
}

const PAGE: u64 = abi::PAGE_SIZE as u64;

const fn ports(p: &PortRange) -> (u64, u64) {
    (p.base as u64, p.len as u64)
}

const fn range(g: &RangeRecord) -> (u64, u64) {
    (g.base, g.len)
}

/// Whether two claims, each a beginning and a length, share something. The ends must be numbers.
const fn overlap((a, n): (u64, u64), (b, m): (u64, u64)) -> bool {
    n != 0 && m != 0 && a < b.saturating_add(m) && b < a.saturating_add(n)
}

fn shares_hardware(a: &TaskRecord, b: &TaskRecord) -> bool {
    let shared = |x: &[(u64, u64)], y: &[(u64, u64)]| x.iter().any(|&x| y.iter().any(|&y| overlap(x, y)));
    let lines = |x: &IrqRecord| b.irqs.iter().any(|y| x.used != 0 && y.used != 0 && x.line == y.line);
    shared(&a.ports.each_ref().map(ports), &b.ports.each_ref().map(ports))
        || shared(&a.ranges.each_ref().map(range), &b.ranges.each_ref().map(range))
        || a.irqs.iter().any(lines)
}
