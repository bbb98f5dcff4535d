//! The rules and limits for a valid task table, which is checked before it is used. They are
//! defined only here: xtask, which reports where in `system.toml` one is broken, uses them, too.

use super::{Claim, Grant, GrantKind, MAGIC, ManifestHeader, Restart, Space, TaskRecord};
use crate::task::{LEVELS, MAX_TASKS};
use crate::{ABI_HASH, NAME_LEN, Name, PAGE_SIZE, name_from, name_str};
use zerocopy::FromBytes;

/// The most frames of a task: 1 GiB.
pub const MAX_FRAMES: u32 = 1 << 18;
/// The most frames of a first stack: 8 MiB.
pub const MAX_STACK_FRAMES: u32 = 2048;
/// The most frames of a task's kept memory: 16 MiB.
pub const MAX_KEEP_FRAMES: u32 = 4096;
/// The range of the quota of kernel objects of a task.
pub const OBJECTS: core::ops::RangeInclusive<u16> = 8..=1024;
/// The most kernel objects of all tasks together.
pub const MAX_ALL_OBJECTS: u32 = 8192;
/// The most handles of a task, and of all tasks together.
pub const MAX_HANDLES: u32 = 16_384;
/// The range of the time between two signs of life of a watched task, in milliseconds.
pub const HEARTBEAT_MS: core::ops::RangeInclusive<u32> = 20..=60_000;

const fn ports(base: u64, len: u64) -> Claim {
    Claim::new(Space::Ports, base, len)
}

const fn memory(start: u64, end: u64) -> Claim {
    Claim::new(Space::Memory, start, end - start)
}

const fn line(line: u64) -> Claim {
    Claim::new(Space::Lines, line, 1)
}

/// The ports, lines and physical addresses that no task gets, and the reasons. Chipsets decode some
/// address lines only in part, so the controllers answer at further ports, too (Intel ICH9 data
/// sheet, section 9.3.1).
pub const KERNELS: [(Claim, &str); 22] = [
    (line(0), "the timer, which the kernel needs"),
    (line(2), "where the second interrupt controller is attached"),
    (ports(0x20, 14), "the first interrupt controller (8259), which the kernel drives"),
    (ports(0x30, 16), "the first interrupt controller (8259), which answers here on many chipsets, too"),
    (ports(0xB2, 2), "the way into system management mode, where firmware runs above the kernel"),
    (ports(0xA0, 0x20), "the second interrupt controller (8259), which the kernel drives"),
    (ports(0x4D0, 2), "the interrupt controllers' trigger modes, which decide how lines interrupt"),
    (ports(0x40, 4), "the timer (8254), which the kernel drives"),
    (ports(0x50, 4), "the timer (8254), which answers here on many chipsets, too"),
    (ports(0xE9, 1), "the kernel's log"),
    (ports(0xF4, 4), "the way in which a test kernel ends QEMU"),
    (
        ports(0xCF8, 8),
        "PCI configuration, through which any device can be made to reach any memory (but 0xCF9 alone, the reset register, may be had)",
    ),
    (ports(0x00, 0x20), "the first DMA controller (8237), which can be made to write anywhere below 16 MiB"),
    (ports(0xC0, 0x20), "the second DMA controller (8237), which can be made to write anywhere below 16 MiB"),
    (ports(0x92, 1), "system control port A, which can switch off address line 20 for everyone"),
    (ports(0x81, 31), "the pages of the DMA controllers (8237)"),
    (ports(0x514, 8), "by which QEMU's fw_cfg can be made to write anywhere in memory"),
    (memory(0xFEC0_0000, 0xFEC0_1000), "the I/O APIC, which decides what interrupts do"),
    (memory(0xFED0_0000, 0xFED0_1000), "the HPET, whose interrupts can be made to write anywhere in memory"),
    (memory(0xFED9_0000, 0xFED9_4000), "the IOMMU, which decides where devices reach"),
    (memory(0xFEE0_0000, 0xFEF0_0000), "the processors' local APICs, which can stop and start processors"),
    (
        memory(0xE000_0000, 0xF000_0000),
        "where PCI configuration is on many machines (ECAM), through which any device can be made to reach any memory",
    ),
];

/// The reset control register, which is among the PCI ports but is a separate byte that a task may
/// have (Intel ICH9 data sheet, section 13.7.5).
const RESET_CONTROL: Claim = ports(0xCF9, 1);

/// The physical addresses where devices are and RAM is not: from the VGA memory to 1 MiB, and the
/// last GiB below 4 GiB. The kernel also compares each range with the memory map of the machine on
/// which it runs.
pub const HOLES: [(u64, u64); 2] = [(0xA_0000, 0x10_0000), (0xC000_0000, 0x1_0000_0000)];

/// Whether a claim of physical memory consists of whole pages, at least one.
pub fn is_of_pages(claim: &Claim) -> bool {
    let page = PAGE_SIZE as u64;
    claim.base.is_multiple_of(page) && claim.len.is_multiple_of(page) && claim.len != 0
}

/// Whether a claim of physical memory lies where devices are and RAM is not.
pub fn in_a_hole(claim: &Claim) -> bool {
    HOLES
        .iter()
        .any(|&(start, end)| claim.base >= start && claim.base.checked_add(claim.len).is_some_and(|to| to <= end))
}

/// The entry of [`KERNELS`] that a grant overlaps, if any.
pub fn kernels(grant: &Grant) -> Option<&'static (Claim, &'static str)> {
    let own = grant.claim().filter(|own| *own != RESET_CONTROL)?;
    KERNELS.iter().find(|(kernels, _)| own.shares(kernels))
}

