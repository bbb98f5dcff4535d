//! The binary task table.

use super::{KernelRight, Ports, System, Task};
use abi::manifest::{IrqRecord, MAGIC, ManifestHeader, PortRange, RangeRecord, TaskRecord};
use zerocopy::{FromZeros, IntoBytes};

/// The table of a checked system, so that every limit of the records holds.
pub fn encode(system: &System) -> Vec<u8> {
    let header = ManifestHeader {
        magic: MAGIC,
        abi_hash: abi::ABI_HASH,
        count: system.tasks.len() as u32,
        record_size: size_of::<TaskRecord>() as u32,
    };
    let mut bytes = header.as_bytes().to_vec();
    for record in records(system) {
        bytes.extend_from_slice(record.as_bytes());
    }
    bytes
}

/// The rows of the table.
pub fn records(system: &System) -> Vec<TaskRecord> {
    system.tasks.iter().map(|task| record(system, task)).collect()
}

fn record(system: &System, task: &Task) -> TaskRecord {
    let mut record = TaskRecord::new_zeroed();
    record.name = name(&task.name.value);
    record.frame_quota = task.memory.value;
    record.stack_frames = task.stack.value;
    record.keep_frames = task.keep;
    record.handle_quota = task.handles.value;
    record.object_quota = task.objects;
    record.heartbeat_ms = task.heartbeat_ms.value;
    record.priority = task.priority.value;
    record.restart = task.restart as u8;
    let flags = [
        (task.start.value, TaskRecord::START),
        (task.float, TaskRecord::FLOAT),
        (task.has(KernelRight::Control), TaskRecord::CONTROL),
        (task.has(KernelRight::Inspect), TaskRecord::INSPECT),
        (task.has(KernelRight::Logs), TaskRecord::LOGS),
        (task.has(KernelRight::Archive), TaskRecord::ARCHIVE),
    ];
    record.flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();

    let row = |name: &str| system.tasks.iter().position(|other| other.name.value == name);
    let rows = task.calls.iter().filter_map(|call| row(&call.value));
    for (slot, row) in record.calls.iter_mut().zip(rows) {
        *slot = row as u8;
        record.call_count += 1;
    }
    record.debug = task.debug.iter().filter_map(|other| row(&other.value)).fold(0, |set, row| set | 1 << row);
    for ((slot, named), ports) in record.ports.iter_mut().zip(&mut record.port_names).zip(&task.ports) {
        let Ports { base, len, .. } = ports.value;
        *slot = PortRange { base, len };
        *named = name(&ports.value.name);
    }
    for (bit, (slot, irq)) in record.irqs.iter_mut().zip(&task.irqs).enumerate() {
        *slot = IrqRecord { name: name(&irq.value.name), line: irq.value.line, bit: bit as u8, used: 1, reserved: 0 };
    }
    for (slot, range) in record.ranges.iter_mut().zip(&task.ranges) {
        let range = &range.value;
        let write = if range.write { RangeRecord::WRITE } else { 0 };
        let combining = if range.write_combining { RangeRecord::WRITE_COMBINING } else { 0 };
        *slot = RangeRecord {
            name: name(&range.name),
            base: range.base,
            len: range.len,
            flags: write | combining,
            reserved: 0,
        };
    }
    record
}

/// A name that was checked to fit.
fn name(text: &str) -> abi::Name {
    abi::name_from(text).unwrap_or_default()
}
