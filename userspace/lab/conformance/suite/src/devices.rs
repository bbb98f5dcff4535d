//! Devices: what the kernel does with addresses that lead to one, and what a device can be made to do.

use crate::faults::death_of;
use crate::support::{Background, Context, Life, Outcome, ask, check, peer, same, system, want};
use abi::error::DeathKind;
use abi::message::{Header, Lease};
use abi::{PAGE_SIZE, Status, Syscall};
use alloc::format;
use assist::raw::{Registers, syscall};
use assist::role;
use core::sync::atomic::{Ordering, fence};
use rt::ipc::{Endpoint, Event};
use rt::memory::Memory;
use rt::port::{IoPorts, Port};
use rt::syscall as sys;

/// Bytes that are asked for.
const LENGTH: u64 = 64;

/// A task's device range is its own to read and write, and no memory for the kernel: no system call takes an address in it, to read from or
/// to write to. It lies below the end of memory on machines with 4 GiB and more, and above it on others.
pub fn d22_device_memory_is_no_memory() -> Outcome {
    ["device", "combined"].into_iter().try_for_each(no_memory)
}

/// A range, uncached or write-combining, is refused wherever memory is wanted.
fn no_memory(name: &str) -> Outcome {
    let range = Memory::range(name).ok_or("the suite has no such range")?;
    let device = range.map(true).context("map the range")?;
    device.read_u32(0);
    let memory = Memory::create(1).context("memory")?.map(true).context("map memory")?;
    let start = device.addr() as u64;
    for (what, at) in [("first", start), ("last", start + PAGE_SIZE as u64 - LENGTH), ("odd", start + 13)] {
        let refused = |call: Syscall, registers: Registers| {
            // SAFETY: the address is a device's, which the kernel must refuse; where it does not, it is one whose registers do no harm.
            let found = unsafe { syscall(call as u64, registers) };
            want(found.code, Status::BadAddress, &format!("{} with the {what} address of a device", call.name()))
        };
        let (system, me) = (u64::from(system()?), u64::from(rt::me().index));
        refused(Syscall::LogWrite, Registers { rdi: at, rsi: LENGTH, ..Registers::default() })?;
        refused(Syscall::TaskStatus, Registers { rdi: system, rsi: me, rdx: at, ..Registers::default() })?;
        refused(Syscall::SystemInfo, Registers { rdi: system, rsi: at, ..Registers::default() })?;
        let log = Registers { rdi: system, rsi: me, r10: at, r8: LENGTH, ..Registers::default() };
        refused(Syscall::LogRead, log)?;
        // The record of a task that is dead.
        let life = Life::start("assist", &format!("{} 0", role::EXIT))?;
        life.record()?;
        let dead = u64::from(life.id.index);
        refused(Syscall::TaskFault, Registers { rdi: system, rsi: dead, rdx: at, ..Registers::default() })?;
        lent(at, what)?;
        copied(at, what)?;
        debugged(at, memory.addr() as u64, what)?;
    }
    Ok(())
}

/// The table of leases lies there; or what is lent.
fn lent(at: u64, what: &str) -> Outcome {
    let server = peer("server")?;
    let registers = Registers {
        rdi: server.0.into(),
        rsi: Header::new(assist::ECHO).with_leases(1).0,
        r8: at,
        ..Registers::default()
    };
    // By the general path, and by the fast one, which the kernel takes once a call has shown it the way.
    for path in ["general", "fast"] {
        // SAFETY: the table is where the kernel must not read.
        let found = unsafe { syscall(Syscall::Call as u64, registers) };
        let place = format!("a table of leases at the {what} address of a device, by the {path} path");
        want(found.code, Status::BadAddress, &place)?;
        same!(ask(server, assist::ECHO, [3; 4])?, [3; 4], "echo");
    }
    for (access, label) in [(Lease::READ, assist::SUM), (Lease::WRITE, assist::FILL)] {
        let lease = Lease { addr: at, len: LENGTH as u32, access };
        // SAFETY: what is lent is a device's; the kernel must refuse the copy.
        let result = unsafe { sys::call_leased(server.0, Header::new(label), [0x55, 0, LENGTH, 0], &[lease], 0) };
        match result {
            Ok(message) if label == assist::SUM => same!(message.words[2], 0, "bytes read of a lease of a device"),
            Ok(message) => want(message.words[1], Status::LeaseFault, "a write to a lease of a device")?,
            Err(failure) => same!(failure.status, Status::BadAddress, "a call with a lease of a device"),
        }
    }
    Ok(())
}

/// A server copies between a lease and there.
fn copied(at: u64, what: &str) -> Outcome {
    let own = Endpoint::create().context("endpoint")?;
    let caller = Background::run(move || {
        let mut lent = [0x11_u8; LENGTH as usize];
        let reply = own.call_with(5, [0; 4], &mut [rt::ipc::Loan::Both(&mut lent)]).map(|reply| reply.label);
        (reply, lent)
    })?;
    let Event::Request(request) = own.receive(0).context("receive")? else {
        return Err("a notification came instead of the call".into());
    };
    for call in [Syscall::LeaseRead, Syscall::LeaseWrite] {
        let registers = Registers { rdi: request.token.0, r10: at, r8: LENGTH, ..Registers::default() };
        // SAFETY: as above.
        let found = unsafe { syscall(call as u64, registers) };
        want(found.code, Status::BadAddress, &format!("{} with the {what} address of a device", call.name()))?;
    }
    request.pending().reply(6, [0; 4]).context("reply")?;
    let (reply, lent) = caller.finish("the calling thread")?;
    same!((reply, lent), (Ok(6), [0x11; LENGTH as usize]), "answer, and what was lent");
    rt::ipc::close(own.0).context("close")
}

