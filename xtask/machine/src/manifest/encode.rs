//! The binary task table.

use super::{At, KernelRight, System, Task};
use abi::manifest::{Grant, MAGIC, ManifestHeader, TaskRecord};
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

    let row =
        |other: &At<String>| system.tasks.iter().position(|task| task.name.value == other.value).map(|row| row as u16);
    let peers = task.calls.iter().filter_map(|call| Some(Grant::peer(&call.name, row(&call.task)?)));
    let hardware = task.grants.iter().map(|grant| grant.value);
    let debug = task.debug.iter().filter_map(row).map(Grant::debug);
    for grant in peers.chain(hardware).chain(debug) {
        // A checked system has no more of a kind than fit.
        record.add(grant);
    }
    record
}

/// A name that was checked to fit.
fn name(text: &str) -> abi::Name {
    abi::name_from(text).unwrap_or_default()
}
