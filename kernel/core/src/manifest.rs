//! The task table of the boot archive: checked before anything in it is believed.

use abi::manifest::{IrqRecord, MAGIC, ManifestHeader, RangeRecord, Restart, TaskRecord};
use abi::task::{LEVELS, MAX_TASKS};
use zerocopy::FromBytes;

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
    for (row, record) in records.iter().enumerate() {
        check(record, row, count)?;
    }
    if records.iter().filter(|r| r.flags & TaskRecord::CONTROL != 0).count() != 1 {
        return Err("exactly one task must have the control right");
    }
    for (row, record) in records.iter().enumerate() {
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
    Ok(records)
}

fn check(r: &TaskRecord, row: usize, count: usize) -> Result<(), &'static str> {
    // Names end up in log lines, where a control character could forge another line.
    let name = abi::name_str(&r.name);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("a task has no proper name");
    }
    if r.priority as usize >= LEVELS {
        return Err("a priority is out of range");
    }
    if r.restart > Restart::Forever as u8 {
        return Err("a restart policy is none of those there are");
    }
    if r.stack_frames == 0 || r.stack_frames > 4096 || r.keep_frames > 4096 {
        return Err("a stack or keep size is out of range");
    }
    if r.handle_quota < 2 || r.object_quota < 1 {
        return Err("a quota of handles or objects is too small to start with");
    }
    let calls = r.calls.get(..r.call_count as usize).ok_or("a task has too many peers")?;
    if calls.iter().any(|&c| c as usize >= count || c as usize == row) {
        return Err("a peer is not a row of the table, or the task itself");
    }
    if r.debug & 1 << row != 0 || r.debug.checked_shr(count as u32).unwrap_or(0) != 0 {
        return Err("a task to be debugged is not a row of the table, or the task itself");
    }
    if r.ports.iter().any(|p| u32::from(p.base) + u32::from(p.len) > 0x1_0000) {
        return Err("a port range ends beyond the last port");
    }
    let bad_line = |i: &IrqRecord| i.used != 0 && (i.line == 0 || i.line == 2 || i.line > 15 || i.bit > 31);
    if r.irqs.iter().any(bad_line) {
        return Err("an interrupt line or bit is out of range");
    }
    let bad_range = |g: &RangeRecord| {
        g.len != 0
            && (!g.base.is_multiple_of(abi::PAGE_SIZE as u64)
                || !g.len.is_multiple_of(abi::PAGE_SIZE as u64)
                || g.len > 1 << 32
                || g.base.checked_add(g.len).is_none_or(|end| end > 1 << 46))
    };
    if r.ranges.iter().any(bad_range) {
        return Err("a physical range is not made of whole pages, or out of range");
    }
    Ok(())
}

fn shares_hardware(a: &TaskRecord, b: &TaskRecord) -> bool {
    let ports = |r: &TaskRecord| r.ports.map(|p| (u64::from(p.base), u64::from(p.len)));
    let ranges = |r: &TaskRecord| r.ranges.map(|g| (g.base, g.len));
    let overlap = |x: &[(u64, u64)], y: &[(u64, u64)]| {
        x.iter().any(|&(a, n)| y.iter().any(|&(b, m)| n != 0 && m != 0 && a < b + m && b < a + n))
    };
    let lines = |x: &IrqRecord| b.irqs.iter().any(|y| x.used != 0 && y.used != 0 && x.line == y.line);
    overlap(&ports(a), &ports(b)) || overlap(&ranges(a), &ranges(b)) || a.irqs.iter().any(lines)
}