/// A debugger's memory lies there.
fn debugged(at: u64, memory: u64, what: &str) -> Outcome {
    let life = Life::start("assist", role::SERVE)?;
    let id = u64::from(life.id.to_u32());
    let theirs = 0x20_0000;
    let calls = [
        (Syscall::DebugRead, Registers { rdi: id, rsi: theirs, rdx: at, r10: LENGTH, ..Registers::default() }),
        (Syscall::DebugWrite, Registers { rdi: id, rsi: theirs, rdx: at, r10: LENGTH, ..Registers::default() }),
        (Syscall::DebugRegisters, Registers { rdi: id, rsi: at, ..Registers::default() }),
        (Syscall::DebugSetRegisters, Registers { rdi: id, rsi: at, ..Registers::default() }),
    ];
    for (call, registers) in calls {
        // SAFETY: as above.
        let found = unsafe { syscall(call as u64, registers) };
        want(found.code, Status::BadAddress, &format!("{} with the {what} address of a device", call.name()))?;
    }
    // The same with memory is well.
    let registers = Registers { rdi: id, rsi: theirs, rdx: memory, r10: LENGTH, ..Registers::default() };
    // SAFETY: the memory is a mapping of the test's own, to which there is no reference.
    let found = unsafe { syscall(Syscall::DebugRead as u64, registers) };
    want(found.code, Status::Ok, "debug_read to memory")
}

/// What a dying task leaves for the kernel to look at may be a device's: its record just has less in it.
pub fn d22_who_dies_with_a_device() -> Outcome {
    for (how, range) in ["frame", "stack", "panic"].into_iter().flat_map(|how| [(how, "device"), (how, "combined")]) {
        let record = death_of("owner", &format!("{} {how} {range}", role::DEVICE)).context(how)?;
        let wanted = if how == "panic" { DeathKind::Panicked } else { DeathKind::Exception };
        same!(DeathKind::from_u32(record.kind), wanted, "kind of death by {how}");
        same!(record.message_len, 0, "bytes of the message by {how}");
        if how == "frame" {
            same!(record.backtrace_len, 0, "frames of the backtrace by {how}");
        }
    }
    Ok(())
}

/// Registers of virtio's first interface (Virtual I/O Device specification 1.2, section 4.1.4.10).
const FEATURES: u16 = 4;
const QUEUE_FRAME: u16 = 8;
const QUEUE_SIZE: u16 = 12;
const QUEUE_SELECT: u16 = 14;
const QUEUE_NOTIFY: u16 = 16;
const STATUS: u16 = 18;
/// What the test puts where the device would put its verdict on the request: 0, 1 or 2.
const UNTOUCHED: u8 = 0xee;

/// The boot disk, driven by its ports as the suite has them, is asked to read a block into memory whose physical address the suite knows. On
/// a machine without that disk nothing is behind the ports.
pub fn d21_no_device_reaches_memory() -> Outcome {
    let mut disk = IoPorts::granted(0xc000, 0x40).ok_or("the suite has no ports")?;
    let memory = Memory::create_contiguous(4).context("memory")?;
    let physical = memory.info().context("memory_info")?.physical.ok_or("no physical address")?;
    let mut ring = memory.map(true).context("map memory")?;
    // Reset, then each state that a driver of any age may claim to be in.
    for status in [0, 1, 3, 7] {
        disk.write8(STATUS, status);
    }
    disk.write32(FEATURES, 0);
    disk.write16(QUEUE_SELECT, 0);
    // Where nothing is behind the ports, all bits are ones.
    let size = usize::from(disk.read16(QUEUE_SIZE));
    let used = if size <= 256 { (size * 16 + 6 + size * 2).next_multiple_of(PAGE_SIZE) } else { 2 * PAGE_SIZE };
    let buffer = 3 * PAGE_SIZE;
    let descriptors = [(buffer, 16, 1, 1), (buffer + 512, 512, 3, 2), (buffer + 256, 1, 2, 0)];
    for (n, (offset, len, flags, next)) in descriptors.into_iter().enumerate() {
        ring.write_u64(n * 16, physical + offset as u64);
        ring.write_u32(n * 16 + 8, len);
        ring.write_u16(n * 16 + 12, flags);
        ring.write_u16(n * 16 + 14, next);
    }
    for offset in (0..PAGE_SIZE).step_by(8) {
        ring.write_u64(buffer + offset, 0);
    }
    ring.write_u8(buffer + 256, UNTOUCHED);
    let available = size.min(256) * 16;
    ring.write_u16(available + 4, 0);
    ring.write_u16(available + 2, 1);
    fence(Ordering::SeqCst);
    disk.write32(QUEUE_FRAME, (physical / PAGE_SIZE as u64) as u32);
    disk.write16(QUEUE_NOTIFY, 0);
    rt::time::sleep_ms(200);
    let found = (ring.read_u8(buffer + 256), ring.read_u16(used + 2));
    // However it comes out, the device is left alone.
    disk.write8(STATUS, 0);
    check!(found == (UNTOUCHED, 0), "the disk wrote to memory: status and answers {found:?}, a queue of {size}");
    let read = (0..512).step_by(8).all(|offset| ring.read_u64(buffer + 512 + offset) == 0);
    check!(read, "the disk's first block is in memory");
    Ok(())
}