/// The number of handles that the kernel puts into a new task's table: for the permanent endpoint
/// and notification, for each grant that has one, and for the kept memory, the boot archive and the
/// system handle if the task has these.
pub fn handles_at_start(grants: &[Grant], keep: bool, archive: bool, system: bool) -> usize {
    let each = grants.iter().filter(|grant| grant.kind().is_some_and(GrantKind::has_handle)).count();
    2 + each + usize::from(keep) + usize::from(archive) + usize::from(system)
}

/// The reason why a name is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// The name is empty.
    Empty,
    /// The name is not ASCII.
    NotAscii,
    /// The name is longer than [`crate::NAME_LEN`]` - 1` bytes.
    TooLong,
    /// The name contains other characters than lowercase letters, digits and dashes, or does not
    /// begin with a letter.
    Letters,
    /// A dash is not between two letters or digits.
    Dash,
}

/// The reason why the name of a task, a line or a range is invalid, if it is. Names are used in log
/// lines and paths.
pub fn bad_name(name: &str) -> Option<BadName> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        Some(BadName::Empty)
    } else if !name.is_ascii() {
        Some(BadName::NotAscii)
    } else if name.len() >= NAME_LEN {
        Some(BadName::TooLong)
    } else if !name.bytes().all(fits) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        Some(BadName::Letters)
    } else if name.ends_with('-') || name.contains("--") {
        Some(BadName::Dash)
    } else {
        None
    }
}

/// Reads and checks the task table from the file `manifest`. The error says what is wrong.
pub fn parse(bytes: &[u8]) -> Result<&[TaskRecord], &'static str> {
    let (header, rest) = ManifestHeader::read_from_prefix(bytes).map_err(|_| "the task table is truncated")?;
    if header.magic != MAGIC {
        return Err("the task table does not begin with its magic bytes");
    }
    if header.abi_hash != ABI_HASH || header.record_size as usize != size_of::<TaskRecord>() {
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

/// Checks each row of a table, and all rows together. The error says what is wrong.
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
        if record.may_debug(master as u16) {
            return Err("the task with control is to be debugged");
        }
        if record.peers().filter_map(|peer| records.get(usize::from(peer))).any(|peer| peer.priority >= record.priority)
        {
            return Err("a task calls one that is not more important");
        }
        let (others, _) = records.split_at(row);
        for other in others {
            if other.name == record.name {
                return Err("two tasks have the same name");
            }
            if record.grants().iter().any(|own| other.grants().iter().any(|others| own.shares(others))) {
                return Err("two tasks share a port, a line or a range");
            }
        }
    }
    Ok(())
}

fn check(r: &TaskRecord, row: usize, count: usize) -> Result<(), &'static str> {
    if bad_name(name_str(&r.name)).is_some() || name_from(name_str(&r.name)) != Some(r.name) {
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
    let has = |flag: u32| r.flags & flag != 0;
    let system = has(TaskRecord::CONTROL | TaskRecord::INSPECT | TaskRecord::LOGS);
    let at_start = handles_at_start(r.grants(), r.keep_frames != 0, has(TaskRecord::ARCHIVE), system);
    if usize::from(r.handle_quota) < at_start || u32::from(r.handle_quota) > MAX_HANDLES {
        return Err("a quota of handles is too small to start with, or out of range");
    }
    if !OBJECTS.contains(&r.object_quota) {
        return Err("a quota of objects is out of range");
    }
    if r.heartbeat_ms != 0 && !HEARTBEAT_MS.contains(&r.heartbeat_ms) {
        return Err("a heartbeat is out of range");
    }
    if r.flags >= TaskRecord::ARCHIVE << 1 || r.reserved != 0 {
        return Err("something is set that has no meaning");
    }
    check_grants(r, row, count)
}

/// Checks the grants of a row. The error says what is wrong.
fn check_grants(r: &TaskRecord, row: usize, count: usize) -> Result<(), &'static str> {
    let (grants, rest) =
        r.grants.split_at_checked(r.grant_count as usize).ok_or("a task has more grants than there can be")?;
    if rest.iter().any(|grant| *grant != Grant::default()) {
        return Err("something is set that has no meaning");
    }
    if !grants.is_sorted_by_key(|grant| grant.kind) {
        return Err("the grants of a task are not in the order of their kinds");
    }
    for (number, grant) in grants.iter().enumerate() {
        if let Some(wrong) = grant.wrong(row, count) {
            return Err(wrong);
        }
        if kernels(grant).is_some() {
            return Err("a port, a line or a range is the kernel's own");
        }
        let (earlier, _) = grants.split_at(number);
        let of_kind = || earlier.iter().filter(|other| other.kind == grant.kind);
        if grant.kind().is_none_or(|kind| of_kind().count() >= kind.most()) {
            return Err("a task has more grants of a kind than it may have");
        }
        if of_kind().any(|other| grant.row().is_some() && other.row() == grant.row()) {
            return Err("a peer, or a task to be debugged, is named twice");
        }
        // Of whatever kind: all bits are those of the task's one notification.
        if earlier.iter().any(|other| grant.bits() & other.bits() != 0) {
            return Err("an interrupt line or bit is out of range, or a bit is given twice");
        }
        if of_kind().any(|other| grant.name != Name::default() && other.name == grant.name) {
            return Err("a line, a range or ports have no proper name, or that of another");
        }
        if of_kind().any(|other| grant.shares(other)) {
            return Err("a task has a port, a line or a range twice");
        }
    }
    Ok(())
}
